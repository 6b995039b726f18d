"""What an engine answers with: hits, items and reports, as objects, tables, picture grids and data frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, overload

from .show.grid import answer
from .show.table import counted, printable, shortened, shorter_path, table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Hit:
    """One item that was found, and the reference of it that matched best.

    Attributes:
        rank: 1 for the best.
        item: The item's id.
        score: The cosine between query and reference, from -1 to 1; where two models looked up a picture and a text,
            the mean of two, weighted as the query's parts are. Scores of different models cannot be compared.
        reference: The name of the matching reference: the picture's path, if it was added by one.
        label: The item's class, if it has one.
        metadata: The item's metadata.
    """

    rank: int
    item: str
    score: float
    reference: str
    label: str | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """One picture of an item: its name (a path, if it was added by one) and the SHA-256 of its content."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a catalog, with everything that is stored about it."""

    id: str
    label: str | None
    text: str | None
    metadata: dict[str, Any]
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What adding many pictures came to.

    Attributes:
        items: Items that are new.
        references: References that are new.
        duplicates: Pictures that their item had already.
        failed: The pictures, files and rows that could not be used: name and reason.
        renamed: Of the duplicates, those whose file has moved or has another name now.
        replaced: References that were removed because their file holds another picture now.
        moved: References that were taken out of other items, whose files are gone there and were added to these. An
            item that has none left is removed, and its label, text and metadata go along.
    """

    items: int
    references: int
    duplicates: int
    failed: list[tuple[str, str]]
    renamed: int = 0
    replaced: int = 0
    moved: int = 0


class Results(Sequence[Hit]):
    """The hits of one query, best first.

    Attributes:
        query: The query as the caller gave it.
        model: The name of the model by which they were found; both names, with a plus between them, where there were
            two.
        warnings: Why the hits may not be those that were meant: words that the model does not know, or a key of the
            filter that no item has.

    Prints as a table, shows as a grid of pictures in a notebook, and converts with :meth:`to_dicts` and
    :meth:`to_pandas`. A slice of it is a `Results` again, whose hits keep their ranks.

    >>> results = Results([("bear", 0.9, "bear.jpg", "toy", {}), ("cat", 0.5, "cat.jpg", None, {})], query="a bear")
    >>> results[0].item
    'bear'
    >>> results
    2 hits for 'a bear'
    #  item  score  label  reference
    1  bear  0.900  toy    bear.jpg
    2  cat   0.500         cat.jpg
    """

    __slots__ = ("_ranks", "_rows", "model", "query", "warnings")

    def __init__(
        self,
        rows: Sequence[tuple[Any, ...]],
        *,
        query: object = None,
        ranks: Sequence[int] | None = None,
        model: str | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        # Hits are made when asked for: a search costs no more Python than this.
        self._rows = rows
        self._ranks = range(1, len(rows) + 1) if ranks is None else ranks
        self.query = query
        self.model = model
        self.warnings = tuple(warnings)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Hit | Results:
        if isinstance(index, slice):
            return Results(
                self._rows[index],
                query=self.query,
                ranks=self._ranks[index],
                model=self.model,
                warnings=self.warnings,
            )
        return Hit(self._ranks[index], *self._rows[index])

    def __iter__(self) -> Iterator[Hit]:
        for rank, row in zip(self._ranks, self._rows, strict=True):
            yield Hit(rank, *row)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Results) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The hits as plain dicts, ready for JSON."""
        return [asdict(hit) for hit in self]

    def to_pandas(self) -> pd.DataFrame:
        """The hits as a data frame with a hit's attributes as columns.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Results.to_pandas needs pandas; install it with: pip install pandas") from error
        return pd.DataFrame(self.to_dicts(), columns=list(Hit.__dataclass_fields__))

    def __repr__(self) -> str:
        head = f"{len(self)} hit{'' if len(self) == 1 else 's'}{_for(self.query)}"
        head = "\n".join([head, *(f"warning: {printable(warning)}" for warning in self.warnings)])
        if not self._rows:
            return head
        rows = [
            (str(hit.rank), hit.item, f"{hit.score:.3f}", hit.label or "", shorter_path(hit.reference)) for hit in self
        ]
        return f"{head}\n{table(['#', 'item', 'score', 'label', 'reference'], rows)}"

    def _repr_html_(self) -> str:
        return answer(f"{counted(len(self), 'hit')}{_for(self.query)}", self, warnings=self.warnings)


def _for(query: object) -> str:
    """What the heading says about a query: short texts and paths in full, anything else by its kind."""
    if query is None:
        return ""
    if isinstance(query, (str, os.PathLike)):
        text = os.fspath(query)
        return f" for {shortened(str(text), 60)!r}"
    return f" for <{type(query).__name__}>"
