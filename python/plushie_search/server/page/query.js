// The panel in which a query is put together: three tabs, pictures, words, their weight, and options.

import {announce, field, fill, h, icon, iconButton} from "./dom.js";
import {percent, t} from "./i18n.js";
import {picture} from "./cards.js";
import {takePhoto} from "./camera.js";
import {openCrop} from "./crop.js";
import {filterPanel} from "./filters.js";
import {choose} from "./intake.js";
import {TABS} from "./route.js";

const ICONS = {image: "image", text: "text", both: "both"};
/** The numbers of results. */
const COUNTS = [5, 10, 20, 50, 100, 200];

/**
 * Creates the panel of a search `session`. It calls `actions`: receive(pictures, others), submit(), changed() after a
 * change of the query, and refine() after one of its options.
 */
export function queryPanel(session, app, actions) {
  const tabs = h("div.tabs", {role: "tablist", "aria-label": t("tabs"), onkeydown: rove});
  const panels = Object.fromEntries(
    TABS.map((tab) => [
      tab,
      h("div.tabpanel", {id: `panel-${tab}`, role: "tabpanel", "aria-labelledby": `tab-${tab}`}),
    ]),
  );
  const alert = h("p.alert", {role: "alert"});
  const options = h("div");
  const form = h("form.query", {onsubmit: submit, novalidate: true}, tabs, Object.values(panels), alert, options);

  function rove(event) {
    const at = TABS.indexOf(session.tab);
    const to = {ArrowRight: at + 1, ArrowLeft: at + 2, Home: 0, End: 2}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    select(TABS[to % 3]);
    tabs.querySelector('[aria-selected="true"]').focus();
  }

  function select(tab) {
    session.tab = tab;
    render();
    actions.changed();
  }

  function submit(event) {
    event.preventDefault();
    const missing =
      session.tab === "text"
        ? !session.text.trim()
        : !session.pictures.length && !session.item && (session.tab === "image" || !session.text.trim());
    alert.textContent = missing ? t(`missing.${session.tab}`) : "";
    if (missing) panels[session.tab].querySelector(session.tab === "image" ? "button" : "input").focus();
    else actions.submit();
  }

  function render() {
    const focused = document.activeElement?.dataset?.tab;
    alert.textContent = "";
    fill(
      tabs,
      TABS.map((tab) =>
        h(
          "button.tab",
          {
            id: `tab-${tab}`,
            role: "tab",
            "data-tab": tab,
            "aria-selected": String(tab === session.tab),
            "aria-controls": `panel-${tab}`,
            tabIndex: tab === session.tab ? 0 : -1,
            onclick: () => select(tab),
          },
          icon(ICONS[tab]),
          t(`tab.${tab}`),
        ),
      ),
    );
    for (const tab of TABS) {
      panels[tab].hidden = tab !== session.tab;
      fill(panels[tab], tab === session.tab && content(tab));
    }
    fill(options, optionsBox());
    if (focused) tabs.querySelector('[aria-selected="true"]').focus();
  }

  function content(tab) {
    if (tab === "image") return [pictures(), ready() && submitButton()];
    if (tab === "text") return [words(), suggestions()];
    return [pictures(), words(), ready() && slider()];
  }

  const ready = () => session.pictures.length > 0 || session.item;

  function submitButton() {
    return h("button.primary.wide", {type: "submit"}, icon("search"), t("search"));
  }

  function words() {
    const input = h("input.words", {
      type: "search",
      id: `words-${session.tab}`,
      value: session.text,
      placeholder: t(session.tab === "text" ? "words.placeholder" : "words.also"),
      autocomplete: "off",
      enterkeyhint: "search",
      maxlength: 1000,
      dir: "auto",
      oninput: () => {
        session.text = input.value;
        actions.changed();
      },
    });
    return h(
      "div.field",
      {},
      h("label", {for: input.id}, t("words")),
      h(
        "div.joined",
        {},
        input,
        h("button.primary", {type: "submit", "aria-label": t("search")}, icon("search"), h("span", {}, t("search"))),
      ),
    );
  }

  function suggestions() {
    if (session.text || app.labels.length === 0) return null;
    const ask = (label) => {
      session.text = label;
      render();
      actions.submit();
    };
    return h(
      "div.chips.suggestions",
      {role: "group", "aria-label": t("suggestions")},
      h("span.muted", {}, t("suggestions")),
      app.labels.slice(0, 6).map(({label}) => h("button.chip", {onclick: () => ask(label), dir: "auto"}, label)),
    );
  }

  function pictures() {
    const touch = matchMedia("(pointer: coarse)").matches;
    const more = () => choose(actions.receive);
    const photo = () => takePhoto((found) => actions.receive(found, 0));
    if (!ready()) {
      return h(
        "div.dropzone",
        {onclick: (event) => event.target.closest("button") || more()},
        icon("image"),
        h("p.lead", {}, t(touch ? "drop.lead.touch" : "drop.lead")),
        h("p.muted", {}, t(touch ? "drop.hint.touch" : "drop.hint")),
        h(
          "div.row.center",
          {},
          h(touch ? "button" : "button.primary", {onclick: more}, icon("upload"), t("choose")),
          h(touch ? "button.primary" : "button", {onclick: photo}, icon("camera"), t("photo")),
        ),
      );
    }
    return h(
      "div.strip",
      {role: "group", "aria-label": t("query.pictures")},
      session.item && itemTile(),
      session.pictures.map(tile),
      h(
        "div.tile.more",
        {},
        iconButton("plus", t("query.more"), more),
        iconButton("camera", t("photo"), photo),
        h("small.muted", {}, t("query.view")),
      ),
    );
  }

  function tile(one, index) {
    const name = one.name || t("picture.n", {index: index + 1});
    const remove = () => {
      session.pictures = session.pictures.filter((other) => other !== one);
      one.release();
      session.recent = null;
      announce(t("query.removed"));
      render();
      actions.changed();
      panels[session.tab].querySelector("button").focus();
    };
    const cropped = () => {
      session.recent = null;
      render();
      actions.submit();
    };
    return h(
      "div.tile",
      {},
      one.url
        ? h("img", {src: one.url, alt: t("query.alt", {name})})
        : h("span.noimage", {}, icon("image"), h("small", {}, t("preview.none"))),
      h(
        "div.tile-actions",
        {},
        one.url &&
          iconButton("crop", t("crop.of", {name}), () => openCrop(one, cropped), {
            "aria-pressed": one.crop ? "true" : null,
          }),
        iconButton("close", t("query.remove", {name}), remove),
      ),
    );
  }

  function itemTile() {
    const remove = () => {
      session.item = null;
      render();
      actions.changed();
      panels[session.tab].querySelector("button").focus();
    };
    return h(
      "div.tile",
      {},
      session.itemPicture ? picture(session.itemPicture, "") : h("span.noimage", {}, icon("similar")),
      h("small.tile-name", {dir: "auto"}, t("like", {item: session.item})),
      h("div.tile-actions", {}, iconButton("close", t("query.remove", {name: session.item}), remove)),
    );
  }

  function slider() {
    const said = h("output", {for: "weight"});
    const say = () => {
      said.textContent = t("weight.now", {
        image: percent(session.weight / 100),
        text: percent(1 - session.weight / 100),
      });
      input.setAttribute("aria-valuetext", said.textContent);
      input.style.setProperty("--share", `${session.weight}%`);
    };
    const input = h("input", {
      type: "range",
      id: "weight",
      min: 0,
      max: 100,
      step: 5,
      oninput: () => {
        session.weight = Number(input.value);
        say();
      },
      onchange: () => actions.refine(),
    });
    input.value = session.weight;
    say();
    return h(
      "div.weight",
      {},
      h("label", {for: "weight"}, t("weight")),
      h(
        "div.scale",
        {},
        h("span", {"aria-hidden": "true"}, t("scale.text")),
        input,
        h("span", {"aria-hidden": "true"}, t("scale.image")),
      ),
      said,
    );
  }

  function optionsBox() {
    const select = (label, value, choices, set) => {
      const control = h(
        "select",
        {onchange: () => (set(control.value), actions.refine())},
        choices.map(([key, text]) => h("option", {value: key}, text)),
      );
      control.value = value;
      return field(label, control);
    };
    const {engines, models, max_k: most, default_k: usual} = app.stats;
    const counts = [...new Set([...COUNTS.filter((count) => count <= most), usual, session.k ?? usual])].sort(
      (a, b) => a - b,
    );
    const minimum = h("input", {
      type: "number",
      min: 0,
      max: 100,
      step: 5,
      value: session.minimum || "",
      placeholder: "0",
      onchange: () => {
        session.minimum = Math.min(100, Math.max(0, Math.round(Number(minimum.value) || 0)));
        actions.refine();
      },
    });
    const filters = session.filters.labels.length + session.filters.rows.length;
    const box = h(
      "details.options",
      {ontoggle: () => (session.optionsOpen = box.open)},
      h(
        "summary",
        {},
        icon("filter"),
        t("options"),
        filters > 0 && h("span.count", {}, t("filters.active", {n: filters})),
      ),
      h(
        "div.options-grid",
        {},
        select(
          t("count"),
          session.k ?? usual,
          counts.map((count) => [count, count]),
          (value) => (session.k = Number(value) === usual ? null : Number(value)),
        ),
        models.length > 1 &&
          select(
            t("engine"),
            session.engine ?? "",
            [["", t("engine.auto")], ...engines.map((name) => [name, name === "both" ? t("engine.all") : name])],
            (value) => (session.engine = value || null),
          ),
        field(t("minimum"), minimum, t("minimum.hint")),
      ),
      filterPanel(session.filters, app, actions.refine),
    );
    box.open = Boolean(session.optionsOpen);
    return box;
  }

  render();
  return {element: form, render, focusWords: () => panels[session.tab].querySelector(".words")?.focus()};
}
