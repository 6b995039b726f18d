"""Inspects photos beside golden samples; see ``Engine.inspect``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import _core
from ..._core import ArgumentError, PictureError
from ...paths import expanded
from ...query import DEFAULTS, listed
from ..explain.regions import find_regions
from ..explain.subjects import small_copy
from ..likeness import compare, described, keep, stamp
from .conformal import limit_of, p_value
from .golden import of_item, of_pictures
from .inspection import Inspection, Inspections
from .local import FEWEST, Bank, Parts, parts_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..._core import Hit
    from ...query import SearchOptions, Text
    from ..explain.regions import Region
    from .golden import Golden
    from .inspection import Verdict

#: An anomaly that is this many times the limit or more is a fault; one between is for a person to look at.
CLEAR = 1.25
#: The least limit: samples that are copies of one picture do not tell how good photos differ.
LEAST = 0.5
#: The most samples whose parts are compared with all parts of a photo by hand, which takes long.
MOST_FREE = 16
#: The samples that are named.
NEAREST = 3


def inspect(
    core: _core.Engine,
    photo: Any,
    item: Text | None,
    *,
    golden: Any,
    threshold: float,
    alarm_rate: float,
    camera: str,
    model: str | None,
    audit: str | os.PathLike[str] | None,
) -> Inspection | Inspections:
    """Inspects photos beside golden samples; see ``Engine.inspect``."""
    if not 0 <= threshold <= 1:
        raise ArgumentError(f"threshold {threshold}: give a number from 0 to 1")
    if not 0 < alarm_rate < 1:
        raise ArgumentError(f"alarm_rate {alarm_rate}: give a share above 0 and below 1")
    if camera not in ("fixed", "free"):
        raise ArgumentError(f'camera {camera!r}: give "fixed" or "free"')
    if (item is None) == (golden is None):
        raise ArgumentError("inspect takes an item or golden pictures: give one of them")
    model = model or core.image_model
    if model is None:
        raise ArgumentError("no model of this engine sees pictures: open the catalog with one that does")
    photos, single = _photos(photo)
    if item is not None:
        samples = of_item(core, item, model)
    else:
        given, _ = _core.each_image(listed(golden))
        samples = of_pictures(core, [picture for one in given for picture in _files(one) or [_read(one)]], model)
    bank, notes = _bank(core, samples, model, free=camera == "free")
    found, failed, seen = [], [], []
    for place, one in enumerate(photos):
        name = _name(one, "photo" if single else str(place))
        try:
            inspected = _inspected(
                core, one, name, samples, bank, notes, threshold=threshold, alarm_rate=alarm_rate, model=model
            )
        except (PictureError, OSError) as error:
            if single:
                raise
            failed.append((name, str(error)))
        else:
            found.append(inspected)
            seen.append(one)
    if audit is not None:
        keep(audit, _records(core, seen, found, samples, model))
    return found[0] if single else Inspections(found, failed=failed)


def _photos(photo: Any) -> tuple[list[Any], bool]:
    """Returns the photos, those of a folder in the order of their names, and whether it was one."""
    files = _files(photo)
    if files is not None:
        return files, False
    photos, single = _core.each_image(listed(photo))
    return [_read(one) for one in photos], single


def _files(picture: Any) -> list[str] | None:
    """Returns the pictures of a folder in the order of their names; None of anything else."""
    if not isinstance(picture, (str, os.PathLike)):
        return None
    folder = expanded(picture)
    if not os.path.isdir(folder):
        return None
    return sorted(str(path) for _, paths in _core.folder_items(folder) for path in paths)


def _read(picture: Any) -> Any:
    """Returns a picture, that of an open file as bytes: it is looked at more than once."""
    return picture.read() if hasattr(picture, "read") else picture


def _bank(core: _core.Engine, samples: Golden, model: str, *, free: bool) -> tuple[Bank | None, tuple[str, ...]]:
    """Returns the parts of the samples, and notes about them."""
    notes, parts = list(samples.notes), list[Parts]()
    for name, picture in zip(samples.names, samples.pictures, strict=True):
        if picture is None or (free and len(parts) == MOST_FREE):
            continue
        try:
            parts.append(parts_of(core, picture, model))
        except (PictureError, OSError) as error:
            notes.append(f"the golden sample {name} cannot be read: {error}")
    shapes = {one.features.shape for one in parts}
    if len(shapes) > 1:
        notes.append("the golden samples have pictures of several shapes, so that their parts cannot be compared")
    if samples.is_model:
        return None, tuple(notes)
    if len(parts) < FEWEST or len(shapes) > 1:
        notes.append(f"{len(parts)} golden samples with pictures: parts are compared from {FEWEST} of one shape on")
        return None, tuple(notes)
    return Bank(parts, free=free), tuple(notes)


def _inspected(
    core: _core.Engine,
    photo: Any,
    name: str,
    samples: Golden,
    bank: Bank | None,
    notes: tuple[str, ...],
    *,
    threshold: float,
    alarm_rate: float,
    model: str,
) -> Inspection:
    vector = core.encode_images([photo], model=model)[0]
    cosines = samples.vectors @ vector
    order = np.argsort(-cosines)[:NEAREST]
    nearest = tuple((samples.names[place], float(cosines[place])) for place in order)
    probability: float | None = None
    if samples.item is not None:
        likeness = compare(core, photo, None, samples.item, threshold=threshold, models=model, audit=None)
        probability = likeness.probability  # type: ignore[union-attr]
    similarity = min(1.0, max(0.0, nearest[0][1])) if probability is None else probability
    verdict: Verdict | None = None
    if samples.is_model and samples.item is not None and similarity < threshold:
        other = _next_best(core, samples.item, vector, model)
        if other is not None and other.score > nearest[0][1]:
            notes = (*notes, f"item {other.item} is nearer to the photo: {other.score:.3f} against {nearest[0][1]:.3f}")
        elif other is not None:
            verdict = "review"
            notes = (*notes, f"no other item is as near to the photo: {nearest[0][1]:.3f} against {other.score:.3f}")
    anomaly = limit = rate = chance = heat = None
    regions: tuple[Region, ...] = ()
    if bank is not None:
        parts = parts_of(core, photo, model)
        limit, rate = limit_of(bank.scores, alarm_rate)
        limit = max(limit, LEAST)
        if rate > alarm_rate + 1e-9:
            needed = int(np.ceil(1 / alarm_rate - 1e-9)) - 1
            notes = (
                *notes,
                f"with {len(bank.scores)} golden samples up to {rate:.0%} of good photos are above the limit: "
                f"{alarm_rate:.0%} takes {needed}",
            )
        if parts.features.shape == bank.samples[0].features.shape:
            anomaly, ratios = bank.compare(parts)
            chance = p_value(anomaly, bank.scores)
            heat = _core.spread_windows(parts.boxes.reshape(-1, 4).tolist(), ratios.ravel().tolist(), parts.size)
            regions = find_regions(np.where(heat > limit, heat, 0), flat=limit)
        else:
            notes = (*notes, "the photo has another shape than the golden samples: its parts cannot be compared")
    return Inspection(
        photo=name,
        verdict=verdict or _verdict(similarity >= threshold, anomaly, limit),
        item=samples.item,
        similarity=similarity,
        threshold=threshold,
        probability=probability,
        anomaly=anomaly,
        limit=limit,
        p_value=chance,
        false_alarm_rate=rate,
        nearest=nearest,
        map=heat,
        regions=regions,
        notes=notes,
        pixels=small_copy(photo),
    )


def _next_best(core: _core.Engine, item: str, vector: NDArray[np.float32], model: str) -> Hit | None:
    """Returns the best other item."""
    options: SearchOptions = {**DEFAULTS, "k": 1, "models": model, "exclude": [item], "words": False}
    answers, _, _, _ = core.search([([], [], [], [((model, vector), 1.0)])], **options)
    return next(iter(answers[0]), None)


def _verdict(similar: bool, anomaly: float | None, limit: float | None) -> Verdict:
    """Returns the verdict by the whole photo and by its parts."""
    if anomaly is None or limit is None:
        return "pass" if similar else "fail"
    if anomaly > limit and (anomaly >= CLEAR * limit or not similar):
        return "fail"
    return "pass" if similar and anomaly <= limit else "review"


def _name(photo: Any, otherwise: str) -> str:
    return os.fspath(photo) if isinstance(photo, (str, os.PathLike)) else otherwise


def _records(
    core: _core.Engine, photos: Sequence[Any], found: Sequence[Inspection], samples: Golden, model: str
) -> list[dict[str, Any]]:
    """Returns a line of the log for each photo."""
    head = stamp(core, [model])
    return [
        {
            **head,
            "picture": described(photo),
            "item": one.item,
            "golden": list(samples.names),
            "probability": one.probability,
            "similarity": one.similarity,
            "threshold": one.threshold,
            "anomaly": one.anomaly,
            "limit": one.limit,
            "verdict": one.verdict,
        }
        for photo, one in zip(photos, found, strict=True)
    ]
