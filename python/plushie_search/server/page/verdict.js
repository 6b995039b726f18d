// Says in a sentence which item the pictures of a query show, or that they show none.

import {h, icon} from "./dom.js";
import {percent, t} from "./i18n.js";

const SENTENCES = {match: "verdict.match", ambiguous: "verdict.ambiguous", unknown: "verdict.unknown"};

/** Creates the box of an answer; `add` opens the form of a new item, or is null. */
export function verdictBox(found, add) {
  const {verdict, plausible, probability} = found;
  const unknown = verdict === "unknown";
  return h(
    `div.verdict.${verdict}`,
    {},
    icon(unknown ? "alert" : "search"),
    h(
      "p",
      {},
      t(SENTENCES[verdict]),
      plausible.map((item, place) => [" ", h("strong", {dir: "auto"}, item), place < plausible.length - 1 && ","]),
      verdict === "match" && h("small.muted", {}, ` · ${t("verdict.likely", {share: percent(probability)})}`),
    ),
    unknown && add && h("button.primary.small", {onclick: add}, icon("plus"), t("verdict.add")),
  );
}
