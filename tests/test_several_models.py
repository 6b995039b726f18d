"""Several models that look pictures up together: their weights, probabilities and verdicts, against numpy."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import toy
from numpy.typing import NDArray
from PIL import Image
from pixels import Pixels, Vectors, pixel

import plushie_search as ps
from plushie_search.cli import main

ITEMS, REFERENCES, STRANGERS = 100, 3, 200
DIMS = {"eye": 40, "nose": 24}


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


class World:
    """Items and strangers as each model sees them: by noise of its own, on a spread of its own."""

    def __init__(self, noise: float = 1.6, seed: int = 0) -> None:
        dice = np.random.default_rng(seed)
        self.views: dict[str, Vectors] = {}
        for name, dim in DIMS.items():
            centers = dice.normal(size=(ITEMS + STRANGERS, 1, dim))
            views = centers + noise * dice.normal(size=(ITEMS + STRANGERS, REFERENCES + 1, dim))
            # A direction that all have in common makes cosines of the second model less spread.
            common = np.zeros(dim) if name == "eye" else np.full(dim, 2.0)
            self.views[name] = unit(views + common).astype(np.float32)

    def encoders(self, *names: str) -> list[Pixels]:
        return [Pixels(self.views[name].reshape(-1, DIMS[name]), name) for name in names or DIMS]

    def fill(self, engine: ps.Engine, items: int = ITEMS, references: int = REFERENCES) -> None:
        ids = [f"item-{item}" for item in range(items) for _ in range(references)]
        some = {
            name: self.views[name][:items, :references].reshape(-1, DIMS[name])
            for name in DIMS
            if name in engine.models
        }
        engine.add_vectors(ids, some)

    def query(self, item: int) -> NDArray[np.uint8]:
        return pixel(item * (REFERENCES + 1) + REFERENCES)

    def scores(self, weights: dict[str, float], references: int) -> NDArray[np.float64]:
        """The score of each item for the query of each item and stranger."""
        cosines = [
            weight * np.einsum("qd,ird->qir", self.views[name][:, REFERENCES], self.views[name][:ITEMS, :references])
            for name, weight in weights.items()
        ]
        return np.sum(cosines, axis=0).max(2) / sum(weights.values())


QUERIES = range(ITEMS + STRANGERS)
WEIGHTS = {"eye": 0.6, "nose": 0.4}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def engine(world: World, tmp_path: Path) -> Any:
    with ps.Engine(tmp_path / "c", model=world.encoders(), threads=2) as engine:
        world.fill(engine)
        yield engine


def test_scores_are_the_weighted_means_of_cosines(engine: ps.Engine, world: World, tmp_path: Path) -> None:
    pictures = [world.query(item) for item in QUERIES]

    def check(found: Any, scores: NDArray[np.float64]) -> None:
        for hits, row in zip(found, scores, strict=True):
            order = np.argsort(-row)[:5]
            assert [hit.item for hit in hits] == [f"item-{item}" for item in order]
            assert [hit.score for hit in hits] == pytest.approx(row[order], abs=1e-5)
            assert list(hits[0].scores) == ["eye", "nose"]
            fused = sum(hits[0].scores[name] * weight for name, weight in WEIGHTS.items())
            assert fused == pytest.approx(hits[0].score, abs=1e-5)

    check(engine.search_image(pictures, models=WEIGHTS, fusion="sum"), world.scores(WEIGHTS, REFERENCES))
    # Where items have one reference each, there is no second look.
    with ps.Engine(tmp_path / "single", model=world.encoders()) as single:
        world.fill(single, references=1)
        found = single.identify(pictures, models=WEIGHTS)
        check([one.hits for one in found], world.scores(WEIGHTS, 1))
        assert found[3].margin == pytest.approx(found[3].hits[0].score - found[3].hits[1].score)
        assert found[0].hits.model == "eye + nose"
        # The order of the models and the scale of their weights say nothing.
        again = single.identify(pictures[:20], models={"nose": 4, "eye": 6})
        assert [one.to_dict() for one in again] == [one.to_dict() for one in found[:20]]
        assert [row["weights"] for row in single.stats()["calibration"]] == [WEIGHTS]


def test_thresholds_and_probabilities_hold_for_the_fused_score(engine: ps.Engine, world: World) -> None:
    pictures = [world.query(item) for item in QUERIES]
    alone = engine.identify(pictures, models="eye", target_fpr=0.05)
    both = engine.identify(pictures, models=WEIGHTS, target_fpr=0.05)
    for found in (alone, both):
        accepted = np.mean([one.verdict != "unknown" for one in found[ITEMS:]])
        assert 0.005 <= accepted <= 0.12
        likely = [one.probability or 0.0 for one in found]
        right = [one.hits[0].item == f"item-{number}" for number, one in enumerate(found)]
        # Half of the queries are of items that are there.
        weight = [1.0] * ITEMS + [ITEMS / STRANGERS] * STRANGERS
        assert ps.metrics.ece(likely, right, weights=weight) < 0.1
    matched = [sum(one.item == f"item-{number}" for number, one in enumerate(found[:ITEMS])) for found in (alone, both)]
    assert matched[1] > 1.5 * matched[0] > 0


def left_out(world: World) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Cosines of each left out reference with the rest of its item, and with the items that are nearest by a model."""
    own, others = [], []
    cosines = {}
    for name in DIMS:
        stored = world.views[name][:ITEMS, :REFERENCES].reshape(-1, DIMS[name]).astype(np.float64)
        cosines[name] = (stored @ stored.T).reshape(-1, ITEMS, REFERENCES)
    for row in range(ITEMS * REFERENCES):
        item, place = divmod(row, REFERENCES)
        near = {int(one) for name in DIMS for one in np.argsort(-cosines[name][row].max(1))[:21]} - {item}
        rest = [other for other in range(REFERENCES) if other != place]
        own.append(np.stack([cosines[name][row, item, rest] for name in DIMS], 1))
        others.append(np.concatenate([np.stack([cosines[name][row, one] for name in DIMS], 1) for one in sorted(near)]))
    return own, others


def test_weights_are_those_that_numpy_learns(engine: ps.Engine, world: World) -> None:
    made = engine.calibrate(models=["eye", "nose"])
    learned = made.learned
    assert learned is not None
    own, others = left_out(world)
    spread = np.concatenate(others).std(0)
    shares = np.linspace(0, 1, 21)
    grid = np.stack([shares / spread[0], (1 - shares) / spread[1]], 1)
    grid /= grid.sum(1, keepdims=True)
    leads = np.array([[(a @ w).max() - (b @ w).max() for a, b in zip(own, others, strict=True)] for w in grid])

    def best(some: Any) -> int:
        chosen = leads[:, some]
        soft = 1 / (1 + np.exp(-chosen / (0.25 * chosen.std(1, keepdims=True))))
        return int(soft.mean(1).argmax())

    items = np.repeat(np.arange(ITEMS), REFERENCES)
    parts = (items + 1) % 5
    gains = np.zeros(len(items))
    for part in range(5):
        gains[parts == part] = leads[best(parts != part)][parts == part] > 0
    alone = leads[-1] > 0
    gains -= alone
    assert list(learned.weights.values()) == pytest.approx(grid[best(parts >= 0)], abs=2e-3)
    assert learned.gain.value == pytest.approx(gains.mean(), abs=1e-9)
    # Items drawn with replacement.
    dice = np.random.default_rng(1)
    drawn = gains.reshape(ITEMS, -1).mean(1)[dice.integers(0, ITEMS, (4000, ITEMS))].mean(1)
    assert [learned.gain.low, learned.gain.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.01)
    assert learned.used
    assert learned.gain.low > 0
    assert (made.model, made.weights) == ("eye + nose", learned.weights)


def test_weights_that_find_more_look_pictures_up_by_default(engine: ps.Engine, world: World) -> None:
    pictures = [world.query(item) for item in range(20)]
    before = engine.search_image(pictures)
    assert list(before[0][0].scores) == ["eye"]
    made = engine.calibrate()
    assert made.learned is not None
    weights = made.learned.weights
    found = engine.search_image(pictures)
    named = engine.search_image(pictures, models=weights, fusion="sum")
    assert [hits.to_dicts() for hits in found] == [hits.to_dicts() for hits in named]
    assert found[0].model == "eye + nose"
    assert all(0 <= hit.probability <= 1 for hits in found for hit in hits if hit.probability is not None)
    assert found[0][0].probability is not None
    answers = engine.identify(pictures)
    assert [one.to_dict() for one in answers] == [one.to_dict() for one in engine.identify(pictures, models=weights)]
    assert answers[0].hits.model == "eye + nose"
    # Texts, and what names a model or another fusion, are looked up as before.
    assert [hits.to_dicts() for hits in engine.search_image(pictures, models="eye")] == [
        hits.to_dicts() for hits in before
    ]
    assert list(engine.search_image(pictures[0], fusion="rrf")[0].scores) == ["eye"]
    mixed = engine.search([ps.Query(text="3"), ps.Query(image=pictures[1]), ps.Query(item="item-4")], words=False)
    assert [hit.item for hit in mixed[1]] == [hit.item for hit in found[1]]
    assert [hit.score for hit in mixed[1]] == pytest.approx([hit.score for hit in found[1]], abs=1e-6)
    assert [hits.model for hits in mixed] == ["eye", "eye + nose", "eye"]
    assert mixed[0].to_dicts() == engine.search_text("3", words=False).to_dicts()
    first = engine.search_image(pictures[0], k=2)
    assert [hit.item for hit in engine.search_image(pictures[0], k=3, after=first.cursor)] == [
        hit.item for hit in found[0][2:]
    ]


def test_weights_are_stored_and_go_with_their_models(engine: ps.Engine, world: World) -> None:
    made = engine.calibrate()
    assert made.learned is not None
    told = engine.stats()["learned_weights"]
    assert told == {"weights": made.learned.weights, "gain": made.learned.gain._asdict(), "used": True}
    path, picture = engine.path, world.query(7)
    wanted = engine.identify(picture).to_dict()
    engine.close()
    with ps.Engine(path, model=world.encoders("nose", "eye"), read_only=True) as other:
        assert other.stats()["learned_weights"] == told
        assert other.identify(picture).to_dict() == wanted
    with ps.Engine(path, model=world.encoders("eye")) as other:
        assert other.stats()["learned_weights"] is None
        assert list(other.search_image(picture)[0].scores) == ["eye"]
        other.calibrate()
    with ps.Engine(path, model=world.encoders()) as again:
        # The calibration of one model has left the weights alone.
        assert again.stats()["learned_weights"] == told
        again.calibrate(models="nose")
        assert again.stats()["learned_weights"] == told
    with ps.Engine(path, model=world.encoders("nose")) as last:
        assert list(last.search_image(picture)[0].scores) == ["nose"]


def test_a_model_that_adds_nothing_stays_out(world: World, tmp_path: Path) -> None:
    noise = unit(np.random.default_rng(4).normal(size=world.views["nose"].shape)).astype(np.float32)
    encoders = [world.encoders("eye")[0], Pixels(noise.reshape(-1, DIMS["nose"]), "nose")]
    with ps.Engine(tmp_path / "c", model=encoders) as engine:
        ids = [f"item-{item}" for item in range(ITEMS) for _ in range(REFERENCES)]
        engine.add_vectors(
            ids,
            {
                "eye": world.views["eye"][:ITEMS, :REFERENCES].reshape(-1, DIMS["eye"]),
                "nose": noise[:ITEMS, :REFERENCES].reshape(-1, DIMS["nose"]),
            },
        )
        made = engine.calibrate()
        assert made.learned is not None
        assert not made.learned.used
        assert made.learned.gain.low <= 0
        assert str(made.learned).endswith("so the first model stays alone")
        assert (made.model, made.weights) == ("eye", {"eye": 1.0})
        assert list(engine.search_image(world.query(0))[0].scores) == ["eye"]
        assert list(engine.identify(world.query(0)).hits[0].scores) == ["eye"]


def test_labeled_queries_teach_weights(world: World, tmp_path: Path) -> None:
    """Items with one reference each have nothing that could be left out."""
    with ps.Engine(tmp_path / "c", model=world.encoders()) as engine:
        world.fill(engine, references=1)
        with pytest.raises(ps.ArgumentError, match="weights of models cannot be learned from 0 references and queries"):
            engine.calibrate(models=["eye", "nose"])
        alone = engine.calibrate()
        assert (alone.model, alone.learned) == ("eye", None)
        photos = [(pixel(4 * item + place), f"item-{item}") for item in range(ITEMS) for place in (1, 2, 3)]
        made = engine.calibrate(photos)
        assert made.learned is not None
        assert made.learned.used
        assert made.queries == 3 * ITEMS


def test_a_second_look_is_the_weighted_mean_of_those_of_the_models(tmp_path: Path) -> None:
    """Pictures of an item differ along few directions, which numpy weighs down, too, for each model."""
    dice = np.random.default_rng(5)
    views = {}
    for name, dim in DIMS.items():
        basis = np.linalg.qr(dice.normal(size=(dim, dim)))[0]
        centers = dice.normal(size=(ITEMS, 1, dim - 4)) @ basis[4:]
        light = dice.normal(size=(ITEMS, REFERENCES + 1, 4)) * [1.0, 0.4, 0.16, 0.064]
        views[name] = unit(0.7 * unit(centers) + 0.7 * unit(light) @ basis[:4]).astype(np.float32)

    def looked(name: str) -> NDArray[np.float64]:
        references, dim = views[name][:, :REFERENCES].astype(np.float64), DIMS[name]
        apart = (references - references.mean(1, keepdims=True)).reshape(-1, dim)
        covariance = apart.T @ apart / (ITEMS * (REFERENCES - 1))
        values, directions = np.linalg.eigh(covariance)
        values, directions = values[::-1][: dim // 4].clip(0), directions[:, ::-1][:, : dim // 4]
        mean = np.trace(covariance) / dim
        metric = np.eye(dim) - (directions * (1 - np.sqrt(mean / (values + mean)))) @ directions.T
        seen, asked = unit(references @ metric), unit(views[name][:, REFERENCES] @ metric)
        return (np.einsum("qd,ird->qir", asked, seen).max(2) + asked @ unit(seen.sum(1)).T) / 2

    encoders = [Pixels(views[name][:, REFERENCES], name) for name in DIMS]
    with ps.Engine(tmp_path / "c", model=encoders) as engine:
        ids = [f"item-{item}" for item in range(ITEMS) for _ in range(REFERENCES)]
        engine.add_vectors(ids, {name: views[name][:, :REFERENCES].reshape(-1, dim) for name, dim in DIMS.items()})
        assert engine.calibrate(models=WEIGHTS).second_look
        found = engine.identify([pixel(number) for number in range(ITEMS)], models=WEIGHTS, k=5)
        plain = engine.search_image([pixel(number) for number in range(ITEMS)], models=WEIGHTS, fusion="sum", k=1)
        assert "second_look" in json.dumps(engine.stats()["calibration"])
    numbers = [(query, int(hit.item[5:])) for query, one in enumerate(found) for hit in one.hits]
    scores = np.array([hit.score for one in found for hit in one.hits])
    parts = np.array([[looks[at] for at in numbers] for looks in map(looked, DIMS)])
    # Each model's looks are put on the scale of its cosines, by an offset and a factor of its own.
    terms = np.stack([np.ones(len(scores)), *parts], 1)
    (_, *factors), *_ = np.linalg.lstsq(terms, scores, rcond=None)
    assert np.abs(terms @ np.linalg.lstsq(terms, scores, rcond=None)[0] - scores).max() < 2e-3
    assert min(factors) > 0
    assert 0.5 < factors[0] / factors[1] < 4
    right = [
        np.mean([hits[0].item == f"item-{n}" for n, hits in enumerate(all)])
        for all in (plain, [one.hits for one in found])
    ]
    assert right[1] > right[0] + 0.02


def test_bad_input_is_refused(engine: ps.Engine, world: World, tmp_path: Path) -> None:
    picture = world.query(0)
    for models, said in (
        (["eye", "ear"], "has no model .ear."),
        (["eye", "eye"], '"eye" is named twice'),
        ({"eye": 1, "ear": 1}, "has no model .ear."),
        ({"eye": 1, "nose": 0}, "cannot count 0: give a number above 0"),
        ({"eye": float("nan"), "nose": 1}, "cannot count NaN"),
        ({"eye": 0}, "cannot count 0: give a number above 0"),
    ):
        with pytest.raises(ps.ArgumentError, match=said):
            engine.calibrate(models=models)  # type: ignore[arg-type]
        if isinstance(models, dict):
            with pytest.raises(ps.ArgumentError, match=said):
                engine.identify(picture, models=models)
    with pytest.raises(TypeError, match="a name, a list of names, or a dict"):
        engine.calibrate(models=3)  # type: ignore[arg-type]
    texts = [(ps.Query(text="3"), "item-0")] * 40
    with pytest.raises(ps.ArgumentError, match="learned for pictures alone"):
        engine.calibrate(texts, models=["eye", "nose"])
    with pytest.raises(ps.ArgumentError, match="calibrated for pictures alone"):
        engine.identify(ps.Query(text="3"), models=WEIGHTS)
    with (
        ps.Engine(
            tmp_path / "third", model=[*world.encoders(), Pixels(world.views["eye"].reshape(-1, 40), "ear")]
        ) as more,
        pytest.raises(ps.ArgumentError, match='compared with the first model alone: name "eye", too'),
    ):
        more.calibrate(models=["nose", "ear"])
    for items, references in ((1, 3), (9, 3), (40, 1)):
        with ps.Engine(tmp_path / f"few-{items}", model=world.encoders()) as few:
            world.fill(few, items, references)
            with pytest.raises(ps.ArgumentError, match="weights of models cannot be learned from"):
                few.calibrate(models=["eye", "nose"])
            assert few.identify(picture, models=WEIGHTS).threshold > 0
            assert few.calibrate().learned is None


def test_a_model_without_pictures_is_refused(tmp_path: Path) -> None:
    pen = toy.write(tmp_path / "pen", name="pen", image=None)
    with ps.Engine(tmp_path / "c", model=pen) as engine:
        for call in (lambda: engine.calibrate(models="pen"), lambda: engine.identify(pixel(1), models="pen")):
            with pytest.raises(ps.ModelError, match="has no image tower"):
                call()


def test_no_more_than_eight_sets_of_weights_are_kept(engine: ps.Engine, world: World) -> None:
    for tenth in range(1, 10):
        engine.identify(world.query(0), models={"eye": tenth, "nose": 10 - tenth})
    engine.identify(world.query(0), models="eye")
    kept = [row["weights"] for row in engine.stats()["calibration"]]
    assert len(kept) == 9
    assert {"eye": 0.1, "nose": 0.9} not in kept
    assert {"eye": 1.0} in kept


def test_they_answer_alike_over_http_at_the_command_line_and_asynchronously(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("fastapi")
    from http_server import listening

    from plushie_search import server

    models = []
    for number, name in enumerate(("one", "two")):
        made = toy.write(tmp_path / name, name=name)
        weights = np.random.default_rng(number).normal(size=toy.IMAGE_WEIGHTS.shape).astype(np.float32)
        onnx.save(toy.image_tower(weights=weights), made / "image.onnx")
        models.append(made)
    colors = np.random.default_rng(2).integers(0, 255, (30, 3))
    red = np.full((4, 4, 3), (210, 20, 30), np.uint8)
    weights_of = {"one": 0.3, "two": 0.7}
    Image.fromarray(red).save(tmp_path / "red.png")
    with ps.Engine(tmp_path / "c", model=models) as engine:
        for number, color in enumerate(colors):
            engine.add(str(number), images=[np.full((4, 4, 3), color, np.uint8)])
        wanted = engine.identify(red, models=weights_of)
        with listening(server.create_app(engine)) as url, ps.RemoteEngine(url) as remote:
            found = remote.identify(red, models=weights_of)
            assert found.to_dict() == {**wanted.to_dict(), "plausible": list(wanted.plausible)}
            assert found.hits.model == "one + two"
            assert remote.stats()["learned_weights"] is None

    async def asked() -> ps.Identification:
        async with await ps.AsyncEngine.open(tmp_path / "c", model=models) as engine:
            await engine.calibrate(models=weights_of)
            return await engine.identify(red, models=weights_of)

    again = asyncio.run(asked())
    assert (again.verdict, again.item, again.plausible) == (wanted.verdict, wanted.item, wanted.plausible)
    assert (again.probability, again.threshold) == pytest.approx((wanted.probability, wanted.threshold))
    given = [argument for model in models for argument in ("--model", str(model))]
    weight = [argument for value in weights_of.values() for argument in ("--weight", str(value))]
    assert main(["identify", str(tmp_path / "c"), *given, *weight, "--json", str(tmp_path / "red.png")]) == 0
    [row] = json.loads(capsys.readouterr().out)
    assert row["hits"][0]["scores"] == pytest.approx(wanted.hits[0].scores, abs=1e-6)
    assert row["threshold"] == pytest.approx(wanted.threshold, abs=1e-6)
