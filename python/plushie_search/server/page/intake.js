// Takes files in: dropped anywhere on the page, pasted, or chosen; folders are read with all that is in them.

import {h} from "./dom.js";
import {t} from "./i18n.js";
import {ACCEPT, isPicture} from "./pictures.js";

/** The most files that are read from one drop. */
const MOST = 20000;

/** The receivers of the dialogs that take files, the uppermost last. */
const catchers = [];

/** Gives dropped and pasted files to `receive` and not to the page behind, until the returned function is called. */
export function catchFiles(receive) {
  catchers.push(receive);
  return () => catchers.splice(catchers.indexOf(receive), 1);
}

/**
 * Lets files be dropped and pasted anywhere. `receive` gets [{file, path}] of the pictures and how many other files
 * there were; `hint` returns the words that are shown while files are held above the page.
 */
export function listen({receive, hint}) {
  const words = h("p");
  const veil = h("div.veil", {hidden: true}, words);
  document.body.append(veil);
  let leaving = 0;
  const carries = (event) => event.dataTransfer?.types.includes("Files");
  window.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    words.textContent = hint();
    veil.hidden = false;
    // Browsers do not agree on when "dragleave" comes; "dragover" comes again within 350 ms.
    clearTimeout(leaving);
    leaving = setTimeout(() => (veil.hidden = true), 400);
  });
  window.addEventListener("drop", async (event) => {
    clearTimeout(leaving);
    veil.hidden = true;
    if (!carries(event)) return;
    event.preventDefault();
    give(await dropped(event.dataTransfer), uppermost(receive));
  });
  window.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    give(
      files.map((file) => ({file, path: file.name})),
      uppermost(receive),
    );
  });
}

/** Returns the receiver of files: that of an open dialog, none if the dialog takes no files, or else the page's. */
function uppermost(receive) {
  return catchers.at(-1) ?? (document.querySelector("dialog[open]") ? () => {} : receive);
}

function give(entries, receive) {
  const pictures = entries.filter(({file}) => isPicture(file));
  receive(pictures, entries.length - pictures.length);
}

/** Opens the system's file dialog; `folder` chooses a folder, `camera` a phone's camera. */
export function choose(receive, {multiple = true, folder = false, camera = false} = {}) {
  const input = h("input.hidden", {
    type: "file",
    accept: camera ? "image/*" : ACCEPT,
    multiple: multiple && !camera,
    webkitdirectory: folder,
    capture: camera ? "environment" : null,
    "aria-label": t("choose"),
    onchange: () => {
      give(
        [...input.files].map((file) => ({file, path: file.webkitRelativePath || file.name})),
        receive,
      );
      input.remove();
    },
    oncancel: () => input.remove(),
  });
  document.body.append(input);
  input.click();
}

async function dropped(transfer) {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!roots.some((root) => root.isDirectory)) return [...transfer.files].map((file) => ({file, path: file.name}));
  const found = [];
  for (const root of roots) await walk(root, found);
  return found;
}

async function walk(entry, found) {
  if (entry.name.startsWith(".") || found.length >= MOST) return;
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.push({file, path: entry.fullPath.replace(/^\//, "")});
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (some.length === 0) return;
    for (const one of some) await walk(one, found);
  }
}
