"""Makes views of one thing that should be near each other: parts, light, occlusion, blur, and poses of plushes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from .. import _core
from .augment import augment, spoil
from .photos import Photos
from .plushes import FIRST_SEED, Scene

PHOTOS, PLUSHES = 4500, 1200
"""The number of things of each sort."""
OF_PHOTOS = 5
"""The views of a photo: the whole, a part, and the whole, a part and another part spoilt."""
SCENES: tuple[Scene, ...] = ("studio", "everyday", "light", "pose", "occluded", "head_only", "cluttered", "everyday")
"""The scenes of a plush; the last view is spoilt."""
SIDE = 160


def of_photos(real: Photos, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yields `OF_PHOTOS` pictures of each of some photos."""
    chance = np.random.default_rng((seed, 4))
    for row in np.sort(chance.choice(real.rows, min(PHOTOS, len(real.rows)), replace=False)):
        whole, part, other = real.pictures[row, 0], real.pictures[row, 1], real.pictures[row, 2]
        yield whole
        yield part
        yield from _spoilt(np.stack([whole, part, other]), chance)


def of_plushes(seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yields a picture of each of some plushes in each scene."""
    chance = np.random.default_rng((seed, 5))
    for number in range(PLUSHES):
        plush = _core.Plush(FIRST_SEED + number)
        views = [
            plush.render(size=SIDE, view=FIRST_SEED + len(SCENES) * number + place, scene=scene).transpose(2, 0, 1)
            for place, scene in enumerate(SCENES)
        ]
        yield from views[:-1]
        yield from _spoilt(views[-1][None], chance)


def _spoilt(pictures: NDArray[np.uint8], chance: np.random.Generator) -> NDArray[np.uint8]:
    dice = torch.Generator().manual_seed(int(chance.integers(2**62)))
    rough = spoil(np.ascontiguousarray(pictures), 0.7, chance)
    return augment(torch.from_numpy(rough), pictures.shape[-1], dice, strength=0.7).byte().numpy()
