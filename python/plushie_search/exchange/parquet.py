"""Vectors in a column of a parquet file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from .batch import Batch, Cells, SourceModel, take_cells
from .matrices import check_shape, told

#: The names that the column of vectors has.
VECTORS = ("vector", "vectors", "embedding", "embeddings", "image_embedding", "features")
#: Bytes of each column that are read at a time.
BUFFER = 1 << 20
#: The entry of the file's metadata that says which models its columns are of.
MODELS = b"plushie_search.models"


def parquet_module(path: str) -> Any:
    """Returns ``pyarrow.parquet``.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(f"{path} needs an extra: pip install 'plushie_search[exchange]'") from error
    return pyarrow.parquet


def open_parquet(path: str) -> Any:
    """Opens a parquet file.

    Raises:
        ImportError: pyarrow is not installed.
        OSError: The file is not there.
        ArgumentError: It is damaged.
    """
    module = parquet_module(path)
    try:
        # By default whole row groups, all of the file at last, are held in memory.
        return module.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise _damaged(path, error) from error


def tables(path: str, size: int) -> Iterator[tuple[int, Any]]:
    """Yields the rows of a parquet file as record batches of at most ``size``, each with the number of its first row.

    Raises:
        ArgumentError: It is damaged.
    """
    import pyarrow as pa

    start = 0
    file = open_parquet(path)
    try:
        for table in file.iter_batches(batch_size=size):
            if len(table):
                yield start, table
                start += len(table)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


class Parquet:
    """A parquet file with vectors; its other columns are ids, labels, texts, references, digests and metadata.

    Args:
        path: The file.
        column: The column of vectors; by default the one that is named so, or the only one of lists of numbers.

    Raises:
        ImportError: pyarrow is not installed.
        ArgumentError: The file is damaged or has no such column.
    """

    def __init__(self, path: str, column: str | None) -> None:
        self.path = path
        file = open_parquet(path)
        schema = file.schema_arrow
        known = self._known(schema)
        self.models: Sequence[SourceModel] = [
            SourceModel(one["name"], one["fingerprint"], one.get("opened_by")) for one in known
        ]
        self._columns = {one["name"]: one["column"] for one in known} or {None: self._chosen(schema, column)}
        self.rows = file.metadata.num_rows
        first = next(self._read(1), None)
        if first is None:
            raise ArgumentError(f"{path}: has no rows")
        self.dim = next(iter(first.vectors.values())).shape[1]
        check_shape(path, self.rows, self.dim)

    def batches(self, size: int) -> Iterator[Batch]:
        return self._read(size)

    def _known(self, schema: Any) -> list[dict[str, Any]]:
        """Returns what the file says of the models of its columns."""
        try:
            known = json.loads((schema.metadata or {}).get(MODELS, b"[]"))
            lists = _lists(schema)
            if not isinstance(known, list) or any(
                not all(isinstance(one[key], str) for key in ("name", "fingerprint", "column"))
                or one["column"] not in lists
                for one in known
            ):
                raise ValueError("its models are not those of its columns")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _damaged(self.path, error) from error
        return known

    def _chosen(self, schema: Any, column: str | None) -> str:
        lists = _lists(schema)
        if not lists:
            raise ArgumentError(
                f"{self.path}: has no column of vectors, but {_named(schema.names)}: write the vectors as a column of "
                "lists of numbers"
            )
        if column is not None:
            if column not in lists:
                raise ArgumentError(f"{self.path}: has no column {column!r} of lists of numbers, but {_named(lists)}")
            return column
        named = [name for name in VECTORS if name in lists]
        if named or len(lists) == 1:
            return (named or lists)[0]
        raise ArgumentError(f"{self.path}: which column has the vectors? Give one of {_named(lists)} as the column")

    def _read(self, size: int) -> Iterator[Batch]:
        own = self._columns.values()
        for start, table in tables(self.path, size):
            names = table.schema.names
            chosen = {
                model: self._matrix(table.column(names.index(name)), name, start)
                for model, name in self._columns.items()
            }
            try:
                rest = {name: table.column(place).to_pylist() for place, name in enumerate(names) if name not in own}
            except (OverflowError, ValueError) as error:  # a date that Python cannot hold, or bytes that are no text
                raise _damaged(self.path, error) from error
            yield Batch(chosen, range(start, start + len(table)), self._cells(rest, len(table)))

    def _cells(self, columns: dict[str, list[Any]], count: int) -> Cells:
        if self.models and "metadata" in columns:
            # Written by an export, which keeps the JSON as it is.
            columns["metadata"] = _parsed(self.path, columns["metadata"])
        views = columns.pop("view", None) if self.models else None
        cells = take_cells(columns, count)
        cells.views = views
        cells.metadata = _objects(self.path, cells.metadata)
        return cells

    def _matrix(self, column: Any, name: str, done: int) -> NDArray[Any]:
        if column.null_count:
            row = next(place for place, valid in enumerate(column.is_valid().to_pylist()) if not valid)
            raise ArgumentError(f"{self.path}: row {done + row} has no {name}: leave that row out")
        values = column.flatten()
        fixed = hasattr(column.type, "list_size")
        lengths = {len(values) // len(column)} if fixed else {*column.value_lengths().to_pylist()}
        if len(lengths) != 1 or values.null_count:
            raise ArgumentError(
                f"{self.path}: the vectors of rows {done} to {done + len(column) - 1} have {_named(sorted(lengths))} "
                "numbers or gaps: give all rows as many"
            )
        return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), -1)


def _damaged(path: str, error: Exception) -> ArgumentError:
    return ArgumentError(f"{path}: cannot be read as parquet ({told(error)}); write it again")


def _lists(schema: Any) -> list[str]:
    """Returns the names of the columns of lists of numbers."""
    return [field.name for field in schema if _is_list(field.type)]


def _is_list(type_: Any) -> bool:
    import pyarrow as pa

    types = pa.types
    is_list = types.is_list(type_) or types.is_fixed_size_list(type_) or types.is_large_list(type_)
    return bool(is_list and (types.is_floating(type_.value_type) or types.is_integer(type_.value_type)))


def _objects(path: str, column: Sequence[Any] | None) -> Sequence[Any] | None:
    """Metadata that is JSON in texts, as objects."""
    if column is None or not any(isinstance(value, str) for value in column):
        return column
    return _parsed(path, column)


def _parsed(path: str, column: Sequence[Any]) -> list[Any]:
    try:
        return [json.loads(value) if isinstance(value, str) else value for value in column]
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{path}: metadata is no JSON ({told(error)}); name that column otherwise") from error


def _named(names: Sequence[Any]) -> str:
    return ", ".join(str(name) for name in names[:20]) or "none"
