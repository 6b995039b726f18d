// The head of every page: name, views, catalogs, language, theme and help; and the dialog that asks for a key.

import {useKey} from "./api.js";
import {field, h, icon, iconButton, openDialog} from "./dom.js";
import {LANGUAGES, language, number, t} from "./i18n.js";
import {applyTheme, store, stored} from "./settings.js";

const THEMES = ["auto", "light", "dark"];
const THEME_ICONS = {auto: "auto", light: "sun", dark: "moon"};

/** Creates the head. `app` has stats, setLanguage(tag) and setCatalog(name). */
export function header(app) {
  const skip = h("button.skip", {onclick: () => document.getElementById("main").focus()}, t("skip"));
  const link = (view, hash, name, picture) =>
    h("a.nav", {href: hash, "data-view": view}, icon(picture), h("span", {}, name));
  const {catalogs, name} = app.stats;
  const catalog = h(
    "select",
    {"aria-label": t("catalogs"), onchange: () => app.setCatalog(catalog.value)},
    catalogs.map((one) => h("option", {value: one}, one)),
  );
  catalog.value = app.catalog ?? name;
  const tongue = h(
    "select",
    {"aria-label": t("language"), onchange: () => app.setLanguage(tongue.value)},
    Object.entries(LANGUAGES).map(([tag, own]) => h("option", {value: tag, lang: tag}, own)),
  );
  tongue.value = language();
  return h(
    "header.top",
    {},
    skip,
    h(
      "a.brand",
      {href: "#/image", "aria-label": t("title")},
      h("img", {src: new URL("logo.svg", import.meta.url).href, alt: "", width: 34, height: 34}),
      h("span", {}, t("title")),
    ),
    h(
      "nav",
      {"aria-label": t("views")},
      link("search", "#/image", t("view.search"), "search"),
      link("catalog", "#/catalog", t("catalog"), "grid"),
    ),
    h("span.grow"),
    h("small.muted.size", {}, t("size", {items: number(app.stats.items), n: app.stats.items})),
    catalogs.length > 1 && catalog,
    h("span.language", {}, icon("globe"), tongue),
    themeButton(),
    iconButton("help", t("help"), openHelp),
  );
}

/** Marks the view that is shown. */
export function markView(head, view) {
  head.querySelectorAll(".nav").forEach((link) => {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
}

function themeButton() {
  const current = () => stored("theme") ?? "auto";
  const button = iconButton(THEME_ICONS[current()], "", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % 3];
    store("theme", next === "auto" ? null : next);
    applyTheme();
    show();
  });
  const show = () => {
    const name = t("theme", {name: t(`theme.${current()}`)});
    button.setAttribute("aria-label", name);
    button.title = name;
    button.replaceChildren(icon(THEME_ICONS[current()]));
  };
  show();
  return button;
}

const KEYS = [
  ["/", "keys.words"],
  ["Esc", "keys.clear"],
  ["← ↑ → ↓", "keys.move"],
  ["Enter", "keys.open"],
  ["Ctrl V", "keys.paste"],
  ["?", "keys.help"],
];

/** Whether the keys "/", "?" and Escape act. */
export function shortcutsOn() {
  return stored("shortcuts") !== "off";
}

/** Opens the list of keys, with a switch that turns those of single characters off. */
export function openHelp() {
  const {body} = openDialog(t("help"));
  const box = h("input", {
    type: "checkbox",
    id: "shortcuts",
    checked: shortcutsOn(),
    onchange: () => store("shortcuts", box.checked ? null : "off"),
  });
  body.append(
    h("p", {}, t("help.text")),
    h(
      "dl.details.keys",
      {},
      KEYS.map(([key, words]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(words))]),
    ),
    h("p.row", {}, box, h("label", {for: "shortcuts"}, t("keys.on"))),
    h("p.muted", {}, t("help.privacy")),
  );
}

/** Asks for an API key; returns whether one was given. */
export function askForKey() {
  return new Promise((resolve) => {
    let given = false;
    const input = h("input", {type: "password", autocomplete: "off", required: true});
    const {body, close} = openDialog(t("key.title"), {onclose: () => resolve(given)});
    const submit = (event) => {
      event.preventDefault();
      useKey(input.value.trim());
      given = true;
      close();
    };
    body.append(
      h(
        "form.column",
        {onsubmit: submit},
        field(t("key"), input, t("key.hint")),
        h("div.row.end", {}, h("button.primary", {type: "submit"}, t("key.use"))),
      ),
    );
    input.focus();
  });
}
