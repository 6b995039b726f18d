"""The second look of `identify`, and the middles of references, against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pixels import Pixels, Vectors, pixel

import plushie_search as ps
from plushie_search.hub import as_encoder

DIM, ITEMS, REFERENCES = 48, 120, 3


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def views() -> Vectors:
    """Pictures of items that differ along four directions alone, by less along each than along the one before."""
    dice = np.random.default_rng(5)
    basis = np.linalg.qr(dice.normal(size=(DIM, DIM)))[0]
    centers = dice.normal(size=(ITEMS, 1, DIM - 4)) @ basis[4:]
    light = dice.normal(size=(ITEMS, REFERENCES + 1, 4)) * [1.0, 0.4, 0.16, 0.064]
    return unit(0.8 * unit(centers) + 0.6 * unit(light) @ basis[:4]).astype(np.float32)


def filled(engine: ps.Engine, views: Vectors) -> None:
    ids = [f"item-{item}" for item in range(len(views)) for _ in range(REFERENCES)]
    engine.add_vectors(ids, views[:, :REFERENCES].reshape(-1, DIM))


def expected(references: Vectors, queries: Vectors) -> NDArray[np.float64]:
    """The scores of items, of shape (queries, items), before they are put on the scale of cosines."""
    apart = (references - references.mean(1, keepdims=True)).reshape(-1, DIM).astype(np.float64)
    values, vectors = np.linalg.eigh(apart.T @ apart / (len(references) * (REFERENCES - 1)))
    values, vectors = values[::-1][:12].clip(0), vectors[:, ::-1][:, :12]
    mean = np.trace(apart.T @ apart) / (len(references) * (REFERENCES - 1)) / DIM
    metric = np.eye(DIM) - (vectors * (1 - np.sqrt(mean / (values + mean)))) @ vectors.T
    seen, asked = unit(references @ metric), unit(queries @ metric)
    best = np.einsum("qd,ird->qir", asked, seen).max(2)
    return (best + asked @ unit(seen.sum(1)).T) / 2


def test_a_second_look_scores_items_as_numpy_does(views: Vectors, tmp_path: Path) -> None:
    queries = views[:, REFERENCES]
    with ps.Engine(tmp_path / "c", model=Pixels(queries)) as engine:
        filled(engine, views)
        assert engine.stats()["calibration"] == []
        pictures = [pixel(number) for number in range(ITEMS)]
        found = engine.identify(pictures, k=5)
        assert engine.stats()["calibration"][0]["second_look"]
        scores = expected(views[:, :REFERENCES], queries)
        plain = engine.search_image(pictures, k=50)
        right = np.mean([one.hits[0].item == f"item-{number}" for number, one in enumerate(found)])
        assert right > np.mean([hits[0].item == f"item-{number}" for number, hits in enumerate(plain)]) + 0.05
        ours, theirs = [], []
        for number, (one, hits) in enumerate(zip(found, plain, strict=True)):
            best = np.sort([scores[number, int(hit.item[5:])] for hit in hits])[::-1][:5]
            # Where two are as good to three digits, either may come first.
            assert np.abs(best - [scores[number, int(hit.item[5:])] for hit in one.hits]).max() < 2e-3
            ours += [hit.score for hit in one.hits]
            theirs += best.tolist()
            cosines = engine.vectors(one.hits[0].item) @ queries[number]
            assert np.abs(cosines - one.hits[0].scores["pixels"]).min() < 1e-5
            assert one.margin == pytest.approx(one.hits[0].score - one.hits[1].score, abs=1e-6)
        factor, offset = np.polyfit(theirs, ours, 1)
        assert factor > 0
        assert np.abs(np.polyval([factor, offset], theirs) - ours).max() < 2e-3


def test_verdicts_follow_the_scores_that_were_calibrated(views: Vectors, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=Pixels(views[:, REFERENCES])) as engine:
        filled(engine, views)
        made = engine.calibrate()
        assert made.second_look
        found = engine.identify([pixel(number) for number in range(ITEMS)])
        assert found[0].threshold == made.threshold
        matched = [one.verdict != "unknown" for one in found]
        assert matched == [one.strength is not None and one.strength >= one.threshold for one in found]


def test_a_stored_picture_keeps_its_cosine(views: Vectors, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=Pixels(views[:, 0])) as engine:
        filled(engine, views)
        found = engine.identify(pixel(7))
        assert (found.verdict, found.item) == ("match", "item-7")
        assert found.hits[0].score == pytest.approx(1, abs=1e-5)


def test_labeled_queries_are_looked_at_twice_and_kept(views: Vectors, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=Pixels(views[:, REFERENCES])) as engine:
        filled(engine, views[:100])
        made = engine.calibrate([(pixel(n), f"item-{n}" if n < 100 else None) for n in range(60, 120)])
        assert (made.second_look, made.queries) == (True, 60)
        answers = engine.identify([pixel(number) for number in range(100)])
    with ps.Engine(tmp_path / "c", model=Pixels(views[:, REFERENCES])) as engine:
        again = engine.identify([pixel(number) for number in range(100)])
        assert [(one.item, one.threshold) for one in again] == [(one.item, one.threshold) for one in answers]
        assert [one.hits[0].score for one in again] == [one.hits[0].score for one in answers]
        engine.remove([f"item-{number}" for number in range(40)])
        assert engine.search_image(pixel(70))[0].probability is not None
        assert engine.identify(pixel(70)).hits[0].item == "item-70"
        [row] = engine.stats()["calibration"]
        assert (row["second_look"], row["queries"], row["impostors"]) == (True, 60, 240)


def test_cosines_are_left_as_they_are_where_a_second_look_tells_no_more(tmp_path: Path) -> None:
    """Pictures of one item differ alike along all directions, or there is one of each."""
    dice = np.random.default_rng(1)
    centers = unit(dice.normal(size=(100, 1, DIM)))
    views = unit(centers + 0.02 * dice.normal(size=(100, 4, DIM))).astype(np.float32)
    for references in (1, 3):
        with ps.Engine(tmp_path / f"{references}", model=Pixels(views[:, 3])) as engine:
            ids = [f"item-{item}" for item in range(100) for _ in range(references)]
            engine.add_vectors(ids, views[:, :references].reshape(-1, DIM))
            assert not engine.calibrate().second_look
            found, plain = engine.identify(pixel(3)), engine.search_image(pixel(3))
            assert [(hit.item, hit.score) for hit in found.hits] == [(hit.item, hit.score) for hit in plain][:5]


def test_a_picture_has_the_mean_vector_of_its_middles(toy_model: Path, tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    picture = (dice.integers(0, 255, (6, 8, 3)).repeat(16, 0).repeat(16, 1)).astype(np.uint8)
    encoder = as_encoder(str(toy_model), threads=1)
    parts = [picture, picture[12:84, 16:112], picture[24:72, 32:96]]
    mean = unit(sum(encoder.encode_images([part])[0] for part in parts))
    with ps.Engine(tmp_path / "c", model=encoder, crops=True) as engine:
        engine.add("one", images=picture)
        assert engine.stats()["crops"] is True
        assert engine.vectors("one")[0] @ mean > 0.9999
        # Queries are whole.
        assert engine.encode_images(picture)[0] @ encoder.encode_images([picture])[0] == pytest.approx(1, abs=1e-5)
        hit = engine.search_image(picture)[0]
        assert hit.score == pytest.approx(float(mean @ encoder.encode_images([picture])[0]), abs=1e-3)
    with ps.Engine(tmp_path / "c", model=encoder) as engine:
        assert engine.stats()["crops"] is True
        engine.add("two", images=picture[:, ::-1])
        parts = [part[:, ::-1] for part in parts]
        mean = unit(sum(encoder.encode_images([np.ascontiguousarray(part)])[0] for part in parts))
        assert engine.vectors("two")[0] @ mean > 0.9999
    with ps.Engine(tmp_path / "c", model=encoder, crops=False) as engine:
        engine.add("three", images=picture)
        assert engine.vectors("three")[0] @ encoder.encode_images([picture])[0] == pytest.approx(1, abs=1e-5)
    with ps.Engine(tmp_path / "c", model=encoder) as engine:
        assert engine.stats()["crops"] is False


def test_the_middles_of_a_query_count_if_they_are_asked_for(toy_model: Path, tmp_path: Path) -> None:
    dice = np.random.default_rng(4)
    picture = (dice.integers(0, 255, (6, 8, 3)).repeat(16, 0).repeat(16, 1)).astype(np.uint8)
    encoder = as_encoder(str(toy_model), threads=1)
    whole = encoder.encode_images([picture])[0]
    mean = unit(
        sum(encoder.encode_images([part])[0] for part in (picture, picture[12:84, 16:112], picture[24:72, 32:96]))
    )
    expected = float(mean @ whole)
    assert expected < 0.999
    with ps.Engine(tmp_path / "c", model=encoder) as engine:
        engine.add("one", images=picture)
        # Each is remembered by itself.
        for _ in range(2):
            assert engine.search_image(picture)[0].score == pytest.approx(1, abs=1e-5)
            assert engine.search_image(picture, query_crops=True)[0].score == pytest.approx(expected, abs=1e-3)
        assert engine.identify(picture, query_crops=True).hits[0].score == pytest.approx(expected, abs=1e-3)
        both = engine.search_hybrid(picture, "red", query_crops=True, fusion="sum", image_weight=1 - 1e-6)
        assert both[0].score == pytest.approx(expected, abs=2e-3)
        # It changes nothing for texts.
        assert engine.search_text("red", query_crops=True)[0].score == engine.search_text("red")[0].score


def test_an_encoder_of_your_own_gets_the_middles(tmp_path: Path) -> None:
    class Shade(Pixels):
        """Encodes the mean color of a picture."""

        def encode_images(self, images: Any) -> Vectors:
            return np.stack([np.asarray(image).reshape(-1, 3).mean(0) for image in images]).astype(np.float32)

    picture = np.zeros((40, 40, 3), np.uint8)
    picture[:, :, 0] = 200
    picture[10:30, 10:30] = (0, 0, 200)
    shares = [20**2 / side**2 for side in (40, 30, 20)]
    expected = unit(sum(unit(np.array([1 - share, 0, share])) for share in shares))
    with ps.Engine(tmp_path / "c", model=Shade(np.eye(3, dtype=np.float32)), crops=True) as engine:
        engine.add("one", images=picture)
        assert np.abs(engine.vectors("one")[0] - expected).max() < 1e-5


def test_a_picture_that_cannot_be_used_is_left_out_whole(toy_model: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    with ps.Engine(tmp_path / "c", model=toy_model, crops=True) as engine:
        with pytest.raises(ps.PictureError):
            engine.add("one", images=[np.zeros((9, 9, 3), np.uint8), tmp_path / "bad.jpg"])
        assert len(engine) == 0
        engine.add("tiny", images=np.full((1, 1, 3), 200, np.uint8))
        assert engine.search_image(np.full((1, 1, 3), 200, np.uint8))[0].item == "tiny"
