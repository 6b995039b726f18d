"""A catalog that was exported and imported again is the same, item by item and bit by bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from exchange_data import vectors
from PIL import Image
from solids import bracket, stl

import plushie_search as ps
from plushie_search.exchange import export as exporting

pq = pytest.importorskip("pyarrow.parquet")
FORMATS = ["jsonl", "npy", "parquet", "faiss"]


@pytest.fixture
def catalog(toy_model: Path, tmp_path: Path) -> Path:
    """Items with everything: pictures as bytes, files and arrays, several references, odd texts, and none of these."""
    photo = tmp_path / "photo.png"
    Image.new("RGB", (9, 7), (200, 10, 10)).save(photo)
    with ps.Engine(tmp_path / "toys.catalog", model=toy_model, threads=1) as engine:
        engine.add("bear", images=[photo.read_bytes(), photo], label="b", text='a "red" bear', metadata={"n": 1.25})
        engine.add("兔子", images=np.full((6, 5, 3), 9, np.uint8), metadata={"深": {"list": [1, None, True]}})
        engine.add_vectors(
            ["x\u2028y", "x\u2028y", "z"], vectors(3, engine.vectors("bear").shape[1]), labels=["l", None, None]
        )
    return tmp_path / "toys.catalog"


def described(engine: ps.Engine) -> list[Any]:
    return [
        (item.id, item.label, item.text, item.metadata, [vars_of(reference) for reference in item.references])
        for item in engine
    ]


def vars_of(reference: ps.Reference) -> tuple[str, str]:
    return reference.name, reference.digest


def bits(engine: ps.Engine) -> list[bytes]:
    return [engine.vectors(item.id).tobytes() for item in engine]


@pytest.mark.parametrize("format", FORMATS)
def test_a_round_trip_keeps_vectors_bit_for_bit(catalog: Path, toy_model: Path, tmp_path: Path, format: Any) -> None:
    out = tmp_path / ("out.parquet" if format == "parquet" else "out")
    with (
        ps.Engine(catalog, model=[]) as engine,
        ps.Engine(tmp_path / "new.catalog", model=toy_model, threads=1) as new,
    ):
        done = engine.export(out, format=format)
        assert (done.items, done.references) == (4, 5)
        assert new.import_vectors(out) == ps.Added(5, 0)
        assert [item.id for item in new] == [item.id for item in engine]
        assert bits(new) == bits(engine)
        if format in ("jsonl", "parquet"):
            assert described(new) == described(engine)
        if format == "jsonl":
            assert done.pictures == 2
            for item in ("bear", "兔子"):
                one, other = engine.original(item), new.original(item)
                assert one is not None
                assert other is not None
                assert one.read_bytes() == other.read_bytes()
                assert new.thumbnail(item) is not None
        assert new.import_vectors(out) == ps.Added(0, 5)
        assert new.verify().ok


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_the_views_of_a_mesh_stay_views(toy_model: Path, tmp_path: Path, format: Any) -> None:
    part = stl(bracket())
    with ps.Engine(tmp_path / "parts.catalog", model=toy_model, views=4, threads=1) as engine:
        engine.add("part", images=[part])
        engine.export(tmp_path / "out", format=format)
        kind = "parquet" if format == "parquet" else None
        with ps.Engine(tmp_path / "new.catalog", model=toy_model, views=4, threads=1) as new:
            # Four views, and the mean of them.
            assert new.import_vectors(tmp_path / "out", format=kind) == ps.Added(5, 0)
            assert (described(new), bits(new)) == (described(engine), bits(engine))
            # The mesh is known by its content, and its views are there.
            assert new.add("part", images=[part]).references == 0


def test_numbers_of_small_dimensions_are_kept_bit_for_bit(tmp_path: Path) -> None:
    for dim in (1, 2, 3, 5):
        with (
            ps.Engine(tmp_path / f"{dim}.catalog", dim=dim) as engine,
            ps.Engine(tmp_path / f"{dim}-new.catalog", dim=dim) as new,
        ):
            engine.add_vectors([f"{row}" for row in range(200)], vectors(200, dim))
            engine.export(tmp_path / f"{dim}")
            new.import_vectors(tmp_path / f"{dim}")
            assert bits(new) == bits(engine)


def test_faiss_reads_the_index_and_finds_what_the_engine_finds(tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    with ps.Engine(tmp_path / "catalog", dim=16, index="exact") as engine:
        engine.add_vectors([f"item {row}" for row in range(500)], vectors(500, 16))
        engine.export(tmp_path / "out", format="faiss")
        index = faiss.read_index(str(tmp_path / "out" / "index.faiss"))
        ids = json.loads((tmp_path / "out" / "ids.json").read_text())
        assert (index.ntotal, index.metric_type, len(ids)) == (500, faiss.METRIC_INNER_PRODUCT, 500)
        queries = vectors(20, 16, seed=1)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        _, rows = index.search(queries, 10)
        for query, found in zip(queries, rows, strict=True):
            assert [hit.item for hit in engine.search_vector(query, k=10)] == [ids[row] for row in found]


def test_numpy_and_pyarrow_read_what_is_written(catalog: Path, tmp_path: Path) -> None:
    with ps.Engine(catalog, model=[]) as engine:
        engine.export(tmp_path / "out", format="npy")
        engine.export(tmp_path / "out.parquet", format="parquet")
        wanted = np.concatenate([engine.vectors(item.id) for item in engine])
    np.testing.assert_array_equal(np.load(tmp_path / "out" / "vectors.npy"), wanted)
    table = pq.read_table(tmp_path / "out.parquet")
    np.testing.assert_array_equal(np.array(table["vector"].to_pylist(), np.float32), wanted)
    assert table["id"].to_pylist() == json.loads((tmp_path / "out" / "ids.json").read_text())
    assert json.loads(table["metadata"][0].as_py()) == {"n": 1.25}


def test_several_models_have_a_file_each(toy_model: Path, tmp_path: Path) -> None:
    preprocess = {**toy.PREPROCESS, "mean": [0.1, 0.2, 0.3]}
    other = toy.write(tmp_path / "other", image={"file": "image.onnx", "preprocess": preprocess})
    models = [str(toy_model), str(other)]
    picture = np.full((6, 5, 3), 90, np.uint8)
    with ps.Engine(tmp_path / "both", model={"a": models[0], "b": models[1]}, threads=1) as engine:
        engine.add("x", images=picture)
        wanted = [engine.vectors("x", model=name) for name in ("a", "b")]
        for format in ("jsonl", "parquet"):
            engine.export(tmp_path / format, format=format)
    for format in ("jsonl", "parquet"):
        path, kind = tmp_path / format, "parquet" if format == "parquet" else None
        with ps.Engine(tmp_path / f"{format}-b", model={"b": models[1]}, threads=1) as one:
            one.import_vectors(path, format=kind)
            np.testing.assert_array_equal(one.vectors("x"), wanted[1])
        with ps.Engine(tmp_path / f"{format}-ba", model={"p": models[1], "q": models[0]}, threads=1) as two:
            two.import_vectors(path, format=kind)
            np.testing.assert_array_equal(two.vectors("x", model="q"), wanted[0])


def test_vectors_of_another_model_are_refused(catalog: Path, tmp_path: Path) -> None:
    with ps.Engine(catalog, model=[]) as engine:
        engine.export(tmp_path / "out")
        dim = engine.vectors("bear").shape[1]
    with ps.Engine(tmp_path / "new.catalog", dim=dim) as new:
        with pytest.raises(ps.ArgumentError, match=r"has vectors of \['toy'\], and none of \['vectors'\]"):
            new.import_vectors(tmp_path / "out")
        assert len(new) == 0


def test_an_export_is_of_one_moment(tmp_path: Path) -> None:
    """What others change while it is written is not in it."""
    with ps.Engine(tmp_path / "catalog", dim=4) as engine:
        engine.add_vectors([f"old-{row}" for row in range(3000)], vectors(3000, 4))

        def change(done: int, total: int | None, id: str) -> None:
            with ps.Engine(tmp_path / "catalog", dim=4) as other:
                other.add_vectors([f"new-{done}"], vectors(1, 4, seed=done))
                if f"old-{2900 - done // 1000}" in other:
                    other.remove(f"old-{2900 - done // 1000}")

        assert engine.export(tmp_path / "out", format="npy", progress=change) == ps.Exported(3000, 3000)
        assert json.loads((tmp_path / "out" / "ids.json").read_text()) == [f"old-{row}" for row in range(3000)]
        assert len(engine) != 3000 or "new-0" in engine


def test_what_is_there_stays_and_what_fails_leaves_nothing(catalog: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    with ps.Engine(catalog, model=[]) as engine:
        with pytest.raises(FileExistsError, match="is there already: choose another name"):
            engine.export(out)
        with pytest.raises(ps.ArgumentError, match="format 'csv': give one of jsonl, npy, parquet, faiss"):
            engine.export(tmp_path / "new", format="csv")  # type: ignore[arg-type]

        gone = tmp_path / "gone"
        for format in FORMATS:
            with pytest.raises(FileNotFoundError) as raised:
                engine.export(gone / "new", format=format)  # type: ignore[arg-type]
            said = f"{gone / 'new'} cannot be written, for there is no folder {gone}: make that folder first"
            assert str(raised.value) == said

        def stop(done: int, total: int | None, id: str) -> None:
            raise KeyboardInterrupt

        for format in FORMATS:
            with pytest.raises(KeyboardInterrupt):
                engine.export(tmp_path / "new", format=format, progress=stop)  # type: ignore[arg-type]
    with ps.Engine(tmp_path / "empty.catalog", dim=3) as empty, pytest.raises(ps.ArgumentError, match="no references"):
        empty.export(tmp_path / "new")
    assert out.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.catalog", "out", "photo.png", "toys.catalog"]


def test_a_full_disk_leaves_nothing(catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.GrowingMatrix, "add", full)
    with (
        ps.Engine(catalog, model=[]) as engine,
        pytest.raises(OSError, match="the disk is full; nothing was left: free some space"),
    ):
        engine.export(tmp_path / "new")
    assert not [path for path in tmp_path.iterdir() if "new" in path.name]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process are of POSIX")
def test_a_limit_of_file_sizes_leaves_nothing(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "catalog", dim=64) as engine:
        engine.add_vectors([f"{row}" for row in range(3000)], vectors(3000, 64))
    code = (
        "import resource, signal, sys, plushie_search as ps\n"
        "engine = ps.Engine(sys.argv[1], dim=64, read_only=True)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "engine.export(sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "catalog"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["catalog"]


def damages(out: Path) -> list[tuple[str, bytes, str]]:
    lines = (out / "items.jsonl").read_bytes().splitlines(keepends=True)
    escaped = lines[0].replace(b'"picture": "pictures', b'"picture": "../pictures')
    assert escaped != lines[0]
    return [
        ("items.jsonl", b"".join(lines[:-1]), "has 5 vectors and 4 references"),
        ("items.jsonl", b"".join([*lines, lines[-1]]), "has 5 vectors and 6 references"),
        ("items.jsonl", b"{}\n", "line 1: is damaged"),
        ("items.jsonl", escaped, "lies elsewhere"),
        ("catalog.json", b"[]", "is damaged"),
        ("catalog.json", b'{"models": [{"name": "a", "fingerprint": "b", "file": "../x.npy"}]}', "is no model"),
        ("vectors.npy", b"", r"vectors\.npy: is no \.npy file of numbers"),
    ]


def test_a_damaged_export_is_refused(catalog: Path, toy_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with ps.Engine(catalog, model=[]) as engine:
        engine.export(out)
    with ps.Engine(tmp_path / "new.catalog", model=toy_model, threads=1) as new:
        for name, data, said in damages(out):
            whole = (out / name).read_bytes()
            (out / name).write_bytes(data)
            with pytest.raises(ps.ArgumentError, match=said):
                new.import_vectors(out)
            (out / name).write_bytes(whole)
        picture = next((out / "pictures").rglob("*.png"))
        picture.write_bytes((tmp_path / "photo.png").read_bytes() + b"x")
        with pytest.raises(ps.ArgumentError, match="is not the picture that its digest names"):
            new.import_vectors(out)
        assert len(new) == 0
