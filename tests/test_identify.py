"""Which item a picture shows: verdicts, probabilities, thresholds, and how they are kept."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pixels import Pixels, Vectors, pixel

import plushie_search as ps
from plushie_search import _core, metrics
from plushie_search.hub import as_encoder

DIM = 48


class World:
    """Items with references and queries whose cosines are about 0.8, of which any two have about 0."""

    def __init__(self, items: int, references: int = 2, queries: int = 1, seed: int = 0) -> None:
        dice = np.random.default_rng(seed)
        centers = dice.normal(size=(items, 1, DIM))
        spread = dice.normal(size=(items, references + queries, DIM)) * 0.5
        views = (centers + spread).astype(np.float32)
        self.views: Vectors = views / np.linalg.norm(views, axis=2, keepdims=True)
        self.references, self.queries = references, queries
        self.items = items

    @property
    def encoder(self) -> Pixels:
        return Pixels(self.views.reshape(-1, DIM))

    def query(self, item: int, number: int = 0) -> NDArray[np.uint8]:
        return pixel(item * (self.references + self.queries) + self.references + number)

    def fill(self, engine: ps.Engine, first: int, end: int) -> None:
        some = self.views[first:end, : self.references].reshape(-1, DIM)
        engine.add_vectors([f"item-{item}" for item in range(first, end) for _ in range(self.references)], some)


@pytest.fixture(scope="module")
def world() -> World:
    return World(600)


@pytest.fixture(scope="module")
def engine(world: World, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with ps.Engine(tmp_path_factory.mktemp("identify") / "c", model=world.encoder) as engine:
        world.fill(engine, 0, 300)
        yield engine


def test_a_match_an_unknown_picture_and_their_sentences(engine: ps.Engine, world: World) -> None:
    found = engine.identify(world.query(7))
    assert (found.verdict, found.item, found.plausible) == ("match", "item-7", ("item-7",))
    assert found.probability is not None
    assert found.probability > 0.9
    assert found.margin == pytest.approx(found.hits[0].score - found.hits[1].score)
    assert (len(found.hits), found.hits[0].probability) == (5, found.probability)
    assert repr(found) == f"It is item-7 (probability {found.probability:.2f})."
    strange = engine.identify(world.query(400), k=2)
    assert (strange.verdict, strange.item, strange.plausible, len(strange.hits)) == ("unknown", None, (), 2)
    assert strange.probability is not None
    assert strange.probability < 0.2
    assert repr(strange) == (
        f"It is unknown: the nearest item is {strange.hits[0].item}, whose strength {strange.strength:.2f} is below "
        f"{strange.threshold:.2f}."
    )
    assert found.to_dict()["hits"][0]["probability"] == found.probability
    assert f"It is item-7 (probability {found.probability:.2f})." in found._repr_html_()
    assert ">1. item-7</b>" in found._repr_html_()


def test_a_list_gives_a_list_and_a_query_of_several_photos_one(engine: ps.Engine, world: World) -> None:
    found = engine.identify([world.query(1), ps.Query(image=world.query(2)), world.query(401)])
    assert [one.item for one in found] == ["item-1", "item-2", None]
    assert engine.identify(ps.Query(image=[world.query(3), pixel(9)])).item == "item-3"
    assert engine.identify([]) == []


def test_searches_find_the_same_with_probabilities_and_without(engine: ps.Engine, world: World, tmp_path: Path) -> None:
    """Scores and items are those of vectors, which have no probability."""
    pictures = [world.query(item) for item in (*range(20), *range(400, 410))]
    vectors = world.encoder.encode_images(pictures)
    for k in (1, 2, 5, 400):
        for least in (None, 0.3, 0.99):
            found = engine.search_image(pictures, k=k, min_score=least)
            plain = engine.search_vector(vectors, k=k, min_score=least)
            assert [[(hit.item, hit.score) for hit in hits] for hits in found] == [
                [(hit.item, hit.score) for hit in hits] for hits in plain
            ]
            assert all(0 <= hit.probability <= 1 for hits in found for hit in hits)
            assert all(hit.probability is None for hits in plain for hit in hits)
    [one] = engine.search_image([pictures[0]], k=1)
    assert one[0].probability == pytest.approx(engine.search_image(pictures[0], k=5)[0].probability, abs=1e-6)
    assert engine.search_image(pictures[0], aggregate="mean")[0].probability is None
    assert engine.search_text("2")[0].probability is None


def test_a_catalog_of_no_item_and_of_one(world: World, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        none = engine.identify(world.query(0))
        assert (none.verdict, none.item, none.probability, none.margin, len(none.hits)) == (
            "unknown",
            None,
            None,
            None,
            0,
        )
        assert repr(none) == "It is unknown: no item of the catalog was compared."
        world.fill(engine, 0, 1)
        one = engine.identify(world.query(0))
        assert (one.verdict, one.item, one.margin) == ("match", "item-0", None)
        assert engine.identify(world.query(1)).verdict == "unknown"
        assert engine.calibrate().impostors == 0
        assert engine.identify(world.query(0), where={"id": "nothing"}).verdict == "unknown"


def test_a_picture_that_two_items_have_is_ambiguous(world: World, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        world.fill(engine, 0, 100)
        engine.add_vectors(["twin", "twin"], world.views[5, :2])
        found = engine.identify(world.query(5))
        assert (found.verdict, set(found.plausible), found.margin) == ("ambiguous", {"item-5", "twin"}, 0.0)
        assert found.probability is not None
        assert found.probability <= 0.5
        assert found.item == found.plausible[0] == found.hits[0].item
        assert repr(found) == f"It is item-5 or twin (probability {found.probability:.2f} of the first)."
        assert engine.identify(world.query(6)).verdict == "match"


def test_the_threshold_rises_with_the_gallery_and_falls_with_the_target(engine: ps.Engine, world: World) -> None:
    picture = world.query(0)
    few = engine.identify(picture, where={"id": {"$in": [f"item-{item}" for item in range(10)]}})
    many = engine.identify(picture)
    assert few.threshold < many.threshold
    assert engine.identify(picture, target_fpr=0.2).threshold < many.threshold


def strong(scores: Any) -> Any:
    """The strength of the scores of items, highest last, by the formula of the documents."""
    scores = np.sort(scores, axis=-1)
    best, next = scores[..., -1], scores[..., -2]
    return best + (best - next) / 2 - 0.7 * scores[..., -11:-1].mean(axis=-1)


def test_a_strength_is_that_of_numpy_whatever_passes_a_filter(engine: ps.Engine, world: World) -> None:
    scores = (world.views[:300, :2] @ world.views[7, 2]).max(axis=1)
    whole = engine.identify(world.query(7), k=2)
    assert whole.strength == pytest.approx(float(strong(scores)), abs=1e-5)
    # Ten items pass: the best two of them stand before those that are behind in the whole catalog.
    best, next = np.sort(scores[3:13])[::-1][:2]
    some = engine.identify(world.query(7), where={"id": {"$in": [f"item-{item}" for item in range(3, 13)]}})
    crowd = np.sort(scores)[-11:-1].mean()
    assert some.strength == pytest.approx(float(best + (best - next) / 2 - 0.7 * crowd), abs=1e-5)
    hits = engine.search_image(world.query(7), k=1, where={"id": "item-7"})
    assert hits[0].probability is not None
    assert some.probability is not None
    assert min(hits[0].probability, some.probability) > 0.9


def test_a_stored_picture_is_known_however_high_the_threshold_is(engine: ps.Engine, world: World) -> None:
    stored = pixel(7 * 3)
    found = engine.identify(stored, target_fpr=1e-12)
    assert found.strength is not None
    assert found.strength < found.threshold
    assert (found.verdict, found.item) == ("match", "item-7")


def test_references_of_a_few_scenes_teach_what_strangers_in_other_scenes_score(tmp_path: Path) -> None:
    """Pictures of one scene are more alike than two pictures of one item: each item has one in each of three scenes."""
    dice = np.random.default_rng(3)
    items, width = 400, 48

    def seen(centers: Any, scene: Any) -> Vectors:
        views = centers + scene + 0.6 * dice.normal(size=centers.shape)
        return (views / np.linalg.norm(views, axis=-1, keepdims=True)).astype(np.float32)

    scenes = dice.normal(size=(3, width))
    centers, others = dice.normal(size=(2, items, width))
    references = np.stack([seen(centers, scene) for scene in scenes], 1).reshape(-1, width)
    queries = np.concatenate([seen(some, dice.normal(size=(items, width))) for some in (centers, others)])
    with ps.Engine(tmp_path / "c", model=Pixels(queries)) as engine:
        engine.add_vectors([f"item-{item}" for item in range(items) for _ in range(3)], references)
        found = engine.identify([pixel(number) for number in range(2 * items)], target_fpr=0.05)
    accepted = np.mean([one.verdict != "unknown" for one in found[items:]])
    missed = np.mean([one.item != f"item-{item}" for item, one in enumerate(found[:items])])
    # No threshold on the cosines with the nearest references misses fewer, if 5 % of strangers reach it.
    scores = (queries @ references.T).reshape(2 * items, items, 3).max(axis=2)
    strengths = strong(scores)
    right = scores[:items].argmax(axis=1) == np.arange(items)
    assert accepted <= 0.1
    assert missed <= 1 - np.mean(right & (strengths[:items] >= np.quantile(strengths[items:], 0.95)))


def test_a_prior_shifts_probabilities(engine: ps.Engine, world: World) -> None:
    half, rare = (engine.identify(world.query(402), prior=prior).probability for prior in (0.5, 0.1))
    assert half is not None
    assert rare == pytest.approx(half * 0.1 / (half * 0.1 + (1 - half) * 0.9))


def test_another_process_reads_what_was_stored(world: World, tmp_path: Path) -> None:
    """The labels move the threshold, and the other process has no labels."""
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        world.fill(engine, 0, 60)
        plain = engine.identify(world.query(0)).threshold
        made = engine.calibrate([(world.query(item), None) for item in range(400, 440)])
        assert (made.queries, made.impostors, made.kind, made.model) == (40, 160, "image", "pixels")
        assert made.source == "120 references and 40 labeled queries and scores that are typical of the model"
        assert str(made).startswith(f"pictures by pixels: a match reaches {made.threshold:.3f}; 1.0% of other things")
        assert str(made).endswith(f"the catalog's 60 items not to; made from {made.source}")
        assert engine.identify(world.query(0)).threshold == made.threshold != plain
        assert engine.stats()["calibration"][0]["threshold"] == made.threshold
    code = "import sys, plushie_search as ps; print(ps.Engine(sys.argv[1], model=[]).stats()['calibration'])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")], check=True)
    with ps.Engine(tmp_path / "c", model=world.encoder, read_only=True) as engine:
        assert engine.stats()["calibration"][0]["queries"] == 40
        assert engine.identify(world.query(0)).threshold == made.threshold
        assert engine.calibrate().queries == 0
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        assert engine.stats()["calibration"][0]["queries"] == 40
        engine.calibrate()
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        assert engine.stats()["calibration"][0]["queries"] == 0


def test_a_catalog_that_grows_while_it_serves_is_calibrated_again(world: World, tmp_path: Path) -> None:
    with (
        ps.Engine(tmp_path / "c", model=world.encoder) as writer,
        ps.Engine(writer.path, model=world.encoder) as reader,
    ):
        world.fill(writer, 0, 50)
        assert reader.identify(world.query(0)).item == "item-0"
        before = reader.stats()["calibration"][0]
        world.fill(writer, 50, 55)
        assert reader.identify(world.query(52)).item == "item-52"
        assert reader.stats()["calibration"][0]["impostors"] == before["impostors"] == 100
        assert reader.stats()["calibration"][0]["threshold"] > before["threshold"]
        world.fill(writer, 55, 100)
        assert reader.search_image(world.query(70))[0].probability > 0.9
        assert reader.stats()["calibration"][0]["impostors"] == 200
        writer.remove([f"item-{item}" for item in range(95)])
        assert reader.identify(world.query(0)).verdict == "unknown"
        assert reader.identify(world.query(97)).item == "item-97"
        assert reader.stats()["calibration"][0]["impostors"] == 10


def test_texts_have_probabilities_once_they_are_calibrated(world: World, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        world.fill(engine, 0, 100)
        text = str(2)  # the query of item 0
        with pytest.raises(ps.ArgumentError, match="texts are not calibrated in this catalog"):
            engine.identify(ps.Query(text=text))
        with pytest.raises(ps.ArgumentError, match="3 labeled queries are too few"):
            engine.calibrate([(ps.Query(text=str(3 * item + 2)), f"item-{item}") for item in range(3)])
        labels = [(ps.Query(text=str(3 * item + 2)), f"item-{item}") for item in range(30)]
        made = engine.calibrate([*labels, (ps.Query(text=str(3 * 300 + 2)), None)])
        assert (made.kind, made.genuine, made.impostors, made.queries) == ("text", 30, 31, 31)
        found = engine.identify(ps.Query(text=str(3 * 50 + 2)))
        assert (found.verdict, found.item) == ("match", "item-50")
        assert engine.search_text(str(3 * 51 + 2))[0].probability > 0.9
        assert [row["kind"] for row in engine.stats()["calibration"]] == ["text"]


def test_bad_input_is_refused(engine: ps.Engine, world: World) -> None:
    picture = world.query(0)
    for options, said in (
        ({"target_fpr": 0.0}, "target_fpr 0: give a share above 0 and below 1"),
        ({"prior": 1.0}, "prior 1: give a share above 0 and below 1"),
        ({"target_fpr": float("nan")}, "target_fpr NaN: give a share"),
        ({"k": 0}, "k must be at least 1"),
        ({"models": "nothing"}, "has no model"),
        ({"where": {"$no": 1}}, r"\$no"),
    ):
        with pytest.raises(ps.ArgumentError, match=said):
            engine.identify(picture, **options)
    for query in (ps.Query(item="item-1"), ps.Query(image=[(picture, -1.0)]), ps.Query(vector=np.ones(DIM))):
        with pytest.raises(ps.ArgumentError, match="items, vectors or negative weights"):
            engine.identify(query)
    with pytest.raises(ps.ArgumentError, match="several kinds"):
        engine.identify([picture, ps.Query(text="1")])
    with pytest.raises(ps.UnknownItemError):
        engine.calibrate([(picture, "nothing")])


def test_a_model_tells_its_typical_scores(toy_model: Path, tmp_path: Path) -> None:
    """They change no vector, so the catalog opens with both."""
    other = tmp_path / "model"
    shutil.copytree(toy_model, other)
    manifest = json.loads((other / "model.json").read_text())
    typical = {"genuine": [0.97, 0.99], "start": 0.9, "scale": 0.02}
    (other / "model.json").write_text(json.dumps({**manifest, "calibration": typical}))
    picture = np.full((8, 8, 3), 90, np.uint8)
    with ps.Engine(tmp_path / "c", model=toy_model) as engine:
        engine.add("gray", images=picture)
        usual = engine.identify(picture, target_fpr=0.05).threshold
    with ps.Engine(tmp_path / "c", model=other) as engine:
        # Of strangers 5 % reach the beginning of the tail among one item.
        assert engine.identify(picture, target_fpr=0.05).threshold == pytest.approx(0.9, abs=0.005)
        assert usual < 0.6
    for bad in ({**typical, "genuine": []}, {**typical, "scale": 0}, {**typical, "more": 1}):
        (other / "model.json").write_text(json.dumps({**manifest, "calibration": bad}))
        with pytest.raises(ps.ModelError, match=r"model\.json"):
            ps.Engine(tmp_path / "c", model=other)


def test_identical_references_of_all_items_are_ambiguous_or_unknown(world: World, tmp_path: Path) -> None:
    """Nothing tells two items apart that have the same references: none is named alone."""
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        for name in ("one", "other"):
            engine.add_vectors([name, name], world.views[5, :2])
        found = engine.identify(world.query(5))
        assert found.verdict in ("ambiguous", "unknown")
        assert found.probability is not None
        assert found.probability <= 0.5
        assert found.margin == 0.0
        assert [hit.probability for hit in found.hits] == [found.probability] * 2


def test_damaged_settings_are_made_anew(world: World, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        world.fill(engine, 0, 20)
        engine.calibrate()
    with sqlite3.connect(tmp_path / "c" / "catalog.sqlite") as connection:
        connection.execute("UPDATE settings SET value = '{\"pixels\": 3}' WHERE key = 'calibration'")
    connection.close()
    with ps.Engine(tmp_path / "c", model=world.encoder) as engine:
        assert engine.stats()["calibration"] == []
        assert engine.identify(world.query(3)).item == "item-3"


def test_reliability_and_its_error_are_those_computed_by_hand() -> None:
    likely, right = [0.05, 0.95, 0.95, 1.0, 0.55], [False, True, False, True, True]
    found = metrics.reliability(likely, right)
    assert [(one.low, one.answers) for one in found] == [(0.0, 1), (0.5, 1), (0.9, 3)]
    assert found[2].probability == pytest.approx(2.9 / 3)
    assert found[2].right == pytest.approx(2 / 3)
    assert metrics.ece(likely, right) == pytest.approx((0.05 + 0.45 + 3 * abs(2.9 / 3 - 2 / 3)) / 5)
    assert metrics.ece([0.8, 0.8], [True, False], weights=[4, 1]) == pytest.approx(0)
    for bad in (([1.5], [True]), ([0.5], [True, False]), ([], [])):
        with pytest.raises(ps.ArgumentError):
            metrics.ece(*bad)


def test_an_evaluation_tells_the_rates_and_how_far_probabilities_can_be_trusted(
    engine: ps.Engine, world: World
) -> None:
    engine.calibrate()
    known = [(world.query(item), f"item-{item}") for item in range(300)]
    found = engine.evaluate(known, unknown=[world.query(item) for item in range(300, 600)], rounds=50)
    certainty = found.certainty
    assert certainty is not None
    bar = engine.identify(world.query(0)).threshold
    assert certainty.threshold == bar
    strangers = engine.identify([world.query(item) for item in range(300, 600)])
    strengths = [one.strength for one in strangers]
    assert found.metrics["FPIR"].value == pytest.approx(np.mean(np.array(strengths) >= bar))
    assert found.metrics["FNIR"].value < 0.1
    assert certainty.ece < 0.05
    assert sum(one.answers for one in certainty.bins) == 600
    text = repr(found)
    assert "The expected calibration error of the probabilities is" in text
    assert "0.9 to 1.0" in text
    assert found.to_dict()["certainty"]["by_size"][0]["items"] == 50
    assert engine.evaluate(rounds=50).certainty is None


def test_rendered_plushes_are_told_from_strangers(tmp_path: Path) -> None:
    count, size = 300, 128
    encoder = as_encoder("plushie-mini", threads=2)

    def shots(first: int, slot: int, scene: Any) -> list[Any]:
        seeds = list(range(first, first + count))
        return list(_core.render_plushes(seeds, [seed * 100 + slot for seed in seeds], size=size, scene=scene))

    with ps.Engine(tmp_path / "c", model=encoder) as engine:
        ids = [f"plush-{number}" for number in range(count)]
        references = [encoder.encode_images(shots(300_000_000, slot, "everyday")) for slot in (0, 1)]
        for vectors in references:
            engine.add_vectors(ids, vectors)
        known, strange = shots(300_000_000, 10, "everyday"), shots(301_000_000, 10, "everyday")
        found = engine.evaluate(list(zip(known, ids, strict=True)), unknown=strange, rounds=50)
        answers = engine.identify([*known, *strange], target_fpr=0.05)
        assert not engine.stats()["calibration"][0]["second_look"]
    # Every reference is compared with all other items, without the reference of each that is most like it.
    rows = np.stack(references, 1).reshape(2 * count, -1)
    alike = np.sort((rows @ rows.T).reshape(2 * count, count, 2), axis=2)
    alike[np.arange(2 * count), np.repeat(np.arange(count), 2)] = -1
    expected, all_of_them = (np.quantile(strong(alike[:, :, place]), 0.95) for place in (0, 1))
    assert answers[0].threshold == pytest.approx(expected, abs=0.004)
    assert expected < all_of_them - 0.01
    accepted = np.mean([answer.verdict != "unknown" for answer in answers[count:]])
    right = np.mean([answer.item == id for answer, id in zip(answers, ids, strict=False)])
    assert accepted <= 0.1, accepted
    assert right >= 0.8, right
    assert found.certainty is not None
    assert found.certainty.ece <= 0.03, found
