"""Files of ann-benchmarks (Aumüller et al. 2018), which have queries and their best rows beside the vectors."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from .._core import ArgumentError
from ..exchange.hdf5 import Hdf5

Metric: TypeAlias = Literal["cosine", "ip", "l2"]
#: The metrics by the names that the files have for them.
DISTANCES: dict[str, Metric] = {"angular": "cosine", "dot": "ip", "euclidean": "l2"}


class Part(Hdf5):
    """A data set of such a file by its name: ``test``, the queries, or ``neighbors``, their best rows.

    Raises:
        ArgumentError: It is no matrix of numbers, or is in another file.
    """

    def __init__(self, path: str, name: str) -> None:
        self._wanted = name
        super().__init__(path)

    def _chosen(self, file: Any) -> tuple[str, Any]:
        import h5py

        link = file.get(self._wanted, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            raise ArgumentError(f"{self.path}: {self._wanted} is in another file, {link.filename!r}: give that one")
        return self._wanted, file[self._wanted]


def described(path: str) -> tuple[list[str], Metric | None]:
    """Returns the names of a file's data sets, and the metric by which they were made; None if it does not tell.

    Raises:
        ArgumentError: Nothing here compares by that metric.
    """
    import h5py

    with h5py.File(path, "r") as file:
        names, told = list(file), file.attrs.get("distance")
    if told is None:
        return names, None
    if str(told) not in DISTANCES:
        raise ArgumentError(f"{path}: is of the distance {told!r}: give a file of {', '.join(DISTANCES)}")
    return names, DISTANCES[str(told)]
