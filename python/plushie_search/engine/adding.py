"""Methods of an engine that add, change and remove items."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from itertools import tee, zip_longest
from types import EllipsisType
from typing import TYPE_CHECKING, Any

from .. import _core
from .._core import ArgumentError
from ..exchange.batch import SourceModel
from ..exchange.bring import bring
from ..exchange.export import Exported, export
from ..exchange.sources import open_source
from ..log import logger
from ..paths import expanded, is_below, is_gone
from ..query import listed
from ..results import Report
from ..rows import Row, count_images, grouped, to_rows
from ..show.progress import shown
from .items import ItemMethods

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._core import _Image as ImageLike
    from ..exchange.export import ExportFormat
    from ..exchange.sources import SourceFormat
    from ..query import Text, Where
    from ..searcher import Progress


@dataclass(frozen=True)
class Added:
    """Outcome of :meth:`Engine.add` and :meth:`Engine.add_vectors`.

    Attributes:
        references: References that are new.
        duplicates: Pictures or vectors that the item had already.
        replaced: References that were removed: they came again with another vector, or ``upsert=True`` left them out.
        notes: Meshes of which something was left out: name and note, such as "2 triangles without an area left out".
    """

    references: int
    duplicates: int
    replaced: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)


class AddingMethods(ItemMethods):
    """Adds, changes and removes items."""

    __slots__ = ()

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
        """Adds an item, or adds to an item that is there.

        Each of the engine's models sees each picture. Everything is stored in one transaction, or nothing when one of
        them cannot use a picture. A picture that the item has already (by its content) adds nothing. In every method an
        id, a label or a text may be a whole number, which means its digits, and NaN and pandas's NA are None.

        Args:
            id: The item's id: a text of 1 to 512 bytes without control characters.
            images: One picture or a sequence of them.
            names: The names that their references get, one for each picture, None for those that keep their own: an
                upload's file name, or "image 0 (bytes)". A file's name is its path.
            label, metadata, text: Replace what is stored; None keeps it, by default.
            upsert: Makes the item exactly so: removes its references to other pictures, and clears ``label``,
                ``metadata`` and ``text`` where they are None.

        Raises:
            PictureError: A picture cannot be decoded or is beyond the limits.
            ArgumentError: The id is empty or too long, or a new item, or one with ``upsert``, has no picture.
            CatalogError: There are pictures, and the catalog has models that this engine was opened without.
        """
        return Added(
            *self._core.add(id, listed(images), names=names, label=label, metadata=metadata, text=text, upsert=upsert)
        )

    def add_folder(
        self, folder: str | os.PathLike[str], *, prune: bool = False, progress: Progress | None = None
    ) -> Report:
        """Adds ``folder/<item>/<picture>``: each folder of pictures becomes an item named by its path.

        A picture directly in ``folder`` is an item of its own, named by the file without its ending; that stays where
        two files differ by it alone (``IMG_1.jpg`` and ``IMG_1.png``). A file is a picture by its ending or by its
        first bytes; hidden files are left out, and folders that systems keep for themselves (``@eaDir``,
        ``$RECYCLE.BIN``).
        Pictures that cannot be used and folders that cannot be read are reported and stop nothing. Ctrl-C stops it, and
        running it again continues. Files that were moved, renamed or edited since the last time get their references
        new names or new pictures; if they have moved into another item, such as a renamed folder, they leave the old
        one, and an item without pictures is removed.

        Args:
            folder: The folder.
            prune: Whether references are removed whose names are paths below ``folder`` and whose files do not exist
                any more, after all is added; False by default. An item goes with its last reference. Files behind links
                that lead nowhere and in folders that cannot be read count as there.
            progress: Called with (pictures done, pictures in all, the item that comes next); by default a progress bar
                in a notebook.

        Raises:
            ArgumentError: There is no picture in it, or none that can be used and ``prune`` is true: nothing is
                removed.
            OSError: The folder itself cannot be read.
        """
        folder = expanded(folder)
        with shown(progress, "adding") as told:
            report = self._report(self._core.add_folder(folder, progress=told))
        return replace(report, removed=self._prune(folder, report)) if prune else report

    def _prune(self, folder: str, report: Report) -> int:
        """Removes the references whose files are gone from a folder that was added, and returns how many."""
        if not (report.references or report.duplicates):
            raise ArgumentError(f"{folder}: no picture in it can be used, so nothing was removed; is its disk mounted?")
        root = os.path.abspath(folder)
        gone = {
            (item.id, reference.digest): reference.name
            for item in self.iterate()
            for reference in item.references
            if is_below(reference.name, root) and is_gone(reference.name, root)
        }
        removed = 0
        for (id, digest), name in gone.items():
            try:
                self._core.remove_reference(id, digest)
            except KeyError:
                continue  # another process was faster
            removed += 1
            logger.info("removed %s from item %s: its file is gone", name, id)
        return removed

    def add_images(
        self,
        images: Iterable[ImageLike],
        *,
        ids: Iterable[Text] | None = None,
        names: Iterable[str | None] | None = None,
        labels: Iterable[Text | None] | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
        texts: Iterable[Text | None] | None = None,
        upsert: bool = False,
        total: int | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Adds each picture to the item of the same place in ``ids``.

        Without ``ids`` each picture must be a path and is an item named by that path. Pictures with the same id
        belong to one item. Any of the arguments may be an iterable without a length: no more is taken than a few
        batches hold.

        Args:
            images: The pictures.
            ids: The id of the item of each picture.
            names: The name that the reference of each picture gets, as in :meth:`add`.
            labels, metadata, texts: ``label``, ``metadata`` and ``text`` of :meth:`add`, one for each picture.
            upsert: Makes each item exactly so, as :meth:`add_items` does. The pictures of one item must come
                one after another.
            total: How many pictures ``progress`` is told that there are; counted by default where ``images`` is a list.
            progress: Called with (pictures done, pictures in all or None, the item that comes next).

        Raises:
            ArgumentError: The lists differ in length, or a picture that is no path has no id.
        """
        if isinstance(images, (str, bytes, os.PathLike)):
            raise TypeError("images is one picture: give a list of pictures, or call add")
        count = len(images) if isinstance(images, Sized) else None
        if ids is None:
            if isinstance(images, Sized):
                images = list(images)
                ids = [_path(image, number) for number, image in enumerate(images)]
            else:
                images, paths = tee(images)
                ids = (_path(image, number) for number, image in enumerate(paths))
        columns: dict[str, Iterable[Any] | None] = {
            "images": images,
            "ids": ids,
            "labels": labels,
            "metadata": metadata,
            "texts": texts,
            "names": names,
        }
        for name, values in columns.items():
            if count is not None and isinstance(values, Sized) and len(values) != count:
                raise ArgumentError(f"{count} images but {len(values)} {name}: give one for each image")
        rows = ((id, [image], label, meta, text, [name]) for image, id, label, meta, text, name in _together(columns))
        total = count if total is None else total
        with shown(progress, "adding") as told:
            if upsert:
                return self._report(self._core.add_items(grouped(rows), upsert=True, total=total, progress=told))
            return self._report(self._core.add_items(rows, listed=True, total=total, progress=told))

    def add_items(
        self,
        items: Iterable[Row],
        *,
        upsert: bool = False,
        total: int | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Adds many items in batches: :class:`ItemDraft`, other dataclasses with its fields, or dicts with these keys.

        Rows and pictures that cannot be used are reported and stop nothing. Ctrl-C stops it, and running it again
        continues where it stopped. Any iterable will do: no more is taken from it than a few batches hold.

        Args:
            items: The rows, with ``id`` and any of ``images``, ``label``, ``metadata`` and ``text``. A field that is
                None or left out keeps its stored value.
            upsert: Makes each item exactly as its row is: removes references to other pictures, and clears ``label``,
                ``metadata`` and ``text`` where they are None or left out. Each item is changed in one
                transaction, and stays as it was if one of its pictures cannot be used. A row without pictures, and a
                second one with the same id, are reported.
            total: How many pictures there are, for ``progress``; counted by default where ``items`` is a list.
            progress: Called with (pictures done, pictures in all or None, the item that comes next); by default a
                progress bar in a notebook.

        Raises:
            TypeError: A row is neither a dataclass nor a dict; it is named by its number, from 0.
            ArgumentError: A row has no ``id``, or an unknown field.
        """
        if total is None and isinstance(items, (list, tuple)):
            total = count_images(items)
        with shown(progress, "adding") as told:
            return self._report(self._core.add_items(to_rows(items), upsert=upsert, total=total, progress=told))

    def _report(self, counts: Sequence[Any]) -> Report:
        report = Report(*counts)
        logger.info("added to %s: %s", self.path, report)
        for name, reason in report.failed:
            logger.warning("left out %s: %s", name, reason)
        for name, note in report.notes:
            logger.info("%s: %s", name, note)
        return report

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
        changes = {"label": label, "metadata": metadata, "text": text}
        self._core.update(id, {key: value for key, value in changes.items() if value is not ...})

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
        """Adds vectors of this engine's model that were computed elsewhere: row ``i`` as a reference of ``ids[i]``.

        A row whose reference the item has already, by its name or else by its digest, adds nothing if the vector is the
        same, and takes its place if not: adding all again goes on where it stopped. Every 10,000 rows are one
        transaction, between which others may write and Ctrl-C is heard.

        Args:
            ids: One id for each row; an id may come several times.
            vectors: (n, dim), an array of float16, float32, float64 or whole numbers, or nested lists; rounded to
                float32 and scaled to length 1. Of several models, a dict with such an array for each, by its name.
            references: The name of each reference, such as the path of its picture; "vector" by default.
            digests: SHA-256 of each picture, 64 hexadecimal digits; by default that of the vector stands for it. An
                item has one reference with the same digest.
            labels, metadata, texts: ``label``, ``metadata`` and ``text`` of :meth:`add`, one for each row. Of several
                rows of one item the last value that is not None counts.

        Raises:
            ArgumentError: The numbers of ids, vectors or other columns differ, a vector has NaN or no length, a model
                has no vectors, or a cell cannot be stored. Then nothing is.
            CatalogError: The catalog has models that this engine was opened without.
        """
        return self._add_vectors(
            ids, vectors, references=references, digests=digests, labels=labels, metadata=metadata, texts=texts
        )

    def _add_vectors(self, ids: Sequence[Text], vectors: ArrayLike | Mapping[str, ArrayLike], **columns: Any) -> Added:
        parts = list(vectors.items()) if isinstance(vectors, Mapping) else [(None, vectors)]
        return Added(*self._core.add_vectors(list(ids), parts, **columns))

    def import_vectors(
        self,
        source: str | os.PathLike[str],
        *,
        format: SourceFormat | None = None,
        labels: str | os.PathLike[str] | None = None,
        ids: str | os.PathLike[str] | None = None,
        column: str | None = None,
        progress: Progress | None = None,
    ) -> Added:
        """Adds the vectors of a file of another program, or of an :meth:`export`.

        They are added as :meth:`add_vectors` does, 10,000 at a time, so that Ctrl-C stops it and running it again goes
        on. The vectors must be of this engine's model: of a source that does not tell, the dimension alone can be
        compared. Nothing in a source is run: pickles are refused, and index files are read without faiss.

        Args:
            source: The file or directory: ``.npy``, ``.npz``, ``.parquet``, ``.fvecs``, ``.bvecs``, HDF5 of
                ann-benchmarks, a folder of clip-retrieval, an index file of faiss (flat, scalar quantizers, inverted
                lists or HNSW of these, with or without an id map), or an export.
            format: The format; by default that of the ending or of the files in the directory.
            labels: A JSON file that says what each row is: a list with an entry for each row, or an object of them by
                the rows' numbers, which are the ids of a faiss index. A text is the row's label; an object may have
                ``id``, ``label``, ``text``, ``reference``, ``digest`` and ``metadata``, and its other fields are
                metadata. Columns of parquet and arrays of .npz have these names, too.
            ids: A JSON file with the id of each row; several rows may have the same. By default rows are items by
                their ids in ``labels`` or in the source, or else by the names of their references, or the file's name
                and their numbers.
            column: The column of vectors in a parquet file; by default the only one of lists, or one that is named so.
            progress: Called with (rows done, rows in all, the item that comes next); by default a progress bar in a
                notebook.

        Raises:
            OSError: A file is not there or cannot be read.
            ImportError: The format needs the extra ``exchange``.
            ArgumentError: The source is damaged, of another model or dimension, or a row has NaN or cannot be stored.
                Rows of batches before it are stored, which the message says.
            CatalogError: The catalog cannot be changed.
        """
        opened = open_source(source, format=format, labels=labels, ids=ids, column=column)
        with shown(progress, "importing") as told:
            parts = bring(opened, self._add_vectors, self.stats()["models"], keep=self._core.keep_files, progress=told)
        added = Added(
            sum(part.references for part in parts),
            sum(part.duplicates for part in parts),
            sum(part.replaced for part in parts),
        )
        logger.info("imported %s into %s: %s", opened.path, self.path, added)
        return added

    def export(
        self, path: str | os.PathLike[str], *, format: ExportFormat = "jsonl", progress: Progress | None = None
    ) -> Exported:
        """Writes the catalog, as it is at one moment, in a format that other programs read, with this engine's models.

        Others may change the catalog meanwhile. What is written gets its name when it is complete.
        :meth:`import_vectors` reads each of them, vectors bit for bit.

        Args:
            path: The new directory, or file of parquet.
            format: ``"jsonl"``: ``items.jsonl`` with all that is known of items and references, their vectors in
                ``vectors.npy``, float32 of shape (references, dim), and the originals that the catalog keeps in
                ``pictures/``. ``"npy"``: the vectors, and ``ids.json`` with the item of each. ``"parquet"``: a row for
                each reference with id, label, text, metadata as JSON, reference, digest, view and vector. ``"faiss"``:
                ``index.faiss``, an ``IndexFlatIP`` of the unit vectors, and ``ids.json``. Of several models there are
                a file or a column for each, and ``catalog.json`` says which.
            progress: Called with (items done, items in all, the item that comes next); by default a progress bar in a
                notebook.

        Raises:
            ArgumentError: The format is unknown, or the catalog has no references.
            FileExistsError: There is something at ``path``.
            ImportError: Parquet needs the extra ``exchange``.
            OSError: It cannot be written, as on a full disk; then nothing is left.
        """
        names = self.stats()["models"]
        held, _ = _core.held_models(self.path, read_only=True, busy_timeout=30.0)
        known = {fingerprint: source for _, fingerprint, _, source in held}
        models = [SourceModel(one["name"], one["fingerprint"], known.get(one["fingerprint"])) for one in names]
        dims = [one["dimension"] for one in names]
        with shown(progress, "exporting") as told:
            return export(self._core.walk, expanded(path), format, models, dims, total=len(self), progress=told)

    def remove(self, ids: Text | Iterable[Text] | None = None, *, where: Where | None = None) -> int:
        """Removes items with their references, and returns how many.

        Args:
            ids: One id or several: all of them are removed in one transaction, or none when one is not there.
            where: Removes the items that fit this filter instead, of :meth:`search_image`'s form. Every 10,000 are one
                transaction, between which others may write and Ctrl-C is heard.

        Raises:
            KeyError: There is no such item.
            ArgumentError: Neither or both are given, or the filter is empty or cannot be understood.
        """
        if where is not None and ids is None:
            return self._core.remove_where(where)
        if ids is None or where is not None:
            raise ArgumentError("remove takes ids or where: give one of them")
        # Bytes are an iterable of numbers, which the core refuses.
        if isinstance(ids, Iterable) and not isinstance(ids, (str, bytes)):
            return self._core.remove(list(ids))
        return self._core.remove([ids])  # type: ignore[list-item]

    def remove_reference(self, id: Text, reference: str | os.PathLike[str]) -> int:
        """Removes one reference of an item, and the item with its last one; returns how many the item has left.

        Args:
            id: The item's id.
            reference: The reference's name, the path of its picture, or its digest, 64 hexadecimal digits.

        Raises:
            KeyError: There is no such item, or it has no such reference.
            ArgumentError: Several references with different pictures have this name: give the digest.
        """
        return self._core.remove_reference(id, expanded(reference))


def _path(image: Any, number: int) -> str:
    if not isinstance(image, (str, os.PathLike)):
        raise ArgumentError(f"image {number} is no path, so it needs an id: pass ids=[...]")
    return os.fspath(image)


def _together(columns: Mapping[str, Iterable[Any] | None]) -> Iterator[tuple[Any, ...]]:
    """Rows of columns; those that are None have None in each."""
    given = [column for column in columns.values() if column is not None]
    end = object()
    for number, values in enumerate(zip_longest(*given, fillvalue=end)):
        if any(value is end for value in values):
            names = ", ".join(name for name, column in columns.items() if column is not None)
            raise ArgumentError(
                f"{names} differ in length: one of them ends at {number}; give one of each for each image"
            )
        cells = iter(values)
        yield tuple(None if column is None else next(cells) for column in columns.values())
