// The answer of a search: a head with the best hit, notices, and a grid of cards.

import {arrowKeys, card, meter} from "./cards.js";
import {h, icon, iconButton, stateBox, toast} from "./dom.js";
import {addItem} from "./edit.js";
import {percent, t} from "./i18n.js";
import {verdictBox} from "./verdict.js";
import {openZoom} from "./zoom.js";

/** The most cards of a list: more would slow a phone down. */
const MOST = 300;

/**
 * Creates the list. `uses` has compare (the bar), pictures (of the query), similar(hit), reload() after a change of
 * the catalog, clearFilters(), took (the words for the time), filtered (whether filters are on), and verdict (the place
 * of the sentence about the pictures), and more(), which adds the next page of hits to the answer and returns it.
 */
export function resultList(answer, app, uses) {
  const hits = answer.results;
  const notices = (answer.notices ?? []).map((notice) => h("li", {dir: "auto"}, icon("alert"), notice));
  return [
    uses.verdict,
    notices.length > 0 && h("ul.notices", {}, notices),
    hits.length === 0 ? nothing(uses) : found(answer, app, uses),
  ];
}

function found(answer, app, uses) {
  const count = h("h2");
  const tell = () => (count.textContent = t("results.count", {n: answer.results.length}));
  tell();
  return [head(answer.results, count, app, uses), grid(answer, tell, app, uses)];
}

function nothing(uses) {
  return uses.filtered
    ? stateBox(
        "search",
        t("results.none"),
        t("results.filtered"),
        h("button.primary", {onclick: uses.clearFilters}, t("filters.clear")),
      )
    : stateBox("search", t("results.none"), t("results.hint"));
}

/** Creates the box of a verdict, which offers to add the pictures of the query if they show nothing of the catalog. */
export function verdictOf(found, app, uses) {
  return verdictBox(found, app.stats.writable ? () => addMine(app, uses) : null);
}

/** Opens the form of a new item with the pictures of the query. */
function addMine(app, {pictures, reload}) {
  addItem(
    pictures.map(({blob, uploadName}) => ({blob, name: uploadName})),
    app,
    ({item}) => {
      toast(t("added", {item: item.id}));
      reload();
    },
  );
}

function head(hits, count, app, uses) {
  const [best] = hits;
  const likely = best.probability !== null && best.probability !== undefined;
  return h(
    "div.results-head",
    {},
    h(
      "div",
      {},
      count,
      h(
        "p.muted",
        {},
        h(
          "span.best",
          {},
          t(likely ? "results.likely" : "results.closest"),
          " ",
          h("strong", {dir: "auto"}, best.item),
          ` · ${percent(best.similarity)}`,
          uses.took && " · ",
        ),
        uses.took,
      ),
    ),
    app.stats.writable && uses.pictures.length > 0 && h("button", {onclick: () => addMine(app, uses)}, icon("plus"), t("add.mine")),
  );
}

function grid(answer, tell, app, uses) {
  const hits = answer.results;
  const open = (index) =>
    openZoom(hits, index, app, {similar: uses.similar, changed: () => app.refresh(), pictures: uses.pictures});
  const shown = (hit, index) =>
    card(hit, {
      open: () => open(index),
      over: [
        h(
          "span.rank",
          {title: t("rank", {rank: hit.rank})},
          h("span.hidden", {}, t("rank", {rank: hit.rank})),
          h("span", {"aria-hidden": "true"}, hit.rank),
        ),
        uses.compare.button(hit),
      ],
      below: [
        meter(hit),
        h("p.matched", {dir: "auto", title: hit.reference.name}, t("matched.by", {name: hit.reference.name})),
        hit.matched?.length > 0 && h("p.matched", {dir: "auto"}, t("matched.words", {fields: hit.matched.join(", ")})),
      ],
      actions: [
        h(
          "button.small",
          {onclick: () => uses.similar(hit), "aria-label": t("similar.to", {name: hit.item})},
          icon("similar"),
          t("similar.short"),
        ),
        iconButton("search", t("zoom", {name: hit.item}), () => open(index)),
      ],
    });
  const list = h("ul.grid", {role: "list"}, hits.map(shown));
  arrowKeys(list);
  const show = (more, start) => {
    const cards = more.map((hit, place) => shown(hit, start + place));
    list.append(...cards);
    tell();
    cards[0]?.querySelector(".card-picture").focus();
  };
  return [list, nextPage(answer, uses, show)];
}

/** Creates the button that shows the next page of hits below the others; null if there is none. */
function nextPage(answer, uses, show) {
  const left = () => answer.cursor && answer.results.length < MOST;
  if (!left()) return null;
  const button = h(
    "button",
    {
      onclick: async () => {
        button.disabled = true;
        const start = answer.results.length;
        const more = await uses.more();
        if (more) show(more, start);
        button.disabled = false;
        if (!left()) button.parentElement.remove();
      },
    },
    icon("plus"),
    t("results.more"),
  );
  return h("div.row.center", {}, button);
}
