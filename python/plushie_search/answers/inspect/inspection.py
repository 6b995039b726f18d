"""Verdicts on photos, alone and in a report."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, overload

from ...paths import written
from ...show import page
from ...show.table import counted, printable, table
from ..explain import drawing
from ..explain.parts import numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..explain.regions import Region

Verdict = Literal["pass", "review", "fail"]

#: The columns of a report.
COLUMNS = (
    "photo",
    "verdict",
    "similarity",
    "threshold",
    "probability",
    "anomaly",
    "limit",
    "p_value",
    "nearest",
    "where",
    "notes",
)


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """The verdict on a photo.

    Attributes:
        photo: The name of the photo.
        verdict: ``"pass"``, ``"review"`` or ``"fail"``.
        item: The id of the item; None for golden samples that were given as pictures.
        similarity: From 0 to 1: the probability if there is one, else the cosine with the nearest sample, at least 0.
        threshold: The similarity from which the photo shows the item.
        probability: The probability that the photo shows the item; None where searches are not calibrated.
        anomaly: How far the parts that differ most are from those of the nearest samples; 1 is about what samples
            differ by from each other. None with fewer than three samples.
        limit: The anomaly that good samples do not exceed, but for ``false_alarm_rate`` of them.
        p_value: How likely a good sample has such an anomaly or a higher one.
        false_alarm_rate: The share of good samples that is above the limit at most; it is above the rate that was asked
            for if there are too few samples.
        nearest: The names of the nearest samples, each with its cosine, the nearest first; at most three.
        map: float32 (h, w), at most 32 cells along a side: the anomaly of each part. None with fewer than three
            samples.
        regions: The parts that differ most.
        notes: What is to be known, such as that there are too few samples for the rate.
        pixels: A small copy of the photo, uint8 (height, width, 3).
    """

    photo: str
    verdict: Verdict
    item: str | None
    similarity: float
    threshold: float
    probability: float | None
    anomaly: float | None
    limit: float | None
    p_value: float | None
    false_alarm_rate: float | None
    nearest: tuple[tuple[str, float], ...]
    map: NDArray[np.float32] | None
    regions: tuple[Region, ...]
    notes: tuple[str, ...]
    pixels: NDArray[np.uint8] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns everything but the pixels as a dict, ready for JSON."""
        return {
            "photo": self.photo,
            "verdict": self.verdict,
            "item": self.item,
            "similarity": self.similarity,
            "threshold": self.threshold,
            "probability": self.probability,
            "anomaly": self.anomaly,
            "limit": self.limit,
            "p_value": self.p_value,
            "false_alarm_rate": self.false_alarm_rate,
            "nearest": [{"reference": name, "score": score} for name, score in self.nearest],
            "map": None if self.map is None else numbers(self.map),
            "regions": [region.to_dict() for region in self.regions],
            "notes": list(self.notes),
        }

    def to_image(self) -> NDArray[np.uint8]:
        """Returns the photo beside its difference map, uint8 (height, width, 3).

        The color is full at twice the limit, and a line encloses what is above the limit.
        """
        if self.map is None or self.limit is None:
            return self.pixels
        return drawing.beside([self.pixels, drawing.overlaid(self.pixels, self.map, 2 * self.limit)])

    def __repr__(self) -> str:
        return f"<Inspection photo={self.photo!r} verdict={self.verdict!r} similarity={self.similarity:.3f}>"

    def __str__(self) -> str:
        lines = [
            f"{self.verdict}: {printable(self.photo)}",
            f"similarity {self.similarity:.3f}, threshold {self.threshold:g}",
        ]
        if self.anomaly is not None and self.limit is not None:
            where = f", most in the {self.regions[0].place}" if self.regions and self.anomaly > self.limit else ""
            lines.append(f"anomaly {self.anomaly:.2f}, limit {self.limit:.2f}{where}")
        return "\n".join([*lines, *self.notes])

    def _repr_html_(self) -> str:
        return page.paragraph(str(self)) + page.pictures(page.Picture(self.verdict, self.photo, None, self.to_image()))


class Inspections(Sequence[Inspection]):
    """The verdicts on several photos, in their order.

    Attributes:
        failed: The photos that cannot be used: name and reason.
    """

    __slots__ = ("_found", "failed")

    def __init__(self, found: Sequence[Inspection], *, failed: Sequence[tuple[str, str]] = ()) -> None:
        self._found = tuple(found)
        self.failed = tuple(failed)

    def __len__(self) -> int:
        return len(self._found)

    @overload
    def __getitem__(self, index: int) -> Inspection: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Inspection, ...]: ...
    def __getitem__(self, index: int | slice) -> Inspection | tuple[Inspection, ...]:
        return self._found[index]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the verdicts as plain dicts, ready for JSON."""
        return [one.to_dict() for one in self._found]

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as CSV with a line for each photo, and writes it to a file if one is named.

        Photos that cannot be used have the verdict ``"error"`` and the reason under ``notes``.
        """
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(COLUMNS)
        lines.writerows(_cells(one) for one in self._found)
        lines.writerows([name, "error", *[""] * (len(COLUMNS) - 3), reason] for name, reason in self.failed)
        return written(text.getvalue(), path)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns the report as a page of HTML with the pictures in it, the bad ones first."""
        order = sorted(self._found, key=lambda one: ("fail", "review", "pass").index(one.verdict))
        title = f"Inspection of {counted(len(self._found), 'photo')}"
        return written(page.document(title, self._summary() + "".join(one._repr_html_() for one in order)), path)

    def __repr__(self) -> str:
        head = self._head()
        rows = [_cells(one)[:9] for one in self._found]
        if not rows:
            return head
        said = Counter(note for one in self._found for note in one.notes)
        common = [note for note, count in said.items() if count == len(rows)]
        own = [f"{printable(one.photo)}: {note}" for one in self._found for note in one.notes if note not in common]
        return "\n".join([head, table(list(COLUMNS[:9]), rows, widest=60), *common, *own])

    def _repr_html_(self) -> str:
        return self._summary()

    def _head(self) -> str:
        counts = Counter(one.verdict for one in self._found)
        said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("pass", "review", "fail"))
        return f"{counted(len(self._found), 'photo')}: {said}" + (
            f", {counted(len(self.failed), 'file')} cannot be used" if self.failed else ""
        )

    def _summary(self) -> str:
        rows = [[*_cells(one)] for one in self._found]
        rows += [[name, "error", *[""] * (len(COLUMNS) - 3), reason] for name, reason in self.failed]
        return page.paragraph(self._head()) + (page.table(list(COLUMNS), rows) if rows else "")


def _cells(one: Inspection) -> list[str]:
    """Returns the cells of a photo's line; a cell that a spreadsheet would compute begins with an apostrophe."""
    values = [one.similarity, one.threshold, one.probability, one.anomaly, one.limit, one.p_value]
    said = ["" if value is None else f"{value:.4f}" for value in values]
    nearest = one.nearest[0][0] if one.nearest else ""
    where = "; ".join(region.place for region in one.regions)
    cells = [one.photo, one.verdict, *said, nearest, where, "; ".join(one.notes)]
    return [f"'{cell}" if cell[:1] in ("=", "+", "-", "@") else cell for cell in cells]
