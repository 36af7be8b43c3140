// Every problem in plain words: what happened, and what helps. The keys are the service's error
// codes (docs/http.md), and further down what can go wrong in the browser alone.

const WORDS = {
  malformed_request: ["The upload arrived broken", "Please send the photo once more."],
  photo_missing: ["There is no photo yet", "Choose one, drop one on this page, or paste it."],
  not_found: ["The service is not here", "This page may be out of date. Please load it again."],
  method_not_allowed: ["The service did not understand this page", "Please load the page again."],
  not_acceptable: ["Your browser and the service found no common format", "Please load the page again."],
  upload_timeout: ["The upload took too long", "Try a faster connection, or a smaller photo."],
  body_too_large: ["This file is too large", "The service takes no files of that size. Save the photo smaller, or as a JPEG."],
  too_many_photos: ["These are too many photos at once", "Please send fewer."],
  too_many_pixels: ["This photo has too many pixels", "Please make it smaller, and try again."],
  too_much_memory: ["This photo takes more memory than the service has", "Please make it smaller, or save it as a JPEG."],
  unsupported_format: ["This is not a kind of picture that can be read here", "JPEG, PNG, WebP, HEIC, AVIF, TIFF, GIF and BMP will do."],
  undecodable_image: ["This picture is damaged", "Part of the file is missing or unreadable. Try the original, or another copy."],
  no_face: ["No face was found in this photo", "Choose a photo in which a face is seen from the front, in good light and not covered."],
  no_such_face: ["There are fewer faces in this photo", "Please choose “The largest”."],
  face_too_small: ["The face is too small to draw", "Crop the photo around the person, or take one from closer by."],
  invalid_option: ["These choices do not go together", ""],
  unsupported_coding: ["Your browser packed the upload in a way that cannot be read here", "Please try another browser."],
  unauthorized: ["This service wants a key", "Whoever runs it gives keys out. This page keeps yours until you close or reload it, and nowhere else."],
  too_many_at_once: ["Too many photos of yours are being drawn", "Wait for one of them, then try again."],
  head_too_large: ["Your browser sent too much along", "Clearing the cookies of this site may help."],
  internal_error: ["Something broke on our side", "Your photo is fine. Please try again; if it keeps happening, tell whoever runs this service the number below."],
  unusable_output: ["The drawing did not work out", "Another photo of the same person, or another style, may do better."],
  overloaded: ["The service is busy", "It has as many photos as it can take."],
  would_be_late: ["The queue is too long right now", "Your photo would have had to wait for too long."],
  draining: ["The service is about to restart", "Please try again in a moment."],
  deadline_passed: ["This took too long", "The service had too much to do. Please try again."],

  key_unknown: ["The service does not know this key", "See whether all of it is there, or ask whoever runs the service."],
  unreachable: ["The service cannot be reached", "Check your connection, then try again."],
  no_picture_dropped: ["That was not a file", "Save the picture on your device first, then drop the file here."],
  no_picture_pasted: ["There is no picture in the clipboard", "Copy a picture first, then paste it here."],
  camera_denied: ["The camera is blocked", "Allow this page to use it in your browser’s settings, or choose a photo."],
  camera_missing: ["No camera was found", "Connect one, or choose a photo."],
  camera_failed: ["The camera cannot be used", "Another program may be using it. Close that one, or choose a photo."],
  copy_failed: ["The picture was not copied", "Your browser did not allow it. Please download the picture."],
};

const LATER = ["overloaded", "would_be_late", "draining", "deadline_passed", "unreachable"];
const AGAIN = [...LATER, "malformed_request", "upload_timeout", "internal_error"];

/** What the service or this page could not do. */
export class Problem extends Error {
  constructor(code, { detail = "", requestId = "", retryAfter = 0 } = {}) {
    super(code);
    Object.assign(this, { code, detail, requestId, retryAfter });
  }
}

/** Return the title and text that explain a problem, and whether another try may help. */
export function explain({ code, detail, requestId, retryAfter }) {
  const [title, help] = WORDS[code] ?? ["That did not work", detail];
  const parts = [help || detail];
  if (retryAfter && LATER.includes(code)) {
    parts.push(`Try again in ${retryAfter === 1 ? "a second" : `${retryAfter} seconds`}.`);
  }
  if (code === "internal_error" && requestId) parts.push(`Number: ${requestId}`);
  return { title, text: parts.filter(Boolean).join(" "), again: AGAIN.includes(code) };
}
