"""Augments pictures in batches: geometry, light, noise, occlusion, blur and JPEG compression."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional


def augment(
    pictures: Tensor,
    size: int,
    chance: torch.Generator,
    *,
    mirror: bool = False,
    strength: float = 1.0,
    covers: Tensor | None = None,
) -> Tensor:
    """Augments pictures, uint8 `(n, 3, h, w)`, to floats 0..255 `(n, 3, size, size)`, each at random.

    `mirror` flips half of the pictures; `strength` 0 would leave them nearly as they are. Most of the pictures are
    partly hidden, by a color or a piece of one of `covers` `(n, 3, ?, ?)`, by default of another of the pictures.
    """
    count = len(pictures)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=chance) * (high - low) + low

    def some(share: float) -> Tensor:
        return torch.rand(count, generator=chance) < share * strength

    x = _place(pictures.float(), size, uniform, mirror=mirror, strength=strength)
    other = x.roll(1, 0) if covers is None else functional.interpolate(covers.float(), (size, size), mode="area")
    for share in (0.55, 0.25):
        x = _cover(x, other, uniform, some(share), some(0.3))
    x = _soften(x, torch.nonzero(some(0.3)).flatten(), chance)
    x = x.div_(255.0).clamp_(0.0, 1.0)
    x = x + x * (1.0 - x) * (strength * uniform(-0.6, 0.6, 1, 1, 1))  # darker or brighter in the middle
    light = torch.exp(strength * (uniform(-0.3, 0.3, 1, 1, 1) + uniform(-0.07, 0.07, 3, 1, 1)))
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (middle + (x - middle) * torch.exp(strength * uniform(-0.25, 0.2, 1, 1, 1))) * light
    grainy = torch.nonzero(some(0.4)).flatten()
    grain = uniform(0.0, 0.05, 1, 1, 1)[grainy]
    x[grainy] += torch.randn((len(grainy), *x.shape[1:]), generator=chance) * grain
    return x.clamp_(0.0, 1.0) * 255.0


def spoil(pictures: NDArray[np.uint8], share: float, chance: np.random.Generator) -> NDArray[np.uint8]:
    """Returns the pictures `(n, 3, h, w)`, a share of them blurred, made smaller and compressed to poor JPEG."""
    spoilt = pictures.copy()
    for row in np.flatnonzero(chance.random(len(pictures)) < share):
        picture = Image.fromarray(pictures[row].transpose(1, 2, 0))
        side, kind = picture.width, chance.random()
        if kind < 0.3:
            picture = picture.filter(ImageFilter.GaussianBlur(side * chance.uniform(0.002, 0.014)))
        elif kind < 0.6:
            picture = _move(picture, side * chance.uniform(0.015, 0.085), chance.uniform(0.0, np.pi))
        if chance.random() < 0.6:
            small = round(side * chance.uniform(0.4, 0.9))
            picture = picture.resize((small, small), Image.Resampling.BOX)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=int(chance.integers(8, 60)))
        opened = Image.open(file).resize((side, side), Image.Resampling.BILINEAR)
        spoilt[row] = np.asarray(opened).transpose(2, 0, 1)
    return spoilt


def _move(picture: Image.Image, length: float, angle: float) -> Image.Image:
    """Returns the mean of the picture along a line of `length` pixels, as if the camera was moved."""
    steps = np.linspace(-length / 2, length / 2, max(2, round(length)))
    rows = np.asarray(picture)
    moved = [np.roll(rows, (round(step * np.sin(angle)), round(step * np.cos(angle))), (0, 1)) for step in steps]
    return Image.fromarray(np.mean(moved, 0).astype(np.uint8))


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


def _cover(x: Tensor, other: Tensor, uniform, hidden: Tensor, plain: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    """Covers the `hidden` ones of the pictures by a box: `plain` ones by a color, the rest by a piece of `other`."""
    size = x.shape[-1]
    line = torch.linspace(0.0, 1.0, size)
    left, top = uniform(-0.15, 0.95), uniform(-0.15, 0.95)
    wide, high = uniform(0.15, 0.6), uniform(0.15, 0.6)
    columns = (line >= left[:, None]) & (line <= (left + wide)[:, None])
    rows = (line >= top[:, None]) & (line <= (top + high)[:, None])
    box = rows[:, None, :, None] & columns[:, None, None, :] & hidden[:, None, None, None]
    paint = torch.where(plain[:, None, None, None], uniform(0.0, 255.0, 3, 1, 1), other)
    return torch.where(box, paint, x)


def _soften(x: Tensor, rows: Tensor, chance: torch.Generator) -> Tensor:
    """Shrinks some pictures and enlarges them again."""
    if len(rows):
        size = x.shape[-1]
        small = int(torch.randint(size // 4, size - size // 6, (1,), generator=chance))
        shrunk = functional.interpolate(x[rows], (small, small), mode="area")
        x[rows] = functional.interpolate(shrunk, (size, size), mode="bilinear", align_corners=False)
    return x
