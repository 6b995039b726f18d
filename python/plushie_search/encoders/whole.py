"""Models of which nothing is here: a server takes pictures and texts themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .. import _core
from .address import Address
from .probe import TEXT, picture
from .request import ServiceError, persist, quoted, unreadable
from .service import Service

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The longest vectors of any model.
LONGEST = 1 << 16

#: A picture as a file: its media type and its bytes.
File = tuple[str, bytes]


class Whole:
    """A whole model on a server; an :class:`EncoderLike` for :class:`plushie_search.Engine`.

    Its subclasses say how texts and files are sent. What the server can do, and how long its vectors are, is found by
    asking it for those of a fixed picture and text; a side that it refuses is missing.
    """

    def __init__(self, address: Address, service: Service, name: str, towers: Sequence[str], cache: int) -> None:
        self._address, self._service = address, service
        self.name, self.batch, self.requests, self.cache = name, service.batch, service.requests, cache
        self.image_batch = service.batch
        self.device = str(address)
        self.dim = 0
        found: dict[str, NDArray[np.float32]] = {}
        refused: ServiceError | None = None
        takes_files = self._takes_files
        for tower in ("image", "text"):
            if tower == "image" and not takes_files:
                continue
            try:
                rows = self._files([_core.picture_file(picture())]) if tower == "image" else self._texts([TEXT])
            except ServiceError as error:
                if not error.answered:
                    raise self._blamed(error) from None
                refused = error
                continue
            found[tower] = rows[0]
        if not found:
            assert refused is not None
            raise self._blamed(refused)
        dims = {tower: len(vector) for tower, vector in found.items()}
        if len(set(dims.values())) > 1:
            raise self._blamed(
                ServiceError(f"service {address}: its vectors of pictures and of texts differ in length: {dims}")
            )
        self.dim = next(iter(dims.values()))
        self.probe = {tower: self._unit(found[tower]) for tower in towers if tower in found}
        protocol = "embeddings" if address.protocol == "embeddings" else "clip-as-service"
        asked = f"{protocol} {address.pictures or ''} {address.model}\ndimension {self.dim}\n"
        self.fingerprint = hashlib.sha256(f"service\n{asked}".encode()).hexdigest()
        if "image" in self.probe:
            self.encode_files = self._files
        if "text" in self.probe:
            self.encode_texts = self._texts

    @property
    def _takes_files(self) -> bool:
        return True

    def _ask_texts(self, texts: Sequence[str], left: float) -> list[NDArray[np.float32]]:
        raise NotImplementedError

    def _ask_files(self, files: Sequence[File], left: float) -> list[NDArray[np.float32]]:
        raise NotImplementedError

    def _texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return persist(self._service, self._address, lambda left: self._rows(self._ask_texts(texts, left), len(texts)))

    def _files(self, files: Sequence[File]) -> NDArray[np.float32]:
        return persist(self._service, self._address, lambda left: self._rows(self._ask_files(files, left), len(files)))

    def _limit(self, rows: int) -> int:
        """The most bytes of an answer with so many vectors."""
        return (1 << 20) + 32 * rows * (self.dim or LONGEST)

    def _rows(self, found: list[NDArray[np.float32]], count: int) -> NDArray[np.float32]:
        if len(found) != count:
            raise unreadable(f"{len(found)} vectors for {count}")
        wanted = self.dim or len(found[0])
        other = next((len(row) for row in found if len(row) != wanted or not 0 < len(row) <= LONGEST), None)
        if other is not None:
            raise unreadable(f"a vector of {other} numbers, where others have {wanted}")
        return np.stack(found)

    def _unit(self, vector: NDArray[np.float32]) -> list[float]:
        length = float(np.linalg.norm(vector.astype(np.float64)))
        if not np.isfinite(length) or length < 1e-20:
            reason = "gave NaN, infinity or only zeros for a plain picture or text"
            raise self._blamed(ServiceError(f"service {self._address}: {reason}"))
        return [float(number) for number in vector.astype(np.float64) / length]

    def _blamed(self, error: ServiceError) -> ServiceError:
        return ServiceError(f"model {self.name}: {error.service_reason}")


def ordered(rows: Sequence[tuple[int | None, NDArray[np.float32]]]) -> list[NDArray[np.float32]]:
    """Vectors in the order of what was asked, from those that came with their places or in order.

    Raises:
        ServiceError: Two have one place, or one is beyond the last.
    """
    found: dict[int, NDArray[np.float32]] = {}
    for number, (index, vector) in enumerate(rows):
        place = number if index is None else index
        if place in found or not 0 <= place < len(rows):
            raise unreadable(f"a vector has the index {quoted(str(place))}, which is taken or too high")
        found[place] = vector
    return [found[place] for place in range(len(rows))]
