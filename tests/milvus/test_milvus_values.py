"""A catalog in Milvus has the hits and scores of the local engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import plushie_search as ps

SIZE, DIMS = 1200, {"first": 48, "second": 32}


class Words:
    """An encoder of pictures and texts by random vectors of their content."""

    def __init__(self, name: str, dim: int) -> None:
        self.name, self.dim, self.fingerprint = name, dim, f"{name}-{dim}"

    def encode_images(self, images: list[Any]) -> Any:
        return np.stack([self._vector(int(image.astype(np.int64).sum())) for image in images])

    def encode_texts(self, texts: list[str]) -> Any:
        return np.stack([self._vector(sum(map(ord, text))) for text in texts])

    def _vector(self, seed: int) -> Any:
        return np.random.default_rng(seed).normal(size=self.dim) + 0.3


def models() -> list[Words]:
    return [Words(name, dim) for name, dim in DIMS.items()]


def rows() -> dict[str, Any]:
    """References in clusters, as those of items are, some of them with two or three."""
    random = np.random.default_rng(1)
    ids = [f"item {number * 2 // 3}" for number in range(SIZE)]
    vectors = {
        name: (random.normal(size=(40, dim))[random.integers(0, 40, SIZE)] + random.normal(size=(SIZE, dim))).astype(
            "f4"
        )
        for name, dim in DIMS.items()
    }
    metadata = [{"n": number % 17, "tags": [f"t{number % 3}", f"u{number % 5}"]} for number in range(SIZE)]
    return {"ids": ids, "vectors": vectors, "metadata": metadata, "labels": [f"label {n % 7}" for n in range(SIZE)]}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path_factory.mktemp("values") / "catalog", model=models(), threads=2) as engine:
        engine.add_vectors(**rows())
        yield engine


@pytest.fixture(scope="module")
def milvus(milvus_uri: str) -> Iterator[Any]:
    with ps.MilvusEngine(milvus_uri, collection="values", model=models(), index="FLAT", threads=2) as engine:
        assert engine.add_vectors(**rows()) == ps.Added(SIZE, 0, 0)
        yield engine


def same(found: Any, wanted: Any) -> None:
    assert [(hit.item, hit.reference, hit.label, hit.metadata) for hit in found] == [
        (hit.item, hit.reference, hit.label, hit.metadata) for hit in wanted
    ]
    for hit, other in zip(found, wanted, strict=True):
        assert hit.score == pytest.approx(other.score, abs=1e-5)
        assert hit.scores == pytest.approx(other.scores, abs=1e-5)


OPTIONS: list[dict[str, Any]] = [
    {"k": 10},
    {"k": 3, "where": {"tags": "t1", "n": {"$lt": 9}}},
    {"k": 40, "models": {"first": 0.7, "second": 0.3}},
    {"k": 7, "models": {"first": 0.4, "second": 0.6}, "where": {"label": {"$in": ["label 1", "label 2"]}}},
    {"k": 9, "models": "second", "min_score": 0.2},
    {"k": 6, "models": {"first": 1, "second": 1}, "fusion": "sum"},
    {"k": 6, "models": {"first": 2, "second": 1}, "fusion": "dbsf"},
    {"k": 6, "models": {"first": 2, "second": 1}, "fusion": "rrf", "rrf_k": 10},
    {"k": 8, "aggregate": "mean"},
    {"k": 8, "aggregate": "softmax", "temperature": 0.3, "exclude": ["item 3"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_searches_of_all_kinds_have_the_same_hits(local: ps.Engine, milvus: Any, options: dict[str, Any]) -> None:
    picture = np.full((4, 4, 3), 9, np.uint8)
    queries = [
        ps.Query(image=picture),
        ps.Query(text="pink"),
        ps.Query(image=picture, text=[("pink", 0.6)]),
        ps.Query(image=[(picture, 0.5), picture // 2], text=[("bear", 0.7), ("hat", -0.4)]),
        ps.Query(item=["item 5", ("item 9", 0.5)]),
    ]
    for query in queries:
        same(milvus.search(query, **options), local.search(query, words=False, **options))


def test_vectors_have_the_same_hits(local: ps.Engine, milvus: Any) -> None:
    queries = {name: np.random.default_rng(2).normal(size=(20, dim)) for name, dim in DIMS.items()}
    wanted = local.search_vector(queries, k=12, models={"first": 1, "second": 2})
    for found, other in zip(milvus.search_vector(queries, k=12, models={"first": 1, "second": 2}), wanted, strict=True):
        same(found, other)
    for found, other in zip(
        milvus.search_vector(queries["first"], k=12), local.search_vector(queries["first"], k=12), strict=True
    ):
        same(found, other)
    hit = milvus.search_vector(queries["first"][0], k=1, vectors=True)[0]
    np.testing.assert_allclose(
        hit.vectors["first"], local.search_vector(queries["first"][0], k=1, vectors=True)[0].vectors["first"], atol=1e-6
    )


def test_pictures_are_identified_alike(local: ps.Engine, milvus: Any) -> None:
    pictures = [np.full((4, 4, 3), number, np.uint8) for number in range(6)]
    where = {"n": {"$lt": 4}}
    for options in ({}, {"where": where, "target_fpr": 0.2, "prior": 0.1, "k": 2}):
        for found, other in zip(milvus.identify(pictures, **options), local.identify(pictures, **options), strict=True):
            figures = ("verdict", "item", "plausible")
            assert [getattr(found, name) for name in figures] == [getattr(other, name) for name in figures]
            for name in ("probability", "margin", "strength", "threshold"):
                assert getattr(found, name) == pytest.approx(getattr(other, name), abs=1e-4), name
            same(found.hits, other.hits)


def test_classes_are_the_same(local: ps.Engine, milvus: Any) -> None:
    picture = np.full((4, 4, 3), 9, np.uint8)
    found, wanted = (one.classify(picture, by="images") for one in (milvus, local))
    assert [one.name for one in found] == [one.name for one in wanted]
    assert [one.confidence for one in found] == pytest.approx([one.confidence for one in wanted], abs=1e-4)


def test_random_filters_find_the_same(local: ps.Engine, milvus: Any) -> None:
    random = np.random.default_rng(0)

    def one(depth: int) -> dict[str, Any]:
        kind = int(random.integers(0, 8 if depth else 5))
        number = int(random.integers(0, 18))
        if kind == 0:
            return {"n": {str(random.choice(["$lt", "$gte", "$ne", "$gt", "$lte"])): number}}
        if kind == 1:
            return {"tags": {"$in": [f"t{number % 3}", f"u{number % 5}"]}}
        if kind == 2:
            return {"label": {"$gt": f"label {number % 7}"}, "id": {"$ne": f"item {number}"}}
        if kind == 3:
            return {"none": {"$exists": bool(number % 2)}}
        if kind == 4:
            return {"id": {"$contains": str(number % 10)}}
        if kind == 5:
            return {"$not": one(depth - 1)}
        return {("$and", "$or")[kind % 2]: [one(depth - 1), one(depth - 1)]}

    for _ in range(40):
        where = one(3)
        assert [item.id for item in milvus.iterate(where)] == [item.id for item in local.iterate(where)], where
        assert milvus.count(where) == local.count(where)


def test_items_are_listed_alike(local: ps.Engine, milvus: Any) -> None:
    assert milvus.items(limit=5, offset=20) == local.items(limit=5, offset=20)
    assert milvus.get("item 7") == local.get("item 7")
    np.testing.assert_allclose(
        milvus.vectors("item 7", model="second"), local.vectors("item 7", model="second"), atol=1e-6
    )
    assert len(milvus) == len(local)


@pytest.mark.parametrize(
    "options", [{"after": "x"}, {"mmr": 0.5}, {"query_crops": True}, {"words": True}, {"k_factor": 2}]
)
def test_an_option_without_an_answer_names_another_way(milvus: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ps.UnsupportedError, match=r": .*Engine|where="):
        milvus.search_text("pink", **options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"k": 16385}, "16,384"),
        ({"fusion": "best"}, "weighted"),
        ({"temperature": 0}, "above 0"),
        ({"nprobe": 0}, "1 or more"),
        ({"colour": 1}, "no option 'colour'"),
        ({"where": {"label": {"$contains": "50%"}}}, r"\$eq"),
    ],
)
def test_a_wrong_option_is_refused(milvus: Any, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ps.ArgumentError, match=match):
        milvus.search_text("pink", **options)


def test_a_catalog_of_vectors_alone(open_milvus: Callable[..., Any], tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(30, 5))
    engine = open_milvus(dim=5)
    engine.add_vectors([f"{n}" for n in range(30)], vectors)
    again = open_milvus(collection=engine._collection)
    with ps.Engine(tmp_path / "c", dim=5) as local:
        local.add_vectors([f"{n}" for n in range(30)], vectors)
        same(again.search_vector(vectors[4]), local.search_vector(vectors[4]))
    assert again.models == ("vectors",)
