"""Folders of clip-retrieval (rom1504/clip-retrieval, `clip inference`): `img_emb/*.npy` with `metadata/*.parquet`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from .._core import ArgumentError
from .batch import Batch, SourceModel, take_cells
from .matrices import Mapped, read_npy
from .parquet import open_parquet, tables


class ClipRetrieval:
    """The vectors of pictures of such a folder; those of its texts are passed over.

    Raises:
        ImportError: pyarrow is not installed.
        ArgumentError: A file is damaged, or the numbers of rows or files differ.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.models: Sequence[SourceModel] = ()
        vectors = _numbered(Path(path, "img_emb"), ".npy")
        facts = _numbered(Path(path, "metadata"), ".parquet")
        if not vectors or vectors.keys() != facts.keys():
            raise ArgumentError(
                f"{path}: has the files {sorted(vectors)} in img_emb and {sorted(facts)} in metadata: copy both "
                "folders whole"
            )
        self._shards: list[tuple[Mapped, str]] = []
        for number in sorted(vectors):
            matrix = read_npy(str(vectors[number]))
            rows = open_parquet(str(facts[number])).metadata.num_rows
            if rows != matrix.rows:
                raise ArgumentError(
                    f"{matrix.path}: has {matrix.rows} rows and {facts[number]} {rows}: copy both again"
                )
            self._shards.append((matrix, str(facts[number])))
        dims = {matrix.dim for matrix, _ in self._shards}
        if len(dims) > 1:
            raise ArgumentError(
                f"{path}: the files of img_emb have vectors of {sorted(dims)} numbers: give one model's"
            )
        self.dim = dims.pop()
        self.rows = sum(matrix.rows for matrix, _ in self._shards)

    def batches(self, size: int) -> Iterator[Batch]:
        before = 0
        for matrix, facts in self._shards:
            for start, table in tables(facts, size):
                columns = {name: table.column(place).to_pylist() for place, name in enumerate(table.schema.names)}
                numbers = range(before + start, before + start + len(table))
                cells = take_cells(columns, len(table))
                yield Batch({None: matrix.part(start, start + len(table))}, numbers, cells)
            before += matrix.rows


def _numbered(folder: Path, ending: str) -> dict[int, Path]:
    """The files of a folder by the numbers in their names."""
    found = {}
    for path in folder.glob(f"*{ending}"):
        if digits := re.findall(r"\d+", path.stem):
            found[int(digits[-1])] = path
    return found
