// Takes a photo: with the phone's own camera app, or from a webcam in a dialog.

import {h, icon, openDialog, toast} from "./dom.js";
import {t} from "./i18n.js";
import {choose} from "./intake.js";

/** Whether there may be a webcam: on HTTPS and on this computer alone. */
function hasWebcam() {
  return Boolean(navigator.mediaDevices?.getUserMedia) && !matchMedia("(pointer: coarse)").matches;
}

/** Takes a photo and calls `receive` with [{file, path}]. */
export async function takePhoto(receive) {
  if (!hasWebcam()) {
    choose(receive, {camera: true});
    return;
  }
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({video: {facingMode: "environment", width: {ideal: 1280}}});
  } catch {
    toast(t("camera.none"), {kind: "error"});
    return;
  }
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  const video = h("video", {
    srcObject: stream,
    autoplay: true,
    muted: true,
    playsinline: true,
    "aria-label": t("camera.view"),
  });
  const {body, close} = openDialog(t("camera.title"), {kind: "wide", onclose: stop});
  const shoot = async () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
    close();
    if (blob) receive([{file: new File([blob], "camera.jpg", {type: "image/jpeg"}), path: "camera.jpg"}], 0);
  };
  body.append(
    video,
    h("div.row.center", {}, h("button.primary", {onclick: shoot, autofocus: true}, icon("camera"), t("camera.shoot"))),
  );
  await video.play().catch(() => {});
}
