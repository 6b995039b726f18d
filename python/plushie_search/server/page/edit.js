// Changes the catalog: add, edit and remove an item or a reference, with undo.

import {itemPath, request} from "./api.js";
import {field, fill, h, icon, iconButton, openDialog, toast} from "./dom.js";
import {t} from "./i18n.js";
import {catchFiles, choose} from "./intake.js";

/** Returns the words for a failed request: the symptom, and a cure. */
export function problemText(error) {
  if (error.status === undefined) return error.message;
  const known = {
    0: "offline",
    401: "key",
    403: "forbidden",
    412: "changed",
    413: "large",
    429: "busy",
    503: "busy",
    504: "slow",
    507: "disk",
  }[error.status];
  if (known) return t(`problem.${known}`);
  return error.message || t("problem.server", {status: error.status});
}

/** Runs a change; a failure is shown in `alert`, or as a message. Returns whether it went well. */
async function attempt(run, alert = null) {
  try {
    await run();
    return true;
  } catch (error) {
    if (alert) alert.textContent = problemText(error);
    else toast(problemText(error), {kind: "error"});
    return false;
  }
}

/** Creates the fields of label, description and metadata; `values()` returns their content. */
function itemFields(item, app) {
  const list = h(
    "datalist",
    {id: "all-labels"},
    app.labels.map(({label}) => h("option", {value: label})),
  );
  const label = h("input", {list: list.id, value: item.label ?? "", maxlength: 512, dir: "auto", autocomplete: "off"});
  const text = h("textarea", {rows: 2, value: item.text ?? "", dir: "auto"});
  const rows = h("div.column");
  const add = (key = "", value = "") => {
    const row = h(
      "div.filter-row.pair",
      {},
      h("input", {value: key, "aria-label": t("filter.key"), placeholder: t("filter.key"), dir: "auto"}),
      h("input", {
        value: typeof value === "string" ? value : JSON.stringify(value),
        "aria-label": t("filter.value"),
        placeholder: t("filter.value"),
        dir: "auto",
      }),
      iconButton("close", t("metadata.remove"), () => row.remove()),
    );
    // A value that is not touched keeps its type.
    row.original = {key, value, text: row.children[1].value};
    rows.append(row);
    return row;
  };
  Object.entries(item.metadata ?? {}).forEach(([key, value]) => add(key, value));
  const values = () => ({
    label: label.value.trim() || null,
    text: text.value.trim() || null,
    metadata: Object.fromEntries(
      [...rows.children]
        .map((row) => {
          const [key, value] = [row.children[0].value.trim(), row.children[1].value];
          return [key, value === row.original.text ? row.original.value : parsed(value)];
        })
        .filter(([key]) => key),
    ),
  });
  const more = h("button.small", {onclick: () => add().children[0].focus()}, icon("plus"), t("metadata.add"));
  return {
    elements: [
      list,
      field(t("label"), label),
      field(t("description"), text),
      h("fieldset", {}, h("legend", {}, t("metadata")), rows, more, h("small.muted", {}, t("metadata.hint"))),
    ],
    values,
  };
}

function parsed(value) {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function openForm(title, elements, verb, run, onclose = null) {
  const alert = h("p.alert", {role: "alert"});
  const button = h("button.primary", {type: "submit"}, verb);
  const {body, close} = openDialog(title, {onclose});
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    if (await attempt(run, alert)) close();
    button.disabled = false;
  };
  body.append(
    h(
      "form.column",
      {onsubmit: submit},
      elements,
      alert,
      h("div.row.end", {}, h("button", {onclick: close}, t("cancel")), button),
    ),
  );
}

/** Opens a form for an item's label, text and metadata; `ondone` gets the item as it is then. */
export function editItem(item, app, ondone) {
  const {elements, values} = itemFields(item, app);
  openForm(t("edit.title", {item: item.id}), elements, t("save"), async () => {
    ondone(await request(itemPath(item.id), {method: "PATCH", json: values(), headers: {"If-Match": item.etag}}));
  });
}

/** Opens a form for a new item with these pictures: [{blob, name}], and its name if known. `ondone` gets the answer. */
export function addItem(pictures, app, ondone, name = "") {
  let chosen = [...pictures];
  const id = h("input", {value: name, required: true, maxlength: 512, dir: "auto", autocomplete: "off"});
  const {elements, values} = itemFields({}, app);
  const strip = h("div.strip");
  const urls = new Map();
  const address = (one) => {
    if (!urls.has(one)) urls.set(one, URL.createObjectURL(one.blob));
    return urls.get(one);
  };
  const take = (found) => {
    chosen = [...chosen, ...found.map(({file}) => ({blob: file, name: file.name}))];
    show();
  };
  const show = () =>
    fill(
      strip,
      chosen.map((one) =>
        h(
          "div.tile",
          {},
          h("img", {src: address(one), alt: one.name}),
          h(
            "div.tile-actions",
            {},
            iconButton(
              "close",
              t("add.remove", {name: one.name}),
              () => ((chosen = chosen.filter((other) => other !== one)), show()),
            ),
          ),
        ),
      ),
      h(
        "div.tile.more",
        {},
        iconButton("plus", t("choose"), () => choose(take)),
      ),
    );
  show();
  const release = catchFiles(take);
  const closed = () => {
    release();
    urls.forEach((url) => URL.revokeObjectURL(url));
  };
  const run = async () => {
    if (chosen.length === 0) throw new Error(t("add.none"));
    const form = new FormData();
    const {label, text, metadata} = values();
    form.append("id", id.value.trim());
    if (label) form.append("label", label);
    if (text) form.append("text", text);
    if (Object.keys(metadata).length) form.append("metadata", JSON.stringify(metadata));
    for (const {blob, name: file} of chosen) form.append("image", blob, file);
    ondone(await request("items", {method: "POST", body: form, timeout: 120000}));
  };
  openForm(t("add.title"), [field(t("name"), id, t("name.hint")), strip, ...elements], t("add"), run, closed);
}

/** Adds the query's pictures to an item as references. */
export function addReferences(item, pictures, ondone) {
  return attempt(async () => {
    const form = new FormData();
    for (const picture of pictures) form.append("image", picture.blob, picture.uploadName);
    const {added} = await request(itemPath(item.id, "/references"), {method: "POST", body: form, timeout: 120000});
    ondone(added ? t("reference.added", {n: added, item: item.id}) : t("reference.there", {item: item.id}));
  });
}

/** Asks once more, then removes a reference of an item; this cannot be undone. */
export function removeReference(item, reference, ondone) {
  openForm(
    t("reference.remove"),
    [h("p", {dir: "auto"}, t("reference.sure", {name: reference.name, item: item.id}))],
    t("remove"),
    async () => {
      const view = reference.view === null || reference.view === undefined ? "" : `?view=${reference.view}`;
      await request(itemPath(item.id, `/references/${reference.digest}${view}`), {method: "DELETE"});
      ondone();
    },
  );
}

/** Removes an item at once, and offers to undo it. */
export function removeItem(item, ondone, onundone) {
  return attempt(async () => {
    const {undo} = await request(itemPath(item.id), {method: "DELETE"});
    const restore = () =>
      attempt(async () => {
        await request(itemPath(item.id, "/restore"), {method: "POST", json: {undo}});
        toast(t("restored", {item: item.id}));
        onundone();
      });
    toast(t("removed", {item: item.id}), {action: undo ? {label: t("undo"), run: restore} : null});
    ondone();
  });
}
