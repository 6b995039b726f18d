"""The HTTP server: searches, items and pictures of catalogs, for programs and for the web page."""

from __future__ import annotations

try:
    from .app import create_app, router
    from .settings import Settings, load
except ImportError as error:
    raise ImportError(
        f"the server needs {error.name or 'more packages'}; install them with: pip install 'plushie_search[server]'"
    ) from error

__all__ = ["Settings", "create_app", "load", "router"]
