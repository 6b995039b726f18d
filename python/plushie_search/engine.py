"""An open catalog: add, remove, search."""

from __future__ import annotations

import functools
import numbers
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import tee, zip_longest
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias, overload

from . import _core, forks, hub
from .evaluate.run import evaluate
from .paths import expanded
from .results import Item, Reference, Report, Results
from .rows import Row, pictures, to_rows
from .searcher import By, Progress, Where
from .service import Remote, one_each

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from ._core import _Image as ImageLike
    from ._core import _Texts as TextsLike
    from .evaluate.result import Evaluation
    from .evaluate.run import Pictures, Texts, Unknown

Text: TypeAlias = str | SupportsIndex
"""A text, or a whole number, which means its digits."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """Pictures and texts, each with a weight; a negative weight means "and not like this".

    ``image`` and ``text`` are each one thing, or a list of things and of ``(thing, weight)`` pairs:
    ``Query(image=[(a, 1.0), (b, 0.5)], text=[("scarf", 0.5), ("hat", -0.4)])``. A thing of a list without a weight has
    weight 1: ``Query(image=[a, b])``. What one model looks up is one vector: the weighted sum of the unit vectors of
    its parts, scaled to length 1. Where one model looks up the pictures and another the texts, a score is the mean of
    the two cosines, each weighted by the sum of its parts' weights without their signs.
    """

    image: ImageLike | Sequence[ImageLike | tuple[ImageLike, float]] | None = None
    text: str | Sequence[str | tuple[str, float]] | None = None

    def _parts(self) -> tuple[list[tuple[Any, float]], list[tuple[str, float]]]:
        return _weighted(self.image), _weighted(self.text)


def _weighted(part: Any) -> list[tuple[Any, float]]:
    if part is None:
        return []
    if isinstance(part, list) or (isinstance(part, tuple) and not _is_pair(part)):
        return [(one[0], float(one[1])) if _is_pair(one) else (one, 1.0) for one in part]
    return [(part[0], float(part[1]))] if _is_pair(part) else [(part, 1.0)]


def _texts(text: Any) -> str | Sequence[str]:
    """The texts of an array or a column as a list; anything else as it is."""
    return list(text) if hasattr(text, "__array__") and not isinstance(text, str) else text


def _is_pair(part: Any) -> bool:
    """Whether it is a thing with its weight."""
    return isinstance(part, (list, tuple)) and len(part) == 2 and isinstance(part[1], numbers.Real)


@dataclass(frozen=True)
class Added:
    """What :meth:`Engine.add` did: new references, and pictures that the item had already."""

    references: int
    duplicates: int


class Engine:
    """An open catalog.

    Engines may be shared between threads, and many processes may open one catalog: each sees the others' changes at
    its next call. After a fork (``os.fork``, ``multiprocessing``, ``gunicorn --preload``, a DataLoader) parent and
    child may both use it: the child opens the catalog and the models again at its first call.

    Args:
        path: The catalog's directory; made when it does not exist (unless ``create`` is false).
        model: A name that :func:`plushie_search.models` lists, or a model directory; or several of them:
            ``model=["dinov2-small", "ViT-B-32::openai"]``. Each sees every picture that is added. A picture is then
            looked up by the first one, and a text by the first one that reads texts, unless a search names another. A
            catalog belongs to the models that its pictures were added with; others are refused. With some of them it
            can be searched, and changed in every way but adding pictures.
        threads: The most threads that this engine's work may use; all cores unless told. Engines of as many threads
            share them.
        create: Whether to make the catalog when there is none.
        read_only: Whether to open a catalog that may only be read, as on read-only media, in an image of a container or
            of another user. It must exist, and every change is refused.
        busy_timeout: How long a change waits for other processes that write to the catalog, in seconds. Ctrl-C ends the
            waiting.
        device: What computes the model: ``"cpu"``; ``"cuda"``, ``"cuda:1"`` or ``"cuda:0,1"``, NVIDIA GPUs that share
            the work; ``"tensorrt"``; ``"openvino"``; or ``"auto"``, a GPU if there is one, or else the processor, with
            a warning. A catalog does not depend on it.
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``: the numbers to compute in, where the device has them; what the
            model is made of unless told.
        max_batch: The most pictures that go through the model together; 32 on GPUs, and elsewhere one, or four where
            that changes no bit.
        accept_license: Whether you consent to the model's license, where that asks for it. Once is enough.
        encoder: The server that runs the model's networks, if they do not run here: an address
            (``"oip://host:8080/model"``), one for each tower (``{"image": ..., "text": ...}``), or a :class:`Service`.
            Where it takes pictures and texts themselves (``"https://host/v1/embeddings?model=NAME"``), ``model`` only
            names it. Of several models, a list with one of these for each, None for those that run here.

    Raises:
        CatalogError: The directory is not a catalog, was made with other models, or cannot be written.
        ModelError: A model or the ONNX Runtime library cannot be used, a model's license needs consent, it cannot be
            downloaded, it is one of several and sees no pictures, or its server cannot be asked or runs another model.
        ImportError: A model would have to be downloaded and ``huggingface_hub`` is not installed.
        ValueError: There is no model of that name, or there are two.
    """

    __slots__ = ("_closed", "_connect", "_models", "_opened", "_process", "_reads", "_sees")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = hub.DEFAULT_MODEL,
        threads: int | None = None,
        device: str = "cpu",
        precision: str | None = None,
        max_batch: int | None = None,
        create: bool = True,
        read_only: bool = False,
        busy_timeout: float = 30.0,
        accept_license: bool = False,
        encoder: Remote | Sequence[Remote | None] | None = None,
    ) -> None:
        models = [model] if isinstance(model, (str, os.PathLike)) else list(model)
        places = one_each(encoder, len(models))

        def connect(path: str, create: bool) -> _core.Engine:
            encoders = [
                hub.open_encoder(
                    one,
                    threads=threads,
                    device=device,
                    precision=precision,
                    max_batch=max_batch,
                    accept_license=accept_license,
                    encoder=place,
                )
                for one, place in zip(models, places, strict=True)
            ]
            return _core.Engine(path, encoders, create=create, read_only=read_only, busy_timeout=busy_timeout)

        path = expanded(path)
        self._opened = connect(path, create)
        # For a child of this process, which may work in another directory.
        models = [os.path.abspath(one) if os.path.isdir(one) else one for one in models]
        self._connect = functools.partial(connect, os.path.abspath(path), False)
        self._process = forks.process
        self._closed = False
        # Every search says who was asked.
        self._models = tuple(self._opened.models)
        self._sees, self._reads = self._opened.image_model, self._opened.text_model

    @property
    def _core(self) -> _core.Engine:
        """The open catalog; opened again by the first call in a process that was forked from this one's."""
        if self._process != forks.process:
            if self._closed:
                raise ValueError("this engine is closed: open the catalog again")
            with forks.lock:
                if self._process != forks.process:
                    self._opened = self._connect()
                    self._process = forks.process
        return self._opened

    # What is in it

    def add(
        self,
        id: Text,
        *,
        images: ImageLike | Sequence[ImageLike] = (),
        label: Text | None = None,
        metadata: Mapping[str, Any] | None = None,
        text: Text | None = None,
    ) -> Added:
        """Adds an item, or adds to an item that is there.

        Each of the engine's models sees each picture. Everything is stored in one transaction, or nothing when one of
        them cannot use a picture. A picture that the item has already (by its content) adds nothing. ``label``,
        ``metadata`` and ``text`` replace what is stored unless they are None. In every method an id, a label or a text
        may be a whole number, which means its digits, and NaN and pandas's NA are None.

        Raises:
            PictureError: A picture cannot be decoded or is beyond the limits.
            ValueError: The id is empty or too long, or a new item has no picture.
            CatalogError: There are pictures, and the catalog has models that this engine was opened without.
        """
        references, duplicates = self._core.add(id, images, label=label, metadata=metadata, text=text)
        return Added(references, duplicates)

    def add_folder(self, folder: str | os.PathLike[str], *, progress: Progress | None = None) -> Report:
        """Adds ``folder/<item>/<picture>``: each folder of pictures becomes an item named by its path.

        A picture directly in ``folder`` is an item of its own. A file is a picture by its ending or by its first bytes;
        hidden files are left out, and folders that systems keep for themselves (``@eaDir``, ``$RECYCLE.BIN``).
        Pictures that cannot be used and folders that cannot be read are reported and stop nothing. Ctrl-C stops it, and
        running it again continues. Files that were moved, renamed or edited since the last time get their references
        new names or new pictures; if they have moved into another item, such as a renamed folder, they leave the old
        one, and an item without pictures is removed.

        Raises:
            ValueError: There is no picture in it.
            OSError: The folder itself cannot be read.
        """
        return Report(*self._core.add_folder(expanded(folder), progress=progress))

    def add_images(
        self,
        images: Iterable[ImageLike],
        *,
        ids: Iterable[Text] | None = None,
        descriptions: Iterable[Text | None] | None = None,
        labels: Iterable[Text | None] | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
        total: int | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Adds each picture to the item of the same place in ``ids``.

        Without ``ids`` each picture must be a path and is an item named by that path. Pictures with the same id
        belong to one item. ``descriptions`` are stored as the items' texts. Any of them may be an iterable without a
        length: no more is taken than a few batches hold. ``total`` is then how many pictures ``progress`` is told.

        Raises:
            ValueError: The lists differ in length, or a picture that is no path has no id.
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
            "descriptions": descriptions,
        }
        for name, values in columns.items():
            if count is not None and isinstance(values, Sized) and len(values) != count:
                raise ValueError(f"{count} images but {len(values)} {name}: give one for each image")
        rows = ((id, [image], label, meta, text) for image, id, label, meta, text in _together(columns))
        total = count if total is None else total
        return Report(*self._core.add_items(to_rows(rows), listed=True, total=total, progress=progress))

    def add_items(self, items: Iterable[Row], *, total: int | None = None, progress: Progress | None = None) -> Report:
        """Adds many items in batches: ``(id, images, label, metadata, text)``, or dicts with these keys.

        Rows and pictures that cannot be used are reported and stop nothing. Ctrl-C stops it, and running it again
        continues where it stopped. Any iterable will do: no more is taken from it than a few batches hold.

        Args:
            items: The rows. An id, a label or a text may be a whole number, which is stored as its digits; NaN and
                pandas's NA are None. Whatever is None, or no key, keeps what is stored.
            total: How many pictures there are, for ``progress``; counted by default where ``items`` is a list.
            progress: Called with (pictures done, pictures in all or None, the item that comes next).

        Raises:
            TypeError: A row is neither a tuple nor a dict; it is named by its number, from 0.
            ValueError: A row has not five parts, or has a key that is none of these.
        """
        if total is None and isinstance(items, (list, tuple)):
            total = pictures(items)
        return Report(*self._core.add_items(to_rows(items), total=total, progress=progress))

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

    def add_vectors(self, ids: Sequence[Text], vectors: ArrayLike | Mapping[str, ArrayLike]) -> Added:
        """Adds vectors of this engine's model that were computed elsewhere: row ``i`` as a reference of ``ids[i]``.

        Args:
            ids: One id for each row; an id may come several times.
            vectors: (n, dim), of any kind of number, rounded to float32 and scaled to length 1. Of several models, one
                such array for each, by its name.

        Raises:
            ValueError: The numbers of ids and vectors differ, a vector has NaN or no length, or a model has no vectors.
            CatalogError: The catalog has models that this engine was opened without.
        """
        parts = list(vectors.items()) if isinstance(vectors, Mapping) else [(None, vectors)]
        references, duplicates = self._core.add_vectors(list(ids), parts)
        return Added(references, duplicates)

    def remove(self, ids: Text | Iterable[Text]) -> None:
        """Removes items with their references: all of them, or none when one is not there.

        Raises:
            KeyError: There is no such item.
        """
        self._core.remove(list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else [ids])

    def get(self, id: Text) -> Item:
        """The item of that id.

        Raises:
            KeyError: There is no such item.
        """
        return _item(self._core.get(id))

    def items(self, *, where: Where | None = None, limit: int | None = None, offset: int = 0) -> list[Item]:
        """The items in the order in which they were added, ``limit`` of them from ``offset`` on.

        Warns if there is none, and ``where`` names a key that the metadata of no item has.

        Raises:
            ValueError: ``limit`` or ``offset`` is negative, or ``where`` cannot be understood.
        """
        for name, number in (("limit", limit), ("offset", offset)):
            if number is not None and number < 0:
                raise ValueError(f"{name} {number}: give 0 or more")
        items = [_item(row) for row in self._core.items(where=where, limit=limit, offset=offset)]
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

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, id: object) -> bool:
        return self._core.contains(id)

    # Search. To a type checker a str is a sequence of str too: what is one query is asked first.

    @overload
    def search_image(  # type: ignore[overload-overlap]
        self,
        image: ImageLike,
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results: ...
    @overload
    def search_image(
        self,
        image: Sequence[ImageLike],
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> list[Results]: ...
    def search_image(
        self,
        image: ImageLike | Sequence[ImageLike],
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results | list[Results]:
        """The ``k`` items whose references look most like ``image``, each with the reference that matched best.

        Args:
            image: A path, bytes, file object, PIL image, numpy array (HWC uint8, or float in 0..1); or a list of
                them, which is computed as one batch and gives a list.
            k: How many items; a catalog with fewer gives fewer.
            where: Only items that fit: ``{"label": "bear", "price": {"$lt": 20}}``, with ``$eq $ne $lt $lte $gt
                $gte $in $nin $contains $not_contains $all $size $exists $and $or $not``; keys are ``id``, ``label``,
                ``text`` or those of the metadata. Of a list a comparison holds if it does for a member.
            min_score: Only hits with at least this score.
            model: The name of the model that looks it up, of those in :attr:`models`; the first that sees pictures
                unless told. Or several, each with a weight: ``{"dinov2-small": 0.6, "ViT-B-32::openai": 0.4}``. Then a
                score is the mean of their cosines with these weights.

        Raises:
            PictureError: The picture cannot be decoded.
            ValueError: k < 1, the filter cannot be read, or there is no such model.
            ModelError: The model sees no pictures.
        """
        single, rows = self._core.search_image(image, k=k, where=where, min_score=min_score, model=model)
        return self._answered(single, rows, image, where, _names(model or self._sees))

    @overload
    def search_text(  # type: ignore[overload-overlap]
        self,
        text: str,
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results: ...
    @overload
    def search_text(
        self,
        text: TextsLike,
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> list[Results]: ...
    def search_text(
        self,
        text: str | TextsLike,
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results | list[Results]:
        """The ``k`` items whose references fit ``text`` best; a list of texts gives a list.

        The first model that reads texts looks it up, unless ``model`` names another or several with weights.

        Raises:
            ValueError: The text is empty or very long, k < 1, the filter cannot be read, or there is no such model.
            ModelError: No model reads texts; the message says how to have one.
        """
        text = _texts(text)
        single, rows = self._core.search_text(text, k=k, where=where, min_score=min_score, model=model)
        notes = self._unread([[text]] if isinstance(text, str) else [[one] for one in text], model)
        return self._answered(single, rows, text, where, _names(model or self._reads), notes=notes)

    @overload
    def search_hybrid(  # type: ignore[overload-overlap]
        self,
        image: ImageLike,
        text: str,
        *,
        image_weight: float = 0.6,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results: ...
    @overload
    def search_hybrid(
        self,
        image: Sequence[ImageLike],
        text: TextsLike,
        *,
        image_weight: float = 0.6,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> list[Results]: ...
    def search_hybrid(
        self,
        image: ImageLike | Sequence[ImageLike],
        text: str | TextsLike,
        *,
        image_weight: float = 0.6,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results | list[Results]:
        """The ``k`` items that look like ``image`` and fit ``text``.

        The query is ``image_weight`` of the picture's unit vector and the rest of the text's. Where one model looks up
        the picture and another the text, a score is ``image_weight`` of the picture's cosine and the rest of the
        text's; with ``model`` that one looks up both. Lists of pictures and texts of the same length give a list.
        Where ``model`` has weights for several, each looks up what it can, as one vector, and counts its weight.
        """
        text = _texts(text)
        single, rows = self._core.search_hybrid(
            image, text, image_weight=image_weight, k=k, where=where, min_score=min_score, model=model
        )
        notes = self._unread([[text]] if isinstance(text, str) else [[one] for one in text], model)
        return self._answered(single, rows, text, where, self._asked(model, image=True, text=True), notes=notes)

    def search_vector(
        self,
        vector: ArrayLike | Mapping[str, ArrayLike],
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results | list[Results]:
        """The ``k`` items nearest to a vector of this engine's model: (dim,), or (n, dim) for a list of results.

        Numbers of any kind are taken, in an array or in lists, and rounded to float32.

        Of several models it is the first one's, unless ``model`` names another. A dict with a vector of each of several
        models, by name, goes with a dict of their weights as ``model``.

        Raises:
            ValueError: The numbers or models do not fit, or a vector has NaN or no length.
        """
        single, rows = self._core.search_vector(vector, k=k, where=where, min_score=min_score, model=model)
        return self._answered(single, rows, "vector", where, _names(model or self._models[0]))

    @overload
    def search(
        self,
        query: Query,
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results: ...
    @overload
    def search(
        self,
        query: Sequence[Query],
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> list[Results]: ...
    def search(
        self,
        query: Query | Sequence[Query],
        *,
        k: int = 5,
        where: Where | None = None,
        min_score: float | None = None,
        model: By | None = None,
    ) -> Results | list[Results]:
        """The ``k`` items nearest to a :class:`Query` of several weighted parts; a list gives a list.

        With ``model``, that one looks up pictures and texts. Where it has weights for several, each looks up what it
        can, as one vector, and counts its weight.
        """
        single = isinstance(query, Query)
        queries: Sequence[Query] = [query] if isinstance(query, Query) else query
        parts = [q._parts() for q in queries]
        rows = self._core.search(parts, k=k, where=where, min_score=min_score, model=model)
        asked = [self._asked(model, image=q.image is not None, text=q.text is not None) for q in queries]
        notes = self._unread([[text for text, _ in texts] for _, texts in parts], model)
        return self._answered(single, rows, query, where, *asked, notes=notes)

    # Vectors

    def encode_images(self, images: Sequence[ImageLike], *, model: str | None = None) -> NDArray[np.float32]:
        """Unit vectors of pictures: float32 (n, dim), of the model that looks them up, or the one named."""
        return self._core.encode_images(images, model=model)

    def encode_texts(self, texts: TextsLike, *, model: str | None = None) -> NDArray[np.float32]:
        """Unit vectors of texts: float32 (n, dim), of the model that looks them up, or the one named.

        Texts of which the model knows no word have one vector, and an :class:`UnreadableTextWarning` says so.
        """
        return self._core.encode_texts(texts, model=model)

    def vectors(self, id: Text, *, model: str | None = None) -> NDArray[np.float32]:
        """The stored unit vectors of an item's references, float32 (n, dim), of the first model or the one named.

        Raises:
            KeyError: There is no such item.
            ValueError: There is no such model.
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
        model: By | None = None,
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
            depth: For ``mAP`` and ``MRR`` an item below this rank is not found; at least 100 unless told.
            where: Search only among items that fit; queries for others are left out.
            model: The name of the model that looks the queries up, or several with weights, as in a search. References
                that are left out are looked up by the first one unless told.
            false_reject_rate: The share of known queries that may be turned away to keep unknown ones out.
            rounds, seed: Of the bootstrap that gives the intervals; see :func:`plushie_search.metrics.mean`.
            progress: Called with (queries done, queries in all, the query that comes next).

        Pictures that cannot be used are reported and stop nothing.

        Raises:
            ValueError: A query is for an item that is not in the catalog, there is no query left, no item has two
                references to leave one out, or k or another number means nothing.
            OSError: A folder cannot be read.
        """
        return evaluate(
            self,
            queries,
            texts=texts,
            unknown=unknown,
            k=k,
            depth=depth,
            where=where,
            model=model,
            false_reject_rate=false_reject_rate,
            rounds=rounds,
            seed=seed,
            progress=progress,
        )

    # The engine itself

    def stats(self) -> dict[str, Any]:
        """Counts, sizes, the models and the index, as a dict.

        ``models`` has a dict for each model; ``model``, ``version``, ``fingerprint``, ``dimension`` and ``languages``
        are those of the first. ``other_models`` are names of models that the catalog has and this engine was opened
        without.
        """
        return self._core.stats()

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they were given."""
        return self._models

    @property
    def image_model(self) -> str | None:
        """The name of the model that looks up pictures unless a search names another; None if none sees any."""
        return self._sees

    @property
    def text_model(self) -> str | None:
        """The name of the model that looks up texts unless a search names another; None if none reads any."""
        return self._reads

    def _unread(self, texts: Sequence[Sequence[str]], model: By | None) -> list[list[str]]:
        """For each query, a warning for each of its texts of which no model knows a word. One for all is issued."""
        flat = [text for part in texts for text in part]
        unread = {text for text, bad in zip(flat, self._core.unreadable(flat, model=model), strict=True) if bad}
        if not unread:
            return [[] for _ in texts]
        name = _names(model or self._reads)
        note = {text: f"{name} knows no word of {_beginning(text)}, so the hits do not depend on it" for text in unread}
        first = next(text for text in flat if text in unread)
        more = f", and of {len(unread) - 1} more" if len(unread) > 1 else ""
        warnings.warn(
            f"{name} knows no word of {_beginning(first)}{more}, so the hits do not depend on it; use words of its "
            "languages, which stats() tells, or a model that reads this one",
            _core.UnreadableTextWarning,
            stacklevel=3,
        )
        return [[note[text] for text in dict.fromkeys(part) if text in unread] for part in texts]

    def _answered(
        self,
        single: bool,
        batch: list[list[tuple[Any, ...]]],
        query: Any,
        where: Where | None,
        *models: str | None,
        notes: Sequence[Sequence[str]] = (),
    ) -> Results | list[Results]:
        """The results of one query or many; ``models`` has the name of the model that was asked, or one for each."""
        if single and not notes and (batch[0] or not where):
            return Results(batch[0], query=query, model=models[0])
        keys = self._unknown_keys(where) if where and not all(batch) else []
        queries = [query] if single else query if isinstance(query, (list, tuple)) else [query] * len(batch)
        names = models if len(models) == len(batch) else models * len(batch)
        results = [
            Results(
                rows,
                query=one,
                model=name,
                warnings=[*(notes[number] if notes else ()), *(keys if not rows else ())],
            )
            for number, (rows, one, name) in enumerate(zip(batch, queries, names, strict=False))
        ]
        return results[0] if single else results

    def _asked(self, model: By | None, *, image: bool, text: bool) -> str | None:
        """The names of what looks up pictures and texts."""
        default = {name: 1.0 for name, used in ((self._sees, image), (self._reads, text)) if used and name is not None}
        return _names(model or default)

    @property
    def path(self) -> str:
        """The catalog's directory."""
        return self._core.path

    def close(self) -> None:
        """Gives memory and files back; every later call but this one raises ValueError."""
        self._closed = True
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


def _path(image: Any, number: int) -> str:
    if not isinstance(image, (str, os.PathLike)):
        raise ValueError(f"image {number} is no path, so it needs an id: pass ids=[...]")
    return os.fspath(image)


def _together(columns: Mapping[str, Iterable[Any] | None]) -> Iterator[tuple[Any, ...]]:
    """Rows of columns; those that are None have None in each."""
    given = [column for column in columns.values() if column is not None]
    end = object()
    for number, values in enumerate(zip_longest(*given, fillvalue=end)):
        if any(value is end for value in values):
            names = ", ".join(name for name, column in columns.items() if column is not None)
            raise ValueError(f"{names} differ in length: one of them ends at {number}; give one of each for each image")
        cells = iter(values)
        yield tuple(None if column is None else next(cells) for column in columns.values())


def _names(models: By | None) -> str | None:
    return " + ".join(models) if isinstance(models, Mapping) else models


def _beginning(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}...")


def _item(row: tuple[Any, ...]) -> Item:
    id, label, text, metadata, references = row
    return Item(id, label, text, metadata, tuple(Reference(name, digest) for name, digest in references))
