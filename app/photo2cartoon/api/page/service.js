// What this page says to the service, and what it hears.

import { Problem } from "./words.js";

const PATIENCE_MS = 120_000; // longer than a program waits: a person sees the queue move
const POLL_MS = 700;

/** Return the styles that the service has loaded; the first is its default. */
export async function loadStyles() {
  return (await ask("v1/styles")).styles;
}

/**
 * Send a photo and return its picture: `{blob, style, size, milliseconds}`.
 *
 * `tell` hears how far it is: `{phase: "upload", share}`, `{phase: "queue", ahead, seconds}` or
 * `{phase: "draw"}`. Aborting `signal` leaves the queue.
 */
export async function draw(photo, options, signal, tell) {
  const form = new FormData();
  form.append("photo", photo, "photo"); // its name stays here
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  const done = new AbortController();
  try {
    const call = await send(form, signal, (share) => {
      tell({ phase: "upload", share });
      if (share === 1) watchQueue(AbortSignal.any([done.signal, signal]), tell);
    });
    if (call.status !== 200) throw await readProblem(call);
    const total = /total;dur=([\d.]+)/.exec(call.getResponseHeader("Server-Timing") ?? "");
    return {
      blob: call.response,
      style: call.getResponseHeader("X-Style"),
      size: call.getResponseHeader("X-Picture-Size").split("x").map(Number),
      milliseconds: Number(total?.[1] ?? 0),
    };
  } finally {
    done.abort();
  }
}

function send(form, signal, onUpload) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest(); // fetch() does not tell how much is uploaded
    call.open("POST", "cartoonize");
    call.responseType = "blob";
    call.setRequestHeader("X-Request-Timeout-Ms", PATIENCE_MS);
    call.upload.onprogress = ({ loaded, total }) => onUpload(Math.min(loaded / total, 0.99));
    call.upload.onload = () => onUpload(1);
    call.onload = () => resolve(call);
    call.onerror = () => reject(new Problem("unreachable"));
    call.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}

async function readProblem(call) {
  const retryAfter = Number(call.getResponseHeader("Retry-After") ?? 0);
  try {
    const { code, detail, request_id: requestId } = JSON.parse(await call.response.text());
    return new Problem(code, { detail, requestId, retryAfter });
  } catch {
    return new Problem(call.status >= 500 ? "unreachable" : "not_found"); // a proxy's own answer
  }
}

// Photos are taken in the order in which they came, so nobody's place ever grows: the smallest
// number seen to wait is the best guess at ours.
async function watchQueue(signal, tell) {
  let place = Infinity;
  while (!signal.aborted) {
    try {
      const { waiting, predicted_wait_ms: wait } = await ask("readyz", signal);
      place = Math.min(place, waiting);
      if (signal.aborted) return;
      tell(place ? { phase: "queue", ahead: place - 1, seconds: wait / 1000 } : { phase: "draw" });
    } catch {
      // The answer to the photo itself will say what is wrong.
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function ask(address, signal) {
  const answer = await fetch(address, { signal, cache: "no-store" });
  return answer.json();
}
