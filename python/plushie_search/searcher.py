"""The interface of a catalog that is searched, on this machine or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ._core import ArgumentError
from .identification import Identification
from .query import By, Where
from .results import Item, Results

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from ._core import _Image as ImageLike

Progress: TypeAlias = Callable[[int, int | None, str], object]
"""Called with (pictures done, pictures in all or None if their number is not known, the item that comes next)."""


class Searcher(Protocol):
    """A catalog that answers queries. :class:`plushie_search.Engine` is one; see there for the methods' arguments."""

    @property
    def path(self) -> str:
        """The catalog's directory or address."""

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""

    @property
    def image_model(self) -> str | None:
        """The name of the model that looks up pictures by default."""

    @property
    def text_model(self) -> str | None:
        """The name of the model that looks up texts by default."""

    def stats(self) -> dict[str, Any]:
        """Returns counts, models and calibrations."""

    def __contains__(self, id: object, /) -> bool:
        """Returns whether there is an item of this id."""

    def get(self, id: str, /) -> Item:
        """Returns an item."""

    def iterate(self, where: Where | None = None, /) -> Iterator[Item]:
        """Returns an iterator of the items that fit, in the order in which they were added."""

    def vectors(self, id: str, /, *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of an item's references, of shape (references, dimension)."""

    def search_image(
        self, image: list[ImageLike], /, *, k: int, where: Where | None = None, models: By | None = None
    ) -> list[Results]:
        """Finds items by each of several pictures."""

    def identify(
        self, image: list[ImageLike], /, *, k: int, where: Where | None = None, models: By | None = None
    ) -> list[Identification]:
        """Says which item each of several pictures shows, or that it shows none."""

    def search_text(
        self, text: list[str], /, *, k: int, where: Where | None = None, models: By | None = None
    ) -> list[Results]:
        """Finds items by each of several texts."""

    def search_vector(
        self,
        vector: Mapping[str, ArrayLike],
        /,
        *,
        k: int,
        where: Where | None = None,
        models: By | None = None,
    ) -> Sequence[Results] | Results:
        """Finds items by vectors of shape (queries, dimension) for each model."""


class UnsupportedError(ArgumentError):
    """A request that this kind of catalog cannot answer; the message says how to do without, or which one can.

    Its ``code`` is "unsupported".
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.code = "unsupported"
