"""Reads from the core how a cosine is divided among the places of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ... import _core


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """A picture whose cosines are divided among its places by the model's feature maps.

    Attributes:
        core: The open catalog.
        image: The picture.
        model: The name of the model.
    """

    core: _core.Engine
    image: Any
    model: str

    def heat(self, vector: NDArray[np.float32]) -> tuple[tuple[int, int], NDArray[np.float32], float]:
        """Returns the picture's size, the map (h, w) of the cosine with a unit vector (dim,), and its rest.

        Raises:
            ModelError: The model's vectors are not made by global pooling of feature maps.
        """
        size, heat, rest, _ = self.core.activation(self.image, vector.tolist(), self.model)
        return size, heat, rest

    def contribution(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the map (h, w) of :meth:`heat`.

        Raises:
            ModelError: As that does.
        """
        return self.heat(vector)[1]

    @property
    def passes(self) -> int:
        """How many pictures go through the network."""
        return 1
