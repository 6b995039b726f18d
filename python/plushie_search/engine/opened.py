"""The open catalog of an engine: its models, its path, and its end."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import _core, forks
from .._core import ArgumentError
from ..encoders.protocol import Model
from ..log import logger
from ..stored import sources_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..answers.classify import Classifier
    from ..query import By


class Opened:
    """An open catalog, which a child of this process opens again."""

    __slots__ = ("_again", "_connect", "_learned", "_models", "_opened", "_process", "_reads", "_sees")

    _opened: _core.Engine
    #: Opens the catalog again with other encoders, and, for a child of this process, with the same.
    _again: functools.partial[_core.Engine]
    _connect: functools.partial[_core.Engine] | None
    #: The process that has opened it.
    _process: int
    #: The classes of the last call of classify, and the catalog and arguments that they were learned from.
    _learned: tuple[Any, Classifier] | None
    _models: tuple[str, ...]
    _sees: str | None
    _reads: str | None

    def _introduce(self, sources: dict[str, str]) -> None:
        """Notes the names of the models that were opened, and stores their sources."""
        if sources:
            # If another process is writing, the next one that opens the catalog stores them.
            with suppress(_core.CatalogError):
                self._opened.remember_sources(sources)
        # Every search says who was asked.
        self._models = tuple(self._opened.models)
        self._sees, self._reads = self._opened.image_model, self._opened.text_model

    @property
    def _core(self) -> _core.Engine:
        """The open catalog; opened again by the first call in a process that was forked from this one's."""
        if self._process != forks.process:
            with forks.lock:
                if self._connect is None:
                    raise ArgumentError("this engine is closed: open the catalog again")
                if self._process != forks.process:
                    self._opened = self._connect()
                    self._process = forks.process
                    logger.info("opened %s again in process %d, a fork", self._opened.path, os.getpid())
        return self._opened

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models, in the order in which they were given."""
        return self._models

    @property
    def image_model(self) -> str | None:
        """The name of the first model that sees pictures; None if none does.

        It looks them up unless a search names another, or :meth:`calibrate` has learned weights that find more.
        """
        return self._sees

    @property
    def text_model(self) -> str | None:
        """The name of the model that looks up texts unless a search names another; None if none reads any."""
        return self._reads

    def _asked(self, models: By | None, *, image: bool, text: bool, first: bool = False) -> str | None:
        """The names of what looks up pictures, texts, and items or vectors."""
        asked = ((self._sees, image), (self._reads, text), (self._models[0], first))
        return names_of(models or {name: 1.0 for name, used in asked if used and name is not None})

    def stats(self) -> dict[str, Any]:
        """Counts, sizes, the models and the index, as a dict.

        ``models`` has a dict for each model; ``model``, ``version``, ``fingerprint``, ``dimension`` and ``languages``
        are those of the first. ``cache`` tells how many pictures and texts of searches were remembered (``hits``) and
        how many had to be encoded (``misses``), since the encoders were opened. ``calibration`` lists the attributes of
        the :class:`Calibration` of each model, or of several with their weights, and kind of queries, as dicts, and
        ``learned_weights`` those of the :class:`LearnedWeights` that were learned last, or None. ``other_models`` are
        names of models that the catalog has and this engine was opened without. ``index`` is ``"exact"``, or the
        factory string of the approximate index, and ``approximate`` lists for each model what was measured for it:
        ``pictures`` and ``texts`` with ``looked`` (the lists that are probed, or the references that a graph keeps in
        view), ``k_factor`` and ``recall``. ``index_bytes`` is memory of its own, without pages of files.
        ``index_device`` has ``device``, the ``references`` on it and the ``bytes`` that they take there; None on the
        processor.
        """
        return self._core.stats()

    @property
    def path(self) -> str:
        """The catalog's directory."""
        return self._core.path

    def close(self) -> None:
        """Gives memory and files back; every later call but this one raises ArgumentError."""
        self._connect = None
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError("an Engine cannot be pickled or copied: open the catalog again by its path")

    def __repr__(self) -> str:
        return repr(self._core)


def names_of(models: By | None) -> str | None:
    return " + ".join(models) if isinstance(models, Mapping) else models


def model_sources(
    models: Iterable[tuple[str | None, Model]], encoders: Iterable[tuple[str | None, _core.Encoder]]
) -> dict[str, str]:
    """Returns the name or directory of each model by its fingerprint, if it has one."""
    return sources_of(zip((one for _, one in models), (encoder for _, encoder in encoders), strict=True))
