// Starts the page: language, theme, the catalog's facts, and the view that the address names.

import {onKeyNeeded, request, useCatalog} from "./api.js";
import {catalogView} from "./catalog.js";
import {fill, h, placeMessages, stateBox} from "./dom.js";
import {problemText} from "./edit.js";
import {askForKey, header, markView, openHelp, shortcutsOn} from "./header.js";
import {load, t} from "./i18n.js";
import {listen} from "./intake.js";
import {format, parse} from "./route.js";
import {searchView} from "./search.js";
import {applyTheme} from "./settings.js";

const main = h("main", {id: "main", tabIndex: -1});
let head = h("header.top");
let views = {};
let current = null;
let asking = null;

const app = {
  stats: null,
  labels: [],
  keys: [],
  catalog: null,

  /** Goes to a state of the page; the address changes, and the view follows. */
  go(state) {
    const hash = format({...state, catalog: app.catalog});
    if (hash !== location.hash) history.pushState(null, "", hash);
    follow();
  },

  /** Looks for things like one, in the view of the search. */
  similar(thing) {
    views.search.similar(thing);
  },

  /** Reads the facts of the catalog again. */
  async refresh() {
    await readFacts();
    placeHead();
  },

  async setLanguage(tag) {
    await load(tag);
    build();
    head.querySelector(".language select").focus();
  },

  setCatalog(name) {
    location.hash = format({view: "search", tab: "image", catalog: name === app.stats.catalogs[0] ? null : name});
    location.reload();
  },
};

async function readFacts() {
  const optional = (path) => request(path).catch(() => []);
  [app.stats, app.labels, app.keys] = await Promise.all([request("stats"), optional("labels"), optional("keys")]);
  app.labels = app.labels.filter(({label}) => label);
}

function placeHead() {
  const focused = head.contains(document.activeElement);
  const fresh = header(app);
  head.replaceWith(fresh);
  head = fresh;
  markView(head, parse(location.hash).view);
  if (focused) main.focus();
}

/** Shows the view of the address. */
function follow() {
  const route = parse(location.hash);
  if ((route.catalog ?? null) !== app.catalog) {
    location.reload();
    return;
  }
  const view = views[route.view];
  if (current !== view) {
    current?.leave();
    current = view;
    fill(main, view.element);
    window.scrollTo(0, 0);
  }
  markView(head, route.view);
  document.title =
    route.view === "catalog" ? `${t("catalog")} – ${t("title")}` : [route.text, t("title")].filter(Boolean).join(" – ");
  view.open(route);
}

function build() {
  views = {search: searchView(app), catalog: catalogView(app)};
  current = null;
  placeHead();
  follow();
}

function onKey(event) {
  if (!shortcutsOn() || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]"))
    return;
  const typing = event.target.matches("input:not([type=range], [type=checkbox]), select, textarea");
  if (event.key === "/" && !typing) {
    event.preventDefault();
    current.focusWords();
  } else if (event.key === "?" && !typing) openHelp();
  else if (event.key === "Escape") current.clear();
}

async function start() {
  applyTheme();
  await load();
  document.title = t("title");
  document.body.append(head, main);
  placeMessages();
  // Several requests may miss the key at once: one question is enough.
  onKeyNeeded(() => (asking ??= askForKey().finally(() => (asking = null))));
  await connect();
}

async function connect() {
  app.catalog = parse(location.hash).catalog ?? null;
  useCatalog(app.catalog);
  try {
    await readFacts();
  } catch (error) {
    fill(
      main,
      stateBox("alert", t("unreachable"), problemText(error), h("button.primary", {onclick: connect}, t("again"))),
    );
    return;
  }
  listen({receive: (found, others) => current.receive(found, others), hint: () => current.dropHint()});
  window.addEventListener("popstate", follow);
  window.addEventListener("keydown", onKey);
  build();
}

start();
