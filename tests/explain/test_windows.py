"""Maps of windows against numpy, with a network of known weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import toy
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import _core
from plushie_search.answers.explain.regions import find_pairs, find_regions, place_of

SIDE, CELLS = 40, 32
#: The windows along each axis, and their sides as shares of the picture's.
COARSE, FINE = ((5, 0.3), (4, 0.4)), ((9, 0.3),)


def picture() -> NDArray[np.uint8]:
    """Gray with a red square in the upper left and a blue one in the lower right, as large as the model's pictures."""
    pixels = np.full((SIDE, SIDE, 3), 120, np.uint8)
    pixels[4:14, 4:14] = (255, 0, 0)
    pixels[26:38, 26:38] = (0, 0, 255)
    return pixels


def blurred(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Three means in a row along both axes, with the edges repeated."""
    sigma = 0.1 * max(pixels.shape[:2])
    radius = round((np.sqrt(1 + 4 * sigma**2) - 1) / 2)
    levels = pixels.astype(np.float64)
    for _ in range(3):
        for axis in (1, 0):
            padded = np.pad(levels, [(radius, radius) if one == axis else (0, 0) for one in range(3)], mode="edge")
            shifts = [np.take(padded, np.arange(levels.shape[axis]) + at, axis) for at in range(2 * radius + 1)]
            levels = np.mean(shifts, axis=0)
    return np.round(levels).astype(np.uint8)


def vector_of(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The toy network by hand: the means of the channels times the weights."""
    mean, std = np.array(toy.PREPROCESS["mean"]), np.array(toy.PREPROCESS["std"])
    return toy.unit(((pixels / 255 - mean) / std).mean((0, 1)) @ toy.IMAGE_WEIGHTS)


def windows_by_hand(
    pixels: NDArray[np.uint8], target: NDArray[np.float64], count: int, share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the gain of each window of a grid, (n,), and its weight in each cell of the map, (n, h, w)."""
    blur = blurred(pixels)
    base = vector_of(blur) @ target
    centers = (np.arange(CELLS) + 0.5) / CELLS
    length = round(share * SIDE)
    starts = [int((SIDE - length) * at / (count - 1) + 0.5) for at in range(count)]
    gains, covers = [], []
    for top in starts:
        for left in starts:
            sharp = blur.copy()
            sharp[top : top + length, left : left + length] = pixels[top : top + length, left : left + length]
            off = [np.abs(2 * centers - (2 * start + length) / SIDE) * SIDE / length for start in (top, left)]
            y, x = (np.where(one < 1, 1 - one + 1e-6, 0) for one in off)
            covers.append(np.outer(y, x))
            gains.append(vector_of(sharp) @ target - base)
    return np.array(gains), np.array(covers)


def map_by_hand(
    pixels: NDArray[np.uint8],
    target: NDArray[np.float64],
    grids: tuple[tuple[int, float], ...] = COARSE,
    *,
    beyond_average: bool = True,
) -> NDArray[np.float64]:
    sums, weights = np.zeros((CELLS, CELLS)), np.zeros((CELLS, CELLS))
    for grid in grids:
        gains, covers = windows_by_hand(pixels, target, *grid)
        sums += np.tensordot(gains - (gains.mean() if beyond_average else 0), covers, 1)
        weights += covers.sum(axis=0)
    return np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)


def model(folder: Path) -> Path:
    preprocess = {**toy.PREPROCESS, "size": [SIDE, SIDE]}
    image = {"file": "image.onnx", "output": None, "preprocess": preprocess}
    made = toy.write(folder / "model", image=image)
    import onnx

    onnx.save(toy.image_tower(shape=("batch", 3, SIDE, SIDE)), made / "image.onnx")
    return made


@pytest.fixture
def engine(tmp_path: Path) -> ps.Engine:
    engine = ps.Engine(tmp_path / "c", model=str(model(tmp_path)), threads=2)
    red = np.full((SIDE, SIDE, 3), (230, 20, 10), np.uint8)
    blue = np.full((SIDE, SIDE, 3), (10, 20, 230), np.uint8)
    engine.add("red", images=[red], names="red")
    engine.add("blue", images=[blue], names="blue")
    return engine


def test_a_map_is_that_of_numpy(engine: ps.Engine) -> None:
    found = engine.explain(picture(), "red")
    assert found.query is not None
    assert found.matched is not None
    target = engine.vectors("red")[0]
    wanted = map_by_hand(picture(), target)
    assert found.query.map.dtype == np.float32
    np.testing.assert_allclose(found.query.map, wanted, atol=2e-5)
    assert np.ptp(wanted) > 0.03, "the map must not be flat"
    assert found.score == pytest.approx(float(vector_of(picture()) @ target), abs=1e-5)
    assert found.query.regions[0].place == "upper left"
    fine = engine.explain(picture(), "red", detail=2, sides="query")
    assert fine.query is not None
    assert fine.matched is None
    np.testing.assert_allclose(fine.query.map, map_by_hand(picture(), target, FINE), atol=2e-5)
    # A flat reference has nothing that stands out.
    assert np.abs(found.matched.map).max() < 1e-5
    assert found.matched.regions == ()


def test_an_exact_map_is_that_of_numpy(engine: ps.Engine) -> None:
    found = engine.explain(picture(), "red", method="cam")
    target = engine.vectors("red")[0]
    mean, std = np.array(toy.PREPROCESS["mean"]), np.array(toy.PREPROCESS["std"])
    pixels = (picture() / 255 - mean) / std
    length = np.linalg.norm(pixels.mean((0, 1)) @ toy.IMAGE_WEIGHTS)
    shares = pixels @ toy.IMAGE_WEIGHTS @ target / length / SIDE**2
    # How much of each of 40 pixels lies in each of 32 cells.
    start = np.arange(SIDE) * CELLS / SIDE
    cell = np.arange(CELLS)[:, None]
    cover = np.clip(np.minimum(start + CELLS / SIDE, cell + 1) - np.maximum(start, cell), 0, None) * SIDE / CELLS
    assert found.query is not None
    np.testing.assert_allclose(found.query.map, cover @ shares @ cover.T, atol=1e-6)
    assert found.query.rest == pytest.approx(0, abs=1e-6)
    assert found.query.map.sum() == pytest.approx(found.score, abs=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 41])
def test_a_map_does_not_depend_on_the_batch(engine: ps.Engine, tmp_path: Path, batch: int) -> None:
    wanted = engine.explain(picture(), "blue").query
    encoder = ps.open_encoder(tmp_path / "model", threads=1, max_batch=batch)
    with ps.Engine(tmp_path / "c", model=encoder) as other:
        found = other.explain(picture(), "blue").query
    assert wanted is not None
    assert found is not None
    np.testing.assert_array_equal(found.map, wanted.map)


def test_the_runner_up_is_told_by_the_difference(engine: ps.Engine) -> None:
    found = engine.explain(picture(), "red")
    other = found.runner_up
    assert other is not None
    assert other.map is not None
    assert other.item == "blue"
    red, blue = engine.vectors("red")[0], engine.vectors("blue")[0]
    wanted = [map_by_hand(picture(), one, beyond_average=False) for one in (red, blue)]
    np.testing.assert_allclose(other.map, wanted[0] - wanted[1], atol=4e-5)
    assert found.query is not None
    gains = np.concatenate([windows_by_hand(picture(), red, *grid)[0] for grid in COARSE])
    assert found.query.rest == pytest.approx(float(gains.mean()), abs=4e-5)
    assert other.score == pytest.approx(float(vector_of(picture()) @ blue), abs=1e-5)
    engine.remove("blue")
    assert engine.explain(picture(), "red").runner_up is None


def test_words_count_by_leaving_them_out(engine: ps.Engine) -> None:
    found = engine.explain(ps.Query(text="red teddy 熊"), "red")
    assert found.query is None
    assert found.matched is not None
    target = engine.vectors("red")[0]
    whole = float(toy.words_vector(["red", "teddy", "熊"]) @ target)
    parts = {part.word: part.value for part in found.words}
    assert list(parts) == ["red", "teddy", "熊"]
    assert parts["red"] == pytest.approx(whole - float(toy.words_vector(["teddy", "熊"]) @ target), abs=1e-5)
    assert parts["熊"] == pytest.approx(whole - float(toy.words_vector(["red", "teddy"]) @ target), abs=1e-5)
    assert engine.explain(ps.Query(text="red"), "red").words == ()


def test_pictures_of_any_encoder_and_shape(tmp_path: Path) -> None:
    class Colors:
        name, dim, fingerprint, batch = "colors", 3, "colors", 4

        def encode_images(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
            return np.stack([1 + image.mean((0, 1)) for image in images])

    with ps.Engine(tmp_path / "c", model=Colors()) as engine:
        engine.add("a", images=[np.full((10, 40, 3), (255, 0, 0), np.uint8)])
        wide = np.zeros((30, 90, 3), np.uint8)
        wide[:, 60:] = (255, 0, 0)
        found = engine.explain(wide, "a")
        assert found.query is not None
        assert found.query.map.shape == (11, 32)
        assert found.query.map[:, 24:].mean() > 5 * abs(found.query.map[:, :12].mean())
        assert engine.explain(np.zeros((1, 1, 3), np.uint8), "a").query is not None
        with pytest.raises(ps.ModelError, match="windows"):
            engine.explain(wide, "a", method="cam")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"hit": "none"}, KeyError, "none"),
        ({"reference": "lost"}, KeyError, "lost"),
        ({"detail": 3}, ps.ArgumentError, "detail"),
        ({"method": "gradient"}, ps.ArgumentError, "method"),
        ({"sides": "left"}, ps.ArgumentError, "sides"),
        ({"language": "fr"}, ps.ArgumentError, "language"),
        ({"query": b"no picture"}, ps.PictureError, "not a"),
        ({"model": "none"}, ps.ArgumentError, "none"),
    ],
)
def test_bad_input_is_refused(engine: ps.Engine, options: dict[str, object], error: type[Exception], said: str) -> None:
    given = {"query": picture(), "hit": "red", **options}
    with pytest.raises(error, match=said):
        engine.explain(given.pop("query"), given.pop("hit"), **given)  # type: ignore[arg-type]


def test_regions_are_connected_parts_above_half_of_the_maximum() -> None:
    heat = np.zeros((10, 20), np.float32)
    heat[1:3, 2:6] = 1.0
    heat[8:10, 15:20] = 0.6
    heat[5, 10] = 0.4
    heat[0, 0] = -3.0
    first, second = find_regions(heat)
    assert first.box == (0.1, 0.1, 0.3, 0.3)
    assert first.place == "upper left"
    assert second.box == (0.75, 0.8, 1.0, 1.0)
    assert second.place == "lower right"
    total = 8 + 10 * 0.6 + 0.4
    assert (first.share, second.share) == pytest.approx((8 / total, 6 / total))
    assert find_regions(np.full((4, 4), 0.004, np.float32)) == ()
    assert find_regions(np.full((4, 4), -1, np.float32)) == ()
    assert place_of((0.0, 0.0, 1.0, 1.0)) == "whole"
    assert place_of((0.4, 0.4, 0.6, 0.6)) == "center"


def test_pairs_are_mutual_and_apart() -> None:
    boxes = np.array([[0, 0, 0.5, 1], [0.5, 0, 1, 1], [0, 0, 1, 1]], float)
    added = np.array([[1, 0], [0, 2], [0.7, 0.7]], np.float32)
    gains = np.array([0.2, 0.1, -0.1], np.float32)
    other = added[[1, 0, 2]]
    pairs = find_pairs((boxes, added, gains), (boxes, other, np.array([0.1, 0.2, 0.1], np.float32)))
    assert [(pair.query, pair.reference) for pair in pairs] == [
        ((0, 0, 0.5, 1), (0.5, 0, 1, 1)),
        ((0.5, 0, 1, 1), (0, 0, 0.5, 1)),
    ]
    assert pairs[0].similarity == pytest.approx(1)


def test_values_of_windows_are_spread_by_the_core() -> None:
    heat = _core.spread_windows([[0.0, 0.0, 1.0, 1.0]], [0.5], (64, 16))
    assert heat.shape == (8, 32)
    assert np.allclose(heat, 0.5)
