// Compares up to four hits side by side with the query.

import {facts, meter, picture} from "./cards.js";
import {fill, h, icon, iconButton, openDialog, toast} from "./dom.js";
import {t} from "./i18n.js";

/** The most hits side by side. */
const MOST = 4;

/** Creates the bar below the results that holds the chosen hits. */
export function compareBar(getPictures) {
  let chosen = [];
  const element = h("div.compare-bar", {role: "region", "aria-label": t("compare"), hidden: true});
  const listeners = new Set();
  const render = () => {
    element.hidden = chosen.length === 0;
    fill(
      element,
      chosen.map((hit) =>
        h(
          "span.compare-one",
          {},
          picture(hit.thumbnail, ""),
          iconButton("close", t("compare.remove", {name: hit.item}), () => toggle(hit)),
        ),
      ),
      h("span.grow", {}, chosen.length === 1 && h("small.muted", {}, t("compare.more"))),
      h(
        "button.primary",
        {disabled: chosen.length < 2, onclick: () => openComparison(chosen, getPictures())},
        icon("compare"),
        t("compare.go", {n: chosen.length}),
      ),
    );
    listeners.forEach((listen) => listen());
  };
  const toggle = (hit) => {
    if (chosen.includes(hit)) chosen = chosen.filter((other) => other !== hit);
    else if (chosen.length < MOST) chosen = [...chosen, hit];
    else toast(t("compare.most", {n: MOST}));
    render();
  };
  const clear = () => {
    chosen = [];
    listeners.clear();
    render();
  };
  /** Creates the switch of one card. */
  const button = (hit) => {
    const box = h(
      "button.quiet.round.pick",
      {"aria-label": t("compare.add", {name: hit.item}), title: t("compare"), onclick: () => toggle(hit)},
      icon("compare"),
    );
    const show = () => box.setAttribute("aria-pressed", String(chosen.includes(hit)));
    listeners.add(show);
    show();
    return box;
  };
  return {element, button, clear};
}

function openComparison(hits, pictures) {
  const {body} = openDialog(t("compare"), {kind: "full"});
  const mine = pictures.find(({url}) => url);
  const keys = [...new Set(hits.flatMap(({metadata}) => facts(metadata).map(([key]) => key)))];
  const values = hits.map(({metadata}) => new Map(facts(metadata)));
  const row = (name, cells, extra = {}) =>
    h(
      "tr",
      extra,
      h("th", {scope: "row", dir: "auto"}, name),
      mine && h("td.mine"),
      cells.map((cell) => h("td", {dir: "auto"}, cell)),
    );
  const differs = (cells) => ({class: new Set(cells).size > 1 ? "differs" : null});
  const metadataRow = (key) => {
    const cells = values.map((of) => of.get(key) ?? "–");
    return row(key, cells, differs(cells));
  };
  const labels = hits.map(({label}) => label ?? "–");
  body.append(
    h(
      "div.comparison",
      {tabIndex: 0, role: "region", "aria-label": t("compare")},
      h(
        "table",
        {},
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td"),
            mine && h("th.mine", {scope: "col"}, h("img", {src: mine.url, alt: ""}), t("query.mine")),
            hits.map((hit) =>
              h("th", {scope: "col", dir: "auto"}, picture(hit.picture, "", {loading: "eager"}), hit.item),
            ),
          ),
        ),
        h(
          "tbody",
          {},
          row(t("similarity"), hits.map(meter)),
          row(
            t("matched"),
            hits.map(({reference}) => reference.name),
          ),
          row(t("label"), labels, differs(labels)),
          keys.map(metadataRow),
        ),
      ),
    ),
  );
}
