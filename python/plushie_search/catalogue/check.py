"""Whether a model works here: it encodes a fixed picture and text, which are compared with its original's if known."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plushie_search import _core, hub
from plushie_search._core import ModelError

from .entry import entries
from .locate import locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The picture and the text that every model is given; the picture is the same on every machine.
PLUSH, SIDE = 7, 320
TEXT = "a brown teddy bear with a red scarf"

#: Texts on which networks are compared: ordinary, with capitals and punctuation, Chinese, too long.
TEXTS = (TEXT, "A Pink RABBIT, with 2 scarves!", "粉色的兔子", "toy " * 100)

#: The file of a model directory with the vectors of the original: ``{"image": [...], "text": [...]}``.
PROBE = "probe.json"

#: The least cosine between a vector and the original's.
ALIKE = 0.999

#: How often each tower is timed.
ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check of a model found.

    Attributes:
        model: Its name.
        directory: Where its files lie.
        dimension: Numbers in a vector.
        fingerprint: SHA-256 of everything that changes vectors.
        outputs: For each tower, the file and its output that is read.
        milliseconds: For each tower, the median time of one picture of 320 x 320 or one short text, on one thread.
        likeness: For each tower, the cosine between its vector and the original's, where that is known.
    """

    model: str
    directory: str
    dimension: int
    fingerprint: str
    outputs: Mapping[str, tuple[str, str]]
    milliseconds: Mapping[str, float]
    likeness: Mapping[str, float]


def picture() -> NDArray[np.uint8]:
    """The picture that every model is given: a plush toy, shape (320, 320, 3)."""
    return _core.Plush(PLUSH).render(size=SIDE)


def pictures() -> tuple[NDArray[np.uint8], ...]:
    """Pictures on which networks are compared; a wide one shows whether it is cropped or squashed."""
    return picture(), picture()[60:240]


def check(model: str | os.PathLike[str], *, accept_licence: bool = False) -> Check:
    """Opens a model, reads all its files again, encodes a picture and a text, and compares.

    Args:
        model: A name or directory, as for :class:`plushie_search.Engine`.
        accept_licence: Whether one consents to the model's licence, where that asks for it.

    Raises:
        ModelError: The model cannot be used, a file is not what it should be, a vector is not finite and of length 1,
            or it is not the original's.
        ValueError: There is no such model.
    """
    directory, probe = hub.resolve(model, accept_licence=accept_licence).directory, None
    entry = entries().get(model) if isinstance(model, str) else None
    if entry is not None and model not in hub.built_in_models():
        locate(entry, thorough=True)
        probe = entry.probe
    encoder = hub.open_encoder(model, threads=1)
    probe = probe or _probe(directory)
    rounds: dict[str, Callable[[int], NDArray[np.float32]]] = {
        "image": lambda number: encoder.encode_images(picture()),
        # Texts are remembered, so each one is another.
        "text": lambda number: encoder.encode_texts(f"{TEXT}{'!' * number}"),
    }
    milliseconds, likeness = {}, {}
    for tower in encoder.outputs:
        [vector] = rounds[tower](0)
        if not np.isfinite(vector).all() or abs(float(np.linalg.norm(vector)) - 1) > 1e-3:
            raise ModelError(
                f"model {encoder.name}: the {tower} tower gives a vector that is not finite and of length 1"
            )
        if tower in probe:
            likeness[tower] = _likeness(encoder.name, tower, vector, probe[tower])
        milliseconds[tower] = statistics.median(_timed(rounds[tower], number) for number in range(1, ROUNDS + 1))
    return Check(
        model=encoder.name,
        directory=str(directory),
        dimension=encoder.dim,
        fingerprint=encoder.fingerprint,
        outputs=encoder.outputs,
        milliseconds=milliseconds,
        likeness=likeness,
    )


def _timed(work: Callable[[int], object], number: int) -> float:
    start = time.perf_counter()
    work(number)
    return 1000 * (time.perf_counter() - start)


def _probe(directory: Path) -> Mapping[str, Any]:
    path = directory / PROBE
    try:
        probe = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(probe, dict):
        raise ModelError(f'{path} must be {{"image": [...], "text": [...]}}')
    return probe


def _likeness(model: str, tower: str, vector: NDArray[np.float32], probe: Any) -> float:
    try:
        original = np.asarray(probe, dtype=np.float64)
    except (TypeError, ValueError):
        original = np.empty(0)
    if original.shape != vector.shape:
        raise ModelError(f"model {model}: the stored vector of the {tower} tower is not {vector.size} numbers")
    likeness = float(original @ vector / np.linalg.norm(original))
    if not likeness >= ALIKE:
        raise ModelError(
            f"model {model}: the {tower} tower's vector has the cosine {likeness:.4f} with the original's, not "
            f"{ALIKE}: its manifest or a file is wrong"
        )
    return likeness
