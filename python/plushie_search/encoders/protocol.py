"""The interface of an encoder that is brought along."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias


class EncoderLike(Protocol):
    """An object that encodes pictures, texts or both; :class:`plushie_search.Engine` takes it as a model.

    It has the attributes below and at least one of these methods:

    - ``encode_images(images)`` takes a list of upright RGB pictures, uint8 arrays of shape (height, width, 3), and
      returns their vectors, of shape (n, dim) and any kind of number: an array, a tensor on the processor, or lists.
    - ``encode_files(files)`` takes its place if it exists: a list of ``(media type, bytes)`` of JPEG and PNG files.
    - ``encode_texts(texts)`` takes a list of str and returns their vectors in the same way.

    Vectors are scaled to length 1. Pictures are decoded by several threads while the object computes. It is called by
    one thread at a time, with the interpreter's lock; its exceptions pass through. If an exception has a true attribute
    ``refused``, it is about some of these pictures: they are given again in halves, so that one bad picture spoils no
    other.

    Optional attributes:

    - ``batch``: the most pictures or texts in a call, 16 by default; ``image_batch`` the most pictures if that differs.
    - ``requests``: the most calls at a time, 1 by default; more for an object that waits for a server.
    - ``image_size``: (width, height) down to which a large JPEG may be decoded smaller, several times as fast; full
      size by default.
    - ``cache``: the number of pictures of searches whose vectors are remembered, 1,000 by default.
    - ``version``, ``languages`` (a list of BCP 47 tags) and ``device``, which ``stats()`` shows.
    - ``probe``: ``{"image": vector, "text": vector}`` of a fixed picture and text. A catalog refuses the model if these
      change. Use it where the fingerprint cannot tell.
    """

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def dim(self) -> int:
        """The dimension of its vectors, 1 to 65,536."""

    @property
    def fingerprint(self) -> str:
        """Text that changes when the vectors do, such as a hash of the weights: a catalog belongs to it."""


#: A model: a name that :func:`plushie_search.models` lists, a model directory, or an encoder.
Model: TypeAlias = "str | os.PathLike[str] | EncoderLike"

#: One model, several, or several by the names that they get.
Models: TypeAlias = "Model | Sequence[Model] | Mapping[str, Model]"


def named(models: Models) -> list[tuple[str | None, Model]]:
    """The models, each with the name that it was given, None if none."""
    if isinstance(models, Mapping):
        return list(models.items())
    if isinstance(models, (list, tuple)):
        return [(None, model) for model in models]
    return [(None, models)]  # type: ignore[list-item]


def name_of(model: Model) -> str:
    """Returns the name of a model before it is opened: by the name or path that was given, or its own."""
    return os.fspath(model) if isinstance(model, (str, os.PathLike)) else model.name
