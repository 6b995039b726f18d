"""Compares pictures with pictures or items, and keeps a log of the verdicts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._core import ArgumentError
from ..paths import expanded
from ..query import DEFAULTS, listed
from ..show.table import printable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import _QueryRow
    from ..query import By, SearchOptions, Text

#: The best items of a search among which the item is looked for, to have its probability.
LOOKED = 10


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like two pictures are, or a picture and an item.

    Attributes:
        similarity: From 0 to 1: the probability if there is one, else the mean of the models' cosines within 0 and 1.
        same: Whether the similarity reaches the threshold.
        threshold: The threshold.
        probability: The probability that the picture shows the item; None for two pictures, and where searches of
            pictures are not calibrated.
        scores: The cosine of each model.
        item: The id of the item; None for two pictures.
        reference: The name of the item's reference that is most like the picture; None for two pictures.
    """

    similarity: float
    same: bool
    threshold: float
    probability: float | None
    scores: dict[str, float]
    item: str | None
    reference: str | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{'same' if self.same else 'different'}: similarity {self.similarity:.3f}, threshold {self.threshold:g}",
            *([] if self.probability is None else [f"probability {self.probability:.3f}"]),
            *(f"cosine {score:.3f} of {printable(name)}" for name, score in self.scores.items()),
            *([] if self.reference is None else [f"most like {printable(self.reference)}"]),
        ]
        return "\n".join(lines)


def compare(
    core: _core.Engine,
    first: Any,
    second: Any,
    item: Text | Sequence[Text] | None,
    *,
    threshold: float,
    models: By | None,
    audit: str | os.PathLike[str] | None,
) -> Likeness | list[Likeness]:
    """Compares pictures with pictures or items; see ``Engine.compare``."""
    if not 0 <= threshold <= 1:
        raise ArgumentError(f"threshold {threshold}: give a number from 0 to 1")
    if (second is None) == (item is None):
        raise ArgumentError("compare takes a second picture or an item: give one of them")
    weights = _weights(core, models)
    pictures, single = _pictures(first)
    if item is None:
        others, one = _pictures(second)
        pictures, others = _paired(pictures, others, single=single, one=one, what="second pictures")
        found = _of_pictures(core, pictures, others, weights, threshold)
    else:
        one = isinstance(item, str) or not isinstance(item, Sequence)
        ids: list[Any] = [item] if one else list(item)  # type: ignore[arg-type]
        pictures, ids = _paired(pictures, ids, single=single, one=one, what="items")
        found = _of_items(core, pictures, ids, weights, threshold)
    if audit is not None:
        with_: list[dict[str, Any]] = (
            [{"other": described(other)} for other in others]
            if item is None
            else [{"item": answer.item, "reference": answer.reference} for answer in found]
        )
        keep(audit, _records(core, pictures, with_, found, weights))
    return found[0] if single and one else found


def keep(path: str | os.PathLike[str], records: Sequence[Mapping[str, Any]]) -> None:
    """Appends lines of JSON to a file in one write, so that lines of several processes do not mix.

    Raises:
        OSError: The file cannot be written, or the disk is full.
    """
    lines = "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records).encode("utf-8", "replace")
    path = expanded(path)
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    except OSError as error:
        reason = (
            f"the log of verdicts cannot be written ({error.strerror}): give a file in a folder that may be written"
        )
        raise type(error)(error.errno, reason, path) from None
    try:
        written = os.write(file, lines) if lines else 0
    finally:
        os.close(file)
    if written < len(lines):
        raise OSError(f"{path}: {written} of {len(lines)} bytes were written: make room on its disk")


def _weights(core: _core.Engine, models: By | None) -> dict[str, float]:
    """Returns the models that compare, with their weights: by default all that see pictures, alike."""
    if isinstance(models, str):
        return {models: 1.0}
    if models is not None:
        if not models or not all(weight > 0 for weight in models.values()):
            raise ArgumentError("models: give one or more names with weights above 0")
        return dict(models)
    seeing = {str(row["name"]): 1.0 for row in core.stats()["models"] if row["image"]}
    if not seeing:
        raise ArgumentError("no model of this engine sees pictures: open the catalog with one that does")
    return seeing


def _pictures(given: Any) -> tuple[list[Any], bool]:
    """Returns one picture or several in a list, files that are open as bytes, and whether it was one."""
    pictures, single = _core.each_image(listed(given))
    # A PIL image has no method of this name; what has one is read once, though it is used several times.
    return [one.read() if hasattr(one, "read") else one for one in pictures], single


def _paired(left: list[Any], right: list[Any], *, single: bool, one: bool, what: str) -> tuple[list[Any], list[Any]]:
    """Returns two lists of one length: one thing alone goes with each of the other side.

    Raises:
        ArgumentError: There are several on both sides, and not as many.
    """
    left = left * len(right) if single else left
    right = right * len(left) if one else right
    if len(left) != len(right):
        raise ArgumentError(f"{len(left)} pictures but {len(right)} {what}: give one of each, or as many")
    return left, right


def _encoded(core: _core.Engine, pictures: list[Any], weights: Mapping[str, float]) -> dict[str, NDArray[np.float32]]:
    return {name: core.encode_images(pictures, model=name) for name in weights}


def _of_pictures(
    core: _core.Engine, pictures: list[Any], others: list[Any], weights: Mapping[str, float], threshold: float
) -> list[Likeness]:
    if not pictures:
        return []
    left, right = _encoded(core, pictures, weights), _encoded(core, others, weights)
    cosines = {name: np.einsum("nd,nd->n", left[name], right[name]) for name in weights}
    return [
        _likeness({name: float(cosines[name][row]) for name in weights}, weights, threshold)
        for row in range(len(pictures))
    ]


def _of_items(
    core: _core.Engine, pictures: list[Any], ids: list[Any], weights: Mapping[str, float], threshold: float
) -> list[Likeness]:
    if not pictures:
        return []
    held = {id: (core.get(id), {name: core.vectors(id, model=name) for name in weights}) for id in dict.fromkeys(ids)}
    vectors = _encoded(core, pictures, weights)
    probabilities = _probabilities(core, pictures, [held[id][0][0] for id in ids], weights)
    found = []
    for row, (id, probability) in enumerate(zip(ids, probabilities, strict=True)):
        (own, _, _, _, references), stored = held[id]
        cosines = {name: stored[name] @ vectors[name][row] for name in weights}
        count = min(len(references), *map(len, cosines.values()))  # another process may have added some in between
        best = int(np.argmax(_mean({name: some[:count] for name, some in cosines.items()}, weights)))
        scores = {name: float(some[best]) for name, some in cosines.items()}
        found.append(_likeness(scores, weights, threshold, probability, own, references[best][0]))
    return found


def _probabilities(
    core: _core.Engine, pictures: list[Any], ids: list[str], weights: Mapping[str, float]
) -> list[float | None]:
    """Returns the probability that each picture shows its item, 0 if ten others are more like it; None without one."""
    if len(weights) > 1:
        return [None] * len(pictures)
    rows: list[_QueryRow] = [([(picture, 1.0)], [], [], []) for picture in pictures]
    options: SearchOptions = {**DEFAULTS, "k": LOOKED, "models": next(iter(weights))}
    answers, _, _, _ = core.search(rows, **options)
    found: list[float | None] = []
    for id, hits in zip(ids, answers, strict=True):
        if not hits or hits[0].probability is None:
            found.append(None)
            continue
        own = next((hit.probability for hit in hits if hit.item == id), None)
        found.append(0.0 if own is None else own)
    return found


def _mean(cosines: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
    return sum(weights[name] * cosines[name] for name in weights) / sum(weights.values())


def _likeness(
    scores: dict[str, float],
    weights: Mapping[str, float],
    threshold: float,
    probability: float | None = None,
    item: str | None = None,
    reference: str | None = None,
) -> Likeness:
    cosine = min(1.0, max(0.0, float(_mean(scores, weights))))
    similarity = cosine if probability is None else probability
    return Likeness(similarity, similarity >= threshold, threshold, probability, scores, item, reference)


def _records(
    core: _core.Engine,
    pictures: list[Any],
    named: Sequence[Mapping[str, Any]],
    found: Sequence[Likeness],
    weights: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Returns a line of the log for each comparison."""
    head = stamp(core, weights)
    return [
        {
            **head,
            "picture": described(picture),
            **with_,
            "scores": one.scores,
            "probability": one.probability,
            "similarity": one.similarity,
            "threshold": one.threshold,
            "verdict": "same" if one.same else "different",
        }
        for picture, with_, one in zip(pictures, named, found, strict=True)
    ]


def stamp(core: _core.Engine, models: Iterable[str]) -> dict[str, Any]:
    """Returns the beginning of each line of a log: the time, the catalog with its state, and the models."""
    names = set(models)
    sequence, _ = core.position()
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "catalog": os.path.abspath(core.path),
        "sequence": sequence,
        "models": {row["name"]: row["fingerprint"] for row in core.stats()["models"] if row["name"] in names},
    }


def described(picture: Any) -> dict[str, Any]:
    """Returns the digest of a picture, and its path if it has one."""
    path = os.path.abspath(expanded(picture)) if isinstance(picture, (str, os.PathLike)) else None
    return {"path": path, "digest": _core.picture_digest(picture)}
