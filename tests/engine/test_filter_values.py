"""Filters of searches beside a plain evaluation, before and after changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plushie_search as ps

COUNT = 9000
Fits = Callable[[dict[str, Any]], bool]
WHERES: list[tuple[dict[str, Any], Fits]] = [
    ({"kind": "kind 7"}, lambda one: one["kind"] == "kind 7"),
    ({"kind": {"$in": ["kind 7", "kind 9", 3]}}, lambda one: one["kind"] in ("kind 7", "kind 9")),
    ({"kind": {"$ne": "kind 7"}}, lambda one: one["kind"] != "kind 7"),
    ({"price": {"$lt": 30, "$gte": 4.5}}, lambda one: 4.5 <= one["price"] < 30),
    ({"price": {"$gt": 30}, "kind": "kind 7"}, lambda one: one["price"] > 30 and one["kind"] == "kind 7"),
    ({"price": {"$gt": 1}, "sold": True}, lambda one: one["price"] > 1 and one["sold"] is True),
    ({"tags": "even", "price": {"$lte": 80}}, lambda one: "even" in one["tags"] and one["price"] <= 80),
    ({"tags": ["even", "third"]}, lambda one: one["tags"] == ["even", "third"]),
    ({"parts.size.cm": 3}, lambda one: any(part["size"]["cm"] == 3 for part in one["parts"])),
    ({"note": "x" * 150 + "1"}, lambda one: one["note"] == "x" * 150 + "1"),
    ({"note": {"$gt": "x" * 150 + "3"}}, lambda one: one["note"] > "x" * 150 + "3"),
    ({"none": None, "label": "label 3"}, lambda one: one["none"] is None and one["number"] % 10 == 3),
    ({"$or": [{"kind": "kind 1"}, {"number": 5}]}, lambda one: one["kind"] == "kind 1" or one["number"] == 5),
    ({"day": {"$lte": "2026-01-03"}}, lambda one: one["day"][:10] <= "2026-01-03"),
]


def described(number: int) -> dict[str, Any]:
    return {
        "number": number,
        "kind": f"kind {number % 200}",
        "price": number % 101 + 0.5 * (number % 2),
        "sold": number % 3 == 0,
        "tags": ["even"] * (number % 2 == 0) + ["third"] * (number % 3 == 0),
        "parts": [{"size": {"cm": number % 5}}, {"size": {"cm": number % 7}}],
        "note": "x" * 150 + str(number % 5),
        "none": None if number % 4 else False,
        "day": f"2026-01-0{number % 5 + 1}" + "T00:00:00" * (number % 2),
    }


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[ps.Engine, dict[str, dict[str, Any]]]:
    items = {f"item-{number}": described(number) for number in range(COUNT)}
    engine = ps.Engine(tmp_path_factory.mktemp("filters") / "c", dim=2)
    labels = [f"label {number % 10}" for number in range(COUNT)]
    engine.add_vectors(list(items), np.tile([0.6, 0.8], (COUNT, 1)), labels=labels, metadata=list(items.values()))
    return engine, items


@pytest.mark.parametrize(("where", "fits"), WHERES, ids=lambda value: str(value) if isinstance(value, dict) else "")
def test_a_filter_finds_what_python_finds(
    filled: tuple[ps.Engine, dict[str, dict[str, Any]]], where: dict[str, Any], fits: Fits
) -> None:
    engine, items = filled
    expected = {item for item, metadata in items.items() if fits(metadata)}
    assert 0 < len(expected) < COUNT
    assert engine.count(where=where) == len(expected)
    assert {hit.item for hit in engine.search_vector([0.6, 0.8], k=COUNT, where=where)} == expected


def test_what_a_filter_has_found_follows_changes(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    known = {f"item-{number}": number % 5 for number in range(300)}
    with ps.Engine(tmp_path / "c", dim=2) as engine, ps.Engine(tmp_path / "c", dim=2) as other:
        vectors = np.tile([0.6, 0.8], (len(known), 1))
        engine.add_vectors(list(known), vectors, metadata=[{"kind": kind} for kind in known.values()])
        for step in range(150):
            item = list(known)[random.integers(len(known))]
            writer = (engine, other)[random.integers(2)]
            match random.integers(4):
                case 0:
                    known[f"new-{step}"] = step % 5
                    writer.add_vectors([f"new-{step}"], vectors[:1], metadata=[{"kind": step % 5}])
                case 1:
                    known[item] = step % 5
                    writer.update(item, metadata={"kind": step % 5})
                case 2:
                    writer.remove(item)
                    del known[item]
                case _:
                    writer.add_vectors([item], random.standard_normal((1, 2)), references=[f"more {step}"])
            for kind in (0, 3):
                hits = engine.search_vector([0.6, 0.8], k=999, where={"kind": kind})
                assert {hit.item for hit in hits} == {item for item, of in known.items() if of == kind}
        assert engine.verify().ok
        engine.compact()
        assert engine.count(where={"kind": {"$gt": 2}}) == sum(kind > 2 for kind in known.values())
        assert engine.verify().ok
