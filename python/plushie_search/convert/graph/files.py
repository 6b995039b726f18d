"""Reads and writes the files of a network: its graph, and the weights of a large one beside it."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

#: Networks beyond this many bytes keep their weights in a file beside them: protocol buffers end at 2 GiB.
WHOLE = 1_500_000_000


def is_large(model: Any) -> bool:
    """Returns whether the weights of a network need a file of their own."""
    # Protocol buffers of 2 GiB and more cannot say their size.
    tensors = ((prod(value.dims), tensor_dtype_to_np_dtype(value.data_type)) for value in model.graph.initializer)
    return bool(sum(count * kind.itemsize for count, kind in tensors) > WHOLE)


def copied(message: Any) -> Any:
    """Returns a copy of a network or of a part of it, however large."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def save(model: Any, path: Path) -> None:
    """Writes a network; the weights of a large one are moved out of it, into a file beside it."""
    if is_large(model):
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}_data", convert_attribute=False)
    else:
        onnx.save(model, path)


def locations(path: Path) -> list[str]:
    """Returns the files with the weights of a network, relative to it; empty if they are all in it."""
    graph = onnx.load(path, load_external_data=False).graph
    values = list(graph.initializer)
    values += [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
    outside = [value for value in values if value.data_location == TensorProto.EXTERNAL]
    return sorted({entry.value for value in outside for entry in value.external_data if entry.key == "location"})


def size(path: Path) -> int:
    """Returns the bytes of a network, with its weights."""
    return sum(file.stat().st_size for file in (path, *(path.parent / place for place in locations(path))))
