"""The route that says which item a picture shows."""

from __future__ import annotations

import time
from typing import Any

from ..call import Call
from ..errors import bad
from ..service import Service
from .searching import decoded, flag, number, read, which

OPTIONS = ("k", "where", "models", "target_fpr", "prior", "query_crops")


def identify(service: Service, call: Call) -> dict[str, Any]:
    """Says which item the pictures of one thing show."""
    began = time.perf_counter()
    given, queries, single, echo = read(call, OPTIONS)
    if not single:
        raise bad("queries: send one request for each thing, with all pictures of it")
    options, notices = which(call, given)
    options |= {key: number(given[key], key) for key in ("target_fpr", "prior") if given.get(key) not in (None, "")}
    if given.get("query_crops") not in (None, ""):
        options["query_crops"] = flag(given["query_crops"], "query_crops")
    models = call.catalog.models(decoded(given.get("models"), "models"))
    found = call.catalog.engine.identify(queries[0], models=models, **options)
    answer = found.to_dict()
    hits = [call.catalog.hit(hit, call.prefix) for hit in found.hits]
    del answer["hits"]
    return {
        "success": True,
        "took_ms": round((time.perf_counter() - began) * 1000, 3),
        "query": {**echo[0], "k": options["k"]},
        "notices": notices,
        **answer,
        "results": hits,
    }
