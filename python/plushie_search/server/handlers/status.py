"""The routes that tell about the server."""

from __future__ import annotations

from typing import Any

from ..._core import __version__
from ..call import Answer, Call
from ..coding import dump
from ..service import Service


def stats(service: Service, call: Call) -> dict[str, Any]:
    """Returns what a client needs to know of a catalog and of the server."""
    found = call.catalog.stats(writable=call.principal.writes)
    return {**found, "catalogs": list(service.catalogs), "version": __version__, "keys": service.guard.has_keys}


def healthz(service: Service, call: Call) -> dict[str, Any]:
    """Tells that the process is alive."""
    return {"status": "ok", "version": __version__}


def readyz(service: Service, call: Call) -> Answer:
    """Tells whether requests are answered: 503 before the models are warm, and while the server stops."""
    if service.ready.is_set() and not service.draining:
        return Answer(dump({"status": "ready"}))
    return Answer(dump({"status": "stopping" if service.draining else "starting"}), 503, headers={"Retry-After": "1"})


def metrics(service: Service, call: Call) -> Answer:
    """Returns the metrics for Prometheus."""
    return Answer(service.metrics.text(), 200, "text/plain; version=0.0.4; charset=utf-8")
