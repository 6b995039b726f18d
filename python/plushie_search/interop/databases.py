"""Vectors from Chroma, LanceDB, Qdrant and datasets of Hugging Face, and into them.

Each ``*_rows`` function yields the rows of an open collection of that program, and :func:`add_rows` adds them to a
catalog. :func:`catalog_rows` yields those of a catalog, and each ``to_*`` function writes them. The packages are the
caller's: none is imported here but to write.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from ..engine import Added
from ..exchange.batch import take_cells

#: Rows that are read and written together.
BATCH = 1000


@dataclass(frozen=True, slots=True)
class Rows:
    """References with their vectors.

    Attributes:
        vectors: float32 of shape (n, dim).
        columns: A list of n values by the name of each column: ``id``, ``reference``, ``digest``, ``label``, ``text``
            and ``metadata`` are these fields, under any of the names that ``import_vectors`` knows; others are
            metadata.
    """

    vectors: NDArray[np.float32]
    columns: dict[str, list[Any]]


def add_rows(catalog: Any, rows: Iterable[Rows], *, model: str | None = None) -> Added:
    """Adds rows to a catalog as ``add_vectors`` does, and returns the counts.

    Args:
        catalog: An :class:`plushie_search.Engine` or another catalog with its methods. Its model must be the one that
            the vectors are of; for those of a model that is not here, open a catalog with ``dim=``.
        rows: The rows.
        model: The name of the catalog's model, if it has several that are given one after another.

    Raises:
        ArgumentError: The vectors are of another dimension, or a row cannot be stored; batches before it are.
    """
    total = Added(0, 0, 0)
    for some in rows:
        count = len(some.vectors)
        cells = take_cells({name: _values(name, values) for name, values in some.columns.items()}, count)
        if cells.ids is None:
            raise ArgumentError("the rows have no ids: give a column id, item or key")
        given = {name: value for name, value in vars(cells).items() if name != "ids" and value is not None}
        vectors: Any = some.vectors if model is None else {model: some.vectors}
        added = catalog.add_vectors(list(cells.ids), vectors, **given)
        total = Added(
            total.references + added.references,
            total.duplicates + added.duplicates,
            total.replaced + added.replaced,
        )
    return total


def catalog_rows(catalog: Any, *, model: str | None = None, where: Mapping[str, Any] | None = None) -> Iterator[Rows]:
    """Yields the references of a catalog with their vectors of a model, the first by default."""
    columns: dict[str, list[Any]] = {}
    vectors: list[NDArray[np.float32]] = []
    for item in catalog.iterate(where):
        for reference in item.references:
            row = {
                "id": item.id,
                "reference": reference.name,
                "digest": reference.digest,
                "label": item.label,
                "text": item.text,
                "metadata": json.dumps(item.metadata, ensure_ascii=False),
            }
            for name, value in row.items():
                columns.setdefault(name, []).append(value)
        vectors.append(catalog.vectors(item.id, model=model))
        if len(columns["id"]) >= BATCH:
            yield Rows(np.concatenate(vectors), columns)
            columns, vectors = {}, []
    if vectors:
        yield Rows(np.concatenate(vectors), columns)


# Chroma


def chroma_rows(collection: Any) -> Iterator[Rows]:
    """Yields the rows of a collection of Chroma: its documents are texts, its URIs references."""
    start = 0
    while True:
        found = collection.get(limit=BATCH, offset=start, include=["embeddings", "metadatas", "documents", "uris"])
        count = len(found["ids"])
        if not count:
            return
        columns = _columns(found["metadatas"] or [None] * count)
        columns.setdefault("id", list(found["ids"]))
        for name, values in (("text", found.get("documents")), ("reference", found.get("uris"))):
            if values is not None and any(value is not None for value in values):
                columns.setdefault(name, list(values))
        yield Rows(np.asarray(found["embeddings"], np.float32), columns)
        start += count


def to_chroma(rows: Iterable[Rows], collection: Any) -> int:
    """Writes rows into a collection of Chroma, each with an id of its own, and returns how many."""
    done = 0
    for some in rows:
        facts = _records(some)
        collection.upsert(ids=[_key(one) for one in facts], embeddings=some.vectors, metadatas=facts)
        done += len(facts)
    return done


# LanceDB


def lance_rows(table: Any, column: str = "vector") -> Iterator[Rows]:
    """Yields the rows of a table of LanceDB, whose vectors are in a column.

    Raises:
        ArgumentError: There is no such column.
    """
    for batch in table.to_arrow().to_batches(max_chunksize=BATCH):
        yield _of_arrow(batch, column)


def to_lance(rows: Iterable[Rows], database: Any, name: str) -> Any:
    """Writes rows into a new table of a LanceDB database, and returns it; None if there are no rows."""
    table = None
    for some in rows:
        if table is None:
            table = database.create_table(name, _to_arrow(some))
        else:
            table.add(_to_arrow(some))
    return table


# Qdrant


def qdrant_rows(client: Any, collection: str, vector: str | None = None) -> Iterator[Rows]:
    """Yields the points of a collection of Qdrant; of several vectors, those of the name ``vector``.

    Raises:
        ArgumentError: Points have several vectors and none is named.
    """
    offset = None
    while True:
        points, offset = client.scroll(collection, limit=BATCH, offset=offset, with_payload=True, with_vectors=True)
        if points:
            columns = _columns([point.payload for point in points])
            columns.setdefault("id", [str(point.id) for point in points])
            yield Rows(np.array([_named(point.vector, vector) for point in points], np.float32), columns)
        if offset is None:
            return


def to_qdrant(rows: Iterable[Rows], client: Any, collection: str) -> int:
    """Writes rows into a collection of Qdrant, made if it does not exist, and returns how many.

    Raises:
        ImportError: ``qdrant_client`` is not installed.
    """
    from qdrant_client import models

    done = 0
    for some in rows:
        if not client.collection_exists(collection):
            params = models.VectorParams(size=some.vectors.shape[1], distance=models.Distance.COSINE)
            client.create_collection(collection, vectors_config=params)
        points = [
            models.PointStruct(id=str(uuid.uuid5(uuid.NAMESPACE_OID, _key(one))), vector=vector.tolist(), payload=one)
            for one, vector in zip(_records(some), some.vectors, strict=True)
        ]
        client.upsert(collection, points, wait=True)
        done += len(points)
    return done


def _named(vector: Any, name: str | None) -> Any:
    if not isinstance(vector, Mapping):
        return vector
    if name is None and len(vector) != 1:
        raise ArgumentError(f"points have the vectors {', '.join(vector)}: name one as vector=")
    return vector[name or next(iter(vector))]


# Datasets of Hugging Face


def dataset_rows(dataset: Any, column: str = "vector") -> Iterator[Rows]:
    """Yields the rows of a ``datasets.Dataset`` whose vectors are in a column.

    Raises:
        ArgumentError: There is no such column.
    """
    for table in dataset.with_format("arrow").iter(BATCH):
        yield _of_arrow(table, column)


def to_dataset(rows: Iterable[Rows]) -> Any:
    """Returns rows as a ``datasets.Dataset`` with the column ``vector``.

    Raises:
        ImportError: ``datasets`` is not installed.
    """
    import datasets
    import pyarrow as pa

    tables = [_to_arrow(some) for some in rows]
    return datasets.Dataset(pa.concat_tables(tables)) if tables else datasets.Dataset.from_dict({})


def encode_column(dataset: Any, encoder: Any, *, column: str = "image", out: str = "vector", batch: int = 64) -> Any:
    """Returns a ``datasets.Dataset`` with the vectors of its pictures, or of its texts, in a further column.

    Args:
        dataset: The dataset.
        encoder: An encoder of :func:`plushie_search.open_encoder`.
        column: The column of pictures (PIL images, paths or bytes), or of texts if its values are texts.
        out: The column of vectors: lists of float32.
        batch: Rows that are encoded together.

    Raises:
        PictureError: A picture cannot be read.
    """
    is_text = getattr(dataset.features[column], "dtype", None) in ("string", "large_string")
    encode = encoder.encode_texts if is_text else encoder.encode_images

    def vectors(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        return {out: list(encode(list(rows[column])))}

    return dataset.map(vectors, batched=True, batch_size=batch)


# Columns


def _of_arrow(table: Any, column: str) -> Rows:
    names = list(table.schema.names)
    if column not in names:
        raise ArgumentError(f"there is no column {column!r}, but {', '.join(names)}: name the column of vectors")
    vectors = np.array(table.column(names.index(column)).to_pylist(), np.float32)
    rest = {name: table.column(place).to_pylist() for place, name in enumerate(names) if name != column}
    return Rows(vectors, rest)


def _to_arrow(rows: Rows) -> Any:
    """Returns rows as a table of Arrow with the column ``vector``."""
    import pyarrow as pa

    # A batch in which no row has a label has a column of texts, too.
    columns = {
        name: pa.array(values, pa.string() if all(one is None or isinstance(one, str) for one in values) else None)
        for name, values in rows.columns.items()
    }
    flat = pa.array(np.ascontiguousarray(rows.vectors, np.float32).ravel())
    return pa.table({**columns, "vector": pa.FixedSizeListArray.from_arrays(flat, rows.vectors.shape[1])})


def _columns(records: Sequence[Mapping[str, Any] | None]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for record in records for name in record or {})
    return {name: [(record or {}).get(name) for record in records] for name in names}


def _records(rows: Rows) -> list[dict[str, Any]]:
    """Returns a dict for each row, without what it lacks."""
    cells = zip(*rows.columns.values(), strict=True)
    return [{name: value for name, value in zip(rows.columns, row, strict=True) if value is not None} for row in cells]


def _key(record: Mapping[str, Any]) -> str:
    return f"{record['id']}/{record.get('digest') or record.get('reference', '')}"


def _values(name: str, values: list[Any]) -> list[Any]:
    """Returns a column, whose metadata may be JSON in texts."""
    if name != "metadata":
        return values
    return [json.loads(value) if isinstance(value, str) else value for value in values]
