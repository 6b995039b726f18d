"""How the items of a collection are added, changed and removed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from types import EllipsisType
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._core import ArgumentError, UnknownItemError
from ..engine import Added
from ..log import logger
from ..paths import expanded
from ..query import listed
from ..results import Reference, Report
from ..rows import Row as ItemRow
from ..rows import to_rows
from ..searcher import UnsupportedError
from ..show.progress import shown
from .items import ItemMethods, reference_of
from .staged import Stage
from .writing import BATCH

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._core import _Image as ImageLike
    from ..query import Text, Where
    from ..searcher import Progress

#: Pictures that are encoded together.
PICTURES = 256


class AddingMethods(ItemMethods):
    """Adds, changes and removes items."""

    def add(
        self,
        id: Text,
        *,
        images: ImageLike | Sequence[ImageLike] = (),
        names: str | Sequence[str | None] | None = None,
        label: Text | None = None,
        metadata: Mapping[str, Any] | None = None,
        text: Text | None = None,
        upsert: bool = False,
    ) -> Added:
        """Adds an item, or adds to an item that is there. See ``Engine.add``.

        Raises:
            PictureError: A picture cannot be used; nothing is stored.
            ArgumentError: The id is empty or too long, a new item has no picture, or its texts are too long for Milvus.
            CatalogError: Milvus does not answer or refuses.
        """
        pictures, _ = _core.each_image(listed(images)) if not _is_empty(images) else ([], False)
        if not pictures and not upsert and id in self:
            given: dict[str, Any] = {"label": label, "metadata": metadata, "text": text}
            self.update(id, **{name: value for name, value in given.items() if value is not None})
            return Added(0, 0)
        with self._staged() as stage:
            stage.core.add(id, listed(images), names=names, label=label, metadata=metadata, text=text)
            _, *counts = self._put(stage, exact=upsert)
        references, duplicates, replaced = counts
        return Added(references, duplicates, replaced)

    def add_folder(
        self, folder: str | os.PathLike[str], *, prune: bool = False, progress: Progress | None = None
    ) -> Report:
        """Adds ``folder/<item>/<picture>``; see ``Engine.add_folder``. Pictures that are stored are not encoded again.

        Ctrl-C stops it, and running it again goes on. Files that were moved or edited stay as they were: remove their
        items first.

        Raises:
            ArgumentError: There is no picture in it.
            UnsupportedError: ``prune`` is true.
            OSError: The folder cannot be read.
        """
        if prune:
            raise UnsupportedError(
                "a catalog in Milvus has no prune: call remove, or remove_reference, for what is gone"
            )
        listing = _core.folder_items(expanded(folder))
        if not listing:
            raise ArgumentError(f"{os.fspath(folder)}: there is no picture in it: give a folder of pictures")
        files = [(id, str(path)) for id, paths in listing for path in paths]
        report, done = Report(0, 0, 0, []), 0
        with shown(progress, "adding") as told:
            for start in range(0, len(files), PICTURES):
                some = files[start : start + PICTURES]
                if told is not None:
                    told(done, len(files), some[0][0])
                report = _sum(report, self._add_files(some))
                done += len(some)
            if told is not None:
                told(done, len(files), "")
        logger.info("added to %s: %s", self.path, report)
        return report

    def _add_files(self, files: Sequence[tuple[str, str]]) -> Report:
        held = self._writing.held(list(dict.fromkeys(id for id, _ in files)))
        known = {(id, row["digest"]) for id, rows in held.items() for row in rows}
        new, there = [], 0
        for id, path in files:
            with suppress(_core.PlushieError):
                if known and (id, _core.picture_digest(path)) in known:
                    there += 1
                    continue
            new.append((id, [path], None, None, None, None))
        with self._staged() as stage:
            _, _, again, failed, *_ = stage.core.add_items(new, listed=True, total=len(new))
            items, references, duplicates, replaced = self._put(stage)
        return Report(items, references, there + again + duplicates, failed, replaced=replaced)

    def add_items(
        self,
        items: Iterable[ItemRow],
        *,
        upsert: bool = False,
        progress: Progress | None = None,
        total: int | None = None,
    ) -> Report:
        """Adds many items in batches; rows and pictures that cannot be used are reported. See ``Engine.add_items``.

        Raises:
            TypeError: A row is neither a dataclass nor a dict.
            ArgumentError: A row has no ``id``, or an unknown field.
        """
        rows, report, done = to_rows(items), Report(0, 0, 0, []), 0
        with shown(progress, "adding") as told:
            while some := list(islice(rows, PICTURES)):
                if told is not None:
                    told(done, total, str(some[0][0]))
                with self._staged() as stage:
                    _, _, again, failed, *_ = stage.core.add_items(some, upsert=upsert, total=None)
                    new, references, duplicates, replaced = self._put(stage, exact=upsert)
                report = _sum(report, Report(new, references, again + duplicates, failed, replaced=replaced))
                done += len(some)
        return report

    def add_vectors(
        self,
        ids: Sequence[Text],
        vectors: ArrayLike | Mapping[str, ArrayLike],
        *,
        references: Iterable[Text | None] | None = None,
        digests: Iterable[str | None] | None = None,
        labels: Iterable[Text | None] | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
        texts: Iterable[Text | None] | None = None,
    ) -> Added:
        """Adds vectors that were computed elsewhere; see ``Engine.add_vectors``. Every 8,000 rows are written together.

        Raises:
            ArgumentError: The numbers of ids, vectors or other columns differ, a vector has NaN or no length, a model
                has no vectors, or a cell cannot be stored. Batches before it are stored, and the text says how many.
            CatalogError: Milvus does not answer or refuses. Adding all again goes on where it stopped.
        """
        parts: dict[str | None, Any] = {None: vectors}
        if isinstance(vectors, Mapping):
            parts = dict(vectors.items())
        arrays = {name: np.asarray(part) for name, part in parts.items()}
        ids = list(ids)
        columns: dict[str, list[Any]] = {
            name: list(values)
            for name, values in {
                "references": references, "digests": digests, "labels": labels, "metadata": metadata, "texts": texts
            }.items()
            if values is not None
        }  # fmt: skip
        given: list[tuple[str | None, Any]] = [*arrays.items(), *columns.items()]
        for name, values in given:
            if len(values) != len(ids):
                raise ArgumentError(f"{len(ids)} ids but {len(values)} {name or 'vectors'}: give one for each row")
        total = np.zeros(3, np.int64)
        for start in range(0, len(ids), BATCH):
            end = start + BATCH
            cells: dict[str, Any] = {name: values[start:end] for name, values in columns.items()}
            try:
                with self._staged(len(ids[start:end])) as stage:
                    some = [(name, array[start:end]) for name, array in arrays.items()]
                    _, duplicates, replaced = stage.core.add_vectors(ids[start:end], some, **cells)
                    _, *counts = self._put(stage, named=references is not None or digests is not None)
            except ArgumentError as error:
                if not start:
                    raise
                raise ArgumentError(
                    f"of the rows from {start} on: {error}; the {start} rows before are stored"
                ) from error
            total += np.array([counts[0], counts[1] + duplicates, counts[2] + replaced])
        return Added(int(total[0]), int(total[1]), int(total[2]))

    def _put(self, stage: Stage, *, exact: bool = False, named: bool = False) -> tuple[int, int, int, int]:
        counts = self._writing.put(stage.take(), exact=exact, named=named)
        self._looking.sample.forget()
        return counts

    def update(
        self,
        id: Text,
        *,
        label: Text | EllipsisType | None = ...,
        metadata: Mapping[str, Any] | EllipsisType | None = ...,
        text: Text | EllipsisType | None = ...,
    ) -> None:
        """Changes what is given; None clears it, what is left out stays.

        Raises:
            KeyError: There is no such item.
        """
        rows = self._rows(id, vectors=True)
        given = {"label": label, "metadata": metadata, "text": text}
        fields = {key: value for key, value in given.items() if value is not ...}
        with self._staged() as stage:
            # Checked and composed as those of any catalog.
            like: dict[str, Any] = {
                f"{name}s" if name != "metadata" else name: [value] for name, value in fields.items()
            }
            vectors = [(space.name, np.eye(1, space.dimension, dtype=np.float32)) for space in self._spaces.values()]
            stage.core.add_vectors([rows[0]["item"]], vectors, **like)
            staged = stage.take()[0]
        self._writing.change(rows, {name: getattr(staged, name) for name in fields})

    def remove(self, ids: Text | Iterable[Text] | None = None, *, where: Where | None = None) -> int:
        """Removes items by their ids, or all that fit a filter, and returns how many.

        Raises:
            KeyError: There is no such item; then none is removed.
            ArgumentError: Neither or both are given.
        """
        if (ids is None) == (where is None):
            raise ArgumentError("remove takes ids or where: give one of them")
        if where is not None:
            rows = list(self._store.each(self._where(where), ["item"]))
        else:
            several = [ids] if isinstance(ids, str) or not isinstance(ids, Iterable) else ids
            found = [self._rows(id) for id in dict.fromkeys(map(str, several))]
            rows = [row for some in found for row in some]
        self._store.delete([row["pk"] for row in rows])
        self._looking.sample.forget()
        return len({row["item"] for row in rows})

    def remove_reference(self, id: Text, reference: str | Reference) -> int:
        """Removes one reference of an item, by its name, digest or key, and returns how many the item has left.

        Raises:
            KeyError: There is no such item, or it has no such reference.
        """
        rows = self._rows(id)
        wanted = reference.key if isinstance(reference, Reference) else str(reference)
        keys = [
            row["pk"] for row in rows if wanted in (row["name"], row["digest"], reference_of(row).key)
        ]  # fmt: skip
        if not keys:
            raise UnknownItemError(f"item {str(id)!r} has no reference {wanted!r}")
        self._writing.remove(rows, keys)
        self._looking.sample.forget()
        return len(rows) - len(keys)


def _is_empty(images: Any) -> bool:
    return isinstance(images, (list, tuple)) and not images


def _sum(a: Report, b: Report) -> Report:
    return Report(
        a.items + b.items,
        a.references + b.references,
        a.duplicates + b.duplicates,
        [*a.failed, *b.failed],
        replaced=a.replaced + b.replaced,
    )
