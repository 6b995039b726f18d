// The card of an item, in results and in the catalog.

import {h, icon} from "./dom.js";
import {percent, t} from "./i18n.js";

/** How many metadata entries a card shows, and their longest text. */
const SHOWN = 3;
const LONGEST = 28;

/** Returns metadata as [key, text], without empty values. */
export function facts(metadata) {
  return Object.entries(metadata ?? {})
    .filter(([, value]) => value !== null && value !== "" && !(Array.isArray(value) && value.length === 0))
    .map(([key, value]) => [key, said(value)]);
}

function shortFacts(metadata) {
  return facts(metadata)
    .map(([, text]) => text)
    .filter((text) => text.length <= LONGEST)
    .slice(0, SHOWN)
    .join(" · ");
}

function said(value) {
  if (Array.isArray(value)) return value.map(said).join(", ");
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

/** Creates the bar of a hit's similarity with its percentage. */
export function meter(hit) {
  const likely = hit.probability !== null && hit.probability !== undefined;
  const text = percent(hit.similarity);
  const cosine = t("cosine", {score: hit.score.toFixed(3)});
  return h(
    "div.meter",
    {
      role: "meter",
      "aria-label": t(likely ? "likelihood" : "similarity"),
      "aria-valuenow": Math.floor(hit.similarity * 100),
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuetext": text,
      title: cosine,
      "--share": `${hit.similarity * 100}%`,
    },
    h("span.track", {}, h("span.level")),
    h("strong", {}, text),
  );
}

/** Creates a picture that keeps its place if it cannot be loaded. */
export function picture(url, alt, attributes = {}) {
  const missing = () =>
    image.replaceWith(
      h(
        "span.noimage",
        {role: "img", "aria-label": t("picture.gone", {name: alt})},
        icon("image"),
        h("small", {}, t("picture.missing")),
      ),
    );
  const image = h("img", {alt, loading: "lazy", decoding: "async", onerror: missing, ...attributes});
  if (url) image.src = url;
  else queueMicrotask(missing);
  return image;
}

/** Creates a card. `thing` is {item, label, text, metadata, thumbnail, turntable}; `parts` are elements of one use. */
export function card(thing, {open, over = null, below = null, actions}) {
  return h(
    "li.card",
    {},
    h(
      "button.card-picture",
      {onclick: open, "aria-label": t("open", {name: thing.item}), "data-open": thing.item},
      picture(thing.thumbnail, ""),
    ),
    over,
    thing.turntable && turntable(thing),
    h(
      "div.card-body",
      {},
      h("h3", {dir: "auto", title: thing.item}, thing.item),
      below,
      h(
        "p.facts",
        {},
        thing.label && h("span.label", {dir: "auto"}, thing.label),
        h("span.fact", {dir: "auto"}, shortFacts(thing.metadata)),
      ),
      h("div.card-actions", {}, actions),
    ),
  );
}

/** Creates the strip of a 3D model as a camera sees it that goes around; it is left out if it cannot be loaded. */
export function turntable(thing) {
  const alt = t("turntable", {name: thing.item});
  const strip = h("img.turntable", {alt, loading: "lazy", decoding: "async", onerror: () => strip.remove()});
  strip.src = thing.turntable;
  return strip;
}

/** Creates gray cards for the time of waiting. */
export function skeleton(count) {
  return h(
    "ul.grid.waiting",
    {"aria-hidden": "true"},
    Array.from({length: count}, () => h("li.card", {}, h("div.card-picture"), h("div.card-body", {}, h("i"), h("i")))),
  );
}

/** Lets the arrow keys move between the cards of a grid. */
export function arrowKeys(grid) {
  grid.addEventListener("keydown", (event) => {
    const all = [...grid.querySelectorAll(".card-picture")];
    const at = all.indexOf(event.target);
    if (at < 0) return;
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const to = {
      ArrowRight: at + 1,
      ArrowLeft: at - 1,
      ArrowDown: at + columns,
      ArrowUp: at - columns,
      Home: 0,
      End: all.length - 1,
    }[event.key];
    if (to === undefined || !all[to]) return;
    event.preventDefault();
    all[to].focus();
  });
}
