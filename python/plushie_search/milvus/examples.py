"""The references of a collection as `classify` reads those of a catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .schema import Space
from .store import Row, Store
from .terms import expression


class Examples:
    """A catalog as the functions of ``answers`` see it: models of this process, references of a collection.

    Args:
        core: The models.
        store: The collection.
        spaces: The fields of the models by their names.
    """

    def __init__(self, core: _core.Engine, store: Store, spaces: dict[str, Space]) -> None:
        self._store, self._spaces = store, spaces
        self.image_model, self.text_model = core.image_model, core.text_model
        self.stats: Callable[[], dict[str, Any]] = core.stats
        self.encode_images = core.encode_images
        self.encode_texts = core.encode_texts
        self.unreadable = core.unreadable

    def gallery(
        self, *, where: Any, model: str | None
    ) -> tuple[
        list[str],
        list[str | None],
        NDArray[np.int64],
        list[str],
        list[str],
        list[str | None],
        NDArray[np.float32],
    ]:
        """Returns all references of the items that fit, in the order in which they were added."""
        space = self._spaces[model or next(iter(self._spaces))]
        fields = ["item", "label", "since", "added", "name", "digest", "view", space.field]
        rows: list[Row] = sorted(
            self._store.each(expression(where), fields), key=lambda row: (row["since"], row["added"])
        )
        labels: dict[str, str | None] = {}
        for row in rows:
            labels.setdefault(row["item"], row["label"])
        places = {id: place for place, id in enumerate(labels)}
        vectors: Sequence[Any] = [row[space.field] for row in rows]
        return (
            list(labels),
            list(labels.values()),
            np.array([places[row["item"]] for row in rows], np.int64),
            [row["name"] for row in rows],
            [row["digest"] for row in rows],
            [row["view"] or None for row in rows],
            np.array(vectors, np.float32).reshape(len(rows), space.dimension),
        )
