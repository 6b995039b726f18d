"""Metrics for Prometheus."""

from __future__ import annotations

from typing import Any

from http_server import COLORS, png
from prometheus_client.parser import text_string_to_metric_families

import plushie_search as ps

RED = png((201, 31, 29))


def families(client: Any) -> dict[str, dict[tuple[Any, ...], float]]:
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        family.name: {(one.name, *sorted(one.labels.items())): one.value for one in family.samples}
        for family in text_string_to_metric_families(answer.text)
    }


def test_requests_times_and_sizes_are_told(client: Any, engine: ps.Engine) -> None:
    for _ in range(3):
        client.post("/api/v1/search", content=RED, headers={"Content-Type": "image/png"})
    client.post("/api/v1/search", json={"queries": [{"text": "bear"}] * 5})
    client.get("/api/v1/items/none")
    found = families(client)
    requests = found["plushie_requests"]
    assert requests["plushie_requests_total", ("route", "POST /search"), ("status", "200")] == 4
    assert requests["plushie_requests_total", ("route", "GET /items/{id:path}"), ("status", "404")] == 1
    stages = found["plushie_stage_seconds"]
    for stage in ("queue", "read", "compute", "encode", "search", "total"):
        assert stages["plushie_stage_seconds_count", ("lane", "search"), ("stage", stage)] == 4
    assert found["plushie_batch_queries"]["plushie_batch_queries_sum",] == 8
    assert found["plushie_items"]["plushie_items", ("catalog", "default")] == len(COLORS)
    assert found["plushie_references"]["plushie_references", ("catalog", "default")] == len(COLORS) + 1
    cache = found["plushie_cache"]
    assert cache["plushie_cache", ("catalog", "default"), ("kind", "images"), ("outcome", "hits")] == 2
    assert found["plushie_resident_bytes"]["plushie_resident_bytes",] > 10_000_000
    assert found["plushie_requests_inside"]["plushie_requests_inside", ("lane", "search")] == 0
    assert found["plushie_body_bytes"]["plushie_body_bytes",] == 0
