"""`Engine.adapt`: maps and figures against numpy, what is kept, and what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pixels import Pixels, Vectors, pixel

import plushie_search as ps
from plushie_search import cli
from plushie_search.answers import adapt

DIM, ITEMS, REFERENCES, DIRECTIONS = 48, 50, 4, 20


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def views() -> Vectors:
    """Pictures of items that differ along more directions than a calibration weighs down."""
    dice = np.random.default_rng(8)
    basis = np.linalg.qr(dice.normal(size=(DIM, DIM)))[0]
    centers = dice.normal(size=(ITEMS, 1, DIM)) * np.r_[np.full(DIRECTIONS, 0.4), np.ones(DIM - DIRECTIONS)]
    light = dice.normal(size=(ITEMS, REFERENCES + 1, DIM)) * np.r_[np.ones(DIRECTIONS), np.full(DIM - DIRECTIONS, 0.2)]
    return unit((unit(centers) + 2.1 * unit(light)) @ basis).astype(np.float32)


def filled(engine: ps.Engine, views: Vectors) -> None:
    ids = [f"item-{item}" for item in range(len(views)) for _ in range(REFERENCES)]
    engine.add_vectors(ids, views[:, :REFERENCES].reshape(-1, views.shape[-1]))


def whitening(references: Vectors, strength: float, count: int) -> NDArray[np.float64]:
    """The matrix that whitens references of shape (items, references, dim) along so many directions."""
    apart = (references - references.mean(1, keepdims=True)).reshape(-1, references.shape[-1]).astype(np.float64)
    scatter = apart.T @ apart / (len(references) * (references.shape[1] - 1))
    values, vectors = np.linalg.eigh(scatter)
    values, vectors = values[::-1][:count].clip(0), vectors[:, ::-1][:, :count]
    mean = strength * np.trace(scatter) / len(scatter)
    return np.eye(len(scatter)) - (vectors * (1 - np.sqrt(mean / (values + mean)))) @ vectors.T


def ridge(references: Vectors, strength: float) -> NDArray[np.float64]:
    """The matrix that takes references towards the means of the others of their items."""
    rows = references.astype(np.float64)
    count, dim = rows.shape[1], rows.shape[2]
    others = (rows.sum(1, keepdims=True) - rows) / (count - 1)
    rows, others = rows.reshape(-1, dim), others.reshape(-1, dim)
    square = rows.T @ rows
    regular = strength * np.trace(square) / dim * np.eye(dim)
    return np.linalg.solve(square + regular, rows.T @ others + regular)


def matrix(way: Any, references: Vectors) -> NDArray[np.float64]:
    if way.name == "ridge":
        return ridge(references, way.strength)
    dim = references.shape[-1]
    return whitening(references, way.strength, dim // 4 if way.directions == adapt.USUAL else dim // 2)


def scores(references: Vectors, asked: Any, made: Any, best: float) -> Any:
    """The scores of items, of shape (asked, items)."""
    seen, queries = unit(references @ made), unit(asked @ made)
    nearest = np.einsum("qd,ird->qir", queries, seen).max(2)
    return best * nearest + (1 - best) * queries @ unit(seen.sum(1)).T


def test_the_share_before_is_that_of_a_loop_over_all_references(views: Vectors) -> None:
    references = views[:, :REFERENCES]
    found = adapt.learn(references.reshape(-1, DIM), np.repeat(np.arange(ITEMS), REFERENCES))
    assert found is not None
    assert found.before.name == "whitening"
    first = []
    for item in range(ITEMS):
        taught = references[np.arange(ITEMS) % 5 != item % 5]
        made = matrix(found.before, taught)
        for place in range(REFERENCES):
            own = np.delete(references[item], place, 0)
            every = scores(references, references[item, place : place + 1], made, 0.5)[0]
            every[item] = scores(own[None], references[item, place : place + 1], made, 0.5)[0, 0]
            first.append(every.argmax() == item)
    assert found.new_items[:, 0].tolist() == first
    # Each part of the items has the map of the others.
    for number, one in enumerate(found.parts):
        made = matrix(found.way, references[np.arange(ITEMS) % 5 != number])
        if found.way.name == "whitening":
            assert np.abs(one.of(np.eye(DIM)) - unit(made)).max() < 1e-6


@pytest.mark.parametrize("strength", [1.0, 3.0])
def test_ridge_is_that_of_the_normal_equations(views: Vectors, strength: float) -> None:
    references = views[:12, :3]
    rows = references.reshape(-1, DIM)
    items = np.repeat(np.arange(12), 3)
    made = adapt.Teacher(rows.astype(np.float64), items).map(adapt.Way("ridge", strength, 96, 0.5))
    # Twelve items of three references differ along 24 directions: none is cut off.
    assert made.directions.shape == made.onto.shape
    assert len(made.kept) <= DIM // 2
    assert np.abs(made.of(rows) - unit(rows @ ridge(references, strength))).max() < 1e-4


def test_what_finds_more_is_kept_and_identifies(views: Vectors, tmp_path: Path) -> None:
    queries = views[:, REFERENCES]
    pictures = [pixel(number) for number in range(ITEMS)]
    with ps.Engine(tmp_path / "c", model=Pixels(queries)) as engine:
        filled(engine, views)
        plain = engine.identify(pictures, k=5)
        found = engine.search_image(pictures, k=5)
        made = engine.adapt()
        assert made.accepted
        assert made.calibration is not None
        assert made.calibration.second_look
        assert made.new_items.after > made.new_items.before + made.new_items.error
        assert made.references == ITEMS * REFERENCES
        assert "kept" in str(made)
        assert f"{made.new_items.after:.3f} after" in str(made)
        assert engine.stats()["calibration"][0]["adapted"]
        answers = engine.identify(pictures, k=5)

        def right(some: Any) -> float:
            return float(np.mean([one.hits[0].item == f"item-{number}" for number, one in enumerate(some)]))

        assert right(answers) > right(plain) + 0.02
        way = adapt.Way(made.method, made.strength, adapt.DIRECTIONS, made.best_reference)
        expected = scores(views[:, :REFERENCES], queries, matrix(way, views[:, :REFERENCES]), made.best_reference)
        ours = [[hit.score for hit in one.hits] for one in answers]
        theirs = [[expected[n, int(hit.item[5:])] for hit in one.hits] for n, one in enumerate(answers)]
        factor, offset = np.polyfit(np.ravel(theirs), np.ravel(ours), 1)
        assert factor > 0
        assert np.abs(np.polyval([factor, offset], theirs) - ours).max() < (
            5e-3 if made.method == "whitening" else 0.05
        )
        # Searches and vectors are as they were.
        assert [[hit.score for hit in one] for one in engine.search_image(pictures, k=5)] == [
            [hit.score for hit in one] for one in found
        ]
        assert np.array_equal(engine.vectors("item-3"), views[3, :REFERENCES])

    with ps.Engine(tmp_path / "c", model=Pixels(queries)) as engine:
        again = engine.identify(pictures, k=5)
        assert [[hit.score for hit in one.hits] for one in again] == ours
        assert [one.threshold for one in again] == [one.threshold for one in answers]
        # A calibration by labeled pictures goes by the map, too; and so does one that is due.
        engine.calibrate([(pixel(number), f"item-{number}") for number in range(25)])
        [row] = engine.stats()["calibration"]
        assert (row["adapted"], row["queries"]) == (True, 25)
        assert [[hit.score for hit in one.hits] for one in engine.identify(pictures, k=5)] == ours
        engine.remove([f"item-{number}" for number in range(25)])
        assert engine.identify(pixel(40)).hits[0].score == pytest.approx(ours[40][0], abs=1e-6)
        assert engine.stats()["calibration"][0]["adapted"]
        assert engine.forget_adapter()
        assert not engine.forget_adapter()
        assert not engine.stats()["calibration"][0]["adapted"]


def test_forgetting_gives_back_what_was(views: Vectors, tmp_path: Path) -> None:
    pictures = [pixel(number) for number in range(ITEMS)]
    with ps.Engine(tmp_path / "c", model=Pixels(views[:, REFERENCES])) as engine:
        filled(engine, views)
        before = engine.identify(pictures)
        assert not engine.forget_adapter()
        assert engine.adapt().accepted
        assert engine.forget_adapter()
        after = engine.identify(pictures)
        assert [[hit.score for hit in one.hits] for one in after] == [[hit.score for hit in one.hits] for one in before]


def test_what_finds_no_more_is_not_kept(tmp_path: Path) -> None:
    dice = np.random.default_rng(1)
    centers = unit(dice.normal(size=(60, 1, DIM)))
    views = unit(centers + 0.02 * dice.normal(size=(60, REFERENCES + 1, DIM))).astype(np.float32)
    with ps.Engine(tmp_path / "c", model=Pixels(views[:, REFERENCES])) as engine:
        filled(engine, views)
        made = engine.adapt()
        assert (made.accepted, made.calibration, made.new_items.after) == (False, None, 1.0)
        assert "not kept" in str(made)
        assert not any(row["adapted"] for row in engine.stats()["calibration"])


def test_too_little_to_learn_from_is_told(views: Vectors, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=Pixels(views[:, 0])) as engine:
        with pytest.raises(ps.ArgumentError, match="adapt to 0 references of 0 items: 30 or more"):
            engine.adapt()
        engine.add_vectors([f"item-{number}" for number in range(ITEMS)], views[:, 0])
        with pytest.raises(ps.ArgumentError, match="adapt to 50 references of 50 items"):
            engine.adapt()
        with pytest.raises(ps.ArgumentError, match="no model"):
            engine.adapt(model="other")


def test_the_command_learns_and_forgets(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog, model = str(tmp_path / "c"), ["--model", str(toy_model)]
    dim = ps.open_encoder(toy_model).dim
    with ps.Engine(catalog, model=toy_model) as engine:
        dice = np.random.default_rng(2)
        views = dice.normal(size=(20, 1, dim)) + 0.3 * dice.normal(size=(20, REFERENCES, dim))
        filled(engine, unit(views).astype(np.float32))
    assert cli.main(["adapt", catalog, *model, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["references"] == 20 * REFERENCES
    assert cli.main(["adapt", catalog, *model]) == 0
    out = capsys.readouterr().out
    assert "right item first, of 80 references left out" in out
    assert f"new items {made['new_items']['before']:.3f} before, {made['new_items']['after']:.3f} after" in out
    assert cli.main(["adapt", catalog, *model, "--forget", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"forgotten": made["accepted"]}
    assert cli.main(["adapt", catalog, *model, "--forget"]) == 0
    assert capsys.readouterr().out == "there is nothing to forget\n"
