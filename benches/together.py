"""Measures how often the right item is first by one model, by another, and by both together with several weights.

    python benches/together.py --photos DIR --second-model NAME [--model plushie-mini] [--draws 20]

DIR/train/<item>/... are references, three of each product in the draws of levers.py, and DIR/val/<item>/... queries.
Prints the share of queries whose item is first, and the difference to a search by the first model with its standard
error over the draws: of searches by cosines, and of `identify` with its second look, without and with the middles of
references (Engine(crops=True)), and of queries (query_crops=True). The learned weights are those of
`Engine.calibrate()`, from the references alone, used or not; how often it uses them is printed below.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from identify import PICTURES, pixel
from levers import COUNTS, Named, Pictures

import plushie_search as ps
from plushie_search.hub import as_encoder

MODELS = ("first", "second")
FIXED = {
    "first alone": {"first": 1.0},
    "second alone": {"second": 1.0},
    "equal weights": {"first": 0.5, "second": 0.5},
}
LEARNED = "learned weights"


def listed(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in PICTURES)


def encoded(encoders: dict[str, Any], paths: list[Path]) -> Pictures:
    def batches() -> Iterator[list[Path]]:
        return (paths[start : start + 256] for start in range(0, len(paths), 256))

    return Pictures(encoders, batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--second-model", required=True, help="by its name or directory")
    parser.add_argument("--draws", type=int, default=20)
    options = parser.parse_args()
    threads = len(os.sched_getaffinity(0))
    names = (options.model, options.second_model)
    encoders = {of: as_encoder(name, threads=threads) for of, name in zip(MODELS, names, strict=True)}
    train, val = options.photos / "train", options.photos / "val"
    products = sorted({path.parent.relative_to(train).as_posix() for path in listed(train)})
    number = {product: place for place, product in enumerate(products)}
    owner = np.array([number[path.parent.relative_to(train).as_posix()] for path in listed(train)])
    asked = [path for path in listed(val) if path.parent.relative_to(val).as_posix() in number]
    truth = np.array([number[path.parent.relative_to(val).as_posix()] for path in asked])
    pool, seen = encoded(encoders, listed(train)), encoded(encoders, asked)
    pictures = [pixel(place) for place in range(len(asked))]
    rows: dict[tuple[str, str], list[float]] = {}
    learned: dict[str, list[Any]] = {}
    for draw in range(options.draws):
        dice = np.random.default_rng(draw)
        for count in COUNTS:  # the last one counts
            chosen = [
                row
                for place in range(len(products))
                for row in dice.permutation(np.flatnonzero(owner == place))[:count]
            ]
        for kind, stored, shown in (
            ("", pool.plain, seen.plain),
            (" with crops", pool.crops, seen.plain),
            (" with crops and query_crops", pool.crops, seen.crops),
        ):
            fakes = {name: Named(name, shown[name]) for name in MODELS}
            with tempfile.TemporaryDirectory() as folder, ps.Engine(folder, model=fakes) as engine:
                engine.add_vectors([str(owner[row]) for row in chosen], {name: stored[name][chosen] for name in MODELS})
                made = engine.calibrate().learned
                learned.setdefault(kind, []).append(made)
                for way, weights in {**FIXED, LEARNED: made.weights if made else FIXED["first alone"]}.items():
                    hits = engine.search_image(pictures, k=1, models=weights, fusion="sum")
                    answers = [one.hits for one in engine.identify(pictures, k=1, models=weights)]
                    for column, found in (("search", hits), ("identify", answers)):
                        right = np.mean([int(some[0].item) == item for some, item in zip(found, truth, strict=True)])
                        rows.setdefault((way, column + kind), []).append(float(right))
    columns = list(dict.fromkeys(column for _, column in rows))
    base = np.array(rows["first alone", "search"])
    print(f"{len(asked)} photos of {len(products)} products, {COUNTS[-1]} references, {options.draws} draws\n")
    print("| | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1))
    for way in (*FIXED, LEARNED):
        cells = []
        for column in columns:
            gains = np.array(rows[way, column]) - base
            error = f" ± {gains.std(ddof=1) / np.sqrt(len(gains)):.3f}" if len(gains) > 1 else ""
            cells.append(f"{np.mean(rows[way, column]):.3f} ({gains.mean():+.3f}{error})")
        print(f"| {way} | " + " | ".join(cells) + " |")
    for kind, all_made in learned.items():
        some = [made for made in all_made if made]
        weights = np.mean([made.weights.get("first", 0.0) for made in some])
        print(f"learned{kind}: the first model counts {weights:.2f}, used in {sum(made.used for made in some)} draws")


if __name__ == "__main__":
    main()
