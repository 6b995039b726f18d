// The pictures of a query: read from files, cropped, and made small before they travel.

import {unique} from "./dom.js";

/** The most pictures of one query. */
export const MOST = 8;
/** The longest side of a picture that is sent, in pixels, and the JPEG quality. */
const SIDE = 1024;
const QUALITY = 0.9;
/** Up to this many bytes a file that is no larger than that is sent as it is. */
const SMALL = 500e3;
/** A file that the browser cannot decode (HEIC, TIFF) is sent as it is, up to this many bytes. */
const RAW_LIMIT = 24e6;

/** The kinds of files that are offered for choosing. */
export const ACCEPT =
  "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff,image/avif,image/heic,image/heif," +
  ".stl,.obj,.ply,.glb,.3mf,.step,.stp";
/** Endings of 3D models, whose types differ from system to system. */
const MESH = /\.(stl|obj|ply|glb|3mf|step|stp)$/i;
const ENDING = /\.(jpe?g|png|webp|gif|bmp|tiff?|avif|heic|heif|jxl)$/i;

/** Whether a file is a picture or a 3D model by its type or ending. */
export function isPicture(file) {
  if (MESH.test(file.name ?? "")) return true;
  return file.type ? file.type.startsWith("image/") : ENDING.test(file.name ?? "");
}

/**
 * One picture of a query. `file` is as it was given, `blob` as it is sent, `url` an address that shows it (null if the
 * browser cannot), and `crop` the part that counts, {x, y, width, height} in shares of 1, or null.
 */
export class Picture {
  constructor(file, name = file.name ?? "") {
    Object.assign(this, {id: unique("picture"), file, name, crop: null, blob: file, url: null});
  }

  /** Reads a file. A file that is beyond the limits gives null. */
  static async read(file, name) {
    const picture = new Picture(file, name);
    await picture.prepare();
    return picture.url === null && file.size > RAW_LIMIT ? null : picture;
  }

  /** Chooses the part that counts; null is the whole picture. */
  async setCrop(crop) {
    this.crop = crop;
    await this.prepare();
  }

  /** Renders `blob` and `url` anew. */
  async prepare() {
    this.release();
    const bitmap = await decode(this.file);
    if (!bitmap) {
      this.blob = this.file;
      return;
    }
    const fits = !this.crop && Math.max(bitmap.width, bitmap.height) <= SIDE && this.file.size <= SMALL;
    this.blob = fits ? this.file : ((await render(bitmap, this.crop, SIDE)) ?? this.file);
    bitmap.close();
    this.url = URL.createObjectURL(this.blob);
  }

  /** Gives the memory of the shown picture back. */
  release() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }

  /** The file's name for an upload, of letters that every system takes. */
  get uploadName() {
    const stem =
      this.name
        .split("/")
        .pop()
        .replace(/\.\w+$/, "") || "picture";
    return this.blob === this.file ? this.name || stem : `${stem}.jpg`;
  }
}

/** Decodes a file upright as its EXIF says, or returns null. */
export async function decode(file) {
  try {
    return await createImageBitmap(file, {imageOrientation: "from-image"});
  } catch {
    return null;
  }
}

/** Renders a part of a picture on white as JPEG, its longest side at most `side` pixels. */
export async function render(bitmap, crop, side) {
  const part = crop ?? {x: 0, y: 0, width: 1, height: 1};
  const width = Math.max(1, Math.round(part.width * bitmap.width));
  const height = Math.max(1, Math.round(part.height * bitmap.height));
  const scale = Math.min(1, side / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const context = canvas.getContext("2d", {alpha: false});
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(
    bitmap,
    part.x * bitmap.width,
    part.y * bitmap.height,
    width,
    height,
    0,
    0,
    canvas.width,
    canvas.height,
  );
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
}

/** Renders a small copy of a blob for a list, or returns the blob itself if it cannot. */
export async function small(blob, side = 96) {
  const bitmap = await decode(blob);
  return bitmap ? ((await render(bitmap, null, side)) ?? blob) : blob;
}
