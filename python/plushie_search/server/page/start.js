// The first screen of the search: earlier searches, and things of the catalog to begin with.

import {request} from "./api.js";
import {picture} from "./cards.js";
import {fill, h, icon, stateBox} from "./dom.js";
import {number, t} from "./i18n.js";
import {forgetAll, list} from "./recent.js";

/** How many items of the catalog are shown. */
const SAMPLES = 12;

/** Creates the first screen. `similar(thing)` looks for things like one of the catalog. */
export function start(app, {similar}) {
  const recent = h("section.recent");
  const samples = h("section.samples");
  showRecent(recent, app);
  if (app.stats.items === 0)
    fill(
      samples,
      stateBox(
        "folder",
        t("empty.title"),
        t(app.stats.writable ? "empty.hint" : "empty.read"),
        app.stats.writable && h("a.button.primary", {href: "#/catalog"}, t("empty.go")),
      ),
    );
  else showSamples(samples, app, similar);
  return h("div.start", {}, recent, samples);
}

async function showRecent(section, app) {
  const entries = (await list()).filter(({catalog}) => catalog === app.catalog);
  if (entries.length === 0) return;
  const forget = async () => {
    await forgetAll();
    fill(section);
    document.getElementById("main").focus();
  };
  const urls = [];
  const address = (blob) => {
    urls.push(URL.createObjectURL(blob));
    return urls.at(-1);
  };
  const link = ({hash, text, item, itemPicture, thumbnail, pictures}) => {
    const name = [pictures.length > 0 && t("recent.pictures", {n: pictures.length}), item && t("like", {item}), text]
      .filter(Boolean)
      .join(" + ");
    const source = thumbnail ? address(thumbnail) : itemPicture;
    return h(
      "a.chip",
      {href: hash, dir: "auto"},
      source ? h("img", {src: source, alt: ""}) : icon("text"),
      h("span", {}, name),
    );
  };
  fill(
    section,
    h(
      "div.section-head",
      {},
      h("h2", {}, icon("clock"), t("recent")),
      h("button.small.quiet", {onclick: forget}, t("recent.clear")),
    ),
    h(
      "ul.chips",
      {role: "list"},
      entries.map((entry) => h("li", {}, link(entry))),
    ),
  );
  // The pictures are shown by now, or never will be.
  setTimeout(() => urls.forEach((url) => URL.revokeObjectURL(url)), 10000);
}

async function showSamples(section, app, similar) {
  const {items} = await request(`items?limit=${SAMPLES}`).catch(() => ({items: []}));
  if (items.length === 0) return;
  const tile = (item) => {
    const thing = {item: item.id, thumbnail: item.references[0]?.thumbnail};
    return h(
      "li",
      {},
      h(
        "button.sample",
        {onclick: () => similar(thing), "aria-label": t("similar.to", {name: item.id}), title: item.id},
        picture(thing.thumbnail, ""),
      ),
    );
  };
  fill(
    section,
    h(
      "div.section-head",
      {},
      h("h2", {}, icon("grid"), t("samples")),
      h("a", {href: "#/catalog"}, t("samples.all", {items: number(app.stats.items)})),
    ),
    h("ul.mosaic", {role: "list"}, items.map(tile)),
  );
}
