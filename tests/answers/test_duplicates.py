"""References that are there twice, in four classes, compared with what is computed by hand and by brute force."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps
from plushie_search import _core
from plushie_search.answers.fingerprint import fingerprint, same

DIM = 16
Vectors = NDArray[np.float32]


class Grays:
    """An encoder whose vector is the brightness of 4 × 4 parts of a picture, which hardly depends on its encoding."""

    name, dim, fingerprint = "grays", DIM, "grays"

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        small = [Image.fromarray(image).convert("L").resize((4, 4), Image.Resampling.BOX) for image in images]
        return np.stack([np.asarray(one, np.float32).ravel() + 1 for one in small])


def plush(seed: int) -> NDArray[np.uint8]:
    return _core.Plush(seed).render(size=256, scene="studio")


def encoded(picture: NDArray[np.uint8], side: int = 256, **how: Any) -> bytes:
    """A picture as a file: by default a JPEG of its own size."""
    file = io.BytesIO()
    Image.fromarray(picture).resize((side, side)).save(file, how.pop("format", "JPEG"), **how)
    return file.getvalue()


def unit(rows: NDArray[Any]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[ps.Engine]:
    """Two toys with several photos, of which some are the same one."""
    with ps.Engine(tmp_path / "c", model=Grays(), threads=2) as engine:
        first, second = plush(1), plush(2)
        file = encoded(first)
        engine.add("bear", images=[file, encoded(first, 128, quality=60)], names=["whole.jpg", "small.jpg"])
        engine.add("copy", images=[file], names=["copied.jpg"], label="toy")
        engine.add("again", images=[encoded(first, 200, format="PNG")], names=["again.png"])
        engine.add("cat", images=[encoded(second)], names=["cat.jpg"])
        yield engine


def pairs(found: ps.Duplicates, kind: Any) -> list[tuple[str, str]]:
    return [(one.first.reference, one.second.reference) for one in found.of(kind)]


def test_one_file_and_one_picture_are_told_apart(photos: ps.Engine) -> None:
    found = photos.duplicates()
    assert pairs(found, "same bytes") == [("whole.jpg", "copied.jpg")]
    together = {frozenset(pair) for pair in pairs(found, "same picture")}
    assert frozenset(("whole.jpg", "small.jpg")) in together
    assert any("again.png" in pair for pair in together)
    assert all("cat.jpg" not in pair for pair in together)
    # Items that share a picture are not listed again as look-alikes.
    names = {frozenset((one.first.item, one.second.item)) for one in found.of("look-alike")}
    assert not names & {frozenset(pair) for pair in (("bear", "copy"), ("bear", "again"))}
    first = found.of("same bytes")[0]
    assert (first.first.item, first.second.item, first.second.label, first.similarity) == ("bear", "copy", "toy", 1.0)
    assert first.first.digest == first.second.digest == _core.picture_digest(encoded(plush(1)))


def test_they_show_themselves(photos: ps.Engine) -> None:
    found = photos.duplicates(limit=1)
    assert len(found.of("same picture")) == 1 < found.counts["same picture"]
    assert repr(found).startswith("1 same bytes, ")
    assert "copied.jpg" in repr(found)
    assert found._repr_html_().count("<img") == 2 * len(found)
    [row] = [row for row in found.to_dicts() if row["kind"] == "same bytes"]
    assert row["second"]["reference"] == "copied.jpg"
    assert found == photos.duplicates(limit=1)
    assert len(found[:2]) == 2
    with ps.Engine(Path(photos.path).parent / "empty", dim=4) as empty:
        assert repr(empty.duplicates()) == "0 same bytes, 0 same picture, 0 same item, 0 look-alike"
        assert empty.duplicates()._repr_html_() == "<p>no duplicates</p>"


def test_encodings_of_a_picture_have_one_fingerprint_and_look_alikes_do_not() -> None:
    """Among 20 toys, and 20 that differ from them in one attribute, in the same pose before the same background."""
    forms: list[tuple[int, dict[str, Any]]] = [
        (256, {"quality": 40}),
        (177, {"quality": 40}),
        (100, {"quality": 75}),
        (100, {"format": "PNG"}),
        (64, {"format": "PNG"}),
    ]
    confused = 0
    for seed in range(20):
        whole = fingerprint(encoded(plush(seed), quality=90))
        for side, how in forms:
            assert same(fingerprint(encoded(plush(seed), side, **how))[None], whole[None])[0], (seed, side, how)
        other = fingerprint(encoded(_core.Plush(seed).lookalike(1).render(size=256, scene="studio")))
        confused += bool(same(other[None], whole[None])[0])
    assert confused == 0


def test_another_color_or_shape_is_another_picture() -> None:
    flat = np.full((64, 64, 3), (200, 40, 40), np.uint8)
    red, blue = fingerprint(encoded(flat, format="PNG")), fingerprint(encoded(flat[..., ::-1], format="PNG"))
    assert (red["cells"] == (200, 40, 40)).all()
    wide = fingerprint(encoded_wide(flat))
    assert same(np.stack([red, red, red]), np.stack([red, blue, wide])).tolist() == [True, False, False]


def encoded_wide(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).resize((64, 48)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ps.Engine, Vectors, list[int]]]:
    """300 items of one to three references, without pictures; each tenth has one that is like it."""
    dice = np.random.default_rng(5)
    items = [item for item in range(300) for _ in range(1 + item % 3)]
    centers = dice.normal(size=(300, DIM))
    centers[1::10] = centers[::10] + dice.normal(size=(30, DIM)) * 0.2
    rows = unit(centers[items] + dice.normal(size=(len(items), DIM)) * 0.3)
    with ps.Engine(tmp_path_factory.mktemp("duplicates") / "c", dim=DIM) as engine:
        engine.add_vectors([f"i{item}" for item in items], rows, references=[str(row) for row in range(len(rows))])
        yield engine, rows, items


def several(items: list[int]) -> list[int]:
    """The rows of items that have two references or more."""
    return [row for row, item in enumerate(items) if items.count(item) > 1]


def test_look_alikes_are_those_of_brute_force(vectors: tuple[ps.Engine, Vectors, list[int]]) -> None:
    engine, rows, items = vectors
    cosines = rows @ rows.T
    best: dict[tuple[int, int], float] = {}
    for a in range(len(rows)):
        for b in range(a + 1, len(rows)):
            if items[a] != items[b]:
                pair = (items[a], items[b])
                best[pair] = max(best.get(pair, -1.0), float(cosines[a, b]))
    # As near as three of four references are to their item.
    own = [max(cosines[a, b] for b in range(len(rows)) if items[a] == items[b] and a != b) for a in several(items)]
    least = np.quantile(own, 0.25)
    wanted = [one for one in sorted(best.items(), key=lambda one: -one[1]) if one[1] >= least]
    assert 5 < len(wanted) < len(best) / 10
    found = engine.duplicates(limit=None).of("look-alike")
    assert [(one.first.item, one.second.item) for one in found] == [(f"i{a}", f"i{b}") for (a, b), _ in wanted]
    assert [one.similarity for one in found] == pytest.approx([score for _, score in wanted], abs=1e-5)


def test_near_references_of_an_item_are_those_of_brute_force(vectors: tuple[ps.Engine, Vectors, list[int]]) -> None:
    engine, rows, items = vectors
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    cosines[np.array(items)[:, None] != np.array(items)] = -1
    nearest = {
        tuple(sorted((row, int(np.argmax(cosines[row]))))) for row in range(len(rows)) if cosines[row].max() > 0.9
    }
    found = engine.duplicates(near=0.9, limit=None)
    assert {tuple(map(int, pair)) for pair in pairs(found, "same item")} == nearest
    scores = [one.similarity for one in found.of("same item")]
    assert scores == sorted(scores, reverse=True)
    assert found.counts["same item"] == len(nearest) > 0


def test_a_filter_leaves_items_out(vectors: tuple[ps.Engine, Vectors, list[int]]) -> None:
    engine, _, _ = vectors
    where = {"id": {"$in": ["i1", "i2", "i5"]}}
    found = engine.duplicates(where=where, limit=None, near=-1.0)
    assert {one.first.item for one in found} | {one.second.item for one in found} == {"i1", "i2", "i5"}
    assert {kind: count for kind, count in found.counts.items() if count} == {"same item": 5}
    assert engine.duplicates(where={"id": "i0"}).counts["look-alike"] == 0


def test_without_items_of_two_references_the_nearest_twentieth_are_look_alikes(tmp_path: Path) -> None:
    rows = unit(np.random.default_rng(2).normal(size=(40, 4)))
    with ps.Engine(tmp_path / "c", dim=4) as engine:
        engine.add_vectors([str(row) for row in range(40)], rows, references=map(str, range(40)))
        found = engine.duplicates(limit=None)
    cosines = rows @ rows.T - 2 * np.eye(40)
    least = np.quantile(cosines.max(axis=1), 0.95)
    wanted = {(a, b) for a in range(40) for b in range(a + 1, 40) if cosines[a, b] >= least}
    assert {tuple(map(int, pair)) for pair in pairs(found, "look-alike")} == wanted
    assert wanted


def test_equal_vectors_without_pictures_are_one_picture(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", dim=4) as engine:
        rows = unit(np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0.2], [0, 1, 0, 0]]))
        digests = [character * 64 for character in "abcd"]
        engine.add_vectors(["a", "b", "c", "c"], rows, references=["1", "2", "3", "4"], digests=digests)
        found = engine.duplicates()
        assert pairs(found, "same picture") == [("1", "2")]
        assert pairs(found, "same item") == [("3", "4")]
        assert found.counts["same bytes"] == 0
        engine.add_vectors(["d"], rows[3:], references=["5"], digests=digests[3:])
        assert pairs(engine.duplicates(), "same bytes") == [("4", "5")]


def test_many_copies_of_a_file_are_paired_with_the_first(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", dim=2) as engine:
        engine.add_vectors([str(item) for item in range(20)], np.ones((20, 2)), references=map(str, range(20)))
        assert pairs(engine.duplicates(), "same bytes") == [("0", str(item)) for item in range(1, 20)]


@pytest.mark.parametrize("options", [{"near": 2.0}, {"near": float("nan")}, {"limit": 0}, {"model": "none"}])
def test_bad_input_is_refused(vectors: tuple[ps.Engine, Vectors, list[int]], options: Any) -> None:
    with pytest.raises(ps.ArgumentError):
        vectors[0].duplicates(**options)


def test_no_model_is_needed(vectors: tuple[ps.Engine, Vectors, list[int]], tmp_path: Path) -> None:
    with ps.Engine(vectors[0].path, model=[]) as engine:
        assert engine.duplicates(limit=9) == vectors[0].duplicates(limit=9)
