"""Verdicts on photos beside golden samples, against numpy."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from solids import box, bracket, stl

import plushie_search as ps
from plushie_search.answers.inspect.conformal import limit_of, p_value
from plushie_search.answers.inspect.local import Bank, Parts
from plushie_search.meshes import render_views

random = np.random.default_rng(3)


def golden() -> NDArray[np.uint8]:
    """A gray product with a red button, under light that varies by 5 %."""
    pixels = np.full((160, 160, 3), 130.0)
    pixels[30:130, 30:130] = (90, 140, 90)
    pixels[60:90, 60:90] = (200, 30, 30)
    return np.clip(pixels * random.uniform(0.95, 1.05) + random.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)


def faulty() -> NDArray[np.uint8]:
    pixels = golden()
    pixels[60:90, 60:90] = pixels[100:130, 60:90]
    return pixels


class Means:
    """A model of the mean colors of 16 fields, which has no feature maps."""

    name, dim, fingerprint, batch = "means", 48, "means of fields", 32

    def encode_images(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        fields = []
        for image in images:
            rows = np.array_split(image.astype(float), 4, axis=0)
            fields.append([1 + cell.mean((0, 1)) for row in rows for cell in np.array_split(row, 4, axis=1)])
        return np.array(fields).reshape(len(images), -1)


@pytest.fixture(params=["plushie-mini", "means"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> ps.Engine:
    model = Means() if request.param == "means" else "plushie-mini"
    engine = ps.Engine(tmp_path / "c", model=model, threads=2)
    engine.add("button", images=[golden() for _ in range(5)])
    return engine


def test_a_fault_is_seen_where_it_is(engine: ps.Engine, tmp_path: Path) -> None:
    good = engine.inspect(golden(), "button", threshold=0.5)
    bad = engine.inspect(faulty(), "button", threshold=0.5, audit=tmp_path / "log.jsonl")
    assert isinstance(good, ps.Inspection)
    assert isinstance(bad, ps.Inspection)
    assert good.verdict in ("pass", "review")
    assert bad.verdict == "fail"
    assert bad.anomaly > 1.25 * bad.limit > good.anomaly
    assert bad.map.shape == (32, 32)
    y, x = np.unravel_index(bad.map.argmax(), bad.map.shape)
    assert 9 <= y <= 20
    assert 9 <= x <= 20
    assert bad.p_value == pytest.approx(1 / 6)
    assert bad.false_alarm_rate == pytest.approx(1 / 6)
    assert "17%" in bad.notes[-1]
    assert "takes 19" in bad.notes[-1]
    assert len(bad.nearest) == 3
    assert bad.nearest[0][1] >= bad.nearest[1][1]
    line = json.loads((tmp_path / "log.jsonl").read_text(encoding="utf-8"))
    assert (line["verdict"], line["item"], line["anomaly"]) == ("fail", "button", bad.anomaly)
    assert len(line["picture"]["digest"]) == 64
    assert json.loads(json.dumps(bad.to_dict()))["verdict"] == "fail"
    assert bad.to_image().shape[1] > 2 * bad.to_image().shape[0]
    assert "fail" in str(bad)
    free = engine.inspect(faulty(), "button", threshold=0.5, camera="free")
    assert free.anomaly >= 0


def test_a_folder_has_golden_samples(tmp_path: Path) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(golden()).save(folder / f"{number}.png")
    photo, another = faulty(), golden()
    with ps.Engine(tmp_path / "c", threads=2) as engine:
        found, same = (
            engine.inspect(photo, golden=given, threshold=0.5)
            for given in ([folder, another], [*sorted(folder.iterdir()), another])
        )
    assert isinstance(found, ps.Inspection)
    assert isinstance(same, ps.Inspection)
    assert found.false_alarm_rate == pytest.approx(1 / 5)
    assert (found.anomaly, found.limit) == (same.anomaly, same.limit)


def test_a_folder_becomes_a_report(tmp_path: Path) -> None:
    folder = tmp_path / "line"
    folder.mkdir()
    for name, pixels in (("a", golden()), ("=b", faulty())):
        Image.fromarray(pixels).save(folder / f"{name}.png")
    (folder / "c.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no photo")
    with ps.Engine(tmp_path / "c", threads=2) as engine:
        found = engine.inspect(folder, golden=[golden() for _ in range(4)], threshold=0.5)
    assert isinstance(found, ps.Inspections)
    assert [Path(one.photo).name for one in found] == ["=b.png", "a.png"]
    assert found[0].verdict == "fail"
    assert found[0].item is None
    assert found[0].probability is None
    assert [Path(name).name for name, _ in found.failed] == ["c.png"]
    rows = list(csv.DictReader(io.StringIO(found.to_csv(tmp_path / "r.csv"))))
    assert [row["verdict"] for row in rows] == ["fail", found[1].verdict, "error"]
    assert "c.png" in rows[2]["notes"]
    assert "with 4 golden samples up to 20%" in rows[0]["notes"]
    assert repr(found).count("with 4 golden samples up to 20%") == 1
    assert float(rows[0]["anomaly"]) == pytest.approx(found[0].anomaly, abs=1e-4)
    assert (tmp_path / "r.csv").read_text(encoding="utf-8") == found.to_csv()
    page = found.to_html(tmp_path / "r.html")
    assert page.count("data:image/jpeg") == 2
    assert "c.png" in page
    assert "2 photos" in repr(found)
    assert len(found.to_dicts()) == 2


def test_a_photo_of_another_thing_fails(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=Means()) as engine:
        one = engine.inspect(255 - golden(), golden=golden(), threshold=0.999)
        assert (one.verdict, one.anomaly, one.map, one.false_alarm_rate) == ("fail", None, None, None)
        assert "from 3" in one.notes[-1]
        assert engine.inspect(golden(), golden=golden(), threshold=0.9).verdict == "pass"
        other = engine.inspect(golden()[:, :80], golden=[golden(), golden()])
        assert other.similarity < 1


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({}, ps.ArgumentError, "give one of them"),
        ({"item": "button", "golden": golden()}, ps.ArgumentError, "give one of them"),
        ({"item": "none"}, KeyError, "none"),
        ({"item": "button", "threshold": 2}, ps.ArgumentError, "threshold"),
        ({"item": "button", "alarm_rate": 0}, ps.ArgumentError, "alarm_rate"),
        ({"item": "button", "camera": "moving"}, ps.ArgumentError, "camera"),
        ({"item": "button", "photo": b"none"}, ps.PictureError, "not a"),
        ({"golden": []}, ps.ArgumentError, "golden"),
    ],
)
def test_bad_input_is_refused(tmp_path: Path, options: dict[str, object], error: type[Exception], said: str) -> None:
    with ps.Engine(tmp_path / "c", model=Means()) as engine:
        engine.add("button", images=[golden(), golden()])
        given = {"photo": golden(), **options}
        with pytest.raises(error, match=said):
            engine.inspect(given.pop("photo"), **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "rate", "wanted"),
    [(1, 0.05, 0.5), (5, 0.05, 1 / 6), (19, 0.05, 0.05), (20, 0.05, 1 / 21), (99, 0.1, 0.1)],
)
def test_good_samples_are_above_the_limit_at_its_rate(count: int, rate: float, wanted: float) -> None:
    dice = np.random.default_rng(0)
    scores = dice.exponential(size=(20_000, count + 1))
    alarms, kept = 0, 0.0
    for row in scores:
        limit, kept = limit_of(list(row[:count]), rate)
        alarms += row[count] > limit
    assert kept == pytest.approx(wanted)
    assert alarms / len(scores) == pytest.approx(kept, abs=0.01)
    assert p_value(3.0, [1.0, 3.0, 4.0]) == 0.75


def test_a_part_is_compared_with_the_same_place_and_its_neighbors() -> None:
    dice = np.random.default_rng(1)

    def parts(features: NDArray[np.float64]) -> Parts:
        return Parts((10, 10), features.astype(np.float32), np.zeros((*features.shape[:3], 4)), reach=1)

    samples = [dice.normal(size=(2, 4, 5, 3)) for _ in range(4)]
    photo = dice.normal(size=(2, 4, 5, 3))

    def by_hand(one: NDArray[np.float64], others: list[NDArray[np.float64]], *, free: bool) -> NDArray[np.float64]:
        found = np.empty(one.shape[:3])
        for tile, y, x in np.ndindex(*found.shape):
            near = []
            for other in others:
                if free:
                    near.append(other.reshape(-1, 3))
                else:
                    near.append(other[tile, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3))
            found[tile, y, x] = np.linalg.norm(np.concatenate(near) - one[tile, y, x], axis=1).min()
        return found

    def spread(some: list[NDArray[np.float64]], *, free: bool) -> NDArray[np.float64]:
        alone = [by_hand(one, [other for other in some if other is not one], free=free) for one in some]
        return np.mean(alone, axis=0) + np.mean(alone)

    for free in (False, True):
        bank = Bank([parts(one) for one in samples], free=free)
        score, ratios = bank.compare(parts(photo))
        np.testing.assert_allclose(ratios, by_hand(photo, samples, free=free) / spread(samples, free=free), rtol=1e-3)
        assert score == pytest.approx(float(ratios.max()))
        wanted = []
        for one in samples:
            others = [other for other in samples if other is not one]
            wanted.append((by_hand(one, others, free=free) / spread(others, free=free)).max())
        np.testing.assert_allclose(bank.scores, wanted, rtol=1e-3)


def test_good_photos_alarm_no_more_than_was_promised() -> None:
    dice = np.random.default_rng(2)
    alarms = 0
    for _ in range(300):
        photos = dice.normal(size=(6, 1, 3, 3, 4)).astype(np.float32)
        *samples, photo = [Parts((9, 9), one, np.zeros((1, 3, 3, 4)), reach=0) for one in photos]
        bank = Bank(samples, free=False)
        limit, rate = limit_of(bank.scores, 0.05)
        assert rate == pytest.approx(1 / 6)
        alarms += bank.compare(photo)[0] > limit
    # A sixth at most, and by chance of 300 draws hardly more.
    assert alarms / 300 < 1 / 6 + 3 * np.sqrt(1 / 6 * 5 / 6 / 300)


def test_a_3d_model_is_compared_by_its_views(engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "bracket.stl"
    path.write_bytes(stl(bracket()))
    names, views = render_views(path, views=20, size=224)
    photo = views[3]
    for golden in (path, path.read_bytes()):
        found = engine.inspect(photo, golden=golden, threshold=0.99)
        assert isinstance(found, ps.Inspection)
        assert (found.verdict, found.anomaly) == ("pass", None)
        assert found.similarity == pytest.approx(1, abs=1e-3)
        assert found.nearest[0][0].endswith(f" {names[3]}")
        assert "is a 3D model" in found.notes[0]
        assert "low cosines" in found.notes[1]
        assert len(found.notes) == 2
    other = engine.inspect(photo, golden=stl(box(1, 2, 9)), threshold=0.99)
    assert isinstance(other, ps.Inspection)
    assert (other.verdict, other.similarity < found.similarity) == ("fail", True)
    engine.add("bracket", images=[path])
    item = engine.inspect(photo, "bracket", threshold=0.5)
    assert isinstance(item, ps.Inspection)
    assert item.anomaly is None
    assert item.nearest[0] == (str(path), pytest.approx(1, abs=1e-3))
    # No photo is as probable as this: the order of the items decides whether a person should look.
    engine.add("box", images=[stl(box(1, 2, 9))])
    for name, verdict, told in (("bracket", "review", "no other item"), ("box", "fail", "item bracket is nearer")):
        one = engine.inspect(photo, name, threshold=1)
        assert isinstance(one, ps.Inspection)
        assert (one.verdict, one.notes[-1][: len(told)]) == (verdict, told)
    path.write_bytes(b"solid x\nfacet\n")
    with pytest.raises(ps.PictureError, match="holds no triangles"):
        engine.inspect(photo, golden=path, threshold=0.5)
