"""The items of a collection: how they are added, changed, read and removed."""

from __future__ import annotations

import operator
import os
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import _core, hub
from .._core import ArgumentError, CatalogError, ModelError, UnknownItemError
from ..encoders.protocol import Models, named
from ..engine import Added
from ..log import logger
from ..paths import expanded
from ..query import listed
from ..results import Item, Items, Reference, Report
from ..rows import Row as ItemRow
from ..rows import to_rows
from ..show.progress import shown
from . import schema
from .judging import Judging
from .looking import Looking
from .schema import Space
from .staged import Stage
from .store import Row, Store
from .terms import both, expression
from .writing import BATCH, Writing

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .._core import _Image as ImageLike
    from ..query import Text, Where
    from ..searcher import Progress

#: Pictures that are encoded together.
PICTURES = 256


class Catalog:
    """An open collection with its items; see :class:`MilvusEngine`."""

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        token: str = "",
        collection: str = "plushie",
        model: Models | None = None,
        dim: int | None = None,
        index: str | Mapping[str, Any] | None = None,
        consistency: Literal["Strong", "Session", "Bounded", "Eventually"] = "Strong",
        threads: int | None = None,
        timeout: float = 30.0,
        create: bool = True,
    ) -> None:
        if model is not None and dim is not None:
            raise ArgumentError("a catalog has a model, or vectors alone of dimension dim: give one of them")
        self._lock, self._closed = threading.RLock(), False
        self._uri = os.fspath(uri) if "://" in os.fspath(uri) else expanded(uri)
        self._collection, self._threads = collection, threads
        how = {"token": token} if token else {}
        self._store = Store(self._uri, collection, timeout=timeout, **how)
        try:
            held = self._held(create)
            if held is not None and model is None and dim is None:
                model, dim = _sources(collection, held)
            models = [] if dim is not None else named(model if model is not None else hub.DEFAULT_MODEL)
            self._encoders = [(name, hub.as_encoder(one, threads=threads)) for name, one in models]
            self._dim = dim
            self._stage = self._staging()
        except BaseException:
            self._store.close()
            raise
        try:
            given = schema.spaces_of(self._stage.core.stats()["models"])
            if held is None:
                index = index or ("FLAT" if self._store.is_lite else "AUTOINDEX")
                made = self._make(given, index, consistency)
                try:
                    self._store.call(self._store.client.create_alias, made, collection)
                except CatalogError:
                    self._store.call(self._store.client.drop_collection, made)
                    raise
                held = given
            self._all = held
            spaces = schema.check_models(collection, held, given)
            self._store.call(self._store.client.load_collection, collection)
        except BaseException:
            self.close()
            raise
        self._spaces = {space.name: space for space in spaces}
        self._writing = Writing(self._store, spaces)
        self._looking = Looking(self._store, self._spaces)
        self._judging = Judging(self._looking.sample, spaces, self._staging)
        logger.info("opened %s: models %s", self.path, ", ".join(self.models))

    def _held(self, create: bool) -> list[Space] | None:
        """Returns the models of the collection; None if it does not exist."""
        if self._store.exists():
            return schema.read(
                self._store.call(self._store.client.describe_collection, self._collection), self._collection
            )
        if not create:
            raise CatalogError(f"milvus {self._uri} has no collection {self._collection!r}: leave out create=False")
        return None

    def _make(self, spaces: Sequence[Space], index: str | Mapping[str, Any], level: str) -> str:
        """Makes a collection of a name of its own, for which the catalog's name is an alias, and returns that name."""
        name = f"{self._collection}_{time.time_ns():x}"
        how = {"index_type": index} if isinstance(index, str) else dict(index)
        self._store.call(schema.make, self._store.client, name, spaces, how, consistency_level=level)
        return name

    def _staging(self) -> Stage:
        return Stage(self._encoders, dim=self._dim, threads=self._threads)

    # Items

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
        return Added(*counts)

    def add_folder(self, folder: str | os.PathLike[str], *, progress: Progress | None = None) -> Report:
        """Adds ``folder/<item>/<picture>``; see ``Engine.add_folder``. Pictures that are stored are not encoded again.

        Ctrl-C stops it, and running it again goes on. Files that were moved or edited stay as they were: remove their
        items first.

        Raises:
            ArgumentError: There is no picture in it.
            OSError: The folder cannot be read.
        """
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

    def add_items(self, items: Iterable[ItemRow], *, upsert: bool = False, progress: Progress | None = None) -> Report:
        """Adds many items in batches; rows and pictures that cannot be used are reported. See ``Engine.add_items``.

        Raises:
            TypeError: A row is neither a dataclass nor a dict.
            ArgumentError: A row has no ``id``, or an unknown field.
        """
        rows, report, done = to_rows(items), Report(0, 0, 0, []), 0
        with shown(progress, "adding") as told:
            while some := list(islice(rows, PICTURES)):
                if told is not None:
                    told(done, None, str(some[0][0]))
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
        """Adds vectors that were computed elsewhere; see ``Engine.add_vectors``. Every 4,000 rows are sent together.

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
                with self._staged() as stage:
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
        return Added(*total.tolist())

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
            row["pk"] for row in rows if wanted in (row["name"], row["digest"], _reference(row).key)
        ]  # fmt: skip
        if not keys:
            raise UnknownItemError(f"item {str(id)!r} has no reference {wanted!r}")
        self._writing.remove(rows, keys)
        self._looking.sample.forget()
        return len(rows) - len(keys)

    @contextmanager
    def _staged(self) -> Iterator[Stage]:
        """Gives the stage to one thread, and empties it after an error."""
        with self._lock:
            if self._closed:
                raise ArgumentError("this engine is closed: open the collection again")
            try:
                yield self._stage
            except BaseException:
                self._stage.clear()
                raise

    # Reading

    def get(self, id: Text) -> Item:
        """Returns the item of that id.

        Raises:
            KeyError: There is no such item.
        """
        return _item(self._rows(id))

    def vectors(self, id: Text, *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of an item's references: float32 (n, dim), of the first model or the one named.

        Raises:
            KeyError: There is no such item.
            ArgumentError: There is no such model.
        """
        space = self._space(model)
        rows = self._rows(id, vectors=True)
        return np.array([row[space.field] for row in rows], np.float32)

    def count(self, where: Where | None = None) -> int:
        """Returns how many items fit a filter, all of them by default.

        Raises:
            ArgumentError: ``where`` cannot be understood.
            UnsupportedError: ``where`` looks for a part of a text with ``%``, ``_`` or a backslash.
        """
        return self._store.count(both("head == true", self._where(where)))

    def iterate(self, where: Where | None = None, /, *, batch: int = 500) -> Iterator[Item]:
        """Yields the items that fit, in the order in which they were added, ``batch`` of them in a request.

        The ids of all that fit are read first: about 100 bytes each.

        Raises:
            ArgumentError: ``batch`` is less than 1, or ``where`` cannot be understood.
        """
        if batch < 1:
            raise ArgumentError(f"batch {batch}: give 1 or more")
        return self._walk(self._ids(where), batch)

    def _ids(self, where: Where | None) -> list[str]:
        heads = self._store.each(both("head == true", self._where(where)), ["item", "since"])
        return [row["item"] for row in sorted(heads, key=lambda row: row["since"])]

    def _walk(self, ids: list[str], batch: int) -> Iterator[Item]:
        for start in range(0, len(ids), batch):
            some = ids[start : start + batch]
            held = self._writing.held(some)
            yield from (_item(held[id]) for id in some if id in held)

    def items(self, *, where: Where | None = None, limit: int | None = None, offset: int = 0) -> Items:
        """Returns the items that fit, in the order in which they were added, ``limit`` of them behind ``offset``.

        Raises:
            ArgumentError: ``limit`` or ``offset`` is negative, or ``where`` cannot be understood.
        """
        if offset < 0 or (limit is not None and limit < 0):
            raise ArgumentError(f"limit {limit}, offset {offset}: give 0 or more")
        end = None if limit is None else offset + limit
        return Items(self._walk(self._ids(where)[offset:end], 500))

    def __len__(self) -> int:
        return self.count()

    def __iter__(self) -> Iterator[Item]:
        return self.iterate()

    def __contains__(self, id: object, /) -> bool:
        try:
            return bool(self._writing.held([self._spelled(id)]))
        except (ArgumentError, TypeError):
            return False

    def _rows(self, id: Any, *, vectors: bool = False) -> list[Row]:
        spelled = self._spelled(id)
        rows = self._writing.held([spelled], vectors=vectors).get(spelled)
        if rows is None:
            raise UnknownItemError(f"there is no item {spelled!r} in {self.path}")
        return rows

    @staticmethod
    def _spelled(id: Any) -> str:
        """Returns an id as it is stored: whole numbers by their digits, texts in composed form."""
        if isinstance(id, str):
            return unicodedata.normalize("NFC", id)
        return str(operator.index(id))

    def _space(self, model: str | None) -> Space:
        if model is not None and model not in self._spaces:
            raise ArgumentError(f"there is no model {model!r}: this catalog has {', '.join(self._spaces)}")
        return self._spaces[model or next(iter(self._spaces))]

    def _where(self, where: Where | None) -> str:
        """Returns a filter as an expression of Milvus, checked as that of any catalog."""
        if not where:
            return ""
        self._stage.core.count(where=where)
        return expression(where)

    @property
    def path(self) -> str:
        """The address and the collection."""
        return f"{self._uri}#{self._collection}"

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they were given."""
        return tuple(self._spaces)

    def close(self) -> None:
        """Closes the connection and the models; every later call but this one raises an error."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._stage.close()
                self._store.close()


def _item(rows: Sequence[Row]) -> Item:
    first = rows[0]
    references = tuple(_reference(row) for row in rows)
    return Item(first["item"], first["label"], first["text"], dict(first["metadata"] or {}), references)


def _reference(row: Row) -> Reference:
    return Reference(row["name"], row["digest"], row["view"] or None)


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


def _sources(collection: str, held: Sequence[Space]) -> tuple[Models | None, int | None]:
    """Returns the models of a collection by their names, or the dimension of vectors without a model.

    Raises:
        ModelError: A name does not tell where the model is.
    """
    if [space.name for space in held] == ["vectors"]:
        return None, held[0].dimension
    known = hub.models()
    for space in held:
        if space.name not in known:
            raise ModelError(
                f"collection {collection!r} was filled with model {space.name!r}, and it is not known where that lies: "
                "give its directory, or the encoder, as model="
            )
    return {space.name: space.name for space in held}, None
