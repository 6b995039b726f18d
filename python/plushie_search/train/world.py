"""Composes the picture network of `plushie-mini`: a frozen backbone beside the plush tower.

A vector has three parts, each a unit vector times the square root of its share. A cosine is the
weighted mean of theirs:

- the backbone's features, projected so that views of one thing are near: how a thing looks;
- the vectors of class names, averaged by the backbone's class probabilities: the kind of thing (Norouzi et al.,
  "Zero-Shot Learning by Convex Combination of Semantic Embeddings", 2014);
- the plush tower's vector: which toy.
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
SHARES = (0.3, 0.15, 0.55)
"""The shares of the three parts."""
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


def see(backbone: Path, pictures: Iterable[NDArray[np.uint8]], side: int, *, threads: int) -> NDArray[np.float32]:
    """Returns the backbone's features of pictures `(3, h, w)`, shape (n, features)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(backbone), options, providers=["CPUExecutionProvider"])

    def one(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        whole = Image.fromarray(picture.transpose(1, 2, 0)).resize((side, side), Image.Resampling.BICUBIC)
        pixels = ((np.asarray(whole, np.float32) - MEAN) / SCALE).transpose(2, 0, 1)[None]
        return np.asarray(session.run(["features"], {"pixel_values": pixels})[0])

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


def combine(
    backbone: onnx.ModelProto, plush: onnx.ModelProto, axes: Axes, side: int, plush_side: int
) -> onnx.ModelProto:
    """Returns the composed network, from pixels as the backbone takes them, `(n, 3, side, side)`, to unit vectors.

    `backbone` has the outputs `features` and `output` (probabilities), `plush` one output; both take `pixel_values`.
    """
    world, toys = compose.add_prefix(backbone, "world/"), compose.add_prefix(plush, PLUSH)
    nodes, weights = [*world.graph.node], [*world.graph.initializer, *toys.graph.initializer]

    def constant(name: str, values: NDArray[np.float32] | NDArray[np.int64]) -> str:
        weights.append(numpy_helper.from_array(values, name))
        return name

    def add(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    pixels = world.graph.input[0].name
    smaller = pixels
    if plush_side != side:
        scale = constant("scale", np.array([1.0, 1.0, plush_side / side, plush_side / side], np.float32))
        smaller = add("Resize", [pixels, "", scale], "smaller", mode="linear")
    for node in toys.graph.node:
        node.input[:] = [smaller if name == toys.graph.input[0].name else name for name in node.input]
    nodes += toys.graph.node
    features, chances = (one.name for one in world.graph.output)
    bias = constant("middle", -axes.middle @ axes.looks)
    looks = add("Gemm", [features, constant("looks_axes", axes.looks), bias], "looks")
    softer = add("Pow", [chances, constant("sharpness", np.array(SHARPNESS, np.float32))], "softer")
    kinds = add("MatMul", [softer, constant("kinds_axes", axes.kinds)], "kinds")
    parts = []
    for name, share in zip((looks, kinds, toys.graph.output[0].name), SHARES, strict=True):
        unit = add("LpNormalization", [name], f"unit/{name}", axis=1, p=2)
        parts.append(add("Mul", [unit, constant(f"share/{name}", np.array(share**0.5, np.float32))], f"part/{name}"))
    add("Concat", parts, "image_embeds", axis=1)
    graph = helper.make_graph(
        nodes,
        "plushie-mini",
        [helper.make_tensor_value_info("pixel_values", onnx.TensorProto.FLOAT, ["batch", 3, side, side])],
        [helper.make_tensor_value_info("image_embeds", onnx.TensorProto.FLOAT, ["batch", axes.dimension])],
        weights,
    )
    for node in graph.node:
        node.input[:] = ["pixel_values" if name == pixels else name for name in node.input]
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model
