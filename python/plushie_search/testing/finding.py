"""Checks of the searches of a catalog, whose scores numpy computes, too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError, PictureError
from ..query import Query
from .encoder import SuiteEncoder, picture, unit
from .keeping import _raises, filled

#: The largest difference of scores that rounding makes.
NEAR = 1e-5


def references() -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Returns the items, the names and the unit vectors of the references that ``filled`` adds."""
    rows = [(f"item {number}", f"{number}.png", number) for number in range(6)]
    rows += [(f"item {number}", f"{number}-2.png", 100 + number) for number in range(1, 6, 2)]
    vectors = unit(SuiteEncoder().encode_images([picture(number) for *_, number in rows]))
    return [item for item, *_ in rows], [name for _, name, _ in rows], vectors


def best(scores: NDArray[np.float64], k: int) -> list[tuple[str, str, float]]:
    """Returns the best items with their references and scores."""
    items, names, _ = references()
    found: dict[str, tuple[str, str, float]] = {}
    for place in np.argsort(-scores, kind="stable"):
        found.setdefault(items[place], (items[place], names[place], float(scores[place])))
    return list(found.values())[:k]


def is_found(hits: Any, wanted: list[tuple[str, str, float]]) -> None:
    """Checks that hits are these items, by these references, with these scores."""
    assert [(hit.item, hit.reference) for hit in hits] == [(item, name) for item, name, _ in wanted], (
        f"{[(hit.item, hit.reference, hit.score) for hit in hits]} and not {wanted}"
    )
    assert [hit.rank for hit in hits] == list(range(1, len(wanted) + 1))
    for hit, (*_, score) in zip(hits, wanted, strict=True):
        assert abs(hit.score - score) < NEAR, f"{hit.item} has the score {hit.score}, and not {score}"


def seen(number: int) -> NDArray[np.float64]:
    """Returns the unit vector of a picture."""
    return unit(SuiteEncoder().encode_images([picture(number)])).reshape(-1)


def said(text: str) -> NDArray[np.float64]:
    """Returns the unit vector of a text."""
    return unit(SuiteEncoder().encode_texts([text])).reshape(-1)


def pictures_find_the_nearest(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    for number in (0, 103, 7):
        is_found(catalog.search_image(picture(number), k=4), best(vectors @ seen(number), 4))
    many = catalog.search_image([picture(1), picture(200)], k=3)
    for hits, number in zip(many, (1, 200), strict=True):
        is_found(hits, best(vectors @ seen(number), 3))
    assert catalog.search_image(picture(0), k=50)[-1].rank == 6
    first = catalog.search_image(picture(0), k=1)[0]
    assert (first.label, first.metadata["price"], first.probability) == ("bear", 5, first.probability)


def texts_find_the_nearest(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    is_found(catalog.search_text("red bear", k=4, words=False), best(vectors @ said("red bear"), 4))


def vectors_find_the_nearest(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    queries = np.random.default_rng(3).normal(size=(3, vectors.shape[1])).astype(np.float32)
    for hits, query in zip(catalog.search_vector(queries, k=5), unit(queries), strict=True):
        is_found(hits, best(vectors @ query, 5))
    hit = catalog.search_vector(queries[0], k=1, vectors=True)[0]
    assert abs(float(hit.vectors["suite"] @ unit(queries[0])) - hit.score) < NEAR


def scores_have_a_least(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    scores = vectors @ seen(9)
    least = float(np.sort(scores)[-4])
    wanted = [one for one in best(scores, 10) if one[2] >= least - NEAR]
    is_found(catalog.search_image(picture(9), k=10, min_score=least - NEAR / 2), wanted)


def items_are_left_out(catalog: Any) -> None:
    filled(catalog)
    hits = catalog.search_image(picture(0), k=3, exclude=["item 0"])
    assert (len(hits), "item 0" in [hit.item for hit in hits]) == (3, False)
    like = catalog.search(Query(item="item 1"), k=5)
    assert (len(like), "item 1" in [hit.item for hit in like]) == (5, False)


def pictures_and_texts_add_up(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    wanted = unit(0.7 * seen(2) + 0.3 * said("red bear"))
    hits = catalog.search_hybrid(picture(2), "red bear", image_weight=0.7, fusion="sum", k=6)
    is_found(hits, best(vectors @ wanted, 6))


def queries_have_weights(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    query = Query(image=[(picture(2), 1.0), (picture(4), 0.5)], text=[("bear", -0.4)])
    wanted = unit(1.0 * seen(2) + 0.5 * seen(4) - 0.4 * said("bear"))
    is_found(catalog.search(query, k=6, fusion="sum"), best(vectors @ wanted, 6))


def scores_are_fused(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    lists = np.array([vectors @ seen(2), vectors @ said("red bear")])
    above = (lists - lists.mean(axis=1, keepdims=True)) / lists.std(axis=1, keepdims=True)
    near = np.tanh(above[0] / 2.5)
    fits = np.maximum(1 - (above[1].max() - above[1]), 0)
    shares = np.array([0.6, 0.4])
    whole = 0.6 * (near + (above[0] - near) * fits) + 0.4 * above[1]
    wanted = shares @ lists.mean(axis=1) + shares @ lists.std(axis=1) * whole
    is_found(catalog.search_hybrid(picture(2), "red bear", image_weight=0.6, words=False, k=6), best(wanted, 6))


def ranks_are_fused(catalog: Any) -> None:
    filled(catalog)
    _, _, vectors = references()
    lists = np.array([vectors @ seen(2), vectors @ said("red bear")])
    ranks = np.argsort(np.argsort(-lists, axis=1), axis=1) + 1
    wanted = np.array([0.5, 0.5]) @ (1 / (60 + ranks))
    hits = catalog.search_hybrid(picture(2), "red bear", fusion="rrf", words=False, k=6)
    assert [round(hit.score, 6) for hit in hits] == [round(score, 6) for *_, score in best(wanted, 6)]


def references_are_averaged(catalog: Any) -> None:
    filled(catalog)
    items, _, vectors = references()
    scores = vectors @ seen(3)
    means = {item: float(np.mean([s for s, one in zip(scores, items, strict=True) if one == item])) for item in items}
    hits = catalog.search_image(picture(3), k=6, aggregate="mean")
    assert [hit.item for hit in hits] == sorted(means, key=means.__getitem__, reverse=True)
    assert all(abs(hit.score - means[hit.item]) < NEAR for hit in hits)


def pictures_are_identified(catalog: Any) -> None:
    for number in range(40):
        catalog.add(f"item {number}", images=[picture(number), picture(number) // 2 + picture(number + 1000) // 8])
    found = catalog.identify(picture(7), k=3)
    assert (found.verdict, found.item, len(found.hits)) == ("match", "item 7", 3)
    assert found.probability > 0.5
    several = catalog.identify([picture(8), picture(9)])
    assert [one.item for one in several] == ["item 8", "item 9"]


def pictures_are_classified(catalog: Any) -> None:
    for number in range(24):
        base = np.zeros((24, 24, 3), np.uint8)
        base[:, :, number % 2] = 120 + 4 * number
        catalog.add(f"item {number}", images=base, label="red" if number % 2 == 0 else "green")
    red = np.zeros((24, 24, 3), np.uint8)
    red[:, :, 0] = 190
    assert catalog.classify(red, by="images")[0].name == "red"


def bad_queries_are_refused(catalog: Any) -> None:
    filled(catalog)
    works = (
        (ArgumentError, lambda: catalog.search_text("")),
        (ArgumentError, lambda: catalog.search_text("a", k=0)),
        (ArgumentError, lambda: catalog.search_text("a", models="none")),
        (PictureError, lambda: catalog.search_image(b"no picture")),
        (ArgumentError, lambda: catalog.search_vector(np.full(SuiteEncoder.dim, np.nan))),
        (ArgumentError, lambda: catalog.search_vector(np.ones(SuiteEncoder.dim + 1))),
    )
    for kind, work in works:
        _raises(kind, work)


def unknown_items_are_refused(catalog: Any) -> None:
    filled(catalog)
    _raises(KeyError, lambda: catalog.search(Query(item="none")))


def an_empty_catalog_answers(catalog: Any) -> None:
    assert (len(catalog), list(catalog.iterate()), list(catalog.search_image(picture(0), k=3))) == (0, [], [])


REQUIRED = (pictures_find_the_nearest, vectors_find_the_nearest, bad_queries_are_refused, an_empty_catalog_answers)
OPTIONAL = (
    texts_find_the_nearest,
    scores_have_a_least,
    items_are_left_out,
    unknown_items_are_refused,
    pictures_and_texts_add_up,
    queries_have_weights,
    scores_are_fused,
    ranks_are_fused,
    references_are_averaged,
    pictures_are_identified,
    pictures_are_classified,
)
