// Speaks the reader's language: texts from en.json, zh-TW.json and zh-CN.json, numbers as the language writes them.

import {stored, store} from "./settings.js";

/** The languages of the page, each by its own name. */
export const LANGUAGES = {en: "English", "zh-TW": "繁體中文", "zh-CN": "简体中文"};

let texts = {};
let current = "en";
let plural = new Intl.PluralRules("en");

/** Returns the language of the page that fits best to a list of language tags, most wanted first. */
export function choose(wanted) {
  for (const tag of wanted) {
    const {language, script} = locale(tag);
    if (language === "en") return "en";
    if (language === "zh" || language === "yue") return script === "Hant" ? "zh-TW" : "zh-CN";
  }
  return "en";
}

function locale(tag) {
  try {
    return new Intl.Locale(tag).maximize();
  } catch {
    return {}; // some systems name their language in another form
  }
}

/** Loads the texts of a language, by default that chosen before or that of the browser. */
export async function load(language = null) {
  current = language ?? stored("language") ?? choose(navigator.languages);
  if (!(current in LANGUAGES)) current = "en";
  if (language) store("language", language);
  const answer = await fetch(new URL(`${current}.json`, import.meta.url));
  texts = await answer.json();
  plural = new Intl.PluralRules(current);
  document.documentElement.lang = {en: "en", "zh-TW": "zh-Hant-TW", "zh-CN": "zh-Hans-CN"}[current];
}

/** Returns the page's language. */
export function language() {
  return current;
}

/** Returns the text of a key, with {name} replaced; if `n` is among the values, in the form for that number. */
export function t(key, values = {}) {
  const text = texts["n" in values ? `${key}.${plural.select(values.n)}` : key] ?? texts[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) =>
    typeof values[name] === "number" ? number(values[name]) : values[name],
  );
}

/** Returns a number as the language writes it. */
export function number(value, options = {}) {
  return new Intl.NumberFormat(current, options).format(value);
}

/** Returns a share of 1 in percent, rounded down, so that only 1 is "100 %". */
export function percent(value) {
  return number(Math.floor(value * 100 + 1e-4) / 100, {style: "percent"});
}
