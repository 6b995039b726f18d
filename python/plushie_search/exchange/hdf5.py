"""The matrix of an HDF5 file, as ann-benchmarks publishes them (Aumüller et al. 2018): the data set ``train``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from .matrices import check_shape, told

#: The data sets that are the vectors.
VECTORS = ("train", "vectors", "embeddings", "base")
#: The most bytes of a chunk, which is unpacked whole, and the most that packing can save.
LARGEST_CHUNK, PACKED = 128 << 20, 1100


class Hdf5:
    """The vectors of an HDF5 file. Data sets of which the numbers are in other files are refused.

    Raises:
        ImportError: h5py is not installed.
        ArgumentError: It is damaged, or has no data set of vectors.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with self._open() as file:
            try:
                self._name, found = self._chosen(file)
                shape, kind = getattr(found, "shape", None) or (), getattr(getattr(found, "dtype", None), "kind", "")
                if len(shape) != 2 or kind not in "fiu" or not kind:
                    raise ArgumentError(f"{path}: {self._name} is no matrix of numbers of shape (n, dim)")
                self.rows, self.dim = (int(number) for number in shape)
                check_shape(path, self.rows, self.dim)
                self._check_storage(found)
            except ArgumentError:
                raise
            except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
                raise self._damaged(error) from error

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        with self._open() as file:
            for start in range(0, self.rows, size):
                try:
                    block = np.asarray(file[self._name][start : start + size])
                except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
                    raise self._damaged(error) from error
                yield block

    def _chosen(self, file: Any) -> tuple[str, Any]:
        """Returns the name of the data set of vectors, and what it names. A link to another file is not followed."""
        import h5py

        for name in VECTORS:
            link = file.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise ArgumentError(f"{self.path}: {name} is in another file, {link.filename!r}: give that one")
            if link is not None:
                return name, file[name]
        raise ArgumentError(f"{self.path}: has no data set named {' or '.join(VECTORS)}, but {', '.join(file)[:200]}")

    def _check_storage(self, found: Any) -> None:
        """Refuses numbers of other files, chunks that fill the memory, and rows of which the file has no numbers."""
        if found.external or found.is_virtual:
            raise ArgumentError(
                f"{self.path}: the numbers of {self._name} are in other files: write them into this one"
            )
        chunk = math.prod(found.chunks or ()) * found.dtype.itemsize
        if found.chunks and chunk > LARGEST_CHUNK:
            raise ArgumentError(
                f"{self.path}: {self._name} has chunks of {chunk >> 20} MB: write it again in chunks of 1 MB"
            )
        stored = int(found.id.get_storage_size())
        if self.rows * self.dim * found.dtype.itemsize > PACKED * stored:
            raise ArgumentError(
                f"{self.path}: {self._name} has {self.rows} rows of {self.dim} numbers, and {stored} bytes of them are "
                "stored: it is not complete; write it again"
            )

    def _open(self) -> Any:
        try:
            import h5py
        except ImportError as error:
            raise ImportError(f"{self.path} is read by an extra: pip install 'plushie_search[exchange]'") from error
        try:
            return h5py.File(self.path, "r")
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> ArgumentError:
        return ArgumentError(f"{self.path}: cannot be read as HDF5 ({told(error)}); download it again")
