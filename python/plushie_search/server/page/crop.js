// A dialog in which a box is drawn around the part of a picture that counts.

import {h, iconButton, openDialog} from "./dom.js";
import {percent, t} from "./i18n.js";
import {decode, render} from "./pictures.js";

/** The smallest side of the box and the step of the keys, in shares of 1. */
const LEAST = 0.08;
const STEP = 0.02;
const CORNERS = ["nw", "ne", "sw", "se"];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * Returns a box that has been moved and made larger by these amounts, within the picture. `edges` names those that
 * move: "n", "w" and so on; without any the whole box does.
 */
export function moved(box, edges, dx, dy) {
  let {x, y, width, height} = box;
  if (edges === "") return {x: clamp(x + dx, 0, 1 - width), y: clamp(y + dy, 0, 1 - height), width, height};
  if (edges.includes("w")) {
    const left = clamp(x + dx, 0, x + width - LEAST);
    [x, width] = [left, x + width - left];
  }
  if (edges.includes("e")) width = clamp(width + dx, LEAST, 1 - x);
  if (edges.includes("n")) {
    const top = clamp(y + dy, 0, y + height - LEAST);
    [y, height] = [top, y + height - top];
  }
  if (edges.includes("s")) height = clamp(height + dy, LEAST, 1 - y);
  return {x, y, width, height};
}

/** Opens the dialog for a picture; `ondone` is called once the picture is cropped. */
export async function openCrop(picture, ondone) {
  const bitmap = await decode(picture.file);
  if (!bitmap) return;
  const url = URL.createObjectURL(await render(bitmap, null, 1600));
  const ratio = bitmap.width / bitmap.height;
  bitmap.close();

  let box = picture.crop ?? {x: 0.1, y: 0.1, width: 0.8, height: 0.8};
  const frame = h(
    "div.crop-box",
    {tabIndex: 0, role: "group", "aria-roledescription": t("crop.box"), "aria-describedby": "crop-hint"},
    CORNERS.map((corner) => h(`span.handle.${corner}`, {"data-edges": corner})),
  );
  const stage = h("div.crop-stage", {"--ratio": ratio}, h("img", {src: url, alt: "", draggable: "false"}), frame);
  const show = () => {
    for (const [name, value] of Object.entries(box)) frame.style.setProperty(`--${name}`, value);
    frame.setAttribute("aria-label", t("crop.size", {width: percent(box.width), height: percent(box.height)}));
  };
  const change = (edges, dx, dy) => {
    box = moved(box, edges, dx, dy);
    show();
  };
  const resize = (by) => {
    change("nw", -by, -by);
    change("se", by, by);
  };
  show();

  stage.addEventListener("pointerdown", (event) => {
    const area = stage.getBoundingClientRect();
    const inside = event.target.closest(".crop-box");
    const edges = event.target.dataset.edges ?? "";
    if (!inside) {
      // A click beside the box brings it there, so that no drag is needed.
      change(
        "",
        (event.clientX - area.x) / area.width - box.x - box.width / 2,
        (event.clientY - area.y) / area.height - box.y - box.height / 2,
      );
    }
    let [lastX, lastY] = [event.clientX, event.clientY];
    stage.setPointerCapture(event.pointerId);
    stage.onpointermove = (move) => {
      change(edges, (move.clientX - lastX) / area.width, (move.clientY - lastY) / area.height);
      [lastX, lastY] = [move.clientX, move.clientY];
    };
    stage.onpointerup = stage.onpointercancel = () => (stage.onpointermove = null);
    event.preventDefault();
    frame.focus();
  });
  frame.addEventListener("keydown", (event) => {
    const [dx, dy] = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]}[
      event.key
    ] ?? [0, 0];
    if (dx || dy) change(event.shiftKey ? "se" : "", dx, dy);
    else if (event.key === "+" || event.key === "=") resize(STEP);
    else if (event.key === "-") resize(-STEP);
    else return;
    event.preventDefault();
  });

  const finish = async (crop) => {
    close();
    await picture.setCrop(crop);
    ondone();
  };
  const {body, close} = openDialog(t("crop.title"), {kind: "wide", onclose: () => URL.revokeObjectURL(url)});
  body.append(
    stage,
    h("p.muted", {id: "crop-hint"}, t("crop.hint")),
    h(
      "div.row.end",
      {},
      iconButton("minus", t("crop.smaller"), () => resize(-3 * STEP)),
      iconButton("plus", t("crop.larger"), () => resize(3 * STEP)),
      h("span.grow"),
      h("button", {onclick: () => finish(null)}, t("crop.whole")),
      h("button.primary", {onclick: () => finish(box)}, t("crop.apply")),
    ),
  );
  frame.focus();
}
