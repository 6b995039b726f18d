"""How alike two pictures are, and where, by a model that the whole process shares."""

from __future__ import annotations

import functools
import os
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, hub
from ..answers.explain.drawing import beside
from ..answers.explain.subjects import small_copy
from ..encoders.protocol import Model
from ..engine import Engine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import _Image as ImageLike

#: The environment variable with the name or directory of the model that is used by default.
MODEL = "PLUSHIE_TEST_MODEL"


@functools.cache
def _opened(name: str) -> _core.Encoder:
    return hub.open_encoder(name)


def encoder(model: Model | None = None) -> _core.Encoder:
    """Opens a model; each name or directory once in a process.

    Args:
        model: A name, a directory or an encoder; by default the model that the environment variable
            ``PLUSHIE_TEST_MODEL`` names, or else the built-in one.

    Raises:
        ModelError: The model cannot be opened.
        ArgumentError: There is no model of that name.
    """
    if model is None:
        model = os.environ.get(MODEL) or hub.DEFAULT_MODEL
    if isinstance(model, (str, os.PathLike)):
        return _opened(os.fspath(model))
    return hub.as_encoder(model)


def similarity(image: ImageLike, reference: ImageLike, model: Model | None = None) -> float:
    """Returns how alike two pictures are: the cosine of their vectors, or 0 if that is negative; 1 for equal pictures.

    Raises:
        PictureError: A picture cannot be decoded.
        FileError: A file cannot be read.
        ModelError: The model cannot be opened.
    """
    first, second = encoder(model).encode_images([image, reference])
    return float(np.clip(first @ second, 0, 1))


def drawn(image: ImageLike, reference: ImageLike, model: Model | None = None) -> NDArray[np.uint8]:
    """Returns both pictures side by side, uint8 (height, width, 3); color shows what makes them alike.

    If the model cannot explain the pair, the pictures stand there without color.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with Engine(os.path.join(folder, "catalog"), model=encoder(model)) as engine:
                engine.add("reference", images=[reference])
                return engine.explain(image, "reference").to_image()
        except _core.PlushieError:
            return beside([small_copy(image), small_copy(reference)])


def is_same(image: Any, reference: Any) -> bool:
    """Returns whether two pictures have the same pixels."""
    return np.array_equal(_core.decode(image), _core.decode(reference))
