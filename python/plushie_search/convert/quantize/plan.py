"""Chooses the layers of a network to quantize, and the tensors between them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
from onnx import TensorProto, helper

from ..graph.simplify import prune, simplified

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Layers with weights, which take most of the time.
WEIGHTED = ("Conv", "Gemm", "MatMul")

#: Since this version of the operators each column of weights may have its own scale, and LayerNormalization is one.
OPSET = 17

#: Operators of networks that are quantized already.
QUANTIZED = (
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "MatMulNBits",
    "QLinearConv",
    "QLinearMatMul",
)

#: The operators that the runtime fuses with the convolution before them.
FUSED = ("Clip", "Relu")


@dataclass(frozen=True)
class Plan:
    """The layers and tensors of a network to quantize.

    Attributes:
        layers: The outputs of the layers.
        read: The tensors that they read.
        written: The tensors that exist in 8 bits only: outputs of convolutions, and their sums.
        channels: The axis of the channels of each tensor that is read.
    """

    layers: frozenset[str]
    read: frozenset[str]
    written: frozenset[str]
    channels: Mapping[str, int]

    @property
    def tensors(self) -> list[str]:
        """The tensors whose ranges must be known."""
        return sorted(self.read | self.written)


def layered(path: Path, output: str, work: Path, pixels: NDArray[np.float32]) -> Any:
    """Returns the simplified network that computes one output of a file from pixels.

    Args:
        path: The file.
        output: The name of the output.
        work: A folder for temporary files.
        pixels: Pixels on which the simpler network is compared with the original.

    Raises:
        ValueError: It is quantized already, or takes other inputs than pixels.
    """
    model = onnx.load(path)
    if any(node.op_type in QUANTIZED for node in model.graph.node):
        raise ValueError("it is quantized already; take the fp32 file")
    if any(value.type.tensor_type.elem_type == TensorProto.FLOAT16 for value in model.graph.input):
        raise ValueError("it takes fp16 inputs; take the fp32 file")
    if next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")) < OPSET:
        model = onnx.version_converter.convert_version(model, OPSET)
    prune(model.graph, output)
    if len(model.graph.input) != 1:
        raise ValueError(f"it takes {len(model.graph.input)} inputs; a network for pictures takes their pixels")
    return simplified(model, output, work, {model.graph.input[0].name: pixels})


def plan(model: Any, single: Collection[str] = (), *, first: bool = False) -> Plan:
    """Chooses all layers with weights except the first and last ones, which are sensitive and cheap.

    The first one reads the pixels; the last one is excluded only if it works on the vector of the whole picture.

    Args:
        model: The network that :func:`layered` gives.
        single: The tensors that hold one vector for each picture.
        first: Whether to quantize the first layer, too.
    """
    graph = model.graph
    constants = {value.name: value for value in graph.initializer}
    layers = [node for node in graph.node if _has_weights(node, constants)]
    outputs = {node.output[0] for node in layers}
    pixels = set() if first else outputs - _reached(graph.node, outputs)
    last = outputs - _leading(graph.node, outputs)
    last &= {node.output[0] for node in layers if node.input[0] in single}
    chosen = [node for node in layers if node.output[0] not in pixels | last]
    read = {node.input[0] for node in chosen}
    return Plan(
        layers=frozenset(node.output[0] for node in chosen),
        read=frozenset(read),
        written=frozenset(_written(graph.node, chosen)),
        channels={node.input[0]: 1 if node.op_type == "Conv" else -1 for node in chosen},
    )


def _has_weights(node: Any, constants: Mapping[str, Any]) -> bool:
    if node.op_type not in WEIGHTED or node.input[0] in constants:
        return False
    weights = constants.get(node.input[1])
    bias = node.input[2] if len(node.input) > 2 else ""
    if weights is None or weights.data_type != TensorProto.FLOAT or (bias and bias not in constants):
        return False
    if node.op_type == "Conv":
        return True
    if bias and prod(constants[bias].dims) not in (1, max(constants[bias].dims, default=1)):
        return False
    numbers = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    plain = numbers.get("alpha", 1) == numbers.get("beta", 1) == 1 and not numbers.get("transA")
    return plain and len(weights.dims) == 2


def _reached(nodes: Any, outputs: set[str]) -> set[str]:
    """Returns those of the outputs that depend on another one."""
    behind: set[str] = set()
    found = set()
    for node in nodes:
        if behind.intersection(node.input):
            behind.update(node.output)
            found.update(outputs.intersection(node.output))
        elif outputs.intersection(node.output):
            behind.update(node.output)
    return found


def _leading(nodes: Any, outputs: set[str]) -> set[str]:
    """Returns those of the outputs on which another one depends."""
    before: set[str] = set()
    found = set()
    for node in reversed(nodes):
        found.update(outputs.intersection(node.output) & before)
        if before.intersection(node.output) or outputs.intersection(node.output):
            before.update(node.input)
    return found


def _written(nodes: Any, chosen: list[Any]) -> set[str]:
    readers: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    written = set()
    for node in chosen:
        if node.op_type == "Conv":
            name = node.output[0]
            after = readers.get(name, [])
            # The runtime leaves out an activation that the quantized range implies.
            written.add(after[0].output[0] if len(after) == 1 and after[0].op_type in FUSED else name)
    for node in nodes:
        if node.op_type == "Add" and all(name in written for name in node.input):
            written.add(node.output[0])
    return written
