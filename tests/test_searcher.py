"""The interface of a searcher: an engine and a server's engine answer alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps
from plushie_search.evaluate.run import evaluate

COLORS = {"bear": (200, 30, 30), "toys/cat": (30, 200, 30), "dog": (30, 30, 200), "gray": (120, 120, 120)}


def picture(color: tuple[int, int, int]) -> Image.Image:
    return Image.new("RGB", (40, 30), color)


@pytest.fixture(scope="module")
def engine(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path_factory.mktemp("searcher") / "catalog", model=toy_model, threads=2) as engine:
        for number, (id, color) in enumerate(COLORS.items()):
            engine.add(id, images=picture(color), names=f"{number}.png", label=id[:1], metadata={"n": number})
            engine.add(id, images=picture((color[0], color[1] // 2, 99)), names=f"{number}-2.png")
        yield engine


@pytest.fixture(scope="module")
def url(engine: ps.Engine) -> Iterator[str]:
    pytest.importorskip("fastapi")
    from http_server import listening

    from plushie_search import server

    with listening(server.create_app(engine)) as url:
        yield url


@pytest.fixture(params=["engine", "remote"])
def searcher(request: pytest.FixtureRequest, engine: ps.Engine) -> Iterator[Any]:
    if request.param == "engine":
        yield engine
    else:
        with ps.RemoteEngine(request.getfixturevalue("url")) as remote:
            yield remote


def shown(results: Any) -> list[Any]:
    return [(hit.rank, hit.item, hit.score, hit.digest, hit.label, hit.metadata, hit.scores) for hit in results]


def test_it_tells_its_models(searcher: Any) -> None:
    assert (searcher.models, searcher.image_model, searcher.text_model) == (("toy",), "toy", "toy")
    assert isinstance(searcher.path, str)


def test_it_has_items(searcher: Any, engine: ps.Engine) -> None:
    assert "toys/cat" in searcher
    assert "lion" not in searcher
    assert searcher.get("toys/cat") == engine.get("toys/cat")
    assert list(searcher.iterate()) == list(engine)
    assert [item.id for item in searcher.iterate({"n": {"$gte": 2}})] == ["dog", "gray"]
    assert (len(searcher), searcher.count({"label": "d"})) == (4, 1)
    first, after = searcher.page(limit=3)
    assert [item.id for item in [*first, *searcher.page(after, limit=3)[0]]] == list(COLORS)
    with pytest.raises(KeyError, match="lion"):
        searcher.get("lion")


def test_it_has_vectors_and_thumbnails(searcher: Any, engine: ps.Engine) -> None:
    vectors = searcher.vectors("bear")
    assert vectors.dtype == np.float32
    assert np.array_equal(vectors, engine.vectors("bear"))
    assert searcher.thumbnail("bear", "0-2.png") == engine.thumbnail("bear", "0-2.png")
    texts = ["teddy", "red scarf"]
    assert np.array_equal(searcher.encode_texts(texts), engine.encode_texts(texts))
    assert np.array_equal(searcher.encode_images([picture((1, 2, 3))]), engine.encode_images([picture((1, 2, 3))]))


def test_it_finds_by_pictures(searcher: Any, engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "red.png"
    picture((210, 20, 20)).save(path)
    forms = [path, path.read_bytes(), path.open("rb"), picture((210, 20, 20)), np.asarray(picture((210, 20, 20)))]
    wanted = shown(engine.search_image(path, k=3))
    for form in forms:
        assert shown(searcher.search_image(form, k=3)) == wanted
    forms[2].close()
    many = searcher.search_image([picture((0, 0, 200)), picture((0, 200, 0))], k=2)
    assert [shown(one) for one in many] == [
        shown(engine.search_image(picture(color), k=2)) for color in ((0, 0, 200), (0, 200, 0))
    ]


def test_it_finds_by_texts_vectors_and_both(searcher: Any, engine: ps.Engine) -> None:
    where = {"n": {"$lt": 3}}
    assert shown(searcher.search_text("teddy", k=4, where=where)) == shown(
        engine.search_text("teddy", k=4, where=where)
    )
    assert len(searcher.search_text(["teddy", "rabbit"], k=2)) == 2
    vectors = engine.vectors("dog")
    assert [shown(one) for one in searcher.search_vector({"toy": vectors}, k=2, models={"toy": 1.0})] == [
        shown(one) for one in engine.search_vector({"toy": vectors}, k=2, models={"toy": 1.0})
    ]
    assert shown(searcher.search_vector(vectors[0])) == shown(engine.search_vector(vectors[0]))
    red = picture((220, 10, 10))
    for weight in (0.0, 0.3, 1.0):
        assert shown(searcher.search_hybrid(red, "rabbit", image_weight=weight)) == shown(
            engine.search_hybrid(red, "rabbit", image_weight=weight)
        )


def test_it_finds_by_queries_of_several_parts(searcher: Any, engine: ps.Engine) -> None:
    queries = [
        ps.Query(image=[(picture((220, 10, 10)), 0.7), picture((0, 0, 3))], text=[("scarf", 0.5), ("rabbit", -0.4)]),
        ps.Query(item=["bear", ("dog", -0.2)]),
        ps.Query(text="teddy", vector=engine.vectors("gray")[0]),
    ]
    options: Any = {"k": 3, "aggregate": "mean", "min_score": -0.9}
    found = searcher.search(queries, **options)
    assert [shown(one) for one in found] == [shown(one) for one in engine.search(queries, **options)]
    assert "bear" not in [hit.item for hit in found[1]]


def identified(found: Any) -> list[Any]:
    figures = [
        found.verdict,
        found.item,
        found.probability,
        found.margin,
        found.strength,
        found.threshold,
        found.plausible,
    ]
    return [*figures, [(hit.item, hit.probability, hit.similarity) for hit in found.hits]]


def test_it_says_which_item_a_picture_shows(searcher: Any, engine: ps.Engine) -> None:
    red, blue = picture((210, 20, 20)), picture((0, 0, 200))
    found = searcher.identify(red)
    assert identified(found) == identified(engine.identify(red))
    assert len(found.hits) == len(COLORS)
    assert repr(found) == repr(engine.identify(red))
    both = searcher.identify(
        [red, ps.Query(image=[blue, red])], k=2, target_fpr=0.2, prior=0.1, where={"n": {"$lt": 3}}
    )
    wanted = engine.identify(
        [red, ps.Query(image=[blue, red])], k=2, target_fpr=0.2, prior=0.1, where={"n": {"$lt": 3}}
    )
    assert [identified(one) for one in both] == [identified(one) for one in wanted]
    assert len(both[0].hits) == 2
    assert both[0].hits.model == "toy"
    assert searcher.identify([]) == []


def halves() -> Image.Image:
    """Red on the left, blue on the right."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :20], pixels[:, 20:] = (210, 20, 20), (20, 20, 210)
    return Image.fromarray(pixels)


def test_it_finds_by_parts_of_pictures(searcher: Any, engine: ps.Engine) -> None:
    left, right = (ps.Crop(halves(), box) for box in ((0, 0, 0.5, 1), (0.5, 0, 1, 1)))
    red = picture((210, 20, 20))
    assert shown(searcher.search_image(left, k=3)) == shown(engine.search_image(red, k=3))
    query = ps.Query(image=[(left, 0.7), halves(), (right, -0.2)], text="teddy")
    assert shown(searcher.search(query, k=4)) == shown(engine.search(query, k=4))
    assert shown(searcher.search_hybrid(right, "teddy")) == shown(engine.search_hybrid(right, "teddy"))
    assert identified(searcher.identify(left)) == identified(engine.identify(red))
    found = searcher.classify([left, halves(), right], by="images")
    assert found == engine.classify([left, halves(), right], by="images")
    assert searcher.compare(left, right) == engine.compare(left, right)
    assert searcher.compare(left, red).similarity == pytest.approx(1, abs=1e-6)
    assert np.array_equal(searcher.encode_images([left, halves()]), engine.encode_images([left, halves()]))


def test_it_expands_texts(searcher: Any, engine: ps.Engine) -> None:
    for expand in (True, ["{} with a scarf", "pink {}"]):
        wanted = engine.search_text("teddy", k=4, expand=expand)
        assert shown(searcher.search_text("teddy", k=4, expand=expand)) == shown(wanted)
        assert shown(wanted) != shown(engine.search_text("teddy", k=4))
    for classes in (True, False, ["the {}"]):
        found = searcher.classify(halves(), ["teddy", "rabbit"], by="texts", expand=classes)
        assert found == engine.classify(halves(), ["teddy", "rabbit"], by="texts", expand=classes)


def test_it_has_pages_of_hits(searcher: Any, engine: ps.Engine) -> None:
    for query in (ps.Query(image=halves()), ps.Query(text="teddy"), ps.Query(image=halves(), text="teddy")):
        first = searcher.search(query, k=3)
        rest = searcher.search(query, k=3, after=first.cursor)
        assert [*shown(first), *shown(rest)] == shown(engine.search(query, k=9))
        assert (first.cursor is None, rest.cursor) == (False, None)
    assert searcher.search([query, query], k=3)[0].cursor is None
    with pytest.raises(ps.ArgumentError, match="after goes on with one query, and there are 2"):
        searcher.search([query, query], after=first.cursor)
    with pytest.raises(ps.ArgumentError, match="cursor of another search"):
        searcher.search_text("rabbit", after=first.cursor)


def test_its_results_show_themselves(searcher: Any, engine: ps.Engine) -> None:
    results = searcher.search_text("teddy", k=2)
    assert results.thumbnail(results[0]) == engine.search_text("teddy", k=2).thumbnail(results[0])
    assert "2 hits for 'teddy'" in repr(results)
    assert searcher.search_text("teddy", where={"colour": 1}).warnings


def test_it_can_be_evaluated(searcher: Any, engine: ps.Engine) -> None:
    assert evaluate(searcher, k=2).metrics == evaluate(engine, k=2).metrics
    texts = [("teddy", "bear"), ("rabbit", "dog")]
    assert evaluate(searcher, texts=texts, k=2).metrics == evaluate(engine, texts=texts, k=2).metrics


def test_it_classifies_and_compares(searcher: Any, engine: ps.Engine) -> None:
    pictures = [picture((210, 20, 20)), picture((20, 20, 210))]
    assert searcher.classify(pictures, by="images") == engine.classify(pictures, by="images")
    one = searcher.classify(pictures[0], ["b", "d"], by="images", where={"n": {"$lt": 3}})
    assert one == engine.classify(pictures[0], ["b", "d"], by="images", where={"n": {"$lt": 3}})
    assert searcher.compare(*pictures) == engine.compare(*pictures)
    assert searcher.compare(pictures[0], item="dog", threshold=0.4, models="toy") == engine.compare(
        pictures[0], item="dog", threshold=0.4, models="toy"
    )


def test_it_lists_duplicates_and_items_that_need_attention(searcher: Any, engine: ps.Engine) -> None:
    found = searcher.duplicates(limit=3, near=0.5)
    assert found == engine.duplicates(limit=3, near=0.5)
    assert found.counts == engine.duplicates(near=0.5).counts
    assert "<img" in found._repr_html_()
    where = {"n": {"$lte": 2}}
    assert searcher.review(margin=1.0, where=where) == engine.review(margin=1.0, where=where)
    assert searcher.review(limit=1).total == engine.review().total


@pytest.mark.parametrize(
    ("work", "error"),
    [
        (lambda one: one.search_text(""), ps.ArgumentError),
        (lambda one: one.search_text("a", k=0), ps.ArgumentError),
        (lambda one: one.search_text("a", where={"a": {"$foo": 1}}), ps.ArgumentError),
        (lambda one: one.search_text("a", models="none"), ps.ArgumentError),
        (lambda one: one.search_image(b"no picture"), ps.PictureError),
        (lambda one: one.search(ps.Query(item="lion")), ps.UnknownItemError),
        (lambda one: one.search_text("a", expand=["a photo"]), ps.ArgumentError),
        (lambda one: one.search_text("a", after="x"), ps.ArgumentError),
        (lambda one: one.search_image(ps.Crop(b"no picture", (0, 0, 1, 0.5))), ps.PictureError),
        (lambda one: one.identify(b"no picture"), ps.PictureError),
        (lambda one: one.identify(ps.Query(text="teddy")), ps.ArgumentError),
        (lambda one: one.identify(ps.Query(item="bear")), ps.ArgumentError),
        (lambda one: one.identify(picture((1, 2, 3)), models="none"), ps.ArgumentError),
        (lambda one: one.identify(picture((1, 2, 3)), target_fpr=1.5), ps.ArgumentError),
        (lambda one: one.identify(picture((1, 2, 3)), prior=0.0), ps.ArgumentError),
        (lambda one: one.vectors("lion"), ps.UnknownItemError),
        (lambda one: one.thumbnail("lion"), ps.UnknownItemError),
        (lambda one: one.compare(picture((1, 2, 3))), ps.ArgumentError),
        (lambda one: one.compare(picture((1, 2, 3)), item="lion"), ps.UnknownItemError),
        (lambda one: one.classify(picture((1, 2, 3)), ["b"]), ps.ArgumentError),
        (lambda one: one.confirm(picture((1, 2, 3)), "lion"), ps.UnknownItemError),
        (lambda one: one.duplicates(limit=0), ps.ArgumentError),
        (lambda one: one.review(margin=-1.0), ps.ArgumentError),
    ],
)
def test_its_errors_are_of_one_kind(searcher: Any, work: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        work(searcher)


def test_changes_through_a_server(url: str, engine: ps.Engine) -> None:
    with ps.RemoteEngine(url) as remote:
        assert remote.add("new", images=[picture((1, 1, 1)), picture((250, 250, 1))], label="N", metadata={"a": 1}) == 2
        assert remote.add("new", images=picture((1, 1, 1)), names="again.png") == 0
        assert (remote.confirm(picture((9, 9, 9)), "new", name="c.png"), remote.confirm(picture((9, 9, 9)), "new")) == (
            1,
            0,
        )
        assert remote.remove_reference("new", "c.png") == 2
        remote.update("new", label=None, text="a new one")
        item = engine.get("new")
        assert (item.label, item.text, item.metadata, len(item.references)) == (None, "a new one", {"a": 1}, 2)
        assert remote.remove_reference("new", item.references[0]) == 1
        assert remote.remove(["new"]) == 1
        assert "new" not in engine
        for wrong in (lambda: remote.remove("new"), lambda: remote.update("new", label="x")):
            with pytest.raises(KeyError):
                wrong()


def test_a_model_is_added_through_a_server(toy_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    from http_server import listening

    from plushie_search import server

    with ps.Engine(tmp_path / "c", model=toy_model) as engine:
        engine.add("bear", images=picture((200, 30, 30)))
        engine.add("dog", images=picture((30, 30, 200)))
        with listening(server.create_app(engine)) as url, ps.RemoteEngine(url) as remote:
            told: list[tuple[int, int | None]] = []
            report = remote.add_model("plushie-mini", progress=lambda done, total, what: told.append((done, total)))
            assert report == ps.ReencodeReport(("toy", "plushie-mini"), True, 2, 0, 2, 0)
            assert told
            assert remote.models == engine.models == ("toy", "plushie-mini")
            query = picture((190, 40, 40))
            both = {"toy": 0.5, "plushie-mini": 0.5}
            assert shown(remote.search_image(query, models=both)) == shown(engine.search_image(query, models=both))
            with pytest.raises(ps.ArgumentError, match="models list"):
                remote.add_model("no-such-model")


def test_a_large_picture_goes_as_a_file(url: str, engine: ps.Engine) -> None:
    noise = np.random.default_rng(3).integers(0, 255, (900, 900, 3), np.uint8)
    query = ps.Query(image=[noise], text="teddy")
    with ps.RemoteEngine(url) as remote:
        assert shown(remote.search(query, k=3)) == shown(engine.search(query, k=3))
        assert shown(remote.search_image(noise, k=3)) == shown(engine.search_image(noise, k=3))
        parts = ps.Query(image=[ps.Crop(noise, (0, 0, 0.3, 0.9)), noise])
        assert shown(remote.search(parts, k=3)) == shown(engine.search(parts, k=3))
        first = remote.search(parts, k=2)
        assert shown(remote.search(parts, k=2, after=first.cursor)) == shown(engine.search(parts, k=4))[2:]
        assert identified(remote.identify(noise, k=3)) == identified(engine.identify(noise, k=3))


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(ps.CatalogError, match="does not answer"):
        ps.RemoteEngine("http://127.0.0.1:9", timeout=2)
    with pytest.raises(ps.ArgumentError, match="no address"):
        ps.RemoteEngine("toys.catalog")


def test_an_unknown_catalog_is_told(url: str) -> None:
    with pytest.raises(ps.ArgumentError, match="has the catalogs default"):
        ps.RemoteEngine(url, catalog="other")
    with ps.RemoteEngine(url, catalog="default") as remote:
        assert len(remote) == len(COLORS)
