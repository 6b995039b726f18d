"""Checks of the items of a catalog: what is added is there, as it was given, until it is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._core import ArgumentError
from .encoder import DIM, picture, unit

METADATA: list[dict[str, Any]] = [
    {"price": 5, "tags": ["red", "soft"], "made": "2026-01-02", "size": {"height": 10}},
    {"price": 20.0, "tags": ["blue"], "made": "2026-01-02T00:00:00", "size": {"height": 12.5}},
    {"price": None, "tags": [], "parts": [{"color": "red"}, {"color": "green"}]},
    {"name": 'the "big" \\ one\n', "price": "5", "on": True},
    {},
    {"price": [1, 30], "tags": "red", "on": False, "a.b": 3},
]
LABELS = ["bear", 'b"ear', "bear' or 1 == 1", None, "兔子", "%"]
TEXTS = [None, "a brown bear", "", "two words", None, 'say "no"']


def filled(catalog: Any) -> Any:
    """Returns the catalog with six items of one or two pictures."""
    for number, metadata in enumerate(METADATA):
        images = [picture(number), *([picture(100 + number)] if number % 2 else [])]
        names = [f"{number}.png", f"{number}-2.png"][: len(images)]
        catalog.add(
            f"item {number}",
            images=images,
            names=names,
            label=LABELS[number],
            metadata=metadata,
            text=TEXTS[number] or None,
        )
    return catalog


def items_are_kept(catalog: Any) -> None:
    filled(catalog)
    assert [item.id for item in catalog.iterate()] == [f"item {number}" for number in range(6)]
    assert len(catalog) == 6
    for number, metadata in enumerate(METADATA):
        item = catalog.get(f"item {number}")
        assert (item.label, item.text, item.metadata) == (LABELS[number], TEXTS[number] or None, metadata), item
        assert [one.name for one in item.references] == [f"{number}.png", f"{number}-2.png"][: 1 + number % 2], item
        assert item.id in catalog
    assert "item" not in catalog
    _raises(KeyError, lambda: catalog.get("item"))


def pictures_are_kept_once(catalog: Any) -> None:
    assert tuple(vars(catalog.add("a", images=picture(1))).values())[:2] == (1, 0)
    assert tuple(vars(catalog.add("a", images=[picture(1), picture(2)], label="x")).values())[:2] == (1, 1)
    assert tuple(vars(catalog.add("b", images=picture(1))).values())[:2] == (1, 0)
    item = catalog.get("a")
    assert (item.label, len(item.references)) == ("x", 2)
    catalog.add("a", images=picture(3))
    assert catalog.get("a").label == "x", "None keeps what is stored"
    _raises(ArgumentError, lambda: catalog.add("new"))
    _raises(ArgumentError, lambda: catalog.add("", images=picture(1)))
    assert len(catalog) == 2


def vectors_are_kept(catalog: Any) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, DIM)).astype(np.float32)
    ids = ["a", "a", "b", "c", "c"]
    names = ["1", "2", "1", "1", "2"]
    added = catalog.add_vectors(ids, vectors, references=names, labels=["x", "y", None, "z", None])
    assert (added.references, added.duplicates) == (5, 0)
    assert np.allclose(catalog.vectors("a"), unit(vectors[:2]), atol=1e-6)
    assert [catalog.get(id).label for id in "abc"] == ["y", None, "z"]
    again = catalog.add_vectors(ids, vectors, references=names)
    assert (again.references, again.duplicates) == (0, 5)
    for bad in (np.full((1, DIM), np.nan), np.zeros((1, DIM)), np.ones((1, DIM + 1))):
        _raises(ArgumentError, lambda bad=bad: catalog.add_vectors(["d"], bad))  # type: ignore[misc]
    _raises(ArgumentError, lambda: catalog.add_vectors(["d", "e"], vectors[:1]))
    assert ("d" in catalog, len(catalog)) == (False, 3)


def vectors_take_the_place_of_others(catalog: Any) -> None:
    vectors = np.random.default_rng(0).normal(size=(2, DIM)).astype(np.float32)
    catalog.add_vectors(["a"], vectors[:1], references=["1"])
    added = catalog.add_vectors(["a"], vectors[1:], references=["1"])
    assert (added.references, added.duplicates, added.replaced) == (1, 0, 1)
    assert np.allclose(catalog.vectors("a"), unit(vectors[1:]), atol=1e-6)


def items_are_changed(catalog: Any) -> None:
    filled(catalog)
    catalog.update("item 1", label=None, metadata={"new": [1]})
    item = catalog.get("item 1")
    assert (item.label, item.text, item.metadata) == (None, TEXTS[1], {"new": [1]})
    assert len(item.references) == 2
    assert [hit.item for hit in catalog.search_image(picture(101), k=1)] == ["item 1"]
    _raises(KeyError, lambda: catalog.update("none", label="x"))


def items_are_removed(catalog: Any) -> None:
    filled(catalog)
    assert catalog.remove("item 1") == 1
    assert ("item 1" in catalog, len(catalog)) == (False, 5)
    assert "item 1" not in [hit.item for hit in catalog.search_image(picture(1), k=10)]
    _raises(KeyError, lambda: catalog.remove("item 1"))
    assert catalog.remove(["item 2", "item 3"]) == 2
    assert [item.id for item in catalog.iterate()] == ["item 0", "item 4", "item 5"]


def references_are_removed(catalog: Any) -> None:
    filled(catalog)
    assert catalog.remove_reference("item 1", "1.png") == 1
    assert [one.name for one in catalog.get("item 1").references] == ["1-2.png"]
    assert (len(catalog), [item.id for item in catalog.iterate()][1]) == (6, "item 1")
    assert catalog.remove_reference("item 1", "1-2.png") == 0
    assert "item 1" not in catalog


#: Filters with the numbers of the items that fit.
FILTERS: list[tuple[Mapping[str, Any], list[int]]] = [
    ({}, [0, 1, 2, 3, 4, 5]),
    ({"label": "bear"}, [0]),
    ({"label": 'b"ear'}, [1]),
    ({"label": "bear' or 1 == 1"}, [2]),
    ({"label": {"$in": ["兔子", "%", None]}}, [3, 4, 5]),
    ({"label": {"$ne": "bear"}}, [1, 2, 3, 4, 5]),
    ({"label": {"$nin": ["bear", None]}}, [1, 2, 4, 5]),
    ({"id": {"$gte": "item 4"}}, [4, 5]),
    ({"text": {"$exists": True}}, [1, 3, 5]),
    ({"text": {"$contains": "o"}}, [1, 3, 5]),
    ({"text": {"$not_contains": "bear"}}, [0, 2, 3, 4, 5]),
    ({"price": 5}, [0]),
    ({"price": "5"}, [3]),
    ({"price": None}, [2]),
    ({"price": 30}, [5]),
    ({"price": {"$lt": 20}}, [0, 5]),
    ({"price": {"$lte": 20}}, [0, 1, 5]),
    ({"price": {"$gt": 20}}, [5]),
    ({"$not": {"price": {"$lt": 20}}}, [1, 2, 3, 4]),
    ({"price": {"$not": {"$gte": 5, "$lte": 20}}}, [2, 3, 4]),
    ({"price": {"$exists": False}}, [4]),
    ({"tags": "red"}, [0, 5]),
    ({"tags": {"$nin": ["red", "blue"]}}, [2, 3, 4]),
    ({"tags": ["red", "soft"]}, [0]),
    ({"tags": {"$all": ["soft", "red"]}}, [0]),
    ({"tags": {"$size": 0}}, [2]),
    ({"tags": {"$contains": "re"}}, [5]),
    ({"tags": {"$contains": "soft"}}, [0]),
    ({"made": "2026-01-02"}, [0, 1]),
    ({"made": {"$gt": "2026-01-02"}}, []),
    ({"made": {"$gte": "2026-01-02T00:00:00"}}, [0, 1]),
    ({"size.height": {"$gt": 11}}, [1]),
    ({"parts.color": "green"}, [2]),
    ({"on": True}, [3]),
    ({"on": {"$ne": True}}, [0, 1, 2, 4, 5]),
    ({"on": 1}, []),
    ({"name": 'the "big" \\ one\n'}, [3]),
    ({"name": {"$contains": '"big"'}}, [3]),
    ({"$key": {"a.b": 3}}, [5]),
    ({"$or": [{"label": "bear"}, {"price": "5"}], "$and": [{"id": {"$ne": "item 0"}}]}, [3]),
    ({"$not": {"$or": [{"price": {"$exists": True}}, {"label": None}]}}, [4]),
]


def filters_are_understood(catalog: Any) -> None:
    filled(catalog)
    for where, numbers in FILTERS:
        found = [item.id for item in catalog.iterate(where or None)]
        assert found == [f"item {number}" for number in numbers], f"{where} finds {found}"
        hits = {hit.item for hit in catalog.search_image(picture(0), k=10, where=where or None)}
        assert hits == set(found), f"{where} lets {hits} pass"


def wrong_filters_are_refused(catalog: Any) -> None:
    filled(catalog)
    wrong: list[dict[str, Any]] = [
        {"price": {"$foo": 1}},
        {"$or": []},
        {"price": {"$lt": None}},
        {"label": {"$in": "x"}},
    ]
    for where in wrong:
        _raises(ArgumentError, lambda where=where: list(catalog.search_text("a", where=where)))  # type: ignore[misc]


def texts_of_all_kinds_are_kept(catalog: Any) -> None:
    hostile = ['"', "\\", "\n", "' or 1 == 1", '"] or pk != ""', "\u0000" * 0 + "\u202e", "a" * 400, "🧸", "$eq"]
    for number, text in enumerate(hostile):
        catalog.add(f"{number}", images=picture(number), label=text, text=text, metadata={"k": text, text: 1})
    for number, text in enumerate(hostile):
        for where in ({"label": text}, {"text": text}, {"k": text}, {"$key": {text: 1}}):
            found = [item.id for item in catalog.iterate(where)]
            assert found == [f"{number}"], f"{where} finds {found}"
    assert catalog.remove(f"{hostile.index('$eq')}") == 1
    assert len(catalog) == len(hostile) - 1


def _raises(kind: type[Exception], work: Callable[[], Any]) -> None:
    try:
        work()
    except kind:
        return
    raise AssertionError(f"nothing was raised, and it should be {kind.__name__}")


REQUIRED = (items_are_kept, pictures_are_kept_once, vectors_are_kept)
OPTIONAL = (
    vectors_take_the_place_of_others,
    items_are_changed,
    items_are_removed,
    references_are_removed,
    filters_are_understood,
    wrong_filters_are_refused,
    texts_of_all_kinds_are_kept,
)
