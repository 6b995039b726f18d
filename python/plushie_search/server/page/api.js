// Talks to the server: JSON in and out, errors as Problem, the key in a header and never in an address.

import {store, stored} from "./settings.js";

const ROOT = new URL("./", document.baseURI.split("#")[0]);
/** The longest wait for an answer, in milliseconds. */
const TIMEOUT = 30000;

let catalog = null;
let askForKey = async () => false;

/** A request that failed. `status` is 0 if no answer came; `retryAfter` is in seconds, or null. */
export class Problem extends Error {
  constructor(status, {code = "", detail = "", retryAfter = null, instance = ""} = {}) {
    super(detail);
    Object.assign(this, {status, code, retryAfter, instance});
  }

  /** Whether the same request may well succeed a little later. */
  get passing() {
    return [429, 503, 504].includes(this.status);
  }
}

/** Chooses the catalog of all later requests; null is the server's first. */
export function useCatalog(name) {
  catalog = name;
}

/** Sets the function that asks the reader for a key and returns whether one was given. */
export function onKeyNeeded(ask) {
  askForKey = ask;
}

/** Keeps a key until the window is closed. */
export function useKey(key) {
  store("key", key, {session: true});
}

function address(path) {
  return new URL(`api/v1/${catalog === null ? "" : `catalogs/${encodeURIComponent(catalog)}/`}${path}`, ROOT);
}

async function send(path, {method = "GET", body, json, headers = {}, signal, timeout = TIMEOUT} = {}) {
  const key = stored("key", {session: true});
  const timer = timeout ? AbortSignal.timeout(timeout) : null;
  try {
    const answer = await fetch(address(path), {
      method,
      body: json === undefined ? body : JSON.stringify(json),
      headers: {
        ...(key && {Authorization: `Bearer ${key}`}),
        ...(json !== undefined && {"Content-Type": "application/json"}),
        ...headers,
      },
      signal: AbortSignal.any([signal, timer].filter(Boolean)),
    });
    if (answer.ok) return answer;
    throw await problem(answer);
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    throw new Problem(timer?.aborted ? 504 : 0);
  }
}

async function problem(answer) {
  const body = await answer.json().catch(() => ({}));
  const wait = Number(answer.headers.get("Retry-After"));
  return new Problem(answer.status, {
    code: body.code,
    detail: typeof body.detail === "string" ? body.detail : (body.error ?? ""),
    retryAfter: wait > 0 ? wait : null,
    instance: body.instance ?? answer.headers.get("X-Request-ID") ?? "",
  });
}

/** Sends a request and returns the answer's JSON. If a key is needed, the reader is asked for it. */
export async function request(path, options = {}) {
  const answer = await withKey(() => send(path, options));
  return answer.status === 204 ? null : answer.json();
}

async function withKey(run) {
  try {
    return await run();
  } catch (error) {
    if (error.status === 401 && (await askForKey())) return withKey(run);
    throw error;
  }
}

/** Follows a job's server-sent events; calls `onjob` with each state of the job, and returns the last one. */
export async function followJob(id, onjob, signal) {
  const answer = await withKey(() => send(`jobs/${id}/events`, {signal, timeout: 0}));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return request(`jobs/${id}`, {signal});
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split(/\r?\n/);
      const kind = lines
        .find((line) => line.startsWith("event:"))
        ?.slice(6)
        .trim();
      if (!["progress", "done", "error"].includes(kind)) continue;
      const job = JSON.parse(
        lines
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5))
          .join("\n"),
      );
      if (kind === "error") throw new Problem(500, job.error);
      onjob(job);
      if (kind === "done") {
        reader.cancel().catch(() => {});
        return job;
      }
    }
  }
}

/** The path of an item, whose id may hold any character. */
export function itemPath(id, rest = "") {
  return `items/${encodeURIComponent(id)}${rest}`;
}
