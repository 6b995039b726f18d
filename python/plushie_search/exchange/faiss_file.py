"""Vectors of index files of faiss (Johnson et al. 2019), read without faiss, whose reader can crash on damaged ones.

The layout is that of ``faiss/impl/index_write.cpp``, versions 1.5 to 1.15: a code of four characters, the fields of the
base class, those of the class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from .faiss_bytes import Fields
from .faiss_codes import Quantizer, read_quantizer
from .matrices import LONGEST

#: Indexes within indexes that are read.
DEEPEST = 4
#: What can be read, in words.
READ = "Flat, SQ, IVF with Flat or SQ, HNSW over these, and each with an IDMap"
#: Indexes with another in them that has the vectors, and the attribute of it in faiss.
KEEPERS = {"IxRF": "refine_index", "INSf": "storage", "INSs": "storage"}
#: The cure where faiss gives approximate vectors at most, or those of other rows, or crashes.
BUILD = (
    "import the vectors that it was built from, written by numpy.save, with a JSON list of their ids by --ids (ids= in "
    "Python)"
)


@dataclass
class Stored:
    """The vectors of an index.

    Attributes:
        dim: The numbers in each.
        rows: How many there are.
        read: Returns the vectors from one row to another, float32 of shape (rows, dim).
        ids: The id of each row: int64.
        places: The place of each row in a list of all: in the order in which they were added, or, of inverted lists,
            which do not tell it, by ascending ids.
    """

    dim: int
    rows: int
    read: Callable[[int, int], NDArray[np.float32]]
    ids: NDArray[np.int64]
    places: NDArray[np.int64]


class FaissFile:
    """The vectors of an index file.

    Those of scalar quantizers are what the codes stand for.

    Raises:
        OSError: The file cannot be read.
        ArgumentError: It is damaged, or an index from which vectors cannot be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        fields = Fields(path)
        self._stored = _read_index(fields, 0)
        self.rows, self.dim = self._stored.rows, self._stored.dim
        if not self.rows:
            raise ArgumentError(f"{path}: the index has no vectors: add some, and write it again")

    def numbers(self, start: int, end: int) -> NDArray[np.int64]:
        """Returns the ids of rows, by which faiss calls them."""
        return self._stored.ids[start:end]

    def places(self, start: int, end: int) -> NDArray[np.int64]:
        """Returns the places of rows in a list of all."""
        return self._stored.places[start:end]

    def part(self, start: int, end: int) -> NDArray[np.float32]:
        """Returns the rows from one to another."""
        return self._stored.read(start, min(end, self.rows))

    def blocks(self, size: int) -> Iterator[NDArray[np.float32]]:
        for start in range(0, self.rows, size):
            yield self.part(start, start + size)


def _read_index(fields: Fields, depth: int) -> Stored:
    code = fields.code()
    if depth == DEEPEST:
        raise fields.damaged(f"more than {DEEPEST} indexes in one another")
    if code in ("IxFI", "IxF2", "IxFl"):
        return _flat(fields)
    if code == "IxSQ":
        dim, rows = _header(fields)
        quantizer = read_quantizer(fields, dim)
        return _coded(dim, rows, quantizer, _codes(fields, rows, quantizer.code_size))
    if code in ("IwFl", "IwSq"):
        return _lists(fields, depth, quantized=code == "IwSq")
    if code in ("IHNf", "IHNs"):
        dim, rows = _header(fields)
        _skip_graph(fields)
        inner = _read_index(fields, depth + 1)
        if (inner.dim, inner.rows) != (dim, rows):
            raise fields.damaged("the graph and its vectors differ in number")
        return inner
    if code in ("IxMp", "IxM2"):
        dim, rows = _header(fields)
        inner = _read_index(fields, depth + 1)
        ids = fields.vector("<i8")
        if (inner.dim, inner.rows, len(ids)) != (dim, rows, rows):
            raise fields.damaged("the ids and the vectors differ in number")
        # The inner index numbers its rows in its own order.
        order = inner.ids
        if len(order) and not (int(order.min()) >= 0 and int(order.max()) < rows):
            raise fields.damaged("an id is beyond the rows")
        return Stored(dim, rows, inner.read, ids[order], order)
    raise _not_read(fields.path, code, depth)


def _not_read(path: str, code: str, depth: int) -> ArgumentError:
    """Returns the error that the vectors of an index cannot be read."""
    if code.startswith("IB"):
        return ArgumentError(f"{path}: its index ({code!r}) has bits, and no vectors of numbers: {BUILD}")
    if code in KEEPERS and not depth:
        return ArgumentError(
            f"{path}: its index ({code!r}) keeps its vectors in another: write that one by index = "
            f"faiss.read_index({path!r}); faiss.write_index(index.{KEEPERS[code]}, 'vectors.index') in Python, and "
            "import vectors.index"
        )
    return ArgumentError(
        f"{path}: its index ({code!r}) is none whose vectors can be read, which are {READ}; others mostly keep "
        f"approximations: {BUILD}"
    )


def _header(fields: Fields) -> tuple[int, int]:
    """Reads the fields of every index: dimension and number of rows."""
    dim, rows = fields.number("i"), fields.number("q")
    fields.number("q"), fields.number("q"), fields.number("B")
    metric = fields.number("i")
    if metric > 1:
        fields.number("f")
    if not 1 <= dim <= LONGEST or rows < 0:
        raise fields.damaged(f"{rows} rows of {dim} numbers")
    return dim, rows


def _flat(fields: Fields) -> Stored:
    dim, rows = _header(fields)
    numbers = fields.vector("<f4")
    if len(numbers) != rows * dim:
        raise fields.damaged(f"{len(numbers)} numbers for {rows} rows of {dim}")
    matrix = numbers.reshape(rows, dim)
    ids = np.arange(rows)
    return Stored(dim, rows, lambda start, end: np.asarray(matrix[start:end]), ids, ids)


def _coded(dim: int, rows: int, quantizer: Quantizer, codes: NDArray[np.uint8]) -> Stored:
    ids = np.arange(rows)
    return Stored(dim, rows, lambda start, end: quantizer.decode(codes[start:end]), ids, ids)


def _codes(fields: Fields, rows: int, size: int) -> NDArray[np.uint8]:
    codes = fields.vector("u1")
    if len(codes) != rows * size:
        raise fields.damaged(f"{len(codes)} bytes of codes for {rows} rows of {size}")
    return codes.reshape(rows, size)


def _lists(fields: Fields, depth: int, *, quantized: bool) -> Stored:
    dim, rows = _header(fields)
    count = int(fields.number("Q"))
    fields.number("Q")
    centers = _read_index(fields, depth + 1)
    if (centers.dim, centers.rows) != (dim, count):
        raise fields.damaged(f"{count} lists have {centers.rows} centers")
    kind = fields.number("B")
    fields.vector("<i8")
    if kind == 2:
        fields.vector("<i8,<i8")
    quantizer, residual = None, False
    if quantized:
        quantizer = read_quantizer(fields, dim)
        if fields.number("Q") != quantizer.code_size:
            raise fields.damaged("the lengths of the codes differ")
        residual = bool(fields.number("B"))
    size = quantizer.code_size if quantizer is not None else 4 * dim
    ends, codes, ids = _read_lists(fields, count, size)
    held = int(ends[-1]) if len(ends) else 0
    if held != rows:
        raise fields.damaged(f"its lists have {held} rows of {rows}")

    def read(start: int, end: int) -> NDArray[np.float32]:
        found = np.empty((end - start, dim), np.float32)
        number = int(np.searchsorted(ends, start, side="right"))
        at = start
        while at < end:
            first = int(ends[number - 1]) if number else 0
            stop = min(end, int(ends[number]))
            some = codes[number][at - first : stop - first]
            decoded = some.view("<f4") if quantizer is None else quantizer.decode(some)
            if residual:
                with np.errstate(all="ignore"):  # damaged numbers, which the import refuses
                    decoded = decoded + centers.read(number, number + 1)
            found[at - start : stop - start] = decoded
            at, number = stop, number + 1
        return found

    places = np.empty(rows, np.int64)
    places[np.argsort(ids, kind="stable")] = np.arange(rows)
    return Stored(dim, rows, read, ids, places)


def _read_lists(
    fields: Fields, count: int, size: int
) -> tuple[NDArray[Any], list[NDArray[np.uint8]], NDArray[np.int64]]:
    """Reads inverted lists: where each ends, and its codes; and the ids of all."""
    code = fields.code()
    if code != "ilar":
        raise ArgumentError(f"{fields.path}: its lists ({code!r}) are in another file or of another kind: {BUILD}")
    if (fields.number("Q"), fields.number("Q")) != (count, size):
        raise fields.damaged("the lists differ from their header")
    kind, numbers = fields.code(), fields.vector("<u8")
    sizes = np.zeros(count, np.uint64)
    if kind == "full" and len(numbers) == count:
        sizes[:] = numbers
    elif kind == "sprs" and len(numbers) % 2 == 0 and (not len(numbers) or int(numbers[::2].max()) < count):
        sizes[numbers[::2].astype(np.int64)] = numbers[1::2]
    else:
        raise fields.damaged("the lengths of its lists")
    codes, ids = [], [np.zeros(0, np.int64)]
    for length in sizes.tolist():
        codes.append(fields.array("u1", length * size).reshape(length, size))
        ids.append(fields.array("<i8", length))
    return np.cumsum([len(one) for one in codes]), codes, np.concatenate(ids)


def _skip_graph(fields: Fields) -> None:
    """Passes over the links of an HNSW index."""
    for dtype in ("<f8", "<i4", "<i4", "<u8", "<i4"):
        fields.vector(dtype)
    for _ in range(5):
        fields.number("i")
