"""OpenAI's ``/v1/embeddings``, how Infinity, Jina and vLLM take pictures by it, and clip-as-service's ``/post``."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .address import Address
from .http import Http
from .oip_http import load
from .request import quoted, unreadable
from .service import Service
from .tensors import flat, floats
from .whole import File, Whole, ordered

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Embeddings(Whole):
    """A server of embeddings over HTTP."""

    def __init__(
        self,
        address: Address,
        service: Service,
        *,
        name: str,
        towers: Sequence[str] = ("image", "text"),
        cache: int = 1000,
    ) -> None:
        self._http = Http(address, service, towers[0])
        super().__init__(address, service, name, towers, cache)
        if address.pictures == "vllm":
            self.image_batch = 1  # one message is one picture

    @property
    def _takes_files(self) -> bool:
        return self._address.protocol == "post" or self._address.pictures is not None

    def _ask_texts(self, texts: Sequence[str], left: float) -> list[NDArray[np.float32]]:
        if self._address.protocol == "post":
            return self._post({"data": [{"text": text} for text in texts], "execEndpoint": "/"}, len(texts), left)
        body = {"model": self._address.model, "input": list(texts), "encoding_format": "float"}
        return self._post(body, len(texts), left)

    def _ask_files(self, files: Sequence[File], left: float) -> list[NDArray[np.float32]]:
        coded = [base64.b64encode(data).decode() for _, data in files]
        urls = [f"data:{media};base64,{text}" for (media, _), text in zip(files, coded, strict=True)]
        body: dict[str, Any] = {"model": self._address.model, "encoding_format": "float"}
        match self._address.pictures:
            case "jina":
                body["input"] = [{"image": text} for text in coded]
            case "vllm":
                content = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
                body["messages"] = [{"role": "user", "content": content}]
            case "infinity":
                body |= {"input": urls, "modality": "image"}
            case _:
                body = {"data": [{"blob": text} for text in coded], "execEndpoint": "/"}
        return self._post(body, len(files), left)

    def _post(self, body: dict[str, Any], rows: int, left: float) -> list[NDArray[np.float32]]:
        sent = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        headers = {"Content-Type": "application/json"}
        answer, _ = self._http.call(self._address.url(), [sent], self._limit(rows), left, headers)
        return read(answer, rows)


def read(answer: bytes, rows: int) -> list[NDArray[np.float32]]:
    """The vectors of an answer, in the order of what was asked.

    Raises:
        ServiceError: The answer is not as the protocol says.
    """
    try:
        data = load(answer)["data"]
        # Some servers put what others call data below it.
        data = data["docs"] if isinstance(data, dict) else data
        if len(data) != rows:
            raise unreadable(f"{len(data)} vectors for {rows}")
        return ordered([(row.get("index"), _vector(row["embedding"])) for row in data])
    except KeyError as error:
        raise unreadable(f"there is no {quoted(str(error.args[0]))}") from None
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise unreadable(error) from None


def _vector(embedding: Any) -> NDArray[np.float32]:
    """The numbers of a vector: in lists, or as base64 of 32-bit floats."""
    if isinstance(embedding, str):
        try:
            return floats("FP32", base64.b64decode(embedding, validate=True))
        except binascii.Error as error:
            raise unreadable(error) from None
    if not isinstance(embedding, list):
        raise unreadable("a vector is no list of numbers")
    return flat(embedding)
