"""Which item a picture shows, and of which class it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from .. import _core
from .._core import ArgumentError
from ..answers.classify import learn_classes
from ..query import DEFAULTS, Query, SearchOptions, listed, pictured
from ..results import Results, asked
from ..searcher import UnsupportedError
from .examples import Examples
from .judging import LOOK, judged
from .looking import Find, Found
from .plan import weights_of
from .searches import SearchMethods
from .terms import both

if TYPE_CHECKING:
    from .._core import _Image as ImageLike
    from ..answers.classes import Classification
    from ..query import By, Where


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
    ) -> Any:
        """Says which item a picture shows, that it may be one of several, or that it shows none.

        Probabilities and thresholds are those of ``Engine.identify`` without a second look, calibrated on a sample of
        about 20,000 references, or all if there are fewer. The first call calibrates, and the first after a fifth of
        the references have come or gone.

        Raises:
            PictureError: A picture cannot be decoded.
            ArgumentError: A share is not above 0 and below 1, k < 1, or a query has items, vectors or negative weights.
            UnsupportedError: A query has a text.
        """
        for name, share in (("target_fpr", target_fpr), ("prior", prior)):
            if not 0 < share < 1:
                raise ArgumentError(f"{name} {share}: give a share above 0 and below 1")
        if k < 1:
            raise ArgumentError("k must be at least 1")
        images, single = pictured(image)
        if not images:
            return []
        rows = [one._row() if isinstance(one, Query) else ([(one, 1.0)], [], [], []) for one in images]
        for pictures, texts, *rest in rows:
            if texts:
                raise UnsupportedError(
                    "a catalog in Milvus is calibrated for pictures alone: give pictures, or use an Engine"
                )
            if any(rest) or any(weight < 0 for _, weight in pictures):
                raise ArgumentError(
                    "a query with items, vectors or negative weights cannot be calibrated: give pictures or texts"
                )
        whole: SearchOptions = {**DEFAULTS, "fusion": "sum", "models": models}
        plans = self._planned(rows, whole)
        weights = weights_of(self._stage.core, models) or None
        fit = self._judging.fit(weights, self._store.count())
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
