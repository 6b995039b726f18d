"""Measures searches by text with and without phrases around the text.

    python benches/expand.py [--photos FOLDER] [--items 1000] [--model plushie-mini]

``FOLDER`` has folders of photos, each with a table ``labels.csv`` of the columns ``file`` and ``label``. Each label of
at least five photos is a query in English, and the photos with the label are right: prints the mean precision among the
first ten, and the share of photos whose nearest label is their own, each with the difference to no phrases and its
standard error. The texts about plushes are those of PlushBench, in English and Chinese.

The last two sides take synonyms from the labels of the catalog, those of the plushes being animals and colors: to a
text's vector that of the nearest label is added, if its cosine is at least 0.6 or 0.8.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections import Counter
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search.plush.facts import LANGUAGES, WORDS
from plushie_search.plushbench.identities import Identities
from plushie_search.plushbench.texts import TEXT_KINDS, texts

Expand: TypeAlias = bool | list[str]
Array: TypeAlias = NDArray[np.float64]

#: What is compared: no phrases, those of the model, and some of many uses.
SIDES: dict[str, Expand] = {
    "the text alone": False,
    "expand=True": True,
    "a photo of a": ["a photo of a {}"],
    "text, a photo of": ["{}", "a photo of {}"],
    "five phrases": [
        "{}",
        "a photo of a {}",
        "a close-up photo of a {}",
        "a {} on a plain background",
        "a photo of the {}, from the front",
    ],
}
#: The least cosine between a text and the label that is added to it.
NEAR = {"the nearest label, 0.6": 0.6, "the nearest label, 0.8": 0.8}


def with_labels(engine: ps.Engine, asked: list[str], labels: list[str], least: float) -> Array:
    """The unit vectors of texts, each with its nearest label if that is near enough."""
    vectors, known = engine._core.encode_texts(asked), engine._core.encode_texts(labels)
    cosines = vectors @ known.T
    # A text that is a label itself has no synonym in it.
    cosines[cosines > 1 - 1e-5] = -1
    best = cosines.argmax(axis=1)
    near = cosines[np.arange(len(asked)), best] >= least
    together = vectors + np.where(near[:, None], known[best], 0)
    return together / np.linalg.norm(together, axis=1, keepdims=True)


def compared(what: str, rows: dict[str, Array]) -> None:
    """Prints the mean of each side, and its difference to the first one."""
    base = rows["the text alone"]
    for name, row in rows.items():
        gain = row - base
        error = gain.std() / np.sqrt(max(1, len(gain) - 1))
        print(f"{what}, {name}: {row.mean():.3f} ({gain.mean():+.3f} ± {error:.3f})", flush=True)


def photos(engine: ps.Engine, root: Path) -> None:
    rows: list[tuple[str, str]] = []
    for table in sorted(root.glob("*/labels.csv")):
        with table.open(newline="", encoding="utf-8") as file:
            rows += [
                (str(table.parent / row["file"]), row["label"].replace("_", " ").strip().lower())
                for row in csv.DictReader(file)
                if row["label"] and not row["caption"]
            ]
    paths, labels = zip(*rows, strict=True)
    engine.add_images(paths, ids=[str(number) for number in range(len(paths))])
    counts = Counter(labels)
    asked = sorted(label for label, count in counts.items() if count >= 5)
    print(f"{len(paths)} photos, {len(asked)} labels of at least five")
    precision, nearest = {}, {}
    vectors = np.concatenate([engine.vectors(str(number)) for number in range(len(paths))])
    own = np.array([asked.index(label) if label in asked else -1 for label in labels])
    for name, expand in SIDES.items():
        found = engine.search_text(asked, k=10, words=False, expand=expand)
        right = [[labels[int(hit.item)] == label for hit in hits] for hits, label in zip(found, asked, strict=True)]
        precision[name] = np.array([sum(row) / min(10, counts[label]) for row, label in zip(right, asked, strict=True)])
        words = engine._core.encode_texts(asked, expand=expand)
        nearest[name] = ((vectors @ words.T).argmax(axis=1) == own)[own >= 0].astype(float)
    for name, least in NEAR.items():
        found = engine.search_vector(with_labels(engine, asked, sorted(counts), least), k=10)
        right = [[labels[int(hit.item)] == label for hit in hits] for hits, label in zip(found, asked, strict=True)]
        precision[name] = np.array([sum(row) / min(10, counts[label]) for row, label in zip(right, asked, strict=True)])
    compared("photos, precision@10 by label", precision)
    compared("photos whose nearest label is their own", nearest)


def plushes(engine: ps.Engine, items: int) -> None:
    identities = Identities(items, 0, 1)
    attributes = identities.attributes(items)
    number = 0
    for batch in identities.references(range(items), 0):
        engine.add_images(batch, ids=[f"{number + place}" for place in range(len(batch))])
        number += len(batch)
    for kind in TEXT_KINDS:
        for language in LANGUAGES:
            asked = texts(attributes, kind, language, 300, seed=0)
            if not asked.written:
                continue
            rows = {}
            for name, expand in SIDES.items():
                if language != "en" and not isinstance(expand, bool):
                    continue
                found = engine.search_text(list(asked.written), k=5, words=False, expand=expand)
                pairs = zip(found, asked.right, strict=True)
                rows[name] = np.array([np.mean([row[int(hit.item)] for hit in hits]) for hits, row in pairs])
            labels = sorted(WORDS[name][value][language] for name in ("species", "color") for value in WORDS[name])
            for name, least in NEAR.items():
                found = engine.search_vector(with_labels(engine, list(asked.written), labels, least), k=5)
                pairs = zip(found, asked.right, strict=True)
                rows[name] = np.array([np.mean([row[int(hit.item)] for hit in hits]) for hits, row in pairs])
            compared(f"{items} plushes, {kind}, {language}, precision@5", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="folders of photos with labels.csv")
    parser.add_argument("--items", type=int, default=1000, help="plushes whose texts are searched")
    parser.add_argument("--model", default="plushie-mini")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.photos is not None:
            with ps.Engine(Path(folder, "photos"), model=options.model) as engine:
                photos(engine, options.photos)
        with ps.Engine(Path(folder, "plushes"), model=options.model) as engine:
            plushes(engine, options.items)


if __name__ == "__main__":
    main()
