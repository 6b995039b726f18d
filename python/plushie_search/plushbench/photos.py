"""Real photographs, if they are there: groceries seen by a phone, and emoji by their keywords."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .encoding import Encoder, Vectors, reads_texts
from .report import Figure, Question, measured

REPEATS = 10
"""The number of draws of the shots of each product."""
SHOTS = (1, 3, 5)
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
