// Heat maps over the query's picture and a reference: which parts of them speak for the match.

import {request} from "./api.js";
import {announce, fill, h, toast} from "./dom.js";
import {problemText} from "./edit.js";
import {language, t} from "./i18n.js";

const COLOR = [230, 60, 0];
/** The longer side of a drawn map, in pixels. */
const SIDE = 256;
/** How much of the color lies over the picture at first, in percent. */
const OPACITY = 70;

/**
 * Creates the switch of the maps of a hit, with how strong they are and the sentence. `frames` are the elements around
 * the query's picture and around the reference's.
 */
export function heatSwitch(thing, reference, mine, frames, signal) {
  const said = h("p.heat-said", {dir: "auto", hidden: true});
  const strength = h("input", {type: "range", min: 0, max: 100, value: OPACITY, "aria-label": t("heat.opacity")});
  strength.hidden = true;
  const show = () => frames.forEach((frame) => frame.style.setProperty("--heat", strength.value / 100));
  strength.addEventListener("input", show);
  let maps = null;
  const button = h("button", {"aria-pressed": "false", onclick: toggle}, t("heat"));

  async function toggle() {
    const on = button.getAttribute("aria-pressed") !== "true";
    if (on && !maps) {
      button.disabled = true;
      maps = await read();
      button.disabled = false;
      if (!maps) return;
      frames.forEach((frame, place) => maps[place] && frame.append(maps[place]));
      show();
    }
    button.setAttribute("aria-pressed", String(on));
    for (const element of [said, strength, ...maps.filter(Boolean)]) element.hidden = !on;
  }

  async function read() {
    const form = new FormData();
    form.append("image", mine.blob, mine.uploadName);
    form.append("item", thing.item);
    form.append("reference", reference.view ? `${reference.digest}#${reference.view}` : reference.digest);
    form.append("language", language() === "en" ? "en" : "zh");
    try {
      const found = await request("explain", {method: "POST", body: form, signal});
      fill(said, [found.explanation, ...found.notes].join(" "));
      announce(found.explanation);
      return [found.query, found.matched].map((side) => side && drawn(side, found.scale));
    } catch (error) {
      if (!signal.aborted) toast(problemText(error), {kind: "error"});
      return null;
    }
  }

  return h("div.column", {}, button, strength, said);
}

/** Draws a map over a picture of this size: nothing where it is 0 or less, the full color at `scale`. */
export function drawn({map, size: [width, height]}, scale) {
  const [rows, columns] = [map.length, map[0].length];
  const cells = new ImageData(columns, rows);
  map.flat().forEach((value, cell) => {
    const share = Math.min(1, Math.max(0, value / Math.max(scale, 1e-9)));
    cells.data.set([...COLOR, Math.round(255 * share)], 4 * cell);
  });
  const small = h("canvas", {width: columns, height: rows});
  small.getContext("2d").putImageData(cells, 0, 0);
  const ratio = SIDE / Math.max(width, height);
  const [wide, high] = [width, height].map((side) => Math.max(1, Math.round(side * ratio)));
  const canvas = h("canvas.heat", {width: wide, height: high, "aria-hidden": "true"});
  canvas.getContext("2d").drawImage(small, 0, 0, wide, high);
  return canvas;
}
