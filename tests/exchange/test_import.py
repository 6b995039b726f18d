"""Vectors of files are imported as numpy, pyarrow, h5py and faiss have written them."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_data import unit, vectors

import plushie_search as ps
from plushie_search.exchange.bring import BATCH
from plushie_search.exchange.parquet import tables

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
h5py = pytest.importorskip("h5py")

DIM = 8


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "vectors.catalog", dim=DIM, index="exact", threads=1) as engine:
        yield engine


def stored(engine: ps.Engine) -> dict[str, np.ndarray]:
    return {item.id: engine.vectors(item.id) for item in engine}


def vecs(rows: np.ndarray) -> bytes:
    return b"".join(struct.pack("<i", len(row)) + row.tobytes() for row in rows)


def write_hdf5(path: Path, rows: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["train"] = rows
        file["test"] = rows[:2]


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "a.npy": np.save,
    "b.npz": lambda path, rows: np.savez_compressed(path, vectors=rows),
    "c.fvecs": lambda path, rows: path.write_bytes(vecs(rows)),
    "d.bvecs": lambda path, rows: path.write_bytes(vecs(rows.astype(np.uint8))),
    "e.hdf5": write_hdf5,
    "f.parquet": lambda path, rows: pq.write_table(pa.table({"embedding": list(rows)}), path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_gives_its_rows(engine: ps.Engine, tmp_path: Path, name: str) -> None:
    rows = np.abs(vectors(25)) * 50 + 1
    WRITERS[name](tmp_path / name, rows)
    assert engine.import_vectors(tmp_path / name) == ps.Added(25, 0)
    rows = rows.astype(np.uint8) if name == "d.bvecs" else rows
    wanted = {f"{name[0]}-{number}": row for number, row in enumerate(unit(rows))}
    found = stored(engine)
    assert list(found) == list(wanted)
    for id, row in wanted.items():
        np.testing.assert_allclose(found[id], row[None], atol=1e-7)
    assert engine.import_vectors(tmp_path / name) == ps.Added(0, 25)


def test_labels_tell_what_rows_are(engine: ps.Engine, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", vectors(4))
    told = [
        {"label": "bear", "price": 9},
        7,
        None,
        {"id": "lion", "text": "a lion", "price": 3, "metadata": {"size": 2}},
    ]
    (tmp_path / "labels.json").write_text(json.dumps(told))
    (tmp_path / "ids.json").write_text(json.dumps(["w", "w", "y", "z"]))
    with pytest.raises(ps.ArgumentError, match=r"row 0 has no id, and others have: give each row one; nothing was"):
        engine.import_vectors(tmp_path / "a.npy", labels=tmp_path / "labels.json")
    engine.import_vectors(tmp_path / "a.npy", labels=tmp_path / "labels.json", ids=tmp_path / "ids.json")
    items = {item.id: (item.label, item.text, item.metadata, len(item.references)) for item in engine}
    # Of one item the last label and metadata count, and the file of ids counts more than the labels.
    assert items == {
        "w": ("7", None, {"price": 9}, 2),
        "y": (None, None, {}, 1),
        "z": (None, "a lion", {"price": 3, "size": 2}, 1),
    }
    (tmp_path / "lines.jsonl").write_text('"a"\n"b"\n"c"\n"d"\n')
    engine.import_vectors(tmp_path / "a.npy", labels=tmp_path / "lines.jsonl")
    assert engine.get("a-3").label == "d"


def test_columns_of_parquet_and_npz_are_fields(engine: ps.Engine, tmp_path: Path) -> None:
    rows = vectors(3)
    columns = {
        "id": ["a", "a", "b"],
        "label": ["x", "x", None],
        "caption": ["one", None, "three"],
        "image_path": ["1.jpg", "2.jpg", "3.jpg"],
        "price": [1.5, None, 2.0],
        "vector": list(rows),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    engine.import_vectors(tmp_path / "a.parquet")
    a, b = engine
    assert (a.label, a.text, [reference.name for reference in a.references]) == ("x", "one", ["1.jpg", "2.jpg"])
    assert (b.label, b.text, b.metadata) == (None, "three", {"price": 2.0})
    np.savez(tmp_path / "b.npz", emb=rows, item=np.array([5, 6, 7]), label=np.array(["p", "q", "r"]))
    engine.import_vectors(tmp_path / "b.npz")
    assert [engine.get(str(id)).label for id in (5, 6, 7)] == ["p", "q", "r"]


def test_a_large_parquet_file_is_not_held_in_memory(tmp_path: Path) -> None:
    rows = vectors(40_000, 64)
    table = pa.table({"vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), 64)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4000, compression="none")
    del table
    before, most = pa.total_allocated_bytes(), 0
    for _, _ in tables(str(tmp_path / "a.parquet"), 4000):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < rows.nbytes / 2


def test_a_folder_of_clip_retrieval(engine: ps.Engine, tmp_path: Path) -> None:
    rows = vectors(5).astype(np.float16)
    for folder in ("img_emb", "text_emb", "metadata"):
        (tmp_path / "clip" / folder).mkdir(parents=True)
    for shard, part in enumerate((rows[:3], rows[3:])):
        np.save(tmp_path / f"clip/img_emb/img_emb_{shard}.npy", part)
        np.save(tmp_path / f"clip/text_emb/text_emb_{shard}.npy", -part)
        names = [f"{shard}-{number}.jpg" for number in range(len(part))]
        facts = pa.table({"image_path": names, "caption": ["a toy"] * len(part), "width": [9] * len(part)})
        pq.write_table(facts, tmp_path / f"clip/metadata/metadata_{shard}.parquet", row_group_size=2)
    assert engine.import_vectors(tmp_path / "clip") == ps.Added(5, 0)
    found = stored(engine)
    assert list(found) == ["0-0.jpg", "0-1.jpg", "0-2.jpg", "1-0.jpg", "1-1.jpg"]
    np.testing.assert_allclose(np.concatenate(list(found.values())), unit(rows), atol=1e-7)
    assert (engine.get("1-0.jpg").text, engine.get("1-0.jpg").metadata) == ("a toy", {"width": 9})
    (tmp_path / "clip/metadata/metadata_1.parquet").unlink()
    with pytest.raises(ps.ArgumentError, match=r"\[0, 1\] in img_emb and \[0\] in metadata"):
        engine.import_vectors(tmp_path / "clip")


def damaged(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    rows = vectors(6)
    for name, write in WRITERS.items():
        path = tmp_path / name
        write(path, np.abs(rows) + 1)
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2 + 1])
        yield path, r"(damaged|cannot be read|can be read|cut off)"
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    yield tmp_path / "o.npy", "no array of numbers can be read"
    (tmp_path / "x.npy").write_text("no array")
    yield tmp_path / "x.npy", r"x\.npy: is no \.npy file of numbers: write the vectors by numpy\.save$"
    np.savez(tmp_path / "y.npz", vectors=rows)
    (tmp_path / "y.npz").rename(tmp_path / "y.npy")
    yield tmp_path / "y.npy", r"is an archive of arrays: name it \.npz"
    for size in ("(1099511627776, 1099511627776)", "(True, 8)"):
        np.save(tmp_path / "s.npy", rows)
        whole = (tmp_path / "s.npy").read_bytes()
        head = whole[:128].replace(b"(6, 8)", size.encode()).rstrip()
        (tmp_path / "s.npy").write_bytes(head.ljust(127) + b"\n" + whole[128:])
        yield tmp_path / "s.npy", "no array of numbers can be read"
    np.savez(tmp_path / "e.npz", vectors=rows)
    whole = (tmp_path / "e.npz").read_bytes()
    for at in (12, 16):  # the length of the list of its members, and where it begins
        end = bytearray(whole[-22:])
        end[at : at + 4] = b"\xff\xff\xff\x00"
        (tmp_path / "e.npz").write_bytes(whole[:-22] + end)
        yield tmp_path / "e.npz", "is damaged"
    np.save(tmp_path / "t.npy", np.array([["a"]]))
    yield tmp_path / "t.npy", r"type <U1: give numbers of shape \(n, dim\)"
    np.save(tmp_path / "w.npy", vectors(3, 9))
    yield tmp_path / "w.npy", "vectors of 9 numbers, and those of 'vectors' have 8: they are another model's"
    (tmp_path / "p.pkl").write_bytes(pickle.dumps(["a"]))
    yield tmp_path / "p.pkl", "a pickle runs the code that is in it"
    (tmp_path / "z.bin").write_bytes(b"1")
    yield tmp_path / "z.bin", "of which format is it"
    (tmp_path / "folder").mkdir()
    yield tmp_path / "folder", "neither an export"
    pq.write_table(pa.table({"vector": [[1.0] * DIM, [1.0] * (DIM + 1)]}), tmp_path / "u.parquet")
    yield tmp_path / "u.parquet", "have 8, 9 numbers or gaps"
    pq.write_table(pa.table({"vector": [[1.0] * DIM, None]}), tmp_path / "n.parquet")
    yield tmp_path / "n.parquet", "row 1 has no vector"
    pq.write_table(pa.table({"x": [[1.0]], "y": [[1.0]]}), tmp_path / "two.parquet")
    yield tmp_path / "two.parquet", "which column has the vectors"
    pq.write_table(pa.table({"id": ["a"], "price": [1.0]}), tmp_path / "none.parquet")
    yield tmp_path / "none.parquet", "has no column of vectors, but id, price: write the vectors as a column of lists"


def test_what_cannot_be_read_is_told_and_nothing_stored(engine: ps.Engine, tmp_path: Path) -> None:
    for path, said in damaged(tmp_path):
        with pytest.raises(ps.ArgumentError, match=said) as raised:
            engine.import_vectors(path)
        assert str(path) in str(raised.value)
    with pytest.raises(FileNotFoundError, match=r"gone\.npy"):
        engine.import_vectors(tmp_path / "gone.npy")
    assert len(engine) == 0


def test_labels_that_do_not_fit_are_refused(engine: ps.Engine, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", vectors(3))
    cases: dict[str, Any] = {
        "has 2 entries for the 3 rows": ["a", "b"],
        "entry of row 1 is": ["a", [1], "c"],
        "has no entry for row 2": {"0": "a", "1": "b"},
        "needs a list": "a",
    }
    for said, told in cases.items():
        (tmp_path / "labels.json").write_text(json.dumps(told))
        with pytest.raises(ps.ArgumentError, match=said):
            engine.import_vectors(tmp_path / "a.npy", labels=tmp_path / "labels.json")
    (tmp_path / "labels.json").write_text("[1")
    with pytest.raises(ps.ArgumentError, match="not JSON"):
        engine.import_vectors(tmp_path / "a.npy", labels=tmp_path / "labels.json")
    with pytest.raises(ps.ArgumentError, match="a pickle runs the code"):
        engine.import_vectors(tmp_path / "a.npy", labels=tmp_path / "labels.pkl")
    assert len(engine) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_a_bad_row_is_named_and_what_came_before_is_stored(engine: ps.Engine, tmp_path: Path, value: float) -> None:
    rows = vectors(BATCH + 20)
    good = rows.copy()
    rows[BATCH + 7] = value
    np.save(tmp_path / "a.npy", rows)
    with pytest.raises(ps.ArgumentError, match=rf"row {BATCH + 7} .*the {BATCH} rows before are stored"):
        engine.import_vectors(tmp_path / "a.npy")
    assert len(engine) == BATCH
    np.save(tmp_path / "a.npy", good)
    assert engine.import_vectors(tmp_path / "a.npy") == ps.Added(20, BATCH)


def test_ctrl_c_keeps_finished_batches(engine: ps.Engine, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", vectors(BATCH + 5))
    seen = []

    def stop(done: int, total: int | None, id: str) -> None:
        seen.append((done, total, id))
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.import_vectors(tmp_path / "a.npy", progress=stop)
    assert (len(engine), seen) == (BATCH, [(0, BATCH + 5, "a-0"), (BATCH, BATCH + 5, f"a-{BATCH}")])
    assert engine.import_vectors(tmp_path / "a.npy") == ps.Added(5, BATCH)
