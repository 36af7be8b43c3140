// What this page says to the service, and what it hears.

import { Problem } from "./words.js";

const PATIENCE_MS = 120_000; // longer than a program waits: a person sees the queue move
const POLL_MS = 700;

/** Return the styles that the service has loaded; the first is its default. */
export async function loadStyles() {
  return (await ask("v1/styles")).styles;
}

/**
 * Send a photo and return `{pictures, style, photo, milliseconds}`: `photo` is its upright size,
 * and a picture is `{blob, size, map}`, whose map leads from px of the photo to its own.
 *
 * `key` is an API key, or empty. `tell` hears how far it is: `{phase: "upload", share}`,
 * `{phase: "queue", ahead, seconds}` or `{phase: "draw"}`. Aborting `signal` leaves the queue.
 */
export async function draw(photo, options, key, signal, tell) {
  const form = new FormData();
  form.append("photo", photo, "photo"); // its name stays here
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  const done = new AbortController();
  try {
    const call = await send(form, key, signal, (share) => {
      tell({ phase: "upload", share });
      if (share === 1) watchQueue(AbortSignal.any([done.signal, signal]), tell);
    });
    if (call.status !== 200 || !call.response) throw readProblem(call);
    const { pictures, style, photo: size } = call.response;
    const total = /total;dur=([\d.]+)/.exec(call.getResponseHeader("Server-Timing") ?? "");
    return {
      pictures: pictures.map(readPicture),
      style,
      photo: [size.width, size.height],
      milliseconds: Number(total?.[1] ?? 0),
    };
  } finally {
    done.abort();
  }
}

function readPicture({ image, media_type: type, width, height, from_photo: map }) {
  const bytes = Uint8Array.from(atob(image.split(",")[1]), (letter) => letter.charCodeAt(0));
  return { blob: new Blob([bytes], { type }), size: [width, height], map };
}

function send(form, key, signal, onUpload) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest(); // fetch() does not tell how much is uploaded
    call.open("POST", "cartoonize");
    call.responseType = "json";
    call.setRequestHeader("Accept", "application/json");
    call.setRequestHeader("X-Request-Timeout-Ms", PATIENCE_MS);
    try {
      if (key) call.setRequestHeader("X-API-Key", key);
    } catch {
      reject(new Problem("key_unknown")); // no header can hold it, so no service has it
      return;
    }
    call.upload.onprogress = ({ loaded, total }) => onUpload(Math.min(loaded / total, 0.99));
    call.upload.onload = () => onUpload(1);
    call.onload = () => resolve(call);
    call.onerror = () => reject(new Problem("unreachable"));
    call.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}

function readProblem(call) {
  const { code, detail, request_id: requestId } = call.response ?? {};
  if (!code) return new Problem(call.status >= 500 ? "unreachable" : "not_found"); // a proxy's own
  const retryAfter = Number(call.getResponseHeader("Retry-After") ?? 0);
  return new Problem(code, { detail, requestId, retryAfter });
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
