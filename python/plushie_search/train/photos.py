"""Real photos for training: two regions of each, and what a real backbone makes of them.

The photos and the teacher are optional, and neither ships with the package. Without them the model is trained on
rendered plushes alone and knows nothing else.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

SIDE = 144
"""Pictures are kept a little larger than the model's input, for crops."""
REGIONS = 2
"""The whole photo, and one random crop of it."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def training_photos(root: Path) -> list[Path]:
    """Every photo under `root` that training may see, in a fixed order.

    `grocery/val` and every tenth clothing sender are kept out: they are what the model is judged by.
    """
    kept_out = set()
    senders = root / "clothing" / "images.csv"
    if senders.exists():
        with senders.open(newline="", encoding="utf-8") as file:
            kept_out = {row["image"] for row in csv.DictReader(file) if int(row["sender_id"]) % 10 == 0}
    judged = root / "grocery" / "val"
    return [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in _SUFFIXES and judged not in path.parents and path.stem not in kept_out
    ]


def prepare(root: Path, teacher: Path, work: Path, *, threads: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Regions `(n, 2, 3, SIDE, SIDE)` of the photos, and the teacher's normalised features of each; both cached."""
    pictures, features = work / "photos.npy", work / "photo_features.npy"
    if not features.exists():
        paths = training_photos(root)
        if not paths:
            raise FileNotFoundError(f"find photos: {root} has none; name another folder, or leave --photos out")
        _compute(paths, teacher, pictures, features, threads)
    return np.load(pictures, mmap_mode="r"), np.load(features)


def _compute(paths: list[Path], teacher: Path, pictures: Path, features: Path, threads: int) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(teacher), options, providers=["CPUExecutionProvider"])

    def one(numbered: tuple[int, Path]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        regions = list(_regions(*numbered))
        tensor = np.stack([np.asarray(region.resize((224, 224), Image.Resampling.BICUBIC)) for region in regions])
        pixels = (tensor.astype(np.float32) - 127.0).transpose(0, 3, 1, 2) * np.float32(0.0078431)
        small = np.stack([np.asarray(region.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for region in regions])
        return small.transpose(0, 3, 1, 2), np.asarray(session.run(["features"], {"pixel_values": pixels})[0])

    shape = (len(paths), REGIONS, 3, SIDE, SIDE)
    kept = np.lib.format.open_memmap(pictures, mode="w+", dtype=np.uint8, shape=shape)
    found = []
    with ThreadPoolExecutor(threads) as pool:
        for row, (small, feature) in enumerate(pool.map(one, enumerate(paths))):
            kept[row] = small
            found.append(feature)
    kept.flush()
    raw = np.stack(found).astype(np.float32)
    centred = (raw - raw.mean((0, 1))) / (raw.std((0, 1)) + 1e-3)
    np.save(features, centred / np.linalg.norm(centred, axis=-1, keepdims=True))


def _regions(number: int, path: Path) -> Iterator[Image.Image]:
    chance = random.Random(number)
    with Image.open(path) as opened:
        whole = Image.new("RGB", opened.size, (255, 255, 255))
        picture = opened.convert("RGBA")
        whole.paste(picture, mask=picture.getchannel("A"))
    yield whole
    area, aspect = chance.uniform(0.25, 0.8), chance.uniform(0.8, 1.25)
    width = max(8, min(whole.width, round(whole.width * (area * aspect) ** 0.5)))
    height = max(8, min(whole.height, round(whole.height * (area / aspect) ** 0.5)))
    left, top = chance.randint(0, whole.width - width), chance.randint(0, whole.height - height)
    yield whole.crop((left, top, left + width, top + height))
