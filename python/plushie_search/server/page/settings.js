// Keeps the reader's choices in the browser; without storage (a private window) they last as long as the page.

const PREFIX = "plushie-search.";
const memory = new Map();

/** Returns a stored choice, or null. With `session` it is one that ends with the window. */
export function stored(name, {session = false} = {}) {
  try {
    return (session ? sessionStorage : localStorage).getItem(PREFIX + name);
  } catch {
    return memory.get(name) ?? null;
  }
}

/** Stores a choice; null forgets it. */
export function store(name, value, {session = false} = {}) {
  memory.set(name, value);
  try {
    const storage = session ? sessionStorage : localStorage;
    if (value === null) storage.removeItem(PREFIX + name);
    else storage.setItem(PREFIX + name, value);
  } catch {
    // The choice lasts as long as the page.
  }
}

/** Applies the stored theme: "light", "dark", or that of the system. */
export function applyTheme() {
  const theme = stored("theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}
