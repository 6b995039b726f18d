"""The command that moves a catalog to another model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
import toy

import plushie_search as ps
from plushie_search.cli import main


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another model with a picture network of its own."""
    folder = toy.write(tmp_path / "second", name="second")
    onnx.save(toy.image_tower(weights=-2 * toy.IMAGE_WEIGHTS[:, ::-1]), folder / "image.onnx")
    return folder


def test_it_moves_a_catalog_and_says_from_what(
    catalog: list[str], photos: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", catalog[0], "--model", str(second), "--text", "bear"]) == 2
    assert f"plushie-search reencode {catalog[0]} --model NEW" in capsys.readouterr().err
    assert main(["reencode", catalog[0], "--model", str(second)]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("8 references moved to second: 8 from files\n", "")
    assert main(["search", catalog[0], str(photos / "red" / "1.png"), "-k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["item"] == "red"
    shutil.rmtree(photos / "red")
    (photos / "blue" / "1.png").unlink()
    assert main(["reencode", *catalog, "--json"]) == 0
    said = capsys.readouterr()
    counts = {"references": 8, "files": 5, "media": 0, "thumbnails": 3}
    assert json.loads(said.out) == {"models": ["toy"], "changed": True, **counts}
    assert main(["reencode", *catalog]) == 0
    assert capsys.readouterr().out == "nothing to do: the vectors of all 8 references are those of toy\n"
    assert main(["reencode", catalog[0], "--model", str(second)]) == 0
    assert "warning: 3 originals not found; vectors of thumbnails" in capsys.readouterr().err


def test_the_built_in_model_is_the_default(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reencode", catalog[0]]) == 0
    assert capsys.readouterr().out == "8 references moved to plushie-mini: 8 from files\n"
    with ps.Engine(catalog[0]) as engine:
        assert engine.models == ("plushie-mini",)


def test_several_models(catalog: list[str], second: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reencode", *catalog, "--model", str(second)]) == 0
    assert capsys.readouterr().out == "8 references moved to toy and second: 8 from files\n"
    with ps.Engine(catalog[0]) as engine:
        assert engine.models == ("toy", "second")


def test_a_further_model_is_added_and_left_out_again(
    catalog: list[str], second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reencode", catalog[0], "--add", str(second)]) == 0
    assert capsys.readouterr().out == "8 references moved to toy and second: 8 from files\n"
    with ps.Engine(catalog[0]) as engine:
        assert engine.models == ("toy", "second")
    assert main(["reencode", catalog[0], "--add", str(second), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["models"], said["changed"]) == (["toy", "second"], False)
    assert main(["reencode", *catalog]) == 0
    assert capsys.readouterr().out == "8 references moved to toy: the vectors were there already\n"
    with pytest.raises(SystemExit) as wrong:
        main(["reencode", *catalog, "--add", str(second)])
    assert wrong.value.code == 2
    assert "--add: not allowed with argument --model" in capsys.readouterr().err


def test_failures_are_told(
    catalog: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reencode", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["reencode", catalog[0], "--model", "no-such-model"]) == 2
    shutil.rmtree(photos)
    (Path(catalog[0]) / "thumbnails.sqlite").unlink()
    capsys.readouterr()
    assert main(["reencode", catalog[0]]) == 2
    assert "8 of 8 references have no picture to encode, so that nothing was moved" in capsys.readouterr().err


def test_ctrl_c_says_that_it_can_go_on(
    catalog: list[str], second: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("plushie_search.cli.reencode.ProgressBar.__call__", pressed)
    assert main(["reencode", catalog[0], "--model", str(second)]) == 130
    assert "interrupted, and nothing is changed yet: run it again to continue there" in capsys.readouterr().err
    with ps.Engine(catalog[0]) as engine:
        assert engine.models == ("toy",)
