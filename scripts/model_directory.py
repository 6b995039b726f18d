"""Makes a model directory of an ONNX picture network, to compare with the built-in model.

    python scripts/model_directory.py mobilenet_v2.onnx mobilenet --output features --mean 0.498 --std 0.5
    plushie-search plushbench --model plushie-mini mobilenet

The network takes float pixels (n, 3, height, width) and gives (n, numbers) or (n, numbers, 1, 1). The directory has no
text tower: text figures are left out for it.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path

import onnxruntime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, help="the .onnx file")
    parser.add_argument("directory", type=Path, help="is made")
    parser.add_argument("--output", help="which output holds the vector (the first)")
    parser.add_argument("--size", type=int, default=224, help="side of the pictures it sees (%(default)s)")
    parser.add_argument("--resize", choices=("squash", "crop", "letterbox"), default="squash", help="(%(default)s)")
    parser.add_argument(
        "--mean", type=float, nargs="+", default=[0.485, 0.456, 0.406], help="of values from 0 to 1 (%(default)s)"
    )
    parser.add_argument("--std", type=float, nargs="+", default=[0.229, 0.224, 0.225], help="(%(default)s)")
    parser.add_argument("--channels", choices=("rgb", "bgr"), default="rgb", help="(%(default)s)")
    parser.add_argument("--license", default="unknown", help="of the network")
    given = parser.parse_args()
    if not {len(given.mean), len(given.std)} <= {1, 3}:
        parser.error("--mean and --std take one number, or three")
    outputs = {one.name: one.shape for one in onnxruntime.InferenceSession(given.network).get_outputs()}
    output = given.output or next(iter(outputs))
    if output not in outputs:
        parser.error(f"{given.network} has no output {output!r}: use one of {', '.join(outputs)}")
    sizes = outputs[output][1:]
    if not all(isinstance(size, int) for size in sizes):
        parser.error(f"the size of output {output!r} of {given.network} is not fixed: {sizes}")
    manifest = {
        "format": 1,
        "name": given.directory.name,
        "version": "1",
        "dimension": math.prod(sizes),
        "license": given.license,
        "description": f"the picture network {given.network.name}",
        "languages": [],
        "image": {
            "file": "image.onnx",
            "output": output,
            "preprocess": {
                "resize": given.resize,
                "size": [given.size, given.size],
                "filter": "bilinear",
                "mean": (given.mean * 3)[:3],
                "std": (given.std * 3)[:3],
                "fill": [255, 255, 255],
                "channels": given.channels,
            },
        },
    }
    given.directory.mkdir(parents=True)
    shutil.copyfile(given.network, given.directory / "image.onnx")
    (given.directory / "model.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
