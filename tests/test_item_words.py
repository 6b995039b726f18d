"""An item's own words count: what texts find in ids, labels, texts and metadata, beside vectors."""

from __future__ import annotations

import json
import math
import sqlite3
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

import plushie_search as ps
from plushie_search import Query, cli

#: Words decide here whether or not the tiny model knows them.
pytestmark = pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")

#: id, label, text, metadata.
ITEMS: list[tuple[str, str | None, str | None, dict[str, Any]]] = [
    ("Golden-Delicious", "Apple", "a crisp yellow apple", {"brand": "Orchard", "size": {"grams": 180}}),
    ("Red Delicious", "Apple", "a sweet red apple", {"brand": "Kanzi"}),
    ("bear-1", "bear", "a red bear with a blue scarf", {"tags": ["soft", "Orchard"]}),
    ("bear-2", "bear", None, {"color": "red"}),
    ("兔子-1", "兔子", "粉色兔子，戴着红色的围巾", {"颜色": "粉色"}),
    ("café", None, "Crème brûlée for 2", {}),
    ("c++", None, "a language", {}),
    ("C", None, "another language", {}),
    ("🧸", None, None, {}),
]


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        fill(engine)
        yield engine


def fill(engine: ps.Engine) -> None:
    ids, labels, texts, metadata = zip(*ITEMS, strict=True)
    vectors = np.random.default_rng(0).standard_normal((len(ids), toy.DIM))
    engine.add_vectors(list(ids), vectors, labels=list(labels), texts=list(texts), metadata=list(metadata))


def best(engine: ps.Engine, text: str, **options: Any) -> str:
    return engine.search_text(text, k=1, **options)[0].item


def matched(engine: ps.Engine, text: str, **options: Any) -> dict[str, tuple[str, ...]]:
    """The items that words have found, with their fields."""
    return {hit.item: hit.matched for hit in engine.search_text(text, k=999, **options) if hit.matched}


# The order


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("Golden-Delicious", "Golden-Delicious"),
        ("  golden delicious\n", "Golden-Delicious"),
        ("ＲＥＤ　ＤＥＬＩＣＩＯＵＳ", "Red Delicious"),
        ("a sweet red apple", "Red Delicious"),
        ("粉色兔子，戴着红色的围巾", "兔子-1"),
        ("兔子", "兔子-1"),
        ("CAFE\u0301", "café"),
        ("C++", "c++"),
        ("c", "C"),
        ("🧸", "🧸"),
    ],
)
def test_an_item_whose_field_is_the_whole_text_comes_first(engine: ps.Engine, text: str, item: str) -> None:
    assert best(engine, text) == item


def test_all_items_of_that_label_come_first_by_their_scores(engine: ps.Engine) -> None:
    plain = [hit.item for hit in engine.search_text("apple", k=99, words=False)]
    found = [hit.item for hit in engine.search_text("apple", k=99)]
    apples = [item for item in plain if item in ("Golden-Delicious", "Red Delicious")]
    assert found[:2] == apples
    assert sorted(found) == sorted(plain)


@pytest.mark.parametrize("asked", ["red bear scarf", "red", "scarf bear"])
def test_others_are_ordered_by_reciprocal_ranks(engine: ps.Engine, asked: str) -> None:
    """Compared with ranks that are computed here: from the scores of vectors, and the words that items have."""
    words = {"red": ["Red Delicious", "bear-1"], "bear": ["bear-1", "bear-2"], "scarf": ["bear-1"]}
    weights = {word: math.log(1 + (len(ITEMS) - len(of) + 0.5) / (len(of) + 0.5)) for word, of in words.items()}
    plain = [hit.item for hit in engine.search_text(asked, k=99, words=False)]
    by_words = {item: sum(weights[w] for w, of in words.items() if w in asked.split() and item in of) for item in plain}
    sums = {}
    for place, item in enumerate(plain, 1):
        score = by_words[item]
        worse = sum(other >= score - 1e-9 for other in by_words.values())
        has_enough = score >= 0.7 * max(by_words.values())
        sums[item] = 1 / (60 + place) + (1 / (60 + worse) if has_enough else 0)
    expected = sorted(plain, key=lambda item: (-sums[item], plain.index(item)))
    hits = engine.search_text(asked, k=99)
    assert [hit.item for hit in hits] == expected
    assert [hit.item for hit in engine.search_text(asked, k=3)] == expected[:3]
    scores = {hit.item: hit.score for hit in engine.search_text(asked, k=99, words=False)}
    assert {hit.item: hit.score for hit in hits} == scores


def test_words_that_many_have_alike_change_no_order(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "many", model=toy_model, threads=1) as engine:
        vectors = np.random.default_rng(1).standard_normal((300, toy.DIM))
        engine.add_vectors([f"toy-{n}" for n in range(300)], vectors, labels=["toy"] * 300)
        plain = engine.search_text("my toy friend", k=50, words=False)
        found = engine.search_text("my toy friend", k=50)
        assert [hit.item for hit in found] == [hit.item for hit in plain]
        assert {hit.matched for hit in found} == {("id", "label")}


def test_an_item_that_vectors_put_last_is_found_by_its_words(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "many", model=toy_model, threads=1) as engine:
        query = engine.encode_texts(["walnut"])[0]
        vectors = np.random.default_rng(1).standard_normal((500, toy.DIM)) + 3 * query
        vectors[321] = -query
        texts = [f"thing {n}" for n in range(500)]
        texts[321] = "the walnut of the catalog"
        engine.add_vectors([str(n) for n in range(500)], vectors, texts=texts)
        first = engine.search_text("walnut")[0]
        assert (first.item, first.matched) == ("321", ("text",))
        assert first.score == pytest.approx(-1, abs=1e-5)
        assert engine.search_text("walnut", min_score=0.0)[0].item != "321"


# What is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("兔子", {"兔子-1": ("id", "label", "text")}),
        ("兔", {"兔子-1": ("id", "label", "text")}),
        ("粉色的兔", {"兔子-1": ("id", "label", "text")}),
        ("围巾", {"兔子-1": ("text",)}),
        ("兔围", {}),
        ("creme brulee", {"café": ("text",)}),
        ("BRÛLÉE", {"café": ("text",)}),
        ("delic", {"Golden-Delicious": ("id",), "Red Delicious": ("id",)}),
        ("delicuous", {"Golden-Delicious": ("id",), "Red Delicious": ("id",)}),
        ("scraf", {"bear-1": ("text",)}),
        ("scarg", {}),
        ("sarf", {}),
        ("languages", {"c++": ("text",), "C": ("text",)}),
        ("orchard", {}),
        ("a the with of", {}),
        ("", None),
    ],
)
def test_words_are_found(engine: ps.Engine, text: str, found: dict[str, tuple[str, ...]] | None) -> None:
    if found is None:
        with pytest.raises(ps.ArgumentError):
            engine.search_text(text)
    else:
        assert matched(engine, text) == found


@pytest.mark.parametrize(
    "text",
    [
        'red" OR "bear',
        "NEAR(red bear)",
        "red AND bear",
        "NOT bear",
        "label:bear",
        "{id label}: bear",
        "^bear",
        "bear*",
        "bear -scarf + 'red",
        '"',
        "(((",
        "; DROP TABLE words --",
        "%_\\",
        "-" * 900,
    ],
)
def test_signs_of_a_text_are_no_commands(engine: ps.Engine, text: str) -> None:
    found = matched(engine, text)
    assert set(found) <= {"bear-1", "bear-2", "Red Delicious"}
    assert len(engine.search_text(text, k=99)) == len(ITEMS)


@pytest.mark.parametrize("text", ["not red", "a toy without a scarf", "不是粉色", "没有围巾的", "no bear"])
def test_what_a_text_denies_is_not_brought_forward(engine: ps.Engine, text: str) -> None:
    plain = [hit.item for hit in engine.search_text(text, k=99, words=False)]
    assert [hit.item for hit in engine.search_text(text, k=99)] == plain
    assert matched(engine, text) == {}


def test_a_text_may_deny_one_thing_and_ask_for_another(engine: ps.Engine) -> None:
    assert matched(engine, "a bear without an apple") == {"bear-1": ("id", "label", "text"), "bear-2": ("id", "label")}
    assert set(matched(engine, "没有苹果的兔子")) == {"兔子-1"}


# Fields and queries


def test_fields_are_chosen(engine: ps.Engine) -> None:
    assert matched(engine, "red", words=["id"]) == {"Red Delicious": ("id",)}
    assert matched(engine, "red", words="text") == {"Red Delicious": ("text",), "bear-1": ("text",)}
    assert matched(engine, "orchard", words=["brand"]) == {"Golden-Delicious": ("brand",)}
    fields = {"Golden-Delicious": ("brand",), "bear-1": ("tags",)}
    assert matched(engine, "orchard", words=["brand", "tags", "label"]) == fields
    assert matched(engine, "180", words=["size.grams"]) == {"Golden-Delicious": ("size.grams",)}
    assert matched(engine, "180", words=["size"]) == {"Golden-Delicious": ("size",)}
    assert matched(engine, "粉色", words=["颜色"]) == {"兔子-1": ("颜色",)}
    assert matched(engine, "red", words=["no such key"]) == {}
    assert best(engine, "bear-1", words=["label"]) != "c"
    for bad in ([], [""], ["a..b"], ["x"] * 33):
        with pytest.raises(ps.ArgumentError, match="words: "):
            engine.search_text("red", words=bad)
    with pytest.raises(TypeError, match="words takes True, False, or a list"):
        engine.search_text("red", words=3)  # type: ignore[arg-type]


def test_without_words_vectors_alone_answer(engine: ps.Engine) -> None:
    query = engine.encode_texts(["red bear"])
    by_vector = engine.search_vector(query[0], k=99)
    by_text = engine.search_text("red bear", k=99, words=False)
    assert [hit.to_dict() for hit in by_text] == [hit.to_dict() for hit in by_vector]
    assert all(hit.matched == () for hit in by_text)


def test_texts_beside_pictures_count_if_asked(engine: ps.Engine) -> None:
    picture = np.full((8, 8, 3), 90, np.uint8)
    hybrid = Query(image=picture, text="Golden-Delicious")
    plain = engine.search(hybrid, k=99, words=False)
    assert engine.search(hybrid, k=99) == plain
    assert engine.search_hybrid(picture, "red", k=99) == engine.search_hybrid(picture, "red", k=99, words=False)
    found = engine.search(hybrid, k=99, words=True)
    assert found[0].item == "Golden-Delicious"
    assert found[0].matched == ("id",)
    both = engine.search([hybrid, Query(text="c++"), Query(image=picture)], k=99, words=True)
    assert [hits[0].item for hits in both[:2]] == ["Golden-Delicious", "c++"]
    assert both[2] == engine.search_image(picture, k=99)
    more = engine.search(Query(item="bear-1", text="bear"), k=99, words=True)
    assert "bear-1" not in [hit.item for hit in more]
    assert more[0].item == "bear-2"


def test_negative_parts_are_no_words_to_look_for(engine: ps.Engine) -> None:
    hits = engine.search(Query(text=[("bear", 1.0), ("scarf", -0.5)]), k=99)
    assert {hit.item: hit.matched for hit in hits if hit.matched} == matched(engine, "bear")
    assert all(hit.matched == () for hit in engine.search(Query(text=[("bear", -1.0)])))


def test_filters_and_k_hold(engine: ps.Engine) -> None:
    where = {"label": "Apple"}
    for text in ("bear-1", "red bear", "Red Delicious"):
        hits = engine.search_text(text, k=99, where=where)
        assert {hit.item for hit in hits} == {"Golden-Delicious", "Red Delicious"}
        assert [hit.rank for hit in hits] == [1, 2]
        assert len(engine.search_text(text, k=1, where=where)) == 1
    assert len(engine.search_text("apple", k=1)) == 1
    assert engine.search_text("bear", where={"label": "none"}) == ps.Results([])


def test_a_batch_answers_as_its_queries_alone(engine: ps.Engine) -> None:
    texts = ["c++", "red bear", "of the", "兔子", "nothing"]
    for together, text in zip(engine.search_text(texts, k=4), texts, strict=True):
        alone = engine.search_text(text, k=4)
        assert [(hit.item, hit.matched) for hit in together] == [(hit.item, hit.matched) for hit in alone]
        assert [hit.score for hit in together] == pytest.approx([hit.score for hit in alone], abs=1e-6)


@pytest.mark.parametrize("fusion", ["sum", "rrf"])
@pytest.mark.parametrize("aggregate", ["max", "mean", "softmax"])
def test_other_scores_stay_as_they_are(engine: ps.Engine, fusion: Any, aggregate: Any) -> None:
    engine.add_vectors(["bear-2", "c++"], np.eye(toy.DIM)[:2])
    how: Any = {"fusion": fusion, "aggregate": aggregate, "k": 99}
    scores = {hit.item: (hit.score, hit.reference) for hit in engine.search_text("red bear", words=False, **how)}
    hits = engine.search_text("red bear", **how)
    assert {hit.item: (hit.score, hit.reference) for hit in hits} == scores
    assert hits[0].matched


def test_the_command_line_chooses(engine: ps.Engine, toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def first(*options: str) -> tuple[str, list[str]]:
        assert cli.main(["search", engine.path, "--model", str(toy_model), "--json", "-k", "1", *options]) == 0
        (hit,) = json.loads(capsys.readouterr().out)
        return hit["item"], hit["matched"]

    assert first("--text", "c++") == ("c++", ["id"])
    assert first("--text", "orchard", "--words-in", "brand", "--words-in", "id") == ("Golden-Delicious", ["brand"])
    assert first("--text", "c++", "--no-words")[1] == []
    picture = tmp_picture(Path(engine.path))
    assert first(picture, "--text", "c++")[1] == []
    assert first(picture, "--text", "c++", "--words") == ("c++", ["id"])
    assert cli.main(["search", engine.path, "--text", "a", "--no-words", "--words-in", "id"]) != 0
    assert "leave out --words-in" in capsys.readouterr().err


def tmp_picture(folder: Path) -> str:
    path = folder.parent / "picture.png"
    path.write_bytes(ps._core.picture_file(np.full((8, 8, 3), 90, np.uint8))[1])
    return str(path)


# No text tower


def test_words_alone_answer_where_no_model_reads(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "catalog", dim=toy.DIM) as engine:
        fill(engine)
        hits = engine.search_text("red bear", k=9)
        # The one that has both, then those that have one of the two, which equally many have.
        assert [hit.item for hit in hits] == ["bear-1", "Red Delicious", "bear-2"]
        assert [(hit.score, hit.scores) for hit in hits] == [(0.0, {})] * 3
        assert hits[0].reference
        assert hits[0].text == "a red bear with a blue scarf"
        assert hits.warnings == ("no model of this catalog reads texts: these hits were found by the items' own words",)
        assert [hit.item for hit in engine.search_text("apple", k=1)] == ["Golden-Delicious"]
        assert [hit.item for hit in engine.search_text("red bear", where={"label": "bear"})] == ["bear-1", "bear-2"]
        assert len(engine.search_text("walnut")) == 0
        assert len(engine.search_text("bear", min_score=0.1)) == 0
        mixed = engine.search([Query(text="c++"), Query(vector=np.ones(toy.DIM)), Query(text="C")])
        assert [mixed[0][0].item, mixed[2][0].item] == ["c++", "C"]
        assert mixed[1] == engine.search_vector(np.ones(toy.DIM))
        with pytest.raises(ps.ModelError):
            engine.search_text("red bear", words=False)
        with pytest.raises(ps.ModelError):
            engine.search(Query(text="bear", item="bear-1"))


# Changes


def test_changes_are_found_at_once(engine: ps.Engine, tmp_path: Path, toy_model: Path) -> None:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as other:
        assert matched(engine, "walnut") == {}
        other.update("bear-1", text="a walnut")
        assert matched(engine, "walnut") == {"bear-1": ("text",)}
        assert "bear-1" not in matched(engine, "scarf")
        other.update("bear-1", text=None, metadata={"wood": "walnut"})
        assert matched(engine, "walnut") == {}
        assert matched(engine, "walnut", words=["wood"]) == {"bear-1": ("wood",)}
        other.add_vectors(["new", "new"], np.eye(toy.DIM)[:2], texts=["walnut", "hazel"])
        assert matched(engine, "hazel") == {"new": ("text",)}
        assert matched(engine, "walnut") == {}
        other.remove("new")
        assert matched(engine, "hazel") == {}
        other.add("new", images=[np.zeros((8, 8, 3), np.uint8)], text="hazel", label="nut")
        assert best(engine, "nut") == "new"
        other.add("new", images=[np.full((8, 8, 3), 9, np.uint8)], upsert=True)
        assert matched(engine, "hazel nut") == {}
        other.remove(where={"label": "bear"})
        assert matched(engine, "bear") == {}
        assert other.verify().ok


def test_a_file_that_moves_takes_its_words_along(toy_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "toys"
    (folder / "old").mkdir(parents=True)
    Path(tmp_picture(tmp_path / "toys")).rename(folder / "old" / "a.png")
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        engine.add_folder(folder)
        engine.update("old", text="walnut")
        (folder / "old").rename(folder / "fresh")
        engine.add_folder(folder)
        assert matched(engine, "walnut") == {"fresh": ("text",)}
        assert matched(engine, "old") == {}
        assert engine.verify().ok


def test_backup_compact_and_reopening_keep_the_index(engine: ps.Engine, tmp_path: Path, toy_model: Path) -> None:
    engine.remove(["bear-1", "c++"])
    expected = [engine.search_text(text) for text in ("red apple", "兔子", "bear")]
    engine.compact()
    assert engine.verify().ok
    engine.backup(tmp_path / "copy")
    for read_only in (False, True):
        with ps.Engine(tmp_path / "copy", model=toy_model, threads=1, read_only=read_only) as copy:
            assert [copy.search_text(text) for text in ("red apple", "兔子", "bear")] == expected
            assert copy.verify().ok
    assert [engine.search_text(text) for text in ("red apple", "兔子", "bear")] == expected


def test_a_failed_change_leaves_the_index_as_it_is(engine: ps.Engine) -> None:
    with pytest.raises(KeyError):
        engine.remove(["bear-1", "nobody"])
    assert "bear-1" in matched(engine, "scarf")
    assert engine.verify().ok


def test_an_index_that_lacks_an_item_is_told_and_made_anew(engine: ps.Engine, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "catalog" / "catalog.sqlite") as connection:
        connection.execute("UPDATE items SET label = 'walnut' WHERE id = 'bear-1'")
        connection.execute("DELETE FROM items WHERE id = 'c++'")
    connection.close()
    problems = {(one.item, one.problem.partition(":")[0]) for one in engine.verify().problems}
    assert ("bear-1", "its words are not in the index of words") in problems
    assert (None, "the index of words has items that are gone") in problems
    engine.compact()
    assert not any("index of words" in one.problem for one in engine.verify().problems)
    assert best(engine, "walnut") == "bear-1"


# Many items, against a reference


def reference_terms(text: str) -> set[str]:
    """The terms of a text, computed in another way: character by character, with sets of pairs."""
    text = unicodedata.normalize("NFKD", text).casefold()
    text = unicodedata.normalize("NFC", "".join(c for c in text if not "\u0300" <= c <= "\u036f"))
    dense = {n for n, c in enumerate(text) if "\u4e00" <= c <= "\u9fff"}
    spaced = "".join(c if c.isalnum() and n not in dense else " " for n, c in enumerate(text))
    pairs = {text[n : n + 2] for n in dense if n + 1 in dense}
    return set(spaced.split()) | {text[n] for n in dense} | pairs


def test_words_find_what_a_search_through_all_texts_finds(toy_model: Path, tmp_path: Path) -> None:
    dice = np.random.default_rng(5)
    syllables = ["ba", "ri", "Tó", "mü", "ne", "兔", "熊", "红", "色", " ", " ", "-", "の", "7"]
    texts = ["".join(dice.choice(syllables, dice.integers(1, 9))) for _ in range(400)]
    with ps.Engine(tmp_path / "many", model=toy_model, threads=1) as engine:
        vectors = dice.standard_normal((len(texts), toy.DIM))
        engine.add_vectors([str(1000 + n) for n in range(len(texts))], vectors, texts=texts)
        for query in ["兔子", "熊", "红色", "兔熊", "bari", "7", "tomu"]:
            asked = reference_terms(query)
            wanted = asked if len(asked) == 1 else {term for term in asked if len(term) > 1 or term.isascii()}
            expected = {
                str(1000 + n) for n, text in enumerate(texts) if wanted & reference_terms(text.replace("の", " "))
            }
            found = {item for item, fields in matched(engine, query, words=["text"]).items() if fields}
            if expected:
                assert found == expected, query
        engine.remove([str(1000 + n) for n in range(0, 400, 2)])
        assert engine.verify().ok
