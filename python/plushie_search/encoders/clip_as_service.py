"""clip-as-service over gRPC, the default of its own client: Jina's protocol with documents of docarray."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import messages
from .address import Address
from .grpc_calls import Grpc
from .request import ServiceError, quoted, unreadable, words
from .service import Service
from .tensors import rounded
from .whole import File, Whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHOD = "/jina.JinaRPC/Call"


class ClipAsService(Whole):
    """A server of clip-as-service."""

    def __init__(
        self,
        address: Address,
        service: Service,
        *,
        name: str,
        towers: Sequence[str] = ("image", "text"),
        cache: int = 1000,
    ) -> None:
        self._grpc = Grpc(address, service, towers[0])
        super().__init__(address, service, name, towers, cache)

    def _ask_texts(self, texts: Sequence[str], left: float) -> list[NDArray[np.float32]]:
        return self._call([{"text": text} for text in texts], left)

    def _ask_files(self, files: Sequence[File], left: float) -> list[NDArray[np.float32]]:
        return self._call([{"blob": data, "mime_type": media} for media, data in files], left)

    def _call(self, documents: list[dict[str, Any]], left: float) -> list[NDArray[np.float32]]:
        kinds = messages.jina()
        docs = [{"id": os.urandom(16).hex(), **document} for document in documents]
        request = kinds["DataRequestProto"](
            header={"request_id": os.urandom(16).hex(), "exec_endpoint": "/"}, data={"docs": {"docs": docs}}
        )
        limit = self._limit(len(docs)) + sum(len(document.get("blob", b"")) for document in documents)
        answer = self._grpc.call(METHOD, request.SerializeToString(), limit, left, stream=True)
        try:
            found = kinds["DataRequestProto"].FromString(answer)
        except Exception as error:  # protobuf's own class for it differs between its versions
            raise unreadable(error) from None
        if found.header.status.code:
            said = words(found.header.status.description)
            raise ServiceError(f"failed, {quoted(said)}", answered=True, refused=True)
        # The server may have put the documents in another order.
        rows = {document.id: document for document in found.data.docs.docs}
        if set(rows) != {document["id"] for document in docs}:
            raise unreadable(f"{len(found.data.docs.docs)} documents for {len(docs)}, or others")
        return [_vector(rows[document["id"]]) for document in docs]


def _vector(document: Any) -> NDArray[np.float32]:
    dense = document.embedding.dense
    try:
        kind = np.dtype(dense.dtype)
        if kind.kind not in "fiu":
            raise unreadable(f"a vector of {kind}")
        return rounded(np.frombuffer(dense.buffer, kind)).ravel()
    except (TypeError, ValueError) as error:
        raise unreadable(error) from None
