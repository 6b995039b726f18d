"""Methods of an engine that say which item a picture shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, overload

from ..identification import Calibration, Identification, LearnedWeights
from ..metrics import Interval
from ..query import Query, pictured
from ..results import Results, asked
from .opened import names_of
from .searches import SearchMethods

if TYPE_CHECKING:
    from .._core import _Image as ImageLike
    from .._core import _QueryRow
    from ..query import By, Text, Where


class IdentifyMethods(SearchMethods):
    """Identifies items, and learns how sure it is."""

    __slots__ = ()

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
                    model=asked(hits, names_of(models)),
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


def _picture_row(query: ImageLike | Query) -> _QueryRow:
    """A picture or query as the core takes it."""
    return query._row() if isinstance(query, Query) else ([(query, 1.0)], [], [], [])
