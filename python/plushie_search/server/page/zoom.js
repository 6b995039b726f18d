// A dialog with one item: a large picture beside the query, all of its references, its facts, and its actions.

import {itemPath, request} from "./api.js";
import {facts, meter, picture, turntable} from "./cards.js";
import {announce, fill, h, icon, iconButton, openDialog, toast} from "./dom.js";
import {heatSwitch} from "./heat.js";
import {t} from "./i18n.js";
import {openInspection} from "./inspect.js";
import {addReferences, editItem, problemText, removeItem, removeReference} from "./edit.js";

/**
 * Opens the dialog for `things[index]`: hits of a search, or items of the catalog. `actions` has similar(thing),
 * changed() after a change of the catalog, and `pictures`, those of the query.
 */
export function openZoom(things, index, app, actions) {
  const controller = new AbortController();
  let at = index;
  let shown = null;
  const view = openDialog("", {kind: "full", onclose: () => controller.abort()});
  const stage = h("div.zoom-stage");
  const strip = h("div.strip");
  const side = h("div.zoom-side");
  const place = h("small.muted");
  view.body.append(h("div.zoom", {}, h("div.zoom-pictures", {}, stage, strip), side));
  view.dialog
    .querySelector(".dialog-head")
    .lastChild.before(
      ...(things.length > 1
        ? [place, iconButton("left", t("previous"), () => step(-1)), iconButton("right", t("next"), () => step(1))]
        : []),
    );
  view.dialog.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea")) return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  function step(by) {
    if (!things[at + by]) return;
    at += by;
    load();
    announce(things[at].item);
  }

  async function load() {
    const thing = things[at];
    shown = null;
    view.heading.textContent = thing.item;
    place.textContent = t("place", {rank: at + 1, count: things.length});
    fill(strip);
    show(thing, thing.references?.[0] ?? {...thing.reference, picture: thing.picture, thumbnail: thing.thumbnail});
    try {
      const item = await request(itemPath(thing.item), {signal: controller.signal});
      if (things[at] !== thing) return;
      shown = item;
      const match = item.references.find(
        ({digest, view: number}) => digest === thing.reference?.digest && number === thing.reference?.view,
      );
      show(thing, match ?? item.references[0]);
    } catch (error) {
      if (!controller.signal.aborted) toast(problemText(error), {kind: "error"});
    }
  }

  function show(thing, reference) {
    const mine = actions.pictures.filter(({url}) => url)[0];
    const name = reference?.name ?? "";
    const frame = (image) => h("div.frame", {}, image);
    const asked = mine && frame(h("img", {src: mine.url, alt: t("query.alt", {name: mine.name})}));
    const found =
      reference &&
      frame(picture(reference.picture, t("picture.of", {item: thing.item, name}), {loading: "eager"}));
    const heat = asked && reference?.digest && heatSwitch(thing, reference, mine, [asked, found], controller.signal);
    fill(
      stage,
      mine &&
        h(
          "figure",
          {},
          asked,
          h("figcaption", {}, t("query.mine")),
        ),
      reference &&
        h(
          "figure",
          {},
          found,
          h("figcaption", {dir: "auto"}, name),
        ),
    );
    fill(
      strip,
      shown?.turntable && turntable({...shown, item: shown.id}),
      (shown?.references ?? []).map((one) =>
        thumb(thing, one, one.digest === reference.digest && one.view === reference.view),
      ),
    );
    fill(side, description(thing, reference, heat));
  }

  function thumb(thing, reference, current) {
    const pick = () => {
      show(thing, reference);
      strip.querySelector('[aria-current="true"]').focus();
    };
    const matched = reference.digest === thing.reference?.digest && reference.view === thing.reference?.view;
    return h(
      "button.thumb",
      {
        onclick: pick,
        "aria-current": String(current),
        "aria-label": t(matched ? "reference.matched" : "reference.show", {name: reference.name}),
        title: reference.name,
      },
      picture(reference.thumbnail, ""),
      matched && h("small", {}, t("matched")),
    );
  }

  function buttons(thing, reference) {
    const changed = (text) => {
      toast(text);
      actions.changed();
      load();
    };
    const similar = () => {
      view.close();
      actions.similar(thing);
    };
    const edited = (fresh) => {
      Object.assign(thing, {label: fresh.label, text: fresh.text, metadata: fresh.metadata});
      changed(t("edit.saved", {item: fresh.id}));
    };
    const removed = () => {
      view.close();
      actions.changed();
    };
    return [
      h("button.primary", {onclick: similar}, icon("similar"), t("similar")),
      shown && h("button", {onclick: () => openInspection(shown, actions.pictures)}, icon("check"), t("inspect")),
      app.stats.writable &&
        shown && [
          actions.pictures.length > 0 &&
            h(
              "button",
              {onclick: () => addReferences(shown, actions.pictures, changed)},
              icon("plus"),
              t("reference.add", {n: actions.pictures.length}),
            ),
          h(
            "div.row",
            {},
            h("button.small", {onclick: () => editItem(shown, app, edited)}, icon("edit"), t("edit")),
            shown.references.length > 1 &&
              h(
                "button.small",
                {onclick: () => removeReference(shown, reference, () => changed(t("reference.removed")))},
                icon("trash"),
                t("reference.remove"),
              ),
            h(
              "button.small.danger",
              {onclick: () => removeItem(shown, removed, actions.changed)},
              icon("trash"),
              t("remove"),
            ),
          ),
        ],
    ];
  }

  function description(thing, reference, heat) {
    const item = shown ?? thing;
    return [
      thing.rank &&
        h("div.zoom-score", {}, meter(thing), h("small.muted", {}, t("cosine", {score: thing.score.toFixed(3)}))),
      heat,
      h("div.column", {}, buttons(thing, reference)),
      h(
        "dl.details",
        {},
        item.label && [h("dt", {}, t("label")), h("dd", {dir: "auto"}, item.label)],
        item.text && [h("dt", {}, t("description")), h("dd", {dir: "auto"}, item.text)],
        facts(item.metadata).map(([key, text]) => [h("dt", {dir: "auto"}, key), h("dd", {dir: "auto"}, text)]),
        Object.keys(thing.scores ?? {}).length > 1 &&
          Object.entries(thing.scores).map(([model, score]) => [h("dt", {}, model), h("dd", {}, score.toFixed(3))]),
        shown && [h("dt", {}, t("references")), h("dd", {}, t("references.count", {n: shown.references.length}))],
      ),
    ];
  }

  load();
}
