"""The picture and the text that every model is given, to see whether two are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _core

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The plush toy in the picture, and the side of the picture.
PLUSH, SIDE = 7, 320

#: The text; that of a model directory's ``probe.json``, as is the picture.
TEXT = "a brown teddy bear with a red scarf"


def picture() -> NDArray[np.uint8]:
    """The picture: the same pixels on every machine, shape (320, 320, 3)."""
    return _core.Plush(PLUSH).render(size=SIDE)
