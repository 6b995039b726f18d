"""The parts of an explanation: maps of pictures, and the runner-up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .regions import Region


@dataclass(frozen=True, slots=True, eq=False)
class HeatMap:
    """A picture, and how much of the score each part of it carries.

    Attributes:
        name: The name of the picture.
        size: Width and height of the upright picture, in pixels.
        map: float32 (h, w), at most 32 cells along a side, in units of the cosine: a cell's value is what the picture
            there adds to the score beyond an average part of it, with ``method="cam"`` its share of the score. It is 0
            where the model does not look.
        regions: The parts that carry most, the largest share first.
        rest: What an average window adds. With ``method="cam"`` what no place has: biases, and parts of the vector that
            are no linear function of the feature maps; the sum of the map and this is the cosine with the picture.
        pixels: A small copy of the picture, uint8 (height, width, 3).
    """

    name: str
    size: tuple[int, int]
    map: NDArray[np.float32]
    regions: tuple[Region, ...]
    rest: float
    pixels: NDArray[np.uint8] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but the pixels as a dict, ready for JSON."""
        return {
            "name": self.name,
            "size": list(self.size),
            "map": numbers(self.map),
            "regions": [region.to_dict() for region in self.regions],
            "rest": self.rest,
        }


@dataclass(frozen=True, slots=True, eq=False)
class RunnerUp:
    """The next best item, and the parts of the query's picture that tell it from the explained one.

    Attributes:
        item: Its id.
        score: The cosine between the query and its best reference.
        map: float32 (h, w): what each part of the query's picture adds to the score of the item that is explained, less
            what it adds to that of this one. None for a query without a picture.
        regions: The parts that speak most against it.
    """

    item: str
    score: float
    map: NDArray[np.float32] | None
    regions: tuple[Region, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return {
            "item": self.item,
            "score": self.score,
            "map": None if self.map is None else numbers(self.map),
            "regions": [region.to_dict() for region in self.regions],
        }


def numbers(heat: NDArray[np.float32]) -> list[list[float]]:
    """Returns a map as lists of rows, with four significant digits."""
    return [[float(f"{value:.4g}") for value in row] for row in heat]
