"""An open catalog: add, remove, search."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import tee, zip_longest
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from . import _core, forks, hub
from ._core import ArgumentError
from .answers.classify import learn_classes
from .answers.duplicates import find_duplicates
from .answers.explain.explain import explain
from .answers.inspect.inspect import inspect
from .answers.likeness import compare
from .answers.review import find_concerns
from .encoders.protocol import Model, Models, named
from .evaluate.run import evaluate
from .exchange.batch import SourceModel
from .exchange.bring import bring
from .exchange.export import Exported, export
from .exchange.sources import open_source
from .identification import Calibration, Identification, LearnedWeights
from .log import logger
from .metrics import Interval
from .paths import expanded, is_below, is_gone
from .query import DEFAULTS, Query, hybrid, listed, pictured
from .results import Batch, Item, Items, Problem, ReencodeReport, Reference, Report, Results, Verification, asked
from .rows import Row, count_images, grouped, to_rows
from .show.progress import shown
from .show.table import counted
from .stored import sources_of, stored_models, tell_migrated

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from ._core import Hit, _QueryRow
    from ._core import _Image as ImageLike
    from ._core import _Texts as TextsLike
    from .answers.classes import Classification
    from .answers.classify import Classifier
    from .answers.duplicates import Duplicates
    from .answers.explain.explanation import Explanation, Method
    from .answers.explain.sentences import Language
    from .answers.inspect.inspection import Inspection, Inspections
    from .answers.likeness import Likeness
    from .answers.review import Review
    from .evaluate.result import Evaluation
    from .evaluate.run import Missing, Pictures, Texts, Unknown
    from .exchange.export import ExportFormat
    from .exchange.sources import SourceFormat
    from .query import By, SearchOptions, Text, Where
    from .searcher import Progress


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


#: What is said of a text that no model has looked up.
NO_READER = "no model of this catalog reads texts: these hits were found by the items' own words"


class Engine:
    """An open catalog.

    Engines may be shared between threads, and many processes may open one catalog: each sees the others' changes at
    its next call. After a fork (``os.fork``, ``multiprocessing``, ``gunicorn --preload``, a DataLoader) parent and
    child may both use it: the child opens the catalog and the models again at its first call.

    Args:
        path: The catalog's directory; made when it does not exist (unless ``create`` is false).
        model: A name that :func:`plushie_search.models` lists, a model directory, an encoder of
            :func:`plushie_search.open_encoder`, or any :class:`EncoderLike` object. By default the models that the
            catalog was filled with, or ``"plushie-mini"`` for a new one. Or several of them:
            ``model=["dinov2-small", "ViT-B-32::openai"]``, or by the names that they get in this engine:
            ``model={"clip": "ViT-B/32", "mine": my_encoder}``. Each encodes every picture that is added. A
            picture is then looked up by the first one, and a text by the first one that encodes texts, unless a search
            names others. A catalog belongs to the models that its pictures were added with, which their fingerprints
            identify; others are refused. With some of them it can be searched, and changed in every way but adding
            pictures. An empty list opens none, in a catalog that exists: items can be looked at, changed and removed,
            and searched by vectors.
        dim: The dimension of the vectors of a catalog without a model, which takes vectors alone.
        threads: The most threads of this engine's work, and of models that are given by name or directory; by default
            those of the first model, or all cores. Engines of as many threads share them.
        create: Whether to make the catalog when there is none.
        read_only: Whether to open a catalog that may only be read, as on read-only media, in an image of a container or
            of another user. It must exist, and every change is refused.
        busy_timeout: How long a change waits for other processes that write to the catalog, in seconds. Ctrl-C ends the
            waiting.
        thumbnails: Whether a small copy of each picture that is added is kept in ``thumbnails.sqlite``: True, False, or
            ``"auto"``, which stops at 2 GB with a warning. See :meth:`thumbnail`.
        media: Whether the original of each picture that is added is kept in ``media/``; by default that of bytes,
            arrays, PIL images and file objects is, and that of paths is not. See :meth:`original`.
        crops: Whether the vector of each picture that is added is the mean of three: of the whole, and of its middle
            with three quarters and with a half of each side. That finds more things that are large in one photo and
            small in the other; to add a picture takes three times as long, and to search no longer. The catalog
            remembers it; False for a new one by default. Pictures that were added before stay as they are.
        views: The views of a mesh (an STL, OBJ, PLY, GLB or 3MF file), 1 to 100: each is a reference of a mesh that is
            added, and so is their mean; a mesh that is looked up is the mean alone. See :func:`render`. The catalog
            remembers it; 20 for a new one by default. Meshes that were added before stay as they are.
        index: How references are found. ``"auto"``, the default, compares every reference with a query up to about
            100,000 of them, and beyond has an approximate index, which is built in the background once the engine is
            searched and kept in ``index/`` beside the catalog. ``"exact"`` compares every one always. Or a factory
            string of faiss, ``[transform,]IVFn[_HNSWm],code`` or ``HNSWm[,code]``, such as ``"IVF1024,PQ64x4fs"``,
            ``"IVF1024,SQ8"``, ``"OPQ64,IVF1024,PQ64x4fs"`` or ``"HNSW32"``: used once there are enough references to
            learn it from. See :meth:`optimize`.
        recall: The share of the exact best 10 items that searches find in an approximate index, above 0 and at most 1:
            how much of it they look at is measured so. 0.98 by default.
        memory: How much memory an approximate index may take, in bytes, or as a share of what is free when it is
            built, such as 0.5; pages of its file do not count. The longest codes that fit are used. If the recall is
            not reached with them, :meth:`optimize` raises an error, and in the background every reference goes on
            being compared, with a warning. By default as much as it needs: about 0.27 GB for a million vectors of 256
            numbers.
        index_device: The device that compares vectors: ``"cpu"``, the default, or one that :func:`open_encoder` takes
            as ``device``, such as ``"cuda"`` or ``"cuda:0,1"``. It keeps a copy of all vectors, in 16 bits on NVIDIA
            GPUs, once there are 10,000, and compares every one, so that ``index`` is of no use beside it; the best are
            compared in 32 bits on the processor, so that hits and scores are the same. ``"auto"`` takes the first
            NVIDIA GPU, or else the processor with a warning; ``"onnx:cpu"`` is the processor by ONNX Runtime, as in
            tests: it gains nothing.

    Raises:
        CatalogError: The directory is not a catalog, was made with other models, or cannot be written.
        ModelError: A model, the ONNX Runtime library or the device cannot be used, a model's license needs consent, it
            cannot be downloaded, or it is one of several and encodes no pictures.
        ImportError: A model would have to be downloaded and ``huggingface_hub`` is not installed.
        TypeError: A model is neither a name nor a path nor an encoder.
        ArgumentError: There is no model of that name, there are two, or both a model and ``dim`` are given,
            ``thumbnails`` is none of the three, ``views``, ``recall`` or ``memory`` is out of its bounds, or ``index``
            is a string that faiss refuses, whose index it cannot filter, or that is given with a device.
    """

    __slots__ = ("_again", "_connect", "_learned", "_models", "_opened", "_process", "_reads", "_sees")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: Models | None = None,
        dim: int | None = None,
        threads: int | None = None,
        create: bool = True,
        read_only: bool = False,
        busy_timeout: float = 30.0,
        thumbnails: Literal["auto"] | bool = "auto",
        media: bool | None = None,
        crops: bool | None = None,
        views: int | None = None,
        index: str = "auto",
        recall: float = 0.98,
        memory: float | None = None,
        index_device: str = "cpu",
    ) -> None:
        if model is not None and dim is not None:
            raise ArgumentError("a catalog has a model, or vectors alone of dimension dim: give one of them")
        if thumbnails not in ("auto", True, False):
            raise ArgumentError(f'thumbnails={thumbnails!r}: give "auto", True or False')
        small = None if thumbnails == "auto" else bool(thumbnails)
        path = expanded(path)
        absent: list[tuple[str, str, int]] = []
        try:
            # Before the models: one of the processor would open another library.
            device = hub.load_device(index_device)
            if model is None and dim is None:
                stored = stored_models(path, read_only=read_only, busy_timeout=busy_timeout)
                model, dim = stored.models or hub.DEFAULT_MODEL, stored.dim
            elif isinstance(model, (list, tuple)) and not model:
                absent = stored_models(path, read_only=read_only, busy_timeout=busy_timeout, needed=False).absent
                create = False
            models = [] if model is None or dim is not None else named(model)
            encoders = [(name, hub.as_encoder(one, threads=threads)) for name, one in models]
        except (_core.CatalogError, _core.ModelError) as error:
            logger.warning("refused %s: %s", path, error)
            raise

        how: dict[str, Any] = {
            "threads": threads,
            "read_only": read_only,
            "busy_timeout": busy_timeout,
            "thumbnails": small,
            "media": media,
            "crops": crops,
            "views": views,
            "index": index,
            "recall": recall,
            "memory": memory,
            "index_device": device,
        }
        try:
            self._opened = _core.Engine(path, encoders, dim=dim, absent=absent, create=create, **how)
        except (_core.CatalogError, _core.ModelError) as error:
            logger.warning("refused %s: %s", path, error)
            raise
        tell_migrated(path, self._opened.migrated)
        # The directory in which this process works may be another one later, or in a child of it.
        self._again = functools.partial(_core.Engine, os.path.abspath(path), create=False, **how)
        # For a child of this process. Encoders open themselves again there.
        self._connect: functools.partial[_core.Engine] | None = functools.partial(
            self._again, encoders, dim=dim, absent=absent
        )
        self._process = forks.process
        #: The classes of the last call of classify, and what they were learned from.
        self._learned: tuple[Any, Classifier] | None = None
        self._introduce({} if read_only else _sources(models, encoders))
        if logger.isEnabledFor(logging.INFO):
            items = counted(len(self._opened), "item")
            logger.info("opened %s: %s, models %s", self._opened.path, items, ", ".join(self._models))

    def _introduce(self, sources: dict[str, str]) -> None:
        """Notes the names of the models that were opened, and stores their sources."""
        if sources:
            # If another process is writing, the next one that opens the catalog stores them.
            with suppress(_core.CatalogError):
                self._opened.remember_sources(sources)
        # Every search says who was asked.
        self._models = tuple(self._opened.models)
        self._sees, self._reads = self._opened.image_model, self._opened.text_model

    @property
    def _core(self) -> _core.Engine:
        """The open catalog; opened again by the first call in a process that was forked from this one's."""
        if self._process != forks.process:
            with forks.lock:
                if self._connect is None:
                    raise ArgumentError("this engine is closed: open the catalog again")
                if self._process != forks.process:
                    self._opened = self._connect()
                    self._process = forks.process
                    logger.info("opened %s again in process %d, a fork", self._opened.path, os.getpid())
        return self._opened

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

    @overload
    def get(self, id: Text) -> Item: ...  # type: ignore[overload-overlap]
    @overload
    def get(self, id: Iterable[Text]) -> list[Item]: ...
    def get(self, id: Text | Iterable[Text]) -> Item | list[Item]:
        """Returns the item of that id; a list of ids gives a list of items, all as they were at one time.

        Raises:
            KeyError: There is no such item; it names the first one of a list.
        """
        if isinstance(id, Iterable) and not isinstance(id, (str, bytes)):
            return [_item(row) for row in self._core.get_all(list(id))]
        return _item(self._core.get(id))  # type: ignore[arg-type]

    def count(self, where: Where | None = None) -> int:
        """Returns how many items fit a filter, all of them by default.

        Raises:
            ArgumentError: ``where`` cannot be understood.
        """
        return self._core.count(where=where)

    def iterate(self, where: Where | None = None, *, batch: int = 1000) -> Iterator[Item]:
        """Returns an iterator of the items, in the order in which they were added, however many there are.

        ``batch`` items are read at a time. Items that are added meanwhile come at the end; others that are changed or
        removed before they are read come so.

        Raises:
            ArgumentError: ``batch`` is less than 1, or ``where`` cannot be understood.
        """
        if batch < 1:
            raise ArgumentError(f"batch {batch}: give at least 1")
        return self._walk(where, batch)

    def _walk(self, where: Where | None, batch: int) -> Iterator[Item]:
        after = 0
        while True:
            after, rows = self._core.items_after(after, batch, where=where)
            yield from map(_item, rows)
            if len(rows) < batch:
                return

    def __iter__(self) -> Iterator[Item]:
        return self.iterate()

    def thumbnail(self, item: Text, reference: str | Reference | None = None) -> bytes | None:
        """Returns a small copy of a reference as a JPEG file: upright, sRGB, at most 256 pixels on the longer side.

        It is the copy that was kept when the picture was added, or else made of the original. None if neither is there,
        as for vectors that were added without a picture.

        Args:
            item: The item's id.
            reference: The reference, its name or its digest; the item's first one by default.

        Raises:
            KeyError: There is no such item, or it has no such reference.
        """
        return self._core.thumbnail(item, _reference(reference))

    def original(self, item: Text, reference: str | Reference | None = None) -> Path | None:
        """Returns the file that holds a reference's original; None if there is none.

        It is the copy in the catalog's ``media/``, or else the file that the picture was added from, if that still has
        the same content. Bytes are kept as they came; arrays and PIL images as a PNG of the 8-bit RGB picture that the
        models see. Do not change the file.

        Args:
            item: The item's id.
            reference: The reference, its name or its digest; the item's first one by default.

        Raises:
            KeyError: There is no such item, or it has no such reference.
        """
        return self._core.original(item, _reference(reference))

    def items(self, *, where: Where | None = None, limit: int | None = None, offset: int = 0) -> Items:
        """Returns the items in the order in which they were added, ``limit`` of them from ``offset`` on.

        For many items :meth:`iterate` is faster. Warns if there is none, and ``where`` names a key that the metadata of
        no item has.

        Raises:
            ArgumentError: ``limit`` or ``offset`` is negative, or ``where`` cannot be understood.
        """
        for name, number in (("limit", limit), ("offset", offset)):
            if number is not None and number < 0:
                raise ArgumentError(f"{name} {number}: give 0 or more")
        items = Items(_item(row) for row in self._core.items(where=where, limit=limit, offset=offset))
        if where and not items:
            for note in self._unknown_keys(where):
                warnings.warn(note, stacklevel=2)
        return items

    def _unknown_keys(self, where: Where) -> list[str]:
        """Notes about a filter that fits nothing; one that fits something has no need to be doubted."""
        return [
            f"no item has the key {key!r} in its metadata, which the filter names: is it spelled so?"
            for key in self._core.unknown_keys(where)
        ]

    def page(self, after: int = 0, *, limit: int = 100, where: Where | None = None) -> tuple[Items, int | None]:
        """Returns a page of the items, in the order in which they were added, and the place where the next one begins.

        Items that are added or removed meanwhile shift no page, and a late page costs as little as the first one.

        Args:
            after: The place that the page before returned; 0, the beginning, by default.
            limit: The most items of the page.
            where: Only items that fit.

        Returns:
            The items, and the next page's ``after``; None if there is none.

        Raises:
            ArgumentError: ``after`` is negative, ``limit`` is less than 1, or ``where`` cannot be understood.
        """
        if after < 0 or limit < 1:
            raise ArgumentError(f"after {after}, limit {limit}: give 0 or more, and 1 or more")
        after, rows = self._core.items_after(after, limit, where=where)
        return Items(map(_item, rows)), after if len(rows) == limit else None

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, id: object) -> bool:
        return self._core.contains(id)

    # Search. To a type checker a str is a sequence of str too: what is one query is asked first.

    @overload
    def search_image(  # type: ignore[overload-overlap]
        self, image: ImageLike, **options: Unpack[SearchOptions]
    ) -> Results: ...
    @overload
    def search_image(self, image: Sequence[ImageLike], **options: Unpack[SearchOptions]) -> list[Results]: ...
    def search_image(
        self, image: ImageLike | Sequence[ImageLike], **options: Unpack[SearchOptions]
    ) -> Results | list[Results]:
        """Returns the items whose references look most like ``image``, each with the reference that matched best.

        Args:
            image: A path, bytes, file object, PIL image, numpy array (HWC uint8, or float in 0..1); or a list of
                them, which is computed as one batch and gives a list.
            options: Those of :class:`SearchOptions`, as every search takes them: ``k``, ``where``, ``min_score``,
                ``models``, ``fusion``, ``aggregate``, ``temperature``, ``vectors`` and others.

        Raises:
            PictureError: The picture cannot be decoded.
            ArgumentError: k < 1, the filter cannot be read, or there is no such model.
            ModelError: The model sees no pictures.
        """
        image = listed(image)
        images, single = _core.each_image(image)
        shown = [image] if single else list(image) if isinstance(image, (list, tuple)) else [image] * len(images)
        rows: list[_QueryRow] = [([(one, 1.0)], [], [], []) for one in images]
        return self._search(single, rows, shown, options, self._sees)

    @overload
    def search_text(  # type: ignore[overload-overlap]
        self, text: str, **options: Unpack[SearchOptions]
    ) -> Results: ...
    @overload
    def search_text(self, text: TextsLike, **options: Unpack[SearchOptions]) -> list[Results]: ...
    def search_text(self, text: str | TextsLike, **options: Unpack[SearchOptions]) -> Results | list[Results]:
        """Returns the items whose references fit ``text`` best; a list of texts gives a list.

        ``options`` are those of :class:`SearchOptions`. The first model that reads texts looks it up by default. The
        words of the items' ids, labels and texts count, too, unless ``words=False``: items of which one is the whole
        text come first, and :attr:`Hit.matched` names the fields that have words of it. What the text denies ("without
        a hat") is no word to look for. If no model reads texts, words alone find items, with the score 0.

        Raises:
            ArgumentError: The text is empty or very long, k < 1, the filter cannot be read, or there is no such model.
            ModelError: No model reads texts, and ``words`` is false or ``models`` names one; the message says how to
                have one that does.
        """
        texts, single = _core.each_text(text)
        rows: list[_QueryRow] = [([], [(one, 1.0)], [], []) for one in texts]
        return self._search(single, rows, texts, options, self._reads)

    @overload
    def search_hybrid(  # type: ignore[overload-overlap]
        self, image: ImageLike, text: str, *, image_weight: float = 0.5, **options: Unpack[SearchOptions]
    ) -> Results: ...
    @overload
    def search_hybrid(
        self,
        image: Sequence[ImageLike],
        text: TextsLike,
        *,
        image_weight: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> list[Results]: ...
    def search_hybrid(
        self,
        image: ImageLike | Sequence[ImageLike],
        text: str | TextsLike,
        *,
        image_weight: float = 0.5,
        **options: Unpack[SearchOptions],
    ) -> Results | list[Results]:
        """Returns the items that look like ``image`` and fit ``text``.

        The text may ask for another thing than the one in the picture ("in blue"). A score is made of ``image_weight``
        of the picture's cosine and the rest of the text's, as ``fusion`` of :class:`SearchOptions` says; at 1 the text
        counts for nothing, at 0 the picture. With ``fusion="sum"`` and one model the query is one vector: that much of
        the picture's unit vector and the rest of the text's. Lists of pictures and texts of the same length give a
        list.
        ``options`` are those of :class:`SearchOptions`: with a name as ``models`` that model looks up both; with
        weights for several, each looks up what it can, and counts its weight.

        Raises:
            ArgumentError: ``image_weight`` is not between 0 and 1, or as in :meth:`search_image` and
                :meth:`search_text`.
        """
        images, single = _core.each_image(listed(image))
        texts, single_text = _core.each_text(text)
        if single != single_text or len(images) != len(texts):
            one, many = f"{len(images)} pictures", f"{len(texts)} texts"
            raise ArgumentError(
                "a hybrid search takes one picture and one text, or lists of the same length; got "
                f"{'one picture' if single else one} and {'one text' if single_text else many}"
            )
        queries = [hybrid(picture, words, image_weight) for picture, words in zip(images, texts, strict=True)]
        rows = [query._row() for query in queries]
        return self._search(single, rows, queries, options, self._asked(None, image=True, text=True), texts=texts)

    def search_vector(
        self, vector: ArrayLike | Mapping[str, ArrayLike], **options: Unpack[SearchOptions]
    ) -> Results | list[Results]:
        """Returns the items nearest to a vector of this engine's model: (dim,), or (n, dim) for a list of results.

        Numbers of any kind are taken, float16, float32 or float64, in an array or in lists, and rounded to float32.
        ``options`` are those of :class:`SearchOptions`. The vector is one of the first model, unless ``models`` names
        another. A dict with a vector of each of several models, by name, goes with a dict of their weights as
        ``models``; by default each counts as much.

        Raises:
            ArgumentError: The numbers or models do not fit, or a vector has NaN or no length.
        """
        rows: list[_QueryRow]
        if isinstance(vector, np.ndarray) and vector.ndim == 1 and vector.dtype.kind == "f":
            rows = [([], [], [], [((None, vector), 1.0)])]
            return self._search(True, rows, ["vector"], options, self._models[0])
        if not isinstance(vector, Mapping):
            array, single = _core.each_vector(vector, "vector")
            rows = [([], [], [], [((None, row), 1.0)]) for row in array]
            return self._search(single, rows, ["vector"] * len(rows), options, self._models[0])
        columns = {name: _core.each_vector(array, f"vector[{name!r}]") for name, array in vector.items()}
        lengths = {len(array) for array, _ in columns.values()}
        if len(lengths) > 1:
            raise ArgumentError(
                "each part of a search needs a vector and a weight for each query: the arrays differ in length"
            )
        rows = [
            ([], [], [], [((name, array[number]), 1.0) for name, (array, _) in columns.items()])
            for number in range(max(lengths, default=0))
        ]
        single = all(single for _, single in columns.values())
        return self._search(single, rows, ["vector"] * len(rows), options, " + ".join(columns))

    @overload
    def search(self, query: Query, **options: Unpack[SearchOptions]) -> Results: ...
    @overload
    def search(self, query: Sequence[Query], **options: Unpack[SearchOptions]) -> list[Results]: ...
    def search(self, query: Query | Sequence[Query], **options: Unpack[SearchOptions]) -> Results | list[Results]:
        """Returns the items nearest to a :class:`Query` of several weighted parts; a list gives a list.

        ``options`` are those of :class:`SearchOptions`: with a name as ``models`` that model looks up all parts; with
        weights for several, each looks up what it can, as one vector, and counts its weight.

        Raises:
            KeyError: There is no such item.
            ArgumentError: A query has no part, its parts cancel each other out, or as in the other searches.
        """
        single = isinstance(query, Query)
        queries: Sequence[Query] = [query] if isinstance(query, Query) else listed(query)
        rows = [one._row() for one in queries]
        usual = [
            self._asked(None, image=bool(images), text=bool(texts), first=bool(items or vectors))
            for images, texts, items, vectors in rows
        ]
        return self._search(single, rows, queries, options, *usual)

    def _search(
        self,
        single: bool,
        rows: list[_QueryRow],
        shown: Sequence[Any],
        options: SearchOptions,
        *usual: str | None,
        texts: Sequence[str] = (),
    ) -> Results | list[Results]:
        """Searches for queries that are ``shown`` so.

        ``usual`` has the models that look them up by default, for all of them or for each. ``texts`` has the text of
        each query, which it may weigh with 0; by default they are those in ``rows``.
        """
        whole: SearchOptions = {**DEFAULTS, **options}
        found, cursor, encoding, searching = self._core.search(rows, **whole)
        seconds = {"encode": encoding, "search": searching}
        where, models = options.get("where"), options.get("models")
        notes = []
        if texts or any(row[1] for row in rows):
            words = [[text] for text in texts] if texts else [[text for text, _ in row[1]] for row in rows]
            notes = self._unread(words, models, found)
        names = [_names(models)] if models else usual
        if single and not notes and (found[0] or not where):
            return Results(
                found[0],
                query=shown[0],
                model=asked(found[0], names[0]),
                cursor=cursor,
                seconds=seconds,
                thumbnails=self.thumbnail,
            )
        keys = self._unknown_keys(where) if where and not all(found) else []
        results = [
            Results(
                hits,
                query=shown[number],
                model=asked(hits, names[number if len(names) > 1 else 0]),
                cursor=cursor,
                warnings=[*(notes[number] if notes else ()), *(keys if not hits else ())],
                seconds=seconds,
                thumbnails=self.thumbnail,
            )
            for number, hits in enumerate(found)
        ]
        return results[0] if single else Batch(results)

    # Which one is it?

    @overload
    def identify(  # type: ignore[overload-overlap]
        self,
        image: ImageLike | Query,
        *,
        target_fpr: float = 0.01,
        prior: float = 0.5,
        k: int = 5,
        where: Where | None = None,
        models: By | None = None,
        query_crops: bool = False,
    ) -> Identification: ...
    @overload
    def identify(
        self,
        image: Sequence[ImageLike | Query],
        *,
        target_fpr: float = 0.01,
        prior: float = 0.5,
        k: int = 5,
        where: Where | None = None,
        models: By | None = None,
        query_crops: bool = False,
    ) -> list[Identification]: ...
    def identify(
        self,
        image: ImageLike | Query | Sequence[ImageLike | Query],
        *,
        target_fpr: float = 0.01,
        prior: float = 0.5,
        k: int = 5,
        where: Where | None = None,
        models: By | None = None,
        query_crops: bool = False,
    ) -> Identification | list[Identification]:
        """Says which item a picture shows, that it may be one of several, or that it shows none of the catalog.

        The verdict is ``"unknown"`` if the strength of the scores is below the threshold, which grows with the number
        of items: it is the one that strangers reach with the probability ``target_fpr``. The strength is the best score
        and half of its lead over the next, less 0.7 of the mean score of the ten items behind the first one of the
        catalog, whatever ``where`` is. The verdict is ``"ambiguous"`` if several items are plausible: of pictures of
        the catalog's items, 95 % have their item among them. Both are promises for pictures like the references; see
        :meth:`calibrate` for others.

        Where items have several references, the 50 best items by their cosines may be looked at a second time. Then an
        item's score is the mean of two cosines, with its best reference and with the mean of all its references, after
        the 32 directions along which references of one item differ most were weighed down (within-class covariance
        normalization, Hatch, Kajarekar and Stolcke, Interspeech 2006). This is done if, of the references that are left
        out one after another, it tells the right items better from wrong ones, and these from strangers by a tenth;
        ``Calibration.second_look`` tells. Such scores are put back on the scale of cosines, and ``hit.scores`` has the
        cosine with the reference that matches best.

        Several models look a picture up together: then the score is the weighted mean of their cosines, for which
        probability, threshold and verdict are calibrated. A second look is the weighted mean of those by each model.

        The first call in a catalog, and the first after a fifth of its references have changed, calibrates it: this
        takes 0.4 seconds of a processor for 1,000 references, and 4 seconds for 60,000 and more.

        Args:
            image: A picture as in :meth:`search_image`; several photos of one thing as ``Query(image=[a, b])``, which
                are averaged; or a list of them, which gives a list.
            target_fpr: The share of pictures of other things that may be taken for an item, above 0 and below 1.
            prior: The share of pictures whose item is in the catalog, above 0 and below 1: it shifts probabilities.
            k: How many hits, at least 1.
            where: Only items that fit.
            models: The name of a model, or several with a weight for each: ``{"plushie-mini": 0.6, "dinov2": 0.4}``. By
                default the weights that :meth:`calibrate` has learned, if these find more than the first model
                alone, or else the first that sees pictures. Texts, and pictures with texts, are looked up by one model.
            query_crops: As in :class:`SearchOptions`.

        Raises:
            PictureError: The picture cannot be decoded.
            ArgumentError: An option makes no sense, a model is not there, several models are to look up texts, a query
                has items, vectors or negative weights, the queries are of several kinds, or they have texts and
                :meth:`calibrate` had none.
            ModelError: The model sees no pictures.
        """
        shown, single = pictured(image)
        found = self._core.identify(
            [_picture_row(one) for one in shown],
            target_fpr=target_fpr,
            prior=prior,
            k=k,
            where=where,
            models=models,
            query_crops=query_crops,
        )
        answers = [
            Identification(
                verdict,
                plausible[0] if plausible else None,
                probability,
                margin,
                strength,
                threshold,
                tuple(plausible),
                Results(
                    hits,
                    query=query,
                    model=asked(hits, _names(models)),
                    thumbnails=self.thumbnail,
                ),
            )
            for query, (verdict, probability, margin, strength, threshold, plausible, hits) in zip(
                shown, found, strict=True
            )
        ]
        return answers[0] if single else answers

    def calibrate(
        self,
        queries: Iterable[tuple[ImageLike | Query, Text | None]] | None = None,
        *,
        models: By | Sequence[str] | None = None,
    ) -> Calibration:
        """Learns what scores mean in this catalog, for :meth:`identify` and :attr:`Hit.probability`; stores it.

        Each of at most 2,000 references is looked up as if it were not stored: that gives the scores of the right item,
        where an item has others, and those of wrong ones. What is lacking comes from scores that are typical of the
        model. The more references there are, the less these count.

        Labeled queries tell what pictures are like that differ from the references; 100 are plenty. They count more
        than the references and are kept until the next call. Texts, and pictures with texts, are calibrated only by
        such queries: at least 10 for items of the catalog.

        Whether the best items are looked at a second time is decided here, too; see :meth:`identify`.

        The weights of several models are learned from at most 1,000 left out references, whose items have others, and
        from the labeled pictures. Of all combinations of weights in steps of a twentieth, of cosines of the same
        spread, those are taken by which right items lead the most. To tell what that gains, the items are divided in
        five parts, and the queries of each are looked up by the weights that the others choose. If more of them find
        their item first than by the first model alone, by a 95 % bootstrap interval of the difference that excludes 0
        (items drawn together), these weights look up pictures from now on, in :meth:`identify` and in searches that
        name no ``models``; if not, the first model does. That stays until the weights are learned again.

        A search of a catalog of up to 1,000 references, and :meth:`identify`, calibrate pictures by themselves where it
        is due. Searches of a larger catalog have the probabilities of the last calibration, or None.

        Args:
            queries: Pairs of a picture or :class:`Query`, and the id of its item or None if that is not in the catalog.
                All are pictures, all are texts, or all are both. By default the references alone are used.
            models: A list of models, the first one of the engine among them, learns their weights; a name calibrates
                that model alone, and a dict several models with these weights. By default pictures learn the weights of
                all models, where there are 30 queries or references to learn from, and texts have the first model that
                reads them.

        Returns:
            The counts of references and queries it was made from, the expected error rates, and the learned weights.

        Raises:
            UnknownItemError: A label is no item of the catalog.
            PictureError: A picture cannot be decoded.
            ArgumentError: The queries are of several kinds or too few, or have items, vectors or negative weights; a
                model is not there, or named twice; or there is too little to learn weights from.
            ModelError: A model sees no pictures, or reads no texts.
            CatalogError: The outcome cannot be stored. In a catalog that was opened by ``read_only=True``, it is kept
                in memory alone.
        """
        pairs = list(queries or ())
        rows = [_picture_row(query) for query, _ in pairs]
        figures, weights, learned = self._core.calibrate(rows, [label for _, label in pairs], models=models)
        weighed = None
        if learned is not None:
            chosen, gain, used = learned
            weighed = LearnedWeights(dict(chosen), Interval(*gain), used)
        return Calibration(*figures, weights=dict(weights), learned=weighed)

    @overload
    def classify(  # type: ignore[overload-overlap]
        self,
        image: ImageLike,
        labels: Sequence[str] | None = None,
        *,
        by: Literal["auto", "images", "texts"] = "auto",
        where: Where | None = None,
        model: str | None = None,
        expand: bool | Sequence[str] = True,
    ) -> Classification: ...
    @overload
    def classify(
        self,
        image: Sequence[ImageLike],
        labels: Sequence[str] | None = None,
        *,
        by: Literal["auto", "images", "texts"] = "auto",
        where: Where | None = None,
        model: str | None = None,
        expand: bool | Sequence[str] = True,
    ) -> list[Classification]: ...
    def classify(
        self,
        image: ImageLike | Sequence[ImageLike],
        labels: Sequence[str] | None = None,
        *,
        by: Literal["auto", "images", "texts"] = "auto",
        where: Where | None = None,
        model: str | None = None,
        expand: bool | Sequence[str] = True,
    ) -> Classification | list[Classification]:
        """Tells which class a picture is of, with probabilities that sum to 1 together with that of none of them.

        A class is known by its examples, the references of the items that have its label, and by its name, if a model
        reads texts and sees pictures. Examples are left out in turn, each with its item, to choose how much the best
        example counts beside the mean of all, and examples beside names, and to fit the probabilities. The classes are
        learned at the first call, and again if the catalog or an argument has changed.

        Args:
            image: A picture as in :meth:`search_image`; a list gives a list.
            labels: The names of the classes, two or more; those without examples go by the name alone. By default all
                labels of the catalog.
            by: ``"images"`` goes by examples alone, ``"texts"`` by names alone, ``"auto"`` by both.
            where: Only examples of items that fit.
            model: The name of the model of the examples; the first that sees pictures by default.
            expand: Whether a name is looked up by the mean of the vectors of phrases around it, or templates of these,
                as in :class:`SearchOptions`; True by default.

        Raises:
            PictureError: A picture cannot be decoded.
            ArgumentError: There are no two classes, or a class has neither examples nor a name that a model can read.
            ModelError: No model sees pictures.
        """
        images, single = _core.each_image(listed(image))
        core = self._core
        _, version = core.position()
        phrases = tuple(expand) if isinstance(expand, list) else expand
        asked = (None if labels is None else tuple(labels), by, repr(where), model, phrases)
        state = (core, version, asked)
        known = self._learned
        if known is None or known[0] != state:
            made = learn_classes(core, labels, by=by, where=where, model=model, expand=expand)
            known = self._learned = (state, made)
        answers = known[1].classify(core, images)
        return answers[0] if single else answers

    @overload
    def compare(  # type: ignore[overload-overlap]
        self,
        a: ImageLike,
        b: ImageLike | None = None,
        *,
        item: Text | None = None,
        threshold: float = 0.9,
        models: By | None = None,
        audit: str | os.PathLike[str] | None = None,
    ) -> Likeness: ...
    @overload
    def compare(
        self,
        a: ImageLike | Sequence[ImageLike],
        b: ImageLike | Sequence[ImageLike] | None = None,
        *,
        item: Text | Sequence[Text] | None = None,
        threshold: float = 0.9,
        models: By | None = None,
        audit: str | os.PathLike[str] | None = None,
    ) -> list[Likeness]: ...
    def compare(
        self,
        a: ImageLike | Sequence[ImageLike],
        b: ImageLike | Sequence[ImageLike] | None = None,
        *,
        item: Text | Sequence[Text] | None = None,
        threshold: float = 0.9,
        models: By | None = None,
        audit: str | os.PathLike[str] | None = None,
    ) -> Likeness | list[Likeness]:
        """Tells how like a picture is to another one, or to an item's best reference.

        Args:
            a: A picture, or a list of them.
            b: Another picture, or a list of as many: one alone is compared with each of the other side.
            item: The id of an item in place of ``b``, or a list of them.
            threshold: The similarity from 0 to 1 from which both are the same.
            models: The name of the model that compares, or several with weights; by default all that see pictures,
                alike.
            audit: A file to which a line of JSON is appended for each comparison, with the time, the models'
                fingerprints, the sequence number of the catalog, the digests of the pictures, scores and verdict. Lines
                of several processes do not mix. None by default.

        Returns:
            A :class:`Likeness`, or a list of them if there is a list.

        Raises:
            PictureError: A picture cannot be decoded.
            KeyError: There is no such item.
            ArgumentError: Neither or both of ``b`` and ``item`` are given, the lists differ in length, or the threshold
                or a model makes no sense.
            OSError: The log cannot be written.
        """
        return compare(self._core, a, b, item, threshold=threshold, models=models, audit=audit)

    def explain(
        self,
        query: ImageLike | Query,
        hit: Hit | Text,
        reference: str | Reference | None = None,
        *,
        method: Method = "windows",
        detail: Literal[1, 2] = 1,
        model: str | None = None,
        sides: Literal["both", "query"] = "both",
        language: Language = "en",
    ) -> Explanation:
        """Explains why an item matches a query: heat maps of both pictures, regions, words, and a sentence.

        ``"windows"`` leaves one window of the picture sharp, blurs the rest, and takes the cosine of that picture with
        the other side, less that of the wholly blurred picture, for 25 windows in one batch. That is occlusion
        (Zeiler and Fergus 2014) the other way round, and works with every model that sees pictures. The map of the
        query's picture is that of its cosine with the reference's vector; the map of the reference, that of its cosine
        with the query's vector. The reference's original is used, or else its thumbnail, of which a note tells.

        Args:
            query: A picture, or a :class:`Query` of pictures, texts, items and vectors. Of several pictures the one of
                the highest weight gets a map. For words the map is that of the reference, and each word's part is the
                score less that of the query without it.
            hit: A hit, or the id of an item.
            reference: The name or digest of the item's reference, or the reference; that of the hit by default, and of
                an id the nearest one.
            method: ``"windows"`` or ``"cam"``.
            detail: 1 for 25 windows of each picture, 2 for 81, which shows smaller parts.
            model: The name of the model; by default that which looks such queries up.
            sides: ``"both"``, or ``"query"`` for the map of the query's picture alone in half of the time.
            language: That of the sentence: ``"en"`` or ``"zh"``.

        Raises:
            PictureError: The query's picture cannot be decoded.
            KeyError: There is no such item, or it has no such reference.
            ArgumentError: An option makes no sense, or the parts of the query cancel each other out.
            ModelError: The model does not look up all of the query, or sees no pictures.
        """
        return explain(
            self._core,
            query,
            hit,
            _reference(reference),
            method=method,
            detail=detail,
            model=model,
            sides=sides,
            language=language,
        )

    def inspect(
        self,
        photo: ImageLike | Sequence[ImageLike],
        item: Text | None = None,
        *,
        golden: ImageLike | Sequence[ImageLike] | None = None,
        threshold: float = 0.9,
        alarm_rate: float = 0.05,
        camera: Literal["fixed", "free"] = "fixed",
        model: str | None = None,
        audit: str | os.PathLike[str] | None = None,
    ) -> Inspection | Inspections:
        """Inspects a photo of a product beside golden samples: pass, review or fail, and where it differs.

        Two things are looked at. The similarity tells whether the photo shows the item: the probability, as
        :meth:`compare` has it, or else the cosine with the nearest sample. The anomaly tells how far the parts that
        differ most are from those of the nearest sample, as in PatchCore (Roth et al. 2022), but each place has its own
        memory: by the last feature maps of nine overlapping tiles of the photo, or for models without such maps by the
        windows of :meth:`explain`. Its limit is that of the samples, each beside the others (conformal prediction):
        at most ``alarm_rate`` of good photos are above it if there are 19 samples for 5 %, and at most 1 / (n + 1) of
        them with n samples, which a note says.

        The verdict is ``"pass"`` if both are right, and ``"fail"`` if the anomaly is 1.25 times its limit or more, or
        both are wrong; otherwise ``"review"``. With fewer than three samples the similarity decides alone.

        Args:
            photo: A photo, a list of them, or the path of a folder with photos.
            item: The id of the item whose references are the golden samples; of more than 64, 64 evenly spread.
            golden: Pictures that are the golden samples, in place of an item.
            threshold: The similarity from 0 to 1 from which the photo shows the item.
            alarm_rate: The share of good photos that may be above the limit, above 0 and below 1.
            camera: ``"fixed"`` if all photos show the product in one place and pose under one light, so that a part is
                compared with the same place; ``"free"`` for photos by hand, where it may be anywhere, which finds only
                large faults.
            model: The name of the model; by default the first that sees pictures.
            audit: A file to which a line of JSON is appended for each verdict, as in :meth:`compare`.

        Returns:
            An :class:`Inspection`, or :class:`Inspections` if there is a list or a folder. Of those, photos that cannot
            be used are listed and stop nothing.

        Raises:
            PictureError: The photo or a golden picture cannot be decoded.
            KeyError: There is no such item.
            ArgumentError: Neither or both of ``item`` and ``golden`` are given, or an option makes no sense.
            OSError: The log cannot be written.
        """
        return inspect(
            self._core,
            photo,
            item,
            golden=golden,
            threshold=threshold,
            alarm_rate=alarm_rate,
            camera=camera,
            model=model,
            audit=audit,
        )

    # Order in the catalog

    def duplicates(
        self,
        *,
        where: Where | None = None,
        model: str | None = None,
        near: float = 0.98,
        limit: int | None = 100,
    ) -> Duplicates:
        """Finds references that are the same or nearly so, in four classes, the most similar pairs of each first.

        ``"same bytes"`` is one file under two items. ``"same picture"`` is one picture, encoded or resized otherwise:
        the vectors are near, and the thumbnails have about the same brightness and colors in all of their cells.
        ``"same item"`` are references of one item that show nearly the same, so that one of them tells nothing new.
        ``"look-alike"`` are different items, each pair by its two most similar references, that are as near to each
        other as three of four references are to another one of their item; if no item has two, the nearest twentieth.

        Each reference is compared with its nearest neighbors. Among more than 20,000 references these are looked for in
        the nearest parts of the catalog, which may miss a few look-alikes. Nothing is changed: see :meth:`remove` and
        :meth:`remove_reference`.

        Args:
            where: Only items that fit.
            model: The name of the model whose vectors are compared; the first by default.
            near: The least cosine of ``"same item"``.
            limit: The most pairs of each class; None for all.

        Raises:
            ArgumentError: ``near`` or ``limit`` makes no sense, or as in the searches.
        """
        return find_duplicates(self._core, self.thumbnail, where=where, model=model, near=near, limit=limit)

    def review(
        self,
        *,
        where: Where | None = None,
        model: str | None = None,
        margin: float = 0.05,
        limit: int | None = 100,
    ) -> Review:
        """Lists the items that need attention, the most urgent first, each with plain reasons.

        Each reference is compared with the others as if it were a query: an item needs attention if another item is
        nearer to one of its references than its other references are, or nearly as near, or if it has one reference.
        To a single reference the usual cosine within items of the catalog stands for its own.

        Args:
            where: Only items that fit.
            model: The name of the model whose vectors are compared; the first by default.
            margin: How much nearer the own references must be than other items, as a difference of cosines.
            limit: The most items; None for all.

        Raises:
            ArgumentError: ``margin`` or ``limit`` makes no sense, or as in the searches.
        """
        return find_concerns(self._core, where=where, model=model, margin=margin, limit=limit)

    def confirm(self, image: ImageLike, item: Text, *, name: str | None = None) -> Added:
        """Adds a picture that was looked up as a reference of the item that it shows.

        Args:
            image: The picture.
            item: The id of an item of the catalog.
            name: The name of the reference; by default a file's path, and the digest of any other picture.

        Raises:
            KeyError: There is no such item.
            PictureError: The picture cannot be decoded.
            ArgumentError: ``name`` is given for a file, whose path is its name.
            CatalogError: The catalog has models that this engine was opened without.
        """
        self._core.get(item)
        if hasattr(image, "read"):
            image = image.read()
        if name is None and not isinstance(image, (str, os.PathLike)):
            name = _core.picture_digest(image)
        return self.add(item, images=[image], names=[name])

    # Vectors

    def encode_images(self, images: Sequence[ImageLike], *, model: str | None = None) -> NDArray[np.float32]:
        """Unit vectors of pictures: float32 (n, dim), of the model that looks them up, or the one named."""
        return self._core.encode_images(listed(images), model=model)

    def encode_texts(self, texts: TextsLike, *, model: str | None = None) -> NDArray[np.float32]:
        """Unit vectors of texts: float32 (n, dim), of the model that looks them up, or the one named.

        Texts of which the model knows no word have one vector, and an :class:`UnreadableTextWarning` says so.
        """
        return self._core.encode_texts(texts, model=model)

    def vectors(self, id: Text, *, model: str | None = None) -> NDArray[np.float32]:
        """The stored unit vectors of an item's references, float32 (n, dim), of the first model or the one named.

        Raises:
            KeyError: There is no such item.
            ArgumentError: There is no such model.
        """
        return self._core.vectors(id, model=model)

    # How good it is

    def evaluate(
        self,
        queries: Pictures | None = None,
        *,
        texts: Texts | None = None,
        unknown: Unknown | None = None,
        k: int = 10,
        depth: int | None = None,
        where: Where | None = None,
        models: By | None = None,
        missing: Missing = "error",
        false_reject_rate: float = 0.05,
        rounds: int = 2000,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Evaluation:
        """Asks for items that are known, and says how often they are found and how sure that is.

        Without ``queries`` and ``texts`` each reference of an item that has others is left out in turn, and its stored
        vector is the query: then no pictures are needed.

        Args:
            queries: A folder of ``<item>/<picture>``, or pairs of a picture and its item, or of a picture and several
                items of which any is right.
            texts: Pairs of a text and its item or items. They are counted together with ``queries``: evaluate them by
                themselves to see them apart.
            unknown: A folder or list of pictures of things that are not in the catalog: how often are they taken for
                something that is?
            k: The figures ``hit@k`` and so on look at so many items.
            depth: For ``mAP`` and ``MRR`` an item below this rank is not found; at least 100 by default.
            where: Search only among items that fit; queries for others are left out.
            models: The name of the model that looks the queries up, or several with weights, as in a search. References
                that are left out are looked up by the first one by default.
            missing: ``"error"`` to refuse queries for items that are not in the catalog, ``"skip"`` to leave them out
                and count them.
            false_reject_rate: The share of known queries that may be turned away to keep unknown ones out.
            rounds, seed: Of the bootstrap that gives the intervals; see :func:`plushie_search.metrics.mean`.
            progress: Called with (queries done, queries in all, the query that comes next); by default a progress bar
                in a notebook.

        Pictures that cannot be used are reported and stop nothing.

        Raises:
            ArgumentError: A query is for an item that is not in the catalog and ``missing`` is ``"error"``, there is no
                query left, no item has two references to leave one out, or k or another number means nothing.
            OSError: A folder cannot be read.
        """
        with shown(progress, "evaluating") as told:
            return evaluate(
                self,
                queries,
                texts=texts,
                unknown=unknown,
                k=k,
                depth=depth,
                where=where,
                models=models,
                missing=missing,
                false_reject_rate=false_reject_rate,
                rounds=rounds,
                seed=seed,
                progress=told,
            )

    # Keeping

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Writes a copy of the catalog, as it is now, into the directory ``path``; made if it does not exist.

        Others may read and write the catalog meanwhile. The copy is a catalog of its own.

        Raises:
            CatalogError: There is a catalog in ``path`` already, or the copy cannot be written.
        """
        self._core.backup(expanded(path))

    def verify(self, *, repair: bool = False) -> Verification:
        """Reads the whole catalog, and lists its damage.

        SQLite's own check of the file is made; each vector is compared with its checksum, and must be finite and of
        length 1; each reference must have an item and a vector of each model; counts, the items' words, the
        approximate index, thumbnails and the originals in ``media/`` must be as they were written. Files that
        references were added from are read, too, to tell which have moved or changed.

        Args:
            repair: Whether to make anew what can be: counts, the index of words, vectors whose pictures are there
                (this engine must have all models of the catalog), and originals in ``media/`` whose files have the same
                content. Damaged files of the index, of thumbnails and originals are moved aside, as
                ``NAME.damaged``; nothing is deleted. False by default.

        Raises:
            CatalogError: The catalog cannot be read at all, or may only be read and is to be repaired.
        """
        found = self._core.verify(repair=repair)
        return Verification(*(tuple(Problem(*one) for one in some) for some in found))

    def compact(self) -> None:
        """Gives unused space back, and deletes the marks that removed references leave for other open engines.

        The next search of each other open engine reads all vectors again.

        Raises:
            CatalogError: The catalog cannot be changed.
        """
        self._core.compact()

    def optimize(self) -> None:
        """Builds the approximate index anew, measures how much searches must look at, and returns when that is done.

        An index is inverted lists (IVF) with product quantization of 4 bits for every two numbers (fast scan, André et
        al. 2015), unless the engine was opened with ``index``; what it finds is compared by full vectors. Up to 800
        references, which need not find their own items, stand for queries by pictures. For queries by texts stand the
        catalog's labels and texts, if there are 50 and the model reads, or else references less their mean. The least
        that finds ``recall`` of the exact best 10 items is kept; :meth:`stats` has it, with the measured recall.

        The engine does the same by itself, in the background, once as many references have come or gone as are a
        quarter of the index; before, many additions become a part of it. Additions are found and removals gone at
        once, before and after. Searches by several models, with ``fusion`` or ``aggregate`` other than the default,
        or by a picture with words compare every reference, whatever the index. Up to about 100,000 references nothing
        is built unless ``index`` names one.

        Raises:
            ArgumentError: The catalog has fewer references than the index named by ``index`` is learned from, or the
                recall cannot be reached within ``memory``.
        """
        self._core.optimize()

    def add_model(self, model: Models, *, progress: Progress | None = None) -> ReencodeReport:
        """Gives the catalog a further model, which encodes the pictures of all references; its own models stay.

        Works as :meth:`reencode`: of each reference the original is encoded, or else its thumbnail, vectors are staged,
        Ctrl-C stops it, and running it again goes on. Meanwhile this engine, in other threads, and all others answer
        and add as before; call it in a thread of its own, or by :class:`AsyncEngine`, to go on with other work. The
        last step is one transaction.

        This engine works with its own models and the new one afterwards. Others go on searching with those that they
        have. To add pictures, they must open the catalog again, since a new one needs a vector of each model.
        :meth:`reencode` leaves a model out again.

        Args:
            model: All that :class:`Engine` takes: a name, a directory or an encoder, or several of them.
            progress: As in :meth:`reencode`.

        Raises:
            CatalogError: As :meth:`reencode`, or the catalog has vectors alone.
            ModelError: A model cannot be used, or encodes no pictures.
            ArgumentError: No model is given, or two have the same name.
        """
        return self._move(model, progress, stay=True)

    def reencode(self, model: Models, *, progress: Progress | None = None) -> ReencodeReport:
        """Moves the catalog to another model: encodes its pictures again, and replaces all vectors.

        The picture of a reference is its original, in ``media/`` or the file that it was added from, if the content is
        still the same; else its thumbnail of at most 256 pixels, whose vector is a little less exact. Vectors of models
        that the catalog has already are kept: to leave a model out, name those that stay, and nothing is encoded.

        The new vectors are staged in the file ``reencode.vectors`` of the catalog: Ctrl-C stops it, and running it
        again goes on. Others may use the catalog meanwhile, and what they add is encoded, too. The last step is one
        transaction. This engine works with the new model afterwards. Other engines that have the catalog open, here or
        in other processes, go on searching with models that stay. With others they raise CatalogError at their next
        search or add, and must open it again.

        ``ps.Engine(path, model=[])`` opens a catalog whose own model is gone.

        Args:
            model: All that :class:`Engine` takes: a name, a directory or an encoder, or several of them.
            progress: Called with (references done, references in all, the item that comes next); by default a progress
                bar in a notebook.

        Raises:
            CatalogError: References have no picture any more, the catalog cannot be written or another call moves it,
                too, or the disk has not enough space. Then nothing is moved.
            ModelError: A model cannot be used, or encodes no pictures.
            ArgumentError: No model is given, or two are the same.
        """
        return self._move(model, progress, stay=False)

    def _move(self, model: Models, progress: Progress | None, *, stay: bool) -> ReencodeReport:
        """Encodes the pictures again by other models, or by further ones if the catalog's own ``stay``."""
        core, connect, given = self._core, self._connect, named(model)
        if connect is None:
            raise ArgumentError("this engine is closed: open the catalog again")
        threads = self._again.keywords["threads"]
        encoders = [(name, hub.as_encoder(one, threads=threads)) for name, one in given]
        sources = _sources(given, encoders)
        with shown(progress, "encoding") as told:
            move = core.add_models if stay else core.reencode
            done = move(encoders, sources=sources, progress=told)
        if stay:
            new = {encoder.fingerprint for _, encoder in encoders}
            encoders = [*(one for one in connect.args[-1] if one[1].fingerprint not in new), *encoders]
        reconnect = functools.partial(self._again, encoders, dim=None, absent=[])
        # Searches of other threads that have begun end with the models that they began with.
        opened = reconnect()
        with forks.lock:
            self._opened, self._connect, self._process = opened, reconnect, forks.process
        self._learned = None
        self._introduce(sources)
        others = opened.stats()["other_models"] if stay else []
        report = ReencodeReport((*others, *self._models), *done)
        logger.info("moved %s: %s", self.path, report)
        return report

    # The engine itself

    def stats(self) -> dict[str, Any]:
        """Counts, sizes, the models and the index, as a dict.

        ``models`` has a dict for each model; ``model``, ``version``, ``fingerprint``, ``dimension`` and ``languages``
        are those of the first. ``cache`` tells how many pictures and texts of searches were remembered (``hits``) and
        how many had to be encoded (``misses``), since the encoders were opened. ``calibration`` lists the attributes of
        the :class:`Calibration` of each model, or of several with their weights, and kind of queries, as dicts, and
        ``learned_weights`` those of the :class:`LearnedWeights` that were learned last, or None. ``other_models`` are
        names of models that the catalog has and this engine was opened without. ``index`` is ``"exact"``, or the
        factory string of the approximate index, and ``approximate`` lists for each model what was measured for it:
        ``pictures`` and ``texts`` with ``looked`` (the lists that are probed, or the references that a graph keeps in
        view), ``k_factor`` and ``recall``. ``index_bytes`` is memory of its own, without pages of files.
        ``index_device`` has ``device``, the ``references`` on it and the ``bytes`` that they take there; None on the
        processor.
        """
        return self._core.stats()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they were given."""
        return self._models

    @property
    def image_model(self) -> str | None:
        """The name of the first model that sees pictures; None if none does.

        It looks them up unless a search names another, or :meth:`calibrate` has learned weights that find more.
        """
        return self._sees

    @property
    def text_model(self) -> str | None:
        """The name of the model that looks up texts unless a search names another; None if none reads any."""
        return self._reads

    def _unread(
        self, texts: Sequence[Sequence[str]], models: By | None, found: Sequence[Sequence[Hit]]
    ) -> list[list[str]]:
        """For each query, a warning for each of its texts of which no model knows a word. One for all is issued.

        Texts by whose words items were found need none.
        """
        if not models and self._reads is None:
            return [[NO_READER] if part else [] for part in texts]
        flat = [text for part in texts for text in part]
        unread = {text for text, bad in zip(flat, self._core.unreadable(flat, models=models), strict=True) if bad}
        if unread:
            pairs = zip(texts, found, strict=True)
            unread -= {text for part, hits in pairs if any(hit.matched for hit in hits) for text in part}
        if not unread:
            return [[] for _ in texts]
        name = _names(models or self._reads)
        note = {text: f"{name} knows no word of {_beginning(text)}, so the hits do not depend on it" for text in unread}
        first = next(text for text in flat if text in unread)
        more = f", and of {len(unread) - 1} more" if len(unread) > 1 else ""
        warnings.warn(
            f"{name} knows no word of {_beginning(first)}{more}, so the hits do not depend on it; use words of its "
            "languages, which stats() tells, or a model that reads this one",
            _core.UnreadableTextWarning,
            stacklevel=4,
        )
        return [[note[text] for text in dict.fromkeys(part) if text in unread] for part in texts]

    def _asked(self, models: By | None, *, image: bool, text: bool, first: bool = False) -> str | None:
        """The names of what looks up pictures, texts, and items or vectors."""
        asked = ((self._sees, image), (self._reads, text), (self._models[0], first))
        return _names(models or {name: 1.0 for name, used in asked if used and name is not None})

    @property
    def path(self) -> str:
        """The catalog's directory."""
        return self._core.path

    def close(self) -> None:
        """Gives memory and files back; every later call but this one raises ArgumentError."""
        self._connect = None
        self._opened.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("an Engine cannot be pickled or copied: open the catalog again by its path")

    def __repr__(self) -> str:
        return repr(self._core)


def _picture_row(query: ImageLike | Query) -> _QueryRow:
    """A picture or query as the core takes it."""
    return query._row() if isinstance(query, Query) else ([(query, 1.0)], [], [], [])


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


def _sources(
    models: Iterable[tuple[str | None, Model]], encoders: Iterable[tuple[str | None, _core.Encoder]]
) -> dict[str, str]:
    """Returns the name or directory of each model by its fingerprint, if it has one."""
    return sources_of(zip((one for _, one in models), (encoder for _, encoder in encoders), strict=True))


def _names(models: By | None) -> str | None:
    return " + ".join(models) if isinstance(models, Mapping) else models


def _reference(reference: str | Reference | None) -> str | None:
    """The name or digest by which the core knows a reference."""
    return reference.key if isinstance(reference, Reference) else reference


def _beginning(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _item(row: tuple[Any, ...]) -> Item:
    id, label, text, metadata, references = row
    return Item(id, label, text, metadata, tuple(Reference(*reference) for reference in references))
