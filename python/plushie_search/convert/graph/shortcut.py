"""Computes only one token after the last attention of a network that is read at that token: the same vector, faster."""

from __future__ import annotations

from math import prod
from typing import Any

from onnx import helper

from .files import copied

#: The operators that compute each token from that token alone.
TOKENWISE = {
    "Add",
    "Div",
    "Erf",
    "Gelu",
    "LayerNormalization",
    "MatMul",
    "Mul",
    "Pow",
    "Relu",
    "Sigmoid",
    "Sqrt",
    "Sub",
    "Tanh",
}


def one_token(model: Any) -> Any:
    """Returns the network with the choice of its token moved before all operators that work token by token.

    It is moved only from tensors of shape (batch, tokens, width) that nothing else reads. A network of another kind is
    returned as it is.
    """
    graph = model.graph
    constants = {value.name: value for value in graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    choices = [node for node in graph.node if _chooses(node, constants)]
    if len(choices) != 1:
        return model
    [choice] = choices
    moved: list[str] = []
    for node in reversed(graph.node):
        name = node.output[0]
        after = readers.get(name, [])
        whole = name not in outputs and after and all(reader is choice or reader.output[0] in moved for reader in after)
        if whole and len(node.output) == 1 and _tokenwise(node, constants):
            moved.append(name)
    if choice.input[0] not in moved:
        return model
    return _rewritten(model, choice, set(moved), constants)


def _chooses(node: Any, constants: dict[str, Any]) -> bool:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return node.op_type == "Gather" and axis == 1 and node.input[1] in constants and not constants[node.input[1]].dims


def _tokenwise(node: Any, constants: dict[str, Any]) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type not in TOKENWISE:
        return False
    if node.op_type == "MatMul":
        return node.input[1] in constants and len(constants[node.input[1]].dims) == 2
    if node.op_type == "LayerNormalization":
        return all(attribute.i == -1 for attribute in node.attribute if attribute.name == "axis")
    fixed = [constants[name].dims for name in node.input if name in constants]
    return all(prod(dims) == max(dims, default=1) == (dims[-1] if dims else 1) for dims in fixed)


def _rewritten(model: Any, choice: Any, moved: set[str], constants: dict[str, Any]) -> Any:
    chosen: dict[str, str] = {}
    nodes: list[Any] = []

    def token_of(name: str) -> str:
        if name in constants or not name:
            return name
        if name not in chosen:
            chosen[name] = f"{name}/token"
            if name not in moved:
                inputs = [name, choice.input[1]]
                nodes.append(helper.make_node("Gather", inputs, [chosen[name]], f"{name}/Gather", axis=1))
        return chosen[name]

    for old in model.graph.node:
        node = copied(old)
        if node.output[0] in moved:
            for place, name in enumerate(node.input):
                node.input[place] = token_of(name)
            node.output[0] = token_of(node.output[0])
        elif node.output[0] == choice.output[0]:
            node = helper.make_node("Identity", [token_of(choice.input[0])], list(choice.output), choice.name)
        nodes.append(node)
    result = copied(model)
    del result.graph.node[:]
    result.graph.node.extend(nodes)
    del result.graph.value_info[:]
    return result
