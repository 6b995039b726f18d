"""Finds the reference of an item to explain, its vector, and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._core import PictureError, UnknownItemError, decode, thumbnail
from ...results import Reference

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
        key: Its digest, with its view if it is one of a mesh.
        view: The name of its view of a mesh; None for a picture.
        vector: Its unit vector, float32 (dim,).
    """

    item: str
    name: str
    key: str
    view: str | None
    vector: NDArray[np.float32]


def find_subject(
    core: _core.Engine, item: Text, reference: str | None, query: NDArray[np.float32], model: str
) -> Subject:
    """Returns the reference of this name, digest or key, or the item's that is nearest to the query's vector (dim,).

    Raises:
        KeyError: There is no such item, or it has no such reference.
    """
    id, _, _, _, references = core.get(item)
    held = [Reference(*row) for row in references]
    vectors = core.vectors(item, model=model)
    count = min(len(references), len(vectors))  # another process may have changed the item in between
    if reference is None:
        place = int(np.argmax(vectors[:count] @ query)) if count else -1
    else:
        named = [(one.name, one.digest, one.key, f"{one.name}#{one.view}") for one in held[:count]]
        place = next((at for at, names in enumerate(named) if reference in names), -1)
    if place < 0:
        which = "no reference" if reference is None else f"no reference {reference!r}"
        raise UnknownItemError(f"item {id!r} has {which}: get({id!r}).references lists those that it has")
    found = held[place]
    return Subject(id, found.name, found.key, found.view, vectors[place])


def picture_of(core: _core.Engine, subject: Subject) -> tuple[Any, NDArray[np.uint8] | None, str | None]:
    """Returns the picture of a reference, a small copy of it (height, width, 3), and a note if it is not the original.

    All but the note are None if no picture is left.
    """
    # The original of a view is a mesh.
    path = None if subject.view is not None else core.original(subject.item, subject.key)
    if path is not None:
        try:
            return path, small_copy(path), None
        except (OSError, PictureError):
            pass  # it has been changed since
    kept = core.thumbnail(subject.item, subject.key)
    if kept is None:
        return None, None, f"no picture of {subject.name} is left, neither its original nor a thumbnail"
    if subject.view is not None:
        return kept, small_copy(kept), None
    note = f"the original of {subject.name} is gone: its thumbnail stands for it, which is less exact"
    return kept, small_copy(kept), note


def small_copy(image: Any) -> NDArray[np.uint8]:
    """Returns a picture (height, width, 3) of at most 448 pixels along a side."""
    return decode(thumbnail(image, SIDE, quality=92))
