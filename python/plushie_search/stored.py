"""The models that a catalog was filled with: found by their sources, and remembered for the next time."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from . import _core, hub
from .encoders.protocol import Model
from .encoders.service import SCHEME
from .log import logger


@dataclass(frozen=True)
class Stored:
    """The models of a catalog.

    Attributes:
        models: The name or directory of each by its name in the catalog; empty if the catalog has no references.
        dim: The dimension of the vectors of a catalog without a model; None if it has one.
        absent: Name, fingerprint and dimension of each model, by which the catalog opens without them.
    """

    models: dict[str, str]
    dim: int | None
    absent: list[tuple[str, str, int]]


def stored_models(path: str, *, read_only: bool = False, busy_timeout: float = 30.0, needed: bool = True) -> Stored:
    """Returns the models that the catalog in ``path`` was filled with; none if there is no catalog.

    ``needed`` says whether each must be found; otherwise they are only listed.

    Raises:
        CatalogError: The catalog cannot be opened.
        ModelError: The source of a model is not known or no longer there.
    """
    held, migrated = _core.held_models(path, read_only=read_only, busy_timeout=busy_timeout)
    tell_migrated(path, migrated)
    absent = [(name, fingerprint, dim) for name, fingerprint, dim, _ in held]
    if not needed:
        return Stored({}, None, absent)
    if [name for name, *_ in held] == ["vectors"] and held[0][3] is None:
        return Stored({}, held[0][2], absent)
    return Stored({name: _source(path, name, source) for name, _, _, source in held}, None, absent)


def command(path: str) -> str:
    """Returns the command that moves the catalog in ``path`` to another model."""
    return f"plushie-search reencode {path} --model NEW"


def tell_migrated(path: str, migrated: int | None) -> None:
    """Logs that opening a catalog has migrated it from an older format, if it has."""
    if migrated is not None:
        logger.info("migrated %s from format %d to the present one", path, migrated)


def _source(path: str, name: str, source: str | None) -> str:
    known = hub.models()
    if source is None:
        if name in known:
            return name
        raise _core.ModelError(
            f"catalog {path} was filled with model {name!r}, and it is not known where that lies: give its directory, "
            f"or the encoder, as model=, or move the catalog to another model: {command(path)}"
        )
    if source not in known and not os.path.isdir(source):
        raise _core.ModelError(
            f"catalog {path} was filled with model {name!r} from {source}, which is not there any more: give its "
            f"directory as model=, or move the catalog to another model: {command(path)}"
        )
    return source


def sources_of(models: Iterable[tuple[Model, _core.Encoder]]) -> dict[str, str]:
    """Returns the name or directory of each model that can be opened by it again, by its fingerprint."""
    found = {encoder.fingerprint: _source_of(model, encoder) for model, encoder in models}
    return {fingerprint: source for fingerprint, source in found.items() if source is not None}


def _source_of(model: Model, encoder: _core.Encoder) -> str | None:
    if encoder.directory is None or any(SCHEME.match(place) for place, _ in encoder.outputs.values()):
        return None
    known = hub.models()
    given = model if isinstance(model, str) else encoder.name
    return given if given in known else str(encoder.directory)
