"""The files of a network: its graph, and beside it the weights of a large one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

#: Networks beyond this many bytes keep their weights in a file beside them: protocol buffers end at 2 GiB.
WHOLE = 1_500_000_000


def save(model: Any, path: Path) -> None:
    """Writes a network, large ones with their weights in a file beside it."""
    if model.ByteSize() > WHOLE:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}_data", convert_attribute=False)
    else:
        onnx.save(model, path)


def locations(path: Path) -> list[str]:
    """The files that hold the weights of a network, relative to it; none if they are all in it."""
    graph = onnx.load(path, load_external_data=False).graph
    values = list(graph.initializer)
    values += [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
    outside = [value for value in values if value.data_location == TensorProto.EXTERNAL]
    return sorted({entry.value for value in outside for entry in value.external_data if entry.key == "location"})


def size(path: Path) -> int:
    """The bytes of a network, with its weights."""
    return sum(file.stat().st_size for file in (path, *(path.parent / place for place in locations(path))))
