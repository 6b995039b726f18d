"""Collects the golden samples of an item, or those that are given as pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._core import ArgumentError, PictureError
from ...meshes import ENDINGS, render_views
from ...results import Reference
from ..explain.subjects import Subject, picture_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ... import _core
    from ...query import Text

#: Said of a 3D model: what a photo shows beside its shape, such as color and dirt, is not in the file.
SHAPE_ALONE = "{name} is a 3D model: the photo is compared with its views as a whole, not part by part"
#: Said of a 3D model that is no item: between a photo and a model no cosine comes near a threshold for photos.
COSINE = (
    "photos have low cosines with 3D models: give the threshold that good photos reach, or an item of a catalog with "
    "other models, among which it may be the nearest"
)
#: The views of a 3D model that is given as a golden sample.
VIEWS = 20
#: The most samples that a photo is compared with, evenly spread.
MOST = 64


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Golden samples.

    Attributes:
        item: The id of the item; None for pictures that were given.
        names: The name of each sample.
        vectors: Their unit vectors, float32 (n, dim).
        pictures: The picture of each; None if none is left, and for views of a 3D model.
        notes: What is to be known of the pictures.
    """

    item: str | None
    names: tuple[str, ...]
    vectors: NDArray[np.float32]
    pictures: tuple[Any, ...]
    notes: tuple[str, ...]

    @property
    def is_model(self) -> bool:
        """Whether all samples are views of 3D models."""
        return any("is a 3D model" in note for note in self.notes) and all(one is None for one in self.pictures)


def of_item(core: _core.Engine, item: Text, model: str) -> Golden:
    """Returns the references of an item.

    Raises:
        KeyError: There is no such item.
    """
    id, _, _, _, references = core.get(item)
    vectors = core.vectors(item, model=model)
    count = min(len(references), len(vectors))  # another process may have changed the item in between
    places = sorted({place * count // min(count, MOST) for place in range(min(count, MOST))})
    pictures: list[NDArray[np.uint8] | None] = []
    notes: list[str] = []
    for place in places:
        one = Reference(*references[place])
        if one.view is not None:
            pictures.append(None)
            if (shape := SHAPE_ALONE.format(name=one.name)) not in notes:
                notes.append(shape)
            continue
        picture, _, note = picture_of(core, Subject(id, one.name, one.key, one.view, vectors[place]))
        pictures.append(picture)
        notes += [] if note is None else [note]
    names = tuple(references[place][0] for place in places)
    return Golden(id, names, vectors[places], tuple(pictures), tuple(notes))


def of_pictures(core: _core.Engine, pictures: Sequence[Any], model: str) -> Golden:
    """Returns pictures as golden samples.

    Raises:
        ArgumentError: There is none, or there are too many.
        PictureError: One of them cannot be decoded.
    """
    if not 1 <= len(pictures) <= MOST:
        raise ArgumentError(f"{len(pictures)} golden pictures: give 1 to {MOST}, or an item")
    samples: list[tuple[str, Any, Any]] = []
    notes = []
    for place, one in enumerate(pictures):
        name = os.fspath(one) if isinstance(one, (str, os.PathLike)) else f"golden {place}"
        views = _views_of(one)
        if views is None:
            samples.append((name, one, one))
        else:
            samples += [(f"{name} {view}", picture, None) for view, picture in views]
            notes += [SHAPE_ALONE.format(name=name), *([COSINE] if COSINE not in notes else [])]
    names, shown, kept = zip(*samples, strict=True)
    return Golden(None, names, core.encode_images(list(shown), model=model), kept, tuple(notes))


def _views_of(picture: Any) -> list[tuple[str, NDArray[np.uint8]]] | None:
    """Returns the views of a 3D model with their names; None for a picture."""
    if isinstance(picture, (str, os.PathLike)):
        if not os.fspath(picture).lower().endswith(ENDINGS):
            return None
    elif not isinstance(picture, bytes):
        return None
    try:
        return list(zip(*render_views(picture, views=VIEWS, size=224), strict=True))
    except PictureError:
        if isinstance(picture, bytes):
            return None
        raise
