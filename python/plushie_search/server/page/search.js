// The search: keeps the query, asks the server, and shows the results, their states and the searches before.

import {itemPath, request} from "./api.js";
import {compareBar} from "./compare.js";
import {announce, fill, h, stateBox, toast} from "./dom.js";
import {problemText} from "./edit.js";
import {number, t} from "./i18n.js";
import {MOST, Picture, small} from "./pictures.js";
import {queryPanel} from "./query.js";
import {find, remember} from "./recent.js";
import {resultList, verdictOf} from "./results.js";
import {format, where} from "./route.js";
import {start} from "./start.js";
import {skeleton} from "./cards.js";

/** How often a busy server is asked again by itself, and the longest wait between, in seconds. */
const RETRIES = 3;
const LONGEST_WAIT = 8;

/** Of a larger file, in bytes, the sent picture is remembered in place of the file. */
const KEPT = 4e6;

/** The query and its answer; they outlive a change of the language. */
// Signs between parts, or what only a line of parts begins with: "2*bunny - hat", "item:bear-1".
const isLine = (words) => /(^|\s)[+-]\s|^(\d+|\d*\.\d+)\s*\*|^item:/.test(words);

const session = {
  tab: "image",
  text: "",
  pictures: [],
  item: null,
  itemPicture: null,
  weight: 50,
  k: null,
  engine: null,
  minimum: 0,
  recent: null,
  filters: {labels: [], rows: []},
  optionsOpen: false,
  asked: null,
  answer: null,
  sent: null,
  verdict: null,
};

/** Creates the view. `app` has the facts of the catalog, and go(route). */
export function searchView(app) {
  let controller = new AbortController();
  const compare = compareBar(asked);
  const results = h("section.results", {"aria-label": t("results")});
  const verdict = h("div", {"aria-live": "polite"});
  const panel = queryPanel(session, app, {receive, submit, changed, refine});
  const element = h(
    "div.search",
    {},
    h("div.search-panel", {}, panel.element),
    h("div.search-results", {}, results, compare.element),
  );

  /** The address of the query as it is. */
  const address = () => format({...session, view: "search", catalog: app.catalog});

  /** The pictures of the query, if its tab uses them. */
  function asked() {
    return session.tab === "text" ? [] : session.pictures;
  }

  function changed() {
    if (!session.answer) idle();
  }

  function refine() {
    panel.render();
    if (session.asked) submit();
  }

  async function receive(found, others) {
    if (others) toast(t("files.others", {n: others}));
    if (session.tab === "text" && found.length) session.tab = "image";
    const room = MOST - session.pictures.length;
    if (found.length > room) toast(t("pictures.most", {n: MOST}));
    const read = await Promise.all(found.slice(0, Math.max(0, room)).map(({file, path}) => Picture.read(file, path)));
    const usable = read.filter(Boolean);
    if (usable.length < read.length) toast(t("problem.large"), {kind: "error"});
    if (usable.length === 0) return;
    session.pictures = [...session.pictures, ...usable];
    session.recent = null;
    panel.render();
    submit();
  }

  function submit() {
    // The keyboard of a phone would cover the results.
    if (matchMedia("(pointer: coarse)").matches) document.activeElement.blur();
    if (asked().length > 0) session.recent ??= `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`;
    app.go({...session, view: "search"});
  }

  function body() {
    const {tab, text, item, weight, pictures} = session;
    const shown = tab === "text" ? [] : pictures;
    const like = tab === "text" ? null : item;
    const words = tab === "image" ? "" : text.trim();
    const query = {};
    if (words) query[isLine(words) ? "line" : "text"] = words;
    if (like) query.item = like;
    if (words && (like || shown.length)) {
      const each = weight / 100 / (Number(Boolean(like)) + Number(shown.length > 0));
      query.weights = {text: 1 - weight / 100, image: each, item: each};
    }
    const form = new FormData();
    for (const picture of shown) form.append("image", picture.blob, picture.uploadName);
    form.append("query", JSON.stringify(query));
    form.append("k", session.k ?? app.stats.default_k);
    const filter = where(session.filters);
    if (filter) form.append("where", JSON.stringify(filter));
    if (session.minimum) form.append("min_score", session.minimum / 100);
    if (session.engine) form.append("models", session.engine);
    return {form, empty: !words && !like && shown.length === 0};
  }

  /** Asks which item the pictures of the query show, if it has nothing else; the search does not wait for it. */
  async function identify(signal) {
    const shown = asked();
    const words = session.tab === "image" ? "" : session.text.trim();
    if (shown.length === 0 || words || session.item || session.engine) return;
    const form = new FormData();
    for (const picture of shown) form.append("image", picture.blob, picture.uploadName);
    const filter = where(session.filters);
    if (filter) form.append("where", JSON.stringify(filter));
    form.append("k", 1);
    const found = await request("identify", {method: "POST", body: form, signal}).catch(() => null);
    if (!found || signal.aborted || found.results.length === 0) return;
    session.verdict = found;
    showVerdict();
  }

  function showVerdict() {
    fill(verdict, session.verdict && verdictOf(session.verdict, app, {pictures: asked(), reload: run}));
  }

  async function run() {
    controller.abort();
    controller = new AbortController();
    const {signal} = controller;
    const {form, empty} = body();
    compare.clear();
    session.verdict = null;
    if (empty) {
      session.asked = session.answer = null;
      idle();
      return;
    }
    session.asked = address();
    element.classList.add("asked");
    fill(results, h("p.muted", {}, t("searching")), skeleton(session.k ?? app.stats.default_k));
    results.setAttribute("aria-busy", "true");
    try {
      session.answer = await ask(form, signal);
      session.sent = form;
      show();
      identify(signal);
      remember(entry());
    } catch (error) {
      if (signal.aborted) return;
      session.answer = null;
      failed(error);
    } finally {
      if (!signal.aborted) results.removeAttribute("aria-busy");
    }
  }

  /** Adds the next page of hits to the answer and returns it; null if it cannot be had. */
  async function more() {
    const {answer, sent} = session;
    if (controller.signal.aborted) controller = new AbortController();
    const {signal} = controller;
    sent.set("cursor", answer.cursor);
    try {
      const {results: found, cursor} = await request("search", {method: "POST", body: sent, signal});
      answer.results.push(...found);
      answer.cursor = cursor;
      announce(t("results.count", {n: answer.results.length}));
      return found;
    } catch (error) {
      if (!signal.aborted) toast(problemText(error), {kind: "error"});
      return null;
    }
  }

  async function ask(form, signal) {
    for (let tries = 0; ; tries += 1) {
      try {
        return await request("search", {method: "POST", body: form, signal});
      } catch (error) {
        if (![429, 503].includes(error.status) || tries >= RETRIES) throw error;
        const seconds = Math.min(LONGEST_WAIT, error.retryAfter ?? 2 ** tries);
        const words = t("problem.waiting", {seconds});
        fill(results, h("p.muted", {}, words), skeleton(session.k ?? app.stats.default_k));
        announce(words);
        await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
        signal.throwIfAborted();
      }
    }
  }

  function failed(error) {
    const words = problemText(error);
    fill(
      results,
      stateBox("alert", t("failed"), words, h("button.primary", {onclick: run}, t("again"))),
      error.instance && h("p.muted.center", {}, h("small", {}, t("problem.id", {id: error.instance}))),
    );
    announce(`${t("failed")} ${words}`);
  }

  function show() {
    const {results: hits, took_ms: took} = session.answer;
    const best = hits[0] && t("results.best", {item: hits[0].item});
    showVerdict();
    fill(
      results,
      resultList(session.answer, app, {
        compare,
        verdict,
        pictures: asked(),
        similar,
        reload: run,
        more,
        clearFilters,
        took: took === undefined ? null : t("took", {ms: number(Math.max(1, Math.round(took)))}),
        filtered: filtered(),
      }),
    );
    announce([t("results.count", {n: hits.length}), best].filter(Boolean).join(", "));
  }

  const filtered = () => session.minimum > 0 || session.filters.labels.length + session.filters.rows.length > 0;

  function clearFilters() {
    session.filters = {labels: [], rows: []};
    session.minimum = 0;
    refine();
  }

  function similar(thing) {
    const tab = session.tab === "both" ? "both" : "image";
    session.pictures.forEach((picture) => picture.release());
    Object.assign(session, {tab, pictures: [], recent: null, item: thing.item, itemPicture: thing.thumbnail, text: ""});
    panel.render();
    app.go({...session, view: "search"});
    document.getElementById("main").focus({preventScroll: true});
    window.scrollTo({top: 0});
  }

  /** Returns the search as it is remembered. */
  async function entry() {
    const {tab, text, item, itemPicture, recent, pictures, asked} = session;
    const blobs =
      tab === "text"
        ? []
        : pictures.map(({file, blob, name, crop}) =>
            file.size > KEPT ? {file: blob, name, crop: null} : {file, name, crop},
          );
    const id = blobs.length
      ? recent
      : `${tab}:${tab === "image" ? "" : text.trim()}:${tab === "text" ? "" : (item ?? "")}`;
    const thumbnail = blobs.length ? await small(pictures[0].blob) : null;
    return {
      id,
      when: Date.now(),
      tab,
      text: tab === "image" ? "" : text.trim(),
      item: tab === "text" ? null : item,
      itemPicture,
      catalog: app.catalog,
      hash: asked,
      pictures: blobs,
      thumbnail,
    };
  }

  function idle() {
    element.classList.remove("asked");
    results.replaceChildren(start(app, {similar}));
  }

  /** Shows the search that an address names; it is run unless its answer is there. */
  async function open(route) {
    const same = address() === format(route);
    if (!same) {
      const {tab, text, item, k, weight, engine, minimum, filters} = route;
      if (item !== session.item) session.itemPicture = null;
      Object.assign(session, {
        tab,
        item,
        k,
        weight,
        engine,
        minimum,
        filters,
        text: tab === "image" ? session.text : text,
      });
      if (tab !== "text" && route.recent !== session.recent) await bring(route.recent);
      panel.render();
      if (item && !session.itemPicture) showItem(item);
    }
    if (session.answer && session.asked === address()) {
      element.classList.add("asked");
      show();
    } else await run();
  }

  /** Brings the picture of the item that others are to be like. */
  async function showItem(id) {
    const item = await request(itemPath(id)).catch(() => null);
    if (!item || session.item !== id) return;
    session.itemPicture = item.references[0]?.thumbnail;
    panel.render();
  }

  /** Brings the pictures of an earlier search back. */
  async function bring(id) {
    const found = id ? await find(id) : null;
    session.pictures.forEach((picture) => picture.release());
    session.pictures = [];
    session.recent = found ? id : null;
    for (const {file, name, crop} of found?.pictures ?? []) {
      const picture = new Picture(file, name);
      await picture.setCrop(crop);
      session.pictures.push(picture);
    }
    if (id && !found) toast(t("recent.gone"));
  }

  /** Goes to the field for words. */
  function focusWords() {
    if (session.tab === "image") {
      session.tab = "text";
      panel.render();
    }
    panel.focusWords();
  }

  /** Clears the query. */
  function clear() {
    session.pictures.forEach((picture) => picture.release());
    Object.assign(session, {
      text: "",
      pictures: [],
      item: null,
      itemPicture: null,
      recent: null,
      asked: null,
      answer: null,
    });
    controller.abort();
    panel.render();
    app.go({...session, view: "search"});
  }

  return {
    element,
    open,
    receive,
    similar,
    focusWords,
    clear,
    dropHint: () => t("drop.search"),
    leave: () => controller.abort(),
  };
}
