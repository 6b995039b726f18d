"""Computes what a catalog needs: memory, disk and machines, here and in a cluster of Milvus."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from .._core import ArgumentError

#: References that are compared one by one; beyond, there is an approximate index.
EXACT = 100_000
#: Bytes of an approximate index for each reference, without its codes, and those of a reference in the tables of a
#: catalog without vectors, thumbnails and metadata: `benches/growth.py` on 10^6 × 512, and `benches/size.py`.
INDEXED, STORED = 90, 400
#: Seconds of a processor core to build an index, and milliseconds of a search in cold caches, for each 10^6 references
#: of 256 numbers at recall 0.98: `benches/ann.py` on 10^6 × 512, of which each is a half.
BUILD, SEARCH = 138.0, 0.3
#: The power of the references by which the time of a build grows: each is compared with the lists, whose number grows
#: with the power 0.65.
GROWTH = 1.65
#: The share of a machine's memory that is planned with.
USED = 0.7
#: Links of a node of Milvus's HNSW, and the share of the vectors that DISKANN keeps in memory.
LINKS, CACHED = 32, 0.25
#: Memory of the other services of a cluster: coordinators, proxies, etcd, object storage, message queue.
SERVICES = 32e9


@dataclass(frozen=True, slots=True)
class Size:
    """The memory, disk and machines that a catalog needs.

    Attributes:
        references: References in all.
        vectors: Bytes of all vectors.
        index: The index of the local engine.
        memory: Bytes of memory of the local engine's index.
        disk: Bytes of the catalog's directory, without thumbnails and originals.
        build: Hours to build the index with the cores of the machine.
        search: Milliseconds of a search on one core.
        fits: Whether one machine of the given memory holds it, with vectors as pages of files.
        milvus_index: The index of Milvus that is computed with.
        milvus_memory: Bytes of memory of all query nodes.
        milvus_disk: Bytes of object storage and of the query nodes' disks.
        milvus_nodes: Query nodes of the given memory, without replicas.
        largest: The most items of this kind that one machine holds.
    """

    references: int
    vectors: float
    index: str
    memory: float
    disk: float
    build: float
    search: float
    fits: bool
    milvus_index: str
    milvus_memory: float
    milvus_disk: float
    milvus_nodes: int
    largest: int

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        one = "one machine holds it" if self.fits else f"one machine ends at {self.largest:.2g} items"
        rows = [
            f"{self.references:.3g} references, {_bytes(self.vectors)} of vectors: {one}",
            f"  plushie_search  {self.index}: {_bytes(self.memory)} memory, {_bytes(self.disk)} disk, "
            f"{self.build:.2g} hours to build, {self.search:.2g} ms of a core for a search",
            f"  Milvus          {self.milvus_index}: {_bytes(self.milvus_memory)} memory on {self.milvus_nodes} query "
            f"node{'s' * (self.milvus_nodes != 1)}, {_bytes(self.milvus_disk)} disk, and {_bytes(SERVICES)} memory for "
            "other services",
        ]
        return "\n".join(rows)


def size(
    items: float, *, dim: int = 512, references: float = 1, recall: float = 0.98, memory: float = 64e9, cores: int = 16
) -> Size:
    """Returns what a catalog needs. docs/scaling.md has the arithmetic.

    Args:
        items: How many items.
        dim: The dimension of the vectors of all models together.
        references: References of an item, on average.
        recall: The share of the exact best 10 items to find.
        memory: Bytes of memory of a machine, or of a query node.
        cores: Its cores.

    Raises:
        ArgumentError: A number is not above 0, or ``recall`` above 1.
    """
    if not (min(items, dim, references, recall, memory, cores) > 0 and recall <= 1 and math.isfinite(items)):
        raise ArgumentError("items, dim, references, recall, memory and cores must be above 0, and recall at most 1")
    count = math.ceil(items * references)
    exact = count <= EXACT
    of_one = 4 * dim if exact else dim / 4 + INDEXED
    need = count * of_one
    vectors = 4.0 * dim * count
    disk = count * (4.0 * dim + STORED) + (0 if exact else vectors + count * dim / 4)
    # A search looks at more of an index for a higher recall: about in proportion to the logarithm of what it may miss.
    effort = 1.0 if recall >= 1 else math.log(1 - recall) / math.log(0.02)
    # The number of lists grows with the square root of the references, and so does what is compared of them.
    per_search = 1.5e-4 * dim / 256 * count / 1000 if exact else SEARCH * (dim / 256) * (count / 1e6) ** 0.5 * effort
    links = count * (4 * dim + 8 * LINKS)
    on_disk = links > 8 * memory * USED
    needed = vectors * CACHED if on_disk else float(links)
    return Size(
        references=count,
        vectors=vectors,
        index="exact" if exact else "IVF with 4-bit codes",
        memory=need,
        disk=disk,
        build=0.0 if exact else BUILD / 3600 * (count / 1e6) ** GROWTH * dim / 256 / cores,
        search=per_search,
        fits=need <= memory * USED,
        milvus_index="DISKANN" if on_disk else "HNSW",
        milvus_memory=needed,
        milvus_disk=2 * vectors if on_disk else vectors,
        milvus_nodes=max(1, math.ceil(needed / (memory * USED))),
        largest=int(memory * USED / (dim / 4 + INDEXED) / references),
    )


def _bytes(count: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"
