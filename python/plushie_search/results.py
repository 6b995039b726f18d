"""Results of an engine: hits, items and reports, as objects, tables, picture grids and data frames."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from ._core import Crop, Hit
from .paths import written
from .show import grid, page
from .show.table import counted, printable, shortened, shorter_path, table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

Thumbnails: TypeAlias = Callable[[str, str], bytes | None]
"""Called with an item and the key of its reference, and returns a small JPEG file."""


#: The columns of a table of hits.
COLUMNS = (
    "rank",
    "item",
    "score",
    "scores",
    "probability",
    "matched",
    "reference",
    "digest",
    "view",
    "label",
    "text",
    "metadata",
)


def reference_key(digest: str, view: str | None) -> str:
    """Returns the text that names a reference by its digest and, if it is of a mesh, its view."""
    return digest if view is None else f"{digest}#{view}"


@dataclass(frozen=True, slots=True)
class Reference:
    """One picture of an item: its name (a path, if it was added by one) and the SHA-256 of its content.

    A mesh has a reference for each view, ``view:azimuth,elevation`` in degrees, and ``view:all`` for their mean; of a
    picture ``view`` is None.
    """

    name: str
    digest: str
    view: str | None = None

    @property
    def key(self) -> str:
        """The text that names it among the references of its item: the digest, and behind a # the view of a mesh."""
        return reference_key(self.digest, self.view)


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a catalog, with everything that is stored about it."""

    id: str
    label: str | None
    text: str | None
    metadata: dict[str, Any]
    references: tuple[Reference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON; each reference is a dict of its name, digest and view."""
        return {**asdict(self), "references": [asdict(reference) for reference in self.references]}

    def _repr_html_(self) -> str:
        return grid.item(self)


class Items(list[Item]):
    """Items in a list, which shows as a grid of pictures in a notebook and has :meth:`to_dicts`."""

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the items as plain dicts, ready for JSON."""
        return [item.to_dict() for item in self]

    def _repr_html_(self) -> str:
        return f"{page.paragraph(counted(len(self), 'item'))}{grid.items_grid(self)}"


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of adding many pictures.

    Attributes:
        items: Items that are new.
        references: References that are new.
        duplicates: Pictures that their item had already.
        failed: The pictures, files and rows that could not be used: name and reason.
        renamed: Of the duplicates, those whose file has moved or has another name now.
        replaced: References that were removed: their file holds another picture now, or ``upsert=True`` left them out.
        moved: References that were taken out of other items, whose files are gone there and were added to these. An
            item that has none left is removed, and its label, text and metadata go along.
        notes: Meshes of which something was left out: name and note, such as "2 triangles without an area left out".
        removed: References that were removed because their files are gone, by ``add_folder(prune=True)``.
    """

    items: int
    references: int
    duplicates: int
    failed: list[tuple[str, str]]
    renamed: int = 0
    replaced: int = 0
    moved: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)
    removed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON; each failure and note is a list of name and text."""
        pairs = {"failed": [list(pair) for pair in self.failed], "notes": [list(pair) for pair in self.notes]}
        return {**asdict(self), **pairs}

    def __str__(self) -> str:
        parts = [counted(self.items, "new item"), counted(self.references, "new reference")]
        if self.duplicates:
            parts.append(f"{self.duplicates} there already")
        if self.renamed:
            parts.append(f"{self.renamed} of them by a new name")
        if self.replaced:
            parts.append(f"{self.replaced} replaced")
        if self.moved:
            parts.append(f"{self.moved} moved from other items")
        if self.removed:
            parts.append(f"{self.removed} removed")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        return ", ".join(parts)

    def _repr_html_(self) -> str:
        failed = page.table(["failed", "reason"], self.failed) if self.failed else ""
        notes = page.table(["mesh", "note"], self.notes) if self.notes else ""
        return f"{page.paragraph(str(self))}{failed}{notes}"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is damaged in a catalog.

    Attributes:
        item: The id of the item that it belongs to; None if it belongs to none.
        reference: The name of the reference that it belongs to; None if it belongs to none.
        problem: The damage, in words.
    """

    item: str | None
    reference: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of :meth:`Engine.verify`.

    Attributes:
        problems: The damage; empty if the catalog is sound.
        remarks: Remarks that are no damage: originals that have moved or changed since they were added, and thumbnails
            and originals that no reference needs.
        repaired: The damage that is there no more, with ``repair=True``.
    """

    problems: tuple[Problem, ...]
    remarks: tuple[Problem, ...] = ()
    repaired: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the catalog is sound."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Restored:
    """The outcome of :func:`plushie_search.restore`.

    Attributes:
        items: Items in the restored catalog.
        moved: The directory in which the catalog that was there is now; None if there was none.
    """

    items: int
    moved: Path | None


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The outcome of :func:`plushie_search.salvage`.

    Attributes:
        items: Items in the new catalog.
        references: References of them.
        lost: What is lost, as far as the rest tells of it. An item or reference whose name cannot be read has
            its number in the place of it.
    """

    items: int
    references: int
    lost: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class ReencodeReport:
    """The outcome of :meth:`Engine.reencode`.

    Attributes:
        models: The names of the models that the catalog has.
        changed: Whether it had others before; if not, nothing was encoded.
        references: References in all.
        files: References that were encoded from the file that they were added from.
        media: References that were encoded from the original in ``media/``.
        thumbnails: References that were encoded from a thumbnail of at most 256 pixels.
    """

    models: tuple[str, ...]
    changed: bool
    references: int
    files: int
    media: int
    thumbnails: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return {**asdict(self), "models": list(self.models)}

    def __str__(self) -> str:
        models, references = " and ".join(self.models), counted(self.references, "reference")
        if not self.changed:
            return f"nothing to do: the vectors of all {references} are those of {models}"
        counts = ((self.files, "files"), (self.media, "media/"), (self.thumbnails, "thumbnails"))
        sources = ", ".join(f"{count} from {source}" for count, source in counts if count)
        return f"{references} moved to {models}: {sources or 'the vectors were there already'}"


class Results(Sequence[Hit]):
    """The hits of one query, best first.

    Attributes:
        query: The query as the caller gave it.
        model: The name of the model that found them; several names are joined by a plus.
        cursor: The end of these hits, for the search's ``after``; None if no more follow, if ``mmr`` has chosen them,
            or in the answer to several queries.
        warnings: The reasons why the hits may not be those that were meant: words that the model does not know, or a
            key of the filter that no item has.
        seconds: How long it took to `encode` the queries and to `search` for their vectors, all queries of a batch
            together; empty if that is not known.

    Prints as a table, shows as a grid of pictures in a notebook, and converts with :meth:`to_dicts`,
    :meth:`to_pandas` and :meth:`to_arrow`. A slice of it is a `Results` again, whose hits keep their ranks.

    >>> hits = [Hit(1, "bear", 0.9, reference="bear.jpg", label="toy"), Hit(2, "cat", 0.5, reference="cat.jpg")]
    >>> results = Results(hits, query="a bear")
    >>> results[0].item
    'bear'
    >>> results
    2 hits for 'a bear'
    #  item  score  label  reference
    1  bear  0.900  toy    bear.jpg
    2  cat   0.500         cat.jpg
    """

    __slots__ = ("_hits", "_thumbnails", "cursor", "model", "query", "seconds", "warnings")

    def __init__(
        self,
        hits: Sequence[Hit],
        *,
        query: object = None,
        model: str | None = None,
        cursor: str | None = None,
        warnings: Sequence[str] = (),
        seconds: Mapping[str, float] | None = None,
        thumbnails: Thumbnails | None = None,
    ) -> None:
        self._hits = hits
        self.query = query
        self.model = model
        self.cursor = cursor
        self.warnings = tuple(warnings)
        self.seconds = dict(seconds or {})
        self._thumbnails = thumbnails

    def __len__(self) -> int:
        return len(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Hit | Results:
        if isinstance(index, slice):
            return Results(
                self._hits[index],
                query=self.query,
                model=self.model,
                warnings=self.warnings,
                seconds=self.seconds,
                thumbnails=self._thumbnails,
            )
        return self._hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Results) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        # An open catalog cannot be pickled or copied.
        return None, {name: None if name == "_thumbnails" else getattr(self, name) for name in self.__slots__}

    def thumbnail(self, hit: Hit) -> bytes | None:
        """Returns the thumbnail of a hit from the catalog, as a JPEG file; None if there is none."""
        try:
            return self._thumbnails(hit.item, reference_key(hit.digest, hit.view)) if self._thumbnails else None
        except (KeyError, ValueError, RuntimeError, OSError):
            return None  # The catalog was closed or has changed since: the hit stands without its picture.

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the hits as plain dicts, ready for JSON; ``vectors`` is a key if the search asked for vectors."""
        return [hit.to_dict() for hit in self]

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """Returns a self-contained HTML page with the hits as pictures.

        Args:
            path: A file to write it to; none by default.

        Raises:
            OSError: The file cannot be written.
        """
        title = f"{counted(len(self), 'hit')}{_for(self.query)}"
        return written(page.document(title, self._shown(""), heading=title), path)

    def to_pandas(self) -> pd.DataFrame:
        """Returns the hits as a data frame with a hit's attributes as columns.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise ImportError("Results.to_pandas needs pandas; install it with: pip install pandas") from error
        rows = self.to_dicts()
        return pd.DataFrame(rows, columns=list(rows[0] if rows else COLUMNS))

    def to_arrow(self) -> pa.Table:
        """Returns the hits as an Arrow table with a hit's attributes as columns.

        ``scores`` is a map of float64 by model, ``vectors`` (if the search asked for them) one of lists of float32,
        and ``metadata`` a JSON text.

        Raises:
            ImportError: pyarrow is not installed.
        """
        try:
            import pyarrow as pa
        except ImportError as error:
            raise ImportError("Results.to_arrow needs pyarrow; install it with: pip install pyarrow") from error
        rows = self.to_dicts()
        for row in rows:
            row["metadata"] = json.dumps(row["metadata"], ensure_ascii=False)
            row["scores"] = list(row["scores"].items())
            if "vectors" in row:
                row["vectors"] = list(row["vectors"].items())
        kinds = {
            "rank": pa.int64(),
            "score": pa.float64(),
            "scores": pa.map_(pa.string(), pa.float64()),
            "probability": pa.float64(),
            "matched": pa.list_(pa.string()),
            "vectors": pa.map_(pa.string(), pa.list_(pa.float32())),
        }
        names = list(rows[0] if rows else COLUMNS)
        return pa.Table.from_pylist(rows, schema=pa.schema([(name, kinds.get(name, pa.string())) for name in names]))

    def __repr__(self) -> str:
        head = f"{counted(len(self), 'hit')}{_for(self.query)}"
        head = "\n".join([head, *(f"warning: {printable(warning)}" for warning in self.warnings)])
        if not self._hits:
            return head
        rows = [
            (str(hit.rank), hit.item, f"{hit.score:.3f}", hit.label or "", shorter_path(hit.reference)) for hit in self
        ]
        return f"{head}\n{table(['#', 'item', 'score', 'label', 'reference'], rows)}"

    def _repr_html_(self) -> str:
        return self._shown(f"{counted(len(self), 'hit')}{_for(self.query)}")

    def _shown(self, head: str) -> str:
        return grid.answer(head, self, warnings=self.warnings, queries=_pictures(self.query), small=self.thumbnail)


class Batch(list[Results]):
    """The results of many queries in a list, which shows all of them in a notebook."""

    def _repr_html_(self) -> str:
        return "".join(results._repr_html_() for results in self)


def asked(hits: Sequence[Hit], default: str | None) -> str | None:
    """Returns the names of the models that looked up a query: its hits tell them, if there are some."""
    return (hits and " + ".join(hits[0].scores)) or default


def _for(query: Any) -> str:
    """Returns the heading's words for a query: short texts and paths in full, anything else by its kind."""
    if query is None:
        return ""
    named = [(_named(thing), weight) for part in _parts(query) for thing, weight in part]
    if hasattr(query, "item") and hasattr(query, "vector"):
        _, _, items, vectors = query._row()
        named += [(f"item {str(id)!r}", weight) for id, weight in items]
        named += [("a vector", weight) for _, weight in vectors]
    things = [name + (f" × {weight:g}" if weight != 1 else "") for name, weight in named]
    return f" for {' and '.join(things)}"


def _pictures(query: object) -> list[tuple[str, Any]]:
    """Returns the pictures of a query with their names; a text counts as one if it is the path of a file."""
    images, _ = _parts(query)
    return [(str(image) if _is_path(image) else _named(image), image) for image, _ in images if image is not None]


def _parts(query: Any) -> tuple[list[tuple[Any, float]], list[tuple[str, float]]]:
    """Returns the pictures and texts of a query with their weights."""
    if hasattr(query, "image") and hasattr(query, "text"):
        images, texts, _, _ = query._row()
        return images, texts
    return [(query, 1.0)], []


def _named(thing: Any) -> str:
    if isinstance(thing, Crop):
        return f"a part of {_named(thing.image)}"
    return repr(shortened(str(thing), 60)) if _is_path(thing) else f"<{type(thing).__name__}>"


def _is_path(thing: object) -> bool:
    return isinstance(thing, (str, os.PathLike))
