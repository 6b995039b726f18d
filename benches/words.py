"""Measures searches by text with and without the items' own words: how often they are right, and how long they take.

    python benches/words.py [--grocery FOLDER] [--items 1000] [--many 10000]

``FOLDER`` is the GroceryStoreDataset: 81 products, known by their studio pictures, are items named as there, such as
"Golden-Delicious"; each name is a query, as written and in lower case with spaces. The plushes and texts are those of
PlushBench: each plush has its caption as its text, in the language of the queries. A text that denies something asks
for plushes without it.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import plushie_search as ps
from plushie_search import _core
from plushie_search.plush.facts import LANGUAGES
from plushie_search.plushbench.identities import Identities
from plushie_search.plushbench.texts import TEXT_KINDS, texts

#: What is compared: the vectors alone, and both.
SIDES = (False, None)


def grocery(engine: ps.Engine, root: Path) -> None:
    with (root / "classes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [row["Class Name (str)"] for row in rows]
    pictures = [str(root / row["Iconic Image Path (str)"].lstrip("/")) for row in rows]
    engine.add_images(pictures, ids=names)
    for what, queries in (
        ("as written", names),
        ("lower case, spaces", [name.replace("-", " ").lower() for name in names]),
        ("with a word more", [f"fresh {name.replace('-', ' ').lower()}" for name in names]),
    ):
        shares = []
        for words in SIDES:
            found = engine.search_text(queries, k=1, words=words)
            shares.append(np.mean([hits[0].item == name for hits, name in zip(found, names, strict=True)]))
        print(f"grocery, {len(names)} names {what}: hit@1 {shares[0]:.3f} by vectors, {shares[1]:.3f} with words")


def plushes(engine: ps.Engine, items: int, language: str) -> None:
    identities = Identities(items, 0, 1)
    attributes = identities.attributes(items)
    number = 0
    for batch in identities.references(range(items), 0):
        seeds = [identities.plush(number + place) for place in range(len(batch))]
        ids = [f"{number + place}" for place in range(len(batch))]
        captions = [_core.Plush(seed).caption(language) for seed in seeds]
        labels = [attributes[number + place]["species"] for place in range(len(batch))]
        engine.add_images(batch, ids=ids, labels=labels, texts=captions)
        number += len(batch)
    for kind in TEXT_KINDS:
        asked = texts(attributes, kind, language, 300, seed=0)
        if not asked.written:
            continue
        shares = []
        for words in SIDES:
            found = engine.search_text(list(asked.written), k=5, words=words)
            right = zip(found, asked.right, strict=True)
            shares.append(np.mean([[row[int(hit.item)] for hit in hits] for hits, row in right]))
        print(
            f"{items} plushes with captions, {kind}, {language}: precision@5 {shares[0]:.3f} by vectors, "
            f"{shares[1]:.3f} with words"
        )


def captions(count: int) -> Iterator[str]:
    return (_core.Plush(10_000_000 + number).caption("en") for number in range(count))


def milliseconds(calls: Sequence[Callable[[], Any]]) -> float:
    times = []
    for call in calls:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def adding(catalog: Callable[[str], ps.Engine], many: int) -> None:
    """Adds the same vectors with and without texts by turns, and leaves the last catalog with texts as "many"."""
    times: dict[bool, list[float]] = {True: [], False: []}
    sizes: dict[bool, int] = {}
    for turn in range(3):
        for with_texts in (False, True):
            with catalog("many" if with_texts and turn == 2 else f"adding {turn} {with_texts}") as engine:
                dim = engine.stats()["dimension"]
                vectors = np.random.default_rng(0).standard_normal((many, dim), np.float32)
                ids, written = [f"item-{number}" for number in range(many)], list(captions(many))
                start = time.process_time()
                engine.add_vectors(ids, vectors, texts=written if with_texts else None)
                times[with_texts].append(time.process_time() - start)
                sizes[with_texts] = engine.stats()["bytes"]
    bare, whole = (statistics.median(times[side]) for side in (False, True))
    print(
        f"adding {many} vectors: {bare:.2f} s of processors, {sizes[False] / 1e6:.1f} MB on disk; with texts and their "
        f"words: {whole:.2f} s ({(whole - bare) / many * 1e6:.0f} µs more for each), {sizes[True] / 1e6:.1f} MB"
    )


def speed(engine: ps.Engine, many: int) -> None:
    asked = [f"a {color} {kind}" for color in ("pink", "red", "brown", "blue") for kind in ("bear", "rabbit", "cat")]
    asked += [f"a {kind} with a scarf" for kind in ("fox", "owl", "dog")]
    for text in asked:
        engine.search_text(text, words=False)
    first = milliseconds([lambda text=text: engine.search_text(text) for text in asked])
    sides: dict[Any, list[float]] = {words: [] for words in SIDES}
    for _ in range(30):
        for words in SIDES:
            calls = [lambda text=text, words=words: engine.search_text(text, words=words) for text in asked]
            sides[words].append(milliseconds(calls))
    off, on = (statistics.median(sides[words]) for words in SIDES)
    print(
        f"a remembered text among {many} items: {off:.3f} ms by vectors, {on:.3f} with words ({on / off:.2f} times), "
        f"{first:.2f} ms when the words are looked up first"
    )
    typos = ["rabibt", "leapord", "elephnat", "giraffee", "penguon", "hamstr", "scrafs", "glases"]
    for text in typos:
        engine.search_text(text, words=False)
    took = milliseconds([lambda text=text: engine.search_text(text) for text in typos])
    print(f"a mistyped word whose vector is remembered: {took:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--grocery", type=Path, help="the folder of the GroceryStoreDataset")
    parser.add_argument("--items", type=int, default=1000, help="plushes whose texts are searched")
    parser.add_argument("--many", type=int, default=10_000, help="items among which searches are timed")
    parser.add_argument("--model", default="plushie-mini")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:

        def catalog(name: str) -> ps.Engine:
            return ps.Engine(Path(folder, name), model=options.model, threads=1)

        if options.grocery is not None:
            with catalog("grocery") as engine:
                grocery(engine, options.grocery)
        for language in LANGUAGES:
            with catalog(f"plushes {language}") as engine:
                plushes(engine, options.items, language)
        adding(catalog, options.many)
        with catalog("many") as engine:
            speed(engine, options.many)


if __name__ == "__main__":
    main()
