// The choices: what the form offers for the styles that the service has, and what it asks for.

const find = (id) => document.getElementById(id);
const field = (form, name) => form.elements[name];

/** Fill the form with the service's styles and keep its parts in step with each other. */
export function fill(form, styles) {
  find("styles").replaceChildren(...styles.map(styleCard));
  const update = (event) => keepInStep(form, styles, event?.target.name);
  form.addEventListener("change", update);
  find("colour").addEventListener("input", () => {
    field(form, "background").value = "colour";
  });
  update();
}

/** Return the options that the form asks for, by the names that they have over HTTP. */
export function read(form) {
  const compose = field(form, "compose").value;
  const options = { compose, format: compose === "portrait" ? "png" : "jpeg" };
  if (field(form, "style")) options.style = field(form, "style").value;
  if (compose !== "whole") options.faces = field(form, "faces").value;
  if (compose === "portrait") {
    const background = field(form, "background").value;
    options.background = background === "colour" ? find("colour").value : background;
    const size = field(form, "size")?.value;
    if (size) options.size = size;
  }
  return options;
}

function styleCard({ name, default: chosen, licence, example }) {
  const label = document.createElement("label");
  label.className = "card";
  label.append(radio("style", name, chosen));
  if (example) {
    const image = new Image(96, 96);
    image.src = new URL(example, new URL("v1/styles", document.baseURI)).href;
    image.alt = "";
    label.append(image);
  }
  const text = document.createElement("span");
  text.textContent = name;
  label.append(text);
  label.title = licence;
  return label;
}

function radio(name, value, checked = false) {
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name, value, checked });
  return input;
}

// Not every style draws whole photos: whichever of the two was chosen last decides on the other.
function keepInStep(form, styles, changed) {
  const able = (value) => styles.filter((style) => style.compose.includes(value));
  for (const input of field(form, "compose")) input.parentElement.hidden = !able(input.value).length;
  const fitting = able(field(form, "compose").value);
  let style = styles.find(({ name }) => name === field(form, "style").value);
  if (!fitting.includes(style)) {
    if (changed === "compose") [style] = fitting;
    else field(form, "compose").value = style.compose[0];
    field(form, "style").value = style.name;
  }
  const compose = field(form, "compose").value;
  find("licence").textContent = `Licence: ${style.licence.split(":")[0]}`;
  field(form, "faces")[0].closest("fieldset").hidden = compose === "whole";
  field(form, "background")[0].closest("fieldset").hidden = compose !== "portrait";
  find("sizes").closest("fieldset").hidden = compose !== "portrait";
  offerSizes(form, style);
}

function offerSizes(form, { sizes, default_size: usual, drawn_at: sharp }) {
  const before = Number(field(form, "size")?.value);
  const chosen = sizes.includes(before) ? before : usual;
  const labels = sizes.map((size) => {
    const label = document.createElement("label");
    label.append(radio("size", size, size === chosen), `${size} px`);
    if (!sharp.includes(size)) label.title = "Drawn smaller, then enlarged";
    return label;
  });
  const same = [...find("sizes").querySelectorAll("input")].map(({ value }) => Number(value));
  if (String(same) !== String(sizes)) find("sizes").replaceChildren(...labels);
}
