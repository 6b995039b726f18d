"""The Open Inference Protocol v2 over HTTP: tensors in binary form if the server takes that, otherwise as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .address import Address
from .http import Http
from .request import ServiceError, persist, quoted, unreadable
from .service import Service
from .tensors import DATATYPES, MAX_METADATA, SPARE, flat, floats, little_endian, shaped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import _Declared as Declared

#: A header: how many bytes of the body are JSON, before the tensors in binary form.
JSON_LENGTH = "Inference-Header-Content-Length"


class OipHttp:
    """One model of a server. An encoder calls it by any number of threads.

    Attributes:
        address: Where it is.
        batch: The most rows in a request.
        requests: The most requests at a time.
    """

    def __init__(self, address: Address, service: Service, tower: str) -> None:
        self.address, self.batch, self.requests = address, service.batch, service.requests
        self._service, self._http = service, Http(address, service, tower)
        version = f"/versions/{address.version}" if address.version is not None else ""
        self._url = address.url(f"/v2/models/{address.model}{version}")
        self._binary = True
        #: Whether the server was seen to take the form that requests have.
        self._proven = False

    def signature(self) -> tuple[list[Declared], list[Declared]]:
        """The inputs and the outputs of the model.

        Raises:
            ServiceError: The server cannot be asked.
        """

        def ask(left: float) -> tuple[list[Declared], list[Declared]]:
            answer, _ = self._http.call(self._url, None, MAX_METADATA, left)
            try:
                found = load(answer)
                sides = [found.get(side) or [] for side in ("inputs", "outputs")]
                inputs, outputs = [[_declared(port) for port in side] for side in sides]
            except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
                raise ServiceError(f"describes the model in a way that cannot be read: {error}") from None
            return inputs, outputs

        return persist(self._service, self.address, ask)

    def infer(self, inputs: Mapping[str, NDArray[Any]], output: str, most: int) -> NDArray[np.float32]:
        """Runs the model and returns one of its outputs, of at most so many numbers.

        Raises:
            ServiceError: The server gives no answer that can be used.
        """
        return persist(self._service, self.address, lambda left: self._infer(inputs, output, most, left))

    def _infer(self, inputs: Mapping[str, NDArray[Any]], output: str, most: int, left: float) -> NDArray[np.float32]:
        # A number has up to 25 characters in JSON.
        limit = SPARE + 32 * most
        binary = self._binary
        try:
            found = self._ask(inputs, output, limit, left, binary=binary)
        except ServiceError as error:
            # Some servers do not refuse what they do not know, but break down over it.
            if not (binary and (error.refused or (error.answered and not self._proven))):
                raise
            # Perhaps it takes JSON only. If it refuses that too, the fault lies elsewhere.
            found = self._ask(inputs, output, limit, left, binary=False)
            self._binary = False
            return found
        self._proven = True
        return found

    def _ask(
        self, inputs: Mapping[str, NDArray[Any]], output: str, limit: int, left: float, *, binary: bool
    ) -> NDArray[np.float32]:
        body, length = request(inputs, output, binary=binary)
        headers = {"Content-Type": "application/json"}
        if length is not None:
            headers = {"Content-Type": "application/octet-stream", JSON_LENGTH: str(length)}
        answer, said = self._http.call(f"{self._url}/infer", body, limit, left, headers)
        return read(answer, said.get(JSON_LENGTH.lower()), output)


def _declared(port: Any) -> Declared:
    name, datatype, shape = port["name"], port["datatype"], port.get("shape") or []
    if not (isinstance(name, str) and isinstance(datatype, str)):
        raise TypeError("a name or datatype is no text")
    return name, datatype, [int(side) for side in shape]


def request(
    inputs: Mapping[str, NDArray[Any]], output: str, *, binary: bool
) -> tuple[list[bytes | memoryview], int | None]:
    """The body of a request in parts, and how many bytes of it are JSON, None if all are."""
    tensors: list[dict[str, Any]] = []
    for name, tensor in inputs.items():
        described: dict[str, Any] = {
            "name": name,
            "shape": list(tensor.shape),
            "datatype": DATATYPES[tensor.dtype.name],
        }
        if binary:
            tensors.append(described | {"parameters": {"binary_data_size": tensor.nbytes}})
        else:
            tensors.append(described | {"data": tensor.ravel().tolist()})
    # The id is optional, but some servers cannot do without.
    whole = {
        "id": "plushie_search",
        "inputs": tensors,
        "outputs": [{"name": output, "parameters": {"binary_data": binary}}],
    }
    head = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
    if not binary:
        return [head], None
    return [head, *map(little_endian, inputs.values())], len(head)


def load(text: bytes) -> Any:
    """Reads JSON, in which NaN and infinity are no numbers."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def read(answer: bytes, json_length: str | None, wanted: str) -> NDArray[np.float32]:
    """The output ``wanted`` of an answer in either form.

    Raises:
        ServiceError: The answer is not as the protocol says.
    """
    size = len(answer)
    if json_length is not None:
        if not (json_length.isascii() and json_length.isdigit() and int(json_length) <= len(answer)):
            raise unreadable(f"{json_length} bytes of JSON in {len(answer)}")
        size = int(json_length)
    rest = memoryview(answer)[size:]
    try:
        for output in load(answer[:size])["outputs"]:
            length = (output.get("parameters") or {}).get("binary_data_size")
            if length is not None:
                if not isinstance(length, int) or not 0 <= length <= len(rest):
                    raise unreadable(f"{length} bytes of output {quoted(str(output['name']))} are not there")
                taken, rest = rest[:length], rest[length:]
            if output["name"] != wanted:
                continue
            if length is not None:
                numbers = floats(output["datatype"], bytes(taken))
            elif isinstance(output.get("data"), list):
                numbers = flat(output["data"])
            else:
                raise unreadable(f"output {quoted(wanted)} has no data")
            return shaped(wanted, output["shape"], numbers)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise unreadable(error) from None
    raise unreadable(f"there is no output {quoted(wanted)}")
