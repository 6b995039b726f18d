"""Methods of an engine that keep a catalog in order, measure it, and change its models."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from .. import _core, forks, hub
from .._core import ArgumentError
from ..answers.duplicates import find_duplicates
from ..answers.review import find_concerns
from ..encoders.protocol import Models, named
from ..evaluate.run import evaluate
from ..log import logger
from ..paths import expanded
from ..results import Problem, ReencodeReport, Verification
from ..show.progress import shown
from .adding import Added
from .judging import JudgingMethods
from .opened import model_sources

if TYPE_CHECKING:
    from .._core import _Image as ImageLike
    from ..answers.duplicates import Duplicates
    from ..answers.review import Review
    from ..evaluate.result import Evaluation
    from ..evaluate.run import Missing, Pictures, Texts, Unknown
    from ..query import By, Text, Where
    from ..searcher import Progress


class UpkeepMethods(JudgingMethods):
    """Keeps a catalog in order."""

    __slots__ = ()

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
        sources = model_sources(given, encoders)
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
