// The camera: a dialog that shows what it sees, and gives one photo.

import { Problem } from "./words.js";

const REASONS = {
  NotAllowedError: "camera_denied",
  SecurityError: "camera_denied",
  NotFoundError: "camera_missing",
  OverconstrainedError: "camera_missing",
};

/** Whether the browser lets this page ask for a camera; it needs HTTPS or localhost. */
export const cameraExists = Boolean(navigator.mediaDevices?.getUserMedia);

/** Let the visitor take a photo; null if they close the dialog. */
export async function takePhoto(dialog) {
  const video = dialog.querySelector("video");
  let stream;
  try {
    const wanted = { facingMode: "user", width: { ideal: 1280 } };
    stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch (error) {
    throw new Problem(REASONS[error.name] ?? "camera_failed");
  }
  video.srcObject = stream;
  dialog.returnValue = "";
  dialog.showModal();
  try {
    return await new Promise((resolve) => {
      dialog.querySelector("#shoot").onclick = async () => resolve(await snap(video));
      dialog.querySelector("#leave").onclick = () => resolve(null);
      dialog.onclose = () => resolve(null);
    });
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.onclose = null;
    dialog.close();
  }
}

async function snap(video) {
  if (!video.videoWidth) await new Promise((resolve) => (video.onloadeddata = resolve));
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
