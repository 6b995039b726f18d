"""Searches for, encodes and adds batches of Arrow: tables of any size, of which a few batches are held at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._core import ArgumentError
from .engine import Engine
from .interop import tables
from .interop.tables import Kind, OnError
from .results import Report, Results

try:
    import pyarrow as pa
except ImportError as error:
    raise ImportError(
        "plushie_search.arrow needs pyarrow; install it with: pip install 'plushie_search[exchange]'"
    ) from error

if TYPE_CHECKING:
    from .encoders.protocol import EncoderLike

__all__ = ["add_batches", "encode_batches", "search_batches"]


def search_batches(
    engine: Engine,
    batches: Iterable[pa.RecordBatch] | pa.RecordBatch | pa.Table,
    column: str,
    *,
    kind: Kind = "image",
    errors: OnError = "raise",
    **options: Any,
) -> Iterator[pa.RecordBatch]:
    """Searches for each cell of a column of batches, such as those of a ``pyarrow.RecordBatchReader``.

    Args:
        engine: The catalog.
        batches: Record batches, one of them, or a table.
        column: The column of pictures (paths, files' bytes) or texts. Empty cells have no hits.
        kind: ``"image"``, the default, or ``"text"``.
        errors: ``"raise"``, the default, or ``"skip"``, which leaves out rows that cannot be used, and logs them.
        options: Those of :class:`plushie_search.SearchOptions`, such as ``k`` and ``where``.

    Yields:
        For each batch one with a row for each hit: ``row``, the number of the row that was searched for among all
        batches, int64 from 0, and the columns of :meth:`plushie_search.Results.to_arrow`.

    Raises:
        ArgumentError: There is no such column, or an option makes no sense.
        PlushieError: A cell cannot be used; the message names its row in its batch, from 0.
    """
    first = 0
    for batch in _batches(batches):
        cells = batch.column(tables.present(batch.schema.names, column)).to_pylist()
        found = list(tables.found(engine, cells, kind=kind, errors=errors, options=options))
        yield _hits(found, first)
        first += batch.num_rows


def encode_batches(
    encoder: EncoderLike | Engine,
    batches: Iterable[pa.RecordBatch] | pa.RecordBatch | pa.Table,
    column: str,
    *,
    kind: Kind = "image",
    errors: OnError = "raise",
    name: str = "vector",
) -> Iterator[pa.RecordBatch]:
    """Encodes each cell of a column of batches.

    Args:
        encoder: What encodes: of :func:`plushie_search.open_encoder`, or a catalog.
        batches, column, kind, errors: As for :func:`search_batches`.
        name: The name of the column of vectors.

    Yields:
        Each batch with one more column: unit vectors as fixed-size lists of float32, null where there is none.

    Raises:
        As :func:`search_batches`; ArgumentError, too, if a batch has a column of that name.
    """
    for batch in _batches(batches):
        if name in batch.schema.names:
            raise ArgumentError(f"there is a column {name!r} already: give the vectors another name by name=")
        cells = batch.column(tables.present(batch.schema.names, column)).to_pylist()
        vectors: list[Any] = [None] * len(cells)
        for number, vector in tables.encoded(encoder, cells, kind=kind, errors=errors):
            vectors[number] = np.asarray(vector)
        yield batch.append_column(name, _vectors(vectors, dimension(encoder, kind)))


def add_batches(
    engine: Engine,
    batches: Iterable[pa.RecordBatch] | pa.RecordBatch | pa.Table,
    *,
    image: str | None = None,
    id: str | None = None,
    label: str | None = None,
    text: str | None = None,
    metadata: Sequence[str] | Literal["rest"] = (),
    upsert: bool = False,
) -> Report:
    """Adds the rows of batches to a catalog. Rows with one id are one item; what is there already is left out.

    Args:
        engine: The catalog.
        batches: Record batches, one of them, or a table.
        image: The column of pictures, or of lists of pictures: paths or files' bytes.
        id: The column of ids; by default the pictures' paths are the ids.
        label, text: The columns of labels and texts.
        metadata: The columns that become metadata; ``"rest"`` takes all others. None by default.
        upsert: Makes each item exactly as its row is; see :meth:`plushie_search.Engine.add_items`.

    Returns:
        How many were added, and the rows that could not be used.

    Raises:
        ArgumentError: A column is not there, or a row has neither an id nor a path.
    """

    def each() -> Iterator[dict[str, Any]]:
        for batch in _batches(batches):
            names = batch.schema.names
            chosen, extra = tables.fields(names, image=image, id=id, label=label, text=text, metadata=metadata)
            columns = {field: batch.column(column).to_pylist() for field, column in chosen.items()}
            yield from tables.rows(columns | {column: batch.column(column).to_pylist() for column in extra}, extra)

    return engine.add_items(each(), upsert=upsert)


def _batches(batches: Iterable[pa.RecordBatch] | pa.RecordBatch | pa.Table) -> Iterable[pa.RecordBatch]:
    if isinstance(batches, pa.RecordBatch):
        return [batches]
    return batches.to_batches() if isinstance(batches, pa.Table) else batches


def no_hits() -> pa.RecordBatch:
    """Returns the columns that hits have, without rows."""
    return _hits([], 0)


def _hits(found: Sequence[tuple[int, Results]], first: int) -> pa.RecordBatch:
    """Returns the hits of rows of one batch, whose first row has the number ``first``."""
    shown = [(first + number, results.to_arrow()) for number, results in found if len(results)]
    numbers = [number for number, one in shown for _ in range(one.num_rows)]
    table = pa.concat_tables([one for _, one in shown]) if shown else Results([]).to_arrow()
    table = table.add_column(0, "row", pa.array(numbers, pa.int64()))
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)


def dimension(encoder: EncoderLike | Engine, kind: Kind) -> int:
    """Returns the dimension of the vectors of an encoder, or of the model by which a catalog encodes such cells."""
    if not isinstance(encoder, Engine):
        return encoder.dim
    name = encoder.image_model if kind == "image" else encoder.text_model
    return int(next(one["dimension"] for one in encoder.stats()["models"] if name in (one["name"], None)))


def _vectors(vectors: Sequence[Any], dim: int) -> pa.Array:
    """Returns vectors as fixed-size lists, null where there is None."""
    flat = np.stack([np.zeros(dim, np.float32) if one is None else one for one in vectors]) if vectors else np.empty(0)
    missing = np.array([one is None for one in vectors], bool)
    values = pa.array(flat.astype(np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, dim, mask=pa.array(missing))
