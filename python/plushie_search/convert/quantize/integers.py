"""Quantizes layers: puts QuantizeLinear and DequantizeLinear around them, which runtimes fuse to integer arithmetic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from onnx import helper, numpy_helper

from ..graph.files import copied

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .plan import Plan


class Activation(NamedTuple):
    """The quantization of a tensor: the step of its 8 bits, which of these is 0, and the mean of each channel."""

    scale: NDArray[np.float32]
    zero: NDArray[np.uint8]
    means: NDArray[np.float64] | None = None


def activation(low: float, high: float, means: NDArray[np.float64] | None = None) -> Activation:
    """Returns the quantization of a tensor with values from ``low`` (at most 0) to ``high`` (at least 0)."""
    scale = np.float32((high - low) / 255) if high > low else np.float32(1)
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return Activation(np.array(scale, np.float32), np.array(zero, np.uint8), means)


def quantized(model: Any, plan: Plan, activations: Mapping[str, Activation], *, bits: int = 8) -> Any:
    """Returns the network with the layers of a plan in 8 bits.

    The mean error of each output from rounding the weights, given the means of a layer's inputs, is subtracted from its
    bias: bias correction, as in Nagel et al., Data-Free Quantization, 2019. Without it a small convolutional network
    loses a hundred times as much.

    Args:
        model: The network that `plan.layered` gives.
        plan: The layers and tensors to quantize.
        activations: The quantization of the tensors of the plan.
        bits: The bits of the weights; 7 for processors whose arithmetic would overflow with 8.
    """
    graph = model.graph
    work = _Work({value.name: value for value in graph.initializer}, bits)
    readers = Counter(name for node in graph.node for name in node.input)
    shifts: dict[str, NDArray[np.float64]] = {}
    for name in plan.tensors:
        work.constant(activations[name].scale, f"{name}/scale")
        work.constant(activations[name].zero, f"{name}/zero")
    for value in graph.input:
        if value.name in plan.read:
            work.pair(value.name, value.name, back=f"{value.name}/8")
    for old in graph.node:
        node = copied(old)
        if node.output[0] in plan.layers:
            source = node.input[0]
            shift = work.layer(node, activations[source])
            if readers[node.output[0]] == 1:
                shifts[node.output[0]] = shift
            if source not in plan.written:
                node.input[0] = f"{source}/8"
        elif node.op_type == "Add":
            work.corrected(node, shifts)
        work.nodes.append(node)
        for index, name in enumerate(node.output):
            if name in plan.written:
                node.output[index] = f"{name}/32"
                work.pair(f"{name}/32", name, back=name)
            elif name in plan.read:
                work.pair(name, name, back=f"{name}/8")
    return work.result(model)


class _Work:
    def __init__(self, constants: Mapping[str, Any], bits: int) -> None:
        self.nodes: list[Any] = []
        self._constants = constants
        self._most = 2 ** (bits - 1) - 1
        self._made: list[Any] = []

    def constant(self, value: NDArray[Any], name: str) -> str:
        self._made.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(value.shape), name))
        return name

    def value(self, name: str) -> NDArray[Any]:
        value: NDArray[Any] = numpy_helper.to_array(self._constants[name])
        return value

    def pair(self, source: str, name: str, *, back: str) -> None:
        """Adds the nodes that quantize a tensor and dequantize it again."""
        parts = [f"{name}/scale", f"{name}/zero"]
        for kind, given, made in (("Quantize", source, f"{name}/u8"), ("Dequantize", f"{name}/u8", back)):
            self.nodes.append(helper.make_node(f"{kind}Linear", [given, *parts], [made], f"{name}/{kind}"))

    def layer(self, node: Any, source: Activation) -> NDArray[np.float64]:
        """Gives a layer weights of 8 bits, each output with its own scale, and a bias of 32 bits.

        Returns the correction of its outputs if it has no bias; zeros otherwise.
        """
        weights = self.value(node.input[1])
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else 1
        others = tuple(number for number in range(weights.ndim) if number != axis)
        scale = np.abs(weights).max(axis=others).astype(np.float64) / self._most
        bias = np.zeros(len(scale))
        if len(node.input) > 2 and node.input[2]:
            bias += self.value(node.input[2]).reshape(-1)
        # The bias counts in steps of both scales; where weights are tiny they must leave it room in 32 bits.
        scale = np.maximum(scale, 2 * np.abs(bias) / (float(source.scale) * 2.0**30))
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        shape = [-1 if number == axis else 1 for number in range(weights.ndim)]
        rounded = np.clip(np.rint(weights / scale.reshape(shape)), -self._most, self._most)
        error = rounded * scale.reshape(shape).astype(np.float64) - weights
        shift = _shift(node, np.moveaxis(error, axis, 0), source.means)
        self._integers(node, 1, rounded.astype(np.int8), scale, axis)
        if node.op_type == "MatMul":
            return shift
        step = scale * source.scale
        counts = np.clip(np.rint((bias - shift) / step), -(2.0**31), 2.0**31 - 1)
        self._integers(node, 2, counts.astype(np.int32), step, 0)
        return np.zeros(len(scale))

    def corrected(self, node: Any, shifts: Mapping[str, NDArray[np.float64]]) -> None:
        """Subtracts the correction of a layer from the bias that an Add adds to it."""
        for place, name in enumerate(node.input):
            shift, other = shifts.get(name), node.input[1 - place]
            if shift is not None and shift.any() and other in self._constants:
                bias = self.value(other)
                if bias.dtype == np.float32 and bias.size in (1, len(shift)) and bias.ndim <= 1:
                    changed = (bias - shift).astype(np.float32)
                    node.input[1 - place] = self.constant(changed, f"{node.output[0]}/bias")

    def _integers(self, node: Any, place: int, values: NDArray[Any], scale: NDArray[np.float32], axis: int) -> None:
        name = f"{node.output[0]}/{('input', 'weights', 'bias')[place]}"
        parts = [f"{name}/integers", f"{name}/scale", f"{name}/zero"]
        for value, part in zip((values, scale, np.zeros(scale.shape, values.dtype)), parts, strict=True):
            self.constant(value, part)
        self.nodes.append(helper.make_node("DequantizeLinear", parts, [name], f"{name}/Dequantize", axis=axis))
        if len(node.input) == place:
            node.input.append(name)
        node.input[place] = name

    def result(self, model: Any) -> Any:
        """Returns the network with these nodes and their constants."""
        result = copied(model)
        used = {name for node in self.nodes for name in node.input}
        constants = [value for value in [*model.graph.initializer, *self._made] if value.name in used]
        for values, kept in ((result.graph.node, self.nodes), (result.graph.initializer, constants)):
            del values[:]
            values.extend(kept)
        del result.graph.value_info[:]
        return result


def _shift(node: Any, error: NDArray[np.float64], means: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Returns the mean errors of the outputs from errors of the weights; the first axis of ``error`` is the outputs."""
    if means is None:
        return np.zeros(len(error))
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    error = error.reshape(groups, len(error) // groups, error.shape[1], -1).sum(axis=-1)
    if means.size != groups * error.shape[2]:
        return np.zeros(error.shape[0] * error.shape[1])
    shift: NDArray[np.float64] = np.einsum("goi,gi->go", error, means.reshape(groups, -1)).reshape(-1)
    return shift
