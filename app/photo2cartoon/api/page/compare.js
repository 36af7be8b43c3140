// The picture on show: with the photo under a slider, or alone where the browser cannot show the
// photo.

/** Make an image and wait until it is decoded; null if the browser cannot read it. */
export async function loadImage(url, alt) {
  const image = new Image();
  image.alt = alt;
  image.src = url;
  return image.decode().then(() => image, () => null);
}

/**
 * Cut the part of a photo out that a picture shows. `photoSize` and `size` are those of the upright
 * photo and of the picture, px; `map` leads from the one to the other, centres at whole numbers.
 */
export function cutOut(photo, photoSize, size, [[a, b, c], [d, e, f]]) {
  const canvas = element("canvas");
  [canvas.width, canvas.height] = size;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", photo.alt);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.setTransform(a, d, b, e, c + 0.5, f + 0.5);
  context.drawImage(photo, -0.5, -0.5, ...photoSize);
  return canvas;
}

/** Show `drawn`, over the `photo` of the same frame if there is one. */
export function show(view, drawn, photo) {
  const box = photo ? slider(drawn, photo) : element("div", "frame");
  if (!photo) box.append(drawn);
  const { naturalWidth: width, naturalHeight: height } = drawn;
  box.style.setProperty("--ratio", width / height);
  box.style.setProperty("--most", `${Math.max(width, 560)}px`);
  view.replaceChildren(box);
}

function slider(drawn, photo) {
  const box = element("div", "frame compare");
  const range = element("input");
  Object.assign(range, { type: "range", min: 0, max: 100, value: 50 });
  range.setAttribute("aria-label", "Border between photo and drawing");
  const move = () => {
    box.style.setProperty("--cut", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} percent photo, the rest drawn`);
  };
  range.addEventListener("input", move);
  move();
  const tags = ["Photo", "Drawn"].map((text, index) => {
    const tag = element("span", index ? "tag right" : "tag");
    tag.textContent = text;
    return tag;
  });
  photo.classList.add("photo-layer");
  drawn.classList.add("drawn-layer");
  box.append(photo, drawn, ...tags, range, element("span", "handle"));
  return box;
}

function element(name, classes = "") {
  const made = document.createElement(name);
  made.className = classes;
  return made;
}
