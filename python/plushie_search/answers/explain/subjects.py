"""Finds what is explained: the reference of an item, its vector, and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._core import PictureError, UnknownItemError, decode, thumbnail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ... import _core
    from ...query import Text

#: The longer side of the copies that are drawn, in pixels.
SIDE = 448


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A reference of an item.

    Attributes:
        item: The item's id.
        name: The reference's name.
        digest: Its digest.
        vector: Its unit vector, float32 (dim,).
    """

    item: str
    name: str
    digest: str
    vector: NDArray[np.float32]


def find_subject(
    core: _core.Engine, item: Text, reference: str | None, query: NDArray[np.float32], model: str
) -> Subject:
    """Returns the reference of this name or digest, or the item's that is nearest to the query's vector (dim,).

    Raises:
        KeyError: There is no such item, or it has no such reference.
    """
    id, _, _, _, references = core.get(item)
    vectors = core.vectors(item, model=model)
    count = min(len(references), len(vectors))  # another process may have changed the item in between
    if reference is None:
        place = int(np.argmax(vectors[:count] @ query)) if count else -1
    else:
        place = next((at for at, names in enumerate(references[:count]) if reference in names), -1)
    if place < 0:
        named = "no reference" if reference is None else f"no reference {reference!r}"
        raise UnknownItemError(f"item {id!r} has {named}: get({id!r}).references lists those that it has")
    name, digest = references[place]
    return Subject(id, name, digest, vectors[place])


def picture_of(core: _core.Engine, subject: Subject) -> tuple[Any, NDArray[np.uint8] | None, str | None]:
    """Returns the picture of a reference, a small copy of it (height, width, 3), and a note if it is not the original.

    All but the note are None if no picture is left.
    """
    path = core.original(subject.item, subject.digest)
    if path is not None:
        try:
            return path, small_copy(path), None
        except (OSError, PictureError):
            pass  # it has been changed since, or is no picture, as the mesh of a view
    kept = core.thumbnail(subject.item, subject.digest)
    if kept is None:
        return None, None, f"no picture of {subject.name} is left, neither its original nor a thumbnail"
    note = f"the original of {subject.name} is gone: its thumbnail stands for it, which is less exact"
    return kept, small_copy(kept), note


def small_copy(image: Any) -> NDArray[np.uint8]:
    """Returns a picture (height, width, 3) of at most 448 pixels along a side."""
    return decode(thumbnail(image, SIDE, quality=92))
