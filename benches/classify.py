"""How often `classify` finds the class of a photo, and how far its probabilities can be trusted.

    python benches/classify.py --photos DIR [--model plushie-mini] [--shots 1 3 10] [--draws 5] [--queries 600]

DIR holds `grocery` (the GroceryStoreDataset; its 43 kinds of products), `clothing` (photos with `images.csv`: image,
sender_id, label) or `varied` (folders of photos with `labels.csv`: file, label); others are left out. Examples and
queries are photos of other shoots, other senders, or other photos. Each draw takes so many examples of each class.

"right" is the share of queries whose class comes first, classes counting alike. Then half of the classes are taken out
of the catalog, and their queries are "other": log-loss and calibration error (ECE) of the probabilities with "other"
among them, known and other queries counting alike, and how surely the two are told apart (AUROC).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import metrics

CHINESE = {
    "grocery": "苹果 芦笋 茄子 牛油果 香蕉 卷心菜 胡萝卜 黄瓜 大蒜 生姜 果汁 猕猴桃 韭葱 柠檬 青柠 芒果 甜瓜 牛奶 "
    "蘑菇 油桃 燕麦奶 燕麦酸奶 洋葱 橙子 木瓜 百香果 桃子 梨 甜椒 菠萝 李子 石榴 土豆 甜菜根 红西柚 蜜橘 酸奶油 "
    "酸牛奶 豆奶 豆酸奶 番茄 酸奶 西葫芦",
    "clothing": "西装外套 女式衬衫 连衣裙 帽子 连帽衫 长袖衫 外套 裤子 马球衫 衬衫 鞋子 短裤 半身裙 T恤 上衣 汗衫",
    "varied": "救护车 苹果 公共汽车 汽车 纸板 玻璃 金属 摩托车 橙子 纸 塑料 扑克牌 垃圾 卡车",
}
#: Labels that are left out: they name no visible thing, or belong to several classes.
UNCLEAR = {"Not sure", "Other", "Skip", "Body"}


class Remembered:
    """A model that encodes each picture once, however often it is asked."""

    def __init__(self, model: str) -> None:
        self._encoder = ps.open_encoder(model)
        self.name, self.dim, self.fingerprint = model, self._encoder.dim, f"remembered {self._encoder.fingerprint}"
        self._vectors: dict[bytes, NDArray[np.float32]] = {}

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        keys = [sha256(image.tobytes()).digest() for image in images]
        new = {key: image for key, image in zip(keys, images, strict=True) if key not in self._vectors}
        if new:
            self._vectors |= zip(new, self._encoder.encode_images(list(new.values())), strict=True)
        return np.stack([self._vectors[key] for key in keys])

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self._encoder.encode_texts(list(texts))


@dataclass(frozen=True)
class Photos:
    """Photos with their classes; those of one class that are examples are never queries."""

    name: str
    paths: list[Path]
    classes: NDArray[np.str_]
    asked: NDArray[np.bool_]

    def some(self, queries: int, examples: int, seed: int = 0) -> Photos:
        """Returns so many queries, drawn at random, and at most so many examples of each class."""
        chance = np.random.default_rng(seed)
        kept = [chance.permutation(np.flatnonzero(self.asked))[:queries]]
        for name in self.names:
            kept.append(chance.permutation(np.flatnonzero(~self.asked & (self.classes == name)))[:examples])
        rows = np.sort(np.concatenate(kept))
        return Photos(self.name, [self.paths[row] for row in rows], self.classes[rows], self.asked[rows])

    @property
    def names(self) -> list[str]:
        return sorted(set(self.classes.tolist()))


def grocery(root: Path) -> Photos:
    with (root / "classes.csv").open(newline="", encoding="utf-8") as file:
        kinds = {row["Class Name (str)"]: row["Coarse Class Name (str)"] for row in csv.DictReader(file)}
    paths = sorted([*(root / "train").rglob("*.jpg"), *(root / "val").rglob("*.jpg")])
    names = [kinds[path.parent.name].replace("-", " ").lower() for path in paths]
    asked = [path.relative_to(root).parts[0] == "val" for path in paths]
    return Photos("grocery", paths, np.array(names), np.array(asked))


def clothing(root: Path) -> Photos:
    found = {path.stem: path for path in root.rglob("*.jpg")}
    with (root / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] not in UNCLEAR and row["image"] in found]
    asked = [int(row["sender_id"]) % 3 == 0 for row in rows]
    classes = np.array([row["label"].lower() for row in rows])
    return Photos("clothing", [found[row["image"]] for row in rows], classes, np.array(asked))


def varied(root: Path, least: int = 40) -> Photos:
    found: list[tuple[Path, str]] = []
    for table in sorted(root.glob("*/labels.csv")):
        with table.open(newline="", encoding="utf-8") as file:
            rows = [(table.parent / row["file"], row["label"].lower()) for row in csv.DictReader(file) if row["label"]]
        found += [(path, label) for path, label in rows if path.is_file()]
    names, counts = np.unique([label for _, label in found], return_counts=True)
    many = set(names[counts >= least].tolist())
    kept = [(path, label) for path, label in found if label in many]
    asked = np.arange(len(kept)) % 3 == 0
    return Photos("varied", [path for path, _ in kept], np.array([label for _, label in kept]), asked)


def filled(folder: Path, encoder: Any, photos: Photos, vectors: NDArray[np.float32], rows: Any, names: Any) -> Any:
    """Returns a catalog of these examples, each an item."""
    engine = ps.Engine(folder, model=encoder)
    ids = [f"{row}" for row in rows]
    engine.add_vectors(ids, vectors[rows], references=ids, labels=[names[one] for one in photos.classes[rows]])
    return engine


def drawn(photos: Photos, shots: int, chance: np.random.Generator) -> NDArray[np.intp]:
    places = [np.flatnonzero(~photos.asked & (photos.classes == one)) for one in photos.names]
    return np.concatenate([chance.permutation(place)[:shots] for place in places])


def alike(right: NDArray[np.bool_], classes: NDArray[np.str_]) -> float:
    """Returns the mean over the classes of the share of their queries that are right."""
    return float(np.mean([right[classes == one].mean() for one in np.unique(classes)]))


def closed(answers: Any, truth: NDArray[np.str_]) -> float:
    return alike(np.array([answer.top_class.name for answer in answers]) == truth, truth)


def opened(answers: Any, truth: NDArray[np.str_], known: set[str]) -> list[float]:
    """Returns log-loss, ECE and AUROC of answers to queries, of which some are of none of the classes."""
    there = np.isin(truth, list(known))
    shares = [{one.name: one.confidence for one in answer} for answer in answers]
    of_truth = [share.get(one, answer.other) for share, one, answer in zip(shares, truth, answers, strict=True)]
    best = [
        max([("", answer.other), *share.items()], key=lambda one: one[1])
        for share, answer in zip(shares, answers, strict=True)
    ]
    right = np.array(
        [(name == one) or (name == "" and one not in known) for (name, _), one in zip(best, truth, strict=True)]
    )
    if there.all():
        weights = np.full(len(there), 1 / len(there))
    else:
        weights = np.where(there, 0.5 / there.sum(), 0.5 / (~there).sum())
    loss = float(np.sum(weights * -np.log(np.clip(of_truth, 1e-9, 1))))
    error = metrics.ece([share for _, share in best], right, weights=weights)
    inside = np.array([1 - answer.other for answer in answers])
    apart = np.nan if there.all() else metrics.open_set(inside[there], inside[~there], rounds=1).auroc.value
    return [loss, error, apart]


def measure(photos: Photos, model: str, options: argparse.Namespace) -> None:
    remembered = Remembered(model)
    with tempfile.TemporaryDirectory() as folder, ps.Engine(Path(folder, "c"), model=remembered) as engine:
        vectors = engine.encode_images(photos.paths)
    chinese = dict(zip(photos.names, CHINESE[photos.name].split(), strict=True))
    english = {name: name for name in photos.names}
    queries = np.flatnonzero(photos.asked)
    files, truth = [photos.paths[row] for row in queries], photos.classes[queries]
    print(f"\n{photos.name}: {len(photos.names)} classes, {len(queries)} queries, {options.draws} draws, {model}")
    for language, names in (("English", english), ("Chinese", chinese)):
        plain = remembered.encode_texts([names[one] for one in photos.names])
        found = np.array(photos.names)[np.argmax(vectors[queries] @ plain.T, axis=1)]
        asked = np.array([names[one] for one in truth])
        for what, count in (("an empty catalog", 0), ("300 pictures without labels", 300)):
            with tempfile.TemporaryDirectory() as folder, ps.Engine(Path(folder, "c"), model=remembered) as engine:
                rows = np.flatnonzero(~photos.asked)[:: max(1, int((~photos.asked).sum()) // 300)][:count]
                if count:
                    engine.add_vectors([f"{row}" for row in rows], vectors[rows], references=[f"{row}" for row in rows])
                answers = engine.classify(files, [names[one] for one in photos.names], by="texts")
            loss, error, _ = opened(answers, asked, set(asked.tolist()))
            share = closed(answers, asked)
            print(f"names alone, {language}, {what}: {share:.3f} right, log-loss {loss:.2f}, ECE {error:.3f}")
        print(f"plain cosines of names, {language}: {alike(found == truth, truth):.3f} right")
    print("| examples | by | right | log-loss | ECE | AUROC |\n| --- | --- | --- | --- | --- | --- |")
    for shots in options.shots:
        rows: dict[str, list[list[float]]] = {}
        for draw in range(options.draws):
            chance = np.random.default_rng(draw)
            examples = drawn(photos, shots, chance)
            means = np.stack([vectors[examples][photos.classes[examples] == one].sum(axis=0) for one in photos.names])
            nearest = np.argmax(vectors[queries] @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T, axis=1)
            right = alike(np.array(photos.names)[nearest] == truth, truth)
            rows.setdefault("nearest class mean (numpy)", []).append([right, np.nan, np.nan, np.nan])
            known = set(chance.permutation(photos.names)[: len(photos.names) // 2].tolist())
            inside = examples[np.isin(photos.classes[examples], list(known))]
            for language, names in (("", english), (", Chinese", chinese)):
                asked = np.array([names[one] for one in truth])
                with tempfile.TemporaryDirectory() as folder:
                    whole = filled(Path(folder, "a"), remembered, photos, vectors, examples, names)
                    half = filled(Path(folder, "b"), remembered, photos, vectors, inside, names)
                    for by in ("images", "auto") if not language else ("auto",):
                        figures = opened(half.classify(files, by=by), asked, {names[one] for one in known})
                        row = [closed(whole.classify(files, by=by), asked), *figures]
                        rows.setdefault(f"{by}{language}", []).append(row)
                    whole.close()
                    half.close()
        for name, found in rows.items():
            mean = np.mean(found, axis=0)
            error = np.std([row[0] for row in found]) / np.sqrt(max(1, len(found) - 1))
            rest = " | ".join("-" if np.isnan(one) else f"{one:.3f}" for one in mean[1:])
            print(f"| {shots} | {name} | {mean[0]:.3f} ± {error:.3f} | {rest} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 3, 10])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--queries", type=int, default=600)
    options = parser.parse_args()
    for name, read in (("grocery", grocery), ("clothing", clothing), ("varied", varied)):
        if (options.photos / name).is_dir():
            photos = read(options.photos / name).some(options.queries, 3 * max(options.shots))
            measure(photos, options.model, options)


if __name__ == "__main__":
    main()
