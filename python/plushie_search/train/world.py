"""Composes the picture network of `plushie-mini`: a frozen backbone beside the plush tower.

A vector has three parts, and a cosine is the weighted mean of theirs:

- the backbone's features, projected so that views of one thing are near: how a thing looks;
- the vectors of class names, averaged by the backbone's class probabilities: the kind of thing (Norouzi et al.,
  "Zero-Shot Learning by Convex Combination of Semantic Embeddings", 2014);
- the plush tower's vector: which toy.

Of an average photo each part is as long as the square root of its share. The first and the last keep the lengths that
they come with: the plush tower's is longer for a plush, and the backbone's features of a plush are shorter than those
of things that it was trained on, so that each counts more where it knows more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import compose, helper, numpy_helper
from PIL import Image

from .towers import DIMENSION, MEAN, PLUSH, SCALE

LOOKS, KINDS = 192, 64
"""The most dimensions of the first two parts."""
SHARES = (0.35, 0.15, 0.5)
"""The shares of the three parts of an average photo."""
EVENNESS = 1.0
"""The trace of a round covariance that is added to that of views, whose trace is 1."""
TOYS = 0.3
"""The share of plushes in both covariances."""
POWER = 0.25
"""The power of the variance of things by which directions are divided; 0.5 makes them quite even."""
SHARPNESS = 0.35
"""The power of class probabilities: the backbone is too sure of one class where several fit."""


@dataclass(frozen=True)
class Axes:
    """The projections of the first two parts.

    Attributes:
        middle: The mean of the backbone's features, shape (features,).
        looks: The projection of the features, less the middle, shape (features, LOOKS).
        kinds: The vectors of the classes, shape (classes, KINDS).
        center: The mean of a sentence encoder's vectors of classes, shape (width,).
        words: The projection of its vectors, less the center, to the space of `kinds`, shape (width, KINDS).
    """

    middle: NDArray[np.float32]
    looks: NDArray[np.float32]
    kinds: NDArray[np.float32]
    center: NDArray[np.float32]
    words: NDArray[np.float32]

    @property
    def part(self) -> slice:
        """The place of the second part in a vector."""
        first = self.looks.shape[1]
        return slice(first, first + self.kinds.shape[1])

    @property
    def dimension(self) -> int:
        """The dimension of a vector."""
        return self.looks.shape[1] + self.kinds.shape[1] + DIMENSION

    def kinds_of(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the unit vectors `(n, KINDS)` of words, from a sentence encoder's vectors of them."""
        projected = (vectors - self.center) @ self.words
        return projected / np.linalg.norm(projected, axis=1, keepdims=True).clip(1e-9)


def see(network: Path, pictures: Iterable[NDArray[np.uint8]], *, threads: int) -> NDArray[np.float32]:
    """Returns the first output of a network for pictures `(3, h, w)`, shape (n, features)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
    first, side = session.get_outputs()[0].name, session.get_inputs()[0].shape[-1]

    def one(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        whole = Image.fromarray(picture.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC)
        pixels = ((np.asarray(whole, np.float32) - MEAN) / SCALE).transpose(2, 0, 1)[None]
        return np.asarray(session.run([first], {"pixel_values": pixels})[0])

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(one, pictures)))


def find_axes(photos: NDArray[np.float32], plushes: NDArray[np.float32], classes: NDArray[np.float32]) -> Axes:
    """Returns the projections.

    Those of looks are a linear discriminant analysis without labels: directions in which views of one thing differ
    shrink, directions in which things differ are made even (Hatch et al., "Within-Class Covariance Normalization for
    SVM-based Speaker Recognition", 2006, for the first step).

    Args:
        photos: Features of views of each photo, the whole one first, shape (n, views, features).
        plushes: Features of views of each plush, shape (m, views, features).
        classes: A sentence encoder's vectors of the backbone's classes, shape (classes, width).
    """
    whole = photos[:, 0].astype(np.float64)
    middle = whole.mean(0)
    within = (1.0 - TOYS) * _scatter(photos) + TOYS * _scatter(plushes)
    within += EVENNESS / len(within) * np.eye(len(within))
    between = (1.0 - TOYS) * _unit(np.cov(whole.T)) + TOYS * _unit(np.cov(plushes.reshape(-1, plushes.shape[-1]).T))
    values, vectors = np.linalg.eigh(within)
    shrink = vectors / np.sqrt(values)
    values, vectors = np.linalg.eigh(shrink.T @ between @ shrink)
    looks = shrink @ (vectors[:, -LOOKS:] / values[-LOOKS:] ** POWER)
    looks /= np.linalg.norm((whole - middle) @ looks, axis=1).mean()
    center = classes.mean(0)
    spread = classes - center
    spread = spread / np.linalg.norm(spread, axis=1, keepdims=True)
    directions = np.linalg.svd(spread, full_matrices=False)[2][:KINDS]
    return Axes(
        middle.astype(np.float32),
        looks.astype(np.float32),
        (spread @ directions.T).astype(np.float32),
        center.astype(np.float32),
        directions.T.astype(np.float32),
    )


def _scatter(views: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the covariance of views of one thing, of trace 1."""
    apart = (views - views.mean(1, keepdims=True, dtype=np.float64)).reshape(-1, views.shape[-1])
    return _unit(apart.T @ apart)


def _unit(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    scaled: NDArray[np.float64] = covariance / np.trace(covariance)
    return scaled


def combine(backbone: onnx.ModelProto, plush: onnx.ModelProto, axes: Axes, length: float) -> onnx.ModelProto:
    """Returns the composed network, from pixels as the backbone takes them to vectors.

    `backbone` has the outputs `features` and `output` (probabilities), `plush` one output; both take `pixel_values` of
    one size. `length` is that of the plush tower's vector of an average photo.
    """
    world, toys = compose.add_prefix(backbone, "world/"), compose.add_prefix(plush, PLUSH)
    nodes, weights = [*world.graph.node], [*world.graph.initializer, *toys.graph.initializer]

    def constant(name: str, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    def add(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    nodes += toys.graph.node
    features, chances = (one.name for one in world.graph.output)
    bias = constant("middle", -axes.middle @ axes.looks)
    looks = add("Gemm", [features, constant("looks_axes", axes.looks), bias], "looks")
    softer = add("Pow", [chances, constant("sharpness", np.array(SHARPNESS, np.float32))], "softer")
    kinds = add("MatMul", [softer, constant("kinds_axes", axes.kinds)], "kinds")
    kinds = add("LpNormalization", [kinds], "kinds/unit", axis=1, p=2)
    parts = []
    for name, part, long, share in zip(
        ("looks", "kinds", "plush"), (looks, kinds, toys.graph.output[0].name), (1.0, 1.0, length), SHARES, strict=True
    ):
        factor = constant(f"factor/{name}", np.array(share**0.5 / long, np.float32))
        parts.append(add("Mul", [part, factor], f"part/{name}"))
    add("Concat", parts, "image_embeds", axis=1)
    inputs = (world.graph.input[0], toys.graph.input[0])
    sides = [one.type.tensor_type.shape.dim[2].dim_value for one in inputs]
    assert sides[0] == sides[1]
    shape = ["batch", 3, sides[0], sides[0]]
    graph = helper.make_graph(
        nodes,
        "plushie-mini",
        [helper.make_tensor_value_info("pixel_values", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("image_embeds", onnx.TensorProto.FLOAT, ["batch", axes.dimension])],
        weights,
    )
    for node in graph.node:
        node.input[:] = ["pixel_values" if name in [one.name for one in inputs] else name for name in node.input]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
