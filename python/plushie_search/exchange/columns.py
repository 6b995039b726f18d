"""References as rows of a parquet file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .batch import SourceModel
from .parquet import MODELS, parquet_module


class ParquetRows:
    """A parquet file with a row for each reference: id, label, text, metadata (JSON), name, digest, view, vectors."""

    pictures = 0

    def __init__(self, path: Path, models: Sequence[SourceModel], dims: Sequence[int]) -> None:
        module = parquet_module(str(path))
        import pyarrow as pa

        many = len(models) > 1
        self._names = [f"vector-{number}" if many else "vector" for number in range(1, len(models) + 1)]
        self._dims = dims
        texts = [pa.field(name, pa.string()) for name in ("id", "label", "text", "metadata", "reference", "digest")]
        vectors = [pa.field(name, pa.list_(pa.float32(), dim)) for name, dim in zip(self._names, dims, strict=True)]
        told = [{**vars(model), "column": name} for model, name in zip(models, self._names, strict=True)]
        self._facts = [*texts, pa.field("view", pa.int64())]
        self._schema = pa.schema([*self._facts, *vectors], {MODELS: json.dumps(told).encode()})
        self._writer = module.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=["label"])

    def write(self, items: Sequence[Any], vectors: Sequence[NDArray[np.float32]]) -> None:
        """Writes the references of some items."""
        import pyarrow as pa

        rows = []
        for id, label, text, metadata, references in items:
            told = json.dumps(metadata, ensure_ascii=False)
            rows += [(id, label, text, told, name, digest, view) for name, digest, view, _ in references]
        if not rows:
            return
        columns = [
            pa.array(list(column), field.type)
            for column, field in zip(zip(*rows, strict=True), self._facts, strict=True)
        ]
        for some, dim in zip(vectors, self._dims, strict=True):
            columns.append(pa.FixedSizeListArray.from_arrays(pa.array(some.reshape(-1)), dim))
        self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()
