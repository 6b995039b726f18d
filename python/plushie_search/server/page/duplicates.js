// Shows references that are the same or nearly so, and items that look alike, pair by pair.

import {request} from "./api.js";
import {picture} from "./cards.js";
import {announce, fill, h, openDialog, stateBox} from "./dom.js";
import {problemText} from "./edit.js";
import {percent, t} from "./i18n.js";

/** How many pairs of each class are shown. */
const MOST = 30;

const TITLES = {
  "same bytes": "duplicates.bytes",
  "same picture": "duplicates.picture",
  "same geometry": "duplicates.geometry",
  scaled: "duplicates.scaled",
  mirrored: "duplicates.mirrored",
  "re-meshed": "duplicates.remeshed",
  "same item": "duplicates.item",
  "look-alike": "duplicates.alike",
};

/** Opens the dialog; `show` opens an item by its id. */
export function openDuplicates(show) {
  const controller = new AbortController();
  const {body, close} = openDialog(t("duplicates"), {kind: "full", onclose: () => controller.abort()});
  const side = ({item, reference, thumbnail}) =>
    h(
      "button.quiet.twin",
      {
        onclick: () => {
          close();
          show(item);
        },
        "aria-label": t("duplicates.show", {name: item}),
      },
      picture(thumbnail, ""),
      h("strong", {dir: "auto"}, item),
      h("small.muted", {dir: "auto"}, reference),
    );
  const row = ({first, second, similarity}) =>
    h("li.twins", {}, side(first), h("span.muted", {title: t("similarity")}, percent(similarity)), side(second));
  const part = (kind, {counts, pairs}) => {
    const own = pairs.filter((pair) => pair.kind === kind);
    const count = counts[kind];
    return (
      own.length > 0 && [
        h("h3", {}, t(TITLES[kind]), h("small.muted", {}, ` · ${t("duplicates.count", {n: count})}`)),
        h("ul", {role: "list"}, own.map(row)),
      ]
    );
  };
  async function load() {
    fill(body, h("p.muted", {}, t("duplicates.wait")));
    try {
      const found = await request(`duplicates?limit=${MOST}`, {signal: controller.signal, timeout: 0});
      if (found.pairs.length) {
        fill(
          body,
          Object.keys(TITLES).map((kind) => part(kind, found)),
        );
        announce(t("duplicates.count", {n: found.pairs.length}));
      } else {
        fill(body, stateBox("search", t("duplicates.none")));
        announce(t("duplicates.none"));
      }
    } catch (error) {
      if (controller.signal.aborted) return;
      fill(body, stateBox("alert", t("failed"), problemText(error), h("button.primary", {onclick: load}, t("again"))));
    }
  }
  load();
}
