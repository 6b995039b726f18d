"""Makes a model directory of an ONNX picture network."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from .. import _core, hub
from .._core import ArgumentError, ModelError
from ..paths import expanded
from .graph.files import locations, size
from .quantize.directory import publish, stage, write_manifest

#: The side of pictures if the network takes any.
SIDE = 224


def describe(network: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the facts of an ONNX file: its bytes with those of its weights, and its inputs and outputs.

    Raises:
        ModelError: The file is no ONNX network.
    """
    path = Path(expanded(network))
    graph = _graph(path)
    weights = {value.name for value in graph.initializer}
    return {
        "file": str(path),
        "bytes": size(path),
        "inputs": {value.name: _shape(value) for value in graph.input if value.name not in weights},
        "outputs": {value.name: _shape(value) for value in graph.output},
    }


def wrap_network(
    network: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    output: str | None = None,
    side: int | None = None,
    resize: str = "squash",
    mean: Sequence[float],
    std: Sequence[float],
    channels: str = "rgb",
    name: str | None = None,
    license: str = "unknown",
) -> dict[str, Any]:
    """Makes a model directory of an ONNX network that takes pictures.

    The network takes float32 pixels of shape (n, 3, height, width) and gives vectors of shape (n, dimension) or
    (n, dimension, 1, 1). The directory has no text tower.

    Args:
        network: The ONNX file.
        out: The directory to make. It must not exist; it appears only if it is complete.
        output: The output that holds the vector; the first one by default.
        side: The height and width of the pictures in pixels; by default those that the network takes, or 224.
        resize: ``"squash"``, ``"crop"`` or ``"letterbox"``.
        mean, std: One number or three, of values from 0 to 1.
        channels: The order of colors, ``"rgb"`` or ``"bgr"``.
        name: The name of the model; that of the directory by default.
        license: The license of the network.

    Returns:
        The manifest.

    Raises:
        ArgumentError: The network has no such output, its size is not fixed, or there are two numbers of ``mean``.
        FileExistsError: ``out`` exists.
        ModelError: The file is no ONNX network, or it does not run on a picture.
    """
    source, target = Path(expanded(network)), Path(expanded(out))
    if not {len(mean), len(std)} <= {1, 3}:
        raise ArgumentError("mean and std take one number, or three")
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"{target} exists already; give the name of a directory that does not")
    facts = describe(source)
    outputs = facts["outputs"]
    chosen = output or next(iter(outputs))
    if chosen not in outputs:
        raise ArgumentError(f"{source} has no output {chosen!r}: use one of {', '.join(outputs)}")
    sizes = outputs[chosen][1:]
    if not all(isinstance(number, int) for number in sizes):
        raise ArgumentError(f"the size of output {chosen!r} of {source} is not fixed: {sizes}")
    manifest = {
        "format": 1,
        "name": name or target.name,
        "version": "1",
        "dimension": math.prod(sizes),
        "license": license,
        "description": f"the picture network {source.name}",
        "languages": [],
        "image": {
            "file": "image.onnx",
            "output": chosen,
            "preprocess": {
                "resize": resize,
                "size": [side, side] if side is not None else _sides(facts["inputs"]),
                "filter": "bilinear",
                "mean": (list(mean) * 3)[:3],
                "std": (list(std) * 3)[:3],
                "fill": [255, 255, 255],
                "channels": channels,
            },
        },
    }
    with stage(target) as folder:
        made = folder / "model"
        made.mkdir()
        shutil.copyfile(source, made / "image.onnx")
        for place in locations(source):
            (made / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.parent / place, made / place)
        write_manifest(made, manifest)
        # Opening it finds a wrong type or shape; encoding a picture finds other errors.
        _core.Encoder(made, runtime=hub.runtime_library()).encode_images([_core.Plush(1).render(size=64)])
        publish(made, target)
    return manifest


def _sides(inputs: dict[str, list[Any]]) -> list[int]:
    """Returns the height and width of the pictures that a network takes."""
    for shape in inputs.values():
        if len(shape) == 4 and all(isinstance(number, int) for number in shape[2:]):
            return list(shape[2:])
    return [SIDE, SIDE]


def _graph(path: Path) -> Any:
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except OSError:
        raise
    except Exception as error:  # of protocol buffers, which have errors of their own
        raise ModelError(f"{path} is no ONNX network: {error}") from error
    if not graph.output:
        raise ModelError(f"{path} is no ONNX network: it has no output")
    return graph


def _shape(value: Any) -> list[int | str]:
    """Returns the sizes of a tensor, those that are not fixed by their names."""
    sizes = value.type.tensor_type.shape.dim
    return [one.dim_value if one.HasField("dim_value") else one.dim_param or "?" for one in sizes]
