"""Rough treatment of pictures, a batch at a time: what cameras, hands and other people's JPEGs do to them."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional


def augment(
    pictures: Tensor, size: int, chance: torch.Generator, *, mirror: bool = False, strength: float = 1.0
) -> Tensor:
    """Bytes `(n, 3, h, w)` to floats 0..255 `(n, 3, size, size)`, each picture treated differently.

    `mirror` flips half of the pictures; `strength` 0 would leave them nearly as they are.
    """
    count = len(pictures)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=chance) * (high - low) + low

    def some(share: float) -> Tensor:
        return torch.rand(count, generator=chance) < share * strength

    x = _place(pictures.float(), size, uniform, mirror=mirror, strength=strength)
    x = _cover(x, uniform, some)
    x = _soften(x, torch.nonzero(some(0.4)).flatten(), chance)
    x = x.div_(255.0).clamp_(0.0, 1.0)
    x = x + x * (1.0 - x) * (strength * uniform(-0.6, 0.6, 1, 1, 1))  # darker or brighter in the middle
    light = torch.exp(strength * (uniform(-0.3, 0.3, 1, 1, 1) + uniform(-0.07, 0.07, 3, 1, 1)))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (middle + (x - middle) * torch.exp(strength * uniform(-0.25, 0.2, 1, 1, 1))) * light
    grainy = torch.nonzero(some(0.4)).flatten()
    grain = uniform(0.0, 0.05, 1, 1, 1)[grainy]
    x[grainy] += torch.randn((len(grainy), *x.shape[1:]), generator=chance) * grain
    return x.clamp_(0.0, 1.0) * 255.0


def compress(pictures: NDArray[np.uint8], share: float, chance: np.random.Generator) -> NDArray[np.uint8]:
    """A share of the pictures `(n, 3, h, w)` has gone through a JPEG file of low quality."""
    spoilt = pictures.copy()
    for row in np.flatnonzero(chance.random(len(pictures)) < share):
        file = io.BytesIO()
        Image.fromarray(pictures[row].transpose(1, 2, 0)).save(file, "JPEG", quality=int(chance.integers(12, 70)))
        spoilt[row] = np.asarray(Image.open(file)).transpose(2, 0, 1)
    return spoilt


def _place(x: Tensor, size: int, uniform, *, mirror: bool, strength: float) -> Tensor:  # type: ignore[no-untyped-def]
    zoom, stretch = uniform(1.0 - 0.25 * strength, 1.08), torch.exp(strength * uniform(-0.12, 0.12))
    turn = strength * uniform(-0.2, 0.2)
    across, down = zoom * stretch, zoom / stretch
    room_x, room_y = (1.08 - across).clamp(min=0.0), (1.08 - down).clamp(min=0.0)
    flip = torch.where(uniform(0.0, 1.0) < 0.5, -1.0, 1.0) if mirror else torch.ones(len(x))
    theta = torch.stack(
        [
            torch.stack([flip * across * turn.cos(), -down * turn.sin(), uniform(-1.0, 1.0) * room_x], 1),
            torch.stack([flip * across * turn.sin(), down * turn.cos(), uniform(-1.0, 1.0) * room_y], 1),
        ],
        1,
    )
    grid = functional.affine_grid(theta, [len(x), 3, size, size], align_corners=False)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _cover(x: Tensor, uniform, some) -> Tensor:  # type: ignore[no-untyped-def]
    """Something in the way of a third of the pictures: a box of one color, or a piece of another picture."""
    size = x.shape[-1]
    line = torch.linspace(0.0, 1.0, size)
    left, top = uniform(-0.15, 0.95), uniform(-0.15, 0.95)
    wide, high = uniform(0.15, 0.5), uniform(0.15, 0.5)
    columns = (line >= left[:, None]) & (line <= (left + wide)[:, None])
    rows = (line >= top[:, None]) & (line <= (top + high)[:, None])
    box = rows[:, None, :, None] & columns[:, None, None, :] & some(0.35)[:, None, None, None]
    paint = torch.where(some(0.5)[:, None, None, None], uniform(0.0, 255.0, 3, 1, 1), x.roll(1, 0))
    return torch.where(box, paint, x)


def _soften(x: Tensor, rows: Tensor, chance: torch.Generator) -> Tensor:
    """Some pictures were small once: shrink them and enlarge them again."""
    if len(rows):
        size = x.shape[-1]
        small = int(torch.randint(size // 4, size - size // 6, (1,), generator=chance))
        shrunk = functional.interpolate(x[rows], (small, small), mode="area")
        x[rows] = functional.interpolate(shrunk, (size, size), mode="bilinear", align_corners=False)
    return x
