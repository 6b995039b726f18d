// Turns the page's state into the address after "#" and back, so that a search can be linked and reloaded.

/** The tabs of the search. */
export const TABS = ["image", "text", "both"];
export const OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "~"];

const MONGO = {"=": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte", "~": "$contains"};
const WORDS = new Set(["id", "label", "text"]);

/** Returns the state that an address names. */
export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const values = new URLSearchParams(query);
  const whole = (name, otherwise) => (/^\d+$/.test(values.get(name) ?? "") ? Number(values.get(name)) : otherwise);
  return {
    view: path === "catalog" ? "catalog" : "search",
    tab: TABS.includes(path) ? path : "image",
    text: values.get("q") ?? "",
    item: values.get("item"),
    k: whole("k", null),
    weight: Math.min(100, whole("w", 60)),
    engine: values.get("engine"),
    minimum: whole("min", 0),
    recent: values.get("r"),
    catalog: values.get("catalog"),
    page: values.getAll("after"),
    filters: {labels: values.getAll("label"), rows: values.getAll("f").map(parseRow).filter(Boolean)},
  };
}

/** Returns the address of a state; values that are as by default are left out. */
export function format(state) {
  const values = new URLSearchParams();
  const put = (name, value) => value && values.append(name, value);
  put("catalog", state.catalog);
  if (state.view === "catalog") {
    put("q", state.text);
    state.page?.forEach((cursor) => put("after", cursor));
  } else {
    if (state.tab !== "image") put("q", state.text);
    if (state.tab !== "text") {
      put("item", state.item);
      put("r", state.recent);
    }
    if (state.tab === "both" && state.weight !== 60) values.append("w", state.weight);
    put("k", state.k);
    put("engine", state.engine);
    put("min", state.minimum);
  }
  state.filters?.labels.forEach((label) => put("label", label));
  state.filters?.rows.forEach((row) => put("f", row.key + row.operator + row.value));
  const query = values.toString();
  return `#/${state.view === "catalog" ? "catalog" : state.tab}${query && `?${query}`}`;
}

function parseRow(text) {
  const found = /^(.+?)(!=|<=|>=|=|<|>|~)(.*)$/s.exec(text);
  return found && {key: found[1], operator: found[2], value: found[3]};
}

/** Returns the filter for the server, or null. A value that is JSON is that, any other a text. */
export function where({labels, rows}) {
  const parts = rows.map(({key, operator, value}) => ({[key]: {[MONGO[operator]]: typed(key, value)}}));
  if (labels.length) parts.unshift({label: {$in: labels}});
  if (parts.length === 0) return null;
  return parts.length === 1 ? parts[0] : {$and: parts};
}

function typed(key, value) {
  if (WORDS.has(key)) return value;
  try {
    const parsed = JSON.parse(value);
    return parsed !== null && typeof parsed === "object" ? value : parsed;
  } catch {
    return value;
  }
}
