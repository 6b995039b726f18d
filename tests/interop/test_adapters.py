"""A catalog answers in LangChain, LlamaIndex and the Model Context Protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import plushie_search as ps

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=2) as engine:
        for number, color in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200)]):
            Image.new("RGB", (40, 30), color).save(tmp_path / f"{number}.png")
            engine.add(f"i{number}", images=tmp_path / f"{number}.png", label=f"l{number}", metadata={"n": number})
        engine.update("i1", text="a green one")
        yield engine


def test_langchain(engine: ps.Engine, tmp_path: Path) -> None:
    pytest.importorskip("langchain_core")
    from plushie_search.interop.langchain import CatalogRetriever

    documents = CatalogRetriever(engine=engine, k=2, where={"n": {"$gte": 1}}).invoke("teddy")
    hits = engine.search_text("teddy", k=2, where={"n": {"$gte": 1}})
    assert [one.metadata["item"] for one in documents] == [hit.item for hit in hits]
    assert {one.page_content for one in documents} == {"a green one", "l2"}
    assert documents[0].metadata["n"] == hits[0].metadata["n"]
    path = tmp_path / "2.png"
    assert CatalogRetriever(engine=engine, k=1, pictures=True).invoke(str(path))[0].metadata["item"] == "i2"


def test_llama_index(engine: ps.Engine) -> None:
    pytest.importorskip("llama_index.core")
    from plushie_search.interop.llama_index import CatalogRetriever

    nodes = CatalogRetriever(engine, k=3).retrieve("teddy")
    hits = engine.search_text("teddy", k=3)
    assert [(one.node.metadata["item"], one.score) for one in nodes] == [(hit.item, hit.score) for hit in hits]


def test_mcp(engine: ps.Engine, tmp_path: Path) -> None:
    pytest.importorskip("mcp")
    from mcp import Client

    from plushie_search.interop.mcp import make_server

    async def ask(changes: bool, *calls: tuple[str, dict[str, Any]]) -> tuple[list[str], list[Any]]:
        async with Client(make_server(engine, changes=changes)) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            return names, [await client.call_tool(name, given) for name, given in calls]

    path = str(tmp_path / "0.png")
    names, (found, known, one, missing) = asyncio.run(
        ask(
            False,
            ("search", {"image": path, "k": 2, "where": {"n": {"$lt": 2}}}),
            ("identify", {"image": path}),
            ("get", {"id": "i1"}),
            ("search", {"image": "/nowhere.png"}),
        )
    )
    assert names == ["search", "identify", "get"]
    hits = [json.loads(part.text) for part in found.content]
    hits = hits[0] if isinstance(hits[0], list) else hits
    assert [hit["item"] for hit in hits] == ["i0", "i1"]
    assert json.loads(known.content[0].text)["hits"][0]["item"] == "i0"
    assert json.loads(one.content[0].text)["text"] == "a green one"
    assert missing.is_error
    names, (added,) = asyncio.run(ask(True, ("add", {"id": "new", "images": [path], "label": "x"})))
    assert (names[-1], json.loads(added.content[0].text)["references"]) == ("add", 1)
    assert engine.get("new").label == "x"
