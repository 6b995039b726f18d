// Builds the page's elements. Text is only ever set as text: nothing here parses HTML.

import {t} from "./i18n.js";

const SVG = "http://www.w3.org/2000/svg";
/** Names that are properties of an element and not attributes. */
const PROPERTIES = new Set([
  "checked",
  "disabled",
  "files",
  "hidden",
  "indeterminate",
  "srcObject",
  "tabIndex",
  "value",
]);

/**
 * Creates an element: h("button.primary", {onclick: go, "aria-label": name}, icon("plus"), text).
 * Attributes that are null, undefined or false are left out, and so are such children. "--x" sets a CSS variable.
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  if (name === "button") element.type = "button";
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (key.startsWith("--")) element.style.setProperty(key, value);
    else if (PROPERTIES.has(key)) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...some(children));
  return element;
}

/** Replaces the children of an element. */
export function fill(element, ...children) {
  element.replaceChildren(...some(children));
  return element;
}

function some(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Creates a picture of icons.svg, which screen readers leave out. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", new URL(`icons.svg#${name}`, import.meta.url).href);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** Creates a button that shows an icon alone; its name is read out and shown as a tooltip. */
export function iconButton(name, label, onclick, attributes = {}) {
  return h("button.quiet.round", {"aria-label": label, title: label, onclick, ...attributes}, icon(name));
}

let counter = 0;

/** Returns an id that no other element has. */
export function unique(name) {
  counter += 1;
  return `${name}-${counter}`;
}

/** Creates a labeled field: the label above, the control below, and a hint. */
export function field(label, control, hint = null) {
  control.id ||= unique("field");
  const note = hint ? h("small.muted", {id: unique("hint")}, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div.field", {}, h("label", {for: control.id}, label), control, note);
}

const live = h("div.hidden", {role: "status"});
const toasts = h("div.toasts", {role: "region"});

/** Puts the places of messages into the page. */
export function placeMessages() {
  toasts.setAttribute("aria-label", t("messages"));
  document.body.append(live, toasts);
}

/** Reads a text out by a screen reader. */
export function announce(text) {
  live.textContent = text;
}

/**
 * Shows a message for 12 seconds, longer while it has the pointer or the focus.
 * `action` is {label, run}; running it closes the message.
 */
export function toast(text, {action = null, kind = "info"} = {}) {
  let timer = 0;
  const close = () => {
    clearTimeout(timer);
    box.remove();
  };
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(close, 12000);
  };
  const stay = () => clearTimeout(timer);
  const run = () => {
    close();
    action.run();
  };
  const box = h(
    `div.toast.${kind}`,
    {onpointerenter: stay, onpointerleave: wait, onfocusin: stay, onfocusout: wait},
    h("span", {dir: "auto"}, text),
    action && h("button", {onclick: run}, action.label),
    iconButton("close", t("close"), close),
  );
  toasts.append(box);
  while (toasts.children.length > 3) toasts.firstChild.remove();
  announce(text);
  wait();
}

/**
 * Opens a modal dialog with a title; Escape and a click beside it close it, and the focus goes back.
 * Returns {dialog, body, close}. `onclose` is called once it is closed.
 */
export function openDialog(title, {kind = "narrow", onclose = null} = {}) {
  const heading = h("h2", {id: unique("title"), dir: "auto"}, title);
  const body = h("div.dialog-body");
  const dialog = h(`dialog.${kind}`, {"aria-labelledby": heading.id});
  const close = () => dialog.close();
  dialog.append(h("div.dialog-head", {}, heading, iconButton("close", t("close"), close)), body);
  let pressed = null;
  dialog.addEventListener("pointerdown", (event) => (pressed = event.target));
  dialog.addEventListener("click", (event) => event.target === dialog && pressed === dialog && close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    onclose?.();
  });
  document.body.append(dialog);
  dialog.showModal();
  // Messages must stay above the dialog, and reachable.
  dialog.append(toasts, live);
  dialog.addEventListener("close", () =>
    (document.querySelector("dialog[open]") ?? document.body).append(toasts, live),
  );
  return {dialog, heading, body, close};
}

/** Creates a message in place of content: an icon, a heading, a hint, and buttons. */
export function stateBox(name, title, hint = null, ...actions) {
  return h(
    "div.state",
    {},
    icon(name),
    h("h2", {}, title),
    hint && h("p.muted", {dir: "auto"}, hint),
    actions.length > 0 && h("div.row.center", {}, actions),
  );
}
