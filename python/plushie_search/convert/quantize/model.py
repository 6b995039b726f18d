"""Quantizes the picture tower of a model to 8 bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..._core import ArgumentError
from ...paths import expanded
from .loss import FEWEST


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """The result of quantizing a model.

    Attributes:
        directory: The directory of the new model.
        fingerprint: The fingerprint of the new model.
        method: The calibration of activations: "minmax", "percentile" or "mse".
        pictures: The number of pictures for calibration.
        held_out: The number of other pictures, on which both models were compared.
        overlap_at_10: The mean share of the ten nearest of these pictures that are the same in both models.
        cosine_mean: The mean cosine between both vectors of a picture.
        cosine_min: The least of these cosines.
        milliseconds: The median CPU time in ms from a picture file to its vector: before, now.
        bytes: The size of the network: before, now.
        failed: Pictures that could not be read, each with the reason.
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
    progress: Callable[[int, int, str], object] | None = None,
) -> Quantization:
    """Makes a model directory whose picture tower computes with 8-bit integers, which is two to three times as fast.

    Weights are quantized with a scale for each output, activations in fixed ranges that are calibrated on your
    pictures: a vector never depends on the rest of its batch. Of several calibrations the one is kept that best
    preserves the ten nearest pictures. The projection at the end, normalizations, attention and the text tower stay in
    32 bits; so does the first layer if quantizing it loses anything. Tokens that are not read are not computed after
    the last attention.

    The new model is another model: a catalog holds vectors of it or of the original, never both. The loss depends on
    model and pictures; it is measured on held-out pictures and stored in ``model.json``.

    Args:
        model: A name or directory, as for :class:`plushie_search.Engine`. It is not changed.
        out: The directory to make. It must not exist; it appears only if it is complete.
        pictures: A folder of pictures like those that will be searched, at any depth; at least 40.
        sample: The most pictures for calibration.
        held_out: The most other pictures for measuring the loss; not more than half of all.
        seed: The seed that chooses the pictures.
        weight_bits: The bits of weights: 8, or 7 for processors without VNNI, whose 8-bit arithmetic overflows.
        threads: The most threads to use; all cores by default.
        name: The new model's name; the original's and "-int8" by default.
        accept_license: Whether you consent to the model's license, if that needs consent.
        progress: Called with the steps done, their total, and the name of the step.

    Raises:
        ArgumentError: There are too few pictures, an option is out of range, or there is no such model.
        FileExistsError: ``out`` exists.
        ModelError: The model cannot be used or quantized.
        ImportError: The package ``onnx`` is missing.
    """
    if weight_bits not in (7, 8):
        raise ArgumentError(f"weights of {weight_bits} bits: give 7 or 8")
    if min(sample, held_out) < FEWEST // 2:
        raise ArgumentError(f"{sample} pictures for ranges, {held_out} held out: give at least {FEWEST // 2} of each")
    try:
        from .make import make
    except ImportError as error:
        raise ImportError(
            f"quantizing a model needs a package that is not installed ({error}); install it with: "
            "pip install 'plushie_search[quantize]'"
        ) from error
    made = make(
        model,
        Path(expanded(out)),
        pictures=Path(expanded(pictures)),
        sample=sample,
        held_out=held_out,
        seed=seed,
        weight_bits=weight_bits,
        threads=threads or len(os.sched_getaffinity(0)),
        name=name,
        accept_license=accept_license,
        progress=progress,
    )
    return Quantization(**made)
