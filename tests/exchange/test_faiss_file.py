"""Index files are read as faiss reads them; damaged ones are refused, whatever their bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_data import unit, vectors

import plushie_search as ps
from plushie_search.exchange.faiss_file import FaissFile

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


@pytest.mark.parametrize("text", ["PQ4", "IVF8,PQ4", "PCA4,Flat"])
def test_an_index_without_vectors_is_refused_with_a_cure(tmp_path: Path, text: str) -> None:
    written(tmp_path / "a.index", text)
    with pytest.raises(ps.ArgumentError, match=r"a\.index: its index .*write reconstruct_n\(0, ntotal\) to an \.npy"):
        FaissFile(str(tmp_path / "a.index"))


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
            with np.errstate(all="ignore"):
                blocks = list(file.blocks(100))
        except ps.ArgumentError:
            continue
        assert (sum(map(len, blocks)), blocks[0].shape[1]) == (file.rows, file.dim)
        assert file.rows * file.dim <= 2 * len(whole)


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    faiss.write_index(faiss.IndexFlatIP(4), str(tmp_path / "a.index"))
    with pytest.raises(ps.ArgumentError, match="the index has no vectors: add some"):
        FaissFile(str(tmp_path / "a.index"))
