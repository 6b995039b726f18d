"""The sizes of catalogs are what the pages say."""

from __future__ import annotations

import json

import pytest

import plushie_search as ps
from plushie_search import cli
from plushie_search.benchmark.sizing import size


def test_a_million_of_512_numbers_is_what_was_measured() -> None:
    one = size(1e6, dim=512, recall=0.98, cores=2)
    assert one.vectors == 2.048e9
    assert one.memory == pytest.approx(215e6, rel=0.02)
    assert one.build * 3600 == pytest.approx(138, rel=0.02)
    assert one.search == pytest.approx(0.56, rel=0.1)
    assert one.fits


def test_one_machine_ends_where_its_memory_does() -> None:
    largest = size(1e9, references=2).largest
    assert size(largest, references=2).fits
    assert not size(largest * 1.01, references=2).fits
    assert size(5e4).index == "exact"
    assert size(5e4, references=3).index != "exact"
    for bad in ({"items": 0}, {"items": 1, "recall": 1.5}, {"items": float("inf")}, {"items": 1, "dim": 0}):
        with pytest.raises(ps.ArgumentError):
            size(**bad)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["size", "--items", "2e8", "--references", "2", "--recall", ".95"]) == 0
    assert "one machine ends at" in capsys.readouterr().out
    assert cli.main(["size", "--items", "1e6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["references"] == 1_000_000
    assert cli.main(["size", "--items", "-1"]) == 2
