"""The example of a job that can be stopped and run again."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import plushie_search as ps

SCRIPT = Path(__file__).parents[2] / "examples" / "nightly.py"


@pytest.fixture
def nightly(monkeypatch: pytest.MonkeyPatch, toy_model: Path) -> ModuleType:
    told = importlib.util.spec_from_file_location("nightly", SCRIPT)
    assert told is not None
    assert told.loader is not None
    module = importlib.util.module_from_spec(told)
    told.loader.exec_module(module)
    monkeypatch.setattr(module, "PART", 3)
    engine = ps.Engine
    monkeypatch.setattr(module.ps, "Engine", lambda path, **how: engine(path, model=toy_model, threads=1, **how))
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    for item in range(8):
        (tmp_path / "photos" / f"item-{item}").mkdir(parents=True)
        color = tuple(int(one) for one in chance.integers(0, 256, 3))
        Image.new("RGB", (8, 8), color).save(tmp_path / "photos" / f"item-{item}" / "1.png")
    write_queries(tmp_path, range(8))
    return tmp_path


def write_queries(folder: Path, items: range) -> None:
    paths = [str(folder / "photos" / f"item-{item}" / "1.png") for item in items]
    pq.write_table(pa.table({"photo": paths}), folder / "queries.parquet")


def test_a_job_that_was_stopped_goes_on(nightly: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, queries, answers = (str(folder / name) for name in ("catalog", "queries.parquet", "answers"))
    assert nightly.add(catalog, str(folder / "photos")).startswith("8 new items")
    whole = nightly.arrow.search_batches
    calls = []

    def stopped(*arguments: object, **options: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(nightly.arrow, "search_batches", stopped)
    with pytest.raises(KeyboardInterrupt):
        nightly.search(catalog, queries, answers)
    assert sorted(path.name for path in Path(answers).iterdir()) == ["part-00000.parquet", "state.json"]
    first = (Path(answers) / "part-00000.parquet").stat().st_mtime_ns
    assert nightly.search(catalog, queries, answers) == 2
    assert (Path(answers) / "part-00000.parquet").stat().st_mtime_ns == first
    table = pa.concat_tables(pq.read_table(path) for path in sorted(Path(answers).glob("*.parquet")))
    best = {row["row"]: row["item"] for row in table.to_pylist() if row["rank"] == 1}
    assert best == {row: f"item-{row}" for row in range(8)}
    assert nightly.search(catalog, queries, answers) == 0
    write_queries(folder, range(4))
    assert nightly.search(catalog, queries, answers) == 2
    assert len(list(Path(answers).glob("*.parquet"))) == 2


def test_the_command_adds_and_searches(nightly: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(folder / name) for name in ("catalog", "photos", "queries.parquet", "answers")]
    nightly.main(arguments)
    nightly.main(arguments)
    first, made, second, none = capsys.readouterr().out.splitlines()
    assert (made.split()[0], none.split()[0]) == ("3", "0")
    assert first.startswith("8 new items")
    assert second.startswith("0 new items")


def test_parts_follow_the_catalog_and_the_photos(nightly: ModuleType, folder: Path) -> None:
    catalog, queries, answers = (str(folder / name) for name in ("catalog", "queries.parquet", "answers"))
    nightly.add(catalog, str(folder / "photos"))
    assert nightly.search(catalog, queries, answers) == 3
    # As many items and references as before.
    with nightly.ps.Engine(catalog) as engine:
        engine.remove(["item-0"])
        engine.add("renamed", images=[folder / "photos" / "item-0" / "1.png"])
    assert nightly.search(catalog, queries, answers) == 3
    best = pq.read_table(Path(answers) / "part-00000.parquet").to_pylist()[0]
    assert (best["row"], best["rank"], best["item"]) == (0, 1, "renamed")
    Image.open(folder / "photos" / "item-1" / "1.png").save(folder / "photos" / "item-2" / "1.png")
    assert nightly.search(catalog, queries, answers) == 3
    assert nightly.search(catalog, queries, answers) == 0


def test_photos_that_are_away_are_looked_up_later(
    nightly: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(folder / name) for name in ("catalog", "photos", "queries.parquet", "answers")]
    shutil.copytree(folder / "photos", folder / "away")
    paths = [str(folder / "asked" / f"item-{item}" / "1.png") for item in range(7)]
    pq.write_table(pa.table({"photo": paths}), folder / "queries.parquet")
    with pytest.raises(SystemExit, match=r"^nightly.py: part 0: none of its 3 photos can be read, such as "):
        nightly.main(arguments)
    assert not list((folder / "answers").glob("*.parquet"))
    (folder / "away").rename(folder / "asked")
    (folder / "asked" / "item-4" / "1.png").write_bytes(b"no picture")
    nightly.main(arguments)
    told = capsys.readouterr()
    assert "part 1: 1 of 3 photos cannot be read" in told.err
    assert told.out.splitlines()[-1].startswith("3 new parts")


def test_wrong_queries_end_in_a_line(nightly: ModuleType, folder: Path) -> None:
    arguments = [str(folder / name) for name in ("catalog", "photos", "queries.parquet", "answers")]
    pq.write_table(pa.table({"foto": ["a"]}), folder / "queries.parquet")
    with pytest.raises(SystemExit, match=r"^nightly.py: .*queries.parquet has no column 'photo': it has foto$"):
        nightly.main(arguments)
    (folder / "queries.parquet").write_bytes(b"no table")
    with pytest.raises(SystemExit, match=r"^nightly.py: .*Parquet"):
        nightly.main(arguments)
    (folder / "queries.parquet").unlink()
    with pytest.raises(SystemExit, match=r"^nightly.py: .*queries.parquet"):
        nightly.main(arguments)
