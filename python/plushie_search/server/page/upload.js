// Adds many pictures as a job of the server, in parts that its limits allow, with progress.

import {followJob, request} from "./api.js";
import {fill, h, icon, openDialog, toast} from "./dom.js";
import {t} from "./i18n.js";
import {addItem, problemText} from "./edit.js";

/** The most bytes and files of one request. */
const BYTES = 20e6;
const FILES = 100;

/** Returns the name of the item that a path belongs to: its folder, or the file without its ending. */
export function itemOf(path) {
  const slash = path.lastIndexOf("/");
  return slash > 0 ? path.slice(0, slash) : path.replace(/\.[^.]+$/, "");
}

/** Splits [{file, path}] into lists that each fit one request. */
export function parts(entries) {
  const lists = [];
  let size = Infinity;
  for (const entry of entries) {
    if (size + entry.file.size > BYTES || lists.at(-1).length >= FILES) {
      lists.push([]);
      size = 0;
    }
    lists.at(-1).push(entry);
    size += entry.file.size;
  }
  return lists;
}

/** Drops the folder that all paths begin with, if there are folders below it: "photos/bear/1.jpg" is of "bear". */
export function withoutRoot(entries) {
  const roots = new Set(entries.map(({path}) => path.split("/")[0]));
  if (roots.size !== 1 || !entries.some(({path}) => path.split("/").length > 2)) return entries;
  return entries.map(({file, path}) => ({file, path: path.slice(path.indexOf("/") + 1)}));
}

/**
 * Adds pictures: those of one item by the form for it, others by a job, once the reader agrees to how they become
 * items. `ondone` is called after the catalog has changed.
 */
export function addMany(found, others, app, ondone) {
  const entries = withoutRoot(found);
  if (others) toast(t("files.others", {n: others}));
  if (entries.length === 0) return;
  const names = [...new Set(entries.map(({path}) => itemOf(path)))];
  const one = (name) => {
    const added = ({item}) => {
      toast(t("added", {item: item.id}));
      ondone();
    };
    addItem(
      entries.map(({file}) => ({blob: file, name: file.name})),
      app,
      added,
      name,
    );
  };
  if (names.length === 1 && parts(entries).length === 1) {
    one(names[0]);
    return;
  }
  const {body, close, dialog} = openDialog(t("upload.title", {n: entries.length}));
  const single = () => {
    close();
    one("");
  };
  const all = () => run(entries, {body, dialog, close, ondone});
  fill(
    body,
    h("p", {}, t("upload.how", {n: names.length})),
    h(
      "ul.preview",
      {},
      names.slice(0, 5).map((name) => h("li", {dir: "auto"}, name)),
      names.length > 5 && h("li", {}, "…"),
    ),
    h(
      "div.row.end",
      {},
      entries.length <= 8 && h("button", {onclick: single}, t("upload.single")),
      h("button.primary", {onclick: all, autofocus: true}, icon("upload"), t("upload.go", {n: names.length})),
    ),
  );
}

async function run(entries, {body, dialog, close, ondone}) {
  const controller = new AbortController();
  dialog.addEventListener("close", () => controller.abort());
  const bar = h("progress", {max: entries.length, value: 0, "aria-label": t("upload.progress")});
  const said = h("p.muted", {role: "status"});
  fill(body, bar, said, h("div.row.end", {}, h("button", {onclick: close}, t("cancel"))));
  const failures = [];
  let before = 0;
  let job = null;
  const show = (done) => {
    bar.value = done;
    said.textContent = t("upload.done", {done, total: entries.length});
  };
  show(0);
  try {
    for (const part of parts(entries)) {
      const form = new FormData();
      for (const {file, path} of part) form.append("image", file, path);
      ({job} = await request("jobs/add", {method: "POST", body: form, signal: controller.signal, timeout: 300000}));
      job = await followJob(job.id, ({done}) => show(before + done), controller.signal);
      failures.push(...job.failures);
      before += part.length;
      show(before);
    }
    finish(body, entries.length - failures.length, failures, close);
  } catch (error) {
    if (controller.signal.aborted) {
      if (job?.id) request(`jobs/${job.id}`, {method: "DELETE"}).catch(() => {});
      toast(t("upload.stopped", {done: bar.value, total: entries.length}));
    } else {
      fill(
        body,
        h("p.alert", {role: "alert"}, problemText(error)),
        h("p.muted", {}, t("upload.stopped", {done: bar.value, total: entries.length})),
        h("div.row.end", {}, h("button.primary", {onclick: close}, t("close"))),
      );
    }
  }
  ondone();
}

function finish(body, added, failures, close) {
  fill(
    body,
    h("p", {role: "status"}, t("upload.added", {n: added})),
    failures.length > 0 && [
      h("p.alert", {}, t("upload.failed", {n: failures.length})),
      h(
        "ul.failures",
        {tabIndex: 0},
        failures.slice(0, 100).map(([name, error]) => h("li", {dir: "auto"}, h("strong", {}, name), ` ${error}`)),
      ),
    ],
    h("div.row.end", {}, h("button.primary", {onclick: close}, t("close"))),
  );
  body.querySelector("button").focus();
}
