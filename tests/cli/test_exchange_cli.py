"""The commands `import` and `export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exchange_data import vectors

import plushie_search as ps
from plushie_search.cli.main import main


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    np.save("old.npy", vectors(3))
    Path("labels.json").write_text(json.dumps(["a", "b", None]))
    return tmp_path


def test_vectors_go_in_and_out(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "c", "old.npy", "--labels", "labels.json"]) == 0
    assert capsys.readouterr().out == "3 new items, 3 new references; 3 items in the catalog\n"
    assert main(["import", "c", "old.npy", "--labels", "labels.json", "--json"]) == 0
    report = {"items": 0, "references": 0, "duplicates": 3, "replaced": 0, "notes": []}
    assert json.loads(capsys.readouterr().out) == report
    assert main(["export", "c", "out.parquet"]) == 0
    assert capsys.readouterr().out == "3 items, 3 references written to out.parquet\n"
    assert main(["export", "c", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"items": 3, "references": 3, "pictures": 0}
    for source in ("out", "out.parquet"):
        assert main(["import", f"{source}.catalog", source]) == 0
        with ps.Engine(f"{source}.catalog") as engine:
            assert [(item.id, item.label) for item in engine] == [("old-0", "a"), ("old-1", "b"), ("old-2", None)]


def test_a_model_goes_with_its_vectors(files: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ps.Engine("toys", model=toy_model, threads=1) as engine:
        engine.add("x", images=np.full((6, 5, 3), 9, np.uint8))
    assert main(["export", "toys", "out"]) == 0
    # A directory that a file names is not opened.
    assert main(["import", "new", "out"]) == 2
    assert "its vectors are of toy: name where that lies by --model" in capsys.readouterr().err
    assert not Path("new").exists()
    assert main(["import", "new", "out", "--model", str(toy_model)]) == 0
    assert main(["import", "new", "out"]) == 0
    assert main(["import", "c", "old.npy", "--model", str(toy_model)]) == 2
    assert "vectors of 8 numbers, and those of 'toy' have" in capsys.readouterr().err
    assert not Path("c").exists()


def test_the_built_in_model_is_opened_by_its_name(files: Path) -> None:
    with ps.Engine("toys") as engine:
        engine.add("x", images=np.full((60, 50, 3), 9, np.uint8))
    assert main(["export", "toys", "out"]) == 0
    assert main(["import", "new", "out"]) == 0
    with ps.Engine("new") as engine:
        assert engine.models == ("plushie-mini",)
        assert engine.search_image(np.full((60, 50, 3), 9, np.uint8))[0].item == "x"


def test_what_cannot_be_done_makes_no_catalog(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "c", "gone.npy"]) == 2
    assert "there is no file or directory 'gone.npy'" in capsys.readouterr().err
    np.save("nan.npy", np.full((2, 4), np.nan))
    assert main(["import", "c", "nan.npy"]) == 2
    assert "row 0 (item 'nan-0') has NaN or infinite values" in capsys.readouterr().err
    assert main(["import", "c", "old.npy", "--column", "v"]) == 2
    assert "columns are of parquet files" in capsys.readouterr().err
    assert not Path("c").exists()
    assert main(["export", "c", "out"]) == 2
    assert not Path("out").exists()
