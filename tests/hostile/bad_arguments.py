"""Ids, texts, metadata, filters, queries, vectors and options that no catalog can take, or that mean to break it."""

from __future__ import annotations

import datetime
import decimal
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import toy
from harness import Case, Place
from mutate import mutate

import plushie_search as ps

#: Texts that hurt programs that put them into SQL, paths, pages, terminals or patterns.
TEXTS = (
    "", " ", "\0", "a\0b", "\n", "\r\n", "\t", "a" * 513, "兔" * 200, "a" * 1_000_000, "\ud800", "a\udfffb", "\ufeff", "\u202eabc", "\u200b",
    "\u2028", "\x1b[2J", "\x7f", "\x85", "\uffff", "\U0010ffff", "é" * 300, "e\u0301" * 300, "ﷺ" * 100, "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
    "'; DROP TABLE items; --", "' OR 1=1 --", '" OR ""="', "x'); DELETE FROM vectors; --", "%s%s%n", "%", "_", "\\", "*", "?", "a*",
    "NEAR(a b)", 'a" OR "b', "label:x", "^a", "-a", "a AND (", "{a}: b", "../../../etc/passwd", "..", ".", "/", "/etc/passwd", "C:\\x", "CON",
    "file:///etc/passwd", "~", "~root", "$HOME", "`id`", "$(id)", "| id", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>",
    "javascript:alert(1)", "&lt;", "]]>", "<!--", "{{7*7}}", "${7*7}", "{0.__class__}", "(a+)+$", "a" * 30 + "!", "null", "true", "NaN", "-0",
    "1e999", "0x10", "9" * 400, "id", "rowid", "__proto__", "constructor", "$eq", "$where", "item:good-1", "image 0", "good-1 ", "good-1\0",
    "🧸" * 100, "👩\u200d👩\u200d👧" * 40, "\u0301" * 500, "ﬁ" * 100, "İ" * 100, "ß" * 200, "\r" * 512, "a\u0300" * 256, "\ue000", "ア" * 170,
)  # fmt: skip


class Strange:
    """Says that it is anything."""

    def __init__(self, **said: Any) -> None:
        for name, value in said.items():
            setattr(type(self), name, value)


def _of(**methods: Any) -> Any:
    """Returns an object of a class with these methods."""
    return type(
        "Strange", (), {name: (lambda self, *a, one=one: _answer(self, one)) for name, one in methods.items()}
    )()


def _answer(self: Any, one: Any) -> Any:
    if isinstance(one, BaseException):
        raise one
    return self if one is Ellipsis else one


def nested(depth: int, kind: Callable[[Any], Any], inner: Any = 1) -> Any:
    """Returns a value within so many others."""
    for _ in range(depth):
        inner = kind(inner)
    return inner


def things() -> dict[str, Any]:
    """Returns things that are no JSON, or hard to take as such."""
    circle: dict[str, Any] = {}
    circle["a"] = circle
    ring: list[Any] = []
    ring.append(ring)
    return {
        "a circle of objects": circle,
        "a circle of lists": {"a": ring},
        "objects 30 deep": nested(30, lambda inner: {"a": inner}),
        "objects 200 deep": nested(200, lambda inner: {"a": inner}),
        "objects 50,000 deep": nested(50_000, lambda inner: {"a": inner}),
        "lists 100,000 deep": {"a": nested(100_000, lambda inner: [inner])},
        "100,000 keys": {str(n): n for n in range(100_000)},
        "500 keys": {str(n): n for n in range(500)},
        "a text of 2 MB": {"a": "x" * 2_000_000},
        "a key of 2 MB": {"x" * 2_000_000: 1},
        "a list of 300,000": {"a": [0] * 300_000},
        "an integer of 5,000 digits": {"a": 10**5000},
        "a negative one": {"a": -(10**5000)},
        "2 to the 64": {"a": 2**64},
        "NaN": {"a": float("nan")},
        "infinite": {"a": float("inf")},
        "numbers of numpy": {
            "a": np.float32(1.5),
            "b": np.int64(3),
            "c": np.bool_(True),
            "d": np.datetime64("2020-01-01"),
        },
        "an array": {"a": np.zeros(3)},
        "a matrix": {"a": np.zeros((3, 3))},
        "bytes": {"a": b"x"},
        "a set": {"a": {1, 2}},
        "a tuple": {"a": (1, 2)},
        "a decimal": {"a": decimal.Decimal("1.5")},
        "a date": {"a": datetime.date(2020, 1, 1)},
        "an instant": {"a": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)},
        "a complex number": {"a": 1j},
        "an object": {"a": object()},
        "a function": {"a": print},
        "a class": {"a": int},
        "numbers as keys": {1: 2, None: 3, 1.5: 4},
        "bytes as keys": {b"a": 1},
        "a surrogate": {"a": "\ud800", "\ud800": 1},
        "an index that is itself": {"a": _of(__index__=...)},
        "an index that is a text": {"a": _of(__index__="x")},
        "a float that is itself": {"a": _of(__float__=...)},
        "a list that never ends": {"a": _of(__iter__=..., __next__=1, __len__=1 << 40)},
        "to_list that is itself": {"a": _of(to_list=...)},
        "tolist that is itself": {"a": _of(tolist=...)},
        "isoformat that is itself": {"a": _of(isoformat=...)},
        "a list": [1],
        "a text": "x",
        "a number": 3,
        "nothing": {},
        "two in each of 40 steps": nested(40, lambda inner: {"a": inner, "b": inner}),
        "ten in each of 30 steps": {"a": nested(30, lambda inner: [inner] * 10)},
        "a key with a dot": {"a.b": 1, "a": {"b": 2}},
        "keys like fields": {"id": 1, "label": 2, "text": 3, "$key": 4, "$or": [5]},
        "a key without letters": {"": 1, " ": 2, "\0": 3},
    }


def filters() -> dict[str, Any]:
    """Returns conditions that are none, or hard to answer."""
    one: dict[str, Any] = {"label": "toy"}
    made: dict[str, Any] = {
        "no object": [1],
        "a text": "label = 'toy'",
        "a number": 1,
        "a condition 31 deep": nested(31, lambda inner: {"$not": inner}, one),
        "a condition 33 deep": nested(33, lambda inner: {"$not": inner}, one),
        "a condition 50,000 deep": nested(50_000, lambda inner: {"$not": inner}, one),
        "lists of conditions 20,000 deep": nested(20_000, lambda inner: {"$and": [inner]}, one),
        "two in each of 30 steps": nested(30, lambda inner: {"$or": [inner, inner]}, one),
        "200 conditions": {"$or": [one] * 200},
        "201 conditions": {"$or": [one] * 201},
        "300,000 conditions": {"$or": [{}] * 300_000},
        "100,000 keys": {f"k{n}": n for n in range(100_000)},
        "100,000 values": {"label": {"$in": [str(n) for n in range(100_000)]}},
        "a million values": {"n": {"$in": list(range(1_000_000))}},
        "a key of a million parts": {"a" + ".a" * 1_000_000: 1},
        "a key of 100 parts": {"a" + ".a" * 100: 1},
        "a key of dots": {"....": 1},
        "an empty key": {"": 1},
        "a value of 2 MB": {"label": "x" * 2_000_000},
        "a list of a list": {"n": [[1]]},
        "a list of an object": {"n": {"$in": [{"a": 1}]}},
        "an object in an order": {"n": {"$lt": {"a": 1}}},
        "NaN": {"n": {"$lt": float("nan")}},
        "infinite": {"n": {"$gt": float("inf")}},
        "a huge integer": {"n": 10**400},
        "2 to the 63": {"n": {"$lt": 2**63}},
        "a date": {"n": {"$lt": datetime.date(2020, 1, 1)}},
        "a circle": things()["a circle of objects"],
        "$and of a text": {"$and": "x"},
        "$and of nothing": {"$and": []},
        "$not of a list": {"$not": [one]},
        "$or in a field": {"label": {"$or": [one]}},
        "$where": {"$where": "sleep(9)"},
        "$regex": {"label": {"$regex": "(a+)+$"}},
        "operators and others": {"label": {"$eq": "toy", "x": 1}},
        "$size of a text": {"label": {"$size": "x"}},
        "$size of -1": {"n": {"$size": -1}},
        "$size of 1e30": {"n": {"$size": 1e30}},
        "$exists of a text": {"n": {"$exists": "yes"}},
        "$contains of a list": {"n": {"$contains": [1]}},
        "$all of a number": {"n": {"$all": 1}},
        "$all of a million": {"n": {"$all": list(range(1_000_000))}},
        "$key of a text": {"$key": "x"},
        "$key in $key": {"$key": {"$key": {"a": 1}}},
        "a surrogate": {"\ud800": "\ud800"},
        "an object that is no JSON": {"label": object()},
    }
    for number, text in enumerate(TEXTS):
        made[f"text {number} as a key"] = {text: 1}
        made[f"text {number} as a label"] = {"label": text}
        made[f"text {number} in"] = {"a": {"$contains": text}}
        made[f"text {number} as an operator"] = {"label": {f"${text}": 1}}
    return made


def lines(chance: random.Random) -> Iterator[str]:
    """Yields queries of one line."""
    yield from ("", " ", "+", "-", " + ", "- bear", "0*bear", "1e999*bear", "9" * 400 + "*bear", ".*bear", "-2*bear", "* bear", "2*", "2*+", "item:",
                "item:\0", "2*item:good-1 + -", "bear + + bear", "bear - - bear", "a" * 100_000, "bear + " * 2000 + "bear", '"', '""', '"bear', '"" + ""',
                " - ".join(["bear"] * 500), "x.png[0,0,1,1]", "[", "x[", "/etc/passwd[0,0,1,1]", "/etc/passwd", "/dev/zero", "\ud800", "item:\ud800",
                "+ " * 50_000, "1" * 50_000, '"' * 50_001, "- " * 3 + "x", "2*" * 5000 + "bear")  # fmt: skip
    samples = [b'2*bunny + item:good-1 - "hat - red"', b"bear - 0.5*red + teddy", "兔子 + 2*围巾".encode()]
    for number in range(60):
        yield mutate(samples[number % 3], chance, samples).decode(
            "utf-8", "surrogateescape" if number % 2 else "replace"
        )


def vectors() -> dict[str, Any]:
    """Returns vectors that a catalog of six numbers may not take."""
    good = [1.0] * toy.DIM
    return {
        "NaN": [float("nan"), *good[1:]],
        "infinite": [float("inf"), *good[1:]],
        "too large": [3e38] * toy.DIM,
        "too large for 32 bits": [1e300] * toy.DIM,
        "too small": [1e-45] * toy.DIM,
        "zeros": [0.0] * toy.DIM,
        "five numbers": good[1:],
        "seven numbers": [*good, 1.0],
        "no numbers": [],
        "a number": 3.0,
        "a text": "vector",
        "texts": ["1"] * toy.DIM,
        "nothing": [None] * toy.DIM,
        "lists": [[good]],
        "ragged": [good, good[1:]],
        "objects": [object()] * toy.DIM,
        "complex": np.ones(toy.DIM, complex),
        "booleans": np.ones(toy.DIM, bool),
        "integers": np.ones(toy.DIM, np.int64),
        "half": np.ones(toy.DIM, np.float16),
        "the other byte order": np.ones(toy.DIM, ">f8"),
        "huge by strides": np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (1 << 44, toy.DIM), (0, 0)),
        "masked": np.ma.masked_all(toy.DIM),
        "a huge integer": [10**400, *good[1:]],
        "of an unknown model": {"nobody": good},
        "of a model that is no text": {3: good},
        "bytes": bytes(24),
    }


def options() -> dict[str, tuple[Any, ...]]:
    """Returns the options of a search with values that make no sense."""
    numbers = (-1, 0, 1.5, float("nan"), float("inf"), 10**30, "5", None, [], True, 2**63, 2**62, 10**9)
    return {
        "k": numbers,
        "min_score": numbers,
        "mmr": numbers,
        "rrf_k": numbers,
        "temperature": numbers,
        "nprobe": numbers,
        "ef_search": numbers,
        "k_factor": numbers,
        "fusion": ("", "other", 3, None, "weighted\0"),
        "aggregate": ("", "other", 3, None),
        "exclude": ("", "\0", 3, ["x"] * 100_000, [None], object(), "\ud800"),
        "models": ("", "nobody", {}, {"toy": -1}, {"toy": float("nan")}, {"toy": 0}, [], 3, {"toy": "x"}, "\0"),
        "after": ("", "x", "a" * 1_000_000, "AAAA", 3, "\0", "eyJ9", "\ud800"),
        "words": ("", "nobody", ["x"] * 10_000, 3, [None], ["\0"], ["a.b"]),
        "expand": ("", ["{}"] * 10_000, ["no place"], [""], 3, ["{}{}"], ["{" * 1000]),
        "query_crops": (3, "x"),
        "vectors": (3, "x"),
    }


def cases(place: Place) -> Iterator[Case]:
    """Yields each bad argument."""
    engine, good = place.engine, [1.0] * toy.DIM
    chance = random.Random("arguments")

    def store(**columns: Any) -> None:
        """Adds an item; it must be as it was given, and is removed again."""
        id = columns.pop("id", "odd")
        engine.add_vectors([id], [good], **{name: [value] for name, value in columns.items()})
        try:
            item = engine.get(id)
            assert item.id in engine
            assert engine.count({"id": item.id}) == 1
            assert repr(item)
        finally:
            engine.remove(id)

    for number, text in enumerate(TEXTS):
        for name in ("id", "labels", "texts", "references"):
            yield f"text {number} as {name}", lambda name=name, text=text: store(**{name: text})
        yield f"text {number} to get", lambda text=text: engine.get(text)
        yield f"text {number} to remove", lambda text=text: _harmless(engine.remove, text)
        yield f"text {number} to update", lambda text=text: engine.update(text, label="x")
        yield f"text {number} as a query", lambda text=text: engine.search_text(text)
        yield f"text {number} in metadata", lambda text=text: store(metadata={text: text, "list": [text]})
        yield f"text {number} as a path of a catalog", lambda text=text: _closed_again(text)
        yield f"text {number} as a thumbnail", lambda text=text: engine.thumbnail("good-1", text)
        yield f"text {number} as a key", lambda text=text: engine.search_text("bear", words=[text])
    for name, thing in things().items():
        yield f"metadata: {name}", lambda thing=thing: store(metadata=thing)
        yield f"a label: {name}", lambda thing=thing: store(labels=thing)
        yield f"an id: {name}", lambda thing=thing: store(id=thing)
        yield f"a query: {name}", lambda thing=thing: engine.search(ps.Query(text=thing))
        yield f"a query for an item: {name}", lambda thing=thing: engine.search(ps.Query(item=thing))
        yield f"where: {name}", lambda thing=thing: engine.count(thing)
    for name, where in filters().items():
        yield f"filter: {name}", lambda where=where: engine.count(where)
    for number in range(120):
        made = _mutated_filter(chance)
        yield f"filter {number}: {made}", lambda made=made: engine.search_text("bear", where=made)
    for line in lines(chance):
        yield f"line {line[:60]!r}", lambda line=line: engine.search(ps.Query.parse(line))
    for name, vector in vectors().items():
        yield f"a vector: {name}", lambda vector=vector: engine.search_vector(vector)
        yield f"a vector of an item: {name}", lambda vector=vector: _added(engine, vector)
        yield f"a vector of a query: {name}", lambda vector=vector: engine.search(ps.Query(vector=vector))
    for name, values in options().items():
        for value in values:
            given = {name: value}
            yield f"the option {str(given)[:60]}", lambda given=given: engine.search_text("bear", **given)
    for number in (-1, -(10**30), 10**30, 2**63 - 1, 2**62):
        yield f"{number} as limit", lambda number=number: engine.items(limit=number)
        yield f"{number} as offset", lambda number=number: engine.items(offset=number)
        yield f"{number} as page", lambda number=number: engine.page(number)
        yield f"{number} as limit of a page", lambda number=number: engine.page(limit=number)
        yield (
            f"{number} as k to identify",
            lambda number=number: engine.identify(np.zeros((8, 8, 3), np.uint8), k=number),
        )
    for box in (
        [0, 0, 0, 0],
        [0, 0, 2, 1],
        [1, 1, 0, 0],
        [float("nan")] * 4,
        [-1, 0, 1, 1],
        [0, 0, 1],
        "0,0,1,1",
        None,
        [0, 0, 1e-300, 1],
        [10**400] * 4,
    ):
        yield f"the box {box}", lambda box=box: engine.search_image(ps.Crop(b"", box))


def _added(engine: ps.Engine, vector: Any) -> None:
    engine.add_vectors(["odd"], [vector])
    engine.remove("odd")


def _harmless(remove: Callable[[str], int], text: str) -> None:
    remove(text)
    raise AssertionError("an item was removed")


def _closed_again(text: str) -> None:
    """Opens a catalog that does not exist."""
    ps.Engine(text, dim=6, create=False).close()
    raise AssertionError("there is no such catalog")


def _mutated_filter(chance: random.Random, depth: int = 0) -> Any:
    """Returns a filter of operators and values at random."""
    operators = (
        "$eq",
        "$ne",
        "$lt",
        "$lte",
        "$gt",
        "$gte",
        "$in",
        "$nin",
        "$contains",
        "$not_contains",
        "$all",
        "$size",
        "$exists",
        "$not",
    )
    values = (
        1,
        -1,
        0.5,
        "toy",
        "good-1",
        None,
        True,
        [],
        [1, "a", None],
        {"a": 1},
        "2020-01-02",
        "2020-01-02T00:00:00Z",
        2**63,
        1e308,
        ["toy"] * 9,
    )
    if depth < 3 and chance.random() < 0.4:
        key = chance.choice(("$and", "$or", "$not", "$key"))
        inner = [_mutated_filter(chance, depth + 1) for _ in range(chance.randrange(4))]
        return {key: inner if chance.random() < 0.8 else (inner or [None])[0]}
    key = chance.choice(("id", "label", "text", "n", "a.b", "n.0", "$key", "id.x"))
    value = chance.choice(values)
    return {key: {chance.choice(operators): value} if chance.random() < 0.8 else value}
