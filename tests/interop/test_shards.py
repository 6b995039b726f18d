"""Folders of pictures become files of vectors, a shard at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps
from plushie_search import cli
from plushie_search.interop.shards import Encoded, Shard, encode_folder, here


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number in range(7):
        folder = tmp_path / "photos" / f"item {number}"
        folder.mkdir(parents=True)
        for name in ("a.png", "b.png"):
            Image.fromarray(random.integers(0, 256, size=(12, 16, 3), dtype=np.uint8)).save(folder / name)
    (tmp_path / "photos" / "item 3" / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return tmp_path / "photos"


def told(encoder: ps.Encoder) -> tuple[str, str, int]:
    return encoder.name, encoder.fingerprint, encoder.dim


def test_parquet_is_read_by_a_catalog(photos: Path, toy_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    encoder = ps.open_encoder(toy_model)
    out = tmp_path / "out"
    report = encode_folder(photos, out, model=told(encoder), run=here(encoder), shard=4)
    assert (report.pictures, report.shards, report.kept) == (14, 4, 0)
    assert [Path(path).name for path, _ in report.failed] == ["bad.jpg"]
    with ps.Engine(tmp_path / "imported", model=encoder) as one, ps.Engine(tmp_path / "added", model=encoder) as other:
        for path in sorted(out.glob("*.parquet")):
            one.import_vectors(path)
        other.add_folder(photos)
        assert [item.to_dict() for item in one] == [item.to_dict() for item in other]
        for item in other:
            assert np.array_equal(one.vectors(item.id), other.vectors(item.id))


def test_npy_has_a_file_for_each_picture(photos: Path, toy_model: Path, tmp_path: Path) -> None:
    encoder = ps.open_encoder(toy_model)
    encode_folder(photos, tmp_path / "out", model=told(encoder), run=here(encoder), format="npy", shard=3)
    for number in range(7):
        for name in ("a.png", "b.png"):
            vector = np.load(tmp_path / "out" / f"item {number}" / f"{name}.npy")
            assert np.array_equal(vector, encoder.encode_images([photos / f"item {number}" / name])[0])


def test_it_goes_on_where_it_stopped(photos: Path, toy_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    encoder = ps.open_encoder(toy_model)
    out, done = tmp_path / "out", []

    def stops(shards: Sequence[Shard]) -> Iterable[tuple[Shard, Encoded]]:
        for shard, encoded in here(encoder)(shards):
            if len(done) == 2:
                raise KeyboardInterrupt
            done.append(shard.name)
            yield shard, encoded

    how: dict[str, Any] = {"model": told(encoder), "shard": 4}
    with pytest.raises(KeyboardInterrupt):
        encode_folder(photos, out, run=stops, **how)
    assert sorted(path.stem for path in out.glob("*.parquet")) == done
    report = encode_folder(photos, out, run=here(encoder), **how)
    assert (report.pictures, report.shards, report.kept, len(report.failed)) == (14, 2, 2, 1)
    (photos / "item 6" / "a.png").unlink()
    report = encode_folder(photos, out, run=here(encoder), **how)
    assert (report.pictures, report.shards, report.kept) == (13, 1, 3)
    assert len(list(out.glob("*.parquet"))) == 4
    with pytest.raises(ps.ArgumentError, match="vectors of another model"):
        encode_folder(photos, out, model=("other", "f", 6), run=here(encoder), shard=4)
    with pytest.raises(ps.ArgumentError, match="vectors of another format"):
        encode_folder(photos, out, run=here(encoder), format="npy", **how)


def test_the_command(photos: Path, toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["encode", str(photos), str(out), "--model", str(toy_model), "--format", "npy"]
    assert cli.main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == f"14 pictures, 1 shard, 1 failed in {out}\n"
    assert "left out" in shown.err
    assert cli.main([*arguments, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["kept"] == 1
    (tmp_path / "empty").mkdir()
    assert cli.main(["encode", str(tmp_path / "empty"), str(out)]) == 2
