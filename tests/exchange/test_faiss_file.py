"""Index files are read as faiss reads them; damaged ones are refused, whatever their bytes."""

from __future__ import annotations

import contextlib
import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_data import unit, vectors

import plushie_search as ps
from plushie_search.exchange.bring import bring
from plushie_search.exchange.faiss_file import FaissFile
from plushie_search.exchange.sources import open_source

faiss = pytest.importorskip("faiss")

COUNT, DIM = 300, 12
STRINGS = [
    *("Flat", "SQ8", "SQ4", "SQ6", "SQfp16", "SQbf16", "HNSW8", "HNSW8,SQ8"),
    *("IVF8,Flat", "IVF8,SQ8", "IVF8,SQ4", "IVF16_HNSW8,Flat", "IDMap,Flat", "IDMap2,IVF8,Flat"),
]


def written(path: Path, text: str, metric: int = 0) -> tuple[Any, np.ndarray]:
    """An index in a file, and the id of each row."""
    rows = vectors(COUNT, DIM)
    index = faiss.index_factory(DIM, text, metric)
    index.train(rows)
    ids = np.arange(COUNT)
    if "IDMap" in text:
        ids = 3 * ids + 5
        index.add_with_ids(rows, ids)
    else:
        index.add(rows)
    faiss.write_index(index, str(path))
    return index, ids


@pytest.mark.parametrize("metric", [0, 1])
@pytest.mark.parametrize("text", STRINGS)
def test_an_index_has_the_vectors_that_faiss_reconstructs(tmp_path: Path, text: str, metric: int) -> None:
    index, ids = written(tmp_path / "a.index", text, metric)
    base = faiss.downcast_index(index.index) if "IDMap" in text else index
    if "IVF" in text:
        base.make_direct_map()
    wanted = dict(zip(ids.tolist(), base.reconstruct_n(0, COUNT), strict=True))
    file = FaissFile(str(tmp_path / "a.index"))
    found = dict(zip(file.numbers(0, COUNT).tolist(), np.concatenate(list(file.blocks(70))), strict=True))
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[id], wanted[id]) for id in wanted)


def test_an_old_index_is_taken_over_with_its_labels(tmp_path: Path) -> None:
    _, ids = written(tmp_path / "old.index", "IDMap,Flat")
    (tmp_path / "labels.json").write_text(json.dumps({str(id): f"label {id}" for id in ids}))
    with ps.Engine(tmp_path / "catalog", dim=DIM) as engine:
        assert engine.import_vectors(tmp_path / "old.index", labels=tmp_path / "labels.json") == ps.Added(COUNT, 0)
        item = engine.get("old-35")
        assert item.label == "label 35"
        np.testing.assert_allclose(engine.vectors("old-35"), unit(vectors(COUNT, DIM))[10:11], atol=1e-7)


@pytest.mark.parametrize("text", ["IDMap,Flat", "IDMap,IVF8,SQ8", "IVF8,Flat"])
@pytest.mark.parametrize("gaps", [1, 7])
def test_a_list_of_labels_goes_by_rows_and_an_object_by_ids(tmp_path: Path, text: str, gaps: int) -> None:
    """Inverted lists alone do not tell in which order rows were added, so that a list goes by ascending ids there."""
    rows, ids = vectors(COUNT, DIM), gaps * np.random.default_rng(1).permutation(COUNT)
    index = faiss.index_factory(DIM, text)
    index.train(rows)
    index.add_with_ids(rows, ids)
    faiss.write_index(index, str(tmp_path / "a.index"))
    ordered = np.sort(ids) if text == "IVF8,Flat" else ids
    for entries in ([f"label {id}" for id in ordered], {str(id): f"label {id}" for id in ids}):
        (tmp_path / "labels.json").write_text(json.dumps(entries))
        for batch in open_source(tmp_path / "a.index", labels=tmp_path / "labels.json").batches(70):
            assert batch.cells.labels == [f"label {id}" for id in batch.numbers]


@pytest.mark.parametrize("count", [COUNT - 1, COUNT + 1])
def test_a_list_of_another_length_is_refused(tmp_path: Path, count: int) -> None:
    written(tmp_path / "a.index", "IDMap,Flat")
    (tmp_path / "ids.json").write_text(json.dumps([f"item {row}" for row in range(count)]))
    with pytest.raises(ps.ArgumentError, match=rf"ids\.json: has {count} entries for the {COUNT} rows of .*a\.index"):
        open_source(tmp_path / "a.index", ids=tmp_path / "ids.json")


@pytest.mark.parametrize("text", ["PQ4x4", "IVF8,PQ4x4", "IVF8,PQ4x4fs", "IVF8,RaBitQ", "PCA4,Flat", "IDMap,SQ8,RFlat"])
def test_an_index_without_vectors_is_refused_with_a_cure(tmp_path: Path, text: str) -> None:
    written(tmp_path / "a.index", text)
    said = r"a\.index: its index .*: import the vectors that it was built from.*a JSON list of their ids by --ids"
    with pytest.raises(ps.ArgumentError, match=said) as raised:
        FaissFile(str(tmp_path / "a.index"))
    assert "reconstruct" not in str(raised.value)


def test_an_index_of_bits_is_refused(tmp_path: Path) -> None:
    index = faiss.IndexBinaryFlat(64)
    index.add(np.zeros((3, 8), np.uint8))
    faiss.write_index_binary(index, str(tmp_path / "a.index"))
    with pytest.raises(ps.ArgumentError, match="has bits, and no vectors of numbers: import the vectors that it was"):
        FaissFile(str(tmp_path / "a.index"))


def test_lists_in_another_file_are_refused(tmp_path: Path) -> None:
    index, _ = written(tmp_path / "a.index", "IVF8,Flat")
    lists = faiss.OnDiskInvertedLists(index.nlist, index.code_size, str(tmp_path / "lists"))
    index.replace_invlists(lists)
    faiss.write_index(index, str(tmp_path / "a.index"))
    with pytest.raises(ps.ArgumentError, match=r"its lists \('ilod'\) are in another file .*: import the vectors"):
        FaissFile(str(tmp_path / "a.index"))


@pytest.mark.parametrize("text", ["SQ8,RFlat", "IVF8,SQ8,RFlat", "NSG8,Flat"])
def test_vectors_in_another_index_are_had_by_the_cure(tmp_path: Path, text: str, monkeypatch: Any) -> None:
    written(tmp_path / "a.index", text)
    with pytest.raises(ps.ArgumentError, match="keeps its vectors in another") as raised:
        FaissFile(str(tmp_path / "a.index"))
    code = re.search(r"by (index = .*\)) in Python", str(raised.value))
    assert code is not None
    monkeypatch.chdir(tmp_path)
    exec(code[1], {"faiss": faiss})
    file = FaissFile("vectors.index")
    np.testing.assert_array_equal(file.part(0, COUNT), vectors(COUNT, DIM))
    assert file.numbers(0, COUNT).tolist() == list(range(COUNT))


@pytest.mark.parametrize("text", ["Flat", "SQ8", "SQ4", "SQfp16", "IVF8,SQ8"])
def test_damaged_numbers_are_refused_without_warnings(tmp_path: Path, text: str) -> None:
    """Signaling NaN, which numpy tells of in any sum."""
    path = tmp_path / "a.index"
    written(path, text)
    whole = path.read_bytes()
    for at in range(40, len(whole) - 64, len(whole) // 200 | 1):
        path.write_bytes(whole[:at] + b"\x01\x7d\xa0\x7f" * 8 + whole[at + 32 :])
        with warnings.catch_warnings(), contextlib.suppress(ps.ArgumentError):
            warnings.simplefilter("error")
            bring(open_source(path), lambda *_, **__: None, [], keep=lambda _: None, progress=None)


@pytest.mark.parametrize("text", ["Flat", "SQ8", "IVF8,SQ4", "HNSW8", "IDMap,Flat"])
def test_damage_is_refused_or_changes_numbers_alone(tmp_path: Path, text: str) -> None:
    """Every file that is cut off is refused; one with other bytes is, or has rows of the same shape."""
    path = tmp_path / "a.index"
    written(path, text)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for end in {*range(0, 120, 7), *random.integers(len(whole), size=20).tolist()}:
        path.write_bytes(whole[:end])
        with pytest.raises(ps.ArgumentError, match=r"a\.index: (is|its)"):
            FaissFile(str(path))
    for at in [*range(0, 140, 3), *random.integers(len(whole) - 8, size=40).tolist()]:
        path.write_bytes(whole[:at] + random.bytes(8) + whole[at + 8 :])
        try:
            file = FaissFile(str(path))
            blocks = list(file.blocks(100))
        except ps.ArgumentError:
            continue
        assert (sum(map(len, blocks)), blocks[0].shape[1]) == (file.rows, file.dim)
        assert file.rows * file.dim <= 2 * len(whole)


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    faiss.write_index(faiss.IndexFlatIP(4), str(tmp_path / "a.index"))
    with pytest.raises(ps.ArgumentError, match="the index has no vectors: add some"):
        FaissFile(str(tmp_path / "a.index"))
