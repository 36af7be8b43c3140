// The page: a photo comes in, is sent, and its picture is shown. Nothing of it is stored.

import { cameraExists, takePhoto } from "./camera.js";
import { loadImage, show } from "./compare.js";
import { fill, read } from "./options.js";
import { draw, loadStyles } from "./service.js";
import { Problem, explain } from "./words.js";

const MOST_FACES = 32;
const find = (id) => document.getElementById(id);
const form = find("options");

let photo = null; // a File
let photoUrl = "";
let pictures = []; // {blob, url, style, size, milliseconds, face}
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
    const answer = await fetch("page/example.webp");
    take([new File([await answer.blob()], "example.webp", { type: "image/webp" })]);
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
  try {
    const each = options.faces === "all" && options.compose === "portrait";
    const drawn = each ? await drawEach(options, mine.signal) : [await drawOne(options, mine.signal)];
    for (const { url } of pictures) URL.revokeObjectURL(url);
    pictures = drawn.map((picture) => ({ ...picture, url: URL.createObjectURL(picture.blob) }));
    offerFaces();
    await showPicture(pictures[0], options);
    say(pictures.length > 1 ? `${pictures.length} faces are drawn.` : "The picture is drawn.");
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

const drawOne = (options, signal) => draw(photo, options, signal, (step) => signal.aborted || tell(step));

// One request gives one picture, so everyone's portrait is asked for one by one, from the left.
async function drawEach(options, signal) {
  const drawn = [];
  let last = null;
  for (let face = 0; face < MOST_FACES; face++) {
    try {
      drawn.push({ ...(await drawOne({ ...options, faces: face }, signal)), face });
    } catch (error) {
      if (error.code === "no_such_face" && (drawn.length || last)) break;
      if (error.code !== "face_too_small") throw error;
      last = error; // a passer-by costs the others nothing
    }
  }
  if (!drawn.length) throw last;
  return drawn;
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

async function showPicture(picture, { compose, background, size }) {
  const drawn = await loadImage(picture.url, "The drawing");
  const before = await loadImage(photoUrl, "Your photo");
  show(find("view"), drawn, before, compose !== "portrait");
  find("view").classList.toggle("chequered", background === "transparent");
  const [width, height] = picture.size;
  const seconds = (picture.milliseconds / 1000).toFixed(1);
  const short = size && width < size ? " The face has no more pixels in this photo." : "";
  find("caption").textContent = `${picture.style}, ${width} × ${height}\u00a0px, ${seconds}\u00a0s.${short}`;
  const link = find("download");
  link.href = picture.url;
  link.download = `cartoon${picture.face ? `-${picture.face + 1}` : ""}.${picture.blob.type.split("/")[1]}`;
  find("copy").hidden = !navigator.clipboard?.write;
  find("copy").textContent = "Copy the picture";
  find("actions").hidden = false;
  find("actions").dataset.current = pictures.indexOf(picture);
}

function offerFaces() {
  const options = read(form);
  const items = pictures.map((picture, index) => {
    const button = document.createElement("button");
    button.type = "button";
    const image = new Image(72, 72);
    image.src = picture.url;
    image.alt = `Face ${index + 1}`;
    button.append(image);
    button.addEventListener("click", async () => {
      await showPicture(picture, options);
      choose(index);
    });
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  find("faces").replaceChildren(...items);
  find("faces").hidden = pictures.length < 2;
  choose(0);
}

function choose(index) {
  [...find("faces").querySelectorAll("button")].forEach((button, at) =>
    button.setAttribute("aria-pressed", at === index),
  );
}

async function copy() {
  const { blob } = pictures[Number(find("actions").dataset.current)];
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
  const { title, text, again } = explain(error);
  find("problem-title").textContent = title;
  find("problem-text").textContent = text;
  find("again").hidden = !(again && photo);
  find("problem").hidden = false;
  find("problem").dataset.code = error.code;
  find("stage").scrollIntoView({ block: "nearest" });
}

function hideProblem() {
  find("problem").hidden = true;
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
  if (!pictures.length && drawn && before) {
    show(find("view"), drawn, before, true);
    find("caption").textContent = "An example. Move the border to see what became of the photo.";
  }
}

attempt(async () => fill(form, await loadStyles()));
attempt(start);
