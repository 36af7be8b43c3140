// The picture on show: with the photo under a slider where both have the same frame, beside it
// where the portrait was turned and cropped, alone where the browser cannot show the photo.

/** Make an image and wait until it is decoded; null if the browser cannot read it. */
export async function loadImage(url, alt) {
  const image = new Image();
  image.alt = alt;
  image.src = url;
  return image.decode().then(() => image, () => null);
}

/** Show `drawn`, and `photo` if there is one; `framed` says that they have the same frame. */
export function show(view, drawn, photo, framed) {
  view.classList.toggle("pair", Boolean(photo && !framed));
  if (photo && framed) view.replaceChildren(slider(drawn, photo));
  else if (photo) view.replaceChildren(frame(drawn, "Drawn"), frame(photo, "Photo"));
  else view.replaceChildren(frame(drawn));
}

function frame(image, title) {
  const figure = element("figure", "frame");
  setSize(figure, image);
  figure.append(image);
  if (title) {
    const caption = element("figcaption", "tag");
    caption.textContent = title;
    figure.append(caption);
  }
  return figure;
}

function slider(drawn, photo) {
  const box = element("div", "frame compare");
  setSize(box, drawn);
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
  drawn.classList.add("drawn-layer");
  box.append(photo, drawn, ...tags, range, element("span", "handle"));
  return box;
}

function setSize(box, { naturalWidth: width, naturalHeight: height }) {
  box.style.setProperty("--ratio", width / height);
  box.style.setProperty("--most", `${Math.max(width, 560)}px`);
}

function element(name, classes = "") {
  const made = document.createElement(name);
  made.className = classes;
  return made;
}
