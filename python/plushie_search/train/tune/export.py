"""Writes a network as a model directory with a model card, and compares both before the directory appears."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ... import _core, hub
from ..._core import ModelError
from ...convert.quantize.directory import publish, stage, write_manifest
from ...paths import expanded
from .net import EmbeddingNet
from .photos import Photos

#: The most by which a number of a unit vector may differ from PyTorch's.
CLOSE = 1e-4
OPSET = 17


@dataclass(frozen=True)
class Written:
    """A model directory that was written.

    Attributes:
        directory: The directory.
        difference: The most by which a number of its unit vectors differs from PyTorch's.
    """

    directory: Path
    difference: float


def write_model(
    net: EmbeddingNet,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    license: str | None = None,
    description: str | None = None,
    photos: Photos | None = None,
    digest: str | None = None,
    options: Mapping[str, Any] | None = None,
    history: Sequence[Mapping[str, Any]] = (),
    before: float = float("nan"),
) -> Written:
    """Writes a network as ONNX with its ``model.json`` and a model card; see :meth:`TripletTrainer.export`.

    Raises:
        FileExistsError: ``out`` exists.
        ModelError: The vectors differ by more than 1e-4; nothing is written.
        OSError: The directory cannot be written.
    """
    target = Path(expanded(out))
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"{target} exists already; give the name of a directory that does not")
    net = net.cpu().eval()
    title = name or target.name
    with stage(target) as folder:
        made = folder / "model"
        made.mkdir()
        _trace(net, made / "image.onnx")
        write_manifest(
            made,
            {
                "format": 1,
                "name": title,
                "version": "1",
                "dimension": net.dim,
                "license": license or net.license or "unknown",
                "description": description or f"{net.backbone_name}, fine-tuned on photos of one's own",
                "languages": [],
                "image": {"file": "image.onnx", "output": "image_embeds", "preprocess": net.preprocess},
            },
        )
        difference = _compare(net, made, title)
        licensed = license or net.license or "unknown"
        card = _card(net, title, licensed, photos, digest, options or {}, history, before, difference)
        (made / "README.md").write_text(card, encoding="utf-8")
        publish(made, target)
    return Written(target, difference)


def _trace(net: EmbeddingNet, file: Path) -> None:
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of constants in the trace; the vectors are compared
        torch.onnx.export(
            net,
            (torch.zeros(2, 3, net.side, net.side),),
            str(file),
            input_names=["pixel_values"],
            output_names=["image_embeds"],
            dynamic_axes={"pixel_values": {0: "batch"}, "image_embeds": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )


def _compare(net: EmbeddingNet, directory: Path, name: str) -> float:
    """Returns how far the directory's vectors of some pictures differ from the network's."""
    encoder = _core.Encoder(directory, runtime=hub.runtime_library(), threads=1)
    chance = np.random.default_rng(0)
    views: list[Any] = [_core.Plush(seed).render(size=net.side) for seed in range(1, 5)]
    views.append(chance.integers(0, 256, (net.side, net.side, 3), dtype=np.uint8))
    with torch.inference_mode():
        wanted = net(torch.from_numpy(encoder.preprocess_images(views))).numpy()
    difference = float(np.abs(encoder.encode_images(views) - wanted).max())
    if not difference <= CLOSE:
        raise ModelError(
            f"model {name}: the vectors of the exported network differ by up to {difference:.1e} from those of "
            "PyTorch, so nothing was written; train with a lower rate"
        )
    return difference


def _card(
    net: EmbeddingNet,
    name: str,
    license: str,
    photos: Photos | None,
    digest: str | None,
    options: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    before: float,
    difference: float,
) -> str:
    """Returns the model card."""
    lines = [f"# {name}", "", f"Made from `{net.backbone_name}` by fine-tuning on photos. License: {license}.", ""]
    lines += [
        f"- Pictures of {net.side} × {net.side} pixels become vectors of {net.dim} numbers. It reads no texts.",
        f"- Vectors of the exported network differ by at most {difference:.1e} from those of PyTorch.",
    ]
    if photos is not None:
        lines += [
            f"- Learnt from {len(photos)} photos of {len(set(photos.labels.tolist()))} items.",
            f"- SHA-256 of these photos and their items: `{digest}`",
        ]
    if options:
        lines += ["- Options: " + ", ".join(f"{key} {value}" for key, value in options.items())]
    if history:
        lines += ["", "| epoch | loss | recall@1 of held-out photos | seconds |", "| --- | --- | --- | --- |"]
        lines += [f"| before | | {_figure(before)} | |"]
        lines += [
            f"| {row['epoch']} | {row['loss']:.4f} | {_figure(row['recall'])} | {row['seconds']:.0f} |"
            for row in history
        ]
    return "\n".join(lines) + "\n"


def _figure(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3f}"
