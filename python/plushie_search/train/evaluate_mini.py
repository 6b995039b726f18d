"""How good a model is on plushes that it has never seen.

    python -m plushie_search.train.evaluate_mini [MODEL_DIRECTORY]

renders 1,000 plushes that no training has seen, encodes them with the shipped files through the package's own encoder,
and prints each figure with its 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plushie_search import _core
from plushie_search.hub import DEFAULT_MODEL, model_directory, runtime_library
from plushie_search.train import captions, evaluate_photos
from plushie_search.train.evaluate_photos import Encoder, Figure, Vectors
from plushie_search.train.plushes import Scene

FIRST_SEED = 10_000_000
"""Held-out plushes have seeds from here on, far below those of training."""
SCENES: tuple[Scene, ...] = ("studio", "everyday", "light", "pose", "occluded", "head_only", "cluttered")
LEAST_MATCHES = 5


def figures(
    encoder: Encoder, *, items: int = 1000, size: int = 192, texts: int = 300, scenes: Sequence[Scene] = SCENES
) -> Iterator[Figure]:
    """The name of each test and one outcome per query; a figure is their mean."""
    held_out = [_core.Plush(FIRST_SEED + number) for number in range(items)]
    numbers = np.arange(items)

    def see(plushes: Sequence[Any], scene: Scene, first_view: int) -> Vectors:
        shown = (plush.render(size=size, view=first_view + number, scene=scene) for number, plush in enumerate(plushes))
        return np.concatenate([encoder.encode_images(batch) for batch in _batches(shown, 64)])

    references = see(held_out, "studio", 0)
    everyday = see(held_out, "everyday", items)
    for scene in scenes:
        queries = everyday if scene == "everyday" else see(held_out, scene, items)
        yield f"1 reference, query {scene}, recall@1", _found(references, queries, numbers)
    alike = see([plush.lookalike(1) for plush in held_out], "studio", 2 * items)
    both = np.concatenate([references, alike])
    yield "1 reference, look-alikes among them, query everyday, recall@1", _found(both, everyday, numbers)
    attributes = [plush.attributes for plush in held_out]
    for language in captions.LANGUAGES:
        written, right = text_queries(attributes, language, texts)
        order = np.argsort(-encoder.encode_texts(written) @ references.T, axis=1, kind="stable")[:, :5]
        yield f"text {language}, 1-3 attributes, precision@5", np.take_along_axis(right, order, 1).mean(1)


def text_queries(
    attributes: Sequence[dict[str, Any]], language: captions.Language, count: int
) -> tuple[list[str], NDArray[np.bool_]]:
    """Texts that name one to three attributes which at least five plushes have, and of which plushes each is true."""
    dice = random.Random(f"evaluation {language}")
    plushes = captions.table(captions.facts_of(one) for one in attributes)
    written: list[str] = []
    named = []
    while len(written) < count:
        facts = captions.choose(dice.choice(attributes), dice, most=3)
        if captions.holds(captions.table([facts]), plushes).sum() >= LEAST_MATCHES:
            written.append(captions.text(facts, language, dice))
            named.append(facts)
    return written, captions.holds(captions.table(named), plushes)


def interval(outcomes: NDArray[np.float64], *, rounds: int = 2000) -> tuple[float, float]:
    """95 % of the means of as many outcomes drawn with replacement lie between these two."""
    dice = np.random.default_rng(0)
    means = [outcomes[dice.integers(len(outcomes), size=len(outcomes))].mean() for _ in range(rounds)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _found(references: Vectors, queries: Vectors, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    return ((queries @ references.T).argmax(1) == truth).astype(np.float64)


def _batches(pictures: Iterator[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help="a name or a model directory (%(default)s)")
    parser.add_argument("--items", type=int, default=1000, help="plushes (%(default)s)")
    parser.add_argument("--texts", type=int, default=300, help="text queries per language (%(default)s)")
    parser.add_argument(
        "--grocery", type=Path, help="the folder of the GroceryStoreDataset, to measure real photos too"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
    given = parser.parse_args(arguments)
    encoder = _core.Encoder(model_directory(given.model), runtime=runtime_library(), threads=given.threads)
    every = figures(encoder, items=given.items, texts=given.texts)
    if given.grocery:
        every = itertools.chain(every, evaluate_photos.figures(encoder, given.grocery))
    print("| test | figure | 95 % interval |\n|---|---|---|")
    for name, outcomes in every:
        low, high = interval(outcomes)
        print(f"| {name} | {outcomes.mean():.3f} | {low:.3f} to {high:.3f} |", flush=True)


if __name__ == "__main__":
    main()
