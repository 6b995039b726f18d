"""A PyTorch model for the exporter: towers and their preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class ImagePart:
    """The tower for pictures.

    Attributes:
        network: Maps pixels, shape (n, 3, height, width), to vectors, shape (n, dimension).
        preprocess: The preprocessing, as in ``model.json``.
        pixels: The original's own preprocessing of a picture to pixels, shape (1, 3, height, width).
        traced: The network that is written, if a cheaper one computes the same; ``network`` by default.
    """

    network: nn.Module
    preprocess: dict[str, Any]
    pixels: Callable[[Image.Image], Tensor]
    traced: nn.Module | None = None


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """The tower for texts.

    Attributes:
        network: Maps ids, and the mask if there is one, shape (n, length) each, to vectors, shape (n, dimension).
        tokenizer: Maps a text to ids.
        settings: The other settings of the text tower, as in ``model.json``.
        masked: Whether the network takes a mask.
        tokens: The original's own tokenizing of a text to the inputs of its network.
        traced: The network that is written, if one computes the same from texts of any length; ``network`` by default.
    """

    network: nn.Module
    tokenizer: Tokenizer
    settings: dict[str, Any]
    masked: bool
    tokens: Callable[[str], tuple[Tensor, ...]]
    traced: nn.Module | None = None


@dataclass(frozen=True, kw_only=True)
class Original:
    """A PyTorch model that can be exported."""

    name: str
    image: ImagePart | None = None
    text: TextPart | None = None

    def image_vector(self, picture: Image.Image) -> Tensor:
        """Returns the original's vector of a picture, shape (dimension,) and length 1."""
        assert self.image is not None
        return _unit(self.image.network, self.image.pixels(picture))

    def text_vector(self, text: str) -> Tensor:
        """Returns the original's vector of a text, shape (dimension,) and length 1."""
        assert self.text is not None
        return _unit(self.text.network, *self.text.tokens(text))


def _unit(network: nn.Module, *inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        vector: Tensor = network(*inputs)[0].double()
    return vector / vector.norm()


class Method(nn.Module):
    """A method of a module as a module of its own; of several outputs it returns the pooled one."""

    def __init__(self, module: nn.Module, method: str, *names: str) -> None:
        super().__init__()
        self.module, self.method, self.names = module, method, names
        self.eval()  # of the whole: the exporter restores what it finds here

    def forward(self, *inputs: Tensor) -> Tensor:
        """Returns the vectors."""
        named = dict(zip(self.names, inputs, strict=True)) if self.names else {}
        answer = getattr(self.module, self.method)(*(() if named else inputs), **named)
        vectors: Tensor = answer if isinstance(answer, Tensor) else answer.pooler_output
        return vectors
