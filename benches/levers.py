"""Measures each lever of identification, alone and together: how often the right item is first, and the time it takes.

    python benches/levers.py [--model plushie-mini] [--items 300]
    python benches/levers.py --photos DIR [--draws 20] [--second-model NAME] [--weight 0.7]

By default plushes are rendered, one and three references each, and queries of several splits of PlushBench. With
`--photos`, DIR/train/<item>/... are references, one and three of each product at random in each draw, and
DIR/val/<item>/... queries. Prints the share of queries whose item is first, and the difference to a search by the best
reference: of photos with the standard error over the draws. Levers:

    search         the cosine with the best reference
    second look    `identify`, as it decides by leaving references out (Engine.identify)
    crops          references of which the middle is encoded, too (Engine(crops=True))
    second model   a search by both models, the first of which has the weight (--second-model)
    query_crops    queries of which the middle is encoded, too (search_image(query_crops=True))

At last, with a half of the items in the catalog and the others as strangers, the share of queries that are missed at
the threshold which 5 % of the strangers reach: by the score, and by the score with half of its lead over the next.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from identify import PICTURES, Remembered, Vectors, pixel

import plushie_search as ps
from plushie_search import _core
from plushie_search.hub import as_encoder
from plushie_search.plushbench.identities import SPLITS, Identities

COUNTS = (1, 3)
SCENES = ("everyday", "pose", "occluded", "head-only", "cluttered", "degraded")

STRANGERS = 0.05


class Named(Remembered):
    """The vectors of one of several models."""

    def __init__(self, name: str, vectors: Vectors) -> None:
        super().__init__(vectors)
        self.name = self.fingerprint = name


class Pictures:
    """Vectors of some pictures by each model: as references, with and without their middles, and as queries."""

    def __init__(self, encoders: dict[str, _core.Encoder], batches: Callable[[], Iterator[list[Any]]]) -> None:
        self.plain: dict[str, Vectors] = {}
        self.crops: dict[str, Vectors] = {}
        for crops, kept in ((False, self.plain), (True, self.crops)):
            with (
                tempfile.TemporaryDirectory() as folder,
                ps.Engine(folder, model=encoders, crops=crops, thumbnails=False, media=False) as engine,
            ):
                count = 0
                for batch in batches():
                    ids = [str(count + place) for place in range(len(batch))]
                    engine.add_images(batch, ids=ids)
                    count += len(batch)
                for name in encoders:
                    kept[name] = np.concatenate([engine.vectors(str(place), model=name) for place in range(count)])


class Catalog:
    """A catalog of vectors, and the scores of queries in it."""

    def __init__(self, references: dict[str, Vectors], items: Sequence[int], queries: dict[str, Vectors]) -> None:
        self.items, self.count = items, len(next(iter(queries.values())))
        self.references, self.queries = references, queries

    def asked(self, identify: bool, models: dict[str, float] | None = None) -> tuple[list[int], Vectors, float]:
        """Returns the first item of each query, the two best scores, and the milliseconds of a query."""
        encoders = {name: Named(name, vectors) for name, vectors in self.queries.items()}
        with tempfile.TemporaryDirectory() as folder, ps.Engine(folder, model=encoders) as engine:
            engine.add_vectors([str(item) for item in self.items], self.references)
            pictures = [pixel(number) for number in range(self.count)]
            if identify:
                engine.calibrate()
            start = time.perf_counter()
            if identify:
                hits = [answer.hits for answer in engine.identify(pictures, k=2)]
            else:
                hits = engine.search_image(pictures, k=2, models=models)
            taken = (time.perf_counter() - start) / self.count * 1000
        first = [int(some[0].item) for some in hits]
        return first, np.array([[hit.score for hit in some] for some in hits], np.float32), taken


def missed(first: Sequence[int], best: Vectors, truth: Sequence[int], lead: float) -> float:
    """The share of known queries that are missed; the truth of strangers is -1."""
    strength = best[:, 0] + lead * (best[:, 0] - best[:, 1])
    known = np.array(truth) >= 0
    bar = np.quantile(strength[~known], 1 - STRANGERS)
    return float(1 - np.mean((np.array(first) == truth)[known] & (strength[known] > bar)))


class Table:
    """Figures of each lever in each draw."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, list[float]]] = {}

    def put(self, lever: str, column: str, value: float) -> None:
        self.rows.setdefault(lever, {}).setdefault(column, []).append(value)

    def show(self) -> None:
        base = self.rows["search"]
        print("| lever | " + " | ".join(base) + " |\n| --- |" + " --- |" * len(base))
        for lever, columns in self.rows.items():
            cells = []
            for column, values in columns.items():
                if column == "ms":
                    cells.append(f"{np.median(values):.2f}")
                    continue
                gains = np.array(values) - base[column]
                error = f" ± {gains.std(ddof=1) / np.sqrt(len(gains)):.3f}" if len(gains) > 1 else ""
                cells.append(f"{np.mean(values):.3f} ({gains.mean():+.3f}{error})")
            print(f"| {lever} | " + " | ".join(cells) + " |", flush=True)


def levers(
    table: Table,
    column: str,
    pool: Pictures,
    rows: Sequence[int],
    items: Sequence[int],
    queries: dict[str, Vectors],
    middles: dict[str, Vectors],
    truth: Sequence[int],
    weights: dict[str, float] | None,
) -> None:
    """Asks the queries by every lever."""
    main = next(iter(queries))
    for crops in (False, True):
        vectors = {name: (pool.crops if crops else pool.plain)[name][rows] for name in queries}
        prefix = "crops" if crops else ""
        for lever, asked, identify, models in (
            (prefix or "search", queries, False, None),
            (f"{prefix} + second look".lstrip(" +"), queries, True, None),
            (f"{prefix} + second model".lstrip(" +"), queries, False, weights),
            ("crops + second look + query_crops", middles, True, None),
        ):
            if (lever.endswith("second model") and weights is None) or (lever.endswith("query_crops") and not crops):
                continue
            used = vectors if models else {main: vectors[main]}
            catalog = Catalog(used, items, asked if models else {main: asked[main]})
            first, _, taken = catalog.asked(identify, models)
            table.put(lever, column, float(np.mean(np.array(first) == truth)))
            table.put(lever, "ms", taken)


def open_set(pool: Pictures, rows: Sequence[int], items: Sequence[int], queries: Vectors, truth: Sequence[int]) -> list:
    main = next(iter(pool.plain))
    found = []
    for crops in (False, True):
        for identify in (False, True):
            vectors = {main: (pool.crops if crops else pool.plain)[main][rows]}
            first, best, _ = Catalog(vectors, items, {main: queries}).asked(identify)
            found.append([missed(first, best, truth, lead) for lead in (0.0, 0.5)])
    return found


def told(title: str, runs: Sequence[list]) -> None:
    print(f"{title}, missed where {STRANGERS:.0%} of strangers are accepted, by the score / with half of the lead")
    names = ("search", "second look", "crops", "crops + second look")
    for name, (plain, lead) in zip(names, np.mean(runs, axis=0), strict=True):
        print(f"  {name}: {plain:.3f} / {lead:.3f}")


def photos(encoders: dict[str, _core.Encoder], root: Path, draws: int, weights: dict[str, float] | None) -> None:
    def listed(part: str) -> list[Path]:
        return sorted(path for path in (root / part).rglob("*") if path.suffix.lower() in PICTURES)

    def batches(paths: list[Path]) -> Callable[[], Iterator[list[Any]]]:
        return lambda: (paths[start : start + 256] for start in range(0, len(paths), 256))

    products = sorted({path.parent.relative_to(root / "train").as_posix() for path in listed("train")})
    number = {product: place for place, product in enumerate(products)}
    train = listed("train")
    owner = np.array([number[path.parent.relative_to(root / "train").as_posix()] for path in train])
    asked = [path for path in listed("val") if path.parent.relative_to(root / "val").as_posix() in number]
    truth = [number[path.parent.relative_to(root / "val").as_posix()] for path in asked]
    pool, seen = Pictures(encoders, batches(train)), Pictures(encoders, batches(asked))
    table, runs = Table(), []
    for draw in range(draws):
        dice = np.random.default_rng(draw)
        for count in COUNTS:
            rows = [
                row
                for place in range(len(products))
                for row in dice.permutation(np.flatnonzero(owner == place))[:count]
            ]
            items = owner[rows].tolist()
            levers(table, f"{count} per item", pool, rows, items, seen.plain, seen.crops, truth, weights)
        inside = dice.permutation(len(products))[: len(products) // 2]
        kept = [row for row in rows if owner[row] in inside]
        known = [item if item in inside else -1 for item in truth]
        main = next(iter(encoders))
        runs.append(open_set(pool, kept, owner[kept].tolist(), seen.plain[main], known))
    print(f"{len(truth)} photos of {len(products)} products, {draws} draws")
    table.show()
    told("photos", runs)


def plushes(encoders: dict[str, _core.Encoder], count: int) -> None:
    identities = Identities(count, 7, len(os.sched_getaffinity(0)))
    numbers = list(range(count))
    shots = [Pictures(encoders, lambda n=n: identities.references(numbers, n)) for n in range(max(COUNTS))]
    pool = shots[0]
    for kept, names in ((pool.plain, "plain"), (pool.crops, "crops")):
        for model in encoders:
            kept[model] = np.concatenate([getattr(shot, names)[model] for shot in shots])
    asked = {
        scene: Pictures(encoders, lambda scene=scene: identities.queries(numbers, SPLITS[scene])) for scene in SCENES
    }
    for several in COUNTS:
        table = Table()
        rows, items = list(range(several * count)), numbers * several
        for scene, seen in asked.items():
            levers(table, scene, pool, rows, items, seen.plain, seen.crops, numbers, None)
        print(f"{count} plushes, {several} per item")
        table.show()
    half = count // 2
    kept = [row for row in rows if items[row] < half]
    known = [item if item < half else -1 for item in numbers]
    everyday = asked["everyday"].plain[next(iter(encoders))]
    told("everyday plushes", [open_set(pool, kept, [items[row] for row in kept], everyday, known)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--second-model", help="a model to search with beside the first, by its name or directory")
    parser.add_argument("--weight", type=float, default=0.7, help="the weight of the first model beside the second")
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    encoders = {"first": as_encoder(options.model, threads=threads)}
    weights = None
    if options.second_model:
        encoders["second"] = as_encoder(options.second_model, threads=threads)
        weights = {"first": options.weight, "second": 1 - options.weight}
    if options.photos:
        photos(encoders, options.photos, options.draws, weights)
    else:
        plushes(encoders, options.items)


if __name__ == "__main__":
    main()
