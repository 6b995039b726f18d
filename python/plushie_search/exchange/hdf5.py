"""The matrix of an HDF5 file, as ann-benchmarks publishes them (Aumüller et al. 2018): the data set ``train``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from .matrices import check_shape

#: The data sets that are the vectors.
VECTORS = ("train", "vectors", "embeddings", "base")


class Hdf5:
    """The vectors of an HDF5 file.

    Raises:
        ImportError: h5py is not installed.
        ArgumentError: It is damaged, or has no data set of vectors.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with self._open() as file:
            names = [name for name in VECTORS if name in file]
            if not names:
                raise ArgumentError(
                    f"{path}: has no data set named {' or '.join(VECTORS)}, but {', '.join(file)[:200]}"
                )
            self._name = names[0]
            found = file[self._name]
            shape, kind = getattr(found, "shape", ()), getattr(getattr(found, "dtype", None), "kind", "")
            if len(shape) != 2 or kind not in "fiu" or not kind:
                raise ArgumentError(f"{path}: {self._name} is no matrix of numbers of shape (n, dim)")
            self.rows, self.dim = (int(number) for number in shape)
        check_shape(path, self.rows, self.dim)

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        with self._open() as file:
            for start in range(0, self.rows, size):
                try:
                    yield np.asarray(file[self._name][start : start + size])
                except OSError as error:
                    raise self._damaged(error) from error

    def _open(self) -> Any:
        try:
            import h5py
        except ImportError as error:
            raise ImportError(f"{self.path} is read by an extra: pip install 'plushie_search[exchange]'") from error
        try:
            return h5py.File(self.path, "r")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: OSError) -> ArgumentError:
        return ArgumentError(f"{self.path}: cannot be read as HDF5 ({error}); download it again")
