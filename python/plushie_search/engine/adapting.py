"""Methods of an engine that learn a linear map from the references."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .._core import ArgumentError
from ..answers.adapt import LEAST, PARTS, learn
from ..answers.gallery import read_gallery
from ..identification import Adaptation, Calibration, Gain
from .identify import IdentifyMethods

if TYPE_CHECKING:
    from .._core import _MapRow
    from ..answers.adapt import LinearMap


class AdaptMethods(IdentifyMethods):
    """Adapts the identification of pictures to the catalog."""

    __slots__ = ()

    def adapt(self, *, model: str | None = None) -> Adaptation:
        """Learns a linear map from the stored vectors, by which :meth:`identify` tells items; kept if it finds more.

        No picture is encoded, and no stored vector changes: the 50 best items of a query are looked at a second time,
        as :meth:`calibrate` may do, by this map in place of its whitening. Searches and texts go by the vectors as they
        are. :meth:`forget_adapter` undoes it.

        Maps of two families are tried. ``"whitening"`` weighs down the directions along which references of one item
        differ, up to 96 of them. ``"ridge"`` takes each reference towards the mean of the others of its item (ridge
        regression that is regularized towards no change). With each, the best reference of an item counts 0, 0.25 or
        0.5 beside the mean of all. At most 4,000 references are learned from.

        The items are divided in five parts. Up to 1,000 references, whose items have others, are looked up as if each
        were not stored, by what other parts teach; which map that is, the other parts choose. Neither map nor choice
        has seen their items. The map is kept if the share of them whose item comes first is larger than before, by more
        than its standard error. The same is told for photos of known items: then, only the reference itself and a fifth
        of the others of each item are left out of what a map learns from.

        A map that is kept is calibrated by the same left out references and stored. It stays until the next call, which
        forgets it if no map finds more, and new references count without it being learned again. Labeled queries of an
        earlier :meth:`calibrate` count no longer: calibrate with them afterwards. It is used where one model looks
        pictures up, not where several decide together.

        Args:
            model: The name of the model; the first that sees pictures by default.

        Returns:
            The figures before and after, the map, and whether it is kept.

        Raises:
            ArgumentError: There is no such model, or too little to learn from: at least 30 references are needed whose
                items have others, and five such items.
            ModelError: The model sees no pictures.
            CatalogError: The outcome cannot be stored. In a catalog that was opened by ``read_only=True``, it is kept
                in memory alone.
        """
        start = time.perf_counter()
        name = model or self._core.image_model
        gallery = read_gallery(self._core, where=None, model=name)
        learned = learn(gallery.vectors, gallery.items) if len(gallery.items) else None
        if learned is None:
            raise ArgumentError(
                f"adapt to {len(gallery.items)} references of {len(gallery.ids)} items: {LEAST} or more are needed "
                f"whose items have others, and {PARTS} such items; add photos of the items"
            )
        new_items, new_photos = Gain.of(learned.new_items), Gain.of(learned.new_photos)
        accepted = new_items.after - new_items.before > new_items.error
        calibration = None
        if accepted:
            best = learned.way.best
            figures, weights, _ = self._core.adapt(
                _row(learned.whole, best),
                [_row(one, best) for one in learned.parts],
                [(gallery.ids[item], int(learned.part[item])) for item in learned.taught],
                model=name,
            )
            calibration = Calibration(*figures, weights=dict(weights))
        else:
            self._core.forget_adapter(model=name)
        return Adaptation(
            model=name or "",
            accepted=accepted,
            method=learned.way.name,
            strength=learned.way.strength,
            best_reference=learned.way.best,
            before=learned.before.name,
            references=len(learned.new_items),
            new_items=new_items,
            new_photos=new_photos,
            seconds=time.perf_counter() - start,
            calibration=calibration,
        )

    def forget_adapter(self, *, model: str | None = None) -> bool:
        """Forgets the map that :meth:`adapt` has learned, and calibrates pictures as if there had been none.

        Args:
            model: The name of the model; the first that sees pictures by default.

        Returns:
            Whether there was one.

        Raises:
            ArgumentError: There is no such model.
            ModelError: The model sees no pictures.
            CatalogError: The outcome cannot be stored.
        """
        return self._core.forget_adapter(model=model)


def _row(one: LinearMap, best: float) -> _MapRow:
    """A map as the core takes it."""
    onto = [] if one.onto is None else one.onto.ravel().tolist()
    return (one.directions.shape[1], one.directions.ravel().tolist(), onto, one.kept.tolist(), best)
