"""Reads the fields of a faiss index file, each checked against the bytes that the file has left."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError


class Fields:
    """The bytes of an index file, read from the beginning to the end. Nothing is allocated that the file does not hold.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._bytes: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
        except ValueError as error:  # an empty file
            raise ArgumentError(f"{path}: is empty; write the index again by faiss.write_index") from error
        self.at = 0

    def number(self, kind: str) -> Any:
        """Reads a number of one of struct's kinds."""
        return struct.unpack(f"<{kind}", self._take(struct.calcsize(f"<{kind}")).tobytes())[0]

    def code(self) -> str:
        """Reads the four characters of the next type."""
        return self._take(4).tobytes().decode("latin-1")

    def count(self, what: str, most: int) -> int:
        """Reads a count of 64 bits that is at most ``most``."""
        number = int(self.number("Q"))
        if number > most:
            raise self.damaged(f"{what}: {number} are more than there can be")
        return number

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        """Reads so many numbers, without a copy."""
        kind = np.dtype(dtype)
        return self._take(count * kind.itemsize).view(kind)

    def vector(self, dtype: str) -> NDArray[Any]:
        """Reads a count and so many numbers."""
        return self.array(dtype, int(self.number("Q")))

    def damaged(self, reason: str) -> ArgumentError:
        """Returns the error that the file is damaged."""
        return ArgumentError(
            f"{self.path}: is damaged or no index of faiss ({reason}); write it again by faiss.write_index"
        )

    def _take(self, size: int) -> NDArray[np.uint8]:
        end = self.at + size
        if size < 0 or end > len(self._bytes):
            raise self.damaged(f"it ends after {len(self._bytes)} bytes, and byte {end} is needed")
        self.at, start = end, self.at
        return self._bytes[start:end]
