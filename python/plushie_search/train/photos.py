"""Prepares real photos for training: regions of each, a backbone's features of them, and texts about them.

The photos and the teacher are optional, and neither ships with the package. Without them the model is trained on
rendered plushes alone.
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from ..plushbench.photos import keyworded_emoji

SIDE = 160
REGIONS = 3
"""The whole photo, and random crops of it."""
EVEN, EVENNESS = 512, 0.4
"""The number of directions of the backbone's features, and the power of their variance to divide by."""
SURE = 0.35
"""The least probability of a backbone's first class that names a photo."""
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


def training_photos(root: Path) -> list[Path]:
    """Returns every photo under `root` that training may see, in a fixed order.

    `grocery/val` and every tenth clothing sender are left out: the model is measured on them.
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


@dataclass(frozen=True)
class Photos:
    """Photos and the knowledge of them.

    Attributes:
        paths: The files.
        pictures: Regions of each, uint8 `(n, REGIONS, 3, SIDE, SIDE)`.
        features: The backbone's unit features of each region.
        texts: The texts about each.
        rows: The photos that training may see.
    """

    paths: Sequence[Path]
    pictures: NDArray[np.uint8]
    features: NDArray[np.float32]
    texts: Sequence[Sequence[str]]
    rows: NDArray[np.int64]


def prepare(
    root: Path,
    backbone: Path,
    names: Sequence[Sequence[str]],
    work: Path,
    *,
    without: Sequence[str] = (),
    threads: int,
) -> Photos:
    """Cuts the photos and computes the backbone's features of them, once; `names[c]` are words for its class c.

    Training does not see the photos of the sources `without`, which are folders of `varied`.
    """
    paths = training_photos(root)
    pictures, features, texts = (work / name for name in ("photos.npy", "photo_features.npy", "photo_texts.json"))
    if not texts.exists():
        if not paths:
            raise FileNotFoundError(f"find photos: {root} has none; name another folder, or leave --photos out")
        guesses = _compute(paths, backbone, pictures, features, threads)
        said = written_texts(root)
        found = [
            [*said.get(path, ()), *(names[best] if names and sure > SURE and _guessable(root, path) else ())]
            for path, (best, sure) in zip(paths, guesses, strict=True)
        ]
        texts.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    hidden = {root / "varied" / source for source in without}
    rows = [row for row, path in enumerate(paths) if not hidden & set(path.parents)]
    known = json.loads(texts.read_text(encoding="utf-8"))
    return Photos(
        paths,
        np.load(pictures, mmap_mode="r", allow_pickle=False),
        np.load(features, allow_pickle=False),
        known,
        np.array(rows),
    )


def written_texts(root: Path) -> Mapping[Path, Sequence[str]]:
    """Reads the descriptions of photos from their sources: labels, captions, keywords of emoji.

    Texts about groceries, and every fifth emoji with keywords are left out: the model is measured on them.
    """
    found: dict[Path, list[str]] = defaultdict(list)
    for table in sorted((root / "varied").glob("*/labels.csv")):
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                said = row["label"] or _first_sentence(row["caption"])
                if said:
                    found[table.parent / row["file"]].append(said.replace("_", " ").lower())
    senders = root / "clothing" / "images.csv"
    if senders.exists():
        shown = {path.stem: path for path in (root / "clothing").rglob("*.jpg")}
        with senders.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["image"] in shown and row["label"] not in ("Not sure", "Other", "Skip"):
                    found[shown[row["image"]]].append(row["label"].lower())
    if (root / "emoji" / "keywords.json").exists():
        for path, keywords in keyworded_emoji(root / "emoji", judged=False):
            found[path] += [word.replace("_", " ") for word in keywords if re.search("[a-z]{3}", word)]
    return found


_OPENING = re.compile(
    r"^(a|an|the|this)?\s*(close-?up )?(photo(graph)?|picture|image)s? (of|shows?|depicts?)", re.IGNORECASE
)


def _first_sentence(caption: str) -> str:
    described = _OPENING.sub("", re.sub(r"^\[.*?\]", "", caption).strip())
    return " ".join(re.split(r"(?<=\w)[.;:]", described)[0].split()[:16])


def _guessable(root: Path, path: Path) -> bool:
    """Returns whether the backbone's class may name a photo: not for drawings, and not for groceries."""
    return not {"emoji", "grocery"} & set(path.relative_to(root).parts[:1])


def _compute(
    paths: Sequence[Path], backbone: Path, pictures: Path, features: Path, threads: int
) -> list[tuple[int, float]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(backbone), options, providers=["CPUExecutionProvider"])

    def one(numbered: tuple[int, Path]) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        regions = list(_regions(*numbered))
        tensor = np.stack([np.asarray(region.resize((224, 224), Image.Resampling.BICUBIC)) for region in regions])
        pixels = (tensor.astype(np.float32) - 127.0).transpose(0, 3, 1, 2) * np.float32(0.0078431)
        small = np.stack([np.asarray(region.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for region in regions])
        seen, chances = session.run(["features", "output"], {"pixel_values": pixels})
        return small.transpose(0, 3, 1, 2), np.asarray(seen), np.asarray(chances)[0]

    shape = (len(paths), REGIONS, 3, SIDE, SIDE)
    kept = np.lib.format.open_memmap(pictures, mode="w+", dtype=np.uint8, shape=shape)
    found, guesses = [], []
    with ThreadPoolExecutor(threads) as pool:
        for row, (small, feature, chances) in enumerate(pool.map(one, enumerate(paths))):
            kept[row] = small
            found.append(feature)
            guesses.append((int(chances.argmax()), float(chances.max())))
    kept.flush()
    raw = np.stack(found).astype(np.float32)
    np.save(features, _even(raw))
    return guesses


def _even(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns partly whitened features, as unit vectors of at most 512 dimensions.

    Products of one kind are nearer to each other than by the backbone's own features, which a few directions dominate.
    """
    standard = (raw - raw.mean((0, 1))) / (raw.std((0, 1)) + 1e-3)
    standard /= np.linalg.norm(standard, axis=-1, keepdims=True)
    rows = standard.reshape(-1, standard.shape[-1]).astype(np.float64)
    centered = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(centered))
    some = slice(-min(EVEN, int((values > 1e-9).sum())), None)
    even = centered @ (vectors[:, some] / values[some] ** EVENNESS)
    even /= np.linalg.norm(even, axis=1, keepdims=True)
    return even.reshape(*standard.shape[:-1], -1).astype(np.float32)


def _regions(number: int, path: Path) -> Iterator[Image.Image]:
    chance = random.Random(number)
    with Image.open(path) as opened:
        whole = Image.new("RGB", opened.size, (255, 255, 255))
        picture = opened.convert("RGBA")
        whole.paste(picture, mask=picture.getchannel("A"))
    yield whole
    for _ in range(REGIONS - 1):
        area, aspect = chance.uniform(0.2, 0.8), chance.uniform(0.75, 1.33)
        width = max(8, min(whole.width, round(whole.width * (area * aspect) ** 0.5)))
        height = max(8, min(whole.height, round(whole.height * (area / aspect) ** 0.5)))
        left, top = chance.randint(0, whole.width - width), chance.randint(0, whole.height - height)
        yield whole.crop((left, top, left + width, top + height))
