"""Catalogs of former formats: they open, keep everything, and are changed in one transaction or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
import toy
from numpy.typing import NDArray

import plushie_search as ps

CATALOGS = Path(__file__).parent / "catalogs"
FORMATS = sorted(CATALOGS.glob("format-*.sql"))
#: Those without checksums, and the one that lacks the index of words.
UNCHECKED, WORDLESS = FORMATS[:2], FORMATS[2:3]


def former(statements: Path, path: Path, encoder: ps.Encoder) -> Path:
    """Writes a former catalog of the toy model, as it is made here."""
    path.mkdir()
    with sqlite3.connect(path / "catalog.sqlite") as connection:
        connection.executescript(statements.read_text(encoding="utf-8").replace("{fingerprint}", encoder.fingerprint))
    connection.close()
    return path


def marks(path: Path) -> tuple[int, list[str]]:
    """The format, and how the tables and indexes were made, without comments and spaces."""
    connection = sqlite3.connect(path / "catalog.sqlite")
    (format,) = connection.execute("PRAGMA user_version").fetchone()
    rows = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name").fetchall()
    connection.close()
    lines = ([line.split("--")[0] for line in sql.splitlines()] for (sql,) in rows)
    return format, ["".join("".join(line).split()) for line in lines]


def dump(file: Path, tables: tuple[str, ...]) -> dict[str, list[tuple[object, ...]]]:
    """The rows of tables."""
    connection = sqlite3.connect(file)
    rows = {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}
    connection.close()
    return rows


@pytest.fixture(params=FORMATS, ids=lambda path: path.stem)
def catalog(request: pytest.FixtureRequest, tmp_path: Path, toy_encoder: ps.Encoder) -> Path:
    return former(request.param, tmp_path / "former", toy_encoder)


def test_there_is_a_catalog_of_each_former_format(toy_model: Path, tmp_path: Path) -> None:
    ps.Engine(tmp_path / "new", model=toy_model, threads=1).close()
    assert [path.stem for path in FORMATS] == [f"format-{n}" for n in range(1, marks(tmp_path / "new")[0])]


def test_a_former_catalog_keeps_everything(catalog: Path, toy_model: Path, tmp_path: Path) -> None:
    ps.Engine(tmp_path / "new", model=toy_model, threads=1).close()
    with ps.Engine(catalog, model=toy_model, threads=1) as engine:
        bear, rabbit = engine
        assert (bear.id, bear.label, bear.text) == ("bear", "bear", "a red bear")
        assert bear.metadata == {"price": 12.5, "颜色": "红"}
        assert rabbit.id == "兔子"
        assert [len(item.references) for item in (bear, rabbit)] == [2, 1]
        colors = [(200, 30, 30), (30, 200, 30)]
        expected = np.stack([toy.color_vector(color) for color in colors]).astype(np.float32)
        np.testing.assert_allclose(engine.vectors("bear"), expected, atol=1e-6)
        hit = engine.search_vector(toy.color_vector((30, 30, 200)), k=1)[0]
        assert (hit.item, hit.score) == ("兔子", pytest.approx(1, abs=1e-6))
        assert engine.verify().ok
        picture = np.full((8, 8, 3), colors[0], np.uint8)
        assert engine.add("bear", images=[picture]) == ps.Added(0, 1), "a picture is known by its digest"
        engine.remove("bear")
        assert len(engine) == 1
    assert marks(catalog) == marks(tmp_path / "new")


def test_a_former_catalog_is_copied_before_it_is_brought_up_to_date(catalog: Path, toy_model: Path) -> None:
    before, tables = marks(catalog), ("models", "items", "refs", "vectors")
    rows = dump(catalog / "catalog.sqlite", tables)
    copy = catalog / "former" / f"format-{before[0]}"
    # As if an earlier opening had been interrupted.
    copy.mkdir(parents=True)
    (copy / "catalog.sqlite.part").write_bytes(b"half")
    with ps.Engine(catalog, model=toy_model, threads=1) as engine:
        engine.remove("bear")
    assert [path.name for path in copy.iterdir()] == ["catalog.sqlite"]
    assert marks(copy) == before
    assert dump(copy / "catalog.sqlite", tables) == rows
    with ps.Engine(copy, model=toy_model, threads=1) as engine:
        assert [item.id for item in engine] == ["bear", "兔子"]


def test_a_former_catalog_that_cannot_be_copied_stays_as_it_is(catalog: Path, toy_model: Path) -> None:
    before = marks(catalog)
    (catalog / "former").write_bytes(b"a file in the way")
    with pytest.raises(ps.CatalogError, match=r"must be copied to .*former.* before it is brought up to date"):
        ps.Engine(catalog, model=toy_model, threads=1)
    assert marks(catalog) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE items SET text = 'a rEd bear' WHERE id = 'bear'", "its id, label, text, metadata or time is not"),
        ("UPDATE items SET added = added + 1 WHERE id = 'bear'", "its id, label, text, metadata or time is not"),
        ("UPDATE refs SET name = 'image 7 (array)' WHERE reference = 1", "its name, digest, view or time is not"),
        ("UPDATE refs SET digest = zeroblob(32) WHERE reference = 1", "its name, digest, view or time is not"),
        ("UPDATE settings SET value = value || ' ' WHERE key = 'note'", 'the setting "note" is not as it was written'),
    ],
)
def test_a_row_that_is_not_as_it_was_written_is_told(
    change: str, words: str, toy_model: Path, toy_encoder: ps.Encoder, tmp_path: Path
) -> None:
    catalog = former(FORMATS[-1], tmp_path / "former", toy_encoder)
    with sqlite3.connect(catalog / "catalog.sqlite") as connection:
        connection.execute("INSERT INTO settings VALUES ('note', '1')")
    connection.close()
    with ps.Engine(catalog, model=toy_model, threads=1) as engine:
        engine.update("bear", text="a red bear")
        assert engine.verify().ok
    with sqlite3.connect(catalog / "catalog.sqlite") as connection:
        assert connection.execute(change).rowcount == 1
    connection.close()
    with ps.Engine(catalog, model=toy_model, threads=1) as engine:
        (problem,) = engine.verify().problems
        assert words in problem.problem
    saved = ps.salvage(catalog, tmp_path / "saved")
    assert [lost.problem for lost in saved.lost] == [problem.problem]
    with ps.Engine(tmp_path / "saved", model=toy_model, threads=1) as engine:
        assert engine.verify().ok
    if "UPDATE items" in change:
        assert problem.item == "bear"
        with ps.Engine(catalog, model=toy_model, threads=1) as engine:
            engine.update("bear", label="bear", text="a red bear", metadata={})
            assert engine.verify().ok


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.full(toy.DIM, 1000, np.float32), "its length is 2449"),
        (np.full(toy.DIM, np.nan, np.float32), "its length is NaN instead of 1"),
        (np.zeros(toy.DIM - 1, np.float32), "it has another length"),
    ],
)
@pytest.mark.parametrize("catalog", UNCHECKED, ids=lambda path: path.stem, indirect=True)
def test_damage_from_before_there_were_checksums_is_told(
    bad: NDArray[np.float32], words: str, catalog: Path, toy_model: Path
) -> None:
    with sqlite3.connect(catalog / "catalog.sqlite") as connection:
        connection.execute("UPDATE vectors SET vector = ? WHERE reference = 4", [bad.tobytes()])
    connection.close()
    with ps.Engine(catalog, model=toy_model, threads=1) as engine:
        with pytest.raises(ps.CatalogError, match=f'item "兔子", reference "image 0 .array." is damaged .{words}'):
            engine.search_vector(np.ones(toy.DIM))
        engine.remove("兔子")
        assert engine.search_vector(np.ones(toy.DIM), k=1)[0].item == "bear"


def test_an_older_version_that_has_it_open_adds_no_vectors_without_checksums(catalog: Path, toy_model: Path) -> None:
    older = sqlite3.connect(catalog / "catalog.sqlite")
    older.execute("SELECT * FROM refs").fetchall()
    with ps.Engine(catalog, model=toy_model, threads=1) as engine:
        with pytest.raises(sqlite3.IntegrityError):
            older.execute("INSERT INTO refs (item, name, digest, added) VALUES (1, 'r', zeroblob(32), 0)")
        older.rollback()
        older.close()
        assert engine.verify().ok


@pytest.mark.parametrize("catalog", UNCHECKED, ids=lambda path: path.stem, indirect=True)
def test_a_former_catalog_is_not_changed_by_one_who_reads_only(catalog: Path, toy_model: Path) -> None:
    before = (catalog / "catalog.sqlite").read_bytes()
    with pytest.raises(ps.CatalogError, match=r"older than 6; open it once without read_only=True"):
        ps.Engine(catalog, model=toy_model, threads=1, read_only=True)
    assert (catalog / "catalog.sqlite").read_bytes() == before


@pytest.mark.parametrize("catalog", WORDLESS, ids=lambda path: path.stem, indirect=True)
def test_a_former_catalog_that_lacks_the_index_of_words_alone_is_read_without_it(
    catalog: Path, toy_model: Path
) -> None:
    before = (catalog / "catalog.sqlite").read_bytes()
    with ps.Engine(catalog, model=toy_model, threads=1, read_only=True) as engine:
        plain = engine.search_text("a red bear", words=False)
        assert engine.search_text("a red bear") == plain
        assert len(plain) == 2
        assert engine.verify().ok
    assert (catalog / "catalog.sqlite").read_bytes() == before
    with ps.Engine(catalog, model=toy_model, threads=1) as engine:
        assert [hit.matched for hit in engine.search_text("a red bear")] == [("id", "label", "text"), ()]
        assert engine.search_text("兔子", k=1)[0].item == "兔子"
        assert engine.search_text("12.5", words=["price"])[0].matched == ("price",)
        assert engine.verify().ok
    with ps.Engine(catalog, model=toy_model, threads=1, read_only=True) as engine:
        assert engine.search_text("a red bear")[0].item == "bear"


@pytest.mark.parametrize("catalog", FORMATS[2:], ids=lambda path: path.stem, indirect=True)
def test_a_former_catalog_is_filtered_before_and_after_it_has_an_index_of_metadata(
    catalog: Path, toy_model: Path
) -> None:
    wheres: list[dict[str, object]] = [{"price": 12.5}, {"price": {"$lt": 20}}, {"颜色": "红"}, {"颜色": "蓝"}]
    for read_only in (True, False, True):
        with ps.Engine(catalog, model=toy_model, threads=1, read_only=read_only) as engine:
            assert [engine.count(where=where) for where in wheres] == [1, 1, 1, 0]
            hits = engine.search_vector(np.ones(toy.DIM), where={"price": 12.5, "label": "bear"})
            assert [hit.item for hit in hits] == ["bear"]
            assert engine.verify().ok


@pytest.mark.parametrize("catalog", FORMATS[:4], ids=lambda path: path.stem, indirect=True)
def test_a_former_catalog_with_other_tables_is_refused_and_left_as_it_is(catalog: Path, toy_model: Path) -> None:
    with sqlite3.connect(catalog / "catalog.sqlite") as connection:
        connection.execute("CREATE TABLE item_values (key, value)")
    connection.close()
    before = marks(catalog)
    with pytest.raises(ps.CatalogError, match=f"not those of format {before[0]} .*table item_values"):
        ps.Engine(catalog, model=toy_model, threads=1)
    assert marks(catalog) == before


@pytest.mark.parametrize("catalog", UNCHECKED, ids=lambda path: path.stem, indirect=True)
def test_a_change_of_format_that_fails_in_the_middle_leaves_the_former_one(catalog: Path, toy_model: Path) -> None:
    """A page in the middle is damaged, which the change comes upon when it has done a part."""
    with sqlite3.connect(catalog / "catalog.sqlite") as connection:
        connection.execute("UPDATE refs SET digest = zeroblob(32) WHERE reference = 4")
        # No vector at all, of which no checksum can be made.
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("UPDATE vectors SET reference = 9, vector = x'00' WHERE sequence = 5")
        connection.execute("UPDATE vectors SET model = NULL WHERE sequence = 5")
    connection.close()
    before = marks(catalog)
    with pytest.raises(ps.CatalogError):
        ps.Engine(catalog, model=toy_model, threads=1)
    assert marks(catalog) == before


def test_a_migration_is_logged_once(catalog: Path, toy_model: Path, caplog: pytest.LogCaptureFixture) -> None:
    (former_format, _) = marks(catalog)
    with caplog.at_level("INFO", "plushie_search"):
        for _ in range(2):
            ps.Engine(catalog, model=toy_model, threads=1).close()
    told = [record.getMessage() for record in caplog.records if "migrated" in record.getMessage()]
    assert told == [f"migrated {catalog} from format {former_format} to the present one"]
