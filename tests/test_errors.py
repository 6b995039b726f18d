"""Errors: one root, the built-in class that the cause has elsewhere, and what a server needs to answer with."""

from __future__ import annotations

import copy
import pickle
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import plushie_search as ps
from plushie_search import metrics
from plushie_search.interop.descriptions import read_descriptions
from plushie_search.plushbench.bench import Configuration

KINDS = {
    ps.ArgumentError: (ValueError, "argument"),
    ps.UnknownItemError: (KeyError, "unknown_item"),
    ps.FileError: (OSError, "file"),
    ps.PictureError: (ValueError, "picture"),
    ps.ModelError: (RuntimeError, "model"),
    ps.CatalogError: (RuntimeError, "catalog"),
    ps.InternalError: (RuntimeError, "internal"),
}


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> ps.Engine:
    engine = ps.Engine(tmp_path / "catalog", model=toy_model, threads=1)
    engine.add_vectors(["bear"], np.eye(1, engine.stats()["dimension"]))
    return engine


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_of_the_root_and_a_built_in_error(kind: type[ps.PlushieError]) -> None:
    built_in, code = KINDS[kind]
    assert issubclass(kind, ps.PlushieError)
    assert issubclass(kind, built_in)
    assert kind.__module__ == "plushie_search"
    assert (kind.code, kind.item, kind.path) == (code, None, None)


def raised(work: Callable[[], object]) -> ps.PlushieError:
    with pytest.raises(ps.PlushieError) as found:
        work()
    error = found.value
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert (other.code, other.item, other.path) == (error.code, error.item, error.path)
    return error


def test_an_unknown_item_is_named(engine: ps.Engine) -> None:
    error = raised(lambda: engine.get("rabbit"))
    assert isinstance(error, KeyError)
    assert str(error) == 'no item "rabbit" in this catalog'
    assert (error.code, error.item, error.path) == ("unknown_item", "rabbit", None)


def test_a_file_is_named(engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "missing.jpg"
    error = raised(lambda: engine.search_image(path))
    assert isinstance(error, FileNotFoundError)
    assert isinstance(error, ps.FileError)
    assert (error.code, error.path, error.filename) == ("file", str(path), str(path))


def test_a_picture_is_named(engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff broken")
    assert (raised(lambda: engine.search_image(path)).path, raised(lambda: engine.search_image(b"no")).path) == (
        str(path),
        None,
    )


def test_a_catalog_is_named(engine: ps.Engine, toy_model: Path, tmp_path: Path) -> None:
    error = raised(lambda: ps.Engine(tmp_path / "none", model=toy_model, create=False))
    assert (error.code, error.path) == ("catalog", str(tmp_path / "none"))


def test_a_writer_without_a_turn_is_told_apart(engine: ps.Engine, toy_model: Path) -> None:
    program = (
        "import sqlite3, sys; other = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "other.execute('BEGIN IMMEDIATE'); print('writing', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, f"{engine.path}/catalog.sqlite"]
    with (
        ps.Engine(engine.path, model=toy_model, threads=1, busy_timeout=0.05) as waiting,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other,
    ):
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        error = raised(lambda: waiting.remove("bear"))
        assert (type(error), error.code, error.path) == (ps.CatalogError, "busy", engine.path)
        other.communicate()


def test_a_damaged_vector_names_its_item(engine: ps.Engine, toy_model: Path) -> None:
    path = engine.path
    engine.close()
    with sqlite3.connect(f"{path}/catalog.sqlite") as other:
        other.execute("UPDATE vectors SET vector = zeroblob(length(vector))")
    other.close()
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        error = raised(lambda: engine.search_vector(np.ones(engine.stats()["dimension"])))
        assert (error.code, error.item, error.path) == ("damaged", "bear", path)


def test_an_argument_is_told(engine: ps.Engine) -> None:
    assert raised(lambda: engine.search_text("bear", k=0)).code == "argument"


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (lambda engine: engine.evaluate([(np.zeros((8, 8, 3), np.uint8), "bear")], k=0), "k must be at least 1"),
        (lambda engine: engine.evaluate(), "has two references"),
        (lambda engine: engine.add_items([{"id": "bear", "color": "red"}]), "unknown field"),
        (lambda engine: ps.compare_models(["toy"], engine), "two or more models"),
        (lambda engine: ps.open_encoder("no such model"), "unknown model"),
        (lambda engine: ps.pull_model("no such model"), "unknown model"),
        (lambda engine: ps.quantize_model("toy", "new", pictures="none", weight_bits=4), "give 7 or 8"),
        (lambda engine: metrics.difference([1.0], [1.0, 0.0]), "cannot be paired"),
        (lambda engine: read_descriptions("items.txt"), "items.txt"),
        (lambda engine: Configuration(references=0), "0 references"),
    ],
)
def test_each_room_refuses_arguments_by_one_class(
    work: Callable[[ps.Engine], object], says: str, engine: ps.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("items.txt").touch()
    error = raised(lambda: work(engine))
    assert (type(error), error.code) == (ps.ArgumentError, "argument")
    assert says in str(error)
