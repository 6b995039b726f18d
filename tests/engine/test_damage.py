"""Catalogs whose files are cut off, flipped or deleted: verified, repaired, restored, salvaged; the rest is counted."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import toy
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps

ROWS = 400


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog of vectors, all of it in catalog.sqlite."""
    path = tmp_path / "toys.catalog"
    with ps.Engine(path, dim=64, threads=1) as engine:
        texts = [f"a toy with the number {number}" for number in range(ROWS)]
        engine.add_vectors([f"i{number}" for number in range(ROWS)], vectors(), texts=texts)
        engine.remove(["i7", "i8"])
    with sqlite3.connect(path / "catalog.sqlite") as file:
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file.close()
    return path


def vectors() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((ROWS, 64)).astype(np.float32)


def photos(folder: Path) -> list[Path]:
    folder.mkdir()
    paths = []
    for number, color in enumerate([(200, 9, 9), (9, 200, 9), (9, 9, 200)]):
        paths.append(folder / f"{number}.png")
        Image.fromarray(np.full((8, 8, 3), color, np.uint8)).save(paths[-1])
    return paths


def change(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path / "catalog.sqlite") as file:
        file.execute(statement, values)
    file.close()


def kept(path: Path) -> dict[str, NDArray[np.float32]]:
    """Returns the items of a catalog, which must be sound and find themselves."""
    with ps.Engine(path, threads=1, create=False) as engine:
        assert engine.verify().problems == ()
        rows = {item.id: engine.vectors(item.id)[0] for item in engine}
        for name, row in list(rows.items())[::40]:
            assert engine.search_vector(row, k=1)[0].item == name
    return rows


def check_kept(rows: dict[str, NDArray[np.float32]]) -> None:
    """Asserts that items have the vectors that were stored."""
    unit = vectors() / np.linalg.norm(vectors(), axis=1, keepdims=True)
    for name, row in rows.items():
        np.testing.assert_allclose(row, unit[int(name[1:])], atol=1e-6)
    assert not {"i7", "i8"} & rows.keys()


# Verifying and repairing


def test_vectors_that_are_no_unit_vectors_and_wrong_counts_are_found(catalog: Path) -> None:
    change(catalog, "UPDATE catalog SET removals = 5")
    with ps.Engine(catalog, threads=1) as engine:
        assert engine.verify() == ps.Verification(
            (ps.Problem(None, None, "the log has 2 removals, and 5 are counted"),)
        )
        repaired = engine.verify(repair=True)
        assert repaired.ok
        assert [one.problem for one in repaired.repaired] == ["the log has 2 removals, and 5 are counted"]
        assert engine.verify() == ps.Verification(())
    assert len(kept(catalog)) == ROWS - 2


def test_a_damaged_vector_is_encoded_again(toy_model: Path, tmp_path: Path) -> None:
    path, files = tmp_path / "c.catalog", photos(tmp_path / "photos")
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        engine.add("red", images=files[:1])
        engine.add("two", images=[files[1], files[2].read_bytes()])
        before = {name: engine.vectors(name) for name in ("red", "two")}
    change(path, "UPDATE vectors SET vector = zeroblob(length(vector)) WHERE reference IN (1, 3)")
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        assert len(engine.verify().problems) == 2
        with pytest.raises(ps.CatalogError, match="damaged"):
            engine.search_vector(before["red"][0])
        found = engine.verify(repair=True)
        assert found.ok
        assert [one.item for one in found.repaired] == ["red", "two"]
        for name, rows in before.items():
            np.testing.assert_allclose(engine.vectors(name), rows, atol=1e-6)
        assert engine.search_vector(before["red"][0], k=1)[0].item == "red"
    with ps.Engine(path, model=[], threads=1) as engine:
        assert engine.verify().ok


def test_a_vector_without_a_picture_stays_damaged_and_nothing_is_lost(catalog: Path) -> None:
    change(catalog, "UPDATE vectors SET vector = zeroblob(length(vector)) WHERE reference = 5")
    with ps.Engine(catalog, threads=1) as engine:
        found = engine.verify(repair=True)
        assert [(one.item, found.repaired) for one in found.problems] == [("i4", ())]
        assert len(engine) == ROWS - 2


def test_originals_that_moved_or_changed_are_remarks(toy_model: Path, tmp_path: Path) -> None:
    path, files = tmp_path / "c.catalog", photos(tmp_path / "photos")
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        for number, file in enumerate(files):
            engine.add(f"i{number}", images=[file])
        assert engine.verify() == ps.Verification(())
        files[0].rename(tmp_path / "elsewhere.png")
        files[1].write_bytes(files[2].read_bytes())
        found = engine.verify()
        assert found.ok
        assert found.remarks == (
            ps.Problem("i0", str(files[0]), "its file is not there any more"),
            ps.Problem("i1", str(files[1]), "its file has other content than what was added"),
        )
        engine.remove("i2")
        assert "thumbnails of no reference: 1; compact the catalog" in [one.problem for one in engine.verify().remarks]
        engine.compact()
        assert len(engine.verify().remarks) == 2


def test_damaged_originals_thumbnails_and_indexes_are_moved_aside(toy_model: Path, tmp_path: Path) -> None:
    path, files = tmp_path / "c.catalog", photos(tmp_path / "photos")
    with ps.Engine(path, model=toy_model, threads=1, media=True) as engine:
        engine.add("file", images=files[:1])
        engine.add("array", images=[np.full((9, 9, 3), 70, np.uint8)])
    originals = {file.stem: file for file in (path / "media").glob("*/*.png")}
    assert len(originals) == 2
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    for file in originals.values():
        flipped = bytearray(file.read_bytes())
        flipped[-20] ^= 255
        file.write_bytes(flipped)
    with (path / "thumbnails.sqlite").open("r+b") as file:
        file.truncate(5000)
    (path / "index").mkdir(exist_ok=True)
    (path / "index" / "approximate").write_bytes(b"no index at all")
    damaged = {name: file.read_bytes() for name, file in originals.items()}
    with pytest.warns(UserWarning, match="not a whole index file"):
        engine = ps.Engine(path, model=toy_model, threads=1)
    with engine:
        assert len(engine.verify().problems) == 4
        found = engine.verify(repair=True)
        assert len(found.repaired) == 3
        [lost] = found.problems
        assert lost.item == "array"
        assert "no other file has that content" in lost.problem
        assert originals[digest].read_bytes() == files[0].read_bytes()
        assert engine.verify().ok
    aside = {file.name: file for file in path.rglob("*.damaged")}
    assert {"approximate.damaged", "thumbnails.sqlite.damaged"} < aside.keys()
    assert {aside[f"{name}.png.damaged"].read_bytes() for name in damaged} == set(damaged.values())


# Restoring


def test_an_interrupted_change_of_thumbnails_is_undone(toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "toys.catalog"
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        engine.add("toy", images=photos(tmp_path / "photos"))
    file = sqlite3.connect(path / "thumbnails.sqlite", isolation_level=None)
    file.execute("PRAGMA journal_mode = DELETE")
    file.execute("PRAGMA cache_size = 1")
    file.execute("BEGIN")
    for number in range(200):
        file.execute("INSERT INTO thumbnails VALUES (?, 0, ?, 0)", (bytes([number]) * 32, bytes(9000)))
    crashed = {name: (path / name).read_bytes() for name in ("thumbnails.sqlite", "thumbnails.sqlite-journal")}
    file.execute("ROLLBACK")
    file.close()
    for name, data in crashed.items():
        (path / name).write_bytes(data)
    with ps.Engine(path, threads=1, create=False) as engine:
        assert engine.verify().problems == ()
        assert not (path / "thumbnails.sqlite-journal").exists()
        assert engine.thumbnail("toy") is not None


def test_restore_gives_back_what_was_backed_up(catalog: Path, tmp_path: Path) -> None:
    backup, target = tmp_path / "backup", tmp_path / "restored" / "toys.catalog"
    with ps.Engine(catalog, threads=1) as engine:
        engine.backup(backup)
        engine.remove("i9")
    assert ps.restore(backup, target) == ps.Restored(ROWS - 2, None)
    check_kept(kept(target))
    with pytest.raises(ps.CatalogError, match="holds a catalog already"):
        ps.restore(backup, catalog)
    assert "i9" not in kept(catalog)
    restored = ps.restore(backup, catalog, overwrite=True)
    assert restored == ps.Restored(ROWS - 2, tmp_path / "toys.catalog.replaced")
    assert "i9" in kept(catalog)
    assert "i9" not in kept(tmp_path / "toys.catalog.replaced")
    assert ps.restore(backup, catalog, overwrite=True).moved == tmp_path / "toys.catalog.replaced-2"
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_backup_replaces_nothing(catalog: Path, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    with ps.Engine(catalog, threads=1) as engine:
        engine.backup(backup)
    change(backup, "UPDATE vectors SET vector = zeroblob(length(vector)) WHERE reference = 5")
    before = (catalog / "catalog.sqlite").read_bytes()
    with pytest.raises(ps.CatalogError, match=r'is damaged \("i4": "vector": .*so that nothing was restored'):
        ps.restore(backup, catalog, overwrite=True)
    for wrong in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ps.CatalogError):
            ps.restore(wrong, catalog, overwrite=True)
    with pytest.raises(ps.CatalogError, match="is the backup itself"):
        ps.restore(catalog, catalog, overwrite=True)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("x")
    with pytest.raises(ps.CatalogError, match="holds files, and no catalog"):
        ps.restore(catalog, tmp_path / "folder", overwrite=True)
    assert (catalog / "catalog.sqlite").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "folder", "toys.catalog"]


def test_originals_are_restored(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c.catalog", model=toy_model, threads=1) as engine:
        engine.add("a", images=[np.full((9, 9, 3), 70, np.uint8)])
        engine.backup(tmp_path / "backup")
    ps.restore(tmp_path / "backup", tmp_path / "c.catalog", overwrite=True)
    with ps.Engine(tmp_path / "c.catalog", model=toy_model, threads=1) as engine:
        original = engine.original("a")
        assert original is not None
        assert engine.verify() == ps.Verification(())
        assert (np.asarray(Image.open(original)) == 70).all()


# Salvaging


def salvaged(catalog: Path) -> tuple[ps.Salvaged, dict[str, NDArray[np.float32]]]:
    before = (catalog / "catalog.sqlite").read_bytes()
    out = catalog.with_name("saved.catalog")
    found = ps.salvage(catalog, out)
    assert (catalog / "catalog.sqlite").read_bytes() == before
    assert sorted(path.name for path in out.iterdir()) == ["catalog.sqlite"]
    rows = kept(out)
    check_kept(rows)
    assert (found.items, found.references) == (len(rows), len(rows))
    return found, rows


def test_a_sound_catalog_is_salvaged_whole(catalog: Path, tmp_path: Path) -> None:
    found, rows = salvaged(catalog)
    assert (len(rows), found.lost) == (ROWS - 2, ())
    with ps.Engine(catalog, threads=1) as one, ps.Engine(tmp_path / "saved.catalog", threads=1) as other:
        assert one.items() == other.items()
        with pytest.raises(ps.CatalogError, match="is open in this process; close its engines"):
            ps.salvage(catalog, tmp_path / "again")
    with pytest.raises(ps.CatalogError, match="holds a catalog already"):
        ps.salvage(catalog, tmp_path / "saved.catalog")


def pages(catalog: Path, table: str) -> list[int]:
    """Returns the pages of a table that have rows, counted from 1."""
    with sqlite3.connect(catalog / "catalog.sqlite") as file:
        [size] = file.execute("PRAGMA page_size").fetchone()
        [root] = file.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", [table]).fetchone()
    file.close()
    data = (catalog / "catalog.sqlite").read_bytes()

    def leaves(page: int) -> list[int]:
        start = (page - 1) * size
        if data[start] == 13:  # a leaf of a table, by SQLite's file format
            return [page]
        count = int.from_bytes(data[start + 3 : start + 5])
        places = [int.from_bytes(data[start + 12 + 2 * n : start + 14 + 2 * n]) for n in range(count)]
        below = [int.from_bytes(data[start + place : start + place + 4]) for place in places]
        return [leaf for one in [*below, int.from_bytes(data[start + 8 : start + 12])] for leaf in leaves(one)]

    assert size == 8192
    return leaves(root)


@pytest.mark.parametrize("table", ["vectors", "items", "refs"])
def test_all_but_a_damaged_page_is_saved(table: str, catalog: Path) -> None:
    page = pages(catalog, table)[1]
    with (catalog / "catalog.sqlite").open("r+b") as file:
        file.seek((page - 1) * 8192)
        file.write(np.random.default_rng(0).bytes(8192))
    found, rows = salvaged(catalog)
    assert 100 < len(rows) < ROWS - 2
    assert any(f"table {table}: rows" in one.problem for one in found.lost)
    # Each item that is not there is named, or its number is.
    lost = {one.item for one in found.lost if one.item is not None}
    assert len(lost) == ROWS - 2 - len(rows)
    assert not lost & rows.keys()


def test_flipped_bits_lose_the_vectors_that_have_them_alone(catalog: Path) -> None:
    data = bytearray((catalog / "catalog.sqlite").read_bytes())
    with sqlite3.connect(catalog / "catalog.sqlite") as file:
        stored = dict(file.execute("SELECT reference, vector FROM vectors WHERE reference IN (21, 201, 351)"))
    file.close()
    for vector in stored.values():  # pages that were split have old copies beside
        while (place := data.find(vector)) >= 0:
            data[place + 50] ^= 1
    (catalog / "catalog.sqlite").write_bytes(data)
    found, rows = salvaged(catalog)
    assert len(rows) == ROWS - 5
    assert [(one.item, one.problem) for one in found.lost if one.reference] == [
        (f"i{number}", "its vector cannot be read") for number in (20, 200, 350)
    ]


def test_a_file_that_is_cut_off_gives_what_it_has(catalog: Path) -> None:
    size = (catalog / "catalog.sqlite").stat().st_size
    with (catalog / "catalog.sqlite").open("r+b") as file:
        file.truncate(size // 8192 * 4 // 5 * 8192)
    found, rows = salvaged(catalog)
    assert 200 < len(rows) < ROWS - 2
    assert found.lost


@pytest.mark.parametrize("damage", [bytes(100), bytes(8192), b"not a database " * 20])
def test_a_catalog_without_its_first_page_is_saved(damage: bytes, catalog: Path) -> None:
    with (catalog / "catalog.sqlite").open("r+b") as file:
        file.write(damage)
    with pytest.raises(ps.CatalogError, match=r"SQLite|salvage|belongs to another|another program"):
        ps.Engine(catalog, threads=1, create=False)
    _, rows = salvaged(catalog)
    assert len(rows) == ROWS - 2


def test_noise_is_refused_and_leaves_nothing(catalog: Path, tmp_path: Path) -> None:
    for damage in (b"", np.random.default_rng(2).bytes(40_000)):
        (catalog / "catalog.sqlite").write_bytes(damage)
        with pytest.raises(ps.CatalogError, match=r"nothing can be read|damaged"):
            ps.salvage(catalog, tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []
    shutil.rmtree(catalog)
    with pytest.raises(ps.CatalogError, match=r"holds no catalog\.sqlite"):
        ps.salvage(catalog, tmp_path / "out")


def test_changes_in_the_log_and_sound_originals_are_saved(toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.catalog"
    engine = ps.Engine(path, model=toy_model, threads=1)
    engine.add("a", images=[np.full((9, 9, 3), 70, np.uint8)], label="bear", metadata={"n": 1})
    engine.add("b", images=[np.full((9, 9, 3), 90, np.uint8)])
    # As after a crash: the log has all of it.
    shutil.copytree(path, tmp_path / "crashed")
    engine.close()
    assert (tmp_path / "crashed" / "catalog.sqlite-wal").stat().st_size > 0
    broken = next(file for file in (tmp_path / "crashed" / "media").glob("*/*.png"))
    broken.write_bytes(broken.read_bytes()[:-30])
    found = ps.salvage(tmp_path / "crashed", tmp_path / "saved")
    assert (found.items, found.references) == (2, 2)
    [lost] = found.lost
    assert broken.name in lost.problem
    with ps.Engine(tmp_path / "saved", model=toy_model, threads=1) as engine:
        assert engine.verify().ok
        item = engine.get("a")
        assert (item.label, item.metadata) == ("bear", {"n": 1})
        assert sum(engine.original(name) is not None for name in ("a", "b")) == 1
        assert all(engine.thumbnail(name) for name in ("a", "b"))
        assert engine.vectors("a").shape[1] == toy.DIM
