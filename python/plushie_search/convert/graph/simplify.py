"""Simplifies networks: folds constants, and leaves out everything that one output does not need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime

from . import files
from .shortcut import one_token

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The share of the greatest number by which simpler arithmetic may differ.
SAME = 1e-4


def simplified(model: Any, output: str, work: Path, feeds: Mapping[str, NDArray[Any]]) -> Any:
    """Returns the network that computes one output, with constants folded and unneeded nodes removed.

    If it is read at one token, only that token is computed after the last attention.

    Args:
        model: The network, as `onnx` has it; it is changed.
        output: The name of the output.
        work: A folder for temporary files.
        feeds: Inputs on which the simpler network is compared with the original.
    """
    prune(model.graph, output)
    model = _folded(model, work)
    shorter = one_token(model)
    if shorter is model:
        return model
    shorter = _folded(shorter, work)
    with watched(model, [output], work, 1) as run:
        [expected] = run(feeds)
    with watched(shorter, [output], work, 1) as run:
        [found] = run(feeds)
    return shorter if np.abs(found - expected).max() <= SAME * np.abs(expected).max() else model


def _folded(model: Any, work: Path) -> Any:
    """Returns the network with constants folded, and biases fused into their layers."""
    before, after = work / "before.onnx", work / "after.onnx"
    files.save(model, before)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(after)
    options.log_severity_level = 4
    if files.is_large(model):
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "after.data")
    onnxruntime.InferenceSession(before, options, providers=["CPUExecutionProvider"])
    model = onnx.load(after)
    for leftover in [*work.glob("before.*"), *work.glob("after.*")]:
        leftover.unlink()
    used = {node.domain for node in model.graph.node} | {""}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return model


def prune(graph: Any, output: str) -> None:
    """Removes everything that one output does not need."""
    needed, constants = {output}, {value.name for value in graph.initializer}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
            inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
            needed.update(name for subgraph in inner for part in subgraph.node for name in part.input)
    for values, kept in (
        (graph.node, nodes[::-1]),
        (graph.output, [value for value in graph.output if value.name == output]),
        (graph.input, [value for value in graph.input if value.name in needed - constants]),
    ):
        kept = [files.copied(value) for value in kept]
        del values[:]
        values.extend(kept)


@contextmanager
def watched(
    model: Any, tensors: list[str], work: Path, threads: int
) -> Iterator[Callable[[Mapping[str, NDArray[Any]]], list[Any]]]:
    """Yields a function that computes these tensors from the network's inputs; `work` is a folder for its files."""
    copy = files.copied(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)
    path = work / "watched.onnx"
    files.save(copy, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=["MatmulTransposeFusion"]
    )
    try:
        yield lambda feeds: session.run(tensors, dict(feeds))
    finally:
        for leftover in work.glob("watched.onnx*"):
            leftover.unlink()
