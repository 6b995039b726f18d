"""Filters as they are typed after --where."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

import plushie_search as ps
from plushie_search.cli import main
from plushie_search.cli.filters import parse_filter
from plushie_search.cli.main import _parser


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("label=bear", {"label": {"$eq": "bear"}}),
        ("label=brown bear", {"label": {"$eq": "brown bear"}}),
        ("label=8", {"label": {"$eq": "8"}}),
        ("id!=true", {"id": {"$ne": "true"}}),
        ('text="8"', {"text": {"$eq": "8"}}),
        ("price=8", {"price": {"$eq": 8}}),
        ("price=8.50", {"price": {"$eq": 8.5}}),
        ('price="8"', {"price": {"$eq": "8"}}),
        ("code=007", {"code": {"$eq": "007"}}),
        ("price<20", {"price": {"$lt": 20}}),
        ("price <= -2e3", {"price": {"$lte": -2000.0}}),
        ("price>3", {"price": {"$gt": 3}}),
        ("price>=3", {"price": {"$gte": 3}}),
        (" unit price !=\n 3 ", {"unit price": {"$ne": 3}}),
        ("sale=true", {"sale": {"$eq": True}}),
        ("sale!=null", {"sale": {"$ne": None}}),
        ("x=NaN", {"x": {"$eq": "NaN"}}),
        ("size.height>1", {"size.height": {"$gt": 1}}),
        ('tags=["a", "b"]', {"tags": {"$eq": ["a", "b"]}}),
        ("url=http://x/?a=b<c", {"url": {"$eq": "http://x/?a=b<c"}}),
        ("粉色=是", {"粉色": {"$eq": "是"}}),
        ("made>=2026-01-02", {"made": {"$gte": "2026-01-02"}}),
        (' {"price": {"$lt": 20}}', {"price": {"$lt": 20}}),
    ],
)
def test_a_text_becomes_a_filter(text: str, expected: dict[str, Any]) -> None:
    found = parse_filter(text)
    assert found == expected
    assert json.dumps(found) == json.dumps(expected)  # 8 is not 8.0, and 1 not true


@pytest.mark.parametrize(
    "text", ["", "bear", "3", "=3", "label=", "price<>3", "a==3", "a=>3", "<3", '["label"]', "{", '{"a": 1} b']
)
def test_an_error_shows_both_forms(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as raised:
        parse_filter(text)
    assert repr(text) in str(raised.value)
    assert "KEY=VALUE, as label=bear" in str(raised.value)
    assert '{"label": "bear"}' in str(raised.value)


def test_several_must_all_hold() -> None:
    def where(*given: str) -> Any:
        words = [word for one in given for word in ("--where", one)]
        return _parser().parse_args(["show", *words[:2], "catalog", *words[2:]]).where

    assert where() is None
    a, b, c = ({key: {"$eq": 1}} for key in "abc")
    assert where("a=1") == a
    assert where("a=1", "b=1", '{"c": {"$eq": 1}}') == {"$and": [a, b, c]}
    assert where('{"$and": [{"x": 3}, {"y": 4}]}', "b=1") == {"$and": [{"x": 3}, {"y": 4}, b]}
    assert where('{"$or": [{"x": 3}, {"y": 4}]}', "b=1") == {"$and": [{"$or": [{"x": 3}, {"y": 4}]}, b]}


def test_filters_find_items(catalog: list[str], toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ps.Engine(catalog[0], model=toy_model) as engine:
        engine.update("red", label="bear", metadata={"unit price": 5, "sale": True, "tags": ["x", "y"]})
        engine.update("blue", label="bear", metadata={"unit price": 30, "sale": False, "code": "8"})
        engine.update("green", label="8", metadata={"code": 8})
    for given, found in [
        (["label=bear"], ["blue", "red"]),
        (["label!=bear"], ["green", "yellow"]),
        (["label=8"], ["green"]),
        (["unit price<30"], ["red"]),
        (["unit price>=5"], ["blue", "red"]),
        (["unit price>=5", "unit price<30"], ["red"]),
        (["sale=false", "label=bear"], ["blue"]),
        (["code=8"], ["green"]),
        (['code="8"'], ["blue"]),
        (["tags=y"], ["red"]),
        (['tags=["x","y"]'], ["red"]),
        (["label=bear", '{"$not": {"sale": true}}'], ["blue"]),
        ([f"sale!={number}" for number in range(40)], ["blue", "green", "red", "yellow"]),
    ]:
        words = [word for one in given for word in ("--where", one)]
        assert main(["count", *catalog, *words]) == 0
        assert capsys.readouterr().out == f"{len(found)}\n"
        for command in (["show"], ["search", "--text", "red bear"]):
            assert main([*command, *catalog, *words, "--json"]) == 0
            shown = json.loads(capsys.readouterr().out)
            assert sorted(one.get("item", one.get("id")) for one in shown) == found
