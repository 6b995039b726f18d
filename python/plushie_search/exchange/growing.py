"""Files that grow by rows, and whose beginning tells at the end how many they have."""

from __future__ import annotations

import json
import struct
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: The bytes before the numbers of an .npy file, a multiple of 64.
HEADER = 128


class _GrowingRows(ABC):
    """Rows of float32 behind a header that has their number."""

    def __init__(self, path: Path, dim: int) -> None:
        self._dim, self._rows = dim, 0
        self._file = open(path, "wb")  # noqa: SIM115  (closed by `close`)
        self._file.write(self._header())

    def add(self, rows: NDArray[np.float32]) -> None:
        """Appends rows of shape (n, dim)."""
        self._file.write(np.ascontiguousarray(rows, "<f4").data)
        self._rows += len(rows)

    def close(self) -> None:
        """Writes the number of rows, and closes the file."""
        with self._file:
            self._file.seek(0)
            self._file.write(self._header())

    @abstractmethod
    def _header(self) -> bytes: ...


class GrowingMatrix(_GrowingRows):
    """A matrix of float32 in an .npy file (NumPy Enhancement Proposal 1)."""

    def _header(self) -> bytes:
        told = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self._rows}, {self._dim}), }}"
        length = HEADER - 10
        return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + told.ljust(length - 1).encode() + b"\n"


class GrowingIndex(_GrowingRows):
    """A flat index by inner products in a file of faiss (``IndexFlatIP``)."""

    def _header(self) -> bytes:
        # The fields of faiss's write_index_header: two of them have no meaning, then trained, and the inner product.
        fields = struct.pack("<iqqqBi", self._dim, self._rows, 1 << 20, 1 << 20, 1, 0)
        return b"IxFI" + fields + struct.pack("<Q", self._rows * self._dim)


class TextList:
    """A JSON list of texts, one on each line."""

    def __init__(self, path: Path) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115  (closed by `close`)
        self._before = "[\n"

    def add(self, text: str) -> None:
        """Appends a text."""
        self._file.write(self._before + json.dumps(text, ensure_ascii=False))
        self._before = ",\n"

    def close(self) -> None:
        """Ends the list, and closes the file."""
        with self._file:
            self._file.write("\n]\n" if self._before == ",\n" else "[]\n")
