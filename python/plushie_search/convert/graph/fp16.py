"""Converts a network to fp16: half the size, and faster on devices that compute in it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper

from .files import save

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The end of the name of an fp16 network.
SUFFIX = "_fp16"

#: The most numbers of a constant that may be a shape; no types depend on larger ones.
SMALL = 1000


def write(network: Path, target: Path) -> None:
    """Converts the network of a file to fp16 and writes it to another file; see :func:`in_fp16`."""
    save(in_fp16(onnx.load(network)), target)


def in_fp16(model: Any) -> Any:
    """Converts the weights, inputs, outputs and tensors of a network to fp16 in place, and returns it.

    Operators that ONNX defines in fp32 only, such as ``Range`` and the scales of ``Resize``, stay between casts.

    Raises:
        ValueError: It has no floats of 32 bits, or operators that ONNX does not define.
    """
    if model.functions:
        raise ValueError("it has functions of its own: inline them")
    floats = _floats(model)
    if not floats:
        raise ValueError("it has no floats of 32 bits")
    _Halving(model, floats).change(model.graph)
    return model


class _Halving:
    """The state of a conversion."""

    def __init__(self, model: Any, floats: set[str]) -> None:
        self._versions = {_domain(entry): entry.version for entry in model.opset_import}
        self._names = {name for node in _nodes(model.graph) for name in (*node.input, *node.output)}
        read = {
            name
            for node in _nodes(model.graph)
            for place, name in enumerate(node.input)
            if self._has_half(node, "inputs", place)
        }
        read.update(value.name for graph in _graphs(model.graph) for value in graph.output)
        # Constants that are only read in 32 bits stay exact.
        self._floats = floats - (set(_constants(model.graph)) - read)

    def change(self, graph: Any) -> None:
        """Converts a graph and its subgraphs."""
        for value in graph.initializer:
            if value.name in self._floats:
                value.CopyFrom(_half(value))
        for value in (*graph.input, *graph.output):
            if value.name in self._floats:
                value.type.tensor_type.elem_type = TensorProto.FLOAT16
        del graph.value_info[:]
        nodes: list[Any] = []
        whole: dict[str, str] = {}
        for node in graph.node:
            for place, name in enumerate(node.input):
                if name in self._floats and not self._has_half(node, "inputs", place):
                    if name not in whole:
                        whole[name] = self._new(name)
                        nodes.append(_cast(name, whole[name], TensorProto.FLOAT))
                    node.input[place] = whole[name]
            nodes.append(node)
            if self._floats.intersection(node.output):
                _change_attributes(node)
            for place, name in enumerate(node.output):
                if name in self._floats and not self._has_half(node, "outputs", place):
                    node.output[place] = self._new(name)
                    nodes.append(_cast(node.output[place], name, TensorProto.FLOAT16))
            for inner in _inside(node):
                self.change(inner)
        changed = onnx.GraphProto(node=nodes)
        del graph.node[:]
        graph.node.extend(changed.node)

    def _has_half(self, node: Any, side: str, place: int) -> bool:
        """Returns whether an input or output may be fp16."""
        try:
            schema = defs.get_schema(node.op_type, self._versions.get(_domain(node), 1), _domain(node))
        except defs.SchemaError as error:
            raise _unknown(node) from error
        parameters = getattr(schema, side)
        # The last one may stand for any number of them.
        return "tensor(float16)" in parameters[min(place, len(parameters) - 1)].types

    def _new(self, name: str) -> str:
        made, count = f"{name}/32", 0
        while made in self._names:
            made, count = f"{name}/32/{count}", count + 1
        self._names.add(made)
        return made


def _floats(model: Any) -> set[str]:
    """Returns the fp32 tensors of the graph and its subgraphs."""
    bare = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    bare.graph.name = model.graph.name
    bare.graph.node.extend(model.graph.node)
    bare.graph.input.extend(model.graph.input)
    bare.graph.output.extend(model.graph.output)
    # Types do not depend on weights, and protocol buffers end at 2 GiB.
    for value in model.graph.initializer:
        empty = TensorProto(name=value.name, dims=value.dims, data_type=value.data_type)
        bare.graph.initializer.append(value if prod(value.dims) <= SMALL else empty)
    types: dict[str, int] = {}
    inferred = onnx.shape_inference.infer_shapes(bare).graph
    for graph in _graphs(inferred):
        types.update((value.name, value.data_type) for value in graph.initializer)
        for value in (*graph.input, *graph.output, *graph.value_info):
            types[value.name] = value.type.tensor_type.elem_type
    for node in _nodes(inferred):
        if not types.keys() >= set(filter(None, node.output)):
            raise _unknown(node)
    return {name for name, kind in types.items() if kind == TensorProto.FLOAT}


def _domain(named: Any) -> str:
    """Returns the domain of an operator; ONNX's own has two names."""
    return "" if named.domain == "ai.onnx" else str(named.domain)


def _unknown(node: Any) -> ValueError:
    return ValueError(f"ONNX does not define whether {node.op_type} computes in fp16")


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for inner in _inside(node):
            yield from _graphs(inner)


def _inside(node: Any) -> list[Any]:
    """Returns the subgraphs of branches and loops."""
    whole = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return whole + [graph for attribute in node.attribute for graph in attribute.graphs]


def _nodes(graph: Any) -> Iterator[Any]:
    for each in _graphs(graph):
        yield from each.node


def _constants(graph: Any) -> Iterator[str]:
    for each in _graphs(graph):
        yield from (value.name for value in each.initializer)
        yield from (node.output[0] for node in each.node if node.op_type == "Constant")


def _cast(name: str, output: str, to: int) -> Any:
    return helper.make_node("Cast", [name], [output], f"{output}/Cast", to=to)


def _change_attributes(node: Any) -> None:
    """Changes the type that a node names to fp16."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half(attribute.t))
        elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            numbers = attribute.f if attribute.name == "value_float" else attribute.floats
            tensor = numpy_helper.from_array(_narrowed(np.asarray(numbers, np.float32)))
            attribute.CopyFrom(helper.make_attribute("value", tensor))
    if node.op_type == "ConstantOfShape" and not node.attribute:
        zero = numpy_helper.from_array(np.zeros(1, np.float16))
        node.attribute.append(helper.make_attribute("value", zero))


def _half(tensor: Any) -> Any:
    return numpy_helper.from_array(_narrowed(numpy_helper.to_array(tensor)), tensor.name)


def _narrowed(values: NDArray[np.float32]) -> NDArray[np.float16]:
    """Returns numbers in fp16; finite ones stay finite and others than zero stay so, as masks and divisors need it."""
    limits = np.finfo(np.float16)
    bounded = np.where(np.isinf(values), values, np.clip(values, limits.min, limits.max)).astype(np.float16)
    least = np.copysign(limits.smallest_subnormal, values).astype(np.float16)
    return np.where((bounded == 0) & (values != 0), least, bounded)
