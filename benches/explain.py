"""How faithful heat maps are, against the middle of the picture, the query-free feature map and chance.

    python benches/explain.py [--pairs 40] [--attributes 40] [--scene studio] [--whole] [--model NAME] [--size 224]

Each pair is a toy of PlushBench in a cluttered photo, or that of another scene, which is the query, and in a studio
picture, the reference. The photo is cut to a part of two thirds of its sides that has most of the toy, anywhere in it:
else, with ``--whole``, the middle is the toy. The true outline of the toy is a map, too: no other can be more right.
Insertion − deletion: cells of 10 × 10 are inserted into the blurred photo, or deleted from the sharp one, the most
important first, 5 at a time; the area under the cosine with the reference while they come, less that while they go.
The renderer knows where the toy is: the pointing game counts maps whose highest cell is on the toy, and the share is
that of the map's positive values on it. For words, the toy wears one accessory more than the same toy without it, where
the pictures differ is where it is, and a map points at it if its highest cell is within one cell of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import _core
from plushie_search.answers.explain.drawing import resized

CELLS, STEP = 10, 5
Heat = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--attributes", type=int, default=40)
    parser.add_argument("--scene", choices=("studio", "everyday", "cluttered"), default="cluttered")
    parser.add_argument("--whole", action="store_true", help="the toy in the middle")
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    areas: dict[str, list[float]] = {}
    points: dict[str, list[bool]] = {}
    shares: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, ps.Engine(Path(folder, "c"), model=options.model) as engine:
        for seed in range(1, options.pairs + 1):
            toy = _core.Plush(seed)
            engine.add(str(seed), images=[toy.render(size=options.size, view=seed)])
        for seed in range(1, options.pairs + 1):
            toy, view = _core.Plush(seed), 10**6 + seed
            if options.whole:
                photo = toy.cutout(size=options.size, view=view, scene=options.scene)
            else:
                photo = part(toy, view, options.size, options.scene, random)
            pixels, mask = np.ascontiguousarray(photo[..., :3]), photo[..., 3] > 127
            target = engine.vectors(str(seed))[0]
            outline = mask.astype(np.float32), 0.0
            for name, heat, seconds in [*maps(engine, pixels, str(seed), random), ("the toy's outline", *outline)]:
                areas.setdefault(name, []).append(faithfulness(engine, pixels, heat, target))
                large = resized(heat, *mask.shape)
                points.setdefault(name, []).append(bool(mask[np.unravel_index(large.argmax(), mask.shape)]))
                positive = np.maximum(large, 0)
                shares.setdefault(name, []).append(float(positive[mask].sum() / max(positive.sum(), 1e-9)))
                times.setdefault(name, []).append(seconds)
        print(f"{options.pairs} pairs, {options.model}; the toy has {np.mean(shares['even']):.2f} of a photo\n")
        print("| map | insertion − deletion | highest cell on the toy | share on the toy | time |")
        print("| --- | --- | --- | --- | --- |")
        for name, values in areas.items():
            error = np.std(values) / np.sqrt(len(values))
            print(
                f"| {name} | {np.mean(values):.3f} ± {error:.3f} | {np.mean(points[name]):.3f} | "
                f"{np.mean(shares[name]):.2f} | {1000 * np.median(times[name]):.0f} ms |"
            )
        if options.attributes:
            worn(engine, options.attributes, options.size)


def part(toy: Any, view: int, size: int, scene: str, random: np.random.Generator) -> NDArray[np.uint8]:
    """Returns a part (size, size, 4) of a photo with nine tenths of the toy; the last channel is its mask."""
    whole = toy.cutout(size=size * 3 // 2, view=view, scene=scene)
    mask = whole[..., 3] > 127
    for _ in range(200):
        top, left = random.integers(0, len(whole) - size + 1, 2)
        if mask[top : top + size, left : left + size].sum() >= 0.9 * mask.sum():
            break
    return np.ascontiguousarray(whole[top : top + size, left : left + size])


def maps(engine: ps.Engine, pixels: Any, item: str, random: np.random.Generator) -> list[tuple[str, Heat, float]]:
    """Returns the maps of a photo for an item, each with its name and the seconds that it took."""
    found: list[tuple[str, Heat, float]] = []
    methods: list[tuple[str, dict[str, Any]]] = [("windows", {}), ("81 windows", {"detail": 2})]
    methods += [("cam", {"method": "cam"})] if engine.image_model == "plushie-mini" else []
    for name, how in methods:
        begin = time.perf_counter()
        side = engine.explain(pixels, item, sides="query", **how).query
        assert side is not None
        found.append((name, side.map, time.perf_counter() - begin))
    rows, columns = found[0][1].shape
    if len(methods) > 2:
        feature = engine._core.feature_maps(pixels, engine.image_model or "")[0][-1]
        norm = np.linalg.norm(feature, axis=0).astype(np.float32)
        found.append(("norm of the feature map", resized(norm, rows, columns), 0.0))
    y, x = np.mgrid[:rows, :columns]
    far = ((y + 0.5) / rows - 0.5) ** 2 + ((x + 0.5) / columns - 0.5) ** 2
    found.append(("middle", np.exp(-far / 0.08).astype(np.float32), 0.0))
    found.append(("chance", random.random((rows, columns)).astype(np.float32), 0.0))
    return [*found, ("even", np.ones((rows, columns), np.float32), 0.0)]


def faithfulness(engine: ps.Engine, pixels: Any, heat: Heat, target: Any) -> float:
    """Returns the area under the cosine while cells are inserted, less that while they are deleted."""
    order = np.argsort(-resized(heat, CELLS, CELLS).ravel(), kind="stable")
    blur = blurred(pixels)
    edges = np.round(np.linspace(0, len(pixels), CELLS + 1)).astype(int)
    shown: list[Any] = []
    for under, over in ((blur, pixels), (pixels, blur)):
        now = under.copy()
        shown.append(now.copy())
        for start in range(0, CELLS * CELLS, STEP):
            for cell in order[start : start + STEP]:
                row, column = divmod(int(cell), CELLS)
                place = slice(edges[row], edges[row + 1]), slice(edges[column], edges[column + 1])
                now[place] = over[place]
            shown.append(now.copy())
    cosines = engine.encode_images(shown) @ target
    half = len(shown) // 2
    return float(np.trapezoid(cosines[:half]) - np.trapezoid(cosines[half:])) / (half - 1)


def blurred(pixels: Any) -> Any:
    """Returns a picture under a Gaussian of a tenth of its side."""
    side = len(pixels)
    at = np.arange(side)
    kernel = np.exp(-((at[:, None] - at) ** 2) / (2 * (0.1 * side) ** 2))
    kernel /= kernel.sum(1, keepdims=True)
    down = np.tensordot(kernel, pixels.astype(float), 1)
    return np.round(np.moveaxis(np.tensordot(kernel, down, (1, 1)), 0, 1)).astype(np.uint8)


def worn(engine: ps.Engine, count: int, size: int) -> None:
    """Prints how often the map of words points at the accessory that they name."""
    hits: list[bool] = []
    room: list[float] = []
    seed = 5000
    while len(hits) < count:
        seed += 1
        toy = _core.Plush(seed)
        worn = toy.attributes["accessories"]
        if not worn:
            continue
        bare = _core.Plush.with_attributes(toy.seed, {**toy.attributes, "accessories": worn[1:]})
        pixels, without = (one.render(size=size, view=seed) for one in (toy, bare))
        mask = np.abs(pixels.astype(int) - without).max(-1) > 24
        if mask.mean() < 0.005:
            continue
        engine.add("worn", images=[pixels], upsert=True)
        words = f"{worn[0]['color'].replace('_', ' ')} {worn[0]['kind'].replace('_', ' ')}"
        side = engine.explain(ps.Query(text=f"a {words}"), "worn", detail=2).matched
        assert side is not None
        rows, columns = side.map.shape
        y, x = np.unravel_index(side.map.argmax(), side.map.shape)
        cell = size // CELLS
        top, left = int(y * size / rows), int(x * size / columns)
        near = mask[max(0, top - cell) : top + 2 * cell, max(0, left - cell) : left + 2 * cell]
        hits.append(bool(near.any()))
        padded = np.lib.stride_tricks.sliding_window_view(np.pad(mask, cell), (2 * cell, 2 * cell))
        room.append(float(padded.any((2, 3)).mean()))
    print(f"\nwords for an accessory point at it: {np.mean(hits):.3f} of {count}, by chance {np.mean(room):.3f}")


if __name__ == "__main__":
    main()
