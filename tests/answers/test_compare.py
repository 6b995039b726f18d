"""Pictures beside pictures and items, and the log of the verdicts."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps
from plushie_search import _core
from plushie_search.answers.likeness import keep


class Colors:
    """An encoder of a picture's mean color."""

    dim = 3

    def __init__(self, name: str, shift: float) -> None:
        self.name = self.fingerprint = name
        self.shift = shift

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return np.stack([image.reshape(-1, 3).mean(axis=0) + self.shift for image in images]).astype(np.float32)


def flat(*color: int) -> NDArray[np.uint8]:
    return np.full((8, 8, 3), color, np.uint8)


def cosine(a: tuple[int, ...], b: tuple[int, ...], shift: float = 0.0) -> float:
    left, right = np.array(a) + shift, np.array(b) + shift
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


RED, GREEN, BLUE, PINK = (200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 60, 60)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ps.Engine]:
    models = {"plain": Colors("plain", 0.0), "shifted": Colors("shifted", 50.0)}
    with ps.Engine(tmp_path / "c", model=models, threads=1) as engine:
        engine.add("toy", images=[flat(*RED), flat(*GREEN)], names=["red", "green"])
        engine.add("other", images=flat(*BLUE), names="blue")
        yield engine


def test_two_pictures_have_the_cosine_of_each_model(engine: ps.Engine) -> None:
    found = engine.compare(flat(*RED), flat(*PINK))
    scores = {"plain": cosine(RED, PINK), "shifted": cosine(RED, PINK, 50)}
    assert found.scores == pytest.approx(scores, abs=1e-6)
    assert found.similarity == pytest.approx(sum(scores.values()) / 2, abs=1e-6)
    assert (found.probability, found.item, found.reference, found.threshold) == (None, None, None, 0.9)
    assert found.same
    assert not engine.compare(flat(*RED), flat(*PINK), threshold=0.999).same
    weighed = engine.compare(flat(*RED), flat(*PINK), models={"plain": 3.0, "shifted": 1.0})
    assert weighed.similarity == pytest.approx((3 * scores["plain"] + scores["shifted"]) / 4, abs=1e-6)
    assert list(engine.compare(flat(*RED), flat(*PINK), models="shifted").scores) == ["shifted"]
    assert engine.compare(flat(*RED), flat(*GREEN), models="plain").similarity == 0.0


def test_an_item_has_the_cosine_of_its_best_reference(engine: ps.Engine) -> None:
    found = engine.compare(flat(10, 190, 0), item="toy")
    assert (found.item, found.reference) == ("toy", "green")
    assert found.scores["plain"] == pytest.approx(cosine((10, 190, 0), GREEN), abs=1e-6)
    assert found.to_dict()["reference"] == "green"


def test_lists_are_compared_one_by_one(engine: ps.Engine) -> None:
    pictures = [flat(*color) for color in (RED, GREEN, BLUE)]
    alone = [engine.compare(one, flat(*RED)) for one in pictures]
    assert engine.compare(pictures, flat(*RED)) == alone
    assert engine.compare(flat(*RED), pictures) == alone
    assert engine.compare(pictures, [flat(*RED)] * 3) == alone
    assert [one.reference for one in engine.compare(pictures[:2], item="toy")] == ["red", "green"]
    both = engine.compare(flat(*BLUE), item=["toy", "other"])
    assert [(one.item, one.same) for one in both] == [("toy", False), ("other", True)]
    assert engine.compare([], []) == engine.compare([], item="toy") == []


def test_an_item_has_the_probability_of_a_search(tmp_path: Path) -> None:
    """It is what takes the place of the cosine as the similarity."""
    dice = np.random.default_rng(0)
    with ps.Engine(tmp_path / "c", model=Colors("plain", 0.0), threads=1) as engine:
        colors = dice.integers(1, 255, (40, 3))
        engine.add_images([flat(*color) for color in colors], ids=[f"i{number}" for number in range(40)])
        picture = flat(*colors[3])
        hits = engine.search_image(picture, k=10)
        found = engine.compare(picture, item="i3")
        wanted = next(hit.probability for hit in hits if hit.item == "i3")
        assert found.probability == wanted
        assert found.similarity == (found.scores["plain"] if wanted is None else wanted)
        last = engine.search_image(picture, k=40)[-1]
        far = engine.compare(picture, item=last.item)
        assert far.probability == (None if wanted is None else 0.0)


def test_each_verdict_is_logged(engine: ps.Engine, tmp_path: Path) -> None:
    path, log = tmp_path / "red.png", tmp_path / "audit.jsonl"
    Image.fromarray(flat(*RED)).save(path)
    engine.compare(path, item="toy", audit=log)
    file = io.BytesIO(path.read_bytes())
    engine.compare([file, flat(*BLUE)], flat(*RED), audit=log)
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert [line["verdict"] for line in lines] == ["same", "same", "different"]
    first = lines[0]
    assert first["models"] == {
        "plain": engine.stats()["models"][0]["fingerprint"],
        "shifted": engine.stats()["models"][1]["fingerprint"],
    }
    assert (first["item"], first["reference"], first["catalog"], first["threshold"]) == ("toy", "red", engine.path, 0.9)
    assert first["picture"] == {"path": str(path), "digest": _core.picture_digest(path)}
    assert first["similarity"] == pytest.approx(1.0)
    assert abs((datetime.now(timezone.utc) - datetime.fromisoformat(first["time"])).total_seconds()) < 60
    assert lines[1]["picture"]["digest"] == first["picture"]["digest"]
    assert lines[2]["other"] == {"path": None, "digest": _core.picture_digest(flat(*RED))}
    before = first["sequence"]
    engine.add("new", images=flat(1, 2, 3))
    engine.compare(path, item="new", audit=log)
    assert json.loads(log.read_text(encoding="utf-8").splitlines()[-1])["sequence"] > before


def test_paths_in_the_log_are_found_from_everywhere(
    engine: ps.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(flat(*RED)).save("red.png")
    with ps.Engine("here", model=Colors("plain", 0.0)) as relative:
        relative.compare("red.png", "red.png", audit="log")
    [line] = map(json.loads, Path("log").read_text(encoding="utf-8").splitlines())
    assert line["catalog"] == str(tmp_path / "here")
    assert line["picture"]["path"] == line["other"]["path"] == str(tmp_path / "red.png")


def test_a_verdict_prints_itself(engine: ps.Engine) -> None:
    lines = str(engine.compare(flat(*RED), item="toy")).splitlines()
    assert lines[0] == "same: similarity 1.000, threshold 0.9"
    assert lines[-1] == "most like red"
    assert str(engine.compare(flat(*RED), flat(*BLUE), models="plain")).startswith("different: similarity ")


def test_lines_of_two_processes_do_not_mix(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    code = (
        "import sys; from plushie_search.answers.likeness import keep\n"
        "for n in range(300): keep(sys.argv[1], [{'who': sys.argv[2], 'n': n, 'text': sys.argv[2] * 3000}])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(log), who]) for who in "ab"]
    assert [one.wait() for one in running] == [0, 0]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for who in "ab":
        assert [line["n"] for line in lines if line["who"] == who] == list(range(300))
    assert all(line["text"] == line["who"] * 3000 for line in lines)
    keep(log, [])
    assert len(log.read_text().splitlines()) == 600


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({}, ps.ArgumentError, "give one of them"),
        ({"b": flat(*RED), "item": "toy"}, ps.ArgumentError, "give one of them"),
        ({"b": flat(*RED), "threshold": 1.5}, ps.ArgumentError, "threshold 1.5"),
        ({"b": flat(*RED), "threshold": float("nan")}, ps.ArgumentError, "threshold nan"),
        ({"item": "lion"}, KeyError, "lion"),
        ({"b": flat(*RED), "models": "none"}, ps.ArgumentError, "none"),
        ({"b": flat(*RED), "models": {}}, ps.ArgumentError, "weights above 0"),
        ({"b": flat(*RED), "models": {"plain": 0.0}}, ps.ArgumentError, "weights above 0"),
        ({"b": b"no picture"}, ps.PictureError, "image"),
        (
            {"item": "toy", "audit": "/no/such/folder/log"},
            OSError,
            r"log of verdicts cannot be written .*: '/no/such/folder/log'",
        ),
    ],
)
def test_bad_input_is_refused(engine: ps.Engine, arguments: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        engine.compare(flat(*RED), **arguments)


def test_lists_of_two_lengths_are_refused(engine: ps.Engine) -> None:
    with pytest.raises(ps.ArgumentError, match="2 pictures but 3 second pictures"):
        engine.compare([flat(*RED)] * 2, [flat(*RED)] * 3)
    with pytest.raises(ps.ArgumentError, match="2 pictures but 1 items"):
        engine.compare([flat(*RED)] * 2, item=["toy"])
