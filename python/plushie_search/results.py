"""What an engine answers with: hits, items and reports, as objects, tables, picture grids and data frames."""

from __future__ import annotations

import base64
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pandas as pd

#: The longest side of a picture in a notebook, in pixels.
THUMBNAIL = 200
#: How many lines about an item stand below its picture.
DETAILS = 4
#: The widest cell of a table, in columns of the terminal.
WIDEST = 44


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
            (str(hit.rank), hit.item, f"{hit.score:.3f}", hit.label or "", _shorter_path(hit.reference)) for hit in self
        ]
        return f"{head}\n{table(['#', 'item', 'score', 'label', 'reference'], rows)}"

    def _repr_html_(self) -> str:
        head = f"<p>{len(self)} hit{'' if len(self) == 1 else 's'}{escape(_for(self.query))}</p>"
        warnings = "".join(f"<p>⚠ {escape(printable(warning))}</p>" for warning in self.warnings)
        return f"{head}{warnings}{picture_grid(self)}"


def _for(query: object) -> str:
    """What the heading says about a query: short texts and paths in full, anything else by its kind."""
    if query is None:
        return ""
    if isinstance(query, (str, os.PathLike)):
        text = os.fspath(query)
        return f" for {_shortened(str(text), 60)!r}"
    return f" for <{type(query).__name__}>"


# Tables


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, widest: int = WIDEST) -> str:
    """Text in aligned columns, whatever its script: Chinese characters take two columns each."""
    lines = [[_shortened(printable(cell), widest) for cell in row] for row in [head, *rows]]
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(text: str) -> str:
    """The text on one line, with characters that would move the cursor or hide text written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _shortened(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis if it is wider."""
    if columns(text) <= width:
        return text
    kept, used = [], 1
    for character in text:
        used += _width(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def _shorter_path(path: str) -> str:
    """A path, without its first folders if it is wide: its end is what tells pictures apart."""
    if columns(path) <= WIDEST:
        return path
    parts = path.split("/")
    while len(parts) > 1 and columns("…/" + "/".join(parts)) > WIDEST:
        del parts[0]
    return "…/" + "/".join(parts)


# Picture grids


def picture_grid(results: Results, *, right: frozenset[str] = frozenset()) -> str:
    """The hits as a grid of pictures with similarity bars, in HTML that needs nothing but itself.

    Items in ``right`` are marked as what was looked for. Everything that comes from a catalog is escaped.
    """
    cards = "".join(_card(hit, right=hit.item in right) for hit in results)
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{cards}</div>'


def _card(hit: Hit, *, right: bool) -> str:
    share = round(100 * min(max(hit.score, 0.0), 1.0))
    details = [] if hit.label is None or hit.label == hit.item else [hit.label]
    details += [f"{key}: {_value(value)}" for key, value in hit.metadata.items() if value not in (None, "", [], {})]
    lines = "".join(f"<div>{escape(printable(line))}</div>" for line in details[:DETAILS])
    ring = "2px solid #2e9e6b" if right else "1px solid rgba(128,128,128,.35)"
    return (
        f'<figure style="width:{THUMBNAIL}px;margin:0;padding:9px;outline:{ring};outline-offset:-1px;'
        f'border-radius:10px;box-sizing:content-box;overflow-wrap:anywhere;font:13px/1.45 system-ui,sans-serif">'
        f"{thumbnail(hit.reference)}"
        f'<figcaption><div style="display:flex;justify-content:space-between;gap:8px;margin-top:6px">'
        f"<b>{hit.rank}. {escape(printable(hit.item))}{' ✓' if right else ''}</b>"
        f'<span style="white-space:nowrap">{hit.score:.3f}</span></div>'
        f'<div style="height:5px;border-radius:3px;background:rgba(128,128,128,.25);margin:4px 0">'
        f'<div style="height:5px;border-radius:3px;background:#d9738d;width:{share}%"></div></div>'
        f'<div style="opacity:.75;font-size:12px">{lines}</div></figcaption></figure>'
    )


def _value(value: Any) -> str:
    """A value of the metadata in few words."""
    return _shortened(", ".join(map(str, value)) if isinstance(value, list) else str(value), 60)


def thumbnail(path: str, *, side: int = THUMBNAIL) -> str:
    """A picture file as an inline image of at most ``side`` pixels, or its name in a box if it cannot be shown."""
    from . import _core

    name = escape(printable(path), quote=True)
    try:
        if os.path.isfile(path):
            data = base64.b64encode(_core.thumbnail(path, side=side)).decode()
            return (
                f'<img src="data:image/jpeg;base64,{data}" alt="{name}" title="{name}" '
                f'style="display:block;width:{side}px;height:{side}px;object-fit:contain;border-radius:6px">'
            )
    except (OSError, ValueError):
        pass  # It has been moved or replaced since it was added: the hit stands, only its picture cannot be shown.
    return (
        f'<div style="display:flex;align-items:center;justify-content:center;width:{side}px;height:{side}px;'
        f'border-radius:6px;background:rgba(128,128,128,.12);font-size:11px;text-align:center">{name}</div>'
    )
