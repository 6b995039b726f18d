"""The HTTP server: searches, items and pictures of catalogs, for programs and for the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from .app import create_app, router
    from .settings import Settings, load
except ImportError as error:
    raise ImportError(
        f"the server needs {error.name or 'more packages'}; install the extra by: pip install 'plushie_search[server]'"
    ) from error

if TYPE_CHECKING:
    from .blueprint import flask_blueprint

__all__ = ["Settings", "create_app", "flask_blueprint", "load", "router"]


def __getattr__(name: str) -> Any:
    # Few programs have both frameworks.
    if name == "flask_blueprint":
        from .blueprint import flask_blueprint

        return flask_blueprint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
