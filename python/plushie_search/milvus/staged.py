"""A small catalog of this process, through which all that Milvus is to store goes first.

It encodes pictures, checks vectors, ids and metadata, and gives digests, as every catalog does, before anything is
sent.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, hub


@dataclass(frozen=True, slots=True)
class Staged:
    """An item that is to be stored.

    Attributes:
        id: The item's id.
        label: The item's label; None if it was not given, and so are the next two.
        text: The item's text.
        metadata: The item's metadata.
        references: Name, digest and view of each reference.
        vectors: The unit vectors of the references by each model: float32 of shape (references, dim).
    """

    id: str
    label: str | None
    text: str | None
    metadata: dict[str, Any]
    references: list[tuple[str, str, str | None]]
    vectors: list[NDArray[np.float32]]


class Stage:
    """A catalog in a temporary directory, empty between calls.

    Args:
        encoders: The models by their names.
        dim: The dimension of vectors without a model.
        threads: The most threads.
    """

    def __init__(self, encoders: Sequence[Any], *, dim: int | None, threads: int | None) -> None:
        device = hub.load_device("cpu")
        self._directory = tempfile.mkdtemp(prefix="plushie_search-")
        try:
            self.core = _core.Engine(
                f"{self._directory}/catalog",
                encoders,
                dim=dim,
                absent=[],
                create=True,
                threads=threads,
                read_only=False,
                busy_timeout=30.0,
                durability="relaxed",
                thumbnails=False,
                media=False,
                crops=None,
                views=None,
                index="exact",
                recall=None,
                memory=None,
                index_device=device,
            )
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    def take(self) -> list[Staged]:
        """Returns the items that were added, in their order."""
        names = self.core.models
        rows = self.core.items(where=None, limit=None, offset=0)
        if not rows:
            return []
        galleries = [self.core.gallery(where=None, model=name) for name in names]
        places = {id: place for place, id in enumerate(galleries[0][0])}
        items = galleries[0][2]
        order = np.argsort(items, kind="stable")
        starts = np.searchsorted(items[order], np.arange(len(places) + 1))
        found = []
        for id, label, text, metadata, references in rows:
            place = places[id]
            own = order[starts[place] : starts[place + 1]]
            found.append(
                Staged(
                    id,
                    label,
                    text,
                    metadata,
                    [(galleries[0][3][row], galleries[0][4][row], galleries[0][5][row]) for row in own.tolist()]
                    if len(references) == len(own)
                    else list(references),
                    [gallery[6][own] for gallery in galleries],
                )
            )
        return found

    def clear(self) -> None:
        """Forgets all items."""
        if held := [row[0] for row in self.core.items(where=None, limit=None, offset=0)]:
            self.core.remove(list(held))

    def close(self) -> None:
        """Closes the catalog and removes its directory."""
        self.core.close()
        shutil.rmtree(self._directory, ignore_errors=True)
