"""Which item a picture shows, and of which class it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from .. import _core
from .._core import ArgumentError, UnknownItemError
from ..answers.classify import learn_classes
from ..query import DEFAULTS, Query, SearchOptions, listed, pictured
from ..results import Results, asked
from ..searcher import UnsupportedError
from .examples import Examples
from .judging import LOOK, judged
from .looking import Find, Found
from .plan import weights_of
from .searches import CURES, SearchMethods
from .terms import both

if TYPE_CHECKING:
    from .._core import _Image as ImageLike
    from .._core import _QueryRow
    from ..answers.classes import Classification
    from ..identification import Calibration
    from ..query import By, Text, Where


class IdentifyMethods(SearchMethods):
    """Identifies and classifies pictures."""

    def identify(
        self,
        image: ImageLike | Query | Sequence[ImageLike | Query],
        /,
        *,
        target_fpr: float = 0.01,
        prior: float = 0.5,
        k: int = 5,
        where: Where | None = None,
        models: By | None = None,
        query_crops: bool = False,
    ) -> Any:
        """Says which item a picture shows, that it may be one of several, or that it shows none.

        Probabilities and thresholds are those of ``Engine.identify`` without a second look, calibrated on a sample of
        about 20,000 references, or all if there are fewer. The first call calibrates, and the first after a fifth of
        the references have come or gone. After :meth:`calibrate` its calibration and its learned weights are used.

        Raises:
            PictureError: A picture cannot be decoded.
            ArgumentError: A share is not above 0 and below 1, k < 1, or a query has items, vectors or negative weights.
            UnsupportedError: A query has a text, or ``query_crops`` is true.
        """
        if query_crops:
            raise UnsupportedError(f"a catalog in Milvus has no query_crops: {CURES['query_crops']}, or use an Engine")
        for name, share in (("target_fpr", target_fpr), ("prior", prior)):
            if not 0 < share < 1:
                raise ArgumentError(f"{name} {share}: give a share above 0 and below 1")
        if k < 1:
            raise ArgumentError("k must be at least 1")
        images, single = pictured(image)
        if not images:
            return []
        rows = _pictures(images)
        weights = weights_of(self._stage.core, models) or self._judging.usual
        whole: SearchOptions = {**DEFAULTS, "fusion": "sum", "models": weights}
        plans = self._planned(rows, whole)
        fit = self._judging.fit(weights or {str(self.image_model): 1.0}, self._store.count())
        expression = self._where(where)
        find = Find(k=max(LOOK, k), where=expression, fusion="sum")
        found = self._looking.find(plans, find)
        crowds = self._looking.find(plans, Find(k=LOOK, fusion="sum")) if expression else found
        gallery = self._store.count(both("head == true", expression))
        answers = []
        for number, (some, crowd) in enumerate(zip(found, crowds, strict=True)):

            def results(best: Sequence[Found], probabilities: Sequence[float], number: int = number) -> Results:
                hits = self._hits(best, probabilities)
                return Results(hits, query=images[number], model=asked(hits, self.image_model))

            answers.append(
                judged(fit, some, crowd, gallery=gallery, target_fpr=target_fpr, prior=prior, k=k, results=results)
            )
        return answers[0] if single else answers

    def calibrate(
        self,
        queries: Iterable[tuple[ImageLike | Query, Text | None]] | None = None,
        *,
        models: By | Sequence[str] | None = None,
    ) -> Calibration:
        """Learns what the scores of pictures mean, for :meth:`identify`, as ``Engine.calibrate`` does.

        It learns from a sample of about 20,000 references, from the items of labeled queries, and from these. If
        learned weights of several models find more than the first model alone, they look up pictures from now on, also
        in searches that name no ``models``. There is no second look.

        The outcome stays with this object until the next call, also if references come or go; it is not stored.

        Args:
            queries: Pairs of a picture or a :class:`Query` of pictures, and the id of its item, or None if that is not
                in the catalog. By default the references alone are used.
            models: A list of models, the first one of the catalog among them, learns their weights; a name calibrates
                that model alone, and a dict several models with these weights. By default the weights of all models
                are learned, where there are 30 queries or references to learn from.

        Raises:
            UnknownItemError: A label is no item of the catalog.
            PictureError: A picture cannot be decoded.
            ArgumentError: A query has items, vectors or negative weights; a model is not there, or named twice; or
                there is too little to learn weights from.
            ModelError: A model sees no pictures.
            UnsupportedError: A query has a text.
            CatalogError: Milvus does not answer.
        """
        pairs = list(queries or ())
        asked_for = _pictures([query for query, _ in pairs])
        labels = [None if label is None else self._spelled(label) for _, label in pairs]
        known = dict.fromkeys(label for label in labels if label is not None)
        held = self._writing.held(list(known), vectors=True)
        if unknown := [label for label in known if label not in held]:
            raise UnknownItemError(f"there is no item {unknown[0]!r} in {self.path}")
        return self._judging.calibrate(
            asked_for,
            labels,
            models if models is None or isinstance(models, (str, Mapping)) else list(models),
            rows=[row for rows in held.values() for row in rows],
            count=self._store.count(),
            items=self.count(),
        )

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
        """Tells which class a picture is of; see ``Engine.classify``. All references that fit ``where`` are read.

        Raises:
            PictureError: A picture cannot be decoded.
            ArgumentError: There are no two classes, or a class has neither examples nor a name that a model can read.
        """
        images, single = _core.each_image(listed(image))
        self._where(where)
        core = cast("_core.Engine", Examples(self._stage.core, self._store, self._spaces))
        learned = learn_classes(core, labels, by=by, where=where, model=model, expand=expand)
        answers = learned.classify(core, images)
        return answers[0] if single else answers


def _pictures(queries: Sequence[ImageLike | Query]) -> list[_QueryRow]:
    """Returns queries as the core takes them.

    Raises:
        ArgumentError, UnsupportedError: One has more than pictures.
    """
    rows: list[_QueryRow] = [one._row() if isinstance(one, Query) else ([(one, 1.0)], [], [], []) for one in queries]
    for pictures, texts, *rest in rows:
        if texts:
            raise UnsupportedError(
                "a catalog in Milvus is calibrated for pictures alone: give pictures, or use an Engine"
            )
        if any(rest) or any(weight < 0 for _, weight in pictures):
            raise ArgumentError("a query with items, vectors or negative weights cannot be calibrated: give pictures")
    return rows
