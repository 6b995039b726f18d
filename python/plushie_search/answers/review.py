"""Lists the items of a catalog that need attention, with plain reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .._core import ArgumentError
from ..show import page
from ..show.table import counted, table
from .gallery import Gallery, Neighbors, read_neighbors

if TYPE_CHECKING:
    from .. import _core
    from ..query import Where

#: The least spread of margins.
SPREAD = 0.01


@dataclass(frozen=True, slots=True)
class Concern:
    """An item that needs attention.

    Attributes:
        item: The item's id.
        urgency: From 0 to 1; above 0.5 if a reference is nearer to another item than to its own.
        reasons: What is the matter, in sentences.
        reference: The name of the reference that is nearest to another item; None if there is no other item.
        other: The id of that other item.
        similarity: The cosine between both.
        own: The cosine between the reference and the nearest other one of its item; None if it is the only one.
    """

    item: str
    urgency: float
    reasons: tuple[str, ...]
    reference: str | None
    other: str | None
    similarity: float | None
    own: float | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return {**asdict(self), "reasons": list(self.reasons)}


class Review(Sequence[Concern]):
    """The items that need attention, the most urgent first.

    Attributes:
        total: How many there are; those beyond the limit are not listed.
    """

    __slots__ = ("_concerns", "total")

    def __init__(self, concerns: Sequence[Concern], *, total: int | None = None) -> None:
        self._concerns = tuple(concerns)
        self.total = len(self._concerns) if total is None else total

    def __len__(self) -> int:
        return len(self._concerns)

    @overload
    def __getitem__(self, index: int) -> Concern: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Concern, ...]: ...
    def __getitem__(self, index: int | slice) -> Concern | tuple[Concern, ...]:
        return self._concerns[index]

    def __eq__(self, other: object) -> bool:
        return self._concerns == other._concerns if isinstance(other, Review) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the items as plain dicts, ready for JSON."""
        return [concern.to_dict() for concern in self._concerns]

    def __repr__(self) -> str:
        head = self._head()
        return f"{head}\n{table(*self._table(), widest=100)}" if self._concerns else head

    def _repr_html_(self) -> str:
        shown = page.table(*self._table()) if self._concerns else ""
        return f"{page.paragraph(self._head())}{shown}"

    def _head(self) -> str:
        return f"{counted(self.total, 'item needs', 'items need')} attention"

    def _table(self) -> tuple[list[str], list[tuple[str, str, str]]]:
        rows = [(one.item, f"{one.urgency:.2f}", "; ".join(one.reasons)) for one in self._concerns]
        return ["item", "urgency", "reasons"], rows


def find_concerns(
    core: _core.Engine, *, where: Where | None, model: str | None, margin: float, limit: int | None
) -> Review:
    """Returns the items that need attention; see ``Engine.review``."""
    if limit is not None and limit < 1:
        raise ArgumentError(f"limit {limit}: give 1 or more, or None for all")
    if not 0 <= margin <= 2:
        raise ArgumentError(f"margin {margin}: give a difference of cosines from 0 to 2")
    gallery, neighbors = read_neighbors(core, 1, where=where, model=model)
    concerns = _concerns(gallery, neighbors, margin)
    return Review(concerns[:limit], total=len(concerns))


def _concerns(gallery: Gallery, neighbors: Neighbors, margin: float) -> list[Concern]:
    if not len(gallery.items):
        return []
    own, others = neighbors.own_scores.astype(np.float64), neighbors.other_scores[:, 0].astype(np.float64)
    alone, foreign = np.isinf(own), np.isfinite(others)
    margins = np.where(alone, neighbors.within(0.5), own) - others  # inf if there is no other item
    real = margins[foreign]
    spread = max(SPREAD, float(np.median(np.abs(real - np.median(real))))) if len(real) else SPREAD
    found = []
    starts = np.flatnonzero(np.append(True, gallery.items[1:] != gallery.items[:-1]))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(gallery.items)], strict=True):
        row = start + int(np.argmin(margins[start:end]))
        least = float(margins[row])
        reasons = _reasons(gallery, neighbors, row, least, margin, single=end - start == 1)
        if not reasons:
            continue
        other = int(neighbors.other_rows[row, 0])
        found.append(
            Concern(
                item=gallery.ids[int(gallery.items[row])],
                urgency=float(1 / (1 + np.exp(min(least / spread, 700.0)))),
                reasons=reasons,
                reference=gallery.names[row] if other >= 0 else None,
                other=gallery.ids[int(gallery.items[other])] if other >= 0 else None,
                similarity=min(1.0, float(others[row])) if other >= 0 else None,
                own=None if alone[row] else min(1.0, float(own[row])),
            )
        )
    return sorted(found, key=lambda one: -one.urgency)


def _reasons(
    gallery: Gallery, neighbors: Neighbors, row: int, least: float, margin: float, *, single: bool
) -> tuple[str, ...]:
    reasons = []
    if least < margin:
        other = gallery.ids[int(gallery.items[int(neighbors.other_rows[row, 0])])]
        name, score = _file(gallery.names[row]), f"{neighbors.other_scores[row, 0]:.2f}"
        own = f"its own item ({neighbors.own_scores[row]:.2f})"
        if single:
            reasons.append(f"{name} is near to {other} ({score})")
        elif least < 0:
            reasons.append(f"{name} is nearer to {other} ({score}) than to {own}")
        else:
            reasons.append(f"{name} is nearly as near to {other} ({score}) as to {own}")
    if single:
        reasons.append("it has one reference: add one from another side")
    return tuple(reasons)


def _file(name: str) -> str:
    """Returns the name of a reference without folders, which a server does not tell."""
    return name.rpartition("/")[2].rpartition("\\")[2] or name
