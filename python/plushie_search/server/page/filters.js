// Filters by label and metadata, for the search and for the catalog.

import {h, icon, iconButton, unique} from "./dom.js";
import {t} from "./i18n.js";
import {OPERATORS} from "./route.js";

/** Creates the panel of `filters`, {labels, rows}, which it changes. */
export function filterPanel(filters, app, onchange) {
  return h(
    "div.filters",
    {},
    app.labels.length > 0 && labelChips(filters, app.labels, onchange),
    rows(filters, app.keys, onchange),
  );
}

function labelChips(filters, labels, onchange) {
  const chip = ({label, items}) => {
    const button = h(
      "button.chip",
      {
        "aria-pressed": String(filters.labels.includes(label)),
        onclick: () => {
          const on = !filters.labels.includes(label);
          filters.labels = on ? [...filters.labels, label] : filters.labels.filter((other) => other !== label);
          button.setAttribute("aria-pressed", String(on));
          onchange();
        },
      },
      h("span", {dir: "auto"}, label),
      h("small.muted", {}, items),
    );
    return button;
  };
  const heading = h("h3", {id: unique("labels")}, t("labels"));
  return [heading, h("div.chips.scroll", {role: "group", "aria-labelledby": heading.id}, labels.map(chip))];
}

function rows(filters, keys, onchange) {
  const list = h(
    "datalist",
    {id: unique("keys")},
    [...new Set([...keys, "id", "text"])].map((key) => h("option", {value: key})),
  );
  const key = h("input", {
    list: list.id,
    "aria-label": t("filter.key"),
    placeholder: t("filter.key"),
    autocomplete: "off",
    dir: "auto",
  });
  const operator = h(
    "select",
    {"aria-label": t("filter.operator")},
    OPERATORS.map((sign) => h("option", {value: sign}, sign === "~" ? t("filter.contains") : sign)),
  );
  const value = h("input", {
    "aria-label": t("filter.value"),
    placeholder: t("filter.value"),
    autocomplete: "off",
    dir: "auto",
  });
  const current = h("div.chips");
  const show = () => {
    current.replaceChildren(
      ...filters.rows.map((row) => {
        const name = `${row.key} ${row.operator === "~" ? t("filter.contains") : row.operator} ${row.value}`;
        const remove = () => {
          filters.rows = filters.rows.filter((other) => other !== row);
          show();
          key.focus();
          onchange();
        };
        return h(
          "span.chip.on",
          {},
          h("span", {dir: "auto"}, name),
          iconButton("close", t("filter.remove", {name}), remove),
        );
      }),
    );
  };
  const add = () => {
    if (!key.value.trim() || !value.value.trim()) {
      (key.value.trim() ? value : key).focus();
      return;
    }
    filters.rows = [...filters.rows, {key: key.value.trim(), operator: operator.value, value: value.value.trim()}];
    key.value = value.value = "";
    show();
    onchange();
  };
  const enter = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    add();
  };
  key.addEventListener("keydown", enter);
  value.addEventListener("keydown", enter);
  show();
  return [
    h("h3", {}, t("metadata")),
    current,
    h("div.filter-row", {}, list, key, operator, value, h("button", {onclick: add}, icon("plus"), t("filter.add"))),
  ];
}
