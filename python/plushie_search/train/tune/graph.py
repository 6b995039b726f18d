"""Runs an ONNX picture network in PyTorch, with weights that can be learnt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.nn import functional

from ..._core import ModelError

#: The inputs and attributes of a node.
Inputs = Sequence["Tensor | None"]
Options = Mapping[str, Any]


class Graph(nn.Module):
    """An ONNX network as a module: pixels (n, 3, h, w) to one of its outputs.

    Weights of convolutions and matrices are parameters; numbers that steer the flow are not.

    Args:
        file: The ONNX file.
        output: The output; the last one by default.

    Raises:
        ModelError: The file is no ONNX network, has another number of inputs than one, or operators that are not known.
    """

    def __init__(self, file: Path, output: str | None = None) -> None:
        super().__init__()
        try:
            graph = onnx.load(file).graph
        except OSError:
            raise
        except Exception as error:  # of protocol buffers, which have errors of their own
            raise ModelError(f"{file} is no ONNX network: {error}") from error
        stored: dict[str, Any] = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
        nodes = []
        for node in graph.node:
            options = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            if all(name in stored for name in node.input):
                # Compute constants once, such as the widths of a border: no picture changes them.
                (stored[node.output[0]],) = ReferenceEvaluator(node).run(
                    None, {name: stored[name] for name in node.input}
                )
            else:
                nodes.append((node.op_type, list(node.input), list(node.output), options))
        unknown = sorted({kind for kind, *_ in nodes} - set(OPERATORS))
        if unknown:
            raise ModelError(
                f"{file}: training knows no operator {', '.join(unknown)}: take a convolutional network, or one of timm"
            )
        inputs = [one.name for one in graph.input if one.name not in stored]
        if len(inputs) != 1:
            raise ModelError(
                f"{file}: has the inputs {', '.join(inputs)}: only networks that take pixels can be trained"
            )
        self._input, self._output = inputs[0], output or graph.output[-1].name
        self._nodes = self._needed(nodes)
        self._places: dict[str, str] = {}
        self._numbers: dict[str, Tensor] = {}
        for _, names, _, _ in self._nodes:
            for name in names:
                if name in stored and name not in self._places and name not in self._numbers:
                    self._keep(name, stored[name])

    def _needed(self, nodes: list[tuple[str, list[str], list[str], dict[str, Any]]]) -> list[Any]:
        """Returns the nodes that the output depends on, in their order."""
        needed, kept = {self._output}, []
        for node in reversed(nodes):
            if needed & set(node[2]):
                needed |= set(node[1])
                kept.append(node)
        return kept[::-1]

    def _keep(self, name: str, values: Any) -> None:
        if values.dtype.kind == "f" and values.ndim > 0:
            self._places[name] = f"weight_{len(self._places)}"
            self.register_parameter(self._places[name], nn.Parameter(torch.from_numpy(values.astype(np.float32))))
        else:
            self._numbers[name] = torch.from_numpy(np.array(values))

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns the output, of shape (n, ...)."""
        values: dict[str, Tensor | None] = {**self._numbers, self._input: pixels, "": None}
        values |= {name: getattr(self, place) for name, place in self._places.items()}
        for kind, names, outputs, options in self._nodes:
            given = [values[name] for name in names]
            values[outputs[0]] = OPERATORS[kind](given, options)
        found = values[self._output]
        assert found is not None
        return found


def _conv(given: Inputs, options: Options) -> Tensor:
    x, weight, *bias = given
    assert x is not None
    assert weight is not None
    strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    x = _padded(x, options, weight.shape[2:], strides, dilations)
    return functional.conv2d(
        x,
        weight,
        bias[0] if bias else None,
        stride=tuple(strides),
        dilation=tuple(dilations),
        groups=options.get("group", 1),
    )


def _padded(
    x: Tensor,
    options: Options,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    fill: float = 0,
) -> Tensor:
    """Pads the height and width as ONNX asks for it."""
    automatic = options.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        sides = []
        for length, size, stride, dilation in zip(map(int, x.shape[2:]), kernel, strides, dilations, strict=True):
            whole = max((-(-length // stride) - 1) * stride + (size - 1) * dilation + 1 - length, 0)
            less, more = whole // 2, whole - whole // 2
            sides.append((less, more) if automatic == b"SAME_UPPER" else (more, less))
        (top, bottom), (left, right) = sides
    else:
        top, left, bottom, right = options.get("pads", [0, 0, 0, 0]) if automatic != b"VALID" else [0, 0, 0, 0]
    return functional.pad(x, (left, right, top, bottom), value=fill) if top or left or bottom or right else x


def _clip(given: Inputs, options: Options) -> Tensor:
    x, *bounds = given
    low, high = [*bounds, None, None][:2]
    least = options.get("min") if low is None else float(low)
    most = options.get("max") if high is None else float(high)
    return torch.clamp(_tensor(x), least, most)


def _gemm(given: Inputs, options: Options) -> Tensor:
    a, b = _tensor(given[0]), _tensor(given[1])
    a, b = (a.T if options.get("transA") else a), (b.T if options.get("transB") else b)
    product = options.get("alpha", 1.0) * (a @ b)
    return product if len(given) < 3 or given[2] is None else product + options.get("beta", 1.0) * given[2]


def _bordered(given: Inputs, options: Options) -> Tensor:
    x, widths, fill, *axes = (*given, None, None)[:4]
    if options.get("mode", b"constant") != b"constant":
        raise ModelError(f"training knows no operator Pad with the mode {options['mode'].decode()}")
    numbers = _tensor(widths).tolist()
    places = _tensor(axes[0]).tolist() if axes and axes[0] is not None else range(_tensor(x).ndim)
    sides = [(0, 0)] * _tensor(x).ndim
    for place, before, after in zip(places, numbers, numbers[len(numbers) // 2 :], strict=False):
        sides[place] = (before, after)
    flat = [width for pair in reversed(sides) for width in pair]
    return functional.pad(_tensor(x), flat, value=0.0 if fill is None else float(fill))


def _pool(given: Inputs, options: Options) -> Tensor:
    x, kernel = _tensor(given[0]), options["kernel_shape"]
    strides, dilations = options.get("strides", [1, 1]), options.get("dilations", [1, 1])
    x = _padded(x, options, kernel, strides, dilations, -torch.inf)
    return functional.max_pool2d(x, kernel, strides, dilation=dilations, ceil_mode=bool(options.get("ceil_mode")))


def _reduced(work: Callable[..., Tensor]) -> Callable[[Inputs, Options], Tensor]:
    def reduce(given: Inputs, options: Options) -> Tensor:
        axes = options.get("axes") if len(given) < 2 or given[1] is None else _tensor(given[1]).tolist()
        x = _tensor(given[0])
        return work(x, dim=list(range(x.ndim)) if axes is None else axes, keepdim=bool(options.get("keepdims", 1)))

    return reduce


def _normalized(given: Inputs, options: Options) -> Tensor:
    x, scale, bias, mean, variance = (_tensor(one) for one in given)
    factor = scale / torch.sqrt(variance + options.get("epsilon", 1e-5))
    return x * factor[:, None, None] + (bias - mean * factor)[:, None, None]


def _reshaped(given: Inputs, options: Options) -> Tensor:
    x, shape = _tensor(given[0]), _tensor(given[1]).tolist()
    return x.reshape([x.shape[place] if size == 0 else size for place, size in enumerate(shape)])


def _unit(given: Inputs, options: Options) -> Tensor:
    # As functional.normalize, which is exported as operators that are not known here.
    x, axis = _tensor(given[0]), options.get("axis", -1)
    return x / torch.linalg.vector_norm(x, options.get("p", 2), dim=axis, keepdim=True).clamp_min(1e-12)


def _squeezed(given: Inputs, options: Options) -> Tensor:
    axes = options.get("axes") if len(given) < 2 or given[1] is None else _tensor(given[1]).tolist()
    return _tensor(given[0]).squeeze(tuple(axes)) if axes is not None else _tensor(given[0]).squeeze()


def _tensor(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


#: What computes each operator. Networks that were trained have their batch normalizations as fixed factors.
OPERATORS: dict[str, Callable[[Inputs, Options], Tensor]] = {
    "Add": lambda given, _: _tensor(given[0]) + _tensor(given[1]),
    "BatchNormalization": _normalized,
    "Cast": lambda given, options: _tensor(given[0]).to(
        torch.float32 if options["to"] == TensorProto.FLOAT else torch.float16
    ),
    "Clip": _clip,
    "Concat": lambda given, options: torch.cat([_tensor(one) for one in given], options["axis"]),
    "Conv": _conv,
    "Div": lambda given, _: _tensor(given[0]) / _tensor(given[1]),
    "Flatten": lambda given, options: _tensor(given[0]).flatten(options.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda given, _: _tensor(given[0]).mean((2, 3), keepdim=True),
    "GlobalMaxPool": lambda given, _: _tensor(given[0]).amax((2, 3), keepdim=True),
    "HardSigmoid": lambda given, options: torch.clamp(
        options.get("alpha", 0.2) * _tensor(given[0]) + options.get("beta", 0.5), 0, 1
    ),
    "HardSwish": lambda given, _: functional.hardswish(_tensor(given[0])),
    "Identity": lambda given, _: _tensor(given[0]),
    "LpNormalization": _unit,
    "MatMul": lambda given, _: _tensor(given[0]) @ _tensor(given[1]),
    "MaxPool": _pool,
    "Mul": lambda given, _: _tensor(given[0]) * _tensor(given[1]),
    "Pad": _bordered,
    "Pow": lambda given, _: _tensor(given[0]) ** _tensor(given[1]),
    "ReduceL2": _reduced(torch.linalg.vector_norm),
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "Relu": lambda given, _: functional.relu(_tensor(given[0])),
    "Reshape": _reshaped,
    "Sigmoid": lambda given, _: torch.sigmoid(_tensor(given[0])),
    "Softmax": lambda given, options: _tensor(given[0]).softmax(options.get("axis", -1)),
    "Squeeze": _squeezed,
    "Sub": lambda given, _: _tensor(given[0]) - _tensor(given[1]),
    "Tanh": lambda given, _: torch.tanh(_tensor(given[0])),
}
