"""Hits as tables, picture grids, dicts and data frames."""

import copy
import json
import pickle
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plushie_search import Hit, Item, Query, Reference, Report, Results
from plushie_search.results import Batch, Items
from plushie_search.show.grid import picture_grid
from plushie_search.show.table import columns, printable, table

HITS = [
    Hit(1, "bear-1", 0.9125, reference="photos/bear-1/a.jpg", label="bear", metadata={"price": 12.5}),
    Hit(2, "小熊-001", 0.5, reference="photos/小熊-001/1.jpg", label="熊"),
    Hit(3, "cat", -0.25, reference="cat.jpg", scores={"toy": -0.5, "eye": 0.25}, text="a cat", digest="0a" * 32),
]
EVIL = "<img src=x onerror=alert(1)>\"'&"


def test_results_are_a_sequence_of_hits() -> None:
    results = Results(HITS, query="a bear")
    assert results[0] == Hit(
        1, "bear-1", 0.9125, reference="photos/bear-1/a.jpg", label="bear", metadata={"price": 12.5}
    )
    assert results[-1].rank == 3
    assert [hit.item for hit in results] == ["bear-1", "小熊-001", "cat"]
    assert len(results) == 3
    assert results[1] in results
    with pytest.raises(IndexError):
        results[3]


def test_a_slice_keeps_ranks_and_query() -> None:
    later = Results(HITS, query="a bear")[1:]
    assert isinstance(later, Results)
    assert later.query == "a bear"
    assert [hit.rank for hit in later] == [2, 3]
    assert [hit.rank for hit in later[::-1]] == [3, 2]


def test_results_compare_by_their_hits() -> None:
    assert Results(HITS, query="a") == Results(list(HITS), query="b")
    assert Results(HITS) != Results(HITS[:2])
    assert Results(HITS) != HITS


def test_table_of_hits() -> None:
    assert repr(Results(HITS, query="a bear")) == (
        "3 hits for 'a bear'\n"
        "#  item      score   label  reference\n"
        "1  bear-1    0.912   bear   photos/bear-1/a.jpg\n"
        "2  小熊-001  0.500   熊     photos/小熊-001/1.jpg\n"
        "3  cat       -0.250         cat.jpg"
    )


@pytest.mark.parametrize(
    ("query", "head"),
    [
        (None, "0 hits"),
        ("粉色兔子", "0 hits for '粉色兔子'"),
        (Path("a/b.jpg"), "0 hits for 'a/b.jpg'"),
        (np.zeros((2, 2, 3)), "0 hits for <ndarray>"),
        ("x" * 70, f"0 hits for '{'x' * 59}…'"),
    ],
)
def test_heading_names_the_query(query: object, head: str) -> None:
    assert repr(Results([], query=query)) == head


@pytest.mark.parametrize(("text", "width"), [("bear", 4), ("熊", 2), ("ｶ", 1), ("e\u0301", 1), ("", 0), ("🧸", 2)])
def test_columns_of_a_terminal(text: str, width: int) -> None:
    assert columns(text) == width


def test_table_cuts_wide_cells() -> None:
    lines = table(["a", "b"], [("熊" * 100, "x")]).splitlines()
    assert {columns(line) for line in lines[1:]} == {43 + 2 + 1}
    assert lines[1] == "熊" * 21 + "…  x"
    long_path = "/home/someone/pictures/" + "folder/" * 10 + "bear.jpg"
    assert "…/folder/folder/folder/folder/bear.jpg" in repr(Results([Hit(1, "bear", 1.0, reference=long_path)]))


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31m\n\u202e\udcff") == "a\\x1b[31m\\n\\u202e\\udcff"
    assert repr(Results([Hit(1, "a\x1b[2J", 1.0, reference="x\ny", label="\t")])).count("\n") == 2


def test_dicts_and_pandas() -> None:
    results = Results(HITS, query="a bear")
    dicts = results.to_dicts()
    assert dicts[0] == {
        "rank": 1,
        "item": "bear-1",
        "score": 0.9125,
        "scores": {},
        "probability": None,
        "matched": [],
        "reference": "photos/bear-1/a.jpg",
        "digest": "00" * 32,
        "view": None,
        "label": "bear",
        "text": None,
        "metadata": {"price": 12.5},
    }
    assert list(dicts[2]["scores"].items()) == [("toy", -0.5), ("eye", 0.25)]
    frame = results.to_pandas()
    assert list(frame["item"]) == ["bear-1", "小熊-001", "cat"]
    assert list(Results([]).to_pandas().columns) == list(frame.columns) == list(dicts[0])


def test_arrow() -> None:
    pytest.importorskip("pyarrow")
    table = Results(HITS).to_arrow()
    assert table.column_names == list(HITS[0].to_dict()) == Results([]).to_arrow().column_names
    assert table.schema == Results([]).to_arrow().schema
    rows = table.to_pylist()
    assert [row["score"] for row in rows] == [0.9125, 0.5, -0.25]
    assert (rows[0]["metadata"], rows[2]["digest"], rows[2]["text"]) == ('{"price": 12.5}', "0a" * 32, "a cat")
    assert (rows[2]["scores"], rows[1]["label"]) == ([("toy", -0.5), ("eye", 0.25)], "熊")
    with_vectors = Hit(1, "cat", 1.0, scores={"toy": 1.0}, vectors={"toy": np.float32([0.6, 0.8])})
    [row] = Results([with_vectors]).to_arrow().to_pylist()
    assert row["vectors"] == [("toy", pytest.approx([0.6, 0.8]))]


def test_a_hit_is_a_value() -> None:
    cat = HITS[2]
    same = Hit(3, "cat", -0.25, reference="cat.jpg", scores={"toy": -0.5, "eye": 0.25}, text="a cat", digest="0a" * 32)
    assert (cat == same, cat != same, cat == HITS[1], cat == "cat") == (True, False, False, False)
    assert pickle.loads(pickle.dumps(cat)) == copy.deepcopy(cat) == cat
    assert cat.metadata is cat.metadata
    assert repr(Hit(1, "a", 0.5, label="b")) == (
        f"Hit(rank=1, item='a', score=0.5, scores={{}}, probability=None, matched=(), reference='', "
        f"digest='{'00' * 32}', view=None, label='b', text=None, metadata={{}})"
    )
    with pytest.raises(AttributeError):
        cat.rank = 2  # type: ignore[misc]
    with pytest.raises(TypeError, match="unhashable"):
        hash(cat)
    for digest in ("00" * 31, "0g" * 32, "é" * 32):
        with pytest.raises(ValueError, match="give 64 hexadecimal digits"):
            Hit(1, "a", 0.5, digest=digest)


def test_a_hit_may_have_vectors() -> None:
    vectors = {"toy": np.float32([0.6, 0.8]), "eye": np.float32([1, 0, 0])}
    hit = Hit(1, "cat", 0.9, scores={"toy": 0.8, "eye": 1.0}, probability=0.75, vectors=vectors)
    assert hit.vectors is not None
    assert [(name, vector.dtype, vector.tolist()) for name, vector in hit.vectors.items()] == [
        (name, np.float32, vector.tolist()) for name, vector in vectors.items()
    ]
    again = pickle.loads(pickle.dumps(hit))
    assert (again == hit, again.probability) == (True, 0.75)
    assert hit != Hit(1, "cat", 0.9, scores={"toy": 0.8, "eye": 1.0}, probability=0.75)
    assert hit.to_dict()["vectors"] == {name: vector.tolist() for name, vector in vectors.items()}
    assert HITS[0].vectors is None
    with pytest.raises(ValueError, match="vectors needs the models of scores"):
        Hit(1, "cat", 0.9, vectors=vectors)


def test_a_similarity_is_the_probability_or_else_the_cosine() -> None:
    assert Hit(1, "a", 0.4, probability=0.9).similarity == 0.9
    assert [Hit(1, "a", score).similarity for score in (0.4, -0.2, 1.0000001)] == [0.4, 0.0, 1.0]
    # The score of reciprocal ranks is no cosine.
    assert Hit(1, "a", 0.016, scores={"toy": 0.3, "eye": 0.5}).similarity == 0.5
    assert "width:90%" in Results([Hit(1, "a", 0.4, probability=0.9)])._repr_html_()


def test_without_pyarrow_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        Results(HITS).to_arrow()


def test_without_pandas_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        Results(HITS).to_pandas()


class Page(HTMLParser):
    """Collects the tags, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_picture_grid_shows_thumbnails(tmp_path: Path) -> None:
    path = tmp_path / "bär & <bear>.png"
    Image.new("RGB", (640, 320), (200, 30, 40)).save(path)
    page = Page(Results([Hit(1, "bear", 0.75, reference=str(path), metadata={"price": 12.5})], query="q")._repr_html_())
    [image] = page.images
    assert image["alt"] == str(path)
    assert image["src"] is not None
    assert image["src"].startswith("data:image/jpeg;base64,/9j/")
    assert "1. bear" in page.text
    assert "0.750" in page.text
    assert "price: 12.5" in page.text


def test_thumbnails_are_small(tmp_path: Path) -> None:
    from base64 import b64decode
    from io import BytesIO

    path = tmp_path / "bear.png"
    Image.new("RGB", (640, 320), (200, 30, 40)).save(path)
    source = Page(Results([Hit(1, "bear", 0.75, reference=str(path))])._repr_html_()).images[0]["src"]
    assert source is not None
    with Image.open(BytesIO(b64decode(source.partition(",")[2]))) as picture:
        assert picture.size == (200, 100)
        assert np.abs(np.asarray(picture).astype(int) - [200, 30, 40]).max() <= 3


def test_everything_from_the_catalog_is_escaped() -> None:
    html = Results(
        [Hit(1, EVIL, 0.5, reference=EVIL, label="label " + EVIL, metadata={EVIL: EVIL})], query=EVIL
    )._repr_html_()
    page = Page(html)
    assert page.images == []
    assert "script" not in page.tags
    assert page.text.count("onerror=alert(1)") == 6


@pytest.mark.parametrize("name", ["gone.jpg", "array", "a\0b"])
def test_a_picture_that_is_gone_shows_its_name(name: str) -> None:
    page = Page(Results([Hit(1, "bear", 0.5, reference=name)])._repr_html_())
    assert page.images == []
    assert printable(name) in page.text


def test_a_reference_that_is_no_picture_any_more_shows_its_name(tmp_path: Path) -> None:
    path = tmp_path / "fake.jpg"
    path.write_text("not a picture")
    assert Page(Results([Hit(1, "bear", 0.5, reference=str(path))])._repr_html_()).images == []


def test_right_items_are_marked() -> None:
    html = picture_grid(Results(HITS), right=frozenset({"cat"}))
    assert html.count("✓") == 1
    assert "3. cat ✓" in html


def test_items_and_reports_are_values() -> None:
    item = Item("bear", None, None, {}, (Reference("a.jpg", "00" * 32),))
    assert item == Item("bear", None, None, {}, (Reference("a.jpg", "00" * 32),))
    report = Report(1, 2, 0, [("x.jpg", "no picture")])
    assert report.failed[0][1] == "no picture"
    with pytest.raises(AttributeError):
        report.items = 2  # type: ignore[misc]


def column_count(html: str) -> int:
    """The most columns that a grid has."""
    found = re.search(r"max-width:(\d+)px\">", html)
    assert found is not None
    return (int(found[1]) + 12) // (218 + 12)


@pytest.mark.parametrize(
    ("hits", "columns"), [(0, 1), (1, 1), (4, 4), (5, 5), (6, 3), (7, 4), (8, 4), (9, 5), (10, 5), (11, 4), (16, 4)]
)
def test_rows_of_a_grid_are_about_equally_long(hits: int, columns: int) -> None:
    html = picture_grid(Results([Hit(1, "bear", 0.5, reference="bear.jpg")] * hits))
    assert column_count(html) == columns


def test_the_picture_of_a_query_stands_beside_its_hits(tmp_path: Path) -> None:
    path = tmp_path / "query.png"
    Image.new("RGB", (64, 32), (9, 99, 200)).save(path)
    hit = Hit(1, "bear", 0.75, reference="bear.jpg")
    for query, name in (
        (path, str(path)),
        (str(path), str(path)),
        (path.read_bytes(), "<bytes>"),
        (np.zeros((9, 9, 3), np.uint8), "<ndarray>"),
        (Image.new("RGB", (9, 9)), "<Image>"),
        (Query(image=[path, (str(path), 0.5)], text="blue"), str(path)),
    ):
        page = Page(Results([hit], query=query)._repr_html_())
        assert [image["alt"] for image in page.images] == [name] * (2 if isinstance(query, Query) else 1)
    for query in (None, "a bear", "x" * 5000, "vector", tmp_path, Query(text="a bear"), tmp_path / "gone.png"):
        assert Page(Results([hit], query=query)._repr_html_()).images == []


def test_a_heading_mentions_all_parts_of_a_query() -> None:
    query = Query(image=[("a.jpg", 0.6), np.zeros((2, 2, 3))], text=[("blue", 0.4), "hat"])
    assert repr(Results([], query=query)) == "0 hits for 'a.jpg' × 0.6 and <ndarray> and 'blue' × 0.4 and 'hat'"
    query = Query(item=["bear", (8, -0.5)], vector=[1.0, 0.0])
    assert repr(Results([], query=query)) == "0 hits for item 'bear' and item '8' × -0.5 and a vector"


def test_many_results_show_one_below_the_other() -> None:
    batch = Batch([Results(HITS[:1], query="one"), Results(HITS[1:], query="two")])
    page = Page(batch._repr_html_())
    assert "1 hit for 'one'" in page.text
    assert "2 hits for 'two'" in page.text
    assert batch == list(batch)


def test_items_show_their_pictures(tmp_path: Path) -> None:
    path = tmp_path / "bear.png"
    Image.new("RGB", (64, 32), (9, 99, 200)).save(path)
    references = (Reference(str(path), "00" * 32), Reference("gone.jpg", "11" * 32))
    item = Item("bear " + EVIL, "toy", "A text " + EVIL, {"price": 3, "none": None}, references)
    page = Page(item._repr_html_())
    assert [image["alt"] for image in page.images] == [str(path)]
    assert all(text in page.text for text in ("bear", "toy", "A text", "price: 3", "gone.jpg"))
    assert "none" not in page.text
    bare = Item("bare", None, None, {}, ())
    listed = Page(Items([item, bare])._repr_html_())
    assert [image["alt"] for image in listed.images] == [str(path)]
    assert all(text in listed.text for text in ("2 items", "2 references", "0 references", "no picture", "bare"))


def test_reports_show_their_failures() -> None:
    report = Report(1, 3, 2, [("x.jpg", EVIL)], renamed=1, replaced=1, moved=1)
    said = (
        "1 new item, 3 new references, 2 there already, 1 of them by a new name, 1 replaced, 1 moved from other items"
    )
    assert str(report) == f"{said}, 1 failed"
    page = Page(report._repr_html_())
    assert "1 failed" in page.text
    assert "x.jpg" in page.text
    assert "table" not in Page(Report(0, 0, 0, [])._repr_html_()).tags


def test_everything_has_a_form_for_json() -> None:
    item = Item("bear", None, "A bear", {"price": 3}, (Reference("a.jpg", "00" * 32),))
    hit = Hit(1, "bear", 0.5, reference="a.jpg", metadata={"price": 3}, scores={"toy": 0.5}, digest="00" * 32)
    report = Report(1, 2, 0, [("x.jpg", "no picture")])
    for value, expected in (
        (
            hit,
            {
                "rank": 1,
                "item": "bear",
                "score": 0.5,
                "scores": {"toy": 0.5},
                "probability": None,
                "matched": [],
                "reference": "a.jpg",
                "digest": "00" * 32,
                "view": None,
                "label": None,
                "text": None,
                "metadata": {"price": 3},
            },
        ),
        (
            item,
            {
                "id": "bear",
                "label": None,
                "text": "A bear",
                "metadata": {"price": 3},
                "references": [{"name": "a.jpg", "digest": "00" * 32, "view": None}],
            },
        ),
        (
            report,
            {
                "items": 1,
                "references": 2,
                "duplicates": 0,
                "failed": [["x.jpg", "no picture"]],
                "renamed": 0,
                "replaced": 0,
                "moved": 0,
                "notes": [],
                "removed": 0,
            },
        ),
    ):
        assert value.to_dict() == expected
        assert json.loads(json.dumps(value.to_dict())) == expected
    assert Items([item]).to_dicts() == [item.to_dict()]


def test_a_page_of_hits_is_a_file(tmp_path: Path) -> None:
    html = Results(HITS, query=EVIL).to_html(tmp_path / "hits.html")
    assert (tmp_path / "hits.html").read_text(encoding="utf-8") == html
    page = Page(html)
    assert html.startswith("<!doctype html>")
    assert page.tags.count("figure") == 3
    assert page.text.count("3 hits for") == 2
    assert page.images == []
