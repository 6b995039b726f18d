// Inspects photos beside the golden samples of an item.

import {request} from "./api.js";
import {picture} from "./cards.js";
import {announce, field, fill, h, icon, openDialog} from "./dom.js";
import {problemText} from "./edit.js";
import {drawn} from "./heat.js";
import {number, percent, t} from "./i18n.js";
import {catchFiles, choose} from "./intake.js";
import {Picture} from "./pictures.js";

/** The most photos that are inspected together. */
const MOST = 20;
/** The least samples whose parts are compared; false alarms. */
const FEWEST = 3;
const ALARMS = 0.05;
/** How much of the color lies over the photo at first, in percent. */
const OPACITY = 70;

const ICONS = {pass: "check", review: "search", fail: "alert"};
const SAID = {pass: "inspect.pass", review: "inspect.review", fail: "inspect.fail"};
const figure = (value) => number(value, {maximumFractionDigits: 2});

/** Opens the dialog for an item, {id, references}; `given` are pictures of a query that are inspected at once. */
export function openInspection(item, given) {
  const controller = new AbortController();
  let photos = given.slice(0, MOST);
  let own = [];
  let asked = 0;
  const results = h("ul.inspected", {role: "list"});
  const camera = h(
    "select",
    {onchange: run},
    ["fixed", "free"].map((value) => h("option", {value}, t(`inspect.${value}`))),
  );
  const strength = h("input", {type: "range", min: 0, max: 100, value: OPACITY, oninput: show});
  const release = () => own.forEach((photo) => photo.release());
  const {dialog, body} = openDialog(t("inspect.title", {item: item.id}), {
    kind: "full",
    onclose: () => {
      controller.abort();
      letGo();
      release();
    },
  });
  const letGo = catchFiles(receive);
  dialog.classList.add("inspection");
  body.append(
    h(
      "div.row.inspect-head",
      {},
      h("button.primary", {onclick: () => choose(receive)}, icon("image"), t("inspect.choose")),
      field(t("inspect.camera"), camera, t("inspect.camera.hint")),
      field(t("heat.opacity"), strength),
    ),
    results,
  );

  function show() {
    results.style.setProperty("--heat", strength.value / 100);
  }

  async function receive(found) {
    const read = await Promise.all(found.slice(0, MOST).map(({file, path}) => Picture.read(file, path)));
    release();
    photos = own = read.filter(Boolean);
    run();
  }

  async function run() {
    const turn = (asked += 1);
    if (photos.length === 0) {
      fill(results, h("li.muted", {}, t("inspect.none")));
      return;
    }
    fill(results, h("li.muted", {}, t("inspect.wait")));
    const form = new FormData();
    for (const photo of photos) form.append("image", photo.blob, photo.uploadName);
    form.append("item", item.id);
    form.append("camera", camera.value);
    try {
      const answer = await request("inspect", {method: "POST", body: form, signal: controller.signal, timeout: 0});
      if (turn !== asked) return;
      const {results: found, failed} = answer;
      const bad = new Set(failed.map(({photo}) => photo));
      const usable = photos.filter((_, place) => !bad.has(String(place)));
      fill(
        results,
        found.map((one, place) => verdict(one, usable[place])),
        failed.map(({reason}) => h("li.muted", {dir: "auto"}, icon("alert"), reason)),
      );
      announce(found.map((one) => t(SAID[one.verdict])).join(", "));
    } catch (error) {
      if (controller.signal.aborted || turn !== asked) return;
      fill(results, h("li.muted", {dir: "auto"}, icon("alert"), problemText(error)));
    }
  }

  function verdict(one, photo) {
    const [nearest] = one.nearest;
    const sample = item.references.find(({name}) => name === nearest?.reference) ?? item.references[0];
    return h(
      `li.verdict.${one.verdict}`,
      {},
      h("h3", {}, icon(ICONS[one.verdict]), t(SAID[one.verdict])),
      h(
        "div.zoom-stage",
        {},
        h("figure", {}, photo.url ? framed(photo, one) : icon("image"), h("figcaption", {dir: "auto"}, photo.name)),
        h(
          "figure",
          {},
          h("div.frame", {}, picture(sample.picture, sample.name, {loading: "eager"})),
          h("figcaption", {dir: "auto"}, t("inspect.sample", {name: sample.name})),
        ),
      ),
      h("p", {}, sentences(one).join(" ")),
    );
  }

  function framed(photo, one) {
    const image = h("img", {src: photo.url, alt: t("query.alt", {name: photo.name})});
    const frame = h("div.frame", {}, image);
    const lay = () => frame.append(drawn({map: one.map, size: [image.naturalWidth, image.naturalHeight]}, 2 * one.limit));
    if (one.map) image.addEventListener("load", lay);
    return frame;
  }

  show();
  run();
}

/** Says the figures of a verdict. */
function sentences({similarity, threshold, probability, anomaly, limit, false_alarm_rate: alarms}) {
  const likely = probability === null ? "inspect.similarity" : "inspect.likelihood";
  const said = [t(likely, {share: percent(similarity), threshold: percent(threshold)})];
  if (anomaly === null) said.push(t("inspect.few", {least: FEWEST}));
  else said.push(t("inspect.anomaly", {anomaly: figure(anomaly), limit: figure(limit)}));
  if (alarms !== null && alarms > ALARMS + 1e-9) said.push(t("inspect.alarms", {share: percent(alarms)}));
  return said;
}
