"""The picture tower and the text tower, which map into one space."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from .._core import ArgumentError

DIMENSION = 256
PLUSH = "plush/"
"""The prefix of the plush tower's names in a composed network."""
MAX_LENGTH = 48
MEAN = 127.0
SCALE = 128.0
"""Pixels are (rgb - 127) / 128, as EfficientNet-Lite reads them; MobileNetV2 reads (rgb - 127) / 127.5."""

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Widening, channels, blocks and first stride of each stage (Sandler et al., MobileNetV2, 2018, table 2)."""
_MIDDLE, _LAST = 96, 1280
_MIDDLE_LAYERS = 14
"""The number of layers up to the last map of a sixteenth of the side, which still shows small things."""


class _Convolution(nn.Module):
    """A convolution whose batch normalization is folded into its weights, so that no batch changes a vector."""

    def __init__(self, inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int = 1, cut: bool = True):
        super().__init__()
        self.stride, self.cut = stride, cut
        self.weights = nn.Conv2d(inputs, outputs, size, stride, 0 if stride > 1 else size // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = functional.pad(x, (0, 1, 0, 1))
        if self.weights.groups > 1 and x.requires_grad and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):  # the gradient of a depthwise one is slow in 16 bits
                x = self.weights(x.float())
        else:
            x = self.weights(x)
        return functional.relu6(x) if self.cut else x


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, widening: int) -> None:
        super().__init__()
        wide = inputs * widening
        self.layers = nn.Sequential(
            *([_Convolution(inputs, wide, 1)] if widening > 1 else []),
            _Convolution(wide, wide, 3, stride=stride, groups=wide),
            _Convolution(wide, outputs, 1, cut=False),
        )
        self.around = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.around else y


class ImageTower(nn.Module):
    """Pixels `(n, 3, h, w)` in -1..1, h and w multiples of 32, to vectors `(n, 256)`.

    The convolutions of MobileNetV2. Two of its maps are pooled, each by its mean (fur, species) and by its maximum
    (small things such as a bow), and projected.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Convolution(3, 32, 3, stride=2)]
        inputs = 32
        for widening, outputs, count, stride in _STAGES:
            for position in range(count):
                layers.append(_Block(inputs, outputs, stride if position == 0 else 1, widening))
                inputs = outputs
        layers.append(_Convolution(inputs, _LAST, 1))
        self.fine = nn.Sequential(*layers[:_MIDDLE_LAYERS])
        self.coarse = nn.Sequential(*layers[_MIDDLE_LAYERS:])
        self.project = nn.Linear(2 * (_LAST + _MIDDLE), DIMENSION)

    def forward(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.project(self.pool(pixels))
        return vectors

    def pool(self, pixels: Tensor) -> Tensor:
        """Returns the features that are projected: `(n, 2752)`, the first 1,280 of them MobileNetV2's own features."""
        fine = self.fine(pixels)
        coarse = self.coarse(fine)
        mean, most = functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d
        pooled = [mean(coarse, 1), most(coarse, 1), mean(fine, 1), most(fine, 1)]
        return torch.cat(pooled, 1).flatten(1).float()

    def rest(self, layers: int) -> None:
        """Freezes the first layers: edges and colors are the same everywhere."""
        for layer in list(self.fine)[:layers]:
            layer.requires_grad_(False)

    def start_from(self, file: Path) -> bool:
        """Reads the weights of an ONNX file with MobileNetV2's convolutions; returns whether it has our projection.

        Raises:
            ArgumentError: The file is not a MobileNetV2 1.0.
        """
        graph = onnx.load(file).graph
        stored = {one.name: numpy_helper.to_array(one).astype("float32") for one in graph.initializer}
        for node in graph.node:  # our own files keep large weights in 16 bits
            if node.op_type == "Cast" and node.input[0] in stored:
                stored[node.output[0]] = stored[node.input[0]]
        nodes = [node for node in graph.node if node.name.startswith(PLUSH)] or list(graph.node)
        given = [node for node in nodes if node.op_type == "Conv"]
        ours = [module for module in self.modules() if isinstance(module, nn.Conv2d)]
        shapes = [stored[node.input[1]].shape for node in given[: len(ours)]]
        if shapes != [tuple(module.weight.shape) for module in ours]:
            raise ArgumentError(
                f"start from {file}: its convolutions are not those of MobileNetV2 1.0; name another file"
            )
        with torch.no_grad():
            for module, node in zip(ours, given, strict=False):
                module.weight.copy_(torch.from_numpy(stored[node.input[1]]))
                assert module.bias is not None
                module.bias.copy_(torch.from_numpy(stored[node.input[2]]))
            last = nodes[-1]
            if last.op_type != "Gemm" or stored[last.input[1]].shape != tuple(self.project.weight.shape):
                return False
            self.project.weight.copy_(torch.from_numpy(stored[last.input[1]]))
            self.project.bias.copy_(torch.from_numpy(stored[last.input[2]]))
        return True

    @torch.no_grad()
    def project_principal(self, pooled: Tensor) -> None:
        """Sets the projection to the principal directions of MobileNetV2's features of many pictures, made more even.

        A quarter power of each variance was best for telling photos of products apart.
        """
        features = pooled[:, :_LAST].double()
        middle = features.mean(0)
        values, vectors = torch.linalg.eigh((features - middle).T @ (features - middle) / len(features))
        directions = vectors[:, -DIMENSION:] / values[-DIMENSION:] ** 0.25
        directions = directions / ((features - middle) @ directions).norm(dim=1).mean()
        self.project.weight.zero_()
        self.project.weight[:, :_LAST] = directions.T.float()
        self.project.bias.copy_(-(middle @ directions).float())


class TextTower(nn.Module):
    """Token ids and mask `(n, s)` to vectors `(n, dimension)`: a small transformer, averaged over the real tokens."""

    def __init__(
        self, vocabulary: int, dimension: int = DIMENSION, *, width: int = 256, layers: int = 2, heads: int = 4
    ) -> None:
        super().__init__()
        self.heads = heads
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(MAX_LENGTH, width)
        self.blocks = nn.ModuleList([_Attention(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dimension)
        nn.init.normal_(self.tokens.weight, std=0.05)
        nn.init.normal_(self.positions.weight, std=0.02)

    def start_from(self, other: TextTower) -> None:
        """Copies the weights of a tower of another dimension, all but the projection."""
        kept = {name: one for name, one in other.state_dict().items() if not name.startswith("project")}
        self.load_state_dict(kept, strict=False)

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


class _Attention(nn.Module):
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
    """Returns pixels 0..255 scaled as the image tower takes them."""
    return (pictures.float() - MEAN) / SCALE
