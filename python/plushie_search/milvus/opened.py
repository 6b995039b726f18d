"""An open collection: its models, its connection, and how both end."""

from __future__ import annotations

import operator
import os
import re
import threading
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from .. import hub
from .._core import ArgumentError, CatalogError, ModelError
from ..encoders.protocol import Models, named
from ..log import logger
from ..paths import expanded
from . import schema
from .judging import Judging
from .looking import Looking
from .schema import Space
from .staged import Stage
from .store import Store
from .terms import expression
from .writing import Writing

if TYPE_CHECKING:
    from ..query import Where

#: The names of collections; ours get a time behind them.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")
#: The largest dimension that Milvus takes.
LARGEST = 32_768
#: Rows that get a stage of their own.
MANY = 500


class Opened:
    """The state of a catalog in Milvus; see :class:`MilvusEngine` for the arguments."""

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        token: str = "",
        collection: str = "plushie",
        model: Models | None = None,
        dim: int | None = None,
        index: str | Mapping[str, Any] | None = None,
        consistency: Literal["Strong", "Session", "Bounded", "Eventually"] = "Strong",
        threads: int | None = None,
        timeout: float = 30.0,
        create: bool = True,
    ) -> None:
        if model is not None and dim is not None:
            raise ArgumentError("a catalog has a model, or vectors alone of dimension dim: give one of them")
        if dim is not None and not 1 <= dim <= LARGEST:
            raise ArgumentError(f"dim {dim}: give 1 to {LARGEST:,}, as Milvus takes")
        if consistency not in schema.LEVELS[:4]:
            raise ArgumentError(f"consistency {consistency!r}: give one of {', '.join(schema.LEVELS[:4])}")
        if not NAME.fullmatch(collection):
            raise ArgumentError(f"collection {collection!r}: give 1 to 200 letters, digits and _, no digit first")
        self._lock, self._closed = threading.RLock(), False
        self._uri = os.fspath(uri) if "://" in os.fspath(uri) else expanded(uri)
        self._collection, self._threads, self._dim = collection, threads, dim
        is_file = "://" not in self._uri
        if is_file and not self._uri.endswith(".db"):
            raise ArgumentError(
                f"milvus {self._uri}: give a path that ends in .db, or an address such as http://host:19530"
            )
        if is_file and not create and not os.path.exists(self._uri):
            raise CatalogError(f"milvus {self._uri} does not exist: correct the path, or fill it first")
        # A model that cannot be used leaves no file behind.
        self._encoders = self._opened(model) if model is not None else []
        how = {"token": token} if token else {}
        self._store = Store(self._uri, collection, timeout=timeout, **how)
        try:
            held = self._held(create)
            if model is None and dim is None:
                model, self._dim = (hub.DEFAULT_MODEL, None) if held is None else _sources(collection, held)
                self._encoders = self._opened(model) if model is not None else []
            self._stage = self._staging()
        except BaseException:
            self._store.close()
            raise
        try:
            given = schema.spaces_of(self._stage.core.stats()["models"])
            if held is None:
                index = index or ("FLAT" if self._store.is_lite else "AUTOINDEX")
                made = self._make(given, index, consistency)
                try:
                    self._store.call(self._store.client.create_alias, made, collection)
                except CatalogError:
                    self._store.call(self._store.client.drop_collection, made)
                    raise
                held = given
            self._all = held
            spaces = schema.check_models(collection, held, given)
            self._store.call(self._store.client.load_collection, collection)
        except BaseException:
            self.close()
            raise
        self._spaces = {space.name: space for space in spaces}
        self._writing = Writing(self._store, spaces)
        self._looking = Looking(self._store, self._spaces)
        self._judging = Judging(self._looking.sample, spaces, self._staging)
        logger.info("opened %s: models %s", self.path, ", ".join(self.models))

    def _opened(self, model: Models) -> list[tuple[str | None, Any]]:
        return [(name, hub.as_encoder(one, threads=self._threads)) for name, one in named(model)]

    def _held(self, create: bool) -> list[Space] | None:
        """Returns the models of the collection; None if it does not exist."""
        if self._store.exists():
            return schema.read(
                self._store.call(self._store.client.describe_collection, self._collection), self._collection
            )
        if not create:
            raise CatalogError(
                f"milvus {self._uri} has no collection {self._collection!r}: correct the name, or fill it first"
            )
        return None

    def _make(self, spaces: Sequence[Space], index: str | Mapping[str, Any], level: str) -> str:
        """Makes a collection of a name of its own, for which the catalog's name is an alias, and returns that name."""
        name = f"{self._collection}_{time.time_ns():x}"
        how = {"index_type": index} if isinstance(index, str) else dict(index)
        self._store.call(schema.make, self._store.client, name, spaces, how, consistency_level=level)
        return name

    def _staging(self) -> Stage:
        return Stage(self._encoders, dim=self._dim, threads=self._threads)

    @contextmanager
    def _staged(self, rows: int = 0) -> Iterator[Stage]:
        """Gives an empty stage to one thread; many rows get one of their own: making is faster than emptying."""
        with self._lock:
            if self._closed:
                raise ArgumentError("this engine is closed: open the collection again")
            stage = self._staging() if rows > MANY else self._stage
            try:
                yield stage
            finally:
                if stage is self._stage:
                    stage.clear()
                else:
                    stage.close()

    @staticmethod
    def _spelled(id: Any) -> str:
        """Returns an id as it is stored: whole numbers by their digits, texts in composed form."""
        if isinstance(id, str):
            return unicodedata.normalize("NFC", id)
        return str(operator.index(id))

    def _space(self, model: str | None) -> Space:
        if model is not None and model not in self._spaces:
            raise ArgumentError(f"there is no model {model!r}: this catalog has {', '.join(self._spaces)}")
        return self._spaces[model or next(iter(self._spaces))]

    def _where(self, where: Where | None) -> str:
        """Returns a filter as an expression of Milvus, checked as that of any catalog."""
        if not where:
            return ""
        self._stage.core.count(where=where)
        return expression(where)

    @property
    def path(self) -> str:
        """The address and the collection."""
        return f"{self._uri}#{self._collection}"

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they were given."""
        return tuple(self._spaces)

    def close(self) -> None:
        """Closes the connection and the models; every later call but this one raises an error."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._stage.close()
                self._store.close()


def _sources(collection: str, held: Sequence[Space]) -> tuple[Models | None, int | None]:
    """Returns the models of a collection by their names, or the dimension of vectors without a model.

    Raises:
        ModelError: A name does not tell where the model is.
    """
    if [space.name for space in held] == ["vectors"]:
        return None, held[0].dimension
    known = hub.models()
    for space in held:
        if space.name not in known:
            raise ModelError(
                f"collection {collection!r} was filled with model {space.name!r}, and it is not known where that lies: "
                "give its directory, or the encoder, as model="
            )
    return {space.name: space.name for space in held}, None
