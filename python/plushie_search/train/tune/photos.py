"""Photos of items to learn from: folders of `<item>/<picture>`, their digest, splits, and batches."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..._core import ArgumentError, PictureError, decode, folder_items, preprocess
from ...paths import expanded

Split: TypeAlias = Literal["photo", "item"]

if TYPE_CHECKING:
    from .net import EmbeddingNet

#: How much larger than the network's the stored pictures are, so that a crop of the middle loses no sharpness.
ROOM = 1.15


@dataclass(frozen=True)
class Photos:
    """Photos and their items.

    Attributes:
        paths: The photos' files.
        labels: The place in ``items`` of each photo's item, int64 (photos,).
        items: The names of the items.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    items: tuple[str, ...]

    @classmethod
    def of_folder(cls, folder: str | os.PathLike[str]) -> Photos:
        """Reads the names in a folder of `<item>/<picture>`.

        Raises:
            OSError: The folder cannot be read.
            ArgumentError: There are fewer than two items with two photos each: nothing can be learnt.
        """
        root = expanded(folder)
        found = [(item, path) for item, paths in folder_items(root) for path in paths]
        items = sorted({item for item, _ in found})
        places = {item: place for place, item in enumerate(items)}
        labels = np.array([places[item] for item, _ in found], np.int64)
        if (np.bincount(labels, minlength=1) > 1).sum() < 2:
            raise ArgumentError(
                f"{root}: fewer than two items have two photos each: give a folder of <item>/<picture>, with two "
                "photos of each item or more"
            )
        return cls(tuple(Path(path) for _, path in found), labels, tuple(items))

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> Photos:
        """Returns the photos at these places, of the same items."""
        return Photos(tuple(self.paths[row] for row in rows), self.labels[np.asarray(rows, np.int64)], self.items)

    def split(self, share: float = 0.2, *, by: Split = "photo", seed: int = 0) -> tuple[Photos, Photos]:
        """Divides the photos in those to learn from and those to validate on.

        Args:
            share: The share that is held out, above 0 and below 1.
            by: ``"photo"`` holds out some photos of each item that has three or more, so that two are left; ``"item"``
                holds out all photos of some items that have two or more.
            seed: That of the choice.

        Raises:
            ArgumentError: The share is out of its bounds, or too few photos are left on either side.
        """
        if not 0 < share < 1:
            raise ArgumentError(f"validation share {share}: give a number between 0 and 1")
        chance = np.random.default_rng((seed, 11))
        groups = [chance.permutation(np.flatnonzero(self.labels == place)) for place in range(len(self.items))]
        if by == "item":
            usable = [place for place, group in enumerate(groups) if len(group) > 1]
            count = min(len(usable) - 2, max(2, round(share * len(usable))))
            chosen = set(chance.permutation(usable)[: max(count, 0)].tolist())
            held = [row for place in chosen for row in groups[place]]
        else:
            held = [
                row
                for group in groups
                if len(group) > 2
                for row in group[: min(len(group) - 2, max(1, round(share * len(group))))]
            ]
        if not held:
            raise ArgumentError(
                f"hold out {share:g} of the photos by {by}: too few are left; add photos, or train without validation"
            )
        hidden = np.zeros(len(self), bool)
        hidden[held] = True
        return self.take(np.flatnonzero(~hidden)), self.take(np.flatnonzero(hidden))

    def digest(self) -> str:
        """Returns the SHA-256 of the names of items and of the photos' bytes, in an order of their own."""
        lines = []
        for path, label in zip(self.paths, self.labels, strict=True):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{content} {self.items[label]}\n")
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


class Pictures(Dataset[tuple[Tensor, int]]):
    """Photos as uint8 tensors (3, side, side) with the places of their items; decoded once and kept.

    Args:
        photos: The photos.
        side: The height and width in pixels.
        preprocess: How the network's pictures are prepared, of which sizes and the scale of colors do not count; by
            default each side is scaled by itself.
        kept: The most bytes of pictures that are kept in memory; the others are decoded each time. 4 GB by default.
    """

    def __init__(
        self, photos: Photos, side: int, preprocess: Mapping[str, Any] | None = None, *, kept: int = 4 << 30
    ) -> None:
        self.photos, self.side = photos, side
        asked = {"resize": "squash"} if preprocess is None else preprocess
        self._how: dict[str, Any] = {
            name: tuple(asked[name]) if isinstance(asked[name], list) else asked[name]
            for name in ("resize", "filter", "fill", "center")
            if asked.get(name) is not None
        }
        self._known: dict[int, Tensor] = {}
        self._most = kept // (3 * side * side)

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        picture = self._known.get(row)
        if picture is None:
            path = self.photos.paths[row]
            try:
                pixels = decode(path, at_least=(self.side, self.side))
                size = (self.side, self.side)
                scaled = preprocess(pixels, size=size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), **self._how)
            except PictureError as error:
                raise PictureError(f"train on {path}: {error}; repair or remove it") from error
            picture = torch.from_numpy(np.round(scaled * 255).astype(np.uint8))
            if len(self._known) < self._most:
                self._known[row] = picture
        return picture, int(self.photos.labels[row])


class Batches(Sampler[list[int]]):
    """Batches of P items with K photos each. Each epoch has every photo about once, in an order of its own.

    An item with fewer than K photos gives some of them twice. Items with one photo are left out.

    Args:
        labels: The place of each photo's item.
        items: P, at least 2.
        photos: K, at least 2.
        seed: That of the order.

    Attributes:
        epoch: The epoch whose batches come next, from 0.
        first: The number of batches that the next epoch begins behind, for one that goes on.
    """

    def __init__(self, labels: NDArray[np.int64], *, items: int, photos: int, seed: int = 0) -> None:
        if items < 2 or photos < 2:
            raise ArgumentError(f"batches of {items} items with {photos} photos: give 2 or more of both")
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        self._groups = [group for group in groups if len(group) > 1]
        if len(self._groups) < 2:
            raise ArgumentError("fewer than two items have two photos to learn from: add photos")
        self._items, self._photos, self._seed = min(items, len(self._groups)), photos, seed
        self.epoch = self.first = 0

    def settings(self) -> dict[str, int]:
        """Returns the arguments by which the same batches are made of the same photos."""
        return {"items": self._items, "photos": self._photos, "seed": self._seed}

    def __len__(self) -> int:
        return math.ceil(sum(map(self._visits, self._groups)) / self._items)

    def __iter__(self) -> Iterator[list[int]]:
        chance = np.random.default_rng((self._seed, self.epoch))
        everything = np.arange(len(self._groups))
        order = chance.permutation(np.repeat(everything, [self._visits(group) for group in self._groups])).tolist()
        left: dict[int, list[int]] = {}
        for number in range(len(self)):
            chosen: list[int] = []
            for one in (*order, *chance.permutation(everything).tolist()):
                if one not in chosen and len(chosen) < self._items:
                    chosen.append(one)
            for one in chosen:
                if one in order:
                    order.remove(one)
            rows = []
            for one in chosen:
                # An item's photos come by turns: all of them before one comes again.
                while len(left.setdefault(one, [])) < self._photos:
                    left[one] += chance.permutation(self._groups[one]).tolist()
                rows += left[one][: self._photos]
                left[one] = left[one][self._photos :]
            if number >= self.first:
                yield rows

    def _visits(self, group: NDArray[np.int64]) -> int:
        """Returns how often an item comes in an epoch, so that each of its photos does."""
        return math.ceil(len(group) / self._photos)


def get_dataloader(
    photos: str | os.PathLike[str] | Photos,
    net: EmbeddingNet | None = None,
    *,
    side: int = 224,
    items: int = 16,
    photos_each: int = 4,
    workers: int = 0,
    seed: int = 0,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Returns batches of P items with K photos each to learn from: uint8 (P · K, 3, h, w), and the items' places.

    Args:
        photos: A folder of `<item>/<picture>`, or :class:`Photos`.
        net: The network, which says how pictures are prepared, and of which size they are.
        side: Without ``net``, the height and width that the network takes. The pictures are 1.15 times as large, to be
            cropped.
        items: P, 2 or more.
        photos_each: K, 2 or more.
        workers: The processes that decode; 0 by default, which decodes in this one.
        seed: That of the order.

    Raises:
        OSError: The folder cannot be read.
        ArgumentError: There are too few photos, or P or K is below 2.
    """
    if not isinstance(photos, Photos):
        photos = Photos.of_folder(photos)
    batches = Batches(photos.labels, items=items, photos=photos_each, seed=seed)
    how = None if net is None else net.preprocess
    pictures = Pictures(photos, round((side if net is None else net.side) * ROOM), how)
    return DataLoader(pictures, batch_sampler=batches, num_workers=workers, persistent_workers=workers > 0)


def in_order(
    photos: Photos, net: EmbeddingNet, *, batch: int = 64, workers: int = 0
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Returns batches of all photos in their order, to validate on: uint8 (n, 3, side, side), and the items' places."""
    pictures = Pictures(photos, net.side, net.preprocess)
    return DataLoader(pictures, batch_size=batch, shuffle=False, num_workers=workers)
