"""Measures real photographs, if they are there: groceries seen by a phone, things of many kinds, and emoji."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .encoding import Encoder, Vectors, reads_texts
from .report import Figure, Question, measured

REPEATS = 10
"""The number of draws of the shots of each product."""
SHOTS = (1, 3, 5)
QUERIES = 10
"""The most queries of each kind of thing."""
LEAST = 5
"""The least number of emoji that have a keyword of a query."""
FIFTH = 5
"""Every fifth emoji that has keywords is asked for: training may see the others."""


def grocery(encoder: Encoder, root: Path) -> Iterator[Figure]:
    """Yields the figures of the GroceryStoreDataset: 81 products, phone photos of `val` as queries.

    A product is represented by the mean vector of one, three or five photos of `train`, drawn ten times, or by its
    studio picture. Texts are the coarse names ("Apple"), and find photos of `val`. Intervals draw products, whose
    photos succeed or fail together.

    Raises:
        OSError: The folder is not that data set.
    """
    with (root / "classes.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["Class Name (str)"]: row for row in csv.DictReader(file)}
    products = sorted(rows)
    shots, judged = _by_product(root / "train"), _by_product(root / "val")
    truth = np.array([number for number, name in enumerate(products) for _ in judged[name]])
    if not len(truth):
        raise FileNotFoundError(f"find the photos of groceries: {root / 'val'} has none of the products of classes.csv")
    queries = _encoded(encoder, [path for name in products for path in judged[name]])
    groups = [products[number] for number in truth]
    chance = 1 / len(products)
    pool = {name: _encoded(encoder, shots[name]) for name in products}
    for count in SHOTS:
        outcomes = []
        for repeat in range(REPEATS):
            dice = np.random.default_rng(repeat)
            drawn = [pool[name][dice.permutation(len(pool[name]))[:count]].mean(0) for name in products]
            outcomes.append(_right(np.stack(drawn), queries, truth))
        question = Question("grocery, shots", "hit@1", references=count)
        yield measured(question, np.mean(outcomes, 0), groups=groups, chance=chance)
    studio = [root / rows[name]["Iconic Image Path (str)"].lstrip("/") for name in products]
    outcome = _right(_encoded(encoder, studio), queries, truth)
    yield measured(Question("grocery, studio picture", "hit@1"), outcome, groups=groups, chance=chance)
    if reads_texts(encoder):
        coarse = [rows[name]["Coarse Class Name (str)"].replace("-", " ").lower() for name in products]
        names = sorted(set(coarse))
        right = np.array([[coarse[number] == name for number in truth] for name in names])
        yield _by_words(encoder, "grocery, coarse name", names, right, queries)


def things(encoder: Encoder, folders: Sequence[Path]) -> Iterator[Figure]:
    """Yields the figures of photos of things by their kinds, in folders with a `labels.csv` (columns file, label).

    A kind with six photos or more is known by the mean vector of one, three or five photos, drawn ten times, and its
    other photos, at most ten, are queries. Texts are the labels in English and Chinese: R-precision is the share of
    right photos among the first R, where R photos have the label. Intervals draw kinds.

    Raises:
        OSError: A folder has no `labels.csv`.
    """
    with resources.files(__package__).joinpath("things.json").open(encoding="utf-8") as file:
        known = json.load(file)
    shown: list[tuple[Path, str]] = []
    for folder in folders:
        with (folder / "labels.csv").open(newline="", encoding="utf-8") as rows:
            for row in csv.DictReader(rows):
                label = row["label"].replace("_", " ").strip().lower()
                shown.append((folder / row["file"], known["written"].get(label, label)))
    pictures = _encoded(encoder, [path for path, _ in shown])
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_, label) in enumerate(shown):
        if label:
            places[label].append(place)
    kinds = [label for label, rows in sorted(places.items()) if len(rows) > max(SHOTS)]
    for count in SHOTS if len(kinds) > 1 else ():
        outcomes, groups = [], [label for label in kinds for _ in places[label][count:][:QUERIES]]
        for repeat in range(REPEATS):
            dice = np.random.default_rng(repeat)
            drawn = [dice.permutation(places[label]) for label in kinds]
            queries = [rows[count:][:QUERIES] for rows in drawn]
            truth = np.repeat(np.arange(len(kinds)), [len(rows) for rows in queries])
            means = np.stack([pictures[rows[:count]].mean(0) for rows in drawn])
            outcomes.append(_right(means, pictures[np.concatenate(queries)], truth))
        question = Question("things, shots", "hit@1", references=count)
        yield measured(question, np.mean(outcomes, 0), groups=groups, chance=1 / len(kinds))
    if not reads_texts(encoder):
        return
    words = sorted(label for label in places if label in known["chinese"])
    right = np.array([[label == word for _, label in shown] for word in words])
    for language, texts in (("en", words), ("zh-Hans", [known["chinese"][word] for word in words])):
        scores = encoder.encode_texts(texts) @ pictures.T
        order = np.argsort(-scores, axis=1, kind="stable")
        found = np.take_along_axis(right, order, 1)
        precisions = np.array([row[: row.sum()].mean() for row in found])
        yield measured(
            Question("things, word", "R-precision", language=language), precisions, chance=float(right.mean())
        )
        frequent = right.sum(1) >= 10
        if frequent.any():
            tens, chance = found[frequent, :10].mean(1), float(right[frequent].mean())
            yield measured(Question("things, word", "precision@10", language=language), tens, chance=chance)


def emoji(encoder: Encoder, root: Path) -> Iterator[Figure]:
    """Yields the figures of finding emoji by keywords that at least five of them have; training has not seen these.

    If fewer than ten have a keyword, its precision@10 cannot be 1; all keywords together cannot reach much over 0.7.

    The folder holds `keywords.json` (sign: keywords) and `png/emoji_u<code points>.png`.

    Raises:
        OSError: The folder does not hold them.
    """
    if not reads_texts(encoder):
        return
    pictures = keyworded_emoji(root, judged=True)
    if not pictures:
        raise FileNotFoundError(f"find emoji: {root / 'png'} has none of those in keywords.json")
    shown = _encoded(encoder, [path for path, _ in pictures])
    counts = Counter(word for _, words in pictures for word in set(words))
    words = sorted(word for word, count in counts.items() if count >= LEAST)
    right = np.array([[word in keywords for _, keywords in pictures] for word in words])
    yield _by_words(encoder, "emoji, keyword", [word.replace("_", " ") for word in words], right, shown)


def keyworded_emoji(root: Path, *, judged: bool) -> list[tuple[Path, Sequence[str]]]:
    """Returns the emoji with keywords: every fifth for the benchmark (`judged`), or the others for training."""
    keywords = json.loads((root / "keywords.json").read_text(encoding="utf-8"))
    found = []
    for number, (sign, words) in enumerate(keywords.items()):
        codes = "_".join(f"{ord(one):04x}" for one in sign if one != "\ufe0f")
        path = root / "png" / f"emoji_u{codes}.png"
        if (number % FIFTH == 0) == judged and path.exists():
            found.append((path, words))
    return found


def _by_words(encoder: Encoder, name: str, words: Sequence[str], right: NDArray[np.bool_], pictures: Vectors) -> Figure:
    scores = encoder.encode_texts(list(words)) @ pictures.T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    outcomes = np.take_along_axis(right, order, 1).mean(1)
    return measured(Question(name, "precision@10", language="en"), outcomes, chance=float(right.mean()))


def _by_product(folder: Path) -> dict[str, list[Path]]:
    found = defaultdict(list)
    for path in sorted(folder.rglob("*.jpg")):
        found[path.parent.name].append(path)
    return found


def _encoded(encoder: Encoder, paths: Sequence[Path]) -> Vectors:
    parts = [encoder.encode_images([str(path) for path in paths[at : at + 64]]) for at in range(0, len(paths), 64)]
    return np.concatenate(parts)


def _right(known: Vectors, queries: Vectors, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    unit = known / np.linalg.norm(known, axis=1, keepdims=True)
    right: NDArray[np.bool_] = (queries @ unit.T).argmax(1) == truth
    return right.astype(np.float64)
