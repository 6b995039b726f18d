"""Opens a source of vectors by its ending, its folders or the format that is named."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from ..paths import expanded
from .batch import Batch, Cells, Source, SourceModel, take_cells
from .clip_retrieval import ClipRetrieval
from .copies import MANIFEST, Copy
from .faiss_file import FaissFile
from .hdf5 import Hdf5
from .labels import UNPICKLE, Labels, read_labels
from .matrices import Matrix, Vecs, Zipped, check_file, read_npy
from .parquet import Parquet

SourceFormat: TypeAlias = Literal[
    "npy", "npz", "parquet", "fvecs", "bvecs", "hdf5", "clip-retrieval", "faiss", "export"
]
#: The formats by the endings of files.
ENDINGS: dict[str, SourceFormat] = {
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".fvecs": "fvecs",
    ".bvecs": "bvecs",
    ".hdf5": "hdf5",
    ".h5": "hdf5",
    ".faiss": "faiss",
    ".index": "faiss",
}
FORMATS: tuple[SourceFormat, ...] = (*dict.fromkeys(ENDINGS.values()), "clip-retrieval", "export")


class Matrices:
    """A matrix of vectors, with what labels say of its rows."""

    def __init__(self, matrix: Matrix, labels: list[Labels]) -> None:
        self.path, self.rows, self.dim = matrix.path, matrix.rows, matrix.dim
        self.models: Sequence[SourceModel] = ()
        self._matrix, self._labels = matrix, labels
        for told in labels:
            if told.is_listed and len(told) != matrix.rows:
                raise ArgumentError(
                    f"{told.path}: has {len(told)} entries for the {matrix.rows} rows of {matrix.path}: give one each"
                )
        columns = matrix.columns() if isinstance(matrix, Zipped) else {}
        self._columns = take_cells(columns, matrix.rows)

    def batches(self, size: int) -> Iterator[Batch]:
        start = 0
        for block in self._matrix.blocks(size):
            end = start + len(block)
            numbers: Sequence[int] | NDArray[np.int64] = range(start, end)
            places = numbers
            if isinstance(self._matrix, FaissFile):
                numbers, places = self._matrix.numbers(start, end), self._matrix.places(start, end)
            cells = Cells(**{name: value and value[start:end] for name, value in vars(self._columns).items()})
            for told in self._labels:
                cells = told.cells(places if told.is_listed else numbers).over(cells)
            yield Batch({None: block}, numbers, cells)
            start = end


def open_source(
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    labels: str | os.PathLike[str] | None = None,
    ids: str | os.PathLike[str] | None = None,
    column: str | None = None,
) -> Source:
    """Opens a source of vectors, and checks its header and sizes; see :meth:`plushie_search.Engine.import_vectors`.

    Raises:
        OSError: There is no such file or directory, or it cannot be read.
        ImportError: The format needs an extra.
        ArgumentError: The format is unknown, or the source is damaged or has no vectors.
    """
    path = expanded(path)
    kind = format or _format(path)
    told = [read_labels(file, ids=are_ids) for file, are_ids in ((labels, False), (ids, True)) if file is not None]
    if kind in ("parquet", "clip-retrieval", "export") and told:
        raise ArgumentError(f"{path}: says itself what its rows are: leave out {told[0].path}")
    if column is not None and kind != "parquet":
        raise ArgumentError(f"column {column!r}: columns are of parquet files, and {path} is none: leave it out")
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file or directory {path!r}")
    if kind == "export":
        return Copy(path)
    if kind == "clip-retrieval":
        return ClipRetrieval(path)
    if kind not in FORMATS:
        raise ArgumentError(f"format {kind!r}: give one of {', '.join(FORMATS)}")
    if kind == "parquet":
        check_file(path)
        return Parquet(path, column)
    return Matrices(open_matrix(path, kind), told)


def open_matrix(path: str, format: str | None = None) -> Matrix:
    """Opens a file that has a matrix alone: all formats but parquet, clip-retrieval and exports.

    Raises:
        OSError, ImportError, ArgumentError: As :func:`open_source`.
    """
    check_file(path)
    if path.lower().endswith(".ivecs"):
        return Vecs(path)
    kind = format or _format(path)
    if kind == "npy":
        return read_npy(path)
    if kind == "npz":
        return Zipped(path)
    if kind in ("fvecs", "bvecs"):
        return Vecs(path)
    if kind == "hdf5":
        return Hdf5(path)
    if kind == "faiss":
        return FaissFile(path)
    raise ArgumentError(f"{path}: is no file of a matrix: give .npy, .npz, .fvecs, .bvecs, .hdf5 or an index of faiss")


def _format(path: str) -> str:
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, MANIFEST)):
            return "export"
        if os.path.isdir(os.path.join(path, "img_emb")):
            return "clip-retrieval"
        raise ArgumentError(
            f"{path}: is neither an export, which has {MANIFEST}, nor of clip-retrieval, which has img_emb: name a "
            "file in it"
        )
    ending = os.path.splitext(path)[1].lower()
    if ending in (".pkl", ".pickle"):
        raise ArgumentError(f"{path}: {UNPICKLE}")
    if ending in ENDINGS:
        return ENDINGS[ending]
    if ending == ".ivecs":
        raise ArgumentError(f"{path}: holds numbers of rows and no vectors: give the .fvecs or .bvecs file beside it")
    raise ArgumentError(f"{path}: of which format is it? Name one of {', '.join(FORMATS)}")
