"""`add_folder(prune=True)` removes the references whose files are gone, and never those that may come back."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from plushie_search import Engine
from plushie_search.paths import is_below, is_gone


@pytest.fixture
def engine(tmp_path: Path, toy_model: Path) -> Iterator[Engine]:
    with Engine(tmp_path / "catalog", model=toy_model) as engine:
        yield engine


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """toys/<animal>/1.png and 2.png, all different."""
    for number, animal in enumerate(("bear", "cat", "dog")):
        save(tmp_path / "toys" / animal / "1.png", 40 * number)
        save(tmp_path / "toys" / animal / "2.png", 40 * number + 20)
    return tmp_path / "toys"


def save(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9), (shade, 99, 0)).save(path)


def names(engine: Engine) -> dict[str, list[str]]:
    return {item.id: sorted(reference.name for reference in item.references) for item in engine}


def test_missing_pictures_are_removed_and_nothing_else(engine: Engine, toys: Path, tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "1.png", 250)
    save(tmp_path / "toys-2" / "1.png", 251)
    for one in ("elsewhere", "toys-2"):
        engine.add("bear", images=tmp_path / one / "1.png")
        shutil.rmtree(tmp_path / one)
    engine.add("bytes", images=(toys / "dog" / "1.png").read_bytes())
    engine.add_folder(toys)
    (toys / "bear" / "2.png").unlink()
    shutil.rmtree(toys / "cat")
    before = names(engine)
    assert engine.add_folder(toys).removed == 0
    assert names(engine) == before
    report = engine.add_folder(toys, prune=True)
    assert (report.duplicates, report.removed) == (3, 3)
    assert str(report).endswith("3 there already, 3 removed")
    del before["cat"]
    before["bear"].remove(str(toys / "bear" / "2.png"))
    assert names(engine) == before
    assert engine.add_folder(toys, prune=True).removed == 0


def test_files_that_moved_keep_their_items(engine: Engine, toys: Path) -> None:
    engine.add_folder(toys)
    engine.update("cat", label="a cat")
    (toys / "cat").rename(toys / "tiger")
    (toys / "bear" / "1.png").rename(toys / "bear" / "one.png")
    report = engine.add_folder(toys, prune=True)
    assert (report.moved, report.renamed, report.removed) == (2, 1, 0)
    assert engine.get("tiger").label == "a cat"
    assert sorted(names(engine)) == ["bear", "dog", "tiger"]


def test_the_folder_may_be_named_in_any_way(
    engine: Engine, toys: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine.add_folder(toys)
    (toys / "bear" / "2.png").unlink()
    monkeypatch.chdir(toys / "dog")
    assert engine.add_folder("../cat/..", prune=True).removed == 1
    monkeypatch.chdir(tmp_path)
    (toys / "bear" / "1.png").unlink()
    assert engine.add_folder("toys/", prune=True).removed == 1
    assert sorted(names(engine)) == ["cat", "dog"]


@pytest.mark.parametrize("state", ["missing", "empty", "broken"])
def test_a_folder_without_pictures_is_refused(engine: Engine, toys: Path, state: str) -> None:
    engine.add_folder(toys)
    before = names(engine)
    toys.rename(toys.with_name("disk"))
    message = {
        "missing": "toys",
        "empty": "no pictures in .*toys",
        "broken": "toys: no picture in it can be used, so nothing was removed; is its disk mounted",
    }
    if state != "missing":
        toys.mkdir()
    if state == "broken":
        (toys / "bear.png").write_text("nothing")
    with pytest.raises((OSError, ValueError), match=message[state]):
        engine.add_folder(toys, prune=True)
    assert names(engine) == before


def test_files_on_a_disk_that_is_not_mounted_stay(engine: Engine, toys: Path, tmp_path: Path) -> None:
    (toys / "cat").rename(tmp_path / "disk")
    (toys / "cat").symlink_to(tmp_path / "disk")
    save(tmp_path / "single.png", 250)
    (toys / "dog" / "3.png").symlink_to(tmp_path / "single.png")
    engine.add_folder(toys)
    before = names(engine)
    assert before["cat"] == [str(toys / "cat" / "1.png"), str(toys / "cat" / "2.png")]
    (tmp_path / "disk").rename(tmp_path / "elsewhere")
    (tmp_path / "single.png").unlink()
    assert engine.add_folder(toys, prune=True).removed == 0
    assert names(engine) == before
    (tmp_path / "elsewhere").rename(tmp_path / "disk")
    (tmp_path / "disk" / "1.png").unlink()
    assert engine.add_folder(toys, prune=True).removed == 1
    assert names(engine)["cat"] == [str(toys / "cat" / "2.png")]


def test_a_path_that_cannot_be_looked_at_is_not_gone(toys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = str(toys / "bear" / "3.png")
    assert is_gone(missing, str(toys))
    assert is_gone(str(toys / "bear" / "1.png" / "x.png"), str(toys))
    assert not is_gone(str(toys / "bear" / "1.png"), str(toys))

    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(os, "lstat", refuse)
    assert not is_gone(missing, str(toys))


@pytest.mark.parametrize(
    ("path", "folder", "below"),
    [
        ("/a/b/c", "/a/b", True),
        ("/a/b/../b/c", "/a/b/", True),
        ("/a", "/", True),
        ("/a/b", "/a/b", False),
        ("/a/bc/d", "/a/b", False),
        ("/a/b/../c", "/a/b", False),
        ("a/b/c", "/a/b", False),
        ("image 0 (bytes)", "/", False),
    ],
)
def test_paths_are_below_folders_by_their_parts(path: str, folder: str, below: bool) -> None:
    assert is_below(path, folder) == below
