"""The description of the routes, ``/openapi.json``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .._core import __version__
from . import explaining_schemas, schemas
from .call import Route
from .schemas import DIGEST, K, Schema, ref

JSON, FORM = "application/json", "multipart/form-data"

SCHEMAS = {**schemas.SCHEMAS, **explaining_schemas.SCHEMAS}
FORMS = {**schemas.FORMS, **explaining_schemas.FORMS}


@dataclass(frozen=True)
class Content:
    """Describes the request and the answer of a handler.

    Attributes:
        answer: The schema of its answer, or the media type of one that is no JSON.
        status: The status of success.
        json: The schema of a JSON body.
        form: The fields of a form.
        raw: The media types of other bodies.
        query: The values after the question mark.
        headers: The headers that it reads.
    """

    answer: str
    status: int = 200
    json: str | None = None
    form: str | None = None
    raw: tuple[str, ...] = ()
    query: dict[str, Schema] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


_PAGE: dict[str, Schema] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 500},
    "after": {"type": "string", "pattern": "^[0-9]{1,18}$", "description": "`next` of the page before"},
    "where": {"type": "string", "description": "a filter, as JSON"},
    "q": {"type": "string", "maxLength": 200, "description": "a part of the id or the label"},
}
_LIMIT: dict[str, Schema] = {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
    "where": {"type": "string", "description": "a filter, as JSON"},
}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_MEDIA: dict[str, Schema] = {"item": {"type": "string"}, "e": {"type": "string"}, "s": {"type": "string"}}

_CROP: dict[str, Schema] = {
    "crop": {"type": "string", "description": "the part of the picture that counts: left,top,right,bottom"}
}
_OPTIONS: dict[str, Schema] = {"k": K, "where": {"type": "string"}, **_CROP}

#: By the names of the handlers.
CONTENTS = {
    "stats": Content("Stats"),
    "search": Content("Found", json="Search", form="search", raw=("image/*", "model/*"), query=_OPTIONS),
    "identify": Content("Identified", json="Identify", form="identify", raw=("image/*", "model/*"), query=_OPTIONS),
    "classify": Content("Classified", json="Classify", form="classify", raw=("image/*", "model/*"), query=_CROP),
    "compare": Content("Compared", json="Compare", form="compare"),
    "explain": Content("Explained", json="Explain", form="explain"),
    "inspect": Content("Inspected", json="Inspect", form="inspect"),
    "duplicates": Content("Duplicates", query={**_LIMIT, "near": _SHARE}),
    "review": Content("Review", query={**_LIMIT, "margin": _SHARE}),
    "list_items": Content("Items", query=_PAGE),
    "add_item": Content("Added", 201, form="item"),
    "restore_item": Content("Item", json="Undo"),
    "add_references": Content("Added", form="pictures", raw=("image/*", "model/*")),
    "remove_reference": Content("Left"),
    "get_item": Content("Item", headers=("If-None-Match",)),
    "get_vectors": Content("Vectors", query={"model": {"type": "string"}}),
    "change_item": Content("Item", json="Change", headers=("If-Match",)),
    "remove_item": Content("Removed", headers=("If-Match",)),
    "add": Content("Started", 202, form="pictures", raw=("application/x-ndjson",)),
    "add_model": Content("Started", 202, json="AddModel"),
    "evaluate": Content("Started", 202, json="Evaluate"),
    "events": Content("text/event-stream"),
    "get": Content("Job"),
    "cancel": Content("Job"),
    "list_labels": Content("Labels"),
    "list_keys": Content("Keys"),
    "picture": Content("image/*", query=_MEDIA, headers=("If-None-Match",)),
    "seed_image": Content("SeedFound", form="seed_image"),
    "seed_text": Content("SeedFound", json="SeedText"),
    "seed_hybrid": Content("SeedFound", form="seed_hybrid"),
    "embeddings": Content("Embeddings", json="Embed"),
    "healthz": Content("State"),
    "readyz": Content("State"),
    "metrics": Content("text/plain"),
    "openapi": Content(JSON),
}


def document(routes: Iterable[tuple[str, Route]], *, keys: bool) -> dict[str, Any]:
    """Returns the description of routes, in the form of OpenAPI 3.1.

    Args:
        routes: The paths and their routes.
        keys: Whether the server has keys.
    """
    paths: dict[str, Any] = {}
    for path, route in routes:
        shown = path.replace("{id:path}", "{id}")
        paths.setdefault(shown, {})[route.method.lower()] = _operation(shown, route)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "plushie_search",
            "version": __version__,
            "description": "Find items of a catalog by pictures, by words, or both.",
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }
    if keys:
        found["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        }
        found["security"] = [{"bearer": []}, {"key": []}]
    return found


def _operation(path: str, route: Route) -> dict[str, Any]:
    content = CONTENTS[route.handler.__name__]
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": DIGEST if name == "digest" else {"type": "string"}}
        for name in (part.partition("}")[0] for part in path.split("{")[1:])
    ]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in content.query.items()]
    parameters += [{"name": name, "in": "header", "schema": {"type": "string"}} for name in content.headers]
    error = "Failure" if route.seed else "Problem"
    error_type = JSON if route.seed else "application/problem+json"
    body: dict[str, Any] = {}
    if content.json is not None:
        body[JSON] = {"schema": ref(content.json)}
    if content.form is not None:
        body[FORM] = {"schema": FORMS[content.form]}
    for media_type in content.raw:
        body[media_type] = {"schema": {"type": "string", "contentMediaType": media_type}}
    answer = {} if content.answer not in SCHEMAS else {"schema": ref(content.answer)}
    media_type = JSON if content.answer in SCHEMAS else content.answer
    answers: dict[str, Any] = {
        str(content.status): {"description": "success", "content": {media_type: answer}},
        "4XX": {"description": "the request cannot be answered", "content": {error_type: {"schema": ref(error)}}},
        "5XX": {"description": "try again later", "content": {error_type: {"schema": ref(error)}}},
    }
    if content.status == 201:
        answers["200"] = answers["201"]
    if "If-None-Match" in content.headers:
        answers["304"] = {"description": "the client has it already"}
    if route.handler.__name__ == "readyz":
        answers["503"] = answers["200"]
    operation: dict[str, Any] = {
        "operationId": f"{route.handler.__name__}_{route.method.lower()}{'_of' if '{catalog}' in path else ''}",
        "summary": (route.handler.__doc__ or "").partition("\n")[0].rstrip("."),
        "responses": answers,
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = {"required": True, "content": body}
    if route.needs == "open":
        operation["security"] = []
    return operation
