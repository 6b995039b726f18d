"""Identities: the plushes of a benchmark, and the circumstances in which each is seen.

Benchmark `seed` has the plushes from `FIRST + seed * SPAN` on, and those that are not in its catalog from `UNKNOWN`
further on; no two benchmarks share a plush, and all are below the seeds of training. Each plush is seen in its own
views, one for each of `SLOTS` purposes, so that no two pictures of a benchmark share camera, light and background.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from .. import _core
from .._core import ArgumentError
from .degrade import degrade

FIRST, SPAN, UNKNOWN = 200_000_000, 2_000_000, 1_000_000
SEEDS = 400
"""The number of benchmarks: all their plushes are below 1,000,000,000, where those of training begin."""
SLOTS = 16
SIDE = 224
"""The side of pictures in pixels."""
BATCH = 64
"""The number of pictures in memory."""
Scene = Literal["studio", "everyday", "light", "pose", "occluded", "head_only", "cluttered"]

REFERENCES: tuple[Scene, ...] = ("studio", "pose", "everyday")
"""The scenes of references 1 to 3: a shop's plain photo, another pose from another side, and a photo at home."""
_LOOKALIKES = 12
"""The slot of a look-alike's first reference."""


@dataclass(frozen=True)
class Split:
    """A kind of query pictures.

    Attributes:
        name: The name.
        scene: The renderer's scene.
        slot: The number of the view of a plush.
        degraded: Whether the picture is blurred and compressed.
        lookalikes: Whether the look-alikes of all queried items are in the gallery too.
    """

    name: str
    scene: Scene
    slot: int
    degraded: bool = False
    lookalikes: bool = False


SPLITS = {
    split.name: split
    for split in (
        Split("clean", "studio", 3),
        Split("light", "light", 4),
        Split("pose", "pose", 5),
        Split("occluded", "occluded", 6),
        Split("head-only", "head_only", 7),
        Split("cluttered", "cluttered", 8),
        Split("degraded", "everyday", 9, degraded=True),
        Split("everyday", "everyday", 10),
        Split("look-alike", "everyday", 11, lookalikes=True),
    )
}
"""All kinds of query pictures. In the split `look-alike` the gallery also holds, for each queried item, a plush that
differs from it in one attribute; the query is an everyday picture, as users take them."""


@dataclass(frozen=True)
class Identities:
    """The plushes of one benchmark.

    Attributes:
        items: The number in the catalog.
        seed: The number of the benchmark.
        threads: The number of threads that render.
    """

    items: int
    seed: int
    threads: int

    def __post_init__(self) -> None:
        if not 1 <= self.items <= UNKNOWN:
            raise ArgumentError(f"a benchmark of {self.items} items: use 1 to {UNKNOWN}")
        if not 0 <= self.seed < SEEDS:
            raise ArgumentError(f"benchmark {self.seed}: its seed may be 0 to {SEEDS - 1}")

    def plush(self, item: int) -> int:
        """Returns the renderer's seed of an item."""
        return FIRST + self.seed * SPAN + item

    def attributes(self, count: int) -> list[dict[str, Any]]:
        """Returns the facts of the first items."""
        return [_core.Plush(self.plush(item)).attributes for item in range(count)]

    def references(self, items: Iterable[int], number: int) -> Iterator[list[Any]]:
        """Returns reference `number` of each item, in batches."""
        return self._rendered([self.plush(item) for item in items], REFERENCES[number], number)

    def lookalikes(self, items: Sequence[int], number: int) -> Iterator[list[Any]]:
        """Returns reference `number` of each item's look-alike, in batches."""
        scene, slot = REFERENCES[number], _LOOKALIKES + number

        def draw(item: int) -> Any:
            seed = self.plush(item)
            return _core.Plush(seed).lookalike(1).render(size=SIDE, view=view(seed, slot), scene=scene)

        return self._each(draw, items)

    def queries(self, items: Sequence[int], split: Split) -> Iterator[list[Any]]:
        """Returns the query picture of each item, in batches."""
        seeds = [self.plush(item) for item in items]
        if not split.degraded:
            return self._rendered(seeds, split.scene, split.slot)

        def draw(seed: int) -> bytes:
            number = view(seed, split.slot)
            return degrade(_core.Plush(seed).render(size=SIDE, view=number, scene=split.scene), seed=number)

        return self._each(draw, seeds)

    def unknown(self, count: int) -> Iterator[list[Any]]:
        """Returns everyday pictures of plushes that are not in the catalog, in batches."""
        everyday = SPLITS["everyday"]
        return self._rendered([self.plush(UNKNOWN + number) for number in range(count)], everyday.scene, everyday.slot)

    def _rendered(self, seeds: Sequence[int], scene: Scene, slot: int) -> Iterator[list[Any]]:
        for start in range(0, len(seeds), BATCH):
            batch = seeds[start : start + BATCH]
            views = [view(seed, slot) for seed in batch]
            yield list(_core.render_plushes(batch, views, size=SIDE, scene=scene, threads=self.threads))

    def _each(self, draw: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[list[Any]]:
        with ThreadPoolExecutor(self.threads) as pool:
            for start in range(0, len(numbers), BATCH):
                yield list(pool.map(draw, numbers[start : start + BATCH]))


def view(seed: int, slot: int) -> int:
    """Returns the number of a plush's view for a purpose: no other plush has the same."""
    return seed * SLOTS + slot
