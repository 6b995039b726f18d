"""The protocol buffers of the two gRPC protocols, by the published field numbers.

Fields that are not needed are left out. The Open Inference Protocol: <https://github.com/kserve/open-inference-protocol>.
clip-as-service speaks that of Jina 3 with documents of docarray 0.21: ``jina.proto`` and ``docarray.proto`` there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

#: For each message its fields: a name with the number and the type, "*" before that of a repeated field.
OIP = {
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "TensorMetadata": {"name": (1, "string"), "datatype": (2, "string"), "shape": (3, "*int64")},
    "ModelMetadataResponse": {"inputs": (4, "*TensorMetadata"), "outputs": (5, "*TensorMetadata")},
    "RequestedOutput": {"name": (1, "string")},
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "inputs": (5, "*TensorMetadata"),
        "outputs": (6, "*RequestedOutput"),
        "raw_input_contents": (7, "*bytes"),
    },
    "InferTensorContents": {"fp32_contents": (6, "*float"), "fp64_contents": (7, "*double")},
    "InferOutputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
        "contents": (5, "InferTensorContents"),
    },
    "ModelInferResponse": {"outputs": (5, "*InferOutputTensor"), "raw_output_contents": (6, "*bytes")},
}

JINA = {
    "DenseNdArrayProto": {"buffer": (1, "bytes"), "shape": (2, "*uint32"), "dtype": (3, "string")},
    "NdArrayProto": {"dense": (1, "DenseNdArrayProto")},
    "DocumentProto": {
        "id": (1, "string"),
        "blob": (2, "bytes"),
        "text": (4, "string"),
        "mime_type": (11, "string"),
        "embedding": (16, "NdArrayProto"),
    },
    "DocumentArrayProto": {"docs": (1, "*DocumentProto")},
    "StatusProto": {"code": (1, "int32"), "description": (2, "string")},
    "HeaderProto": {"request_id": (1, "string"), "status": (2, "StatusProto"), "exec_endpoint": (3, "string")},
    "DataContentProto": {"docs": (1, "DocumentArrayProto")},
    "DataRequestProto": {"header": (1, "HeaderProto"), "data": (4, "DataContentProto")},
}

_TYPES = {"double": 1, "float": 2, "int64": 3, "int32": 5, "string": 9, "bytes": 12, "uint32": 13}
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


@cache
def oip() -> dict[str, Any]:
    """The classes of the Open Inference Protocol's messages, by name."""
    return _classes("plushie.oip", OIP)


@cache
def jina() -> dict[str, Any]:
    """The classes of clip-as-service's messages, by name."""
    return _classes("plushie.jina", JINA)


def repeated_bytes(field: int, contents: Iterable[memoryview]) -> Iterator[bytes | memoryview]:
    """The parts of a repeated field of bytes as it is sent: they may follow the rest of its message."""
    for content in contents:
        head, size = bytearray([field << 3 | 2]), len(content)
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        head.append(size)
        yield bytes(head)
        yield content


def _classes(package: str, messages: dict[str, dict[str, tuple[int, str]]]) -> dict[str, Any]:
    # A pool of its own: the packages themselves may be imported in the same process.
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            plain = kind.lstrip("*")
            label = _REPEATED if kind != plain else _OPTIONAL
            if plain in _TYPES:
                message.field.add(name=field, number=number, label=label, type=_TYPES[plain])
            else:
                message.field.add(
                    name=field, number=number, label=label, type=_MESSAGE, type_name=f".{package}.{plain}"
                )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages}
