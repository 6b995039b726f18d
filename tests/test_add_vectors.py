"""Vectors that were computed elsewhere, with all that is known of them; each is found again by its reference."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "toys.catalog", model=toy_model, threads=2) as engine:
        yield engine


def vectors(*seeds: int) -> NDArray[np.float32]:
    return np.stack([np.random.default_rng(seed).standard_normal(toy.DIM) for seed in seeds]).astype(np.float32)


def unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_vectors_come_with_everything_that_is_known_of_them(engine: ps.Engine) -> None:
    rows = vectors(1, 2, 3)
    digests = [hashlib.sha256(b"1").hexdigest(), None, hashlib.sha256(b"3").hexdigest().upper()]
    added = engine.add_vectors(
        ["a", "a", "b"],
        rows,
        references=["1.jpg", "2.jpg", None],
        digests=digests,
        labels=["x", None, 5],
        metadata=[{"n": 1}, {"n": 2}, None],
        texts=[None, "cafe\u0301", float("nan")],
    )
    assert added == ps.Added(3, 0, 0)
    a, b = engine
    assert (a.label, a.metadata, a.text) == ("x", {"n": 2}, "café")
    assert (b.label, b.metadata, b.text) == ("5", {}, None)
    assert [reference.name for reference in (*a.references, *b.references)] == ["1.jpg", "2.jpg", "vector"]
    assert a.references[0].digest == digests[0]
    assert a.references[1].digest == hashlib.sha256(engine.vectors("a")[1].tobytes()).hexdigest()
    assert b.references[0].digest == str(digests[2]).lower()
    np.testing.assert_allclose(engine.vectors("a"), unit(rows[:2]), atol=1e-7)


def test_vectors_are_found_again_by_their_references(engine: ps.Engine) -> None:
    names = ["1.jpg", "2.jpg", "1.jpg"]
    assert engine.add_vectors(["a", "a", "b"], vectors(1, 2, 1), references=names) == ps.Added(3, 0, 0)
    assert engine.add_vectors(["a", "a", "b"], vectors(1, 2, 1), references=names) == ps.Added(0, 3, 0)
    # Another vector takes the place of the old one, in this item alone, and its digest comes with it.
    assert engine.add_vectors(["a", "a", "b"], vectors(7, 2, 1), references=names) == ps.Added(1, 2, 1)
    assert engine.search_vector(vectors(7)[0], k=1)[0].reference == "1.jpg"
    assert [hit.item for hit in engine.search_vector(vectors(1)[0], k=2)] == ["b", "a"]
    assert len(engine.get("a").references) == 2
    # The digest of a picture may come later; the vector is the same.
    digest = hashlib.sha256(b"picture").hexdigest()
    assert engine.add_vectors(["a"], vectors(7), references=["1.jpg"], digests=[digest]) == ps.Added(0, 1, 0)
    assert engine.get("a").references[1].digest == digest
    # By the digest alone: the same picture with a vector of another make.
    assert engine.add_vectors(["a"], vectors(8), digests=[digest]) == ps.Added(1, 0, 1)
    np.testing.assert_allclose(engine.vectors("a")[1], unit(vectors(8))[0], atol=1e-7)
    # What was added without a name gets one.
    engine.add_vectors(["c"], vectors(5))
    assert engine.add_vectors(["c"], vectors(5), references=["5.jpg"]) == ps.Added(0, 1, 0)
    assert engine.get("c").references[0].name == "5.jpg"
    # One name twice in a call: the last counts.
    assert engine.add_vectors(["d", "d"], vectors(1, 2), references=["x", "x"]) == ps.Added(2, 0, 1)
    np.testing.assert_allclose(engine.vectors("d"), unit(vectors(2)), atol=1e-7)
    assert engine.verify().ok


def test_a_reference_that_becomes_one_that_the_item_has_goes(engine: ps.Engine) -> None:
    engine.add_vectors(["a", "a"], vectors(1, 2), references=["1.jpg", "2.jpg"])
    assert engine.add_vectors(["a"], vectors(2), references=["1.jpg"]) == ps.Added(0, 1, 1)
    assert [reference.name for reference in engine.get("a").references] == ["2.jpg"]


def test_vectors_of_pictures_and_pictures_are_one(engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    Image.new("RGB", (8, 8), (200, 0, 0)).save(path)
    engine.add("a", images=[path])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    again = engine.add_vectors(["a"], engine.vectors("a"), references=[str(path)], digests=[digest])
    assert again == ps.Added(0, 1, 0)
    engine.add_vectors(["b"], engine.vectors("a"), references=[str(path)], digests=[digest])
    assert engine.add("b", images=[path]) == ps.Added(0, 1, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8])
def test_vectors_of_any_number_are_rounded_once(engine: ps.Engine, dtype: type) -> None:
    rows = (vectors(1, 2) * 30).astype(dtype)
    engine.add_vectors(["a", "b"], rows)
    engine.add_vectors(["c", "d"], rows.tolist())
    expected = unit(rows.astype(np.float32))
    array, lists = (np.concatenate([engine.vectors(id) for id in ids]) for ids in (("a", "b"), ("c", "d")))
    np.testing.assert_allclose(array, expected, atol=1e-7)
    np.testing.assert_array_equal(array, lists)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"labels": ["a"]}, "2 ids and 1 labels: give one for each row"),
        ({"references": ["a", "b", "c"]}, "2 ids and 3 references"),
        ({"labels": ["a", 1.5]}, r"labels\[1\]"),
        ({"metadata": [{}, [1]]}, r"metadata\[1\]"),
        ({"metadata": [{}, {"a": "\0"}]}, "NUL"),
        ({"texts": ["x", "y" * 70_000]}, 'item "b"'),
        ({"references": ["x", "y" * 70_000]}, 'item "b"'),
        ({"digests": [None, "abc"]}, r"digests\[1\]: \"abc\" is not the 64 hexadecimal digits of a SHA-256"),
        ({"digests": [None, "g" * 64]}, r"digests\[1\]"),
    ],
)
def test_a_column_that_does_not_fit_is_named_and_nothing_stored(
    engine: ps.Engine, columns: dict[str, Any], said: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        engine.add_vectors(["a", "b"], vectors(1, 2), **columns)
    assert len(engine) == 0


def test_vectors_that_were_stopped_go_on_by_their_references(engine: ps.Engine) -> None:
    count = 25_000
    ids = [f"i{n // 2}" for n in range(count)]
    names = [f"{n}.jpg" for n in range(count)]
    rows = np.random.default_rng(1).standard_normal((count, toy.DIM), np.float32)
    engine.add_vectors(ids[:10_000], rows[:10_000], references=names[:10_000])
    assert engine.add_vectors(ids, rows, references=names) == ps.Added(15_000, 10_000, 0)
    # All in one item: each name is found without a look at all the others.
    begin = time.perf_counter()
    engine.add_vectors(["one"] * count, rows, references=names)
    assert engine.add_vectors(["one"] * count, rows, references=names) == ps.Added(0, count, 0)
    assert time.perf_counter() - begin < 60
