"""The catalogs that a configuration names."""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Mapping
from typing import Any, TypeAlias

from .._core import ArgumentError
from ..engine import Engine
from ..hub import DEFAULT_MODEL, open_encoder
from ..stored import stored_models
from .service import Service
from .settings import Model, Settings, load

Source: TypeAlias = Engine | Mapping[str, Engine] | Settings
"""An open engine, several by their names, or a configuration."""


def opened(source: Source, settings: Settings | None) -> tuple[dict[str, Engine], Settings, bool]:
    """Returns the engines of a server, its configuration, and whether the engines were opened here.

    Raises:
        ArgumentError: There is no catalog, or something in the configuration cannot be used.
        CatalogError: A catalog cannot be opened.
        ModelError: A model cannot be opened.
    """
    if isinstance(source, Settings):
        if settings is not None:
            raise ArgumentError("the configuration is given twice: leave out settings=")
        return open_catalogs(source), source, True
    settings = load() if settings is None else settings
    if isinstance(source, Engine):
        return {"default": source}, settings, False
    return dict(source), settings, False


def mounted(engine: Engine | Mapping[str, Engine], settings: Settings | None) -> Service:
    """Returns the server of engines within an application of others, which answers for host names.

    Raises:
        ArgumentError: There is no engine, or the file of keys cannot be read.
    """
    engines, settings, _ = opened(engine, settings)
    if settings.server.allowed_hosts is None:
        server = settings.server.model_copy(update={"allowed_hosts": ["*"]})
        settings = settings.model_copy(update={"server": server})
    service = Service(engines, settings)
    service.ready.set()
    return service


def open_catalogs(settings: Settings) -> dict[str, Engine]:
    """Opens the catalogs of a configuration, by name; each is created if it does not exist.

    Raises:
        ArgumentError: There is none, a model has no such device, the index cannot be used, or ``faiss.dimension`` is
            not the model's.
        CatalogError: A catalog cannot be opened.
        ModelError: A model cannot be opened.
    """
    paths = {**({"default": settings.catalog} if settings.catalog else {}), **settings.catalogs}
    if settings.server.encoder_only and not paths:
        paths = {"default": _empty()}
    if not paths:
        raise ArgumentError("the configuration has no catalog: give its directory, or catalog in the file")
    given = {name: one for name, one in (("clip", settings.clip), ("resnet", settings.resnet)) if one is not None}
    models = {name: _encoder(name, one, settings) for name, one in given.items()} or None
    faiss = settings.faiss
    options: dict[str, Any] = {
        "threads": settings.server.threads,
        "read_only": settings.server.read_only,
        "index": faiss.factory,
        "memory": faiss.memory,
        "index_device": faiss.device,
    }
    if faiss.recall is not None:
        options["recall"] = faiss.recall
    engines: dict[str, Engine] = {}
    try:
        for name, path in paths.items():
            engines[name] = Engine(path, model=models, create=not settings.server.read_only, **options)
        wanted = faiss.dimension
        for name, engine in engines.items():
            dimension = engine.stats().get("dimension")
            if wanted is not None and dimension != wanted:
                raise ArgumentError(
                    f"faiss.dimension: {wanted} is not the dimension of catalog {name}, {dimension}: leave it out"
                )
    except BaseException:
        for engine in engines.values():
            engine.close()
        raise
    return engines


def _empty() -> str:
    """Returns a folder for a catalog that stays empty, which goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="plushie-search-", ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return os.path.join(folder.name, "empty.catalog")


def _encoder(section: str, model: Model, settings: Settings) -> Any:
    name = model.model_name
    if name is None and settings.catalog is not None:
        name = next(iter(stored_models(settings.catalog, read_only=settings.server.read_only).models.values()), None)
    try:
        return open_encoder(
            name or DEFAULT_MODEL,
            device=model.device,
            precision=model.precision,
            max_batch=model.batch_size,
            service=model.service,
            accept_license=model.accept_license,
            threads=settings.server.threads,
        )
    except ArgumentError as error:
        raise ArgumentError(f"{section}: {error}") from None
