"""The description of the routes: complete, valid, and true of random requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from http_server import listening, png

import plushie_search as ps
from plushie_search import server
from plushie_search.server.openapi import document
from plushie_search.server.routes import routes

#: The toy model knows few words.
pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")

schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis.specs.openapi import checks  # noqa: E402

DOCUMENT = document(routes(), keys=False)
RED = png((201, 31, 29))


def test_every_route_is_described(client: Any) -> None:
    told = client.get("/openapi.json").json()
    assert told == DOCUMENT
    described = {(method.upper(), path) for path, of in told["paths"].items() for method in of}
    assert described == {(route.method, path.replace(":path", "")) for path, route in routes()}
    names = [of["operationId"] for path in told["paths"].values() for of in path.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "name", [name for name, schema in DOCUMENT["components"]["schemas"].items() if "examples" in schema]
)
def test_examples_fit_their_schemas(name: str) -> None:
    schema = {**DOCUMENT["components"]["schemas"][name], "components": DOCUMENT["components"]}
    for example in schema["examples"]:
        jsonschema.Draft202012Validator(schema).validate(example)


def test_answers_fit_their_schemas(client: Any) -> None:
    def check(name: str, answer: Any, status: int = 200) -> None:
        assert answer.status_code == status
        schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(answer.json())

    check("Found", client.post("/api/v1/search", json={"text": "bear"}))
    check("Found", client.post("/api/v1/search", json={"queries": [{"text": "bear"}, "dog"]}))
    check("Identified", client.post("/api/v1/identify", files={"image": ("a.png", RED)}))
    check("SeedFound", client.post("/api/search/text", json={"query": "bear"}))
    check("Stats", client.get("/api/v1/stats"))
    check("Items", client.get("/api/v1/items"))
    check("Item", client.get("/api/v1/items/bear"))
    check("Labels", client.get("/api/v1/labels"))
    check("Keys", client.get("/api/v1/keys"))
    check("Added", client.post("/api/v1/items", data={"id": "new"}, files={"image": RED}), 201)
    check("Item", client.patch("/api/v1/items/new", json={"label": "x"}))
    check("Removed", client.delete("/api/v1/items/new"))
    check("Started", client.post("/api/v1/jobs/add", files={"image": ("a.png", RED)}), 202)
    check("Embeddings", client.post("/v1/embeddings", json={"input": "bear"}))
    check("Problem", client.get("/api/v1/items/none"), 404)
    check("Failure", client.post("/api/search/text", json={}), 422)


@pytest.fixture(scope="module")
def url(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ps.Engine(tmp_path_factory.mktemp("random") / "catalog", model=toy_model, threads=2) as engine:
        for number in range(5):
            engine.add(f"item{number}", images=png((number * 40, 9, 9)))
        with listening(server.create_app(engine)) as url:
            yield url


OPERATIONS = {
    one.ok().label: one.ok()
    for one in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()
    if "{catalog}" not in one.ok().path and not one.ok().path.endswith("/events")
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_random_requests_are_answered_as_described(name: str, url: str) -> None:
    @given(case=OPERATIONS[name].as_strategy())
    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    def ask(case: Any) -> None:
        case.call_and_validate(
            base_url=url,
            checks=[
                schemathesis.checks.not_a_server_error,
                checks.status_code_conformance,
                checks.content_type_conformance,
                checks.response_schema_conformance,
            ],
        )

    ask()
