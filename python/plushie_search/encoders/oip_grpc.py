"""The Open Inference Protocol v2 over gRPC: tensors as raw bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from . import messages
from .address import Address
from .grpc_calls import Grpc
from .request import ServiceError, persist, quoted, unreadable
from .service import Service
from .tensors import DATATYPES, MAX_METADATA, SPARE, floats, little_endian, rounded, shaped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import _Declared as Declared

#: The field of a request with the numbers of its inputs.
RAW_INPUT_CONTENTS = messages.OIP["ModelInferRequest"]["raw_input_contents"][0]

SERVICE = "/inference.GRPCInferenceService"


class OipGrpc:
    """One model of a server. An encoder calls it by any number of threads.

    Attributes:
        address: Where it is.
        batch: The most rows in a request.
        requests: The most requests at a time.
    """

    def __init__(self, address: Address, service: Service, tower: str) -> None:
        self.address, self.batch, self.requests = address, service.batch, service.requests
        self._service, self._grpc = service, Grpc(address, service, tower)

    def signature(self) -> tuple[list[Declared], list[Declared]]:
        """The inputs and the outputs of the model.

        Raises:
            ServiceError: The server cannot be asked.
        """
        kinds = messages.oip()
        request = kinds["ModelMetadataRequest"](name=self.address.model, version=self.address.version or "")

        def ask(left: float) -> tuple[list[Declared], list[Declared]]:
            answer = self._grpc.call(f"{SERVICE}/ModelMetadata", request.SerializeToString(), MAX_METADATA, left)
            try:
                found = kinds["ModelMetadataResponse"].FromString(answer)
            except Exception as error:  # protobuf's own class for it differs between its versions
                raise ServiceError(f"describes the model in a way that cannot be read: {error}") from None
            inputs, outputs = (
                [(p.name, p.datatype, list(p.shape)) for p in side] for side in (found.inputs, found.outputs)
            )
            return inputs, outputs

        return persist(self._service, self.address, ask)

    def infer(self, inputs: Mapping[str, NDArray[Any]], output: str, most: int) -> NDArray[np.float32]:
        """Runs the model and returns one of its outputs, of at most so many numbers.

        Raises:
            ServiceError: The server gives no answer that can be used.
        """
        kinds = messages.oip()
        request = kinds["ModelInferRequest"](
            model_name=self.address.model,
            model_version=self.address.version or "",
            id="plushie_search",
            inputs=[
                {"name": name, "datatype": DATATYPES[tensor.dtype.name], "shape": tensor.shape}
                for name, tensor in inputs.items()
            ],
            outputs=[{"name": output}],
        )
        # Large contents are copied once so, and not into the message and out of it again.
        raw = messages.repeated_bytes(RAW_INPUT_CONTENTS, map(little_endian, inputs.values()))
        message = b"".join([request.SerializeToString(), *raw])

        def ask(left: float) -> NDArray[np.float32]:
            return read(self._grpc.call(f"{SERVICE}/ModelInfer", message, SPARE + 8 * most, left), output)

        return persist(self._service, self.address, ask)


def read(answer: bytes, wanted: str) -> NDArray[np.float32]:
    """The output ``wanted`` of an answer.

    Raises:
        ServiceError: The answer is not as the protocol says.
    """
    try:
        response = messages.oip()["ModelInferResponse"].FromString(answer)
    except Exception as error:  # protobuf's own class for it differs between its versions
        raise unreadable(error) from None
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise unreadable(f"{len(raw)} raw contents for {len(response.outputs)} outputs")
    for place, output in enumerate(response.outputs):
        if output.name != wanted:
            continue
        if raw:
            numbers = floats(output.datatype, raw[place])
        elif output.HasField("contents"):
            kind = output.contents.fp64_contents if output.datatype == "FP64" else output.contents.fp32_contents
            numbers = rounded(np.array(kind, dtype=np.float64))
        else:
            raise unreadable(f"output {quoted(wanted)} has no contents")
        return shaped(wanted, output.shape, numbers)
    raise unreadable(f"there is no output {quoted(wanted)}")
