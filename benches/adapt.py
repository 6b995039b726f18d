"""Measures what `Engine.adapt` finds beyond `Engine.calibrate`: how often the right item is first, and the seconds.

    python benches/adapt.py PHOTOS [--queries FOLDER] [--model plushie-mini ...] [--references 3 10] [--draws 5]
        [--keep FOLDER]

PHOTOS has folders that are named for their item, at any depth: .../<item>/<picture>; and so has FOLDER, the photos that
are asked for; by default they are up to 20 of PHOTOS that are not in the catalog. In each draw a catalog has so many
references of each item, at random. With `--keep`, vectors are kept in that folder. Prints the share of photos whose
item `identify` has first:

    search      the cosine with the best reference
    calibrate   as `calibrate` decides
    adapt       by the map of `adapt` if it is kept, else as `calibrate` decides
    later       of items that came after `adapt` had learned from the other half of them, beside `calibrate` of all

and the difference to `calibrate` with its standard error over the draws.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from identify import PICTURES, Remembered, Vectors, pixel

import plushie_search as ps
from plushie_search.hub import as_encoder

MOST = 20


def encoded(encoder: Any, root: Path, keep: Path | None) -> dict[str, Vectors]:
    """The vectors of the photos of each item."""
    told = hashlib.sha256(f"{encoder.fingerprint} {root.resolve()}".encode()).hexdigest()[:16]
    path = keep and keep / f"{told}.npz"
    if path and path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)
    paths: dict[str, list[str]] = {}
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() in PICTURES:
            paths.setdefault(file.parent.name, []).append(str(file))
    vectors = {item: encoder.encode_images(some) for item, some in paths.items()}
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **vectors)
    return vectors


def filled(engine: ps.Engine, references: dict[str, Vectors], items: Sequence[str]) -> None:
    ids = [item for item in items for _ in references[item]]
    engine.add_vectors(ids, np.concatenate([references[item] for item in items]))


def share(answers: Sequence[Any], truth: Sequence[str]) -> float:
    """How many answers, or lists of hits, have the right item first."""
    return float(np.mean([answer[0].item == item for answer, item in zip(answers, truth, strict=True)]))


def drawn(
    pool: dict[str, Vectors], queries: dict[str, Vectors] | None, count: int, draw: int
) -> tuple[dict[str, float], str]:
    """Returns the figures of a draw, and what was learned."""
    dice = np.random.default_rng(draw)
    references, asked = {}, {}
    for item, vectors in pool.items():
        order = dice.permutation(len(vectors))
        references[item] = vectors[np.sort(order[:count])]
        asked[item] = vectors[order[count : count + MOST]] if queries is None else queries.get(item, vectors[:0])
    items = sorted(references)
    truth = [item for item in items for _ in asked[item]]
    numbered = np.concatenate([asked[item] for item in items])
    pixels = [pixel(number) for number in range(len(truth))]
    figures = {}
    with tempfile.TemporaryDirectory() as folder, ps.Engine(folder, model=Remembered(numbered)) as engine:
        filled(engine, references, items)
        engine.calibrate()
        plain = [answer.hits for answer in engine.identify(pixels)]
        figures["search"] = share(engine.search_image(pixels, k=1), truth)
        figures["calibrate"] = share(plain, truth)
        made = engine.adapt()
        figures["kept"] = share([answer.hits for answer in engine.identify(pixels)], truth)
        figures["seconds"] = made.seconds
    first = set(dice.permutation(items)[: len(items) // 2].tolist())
    later = [number for number, item in enumerate(truth) if item not in first]
    figures["later, calibrate"] = share([plain[number] for number in later], [truth[number] for number in later])
    with tempfile.TemporaryDirectory() as folder, ps.Engine(folder, model=Remembered(numbered)) as engine:
        filled(engine, references, [item for item in items if item in first])
        half = engine.adapt()
        filled(engine, references, [item for item in items if item not in first])
        found = engine.identify([pixels[number] for number in later])
        figures["later, kept"] = share([answer.hits for answer in found], [truth[number] for number in later])
    kinds = [
        f"{one.method} {one.strength:g}/{one.best_reference:g}" if one.accepted else "none" for one in (made, half)
    ]
    said = f"told {made.new_items.before:.3f} -> {made.new_items.after:.3f} (new items), "
    said += f"{made.new_photos.before:.3f} -> {made.new_photos.after:.3f} (new photos)"
    return figures, f"draw {draw}: {kinds[0]}, of half the items {kinds[1]}; {said}"


def gain(rows: Sequence[dict[str, float]], after: str, before: str) -> str:
    gains = np.array([row[after] - row[before] for row in rows])
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return f"{np.mean([row[after] for row in rows]):.3f} ({gains.mean():+.3f} ± {error:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--queries", type=Path)
    parser.add_argument("--model", nargs="+", default=["plushie-mini"])
    parser.add_argument("--references", type=int, nargs="+", default=[3, 10])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    lines = []
    for name in options.model:
        encoder = as_encoder(name, threads=len(os.sched_getaffinity(0)))
        pool = encoded(encoder, options.photos, options.keep)
        queries = None if options.queries is None else encoded(encoder, options.queries, options.keep)
        for count in options.references:
            rows = []
            for draw in range(options.draws):
                figures, said = drawn(pool, queries, count, draw)
                rows.append(figures)
                print(f"{Path(name).name}, {count} references, {said}", flush=True)
            means = {key: np.mean([row[key] for row in rows]) for key in rows[0]}
            lines.append(
                f"| {Path(name).name}, {count} | {means['search']:.3f} | {means['calibrate']:.3f} | "
                f"{gain(rows, 'kept', 'calibrate')} | {means['later, calibrate']:.3f} | "
                f"{gain(rows, 'later, kept', 'later, calibrate')} | {means['seconds']:.1f} |"
            )
    print("| model, references | search | calibrate | adapt | later items: calibrate | adapt | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
