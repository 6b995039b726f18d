"""The commands `import` and `export`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exchange_data import vectors
from PIL import Image

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


def test_vectors_of_others_are_searched_by_items(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (9, 9)).save("a.png")
    assert main(["import", "c", "old.npy", "--labels", "labels.json"]) == 0
    with ps.Engine("c") as engine:
        like = engine.search(ps.Query(item="old-1"), k=2)
        assert len(like) == 2
        named = engine.search_text("a")
        assert [hit.item for hit in named] == ["old-0"]
    capsys.readouterr()
    for given, wanted in (
        (["--item", "old-1", "-k", "2", "--nprobe", "4"], like),
        (["--query", "item:old-1", "-k", "2"], like),
        (["--text", "a"], named),
    ):
        assert main(["search", "c", *given, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == wanted.to_dicts()
    alone = "c: was made of vectors of another program, and no model of it sees pictures or reads texts"
    for search in (["a.png"], ["a.png", "--text", "a"], ["--text", "a", "--no-words"]):
        assert main(["search", "c", *search]) == 2
        assert capsys.readouterr().err == f"plushie-search: {alone}: search by --item ID\n"


def test_vectors_of_others_take_no_pictures_before_their_model_is_named(
    files: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (9, 9)).save("a.png")
    np.save("six.npy", vectors(3, 6))
    assert main(["import", "c", "six.npy"]) == 0
    capsys.readouterr()
    alone = "c: was made of vectors of another program, and no model of it sees pictures or reads texts"
    for command in ("add", "identify", "classify", "inspect"):
        assert main([command, "c", "a.png"]) == 2
        assert capsys.readouterr().err == (
            f"plushie-search: {alone}: import the vectors into a new catalog with the model that made them: "
            "plushie-search import NEW FILE --model MODEL\n"
        )
    assert main(["import", "new", "six.npy", "--model", str(toy_model)]) == 0
    assert main(["search", "new", "a.png"]) == 0
    assert main(["add", "new", "a.png"]) == 0


def test_the_recall_of_an_index_is_asked_for_if_it_is_given(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("many.npy", vectors(3_000))
    assert main(["import", "c", "many.npy"]) == 0
    assert main(["optimize", "c", "--index", "IVF32,Flat", "--recall", "0.5"]) == 0
    capsys.readouterr()
    with ps.Engine("c", recall=0.5) as engine:
        assert engine.stats()["index"] == "IVF32,Flat"
    with ps.Engine("c", recall=0.6) as engine:
        assert engine.stats()["index"] == "exact"
    assert main(["optimize", "c", "--index", "IVF32,Flat", "--recall", "2"]) == 2
    assert capsys.readouterr().err == "plushie-search: recall 2: give a number above 0 and at most 1\n"


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
