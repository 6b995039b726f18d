"""Methods of an engine that classify, compare, explain and inspect."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

from .. import _core
from ..answers.classify import learn_classes
from ..answers.explain.explain import explain
from ..answers.inspect.inspect import inspect
from ..answers.likeness import compare
from ..query import Query, listed
from ..results import Reference
from .adapting import AdaptMethods
from .items import reference_key

if TYPE_CHECKING:
    from .._core import Hit
    from .._core import _Image as ImageLike
    from ..answers.classes import Classification
    from ..answers.explain.explanation import Explanation, Method
    from ..answers.explain.sentences import Language
    from ..answers.inspect.inspection import Inspection, Inspections
    from ..answers.likeness import Likeness
    from ..query import By, Text, Where


class JudgingMethods(AdaptMethods):
    """Classifies, compares, explains and inspects."""

    __slots__ = ()

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
        the other side, less that of the wholly blurred picture, for 41 windows in batches. That is occlusion
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
            detail: 1 for 41 windows of each picture, 2 for 81, which shows smaller parts.
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
            reference_key(reference),
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
        both are wrong; otherwise ``"review"``. With fewer than three samples the similarity decides alone, and for an
        item that is a 3D model it is ``"review"``, not ``"fail"``, if no other item is as near to the photo.

        Args:
            photo: A photo, a list of them, or the path of a folder with photos.
            item: The id of the item whose references are the golden samples; of more than 64, 64 evenly spread.
            golden: Pictures, folders of them, or a 3D model, that are the golden samples, in place of an item.
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
