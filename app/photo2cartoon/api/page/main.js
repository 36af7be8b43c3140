// The page: a photo comes in, is sent, and its picture is shown. Nothing of it is stored.

import { cameraExists, takePhoto } from "./camera.js";
import { cutOut, loadImage, show } from "./compare.js";
import { fill, read } from "./options.js";
import { draw, loadStyles } from "./service.js";
import { Problem, explain } from "./words.js";

const find = (id) => document.getElementById(id);
const form = find("options");

let photo = null; // a File
let photoUrl = "";
let answer = null; // what `draw` returns, with the photo as an image, and each picture's url
let key = ""; // an API key: it is here and nowhere else
let running = null; // an AbortController

// Ways in

find("choose").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", ({ target }) => {
  take(target.files);
  target.value = ""; // so that the same file can be chosen again
});
find("camera").hidden = !cameraExists;
find("camera").addEventListener("click", () =>
  attempt(async () => {
    const taken = await takePhoto(find("booth"));
    if (taken) take([taken]);
  }),
);
find("example").addEventListener("click", () =>
  attempt(async () => {
    const example = await fetch("page/example.webp");
    take([new File([await example.blob()], "example.webp", { type: "image/webp" })]);
  }),
);
document.addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length) take(clipboardData.files);
  else showProblem(new Problem("no_picture_pasted"));
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  find("drop").classList.add("over");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) find("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  else showProblem(new Problem("no_picture_dropped"));
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
find("again").addEventListener("click", run);
find("access").addEventListener("submit", (event) => {
  event.preventDefault();
  key = find("key").value.trim();
  run();
});
find("cancel").addEventListener("click", () => running?.abort());
find("copy").addEventListener("click", copy);

function take(files) {
  [photo] = files;
  URL.revokeObjectURL(photoUrl);
  photoUrl = URL.createObjectURL(photo);
  const more = files.length > 1 ? " One photo at a time: this is the first of them." : "";
  if (document.activeElement === find("example")) find("choose").focus(); // the link goes
  find("chosen").textContent = `${photo.name || "Pasted picture"}, ${inWords(photo.size)}.${more}`;
  find("draw").textContent = "Draw it again";
  run();
}

function inWords(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} KB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// The work

async function run() {
  running?.abort();
  hideProblem();
  if (!photo) {
    showProblem(new Problem("photo_missing"));
    find("choose").focus();
    return;
  }
  const mine = (running = new AbortController());
  find("progress").hidden = false;
  find("stage").setAttribute("aria-busy", "true");
  find("stage").scrollIntoView({ block: "nearest" });
  const options = read(form);
  const loading = loadImage(photoUrl, "Your photo");
  try {
    const drawn = await draw(photo, options, key, mine.signal, (step) => mine.signal.aborted || tell(step));
    const before = await loading;
    mine.signal.throwIfAborted();
    for (const { url } of answer?.pictures ?? []) URL.revokeObjectURL(url);
    for (const picture of drawn.pictures) picture.url = URL.createObjectURL(picture.blob);
    answer = { ...drawn, before };
    offerFaces(options);
    await showPicture(0, options);
    const count = drawn.pictures.length;
    say(count > 1 ? `${count} faces are drawn.` : "The picture is drawn.");
  } catch (error) {
    if (mine.signal.aborted) say("Cancelled.");
    else showProblem(error);
  } finally {
    if (running === mine) {
      running = null;
      find("progress").hidden = true;
      find("stage").removeAttribute("aria-busy");
    }
  }
}

function tell({ phase, share, ahead, seconds }) {
  const bar = find("bar");
  if (phase === "upload") bar.value = share;
  else bar.removeAttribute("value");
  const queue = ahead ? `${ahead} ${ahead === 1 ? "photo" : "photos"} before yours` : "Yours is next";
  const words = { upload: "Uploading", queue, draw: "Drawing" }[phase];
  find("wait").textContent =
    phase === "queue" && seconds >= 1 ? `about ${Math.ceil(seconds)} s` : phase === "upload" ? `${Math.round(share * 100)} %` : "";
  if (find("phase").textContent !== words) say(words);
  find("phase").textContent = words;
}

// The outcome

async function showPicture(index, { compose, background, size: asked }) {
  const { blob, map, size, url } = answer.pictures[index];
  const drawn = await loadImage(url, "The drawing");
  const { before, photo: photoSize } = answer;
  const cut = before && compose === "portrait"; // the others have the photo's own frame
  show(find("view"), drawn, cut ? cutOut(before, photoSize, size, map) : before);
  find("view").classList.toggle("chequered", background === "transparent");
  const [width, height] = size;
  const seconds = (answer.milliseconds / 1000).toFixed(1);
  const short = asked && width < asked ? " The face has no more pixels in this photo." : "";
  find("caption").textContent = `${answer.style}, ${width} × ${height}\u00a0px, ${seconds}\u00a0s.${short}`;
  const link = find("download");
  link.href = url;
  link.download = `cartoon${index ? `-${index + 1}` : ""}.${blob.type.split("/")[1]}`;
  find("copy").hidden = !navigator.clipboard?.write;
  find("copy").textContent = "Copy the picture";
  find("actions").hidden = false;
  find("actions").dataset.current = index;
}

function offerFaces(options) {
  const items = answer.pictures.map(({ url }, index) => {
    const button = document.createElement("button");
    button.type = "button";
    const image = new Image(72, 72);
    image.src = url;
    image.alt = `Face ${index + 1}`;
    button.append(image);
    button.addEventListener("click", async () => {
      await showPicture(index, options);
      choose(index);
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  find("faces").replaceChildren(...items);
  find("faces").hidden = items.length < 2;
  choose(0);
}

function choose(index) {
  [...find("faces").querySelectorAll("button")].forEach((button, at) =>
    button.setAttribute("aria-pressed", at === index),
  );
}

async function copy() {
  const { blob } = answer.pictures[Number(find("actions").dataset.current)];
  try {
    // A promise, because Safari wants the call in the click itself; clipboards take PNG only.
    await navigator.clipboard.write([new ClipboardItem({ "image/png": toPng(blob) })]);
    find("copy").textContent = "Copied";
    say("Copied.");
  } catch {
    showProblem(new Problem("copy_failed"));
  }
}

async function toPng(blob) {
  if (blob.type === "image/png") return blob;
  const bitmap = await createImageBitmap(blob);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function showProblem(error) {
  if (!(error instanceof Problem)) console.error(error); // a bug of this page
  if (error.code === "unauthorized" && key) error = new Problem("key_unknown");
  const { title, text, again } = explain(error);
  find("problem-title").textContent = title;
  find("problem-text").textContent = text;
  find("again").hidden = !(again && photo);
  find("problem").hidden = false;
  find("problem").dataset.code = error.code;
  find("access").hidden = !["unauthorized", "key_unknown"].includes(error.code);
  if (!find("access").hidden) find("key").focus();
  find("stage").scrollIntoView({ block: "nearest" });
}

function hideProblem() {
  find("problem").hidden = find("access").hidden = true;
}

function say(words) {
  find("status").textContent = words;
}

async function attempt(work) {
  hideProblem();
  try {
    await work();
  } catch (error) {
    showProblem(error instanceof Problem ? error : new Problem("unreachable"));
  }
}

// The start: an example, and the styles that this service has

async function start() {
  const [drawn, before] = await Promise.all([
    loadImage("page/example-drawn.webp", "The example, drawn"),
    loadImage("page/example.webp", "The example: a portrait of an astronaut"),
  ]);
  if (!answer && drawn && before) {
    show(find("view"), drawn, before);
    find("caption").textContent = "An example. Move the border to see what became of the photo.";
  }
}

attempt(async () => fill(form, await loadStyles()));
attempt(start);
