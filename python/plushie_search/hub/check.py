"""Checks a model, local or on a server: its vectors of fixed pictures and texts, and its speed."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import _core
from .._core import ModelError
from ..encoders.probe import PLUSH, SIDE, TEXT, picture
from ..encoders.protocol import Model
from ..encoders.service import SCHEME, TOWERS, Remote, as_service
from ..paths import expanded
from .locate import is_here
from .names import built_in_models, resolve
from .open import as_encoder, open_encoder
from .registry import Entry, find
from .runtime import runtime_library

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Texts on which networks are compared: ordinary, with capitals and punctuation, Chinese, too long.
TEXTS = (TEXT, "A Pink RABBIT, with 2 scarves!", "粉色的兔子", "toy " * 100)

#: The file of a model directory with the vectors of the original: ``{"image": [...], "text": [...]}``.
PROBE = "probe.json"

#: The least cosine between a vector and the original's, or the CPU's.
ALIKE = 0.999

#: The number of timings of each tower, with one picture or text and with a batch.
ROUNDS, BATCHES = 5, 3

#: The number of pictures and texts whose vectors are compared with those of the CPU.
COMPARED = 8

#: The execution provider of ONNX Runtime for each device.
PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of a check of a model.

    Attributes:
        model: Its name.
        directory: The directory of its files; None if it has no local files.
        dimension: The dimension of its vectors.
        fingerprint: SHA-256 of everything that changes vectors.
        outputs: For each tower, the file or the server's address, and the output that is read.
        device: The device of the local networks, never ``"auto"``; None if there are none.
        provider: The execution provider of ONNX Runtime; None without local networks.
        runtime: The path of the ONNX Runtime library; None without local networks.
        precision: The precision that the device was asked for; None is the model's own.
        fallback: The reason why the device ``"auto"`` is no GPU or computes in another precision; None otherwise.
        threads: The number of threads.
        milliseconds: For each tower, the median time in ms of one picture of 320 x 320 or one short text.
        batches: For each tower that takes batches, the size of the timed ones: ``max_batch`` of a device, ``batch`` of
            a server, which takes each as one request.
        batch_milliseconds: For each of these, the median time in ms of a batch.
        likeness: For each tower, the cosine between its vector and the original's, if that is known.
        agreement: For each tower on a device or a server, the least cosine between 8 of its vectors and those of the
            CPU, if the networks are local.
    """

    model: str
    directory: str | None
    dimension: int
    fingerprint: str
    outputs: Mapping[str, tuple[str, str]]
    device: str | None
    provider: str | None
    runtime: str | None
    precision: str | None
    fallback: str | None
    threads: int
    milliseconds: Mapping[str, float]
    batches: Mapping[str, int]
    batch_milliseconds: Mapping[str, float]
    likeness: Mapping[str, float]
    agreement: Mapping[str, float]


def pictures() -> tuple[NDArray[np.uint8], ...]:
    """Returns the pictures on which networks are compared; a wide one tells cropping from squashing."""
    return picture(), picture()[60:240]


def check(
    model: Model,
    *,
    threads: int | None = 1,
    device: str = "cpu",
    precision: str | None = None,
    max_batch: int | None = None,
    accept_license: bool = False,
    service: Remote | None = None,
) -> Check:
    """Opens a model, reads all its files again, encodes pictures and texts, and compares.

    Vectors of a device or a server are compared with those of the CPU if the networks are local.

    Args:
        model: A name or directory, as for :class:`plushie_search.Engine`; or an encoder, which is compared with the
            local model of its name if there is one.
        threads: The most threads that compute; None is all cores.
        device, precision, max_batch, accept_license, service: As for :func:`plushie_search.open_encoder`, of a name or
            directory.

    Raises:
        ModelError: The model cannot be used, a file has another digest than the pinned one, a vector is not finite and
            of length 1, or its cosine with the original's or the CPU's is below 0.999. For servers that take raw
            pictures and texts a low cosine raises nothing, because they preprocess in their own way.
        ArgumentError: There is no such model or device.
    """
    server = as_service(service)
    given = None if isinstance(model, (str, os.PathLike)) else as_encoder(model, threads=threads)
    source = given.name if given is not None else cast("str | os.PathLike[str]", model)
    whole = server.is_whole if given is None and server is not None else given is not None and not _has_towers(given)
    entry = find(source) if isinstance(source, str) and source not in built_in_models() else None
    place = None
    if (given is None and not whole) or _is_here(source, entry, named=given is None):
        near = server is None or whole or not server.is_everything
        place = resolve(source, accept_license=accept_license, networks=near, thorough=True)
    probe = (entry.probe if entry is not None else {}) or ({} if place is None else _probe(place.directory))
    opened = given or open_encoder(
        source,
        threads=threads,
        device=device,
        precision=precision,
        max_batch=max_batch,
        accept_license=accept_license,
        service=server,
    )
    plain, opened_on = None, (opened.device, opened.precision, opened.max_batch)
    usual = server is None and opened_on == ("cpu", None, None)
    if place is not None and not usual and (whole or _has_networks(place.directory, opened)):
        # A process runs one ONNX Runtime, and that of every device computes on the processor, too.
        library = runtime_library("cpu" if whole else device)
        plain = _core.Encoder(place.directory, runtime=library, threads=threads, manifest=place.manifest)
        if plain.dim != opened.dim:
            raise ModelError(
                f"model {plain.name} has vectors of dimension {plain.dim}, and those of the service have {opened.dim}: "
                "it runs another model; give it another name to check it by itself"
            )

    milliseconds, batches, batch_milliseconds, likeness, agreement = {}, {}, {}, {}, {}
    outputs = {tower: opened.outputs[tower] for tower in TOWERS if tower in opened.outputs}
    far = [tower for tower, (file, _) in outputs.items() if SCHEME.match(file)]
    for tower in outputs:
        subjects = _subjects(tower)
        compared = list(itertools.islice(subjects, COMPARED))
        [vector] = encode(opened, tower, compared[:1])
        if not np.isfinite(vector).all() or abs(float(np.linalg.norm(vector)) - 1) > 1e-3:
            raise ModelError(
                f"model {opened.name}: the {tower} tower gives a vector that is not finite and of length 1"
            )
        if tower in probe:
            likeness[tower] = _likeness(opened.name, tower, vector, probe[tower], strict=not whole)
        changed = tower in far or opened_on != ("cpu", None, None)
        if plain is not None and changed and tower in plain.outputs:
            both = encode(opened, tower, compared) * encode(plain, tower, compared)
            agreement[tower] = float(both.sum(axis=1).min())
            if not whole and not agreement[tower] >= ALIKE:
                by = outputs[tower][0] if tower in far else opened.device
                raise ModelError(
                    f"model {opened.name}: by {by} a vector of the {tower} tower has the cosine {agreement[tower]:.4f} "
                    f"with the CPU's, not {ALIKE}: catalogs filled with one cannot be searched with the other"
                )
        milliseconds[tower] = _milliseconds(opened, tower, [list(itertools.islice(subjects, 1)) for _ in range(ROUNDS)])
        size = server.batch if server is not None and tower in far else opened.max_batch or 1
        if size > 1:
            # The first one may have to find the batch size.
            first, *rounds = [list(itertools.islice(subjects, size)) for _ in range(1 + BATCHES)]
            encode(opened, tower, first)
            batches[tower], batch_milliseconds[tower] = size, _milliseconds(opened, tower, rounds)
    here = len(far) < len(outputs)
    return Check(
        model=opened.name,
        directory=None if place is None else str(place.directory),
        dimension=opened.dim,
        fingerprint=opened.fingerprint,
        outputs=outputs,
        device=opened.device if here else None,
        provider=PROVIDERS[opened.device.partition(":")[0]] if here else None,
        runtime=str(runtime_library(device)) if here else None,
        precision=opened.precision,
        fallback=opened.fallback,
        threads=opened.threads,
        milliseconds=milliseconds,
        batches=batches,
        batch_milliseconds=batch_milliseconds,
        likeness=likeness,
        agreement=agreement,
    )


def _is_here(model: str | os.PathLike[str], entry: Entry | None, *, named: bool) -> bool:
    """Returns whether the model is on this disk, so that comparing with it downloads nothing.

    A directory counts only if the caller ``named`` the model.
    """
    if entry is not None:
        return is_here(entry)
    return model in built_in_models() or (named and Path(expanded(model)).is_dir())


def _has_towers(encoder: _core.Encoder) -> bool:
    """Returns whether the manifest describes preprocessing."""
    manifest = json.loads(encoder.manifest)
    return any(manifest.get(tower) for tower in TOWERS)


def _has_networks(directory: Path, opened: _core.Encoder) -> bool:
    manifest = json.loads(opened.manifest)
    return all((directory / manifest[tower]["file"]).is_file() for tower in TOWERS if manifest.get(tower))


def _subjects(tower: str) -> Iterator[Any]:
    """Returns endless pictures or texts for a tower, the probe first. Texts differ, because encoders cache them."""
    if tower == "image":
        return itertools.cycle([_core.Plush(PLUSH + number).render(size=SIDE) for number in range(COMPARED)])
    first, *others = TEXT.split()
    # Of the same number of tokens, so that they can be a batch.
    return (" ".join([first, *words]) for words in itertools.permutations(others))


def encode(encoder: _core.Encoder, tower: str, subjects: list[Any]) -> NDArray[np.float32]:
    """Returns unit vectors of pictures or texts, float32 of shape (n, dim)."""
    if tower == "image":
        return encoder.encode_images(subjects)
    with warnings.catch_warnings():
        # Vectors of unreadable texts can be compared, too.
        warnings.simplefilter("ignore", _core.UnreadableTextWarning)
        return encoder.encode_texts(subjects)


def _milliseconds(encoder: _core.Encoder, tower: str, rounds: Sequence[list[Any]]) -> float:
    """Returns the median time in ms of encoding each list."""
    times = []
    for subjects in rounds:
        start = time.perf_counter()
        encode(encoder, tower, subjects)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


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


def _likeness(model: str, tower: str, vector: NDArray[np.float32], probe: Any, *, strict: bool) -> float:
    try:
        original = np.asarray(probe, dtype=np.float64)
    except (TypeError, ValueError):
        original = np.empty(0)
    if original.shape != vector.shape:
        raise ModelError(f"model {model}: the stored vector of the {tower} tower is not of dimension {vector.size}")
    likeness = float(original @ vector / np.linalg.norm(original))
    if strict and not likeness >= ALIKE:
        raise ModelError(
            f"model {model}: the {tower} tower's vector has the cosine {likeness:.4f} with the original's, not "
            f"{ALIKE}: its manifest or a file is wrong"
        )
    return likeness
