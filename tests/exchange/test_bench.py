"""`plushie-search bench` measures the searches that numpy finds the truth of."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from exchange_data import unit, vectors

import plushie_search as ps
from plushie_search.benchmark.judged import Metric
from plushie_search.benchmark.measure import disk_bytes, recall
from plushie_search.benchmark.run import benchmark_catalog, benchmark_files
from plushie_search.cli.main import main
from plushie_search.show.plot import plot

DIM = 16


def write_vecs(path: Path, rows: np.ndarray) -> None:
    path.write_bytes(b"".join(struct.pack("<i", len(row)) + row.tobytes() for row in rows))


def truth(base: np.ndarray, query: np.ndarray) -> np.ndarray:
    distances = ((query[:, None].astype(np.float64) - base[None]) ** 2).sum(axis=2)
    return np.argsort(distances, axis=1)[:, :20].astype(np.int32)


def test_files_of_the_texmex_benchmarks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, query = vectors(300, DIM) * 9, vectors(30, DIM, seed=1) * 9
    write_vecs(tmp_path / "base.fvecs", base)
    write_vecs(tmp_path / "query.fvecs", query)
    write_vecs(tmp_path / "truth.ivecs", truth(base, query))
    command = ["bench", "--base", str(tmp_path / "base.fvecs"), "--query", str(tmp_path / "query.fvecs")]
    for more in ([], ["--truth", str(tmp_path / "truth.ivecs")]):
        assert main([*command, *more, "--json", "--html", str(tmp_path / "page.html")]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["metric"], told["recall"], told["vectors"], told["queries"]) == ("l2", 1.0, 300, 30)
        assert 0 < told["p50_ms"] <= told["p95_ms"] <= told["p99_ms"]
        assert list(told["queries_per_second"]) == ["1", "2", "8"]
    # Cosines have another truth.
    assert main([*command, "--truth", str(tmp_path / "truth.ivecs"), "--metric", "cosine"]) == 0
    shown = capsys.readouterr().out
    best = np.argsort(-(unit(query) @ unit(base).T), axis=1)[:, :10]
    wanted = recall(best.tolist(), truth(base, query).tolist())
    assert wanted < 1
    assert re.search(rf"recall of the exact best 10 +{wanted:.3f}\n", shown)
    page = (tmp_path / "page.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<circle") == 1


def test_a_catalog_with_an_approximate_index(tmp_path: Path) -> None:
    # So many are not compared one by one even where a search takes long.
    rows = vectors(12_000, DIM)
    with ps.Engine(tmp_path / "catalog", dim=DIM) as engine:
        engine.add_vectors([f"item-{row}" for row in range(12_000)], rows)
    done = benchmark_catalog(str(tmp_path / "catalog"), index="IVF32,SQ8", queries=60)
    assert (done.index, done.vectors, done.queries, done.metric) == ("IVF32,SQ8", 12_000, 60, "cosine")
    assert done.recall > 0.9
    assert done.build_seconds is not None
    recalls = [point.recall for point in done.curve]
    assert recalls[0] < recalls[-1]
    assert done.to_html().count("<circle") == len(done.curve)
    exact = benchmark_catalog(str(tmp_path / "catalog"), index="exact", queries=60)
    assert (exact.recall, exact.build_seconds, len(exact.curve)) == (1.0, None, 1)


def test_a_measurement_leaves_the_catalog_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "catalog"
    with ps.Engine(path, dim=DIM, index="IVF32,SQ8") as engine:
        engine.add_vectors([f"item-{row}" for row in range(4_000)], vectors(4_000, DIM))
        engine.optimize()
    files = [path / "catalog.sqlite", *sorted(file for file in (path / "index").rglob("*") if file.is_file())]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert len(before) > 1
    for index, measured in (("HNSW16", "HNSW16"), ("IVF16,SQ8", "IVF16,SQ8"), ("auto", "IVF32,SQ8")):
        assert main(["bench", str(path), "--index", index, "--queries", "40", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["index"], told["build_seconds"] is None) == (measured, index == "auto")
        assert told["disk_bytes"] == disk_bytes(str(path))
        assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before
    with ps.Engine(path) as engine:
        assert engine.stats()["index"] == "IVF32,SQ8"


@pytest.mark.parametrize(
    ("distance", "metric"), [("euclidean", "l2"), ("angular", "cosine"), ("dot", "ip"), (None, "cosine")]
)
def test_a_file_of_ann_benchmarks_has_queries_and_truth(
    distance: str | None, metric: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    h5py = pytest.importorskip("h5py")
    base, query = vectors(300, DIM), vectors(30, DIM, seed=1)
    with h5py.File(tmp_path / "toys.hdf5", "w") as file:
        # Wrong neighbors show that they are taken.
        file.update({"train": base, "test": query, "neighbors": np.arange(30 * 10).reshape(30, 10)})
        if distance is not None:
            file.attrs["distance"] = distance
    command = ["bench", "--base", str(tmp_path / "toys.hdf5"), "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["metric"], told["queries"], told["vectors"]) == (metric, 30, 300)
    assert told["recall"] < 0.5
    # Of other queries they are not the truth, and of another metric neither.
    np.save(tmp_path / "query.npy", query)
    other = "ip" if metric == "l2" else "l2"
    for more in (["--query", str(tmp_path / "query.npy")], ["--metric", other] if distance else []):
        assert main([*command, *more]) == 0
        assert (json.loads(capsys.readouterr().out)["recall"] == 1) is bool(more)


def test_files_of_ann_benchmarks_that_cannot_be_used(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    for name, distance in (("only", "euclidean"), ("sets", "jaccard")):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            file["train"] = vectors(40, DIM)
            file.attrs["distance"] = distance
    with pytest.raises(ps.ArgumentError, match=r"only\.hdf5: has no queries beside the vectors"):
        benchmark_files(tmp_path / "only.hdf5")
    with pytest.raises(ps.ArgumentError, match=r"sets\.hdf5: is of the distance 'jaccard'"):
        benchmark_files(tmp_path / "sets.hdf5")
    with h5py.File(tmp_path / "linked.hdf5", "w") as file:
        file["train"] = vectors(40, DIM)
        file["test"] = h5py.ExternalLink("only.hdf5", "train")
    with pytest.raises(ps.ArgumentError, match=r"test is in another file, 'only\.hdf5'"):
        benchmark_files(tmp_path / "linked.hdf5")


def test_the_plot_is_well_formed_whatever_the_labels() -> None:
    drawn = plot([(0.5, 10.0, "<a&b>"), (0.9, 1.0, "x"), (1.0, float("nan"), "y"), (1.0, 0.0, "z")], "x & y", "<q>")
    root = ElementTree.fromstring(drawn)
    assert [circle.find("title").text for circle in root.iter("circle")] == ["<a&b>", "x"]  # type: ignore[union-attr]
    left, right = ((float(one.get("cx")), float(one.get("cy"))) for one in root.iter("circle"))  # type: ignore[arg-type]
    assert left[0] < right[0]
    assert left[1] < right[1]
    assert plot([], "x", "y") == ""


def test_what_cannot_be_measured_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "base.npy", vectors(40, DIM))
    np.save(tmp_path / "query.npy", vectors(5, DIM + 1))
    np.save(tmp_path / "good.npy", vectors(5, DIM))
    np.save(tmp_path / "truth.npy", np.full((5, 10), 40))
    base = tmp_path / "base.npy"
    measured = ["--base", str(base), "--query", str(tmp_path / "good.npy")]
    cases = [
        ([], "bench needs a CATALOG"),
        (["--base", str(base)], f"{base}: has no queries beside the vectors: give a file of them by query (--query)"),
        ([str(tmp_path / "none")], "is no catalog with items"),
        ([str(tmp_path / "none"), "--metric", "l2"], "--metric is for files of vectors"),
        ([str(base)], f"{base} is a file, and no catalog: give its vectors by --base"),
        ([*measured, "--truth", str(tmp_path / "good.npy")], "good.npy: holds no whole numbers of rows"),
        ([*measured, "--html", str(tmp_path / "no" / "x.html")], f"there is no folder {tmp_path / 'no'}: make it"),
    ]
    for arguments, said in cases:
        assert main(["bench", *arguments]) == 2
        out, err = capsys.readouterr()
        assert said in err
        assert out == ""
    with pytest.raises(ps.ArgumentError, match="17 numbers in a row"):
        benchmark_files(base, tmp_path / "query.npy")
    with pytest.raises(ps.ArgumentError, match="from 40 to 40: give 10 or more rows of the 40 vectors"):
        benchmark_files(base, tmp_path / "good.npy", truth=tmp_path / "truth.npy")
    with pytest.raises(ps.ArgumentError, match="compares by cosines"):
        benchmark_files(base, tmp_path / "good.npy", metric="l2", index="HNSW8")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("metric", ["cosine", "l2", "ip"])
def test_an_error_names_the_file_of_a_number_that_is_none(metric: Metric, tmp_path: Path) -> None:
    rows = vectors(40, DIM)
    np.save(tmp_path / "good.npy", rows)
    rows[3, 2] = np.nan
    np.save(tmp_path / "bad.npy", rows)
    for base, query in (("bad", "good"), ("good", "bad")):
        with pytest.raises(ps.ArgumentError, match=r"bad\.npy: row 3 has NaN or infinite values: leave it out"):
            benchmark_files(tmp_path / f"{base}.npy", tmp_path / f"{query}.npy", metric=metric)
