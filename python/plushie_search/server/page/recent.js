// Remembers the last searches with their pictures in the browser's database; nothing of it leaves the browser.

const LIMIT = 12;
const memory = new Map();
let database = null;
let writing = Promise.resolve();

function open() {
  database ??= new Promise((resolve) => {
    const request = indexedDB.open("plushie-search", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("recent", {keyPath: "id"});
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  }).catch(() => null);
  return database;
}

async function work(mode, run) {
  const opened = await open();
  if (!opened) return null;
  return new Promise((resolve) => {
    const request = run(opened.transaction("recent", mode).objectStore("recent"));
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
}

/**
 * Returns the remembered searches, latest first: {id, when, hash, tab, text, item, itemPicture, catalog, thumbnail,
 * pictures: [{file, name, crop}]}.
 */
export async function list() {
  await writing;
  return rows();
}

async function rows() {
  const found = (await work("readonly", (all) => all.getAll())) ?? [...memory.values()];
  return found.sort((a, b) => b.when - a.when);
}

/** Returns one remembered search, or null. */
export async function find(id) {
  await writing;
  return (await work("readonly", (all) => all.get(id))) ?? memory.get(id) ?? null;
}

/**
 * Remembers the search that a promise gives; one with the same id is replaced, and the oldest is forgotten beyond
 * twelve. Lists that are read meanwhile wait for it.
 */
export function remember(promise) {
  writing = Promise.all([promise, writing])
    .then(([entry]) => write(entry))
    .catch(() => {});
}

async function write(entry) {
  memory.set(entry.id, entry);
  await work("readwrite", (all) => all.put(entry));
  for (const old of (await rows()).slice(LIMIT)) {
    memory.delete(old.id);
    await work("readwrite", (all) => all.delete(old.id));
  }
}

/** Forgets all of them. */
export async function forgetAll() {
  await writing;
  memory.clear();
  await work("readwrite", (all) => all.clear());
}
