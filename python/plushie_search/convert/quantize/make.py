"""Makes the directory of a quantized model, and measures its loss on held-out pictures."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ... import _core, hub
from ..._core import ArgumentError, ModelError
from ..graph import files
from ..graph.simplify import watched
from .directory import Original, publish, stage, write_manifest
from .integers import activation, quantized
from .loss import FEWEST, NEIGHBORS, ROUNDS, milliseconds, overlap, vectors
from .plan import layered, plan
from .ranges import METHODS, Histogram

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The largest difference of the overlap that is chance: about the standard error on some hundred pictures.
NOTICEABLE = 0.002

_Progress: TypeAlias = Callable[[int, int, str], object]
_Vectors: TypeAlias = Mapping[Path, "NDArray[np.float32]"]


def make(
    model: str | os.PathLike[str],
    out: Path,
    *,
    pictures: Path,
    sample: int,
    held_out: int,
    seed: int,
    weight_bits: int,
    threads: int,
    name: str | None,
    accept_license: bool,
    progress: _Progress | None,
) -> dict[str, Any]:
    """Makes the directory and returns the facts of a :class:`plushie_search.Quantization`."""
    if out.exists() or out.is_symlink():
        raise FileExistsError(f"{out} exists already; give the name of a directory that does not")
    paths = [path for _, paths in _core.folder_items(pictures) for path in paths]
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
            graph = layered(original.network, original.output, folder, pixels)
            histograms = _watch(graph, original, tried, folder, threads, steps)
        except ValueError as error:
            raise ModelError(f"model {original.name}: {original.network.name}: {error}") from error
        trial = _Trial(graph, histograms, original, folder, weight_bits, threads, steps, before, tried)
        best = max(trial.attempt(method) for method in METHODS)
        whole = trial.attempt(best.method, first=True)
        method, directory = (whole if whole.overlap >= best.overlap - NOTICEABLE else best)[2:]
        after, _ = _encode(_open(directory, threads), others, steps, "measuring the loss")
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
    return {
        **facts,
        "directory": str(out),
        "fingerprint": fingerprint,
        "milliseconds": times,
        "bytes": sizes,
        "failed": failed,
    }


def _too_few(found: int, folder: str | os.PathLike[str]) -> ArgumentError:
    return ArgumentError(
        f"{found} pictures in {os.fspath(folder)} can be used; quantizing needs at least {FEWEST}, and some hundreds "
        "are better: some to find ranges, others to measure the loss"
    )


class _Attempt(NamedTuple):
    """A candidate; the greatest is best: its vectors are the nearest to the original's."""

    overlap: float
    cosine: float
    method: str
    directory: Path


@dataclass(frozen=True)
class _Trial:
    """The network to quantize, and the pictures on which its candidates are compared."""

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
        """Makes a candidate with ranges found by a method; ``first`` quantizes the first layer, too."""
        single = {tensor for tensor, seen in self.histograms.items() if seen.single}
        chosen = plan(self.graph, single, first=first)
        seen = {tensor: self.histograms[tensor] for tensor in chosen.tensors}
        known = {tensor: activation(*METHODS[method](each), each.means) for tensor, each in seen.items()}
        directory = self.folder / (f"{method}, with the first layer" if first else method)
        target = directory / self.original.file
        target.parent.mkdir(parents=True)
        files.save(quantized(self.graph, chosen, known, bits=self.weight_bits), target)
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
    """Returns the share of equal neighbors, the mean cosine and the least one."""
    one, other = (np.stack([rows[path] for path in paths]) for rows in (before, after))
    cosines = (one * other).sum(axis=1)
    return overlap(one, other), float(cosines.mean()), float(cosines.min())


def _watch(
    graph: Any, original: Original, paths: Sequence[Path], folder: Path, threads: int, steps: _Steps
) -> dict[str, Histogram]:
    """Returns the histogram of each tensor that may be quantized; takes one picture at a time to save memory."""
    if not plan(graph).tensors:
        raise ValueError("it has no layers with weights between the first and the last")
    chosen = plan(graph, first=True)
    tensors = chosen.tensors
    histograms = {tensor: Histogram(chosen.channels.get(tensor, -1)) for tensor in tensors}
    [name] = [value.name for value in graph.graph.input]
    with watched(graph, tensors, folder, threads) as run:
        for path in paths:
            pixels = _core.preprocess(path, **original.preprocess)[None]
            for tensor, values in zip(tensors, run({name: pixels}), strict=True):
                histograms[tensor].add(values)
            steps.add("finding ranges")
    return histograms
