"""The classes of a picture with their shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

from ..show import page
from ..show.table import table


@dataclass(frozen=True, slots=True)
class Class:
    """A class of a picture; ``one["name"]`` is the same as ``one.name``.

    Attributes:
        name: The label, or the name that was given.
        confidence: The probability, from 0 to 1.
        examples: The references of the catalog that it was compared with; 0 if it was compared by its name alone.
    """

    name: str
    confidence: float
    examples: int

    def __getitem__(self, key: str) -> Any:
        if key not in self.__slots__:
            raise KeyError(f"a class has no {key!r}: choose {', '.join(self.__slots__)}")
        return getattr(self, key)

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class Classification(Sequence[Class]):
    """The classes of a picture, the likeliest first; their confidences and ``other`` sum to 1.

    ``classification["name"]`` and ``classification["confidence"]`` are those of the likeliest class.

    Attributes:
        other: The probability that it is of none of these classes. It is 0 if nothing tells: names were given of which
            the catalog has no examples, or every label has one reference.
        image_weight: How much the examples count, from 0 to 1; the rest is that of the names.
    """

    __slots__ = ("_classes", "image_weight", "other")

    def __init__(self, classes: Sequence[Class], *, other: float, image_weight: float) -> None:
        self._classes = tuple(classes)
        self.other, self.image_weight = other, image_weight

    @property
    def top_class(self) -> Class:
        """The likeliest class."""
        return self._classes[0]

    def __len__(self) -> int:
        return len(self._classes)

    @overload
    def __getitem__(self, index: int) -> Class: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Class, ...]: ...
    @overload
    def __getitem__(self, index: str) -> Any: ...
    def __getitem__(self, index: int | slice | str) -> Any:
        return self.top_class[index] if isinstance(index, str) else self._classes[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Classification):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def to_dict(self) -> dict[str, Any]:
        """Returns the classes and the shares as a dict, ready for JSON."""
        classes = [one.to_dict() for one in self._classes]
        return {"classes": classes, "other": self.other, "image_weight": self.image_weight}

    def __repr__(self) -> str:
        return table(*self._table())

    def _repr_html_(self) -> str:
        return page.table(*self._table())

    def _table(self) -> tuple[list[str], list[tuple[str, str, str]]]:
        rows = [(one.name, f"{one.confidence:.3f}", str(one.examples)) for one in self._classes]
        return ["class", "confidence", "examples"], [*rows, ("(other)", f"{self.other:.3f}", "")]
