"""Which item a picture shows, and what its probability is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .metrics import Interval
from .results import Results
from .show.table import counted, printable

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, repr=False)
class Identification:
    """The answer to which item a picture shows, of :meth:`Engine.identify`. Prints as a sentence.

    Attributes:
        verdict: ``"match"``: one item; ``"ambiguous"``: one of those in ``plausible``; ``"unknown"``: no item.
        item: The id of the likeliest item; None if the verdict is ``"unknown"``.
        probability: The probability, from 0 to 1, that the first hit shows the same item; None if there is no hit.
        margin: The score of the first hit less that of the second; None if there are not two.
        strength: How strongly the scores speak for the first hit: its score and half of its margin, less 0.7 of the
            mean score of the up to ten next items of the catalog; None if there is no hit.
        threshold: The strength that a match reaches, unless the picture itself is stored.
        plausible: The ids of the items that it may be, the likeliest first; empty if the verdict is ``"unknown"``.
        hits: The best items, with probabilities for the prior that was given.
    """

    verdict: Literal["match", "ambiguous", "unknown"]
    item: str | None
    probability: float | None
    margin: float | None
    strength: float | None
    threshold: float
    plausible: tuple[str, ...]
    hits: Results

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON; each hit is a dict."""
        names = ("verdict", "item", "probability", "margin", "strength", "threshold")
        return {
            **{name: getattr(self, name) for name in names},
            "plausible": list(self.plausible),
            "hits": self.hits.to_dicts(),
        }

    def _repr_html_(self) -> str:
        return self.hits._shown(repr(self))

    def __repr__(self) -> str:
        if not self.hits:
            return "It is unknown: no item of the catalog was compared."
        if self.verdict == "unknown":
            nearest, reached = printable(self.hits[0].item), f"{self.strength:.2f}"
            return (
                f"It is unknown: the nearest item is {nearest}, whose strength {reached} is below {self.threshold:.2f}."
            )
        likely = f"probability {self.probability:.2f}"
        names = [printable(item) for item in self.plausible]
        return f"It is {' or '.join(names)} ({likely}{' of the first' if len(names) > 1 else ''})."


@dataclass(frozen=True, slots=True)
class LearnedWeights:
    """How much each of several models counts, as :meth:`Engine.calibrate` has learned it.

    Attributes:
        weights: The weight of each model's cosines, which sum to 1; models that are left out count nothing.
        gain: By how much the share of queries whose item comes first is larger than by the first model alone, with its
            95 % bootstrap interval.
        used: Whether pictures are looked up by these weights by default: the interval lies above 0.
    """

    weights: dict[str, float]
    gain: Interval
    used: bool

    def __str__(self) -> str:
        shares = " + ".join(f"{weight:.3f} {name}" for name, weight in self.weights.items())
        more = f"{self.gain.value:+.3f} ({self.gain.low:+.3f} to {self.gain.high:+.3f}) of the items first"
        return f"{shares}: {more}, {'used by default' if self.used else 'so the first model stays alone'}"


@dataclass(frozen=True, slots=True)
class Gain:
    """How often references that are left out have their item first, before and after.

    Attributes:
        before: The share before, from 0 to 1.
        after: The share after.
        error: The standard error of the difference.
    """

    before: float
    after: float
    error: float

    @classmethod
    def of(cls, first: NDArray[np.bool_]) -> Gain:
        """Returns that of references of which each has its item first or not, before and after: bool (n, 2)."""
        before, after = first.mean(0).tolist()
        difference = first[:, 1].astype(np.float64) - first[:, 0]
        return cls(before, after, float(difference.std() / np.sqrt(len(first))))

    def __str__(self) -> str:
        return f"{self.before:.3f} before, {self.after:.3f} after ({self.after - self.before:+.3f} ± {self.error:.3f})"


@dataclass(frozen=True, slots=True)
class Adaptation:
    """The outcome of :meth:`Engine.adapt`.

    Attributes:
        model: The name of the model.
        accepted: Whether the map is kept: the gain for new items is larger than its standard error.
        method: The kind of map, ``"whitening"`` or ``"ridge"``.
        strength: How much the map is regularized: by how many of the references' mean variances.
        best_reference: How much the best reference of an item counts, beside the mean of all.
        before: How items are told without the map: by ``"whitening"``, the second look of a calibration, or by
            ``"cosine"``, whichever has more of the references' items first.
        references: References that were left out to measure it.
        new_items: The gain for items that neither the map nor its choice has seen.
        new_photos: The gain for photos of items of which the map has seen others.
        seconds: How long it took.
        calibration: What scores mean by the map; None if it is not kept.
    """

    model: str
    accepted: bool
    method: Literal["cosine", "whitening", "ridge"]
    strength: float
    best_reference: float
    before: Literal["cosine", "whitening", "ridge"]
    references: int
    new_items: Gain
    new_photos: Gain
    seconds: float
    calibration: Calibration | None = None

    def __str__(self) -> str:
        kept = "kept" if self.accepted else "not kept, since it finds no more of new items"
        return (
            f"{self.method} of {self.model}, {kept}; right item first, of {self.references} references left out: "
            f"new items {self.new_items}; new photos of known items {self.new_photos}; {self.seconds:.1f} s"
        )


@dataclass(frozen=True, slots=True)
class Calibration:
    """The outcome of :meth:`Engine.calibrate`: what probabilities are made from, and the errors that are expected.

    Attributes:
        model: The name of the model, or of several that look pictures up together.
        kind: The kind of queries: ``"image"``, ``"text"``, or ``"hybrid"`` for pictures with texts.
        genuine: References and labeled queries that were compared with other references of their item.
        impostors: References and labeled queries that were looked up without their item.
        queries: Labeled queries among both.
        items: Items of the catalog.
        second_look: Whether :meth:`Engine.identify` looks at the best items a second time; see there.
        threshold: The strength that a match reaches, for ``target_fpr=0.01``; see :class:`Identification`.
        false_accept_rate: The share of pictures of other things that is expected to reach it.
        false_reject_rate: The share of pictures of the catalog's items that is expected not to reach it with the right
            item.
        weights: The weight of each model's cosines, by its name.
        learned: The weights that this call has learned, used or not; None if it learned none.
    """

    model: str
    kind: Literal["image", "text", "hybrid"]
    genuine: int
    impostors: int
    queries: int
    items: int
    second_look: bool
    threshold: float
    false_accept_rate: float
    false_reject_rate: float
    weights: dict[str, float]
    learned: LearnedWeights | None = None

    def __str__(self) -> str:
        kinds = {"image": "pictures", "text": "texts", "hybrid": "pictures with texts"}
        wrong = f"{self.false_accept_rate:.1%} of other things are expected to reach it"
        missed = f"{self.false_reject_rate:.1%} of the catalog's {self.items} items not to"
        head = f"{kinds[self.kind]} by {self.model}: a match reaches {self.threshold:.3f}"
        return f"{head}; {wrong}, and {missed}; made from {self.source}"

    @property
    def source(self) -> str:
        """The scores that it was made from, in words."""
        references = self.impostors - self.queries
        parts = [counted(references, "reference")] if self.kind == "image" and references > 0 else []
        parts += [counted(self.queries, "labeled query", "labeled queries")] if self.queries else []
        parts += ["scores that are typical of the model"] if self.kind == "image" and self.genuine < 300 else []
        return " and ".join(parts)
