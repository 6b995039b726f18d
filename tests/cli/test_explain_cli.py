"""The commands that explain a hit and that inspect photos."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plushie_search.cli import main


def test_explain(catalog: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    red = str(photos / "red" / "1.png")
    out = tmp_path / "why.png"
    assert main(["explain", *catalog, red, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("red matches with the score 1.00.")
    with Image.open(out) as drawn:
        assert drawn.width == 92
    assert main(["explain", *catalog, red, "blue", "--json", "--out", str(tmp_path / "why.html")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["item"], found["method"]) == ("blue", "windows")
    assert "blue" in (tmp_path / "why.html").read_text(encoding="utf-8")
    assert main(["explain", *catalog, "red", "--text", "--language", "zh"]) == 0
    assert "匹配分数" in capsys.readouterr().out
    assert main(["explain", *catalog, red, "lion"]) == 2
    assert "lion" in capsys.readouterr().err
    assert main(["explain", *catalog, red, "--out", str(tmp_path / "why.gif")]) == 2
    assert ".png" in capsys.readouterr().err


def test_inspect(catalog: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    red, report = photos / "red", tmp_path / "report.csv"
    status = main(["inspect", *catalog, str(red / "1.png"), "--item", "red", "--threshold", "0.5"])
    said = capsys.readouterr().out
    assert status == (0 if said.startswith("pass") else 1)
    assert "similarity" in said
    more = ["--threshold", "0.5", "--report", str(report), "--audit", str(tmp_path / "log.jsonl"), "--json"]
    status = main(["inspect", *catalog, str(red), "--item", "red", *more])
    found = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader(report.read_text(encoding="utf-8").splitlines()))
    assert [row["verdict"] for row in rows] == [one["verdict"] for one in found]
    assert len((tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()) == len(found)
    other = tmp_path / "other.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(other)
    golden = ["--golden", str(red / "1.png"), "--golden", str(red / "1.png")]
    assert main(["inspect", *catalog, str(other), *golden, "--report", str(tmp_path / "r.html")]) == 1
    assert capsys.readouterr().out.startswith(("fail", "review"))
    assert "other.png" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert main(["inspect", *catalog, str(other), "--item", "red", "--report", "r.pdf"]) == 2
    assert ".csv" in capsys.readouterr().err
