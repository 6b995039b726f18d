"""How long the heat map of a picture takes, with plushie-mini and with a network of the shape of CLIP's ViT-B/32.

    python benches/explain_time.py [--rounds 5] [--threads 2]

The network has the operations and sizes of ViT-B/32 and random weights: its maps mean nothing, and take as long. Both
models explain by turns; the times are those of a clock and of all processors. Needs the package onnx.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import plushie_search as ps
from plushie_search import _core

WIDTH, LAYERS, HEADS, PATCH, GRID, DIM = 768, 12, 12, 32, 7, 512


class Network:
    """A graph of ONNX that is written operation by operation."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self.helper, self.to_tensor = helper, numpy_helper.from_array
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        self.random = np.random.default_rng(0)

    def weights(self, *shape: int) -> str:
        return self.constant((0.02 * self.random.standard_normal(shape)).astype(np.float32))

    def constant(self, values: Any) -> str:
        name = f"w{len(self.tensors)}"
        self.tensors.append(self.to_tensor(np.asarray(values), name))
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        return self.add("Add", self.add("MatMul", x, self.weights(inputs, outputs)), self.weights(outputs))

    def norm(self, x: str) -> str:
        ones = self.constant(np.ones(WIDTH, np.float32))
        return self.add("LayerNormalization", x, ones, self.weights(WIDTH), axis=-1)

    def attention(self, x: str) -> str:
        def heads(order: list[int]) -> str:
            split = self.add("Reshape", self.linear(x, WIDTH, WIDTH), self.constant([0, 0, HEADS, WIDTH // HEADS]))
            return self.add("Transpose", split, perm=order)

        scores = self.add("MatMul", heads([0, 2, 1, 3]), heads([0, 2, 3, 1]))
        shares = self.add("Softmax", self.add("Mul", scores, self.weights(1)), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", shares, heads([0, 2, 1, 3])), perm=[0, 2, 1, 3])
        return self.linear(self.add("Reshape", mixed, self.constant([0, 0, WIDTH])), WIDTH, WIDTH)

    def tower(self) -> None:
        """Adds the whole tower, from pixels to the embedding."""
        kernel = self.weights(WIDTH, 3, PATCH, PATCH)
        patches = self.add("Conv", "pixel_values", kernel, strides=[PATCH, PATCH])
        patches = self.add("Reshape", patches, self.constant([0, WIDTH, GRID * GRID]))
        patches = self.add("Transpose", patches, perm=[0, 2, 1])
        # The mean of the patches stands for the class token.
        first = self.add("ReduceMean", patches, axes=[1], keepdims=1)
        x = self.add("Concat", first, patches, axis=1)
        x = self.norm(self.add("Add", x, self.weights(1, GRID * GRID + 1, WIDTH)))
        for _ in range(LAYERS):
            x = self.add("Add", x, self.attention(self.norm(x)))
            wide = self.linear(self.norm(x), WIDTH, 4 * WIDTH)
            wide = self.add("Mul", wide, self.add("Sigmoid", wide))
            x = self.add("Add", x, self.linear(wide, 4 * WIDTH, WIDTH))
        first = self.add("Gather", x, self.constant(0), axis=1)
        self.add("MatMul", self.norm(first), self.weights(WIDTH, DIM), output="image_embeds")

    def save(self, path: Path) -> None:
        from onnx import TensorProto, save

        value = self.helper.make_tensor_value_info
        inputs = [value("pixel_values", TensorProto.FLOAT, ["batch", 3, PATCH * GRID, PATCH * GRID])]
        outputs = [value("image_embeds", TensorProto.FLOAT, ["batch", DIM])]
        graph = self.helper.make_graph(self.nodes, "vit", inputs, outputs, self.tensors)
        opset = self.helper.make_opsetid("", 17)
        save(self.helper.make_model(graph, opset_imports=[opset], ir_version=8), path)


def write(folder: Path) -> Path:
    """Writes a model directory with such a network."""
    folder.mkdir()
    network = Network()
    network.tower()
    network.save(folder / "image.onnx")
    side = PATCH * GRID
    preprocess = {
        "resize": "squash",
        "size": [side, side],
        "filter": "bicubic",
        "mean": [0.4815, 0.4578, 0.4082],
        "std": [0.2686, 0.2613, 0.2758],
        "fill": [255, 255, 255],
        "channels": "rgb",
    }
    manifest = {
        "format": 1,
        "name": "vit-b-32-shape",
        "version": "1",
        "dimension": DIM,
        "license": "Apache-2.0",
        "description": "random weights",
        "languages": [],
        "image": {"file": "image.onnx", "output": None, "preprocess": preprocess},
    }
    (folder / "model.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if find_spec("onnx") is None:
        sys.exit("the network is written by onnx: pip install onnx")
    photo = _core.Plush(1).render(size=640, view=3)
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as work:
        vit = write(Path(work) / "vit")
        models = {"plushie-mini": "plushie-mini", "ViT-B/32, random": str(vit)}
        engines = {
            name: ps.Engine(Path(work) / f"c{place}", model=model, threads=options.threads)
            for place, (name, model) in enumerate(models.items())
        }
        for engine in engines.values():
            engine.add("toy", images=[_core.Plush(1).render(size=224, view=4)])
        for turn in range(options.rounds + 1):
            for name, engine in engines.items():
                for method in ("windows", "cam") if name == "plushie-mini" else ("windows",):
                    start = time.perf_counter(), time.process_time()
                    engine.explain(photo, "toy", sides="query", method=method)
                    took = time.perf_counter() - start[0], time.process_time() - start[1]
                    if turn:
                        times.setdefault((name, method), []).append(took)
        for engine in engines.values():
            engine.close()
    print("| model | method | clock | processors |\n| --- | --- | --- | --- |")
    for (name, method), took in times.items():
        clock, processors = np.median(took, axis=0)
        print(f"| {name} | {method} | {clock:.2f} s | {processors:.2f} s |")


if __name__ == "__main__":
    main()
