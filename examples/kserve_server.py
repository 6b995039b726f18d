"""Serves the networks of a model directory with KServe's own server, over HTTP and gRPC.

    pip install kserve onnxruntime
    python examples/kserve_server.py MODEL_DIRECTORY --http_port 8080 --grpc_port 8081

Then elsewhere, with the same model directory (or one without its networks) or the model's name:

    encoder = plushie_search.open_encoder(MODEL, service={
        "image": "oip://server:8080/image",         # or oip+grpc://server:8081/image
        "text": "oip://server:8080/text",
    })
    engine = plushie_search.Engine("toys.catalog", model=encoder)
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # nothing of this machine goes to the makers of ONNX Runtime

import onnxruntime
from kserve import InferOutput, InferResponse, Model, ModelServer, model_server

DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(double)": "FP64",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
}


class Network(Model):
    """One ONNX network."""

    def __init__(self, name, path):
        super().__init__(name)
        self.session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        self.ready = True

    def get_input_types(self):
        return [self._port(port) for port in self.session.get_inputs()]

    def get_output_types(self):
        return [self._port(port) for port in self.session.get_outputs()]

    @staticmethod
    def _port(port):
        shape = [size if isinstance(size, int) else -1 for size in port.shape]
        return {"name": port.name, "datatype": DATATYPES[port.type], "shape": shape}

    async def predict(self, payload, headers=None, response_headers=None):
        feed = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        wanted = [output.name for output in payload.request_outputs or []] or [
            port.name for port in self.session.get_outputs()
        ]
        results = await asyncio.to_thread(self.session.run, wanted, feed)
        outputs = []
        for name, result in zip(wanted, results, strict=True):
            datatype = {port["name"]: port["datatype"] for port in self.get_output_types()}[name]
            output = InferOutput(name, list(result.shape), datatype)
            output.set_data_from_numpy(result)
            outputs.append(output)
        return InferResponse(
            payload.id,
            self.name,
            outputs,
            from_grpc=payload.from_grpc,
            requested_outputs=payload.request_outputs,
            use_binary_outputs=payload.use_binary_outputs,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    manifest = json.loads((options.directory / "model.json").read_text(encoding="utf-8"))
    networks = [
        Network(tower, options.directory / manifest[tower].get("file", f"{tower}.onnx"))
        for tower in ("image", "text")
        if tower in manifest
    ]
    ModelServer().start(networks)
