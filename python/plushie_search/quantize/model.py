"""A model whose picture tower computes in 8 bits, and how near its vectors are to those of the original."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from plushie_search import _core, hub
from plushie_search._core import ModelError

from ..paths import expanded
from .directory import Original, publish, stage, write_manifest
from .loss import NEIGHBORS, ROUNDS, milliseconds, overlap, vectors
from .ranges import METHODS, Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Fewer pictures say too little about ranges and about what is lost.
FEWEST = 40

#: So much less of the neighbors is chance: about the standard error on some hundred pictures.
NOTICEABLE = 0.002

_Progress = Callable[[int, int, str], object]
_Vectors = Mapping[Path, "NDArray[np.float32]"]


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """What quantizing a model gave.

    Attributes:
        directory: Where the new model lies.
        fingerprint: The new model's.
        method: How the ranges of activations were found: "minmax", "percentile" or "mse".
        pictures: How many pictures gave the ranges.
        held_out: How many others the vectors of both models were compared on.
        overlap_at_10: The mean share of the ten nearest of these pictures that are the same in both models.
        cosine_mean: The mean cosine between both vectors of a picture.
        cosine_min: The least.
        milliseconds: From a picture file to its vector, in processor time, median of both models by turns: before, now.
        bytes: Of the network: before, now.
        failed: Pictures that could not be read, and why.
    """

    directory: str
    fingerprint: str
    method: str
    pictures: int
    held_out: int
    overlap_at_10: float
    cosine_mean: float
    cosine_min: float
    milliseconds: tuple[float, float]
    bytes: tuple[int, int]
    failed: list[tuple[str, str]]

    def __str__(self) -> str:
        (slow, fast), (large, small) = self.milliseconds, self.bytes
        return (
            f"{self.directory}: 8 bits, in ranges from {self.pictures} pictures ({self.method})\n"
            f"on {self.held_out} other pictures {100 * self.overlap_at_10:.1f} % of the ten nearest are the same; "
            f"cosine {self.cosine_mean:.4f} on average, {self.cosine_min:.4f} at least\n"
            f"a picture file to a vector: {slow:.1f} ms before, {fast:.1f} ms now: "
            f"{slow / fast:.2f} times as fast\n"
            f"network: {large / 1e6:.1f} MB before, {small / 1e6:.1f} MB now"
        )


def quantize_model(
    model: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    pictures: str | os.PathLike[str],
    sample: int = 256,
    held_out: int = 500,
    seed: int = 0,
    weight_bits: int = 8,
    threads: int | None = None,
    name: str | None = None,
    accept_license: bool = False,
    progress: _Progress | None = None,
) -> Quantization:
    """Makes a model directory whose picture tower computes with 8-bit integers, which is two to three times as fast.

    Weights become 8 bits, with a scale for each output. Activations become 8 bits too, in ranges that are found on
    pictures of yours and then stay as they are: a vector never depends on what else is encoded. The ranges are found in
    several ways, and the way is kept that best keeps the ten nearest pictures. The projection at the end,
    normalizations and attention stay in 32 bits; so do the text tower and, unless nothing is lost by it, the first
    layer. What a network computes after its last attention for tokens that are not read is left out.

    The new model is another model: a catalog holds vectors of it or of the original, never both. What is lost depends
    on model and pictures; it is measured on pictures that had no part in the making, and stored in ``model.json``.

    Args:
        model: A name or directory, as for :class:`plushie_search.Engine`. It is not changed.
        out: The directory to make. It must not exist, and does only when the whole model is in it.
        pictures: A folder of pictures like those that will be searched, at any depth; at least 40.
        sample: From how many pictures the ranges are found, at most.
        held_out: On how many others the loss is measured, at most; not more than half of all.
        seed: Chooses the pictures.
        weight_bits: 8, or 7 for processors without VNNI, whose 8-bit arithmetic overflows.
        threads: The most threads to use; all cores unless told.
        name: What the model is called; the original's name and "-int8" unless told.
        accept_license: Whether you consent to the model's license, where that asks for it.
        progress: Called with how many steps are done, how many there are, and what is being done.

    Raises:
        ValueError: There are too few pictures, an option is out of range, or there is no such model.
        FileExistsError: ``out`` exists.
        ModelError: The model cannot be used or quantized; the message says why.
        ImportError: The package ``onnx`` is missing.
    """
    if weight_bits not in (7, 8):
        raise ValueError(f"weights of {weight_bits} bits: give 7 or 8")
    if min(sample, held_out) < FEWEST // 2:
        raise ValueError(f"{sample} pictures for ranges, {held_out} held out: give at least {FEWEST // 2} of each")
    planning, files = _module("quantize.plan"), _module("graph.files")
    out, threads = Path(expanded(out)), threads or len(os.sched_getaffinity(0))
    if out.exists() or out.is_symlink():
        raise FileExistsError(f"{out} exists already; give the name of a directory that does not")
    paths = [path for _, paths in _core.folder_items(expanded(pictures)) for path in paths]
    if len(paths) < FEWEST:
        raise _too_few(len(paths), pictures)
    original = Original(model, accept_license=accept_license)
    random.Random(seed).shuffle(paths)
    half = min(held_out, len(paths) // 2)
    tried, others = paths[:-half][:sample], paths[-half:]
    steps = _Steps(progress, (len(METHODS) + 3) * len(tried) + 2 * len(others) + ROUNDS)
    before, failed = _encode(original.encoder(threads), [*tried, *others], steps, "the original's vectors")
    tried, others = ([path for path in some if path in before] for some in (tried, others))
    if len(before) < FEWEST or len(tried) < FEWEST // 4 or len(others) <= NEIGHBORS:
        raise _too_few(len(before), pictures)
    with stage(out) as folder:
        try:
            pixels = _core.preprocess(tried[0], **original.preprocess)[None]
            graph = planning.layered(original.network, original.output, folder, pixels)
            histograms = _watch(planning, graph, original, tried, folder, threads, steps)
        except ValueError as error:
            raise ModelError(f"model {original.name}: {original.network.name}: {error}") from error
        trial = _Trial(graph, histograms, original, folder, weight_bits, threads, steps, before, tried)
        best = max(trial.attempt(method) for method in METHODS)
        whole = trial.attempt(best.method, first=True)
        method, directory = (whole if whole.overlap >= best.overlap - NOTICEABLE else best)[2:]
        after, _ = _encode(_open(directory, threads), others, steps, "measuring what is lost")
        same, mean, least = _alike(before, after, others)
        pair = [original.encoder(1), _open(directory, 1)]
        slow, fast = milliseconds(pair, others, lambda: steps.add("timing"))
        facts: dict[str, Any] = {
            "method": method,
            "pictures": len(tried),
            "held_out": len(others),
            "overlap_at_10": round(same, 4),
            "cosine_mean": round(mean, 6),
            "cosine_min": round(least, 6),
        }
        times = round(slow, 2), round(fast, 2)
        changes = {
            "name": name or f"{original.name}-int8",
            "precision": "int8",
            "quantized": {"from": original.fingerprint, **facts, "milliseconds": times},
        }
        original.complete(directory, changes, files.locations)
        sizes = files.size(original.network), files.size(directory / original.file)
        fingerprint = _open(directory, threads).fingerprint
        publish(directory, out)
    return Quantization(
        directory=str(out), fingerprint=fingerprint, **facts, milliseconds=times, bytes=sizes, failed=failed
    )


def _module(name: str) -> Any:
    try:
        return import_module(f"plushie_search.{name}")
    except ImportError as error:
        raise ImportError(
            f"to quantize a model takes a package that is not installed ({error}); install it with: "
            "pip install 'plushie_search[quantize]'"
        ) from error


def _too_few(found: int, folder: str | os.PathLike[str]) -> ValueError:
    return ValueError(
        f"{found} pictures in {os.fspath(folder)} can be used; to quantize takes at least {FEWEST}, and some hundreds "
        "are better: some to find ranges, others to measure what is lost"
    )


class _Attempt(NamedTuple):
    """How near its vectors are to the original's comes first: the greatest one is the best."""

    overlap: float
    cosine: float
    method: str
    directory: Path


@dataclass(frozen=True)
class _Trial:
    """What networks in 8 bits are made of, and what they are compared on."""

    graph: Any
    histograms: Mapping[str, Histogram]
    original: Original
    folder: Path
    weight_bits: int
    threads: int
    steps: _Steps
    before: _Vectors
    pictures: Sequence[Path]

    def attempt(self, method: str, *, first: bool = False) -> _Attempt:
        """Makes a model with ranges found by a method, and perhaps its first layer in 8 bits too."""
        planning, integers = _module("quantize.plan"), _module("quantize.integers")
        single = {tensor for tensor, seen in self.histograms.items() if seen.single}
        plan = planning.plan(self.graph, single, first=first)
        seen = {tensor: self.histograms[tensor] for tensor in plan.tensors}
        known = {tensor: integers.activation(*METHODS[method](each), each.means) for tensor, each in seen.items()}
        directory = self.folder / (f"{method}, with the first layer" if first else method)
        target = directory / self.original.file
        target.parent.mkdir(parents=True)
        _module("graph.files").save(integers.quantized(self.graph, plan, known, bits=self.weight_bits), target)
        write_manifest(directory, self.original.pictures_only())
        encoder = _open(directory, self.threads)
        after, _ = _encode(encoder, self.pictures, self.steps, f"trying {directory.name}")
        return _Attempt(*_alike(self.before, after, self.pictures)[:2], method, directory)


class _Steps:
    def __init__(self, progress: _Progress | None, total: int) -> None:
        self._progress, self._done, self._total = progress, 0, total

    def add(self, what: str) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total, what)


def _open(directory: Path, threads: int) -> _core.Encoder:
    return _core.Encoder(directory, runtime=hub.runtime_library(), threads=threads)


def _encode(
    encoder: _core.Encoder, paths: Sequence[Path], steps: _Steps, what: str
) -> tuple[_Vectors, list[tuple[str, str]]]:
    found, failed = {}, []
    for path, vector in vectors(encoder, paths):
        if isinstance(vector, str):
            failed.append((str(path), vector))
        else:
            found[path] = vector
        steps.add(what)
    return found, failed


def _alike(before: _Vectors, after: _Vectors, paths: Sequence[Path]) -> tuple[float, float, float]:
    """How many neighbors are the same, and the mean and the least cosine."""
    one, other = (np.stack([rows[path] for path in paths]) for rows in (before, after))
    cosines = (one * other).sum(axis=1)
    return overlap(one, other), float(cosines.mean()), float(cosines.min())


def _watch(
    planning: Any, graph: Any, original: Original, paths: Sequence[Path], folder: Path, threads: int, steps: _Steps
) -> dict[str, Histogram]:
    """The values of each tensor that might become 8 bits; of one picture at a time, so that they need little memory."""
    if not planning.plan(graph).tensors:
        raise ValueError("it has no layers with weights between the first and the last")
    plan = planning.plan(graph, first=True)
    tensors = plan.tensors
    histograms = {tensor: Histogram(plan.channels.get(tensor, -1)) for tensor in tensors}
    [name] = [value.name for value in graph.graph.input]
    with _module("graph.simplify").watched(graph, tensors, folder, threads) as run:
        for path in paths:
            pixels = _core.preprocess(path, **original.preprocess)[None]
            for tensor, values in zip(tensors, run({name: pixels}), strict=True):
                histograms[tensor].add(values)
            steps.add("finding ranges")
    return histograms
