"""The pytest plugin, run as users run it, in projects of their own."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps
from plushie_search import _core
from plushie_search.testing import Snapshots, assert_finds, assert_similar
from plushie_search.testing.failures import file_name
from plushie_search.testing.likeness import similarity


@pytest.fixture
def project(pytester: pytest.Pytester, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with three pictures: red, nearly the same red, and blue."""
    for name in ("PLUSHIE_TEST_FAILURES", "PLUSHIE_TEST_MODEL", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini(f"[pytest]\nplushie_model = {toy_model}\nfilterwarnings = error\n")
    for name, color in (("red", (200, 30, 30)), ("reddish", (190, 40, 30)), ("blue", (20, 60, 220))):
        Image.new("RGB", (40, 30), color).save(pytester.path / f"{name}.png")
    return pytester


def run(project: pytest.Pytester, *arguments: str, **outcomes: int) -> str:
    """Runs pytest in the project, checks the outcomes, and returns what it prints."""
    # The plugin by its name: to find those of all packages takes most of the time of a run.
    result = project.runpytest_inprocess("-p", "pytest_plushie", "-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(**outcomes)
    return result.stdout.str()


def failures(project: pytest.Pytester, folder: str = ".plushie-failures") -> list[str]:
    return sorted(path.name for path in (project.path / folder).glob("*"))


def test_starting_pytest_imports_nothing_of_the_package() -> None:
    code = (
        "import sys, pytest, pytest_plushie\n"
        "pytest.main(['--version'])\n"
        "heavy = {'numpy', 'onnxruntime', 'plushie_search', 'PIL', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_plugin_is_found_by_pytest(project: pytest.Pytester) -> None:
    assert "pytest_plushie" in {one.value for one in importlib.metadata.entry_points(group="pytest11")}
    printed = run(project, "--fixtures", "-q")
    assert {"plushie_encoder", "plushie_engine", "plushie_snapshot"} <= set(re.findall(r"^plushie_\w+", printed, re.M))


def test_pictures_are_compared_and_a_failure_is_drawn(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import numpy as np
        from plushie_search.testing import assert_similar

        def test_alike():
            assert_similar("red.png", "reddish.png", min_similarity=0.9)

        def test_unlike():
            assert_similar("red.png", np.zeros((8, 8, 3), np.uint8) + 255, min_similarity=0.9999)

        def test_twice():
            for _ in range(2):
                try:
                    assert_similar("red.png", "blue.png", min_similarity=1)
                except AssertionError:
                    pass
        """
    )
    printed = run(project, passed=2, failed=1)
    found = re.search(r"red\.png and the ndarray have the similarity (\S+), which is below 0.9999", printed)
    assert found is not None
    name = "test_pictures_are_compared_and_a_failure_is_drawn.py"
    assert failures(project) == [f"{name}-test_twice-2.png", f"{name}-test_twice.png", f"{name}-test_unlike.png"]
    drawn = np.asarray(Image.open(project.path / ".plushie-failures" / f"{name}-test_unlike.png"))
    assert drawn.shape == (30, 40 + 12 + 30, 3)  # both as high as the red one, and the gap
    assert (drawn[:, 40:52] == 255).all()
    run(project, "-k", "alike and not unlike", passed=1, deselected=2)
    assert failures(project) == []  # those of an earlier run are gone


def test_the_similarity_is_the_cosine(toy_encoder: _core.Encoder) -> None:
    chance = np.random.default_rng(0)
    one, other = chance.integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    vectors = toy_encoder.encode_images([one, other])
    assert similarity(one, other, toy_encoder) == pytest.approx(float(np.clip(vectors[0] @ vectors[1], 0, 1)))
    exact = float(vectors[0] @ vectors[1])
    assert_similar(one, other, min_similarity=max(0, exact - 1e-4), model=toy_encoder)
    with pytest.raises(AssertionError, match=f"the similarity {max(exact, 0):.4f}"):
        assert_similar(one, other, min_similarity=min(1, max(exact, 0) + 1e-3), model=toy_encoder)
    with pytest.raises(ps.ArgumentError, match=r"min_similarity=1.5: give a number from 0 to 1"):
        assert_similar(one, other, min_similarity=1.5, model=toy_encoder)


def test_items_are_found_or_their_rank_is_told(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest
        import plushie_search as ps
        from plushie_search.testing import assert_finds

        @pytest.fixture
        def engine(plushie_engine):
            assert len(plushie_engine) == 0
            plushie_engine.add_images(["red.png", "blue.png"], ids=["red", "blue"])
            return plushie_engine

        def test_found(engine, plushie_encoder):
            assert engine.models == (plushie_encoder.name,)
            assert_finds(engine, "reddish.png", "red")
            assert_finds(engine, ps.Query(item="red"), "blue", k=2)

        def test_second(engine):
            assert_finds(engine, "reddish.png", "blue")

        def test_not_there(engine):
            assert_finds(engine, "reddish.png", "green", k=3)
        """
    )
    printed = run(project, passed=1, failed=2)
    assert "reddish.png does not find item 'blue' among the first 1: it has the rank 2" in printed
    assert "does not find item 'green' among the first 3: there is no such item" in printed
    assert re.search(r"  1  red  0\.\d{4}", printed)
    name = "test_items_are_found_or_their_rank_is_told.py"
    assert failures(project) == [f"{name}-test_not_there.png", f"{name}-test_second.png"]
    second, other = (
        np.asarray(Image.open(project.path / ".plushie-failures" / one)) for one in failures(project)[::-1]
    )
    assert second.shape[0] == 2 * (30 + 12)  # the item that was asked for, and the best hit below it
    assert other.shape[0] == 30 + 12


def test_a_catalog_is_asked_with_its_options(toy_encoder: _core.Encoder, tmp_path: Path) -> None:
    red, blue = (np.full((8, 8, 3), color, np.uint8) for color in ((200, 30, 30), (20, 60, 220)))
    with ps.Engine(tmp_path / "catalog", model=toy_encoder) as engine:
        engine.add("red", images=[red], label="x")
        engine.add("7", images=[blue], label="y")
        assert_finds(engine, red, 7, where={"label": "y"})
        with pytest.raises(
            AssertionError, match="the ndarray does not find item '7' among the first 1: it has the rank"
        ):
            assert_finds(engine, red, 7)
        with pytest.raises(ps.ArgumentError, match="k=0: give 1 or more"):
            assert_finds(engine, red, "red", k=0)


SNAPSHOTS = """
    from pathlib import Path

    class TestPage:
        def test_drawn(self, plushie_snapshot):
            plushie_snapshot(Path("shown.png"))
            plushie_snapshot("red.png", "other", min_similarity=1)
"""


def test_snapshots_are_written_compared_and_updated(project: pytest.Pytester) -> None:
    project.makepyfile(test_page=SNAPSHOTS)
    shown = project.path / "shown.png"
    shown.write_bytes((project.path / "red.png").read_bytes())
    assert "there is no snapshot" in run(project, failed=1)
    run(project, "--plushie-update", passed=1)
    folder = project.path / "snapshots" / "test_page"
    assert sorted(path.name for path in folder.iterdir()) == [
        "TestPage-test_drawn-1.png",
        "TestPage-test_drawn-other.png",
    ]
    first = folder / "TestPage-test_drawn-1.png"
    kept = first.read_bytes()
    shown.write_bytes((project.path / "reddish.png").read_bytes())
    run(project, passed=1)
    run(project, "--plushie-update", passed=1)
    assert first.read_bytes() == kept  # one that still fits is not touched
    shown.write_bytes((project.path / "blue.png").read_bytes())
    printed = run(project, "--plushie-failures", "drawn", failed=1)
    assert "which is below 0.98" in printed
    assert failures(project, "drawn") == ["test_page.py-TestPage-test_drawn.png"]
    run(project, "--plushie-update", passed=1)
    np.testing.assert_array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(shown)))
    run(project, passed=1)
    (project.path / "red.png").write_bytes((project.path / "reddish.png").read_bytes())
    assert "and their pixels differ" in run(project, failed=1)


def test_snapshots_have_names_of_their_own(tmp_path: Path, toy_encoder: _core.Encoder) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    snapshot = Snapshots(tmp_path / "new", "test[a/b c]", update=True, model=toy_encoder)
    snapshot(picture)
    snapshot(picture, "x")
    snapshot(picture)
    begin = f"test-a-b-c-{hashlib.sha256(b'test[a/b c]').hexdigest()[:8]}"
    names = [f"{begin}-1.png", f"{begin}-x.png", f"{begin}-3.png"]
    assert [path.name for path in snapshot.written] == names
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    with pytest.raises(ps.ArgumentError, match="snapshot 'x': the test has one of that name already"):
        snapshot(picture, "x")


@pytest.mark.parametrize(
    ("test", "name"),
    [
        ("tests/a.py::test_b", "tests-a.py-test_b"),
        ("test_b[c-d_1.5]", "test_b-c-d_1.5"),
        ("小熊", "小熊"),
        ("", "failure"),
        ("test_b[c d]", r"test_b-c-d-[0-9a-f]{8}"),
        ("x" * 200, r"x{111}-[0-9a-f]{8}"),
        ("[[", r"failure-[0-9a-f]{8}"),
    ],
)
def test_file_names_have_no_other_characters(test: str, name: str) -> None:
    assert re.fullmatch(name, file_name(test))


def test_tests_of_other_parameters_have_other_names() -> None:
    ids = ["test[a b]", "test[a/b]", "test[a-b]", "test[a-b-]", "test[-a-b]", "test[a:b]", "test[a b]" + "b" * 200]
    names = [file_name(one) for one in (*ids, "x" + ids[-1])]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 120


def test_workers_run_in_parallel(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import os
        import pytest
        from plushie_search.testing import assert_similar

        @pytest.mark.parametrize("number", range(6))
        def test_each(number, plushie_engine, plushie_snapshot):
            plushie_engine.add("red", images=["red.png"])
            assert len(plushie_engine) == 1
            plushie_snapshot("red.png")
            if number % 2:
                assert_similar("red.png", "blue.png", min_similarity=1)
        """
    )
    run(project, "-p", "xdist", "-n", "2", "--plushie-update", passed=3, failed=3)
    assert len(failures(project)) == 3
    assert len(list((project.path / "snapshots").rglob("*.png"))) == 6
