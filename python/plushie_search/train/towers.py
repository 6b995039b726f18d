"""The two towers: pictures and texts into one space."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

DIMENSION = 256
MAX_LENGTH = 48
MEAN = 127.5
SCALE = 127.5


def _convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


class _Residual(nn.Module):
    """Two plain 3 × 3 convolutions: on a CPU they cost less time per operation than depthwise ones."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, stride=stride)
        self.second = _convolution(outputs, outputs)
        self.around: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.around = nn.Sequential(nn.AvgPool2d(stride), _convolution(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.second(functional.relu(self.first(x))) + self.around(x))


class ImageTower(nn.Module):
    """Pixels `(n, 3, h, w)` in -1..1, h and w multiples of 32, to vectors `(n, 256)`.

    The last map is pooled twice, by its mean (fur, species) and by its maximum (small things such as a bow).
    """

    def __init__(
        self, widths: tuple[int, ...] = (32, 48, 96, 192, 320), depths: tuple[int, ...] = (1, 1, 2, 1)
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(3, widths[0], stride=2), nn.ReLU()]
        inputs = widths[0]
        for width, depth in zip(widths[1:], depths, strict=True):
            for position in range(depth):
                layers.append(_Residual(inputs, width, 2 if position == 0 else 1))
                inputs = width
        self.body = nn.Sequential(*layers)
        self.project = nn.Linear(2 * inputs, DIMENSION)

    def forward(self, pixels: Tensor) -> Tensor:
        maps = self.body(pixels)
        pooled = torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1)
        vectors: Tensor = self.project(pooled.float())
        return vectors


class TextTower(nn.Module):
    """Token ids and mask `(n, s)` to vectors `(n, 256)`: a small transformer, averaged over the real tokens."""

    def __init__(self, vocabulary: int, width: int = 192, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(MAX_LENGTH, width)
        self.blocks = nn.ModuleList([_Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, DIMENSION)
        nn.init.normal_(self.tokens.weight, std=0.05)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask.to(self.tokens.weight.dtype)
        x = self.tokens(input_ids) + self.positions.weight[: input_ids.shape[1]]
        hidden = (1.0 - mask)[:, None, None, :] * -1e4
        for block in self.blocks:
            x = block(x, hidden)
        weights = mask[:, :, None]
        pooled = (self.norm(x) * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        vectors: Tensor = self.project(pooled)
        return vectors


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        count, length, width = x.shape
        query, key, value = (
            self.mix(self.first(x)).reshape(count, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        )
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5 + hidden
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(count, length, width)
        x = x + self.out(mixed)
        added: Tensor = self.narrow(functional.gelu(self.widen(self.second(x))))
        return x + added


def pixels(pictures: Tensor) -> Tensor:
    """Bytes 0..255 to the numbers that the image tower reads."""
    return (pictures.float() - MEAN) / SCALE
