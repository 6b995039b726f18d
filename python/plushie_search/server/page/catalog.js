// The catalog: its items page by page, filters, and the ways to change it.

import {request} from "./api.js";
import {arrowKeys, card, skeleton} from "./cards.js";
import {announce, fill, h, icon, iconButton, stateBox, toast} from "./dom.js";
import {openDuplicates} from "./duplicates.js";
import {addItem, editItem, problemText, removeItem} from "./edit.js";
import {filterPanel} from "./filters.js";
import {t} from "./i18n.js";
import {choose} from "./intake.js";
import {where} from "./route.js";
import {addMany} from "./upload.js";
import {openZoom} from "./zoom.js";

/** How many items a page has: rows of 2 to 6 cards are full. */
const PAGE = 60;

/** Creates the view. */
export function catalogView(app) {
  let controller = new AbortController();
  let timer = 0;
  const state = {view: "catalog", text: "", page: [], filters: {labels: [], rows: []}, open: false};
  const head = h("div.catalog-head");
  const list = h("section", {"aria-label": t("catalog")});
  const element = h("div.catalog", {}, head, list);

  const go = (page) => app.go({...state, page});

  function tools() {
    const input = h("input", {
      type: "search",
      value: state.text,
      placeholder: t("catalog.find"),
      "aria-label": t("catalog.find"),
      dir: "auto",
      oninput: () => {
        state.text = input.value;
        clearTimeout(timer);
        timer = setTimeout(() => go([]), 300);
      },
    });
    const options = h(
      "details.options",
      {ontoggle: () => (state.open = options.open)},
      h("summary", {}, icon("filter"), t("filters")),
      filterPanel(state.filters, app, () => go([])),
    );
    options.open = state.open;
    const many = (found, others) => receive(found, others);
    fill(
      head,
      h("h1", {}, t("catalog")),
      input,
      h("button", {onclick: () => openDuplicates(find)}, icon("similar"), t("duplicates")),
      app.stats.writable && [
        h("button", {onclick: () => choose(many, {folder: true})}, icon("folder"), t("add.folder")),
        h("button", {onclick: () => choose(many)}, icon("upload"), t("add.files")),
        h("button.primary", {onclick: () => addItem([], app, added)}, icon("plus"), t("add.item")),
      ],
      options,
    );
  }

  function find(id) {
    state.text = id;
    tools();
    go([]);
  }

  function added({item}) {
    toast(t("added", {item: item.id}));
    reload();
  }

  function receive(found, others) {
    if (app.stats.writable) addMany(found, others, app, reload);
    else toast(t("problem.forbidden"), {kind: "error"});
  }

  async function reload() {
    await app.refresh();
    await load();
  }

  async function load({quiet = false} = {}) {
    controller.abort();
    controller = new AbortController();
    const {signal} = controller;
    if (!quiet) fill(list, skeleton(12));
    const query = new URLSearchParams({limit: PAGE});
    if (state.page.length) query.set("after", state.page.at(-1));
    if (state.text.trim()) query.set("q", state.text.trim());
    const filter = where(state.filters);
    if (filter) query.set("where", JSON.stringify(filter));
    try {
      show(await request(`items?${query}`, {signal}));
    } catch (error) {
      if (signal.aborted) return;
      fill(
        list,
        stateBox("alert", t("failed"), problemText(error), h("button.primary", {onclick: () => load()}, t("again"))),
      );
      announce(problemText(error));
    }
  }

  function show({items, next, total}) {
    const filtered = state.text.trim() || where(state.filters);
    if (items.length === 0) {
      fill(
        list,
        filtered
          ? stateBox("search", t("catalog.none"), t("catalog.none.hint"))
          : stateBox("folder", t("empty.title"), t(app.stats.writable ? "empty.drop" : "empty.read")),
      );
      announce(t("catalog.none"));
      return;
    }
    const things = items.map((item) => ({
      ...item,
      item: item.id,
      thumbnail: item.references[0]?.thumbnail,
      picture: item.references[0]?.picture,
    }));
    const similar = (thing) => app.similar(thing);
    const open = (index) => openZoom(things, index, app, {similar, changed: reload, pictures: []});
    const edit = (item) =>
      editItem(item, app, () => {
        toast(t("edit.saved", {item: item.id}));
        reload();
      });
    const remove = (item, event) => {
      event.currentTarget.disabled = true;
      removeItem(
        item,
        () => {
          reload();
          document.getElementById("main").focus({preventScroll: true});
        },
        reload,
      ).then((done) => done || load());
    };
    const grid = h(
      "ul.grid",
      {role: "list"},
      things.map((thing, index) =>
        card(thing, {
          open: () => open(index),
          over:
            thing.references.length > 1 &&
            h(
              "span.rank.plain",
              {title: t("references.count", {n: thing.references.length})},
              icon("image"),
              thing.references.length,
              h("span.hidden", {}, t("references")),
            ),
          actions: [
            h(
              "button.small",
              {onclick: () => similar(thing), "aria-label": t("similar.to", {name: thing.id})},
              icon("similar"),
              t("similar.short"),
            ),
            app.stats.writable && [
              iconButton("edit", t("edit.of", {name: thing.id}), () => edit(thing)),
              iconButton("trash", t("remove.of", {name: thing.id}), (event) => remove(thing, event)),
            ],
          ],
        }),
      ),
    );
    arrowKeys(grid);
    const first = state.page.length * PAGE + 1;
    const range = t("page.range", {first, last: first + items.length - 1, n: total});
    const turn = (page) => {
      go(page);
      window.scrollTo({top: 0});
      document.getElementById("main").focus({preventScroll: true});
    };
    fill(
      list,
      h("p.muted", {}, total > PAGE ? range : t("items.count", {n: total})),
      grid,
      (next || state.page.length > 0) &&
        h(
          "nav.pager",
          {"aria-label": t("pages")},
          h(
            "button",
            {disabled: state.page.length === 0, onclick: () => turn(state.page.slice(0, -1))},
            icon("left"),
            t("previous"),
          ),
          h("span.muted", {}, range),
          h("button", {disabled: !next, onclick: () => turn([...state.page, next])}, t("next"), icon("right")),
        ),
    );
    announce(range);
  }

  /** Shows the page that an address names. */
  async function open(route) {
    const typing = document.activeElement?.closest?.(".catalog-head");
    Object.assign(state, {text: route.text, page: route.page});
    if (!typing) {
      state.filters = route.filters;
      tools();
    }
    await load({quiet: Boolean(typing)});
  }

  return {
    element,
    open,
    receive,
    focusWords: () => head.querySelector("input").focus(),
    clear: () => app.go({view: "catalog"}),
    dropHint: () => t("drop.add"),
    leave: () => controller.abort(),
  };
}
