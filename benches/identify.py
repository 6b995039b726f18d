"""How well `identify` tells what is in a catalog from what is not, and how far its probabilities can be trusted.

    python benches/identify.py [--model plushie-mini] [--items 1000] [--targets 0.01 0.05]
    python benches/identify.py --items 100000 --references 1 --queries 2000 --keep FOLDER
    python benches/identify.py --photos DIR [--draws 10] [--labeled 100]
    python benches/identify.py --typical

By default plushes are rendered: three references of each item in different scenes, everyday pictures of the items and
of as many strangers as queries, and occluded ones of the items. `--queries` asks about that many items, drawn evenly,
and as many strangers. With `--keep`, vectors are kept in FOLDER, and a run that was stopped goes on from them.

With `--photos`, DIR/train/<item>/... are references (three of each product) and DIR/val/<item>/... queries; in each
draw a half of the products is in the catalog and the others are strangers. A half of the queries, at most `--labeled`,
calibrates a second time, and the others are asked.

Prints for each target the false positive identification rate (FPIR: strangers that are taken for an item), the false
negative one (FNIR: queries that are not matched with their item) and the expected calibration error (ECE), beside those
of one fixed cosine, which is the baseline: the cosine that has the same FPIR with the first 50 items. At last FPIR
against the number of items, at the threshold for each number and at the fixed cosine.

With `--typical`, prints the section `calibration` of the model's manifest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import _core, metrics
from plushie_search.hub import as_encoder

FIRST, STRANGERS, TYPICAL = 300_000_000, 301_000_000, 302_000_000
SCENES = ("studio", "pose", "everyday")
EVERYDAY, OCCLUDED = 10, 6
BATCH, KEPT = 64, 1024
PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
Vectors = NDArray[np.float32]


class Remembered:
    """An encoder of pictures of one pixel, whose color is the number of a vector that was computed before."""

    name, fingerprint, batch, cache = "remembered", "remembered", 1024, 1

    def __init__(self, vectors: Vectors) -> None:
        self.vectors, self.dim = vectors, vectors.shape[1]

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        return self.vectors[[int.from_bytes(bytes(image[0, 0]), "big") for image in images]]


def pixel(number: int) -> NDArray[np.uint8]:
    return np.frombuffer(number.to_bytes(3, "big"), np.uint8).reshape(1, 1, 3)


class Studio:
    """Renders plushes and encodes them, and keeps the vectors in a folder if there is one."""

    def __init__(self, encoder: _core.Encoder, folder: Path | None) -> None:
        self.encoder, self.folder = encoder, folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def vectors(self, seeds: Sequence[int], slot: int, scene: str) -> Vectors:
        return np.concatenate(
            [self.block(seeds[start : start + KEPT], slot, scene) for start in range(0, len(seeds), KEPT)]
        )

    def block(self, seeds: Sequence[int], slot: int, scene: str) -> Vectors:
        drawn = hashlib.sha256(np.asarray(seeds, np.int64)).hexdigest()[:12]
        path = self.folder and self.folder / f"{self.encoder.fingerprint[:12]}-{scene}-{slot}-{drawn}.npy"
        if path and path.exists():
            return np.load(path, allow_pickle=False)
        vectors = []
        for start in range(0, len(seeds), BATCH):
            some = list(seeds[start : start + BATCH])
            views = [(seed * 100 + slot) % 2**63 for seed in some]
            pictures = _core.render_plushes(some, views, size=224, scene=scene)
            vectors.append(self.encoder.encode_images(list(pictures)))
        together = np.concatenate(vectors)
        if path:
            part = path.with_suffix(".part.npy")
            np.save(part, together, allow_pickle=False)
            part.replace(path)
        return together


def encoded(encoder: _core.Encoder, root: Path) -> dict[str, Vectors]:
    """The vectors of the pictures in each folder below `root`."""
    paths: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in PICTURES:
            paths.setdefault(path.parent.relative_to(root).as_posix(), []).append(path)
    return {item: encoder.encode_images(some) for item, some in paths.items()}


def asked(
    references: Sequence[Vectors],
    known: Sequence[tuple[Vectors, int]],
    unknown: Sequence[Vectors],
    targets: Sequence[float],
    labeled: Sequence[tuple[Vectors, int | None]] = (),
) -> tuple[
    dict[float, list[bool]], dict[float, list[bool]], list[tuple[float, float, bool]], list[tuple[float, float]]
]:
    """Asks a catalog whose item i has references[i].

    Returns for each target which unknown queries were accepted and which known ones missed; probability, cosine and
    outcome of each known query, and probability and cosine of each unknown one.
    """
    queries = [vector for vector, _ in known]
    numbered = np.stack([*queries, *unknown, *(vector for vector, _ in labeled)])
    with tempfile.TemporaryDirectory() as folder, ps.Engine(folder, model=Remembered(numbered)) as engine:
        ids = [f"item-{number}" for number, some in enumerate(references) for _ in some]
        engine.add_vectors(ids, np.concatenate(references))
        first = len(queries) + len(unknown)
        pairs = [
            (pixel(first + place), None if item is None else f"item-{item}") for place, (_, item) in enumerate(labeled)
        ]
        engine.calibrate(pairs)
        accepted, missed = {}, {}
        pixels = [pixel(number) for number in range(first)]
        for target in targets:
            answers = engine.identify(pixels, target_fpr=target)
            right = [f"item-{item}" for _, item in known]
            matched = [answer.hits[0].item if answer.verdict != "unknown" else None for answer in answers]
            accepted[target] = [item is not None for item in matched[len(queries) :]]
            missed[target] = [item != truth for item, truth in zip(matched, right, strict=False)]
        likely = [(answer.probability or 0.0, answer.hits[0].score) for answer in answers]
        outcomes = [answer.hits[0].item == truth for answer, truth in zip(answers, right, strict=False)]
    pairs_known = [(*pair, outcome) for pair, outcome in zip(likely, outcomes, strict=False)]
    return accepted, missed, pairs_known, likely[len(queries) :]


def balanced(known: Sequence[tuple[float, bool]], unknown: Sequence[float]) -> float:
    """The calibration error where known and unknown queries count a half each."""
    likely = [probability for probability, _ in known] + list(unknown)
    right = [outcome for _, outcome in known] + [False] * len(unknown)
    weights = [0.5 / len(known)] * len(known) + [0.5 / len(unknown)] * len(unknown)
    return metrics.ece(np.clip(likely, 0, 1), right, weights=weights)


def told(name: str, runs: Sequence[tuple], targets: Sequence[float]) -> None:
    """Prints the rates and the error of runs that are taken together."""
    known = [row for _, _, some, _ in runs for row in some]
    unknown = [row for *_, some in runs for row in some]
    for target in targets:
        accepted = [float(one) for run in runs for one in run[0][target]]
        missed = [float(one) for run in runs for one in run[1][target]]
        print(f"{name}, asked {target:g}: FPIR {metrics.mean(accepted)}, FNIR {metrics.mean(missed)}")
    error = balanced([(row[0], row[2]) for row in known], [row[0] for row in unknown])
    raw = balanced([(row[1], row[2]) for row in known], [row[1] for row in unknown])
    sure = [row[2] for row in known if row[0] >= 0.9] + [False for row in unknown if row[0] >= 0.9]
    first = np.mean([row[2] for row in known])
    print(f"{name}: ECE {error:.3f} (the cosine as probability {raw:.3f}), right at 0.9 {np.mean(sure or [0]):.3f} of "
          f"{len(sure)}, right item first {first:.3f}; {len(known)} known, {len(unknown)} unknown")  # fmt: skip


def fixed(references: Sequence[Vectors], unknown: Vectors, target: float) -> float:
    """The cosine that a share of the unknown queries reaches among the first 50 items."""
    some = np.concatenate(references[:50])
    return float(np.quantile((unknown @ some.T).max(1), 1 - target))


def sizes(references: Sequence[Vectors], known: Sequence[tuple[Vectors, int]], unknown: Vectors, target: float) -> None:
    bar = fixed(references, unknown, target)
    for count in (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000):
        if count > len(references):
            break
        some = [pair for pair in known if pair[1] < count]
        accepted, missed, likely, strange = asked(references[:count], some, list(unknown), [target])
        above = np.mean([cosine >= bar for _, cosine in strange])
        below = np.mean([not (right and cosine >= bar) for _, cosine, right in likely])
        print(
            f"{count:6} items: FPIR {np.mean(accepted[target]):.4f}, FNIR {np.mean(missed[target]):.3f}; "
            f"cosine {bar:.3f}: FPIR {above:.4f}, FNIR {below:.3f}"
        )


def plushes(studio: Studio, items: int, references: int, queries: int, targets: Sequence[float]) -> None:
    seeds, strange = range(FIRST, FIRST + items), range(STRANGERS, STRANGERS + queries)
    # Each leading part of the catalog has its share of the queries down to a hundred.
    places = np.unique(np.concatenate([np.arange(min(items, queries, 100)), np.arange(0, items, -(-items // queries))]))
    drawn = [seeds[place] for place in places]
    shots = [studio.vectors(seeds, slot, scene) for slot, scene in enumerate(SCENES[:references])]
    several = list(np.stack(shots, 1))
    known = list(zip(studio.vectors(drawn, EVERYDAY, "everyday"), places.tolist(), strict=True))
    hidden = list(zip(studio.vectors(drawn, OCCLUDED, "occluded"), places.tolist(), strict=True))
    unknown = studio.vectors(strange, EVERYDAY, "everyday")
    for count in sorted({1, references}):
        some = [one[:count] for one in several]
        told(f"plushes, {count} per item", [asked(some, known, list(unknown), targets)], targets)
    told("plushes, occluded queries", [asked(several, hidden, list(unknown), targets)], targets)
    print("FPIR against the number of items")
    sizes(several, known, unknown, targets[0])


def photos(encoder: _core.Encoder, root: Path, draws: int, labeled: int, targets: Sequence[float]) -> None:
    pool, queries = encoded(encoder, root / "train"), encoded(encoder, root / "val")
    products = sorted(pool.keys() & queries.keys())
    before, after = [], []
    for draw in range(draws):
        dice = np.random.default_rng(draw)
        order = [products[place] for place in dice.permutation(len(products))]
        inside, outside = order[: len(order) // 2], order[len(order) // 2 :]
        references = [pool[name][dice.permutation(len(pool[name]))[:3]] for name in inside]
        known = [(vector, place) for place, name in enumerate(inside) for vector in queries[name]]
        strange = [vector for name in outside for vector in queries[name]]
        before.append(asked(references, known, strange, targets))
        known = [known[place] for place in dice.permutation(len(known))]
        strange = [strange[place] for place in dice.permutation(len(strange))]
        half = [min(len(some) // 2, labeled // 2) for some in (known, strange)]
        labels = [*known[: half[0]], *((vector, None) for vector in strange[: half[1]])]
        after.append(asked(references, known[half[0] :], strange[half[1] :], targets, labels))
    told(f"photos, {len(products) // 2} of {len(products)} items", before, targets)
    told("photos, after calibrate(labeled queries)", after, targets)


def typical(studio: Studio, items: int) -> None:
    seeds = range(TYPICAL, TYPICAL + items)
    queries = studio.vectors(seeds, EVERYDAY, "everyday")
    own, others = [], []
    for slot, scene in enumerate(SCENES):
        cosines = queries @ studio.vectors(seeds, slot, scene).T
        own.append(np.diag(cosines))
        others.append(cosines[~np.eye(items, dtype=bool)])
    low, high = np.quantile(np.concatenate(others), [1 - 1e-3, 1 - 1e-4])
    scale = (high - low) / np.log(10)
    genuine = np.quantile(np.concatenate(own), np.arange(0.025, 1, 0.05)).round(3).tolist()
    start = round(float(low - scale * np.log(0.05 / 1e-3)), 3)
    print(json.dumps({"calibration": {"genuine": genuine, "start": start, "scale": round(float(scale), 3)}}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--targets", type=float, nargs="+", default=[0.01, 0.05])
    parser.add_argument("--references", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--queries", type=int, help="by default as many as there are items")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--labeled", type=int, default=100)
    parser.add_argument("--typical", action="store_true")
    options = parser.parse_args()
    encoder = as_encoder(options.model, threads=len(os.sched_getaffinity(0)))
    studio = Studio(encoder, options.keep)
    if options.typical:
        typical(studio, options.items)
    elif options.photos:
        photos(encoder, options.photos, options.draws, options.labeled, options.targets)
    else:
        plushes(studio, options.items, options.references, options.queries or options.items, options.targets)


if __name__ == "__main__":
    main()
