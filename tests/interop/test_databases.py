"""Vectors come from files that other programs have written, and go into them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import plushie_search as ps
from plushie_search.interop import databases

pytestmark = pytest.mark.filterwarnings("ignore")
VECTORS = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
IDS = ["a", "a", "b", "c", "d", "d"]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", dim=8) as engine:
        engine.add_vectors(
            IDS,
            VECTORS,
            references=[f"{number}.jpg" for number in range(6)],
            labels=["x", "x", None, "y", "z", "z"],
            texts=[None, None, "two words", None, None, None],
            metadata=[{"price": 3, "tags": ["red"]}, None, None, {"n": {"m": 1}}, None, None],
        )
        yield engine


def same(tmp_path: Path, catalog: ps.Engine, rows: Iterator[databases.Rows]) -> None:
    """Checks that rows give the catalog again."""
    with ps.Engine(tmp_path / "again", dim=8) as engine:
        assert databases.add_rows(engine, rows) == ps.Added(6, 0, 0)
        assert {item.id: item.to_dict() | {"references": ()} for item in engine} == {
            item.id: item.to_dict() | {"references": ()} for item in catalog
        }
        for item in catalog:
            own = zip(engine.get(item.id).references, engine.vectors(item.id), strict=True)
            found = {one.name: vector for one, vector in own}
            for one, vector in zip(item.references, catalog.vectors(item.id), strict=True):
                assert np.allclose(found[one.name], vector, atol=1e-6)


def test_chroma(catalog: ps.Engine, tmp_path: Path) -> None:
    chromadb = pytest.importorskip("chromadb")
    client = chromadb.PersistentClient(str(tmp_path / "chroma"))
    written = client.create_collection("ours", metadata={"hnsw:space": "cosine"})
    assert databases.to_chroma(databases.catalog_rows(catalog), written) == 6
    same(tmp_path, catalog, databases.chroma_rows(client.get_collection("ours")))
    theirs = client.create_collection("theirs")
    theirs.add(ids=["1", "2"], embeddings=VECTORS[:2], documents=["one", None], metadatas=[{"k": 1}, {"label": "l"}])
    (rows,) = databases.chroma_rows(theirs)
    with ps.Engine(tmp_path / "theirs", dim=8) as engine:
        databases.add_rows(engine, [rows])
        assert (engine.get("1").text, engine.get("1").metadata, engine.get("2").label) == ("one", {"k": 1}, "l")


def test_lancedb(catalog: ps.Engine, tmp_path: Path) -> None:
    lancedb = pytest.importorskip("lancedb")
    database = lancedb.connect(tmp_path / "lance")
    databases.to_lance(databases.catalog_rows(catalog), database, "ours")
    same(tmp_path, catalog, databases.lance_rows(database.open_table("ours")))
    with pytest.raises(ps.ArgumentError, match="no column 'embedding', but id"):
        list(databases.lance_rows(database.open_table("ours"), "embedding"))


def test_qdrant(catalog: ps.Engine, tmp_path: Path) -> None:
    qdrant = pytest.importorskip("qdrant_client")
    client = qdrant.QdrantClient(path=str(tmp_path / "qdrant"))
    assert databases.to_qdrant(databases.catalog_rows(catalog), client, "ours") == 6
    same(tmp_path, catalog, databases.qdrant_rows(client, "ours"))
    params = {name: qdrant.models.VectorParams(size=8, distance=qdrant.models.Distance.DOT) for name in ("p", "q")}
    client.create_collection("theirs", vectors_config=params)
    vector = {"p": VECTORS[0].tolist(), "q": VECTORS[1].tolist()}
    client.upsert("theirs", [qdrant.models.PointStruct(id=7, vector=vector, payload={"caption": "c"})])
    with pytest.raises(ps.ArgumentError, match="p, q: name one"):
        list(databases.qdrant_rows(client, "theirs"))
    (rows,) = databases.qdrant_rows(client, "theirs", "q")
    assert np.allclose(rows.vectors, VECTORS[1:2])
    assert (rows.columns["id"], rows.columns["caption"]) == (["7"], ["c"])
    client.close()


def test_datasets(catalog: ps.Engine, tmp_path: Path, toy_model: Path) -> None:
    datasets = pytest.importorskip("datasets")
    databases.to_dataset(databases.catalog_rows(catalog)).save_to_disk(str(tmp_path / "set"))
    same(tmp_path, catalog, databases.dataset_rows(datasets.load_from_disk(str(tmp_path / "set"))))
    encoder = ps.open_encoder(toy_model)
    done = databases.encode_column(datasets.Dataset.from_dict({"t": ["teddy", "rabbit"]}), encoder, column="t")
    assert np.allclose(done["vector"][1], encoder.encode_texts("rabbit")[0], atol=1e-6)


def test_vectors_of_another_model_are_refused(catalog: ps.Engine, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "other", dim=9) as engine:
        with pytest.raises(ps.ArgumentError):
            databases.add_rows(engine, databases.catalog_rows(catalog))
        assert len(engine) == 0
    with pytest.raises(ps.ArgumentError, match="no ids"):
        databases.add_rows(catalog, [databases.Rows(VECTORS, {"price": [1] * 6})])


def test_parquet_answers_queries_of_duckdb(catalog: ps.Engine, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    catalog.export(tmp_path / "toys.parquet", format="parquet")
    query = f"SELECT id, count(*) AS n FROM '{tmp_path / 'toys.parquet'}' WHERE label = 'x' GROUP BY id"
    assert duckdb.sql(query).fetchall() == [("a", 2)]
    text = f"SELECT json_extract(metadata, '$.price') FROM '{tmp_path / 'toys.parquet'}' WHERE reference = '0.jpg'"
    assert json.loads(duckdb.sql(text).fetchall()[0][0]) == 3


def test_milvus(catalog: ps.Engine, tmp_path: Path) -> None:
    pytest.importorskip("milvus_lite")
    with ps.MilvusEngine(tmp_path / "m.db", dim=8) as milvus:
        assert databases.add_rows(milvus, databases.catalog_rows(catalog)) == ps.Added(6, 0, 0)
        same(tmp_path, catalog, databases.catalog_rows(milvus))
