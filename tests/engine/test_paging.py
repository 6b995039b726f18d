"""Pages of hits: together they are the list that a search of all gives, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

import plushie_search as ps

pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")

COUNT = 450
PICTURE = np.full((8, 8, 3), 90, np.uint8)


def written(number: int) -> str:
    return " ".join(["a thing", *("walnut" for _ in [0] if number % 3 == 0), *("oak" for _ in [0] if number % 7 == 0)])


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    """Items of one and two references, some with words, every tenth with the vector of the one before it."""
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        rows = np.random.default_rng(3).standard_normal((COUNT, toy.DIM))
        rows[9::10] = rows[8::10]
        ids = [f"item-{number}" for number in range(COUNT)]
        engine.add_vectors(
            ids, rows, texts=list(map(written, range(COUNT))), labels=["ab"[n % 2] for n in range(COUNT)]
        )
        engine.add_vectors(ids[::3], np.random.default_rng(4).standard_normal((COUNT // 3, toy.DIM)))
        yield engine


def pages(engine: Any, query: Any, k: int, **options: Any) -> list[ps.Results]:
    found = [engine.search(query, k=k, **options)]
    while found[-1].cursor is not None:
        found.append(engine.search(query, k=k, after=found[-1].cursor, **options))
    return found


def shown(hits: Any) -> list[tuple[int, str, float]]:
    return [(hit.rank, hit.item, pytest.approx(hit.score, abs=1e-6)) for hit in hits]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        (ps.Query(image=PICTURE), {}),
        (ps.Query(image=PICTURE), {"aggregate": "mean", "where": {"label": "a"}}),
        (ps.Query(text="teddy"), {"words": False, "min_score": 0.0}),
        (ps.Query(text="teddy", image=PICTURE), {}),
        (ps.Query(text="teddy", image=PICTURE), {"fusion": "rrf", "aggregate": "softmax"}),
        (ps.Query(text="teddy", image=PICTURE), {"words": True, "fusion": "dbsf"}),
        (ps.Query(item=["item-8", ("item-30", -0.5)]), {"exclude": ["item-9", "item-11"]}),
    ],
)
@pytest.mark.parametrize("k", [7, 60])
def test_pages_are_the_whole_list(engine: ps.Engine, query: ps.Query, options: Any, k: int) -> None:
    whole = engine.search(query, k=COUNT, **options)
    found = pages(engine, query, k, **options)
    assert [hit for page in found for hit in shown(page)] == shown(whole)
    assert all(len(page) == k for page in found[:-1])
    assert whole.cursor is None


@pytest.mark.parametrize("text", ["walnut", "walnut oak", "a thing", "oak teddy", "a thing walnut oak"])
@pytest.mark.parametrize("k", [7, 45, 130])
def test_words_and_vectors_keep_their_order_over_pages(engine: ps.Engine, text: str, k: int) -> None:
    """Pages of any length have every item once; those within the first page's list have its order."""
    found = pages(engine, ps.Query(text=text), k)
    items = [hit.item for page in found for hit in page]
    assert sorted(items) == sorted(item.id for item in engine)
    assert [hit.rank for page in found for hit in page] == list(range(1, COUNT + 1))
    first = [hit.item for hit in engine.search_text(text, k=max(k, 99))]
    assert items[: len(first)] == first
    if k < 99:  # both lists are looked at to the same depth, so the order is that of other pages, too
        assert items == [hit.item for page in pages(engine, ps.Query(text=text), 20) for hit in page]


def test_words_alone_have_pages(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", dim=3) as engine:
        rows = np.random.default_rng(0).standard_normal((30, 3))
        engine.add_vectors([str(n) for n in range(30)], rows, texts=[f"walnut {n}" for n in range(30)])
        whole = engine.search_text("walnut", k=30)
        assert len(whole) == 30
        found = pages(engine, ps.Query(text="walnut"), 7)
        assert [hit for page in found for hit in page] == list(whole)


def test_equal_scores_go_by_the_order_of_adding(engine: ps.Engine) -> None:
    vector = engine.vectors("item-8")[0]
    assert [hit.item for hit in pages(engine, ps.Query(vector=vector), 1)[0]] == ["item-8"]
    assert [hit.item for hit in pages(engine, ps.Query(vector=vector), 1)[1]] == ["item-9"]


def test_pages_go_on_after_changes(engine: ps.Engine) -> None:
    query = ps.Query(image=PICTURE)
    whole = [hit.item for hit in engine.search(query, k=COUNT)]
    first = engine.search(query, k=10)
    # New ones before the end of the page are not on the next one, and none of those behind it is lost.
    near = engine.encode_images([PICTURE])
    engine.add_vectors([f"new-{n}" for n in range(25)], np.repeat(near, 25, axis=0))
    second = engine.search(query, k=10, after=first.cursor)
    assert [hit.item for hit in second] == whole[10:20]
    assert [hit.rank for hit in second] == list(range(11, 21))
    # Those that are gone are left out, and the last hit may be one of them.
    engine.remove(whole[19:22])
    engine.remove([f"new-{n}" for n in range(25)])
    third = engine.search(query, k=10, after=second.cursor)
    assert [hit.item for hit in third] == whole[22:32]
    engine.remove(whole[30:])
    end = engine.search(query, k=10, after=third.cursor)
    assert (list(end), end.cursor) == ([], None)


def test_words_go_on_after_changes(engine: ps.Engine) -> None:
    query = ps.Query(text="walnut teddy")
    whole = [hit.item for hit in engine.search(query, k=60)]
    first = engine.search(query, k=20)
    # Ranks have moved: the page goes on behind the last hit in the order that is now.
    engine.remove(whole[25:27])
    now = [hit.item for hit in engine.search(query, k=60)]
    second = engine.search(query, k=20, after=first.cursor)
    assert [hit.item for hit in second] == now[now.index(whole[19]) + 1 :][:20]
    # The last hit is gone: as many as were seen beside it are left out.
    engine.remove(whole[19])
    now = [hit.item for hit in engine.search(query, k=60)]
    assert [hit.item for hit in engine.search(query, k=20, after=first.cursor)] == now[19:39]


def test_the_last_page_has_no_cursor(engine: ps.Engine) -> None:
    query = ps.Query(image=PICTURE)
    assert engine.search(query, k=COUNT).cursor is None
    assert engine.search(query, k=COUNT - 1).cursor is not None
    assert engine.search(query, k=5, where={"label": "none"}).cursor is None
    assert engine.search(query, k=5, mmr=0.5).cursor is None
    assert [one.cursor for one in engine.search([query, query], k=5)] == [None, None]


def test_a_page_may_have_another_length_and_vectors(engine: ps.Engine) -> None:
    query = ps.Query(image=PICTURE)
    whole = engine.search(query, k=30)
    page = engine.search(query, k=23, after=engine.search(query, k=7).cursor, vectors=True)
    assert [hit.item for hit in page] == [hit.item for hit in whole[7:]]
    assert page[0].vectors is not None


def test_a_cursor_continues_the_search_of_its_vector_alone(engine: ps.Engine) -> None:
    first, second = (ps.Query(vector=vector) for vector in np.eye(toy.DIM)[:2])
    cursor, whole = engine.search(first, k=10).cursor, engine.search(first, k=30)
    assert list(engine.search(first, k=20, after=cursor)) == list(whole)[10:]
    with pytest.raises(ps.ArgumentError, match="cursor of another search"):
        engine.search(second, after=cursor)


def test_cursors_that_do_not_fit_are_refused(engine: ps.Engine) -> None:
    query = ps.Query(text="teddy", image=PICTURE)
    cursor = engine.search(query).cursor
    assert cursor is not None
    other = "after is the cursor of another search"
    for asked, options, said in [
        (ps.Query(text="rabbit", image=PICTURE), {}, other),
        (ps.Query(text=("teddy", 0.5), image=PICTURE), {}, other),
        (query, {"where": {"label": "a"}}, other),
        (query, {"fusion": "sum"}, other),
        (query, {"expand": True}, other),
        ([query, query], {}, "after goes on with one query, and there are 2"),
        (query, {"mmr": 0.5}, "so that none follows: leave out after"),
    ]:
        with pytest.raises(ps.ArgumentError, match=said):
            engine.search(asked, after=cursor, **options)
    for bad in ("", "1", cursor[2:], cursor[:-2], f"{cursor}00", "ff" + cursor[2:], "兔子", "g" * len(cursor)):
        with pytest.raises(ps.ArgumentError, match="is no cursor: give the cursor of a page of hits"):
            engine.search(query, after=bad)
    # A place behind all items, and an item that is not there: the score tells where it was.
    far = cursor[:34] + "00" * 4 + "7f000000" + cursor[50:66] + "ff" * 7 + "7f" + cursor[82:]
    assert list(engine.search(query, after=far)) == list(engine.search(query, after=cursor))
    with pytest.raises(ps.ArgumentError, match="is no cursor"):
        engine.search(query, after=cursor[:34] + "ff" * 8 + cursor[50:])
