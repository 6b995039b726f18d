"""Writes trained towers as ONNX, and the manifest of a model directory."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .towers import MAX_LENGTH, MEAN, SCALE, ImageTower, TextTower


def write_image(image: ImageTower, out: Path, *, side: int) -> None:
    """Writes a picture tower as ONNX."""
    pixels = torch.zeros(2, 3, side, side)
    _trace(image, (pixels,), out, {"pixel_values": {0: "batch"}, "image_embeds": {0: "batch"}})
    _pad_inside(out)


def write_text(text: TextTower, out: Path) -> None:
    """Writes a text tower as ONNX."""
    ids = torch.zeros(2, 7, dtype=torch.int64)
    axes = {0: "batch", 1: "length"}
    named = {"input_ids": axes, "attention_mask": axes, "text_embeds": {0: "batch"}}
    _trace(text, (ids, torch.ones_like(ids)), out, named)


def _trace(tower: nn.Module, inputs: tuple[Tensor, ...], out: Path, axes: Mapping[str, Mapping[int, str]]) -> None:
    *inputs_of, output = axes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of paddings that it cannot fold; we do that
        torch.onnx.export(
            tower.cpu().eval(),
            inputs,
            str(out),
            input_names=inputs_of,
            output_names=[output],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )


def _pad_inside(file: Path) -> None:
    """Lets convolutions pad their own input, one pixel right and below: a step of its own costs a tenth of the time."""
    model = onnx.load(file)
    before = {node.output[0]: node for node in model.graph.node if node.op_type == "Pad"}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] in before:
            node.input[0] = before[node.input[0]].input[0]
            pads = next(one for one in node.attribute if one.name == "pads")
            pads.ints[:] = [0, 0, 1, 1]
    needed = {one.name for one in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    onnx.save(model, file)


def halve(file: Path) -> None:
    """Stores large weights in 16 bits, widened again when the file is loaded: arithmetic stays in 32 bits."""
    model = onnx.load(file)
    casts = []
    for number, weight in enumerate(model.graph.initializer):
        if weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < 1024:
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float16), weight.name + "_half")
        casts.append(helper.make_node("Cast", [half.name], [weight.name], f"widen_{number}", to=TensorProto.FLOAT))
        weight.CopyFrom(half)
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, file)


def write_manifest(out: Path, *, dimension: int, side: int, version: str, text: bool) -> None:
    """Writes the `model.json` of a model directory."""
    manifest = {
        "format": 1,
        "name": "plushie-mini",
        "version": version,
        "dimension": dimension,
        "license": "Apache-2.0",
        "description": "A small picture and text model for plush toys and everyday things",
        "languages": ["en", "zh-Hans", "zh-Hant"],
        "prompts": {"en": ["{}", "a photo of a {}"], "zh": ["{}", "一张{}的照片"]},
        "image": {
            "file": "image.onnx",
            "output": None,
            "preprocess": {
                "resize": "squash",
                "size": [side, side],
                "filter": "bicubic",
                "mean": [MEAN / 255.0] * 3,
                "std": [SCALE / 255.0] * 3,
                "fill": [255, 255, 255],
                "channels": "rgb",
            },
        },
        "text": {
            "file": "text.onnx",
            "output": None,
            "tokenizer": "tokenizer.json",
            "max_length": MAX_LENGTH,
            "padding": "longest",
            "pad_id": 0,
        },
    }
    if not text:
        del manifest["text"], manifest["languages"], manifest["prompts"]
    (out / "model.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
