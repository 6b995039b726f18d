"""The routes of the server, one table for every web framework."""

from __future__ import annotations

from typing import Any

from .call import Call, Route
from .handlers import answers, embeddings, explaining, identifying, items, jobs, media, searching, status
from .openapi import document
from .service import Service


def openapi(service: Service, call: Call) -> dict[str, Any]:
    """Returns the description of the routes."""
    return document(routes(encoder_only=service.settings.server.encoder_only), keys=service.guard.has_keys)


#: Below ``/api/v1`` and ``/api/v1/catalogs/{catalog}``. Longer paths stand before those that would take them.
OF_CATALOGS = (
    Route("GET", "/stats", status.stats),
    Route("POST", "/search", searching.search, lane="search", body="pictures"),
    Route("POST", "/identify", identifying.identify, lane="search", body="pictures"),
    Route("POST", "/classify", answers.classify, lane="search", body="pictures"),
    Route("POST", "/compare", answers.compare, lane="search", body="pictures"),
    Route("POST", "/explain", explaining.explain, lane="search", body="pictures"),
    Route("POST", "/inspect", explaining.inspect, lane="inspect", body="pictures"),
    Route("GET", "/duplicates", answers.duplicates),
    Route("GET", "/review", answers.review),
    Route("GET", "/items", items.list_items),
    Route("POST", "/items", items.add_item, "write", "write", "pictures"),
    Route("POST", "/items/{id:path}/restore", items.restore_item, "write", "write", "json"),
    Route("POST", "/items/{id:path}/references", items.add_references, "write", "write", "pictures"),
    Route("PUT", "/items/{id:path}/references", items.add_references, "write", "write", "pictures"),
    Route("DELETE", "/items/{id:path}/references/{digest}", items.remove_reference, "write", "write"),
    Route("GET", "/items/{id:path}/vectors", items.get_vectors),
    Route("GET", "/items/{id:path}", items.get_item),
    Route("PATCH", "/items/{id:path}", items.change_item, "write", "write", "json"),
    Route("DELETE", "/items/{id:path}", items.remove_item, "write", "write"),
    Route("POST", "/jobs/add", jobs.add, "write", "read", "pictures"),
    Route("POST", "/jobs/add-model", jobs.add_model, "write", "read", "json"),
    Route("POST", "/jobs/evaluate", jobs.evaluate, "read", "read", "json"),
    Route("GET", "/jobs/{job}/events", jobs.events, lane=None),
    Route("GET", "/jobs/{job}", jobs.get),
    Route("DELETE", "/jobs/{job}", jobs.cancel),
    Route("GET", "/labels", items.list_labels),
    Route("GET", "/keys", items.list_keys),
    Route("GET", "/media/{digest}/{kind}", media.picture, "media"),
)

#: With the whole path.
OF_SERVER = (
    Route("POST", "/api/search/image", searching.seed_image, "read", "search", "pictures", seed=True),
    Route("POST", "/api/search/text", searching.seed_text, "read", "search", "json", seed=True),
    Route("POST", "/api/search/hybrid", searching.seed_hybrid, "read", "search", "pictures", seed=True),
    Route("POST", "/v1/embeddings", embeddings.embeddings, "read", "search", "large"),
    Route("GET", "/healthz", status.healthz, "open", None),
    Route("GET", "/readyz", status.readyz, "open", None),
    Route("GET", "/metrics", status.metrics),
    Route("GET", "/openapi.json", openapi, "open", None),
)


def routes(*, encoder_only: bool = False) -> list[tuple[str, Route]]:
    """Returns every path with its route, in the order in which they are tried.

    ``encoder_only`` leaves out those of catalogs.
    """
    if encoder_only:
        return [(route.path, route) for route in OF_SERVER if not route.path.startswith("/api/")]
    own = [(f"/api/v1{route.path}", route) for route in OF_CATALOGS]
    each = [(f"/api/v1/catalogs/{{catalog}}{route.path}", route) for route in OF_CATALOGS]
    return [(route.path, route) for route in OF_SERVER] + own + each
