"""The engine through its public API, with a toy model whose vectors are known by hand."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import multiprocessing
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps

RED, GREEN, BLUE, YELLOW = (220, 20, 20), (20, 200, 20), (20, 20, 230), (220, 210, 20)


def plain(color: tuple[int, int, int], size: int = 32) -> NDArray[np.uint8]:
    return np.full((size, size, 3), color, np.uint8)


def shade(index: int) -> NDArray[np.uint8]:
    """A picture of its own for every index."""
    return plain((index * 37 % 251, index * 101 % 241, index * 59 % 239))


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "toys.catalog", model=toy_model, threads=2) as engine:
        yield engine


@pytest.fixture
def toys(engine: ps.Engine) -> ps.Engine:
    engine.add("bear", images=[plain(RED)], label="bear", metadata={"price": 12.5, "size": {"cm": 30}}, text="red bear")
    engine.add("rabbit", images=[plain(GREEN), plain(YELLOW)], label="rabbit", metadata={"price": 20})
    engine.add("fox", images=[plain(BLUE)], metadata={"price": 8, "tags": ["new"]})
    return engine


def naive(engine: ps.Engine, items: dict[str, list[Any]], query: Any, k: int) -> list[tuple[str, float]]:
    """Every reference against the query; the best one counts for its item."""
    vector = engine.encode_images([query])[0]
    best = {id: float(max(engine.encode_images(images) @ vector)) for id, images in items.items() if images}
    return sorted(best.items(), key=lambda pair: -pair[1])[:k]


# Searching


def test_a_picture_finds_its_item_and_names_the_reference(toys: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "blue-rabbit.png"
    Image.fromarray(plain((60, 200, 230))).save(path)
    toys.add("rabbit", images=path)
    hits = toys.search_image(path, k=2)
    assert (hits[0].rank, hits[0].item, hits[0].label, hits[0].metadata) == (1, "rabbit", "rabbit", {"price": 20})
    assert hits[0].reference == str(path)
    assert hits[0].score == pytest.approx(1.0, abs=1e-5)
    assert hits[1].rank == 2
    assert len(toys.get("rabbit").references) == 3


def test_search_equals_a_naive_scan(toys: ps.Engine) -> None:
    items = {"bear": [plain(RED)], "rabbit": [plain(GREEN), plain(YELLOW)], "fox": [plain(BLUE)]}
    for index in range(20):
        expected = naive(toys, items, shade(index), 3)
        hits = toys.search_image(shade(index), k=3)
        assert [hit.item for hit in hits] == [id for id, _ in expected]
        assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-5)


def test_a_list_is_a_batch_with_the_same_answers(toys: ps.Engine) -> None:
    queries = [shade(index) for index in range(9)]
    batch = toys.search_image(queries, k=3)
    for query, hits in zip(queries, batch, strict=True):
        alone = toys.search_image(query, k=3)
        assert [hit.item for hit in hits] == [hit.item for hit in alone]
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-6)
    assert toys.search_image([], k=3) == []


def test_text_and_hybrid_follow_their_vectors(toys: ps.Engine) -> None:
    word = "red"
    scores = toys.encode_images([plain(RED), plain(BLUE)]) @ toys.encode_texts([word])[0]
    by_text = {hit.item: hit.score for hit in toys.search_text(word, k=3)}
    assert [by_text["bear"], by_text["fox"]] == pytest.approx(scores.tolist(), abs=1e-5)

    image, text = toys.encode_images([plain(BLUE)])[0], toys.encode_texts([word])[0]
    mixed = 0.7 * image + 0.3 * text
    expected = toys.search_vector(mixed / np.linalg.norm(mixed), k=3)
    assert isinstance(expected, ps.Results)
    hybrid = toys.search_hybrid(plain(BLUE), word, image_weight=0.7, k=3, fusion="sum")
    assert [hit.item for hit in hybrid] == [hit.item for hit in expected]
    assert [hit.score for hit in hybrid] == pytest.approx([hit.score for hit in expected], abs=1e-5)
    # The general form says the same, and at its ends a hybrid is a plain search.
    query = ps.Query(image=[(plain(BLUE), 0.7)], text=[(word, 0.3)])
    assert toys.search(query, k=3, fusion="sum").to_dicts() == hybrid.to_dicts()
    only_image = toys.search_hybrid(plain(BLUE), word, image_weight=1.0, k=3)
    assert only_image.to_dicts() == toys.search_image(plain(BLUE), k=3).to_dicts()
    assert len(toys.search_hybrid([plain(RED)] * 2, [word] * 2)) == 2


def test_a_thing_without_a_weight_counts_one(toys: ps.Engine) -> None:
    red, blue = plain(RED), plain(BLUE)
    expected = toys.search(
        ps.Query(image=[(red, 1.0), (blue, 1.0)], text=[("red", 1.0), ("bear", np.float32(0.5))]), k=3
    )
    for query in (
        ps.Query(image=[red, blue], text=["red", ("bear", 0.5)]),
        ps.Query(image=(red, blue), text=("red", ("bear", 0.5))),
        ps.Query(image=[(red, 1), blue], text=["red", ["bear", 0.5]]),  # type: ignore[list-item]
    ):
        assert toys.search(query, k=3).to_dicts() == expected.to_dicts()
    halves = [toys.search(ps.Query(text=text), k=3).to_dicts() for text in ("red", ("red", 0.5), [("red", 0.5)])]
    assert halves[0] == halves[1] == halves[2]
    with pytest.raises(TypeError, match="image is of type float"):
        toys.search(ps.Query(image=[red, 0.5]))  # type: ignore[list-item]


def test_a_negative_weight_subtracts(toys: ps.Engine) -> None:
    red, green = toys.encode_images([plain(RED), plain(GREEN)])
    expected = toys.search_vector(red - 0.5 * green, k=3)
    assert isinstance(expected, ps.Results)
    hits = toys.search(ps.Query(image=[(plain(RED), 1.0), (plain(GREEN), -0.5)]), k=3)
    assert [hit.item for hit in hits] == [hit.item for hit in expected]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-5)
    with pytest.raises(ValueError, match="cancel each other out"):
        toys.search(ps.Query(image=[(plain(RED), 1.0), (plain(RED), -1.0)]))


def test_filters_and_minimum_score(toys: ps.Engine) -> None:
    def found(**options: Any) -> list[str]:
        return [hit.item for hit in toys.search_image(plain(RED), k=9, **options)]

    everything = found()
    assert sorted(everything) == ["bear", "fox", "rabbit"]
    assert found(where={"label": "rabbit"}) == ["rabbit"]
    assert sorted(found(where={"price": {"$lt": 20}})) == ["bear", "fox"]
    assert found(where={"label": {"$in": ["bear", "fox"]}, "price": {"$gte": 10}}) == ["bear"]
    assert sorted(found(where={"$or": [{"label": "bear"}, {"price": 8}]})) == ["bear", "fox"]
    assert sorted(found(where={"$not": {"label": "bear"}})) == ["fox", "rabbit"]
    assert found(where={"size.cm": {"$gt": 20}}) == ["bear"]
    assert found(where={"label": "nobody"}) == []
    scores = [hit.score for hit in toys.search_image(plain(RED), k=9)]
    assert found(min_score=scores[1]) == everything[:2]
    assert found(min_score=1.01) == []


# Changing


def test_the_same_picture_adds_nothing(engine: ps.Engine) -> None:
    png = io.BytesIO()
    Image.fromarray(plain(RED)).save(png, "png")
    assert engine.add("bear", images=[png.getvalue(), plain(RED)]) == ps.Added(references=2, duplicates=0)
    assert engine.add("bear", images=[png.getvalue(), plain(BLUE), plain(BLUE)]) == ps.Added(references=1, duplicates=2)
    assert engine.add("other", images=png.getvalue()) == ps.Added(references=1, duplicates=0)
    assert engine.stats()["references"] == 4


def test_update_get_items_remove(toys: ps.Engine) -> None:
    toys.update("bear", label=None, metadata={"price": 1})
    item = toys.get("bear")
    assert (item.id, item.label, item.text, item.metadata) == ("bear", None, "red bear", {"price": 1})
    # A hit shows the change at once.
    assert toys.search_image(plain(RED), k=1)[0].metadata == {"price": 1}
    assert [item.id for item in toys.items()] == ["bear", "rabbit", "fox"]
    assert [item.id for item in toys.items(limit=1, offset=1)] == ["rabbit"]
    assert [item.id for item in toys.items(where={"price": {"$gt": 5}})] == ["rabbit", "fox"]
    assert ("fox" in toys, "wolf" in toys, len(toys)) == (True, False, 3)
    with pytest.raises(KeyError, match="nobody"):
        toys.remove(["rabbit", "nobody"])
    assert "rabbit" in toys
    toys.remove("rabbit")
    assert sorted(hit.item for hit in toys.search_image(plain(GREEN), k=5)) == ["bear", "fox"]
    for call in (toys.get, toys.update, toys.remove):
        with pytest.raises(KeyError, match="rabbit"):
            call("rabbit")


def test_everything_survives_reopening(toys: ps.Engine, toy_model: Path) -> None:
    toys.remove("fox")
    before = toys.search_image(plain(BLUE), k=5).to_dicts()
    path = toys.path
    toys.close()
    with ps.Engine(path, model=toy_model, create=False) as again:
        assert again.search_image(plain(BLUE), k=5).to_dicts() == before
        assert again.get("bear").metadata == {"price": 12.5, "size": {"cm": 30}}


def test_two_engines_see_each_others_changes(toys: ps.Engine, toy_model: Path) -> None:
    with ps.Engine(toys.path, model=toy_model) as other:
        other.add("frog", images=[shade(3)])
        assert toys.search_image(shade(3), k=1)[0].item == "frog"
        other.update("frog", label="green")
        assert toys.search_image(shade(3), k=1)[0].label == "green"
        toys.remove("frog")
        assert other.search_image(shade(3), k=1)[0].item != "frog"


def test_another_process_is_seen(toys: ps.Engine, toy_model: Path) -> None:
    code = """
import sys, numpy as np, plushie_search as ps
with ps.Engine(sys.argv[1], model=sys.argv[2]) as engine:
    engine.add("owl", images=[np.full((32, 32, 3), (1, 2, 250), np.uint8)])
    engine.remove("bear")
"""
    subprocess.run([sys.executable, "-c", code, toys.path, str(toy_model)], check=True)
    assert toys.search_image(plain((1, 2, 250)), k=1)[0].item == "owl"
    assert sorted(item.id for item in toys.items()) == ["fox", "owl", "rabbit"]
    assert "bear" not in {hit.item for hit in toys.search_image(plain(RED), k=9)}


def test_random_changes_keep_it_equal_to_a_dict_and_a_naive_scan(toy_model: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    catalog = tmp_path / "toys.catalog"
    engine = ps.Engine(catalog, model=toy_model)
    truth: dict[str, list[Any]] = {}
    for step in range(120):
        id = f"item-{rng.integers(12)}"
        action = rng.integers(10)
        if action < 5:
            picture = shade(int(rng.integers(60)))
            known = any(np.array_equal(picture, p) for p in truth.get(id, []))
            assert engine.add(id, images=[picture]) == ps.Added(int(not known), int(known))
            truth.setdefault(id, []).extend([] if known else [picture])
        elif action < 7:
            if truth.pop(id, None) is None:
                with pytest.raises(KeyError):
                    engine.remove(id)
            else:
                engine.remove(id)
        elif action == 7 and id in truth:
            engine.update(id, label=f"label-{step}")
            assert engine.get(id).label == f"label-{step}"
        elif action == 8:
            engine.close()
            engine = ps.Engine(catalog, model=toy_model)
        query = shade(int(rng.integers(200)))
        expected = naive(engine, truth, query, 4)
        scores = [hit.score for hit in engine.search_image(query, k=4)]
        assert scores == pytest.approx([score for _, score in expected], abs=1e-5)
        assert len(engine) == len(truth)
        assert {item.id: len(item.references) for item in engine.items()} == {i: len(p) for i, p in truth.items()}
    engine.close()


# Folders and lists


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for id, colors in {"bear": [RED], "兔子 🐰": [GREEN, YELLOW], "deep/fox": [BLUE]}.items():
        (root / id).mkdir(parents=True)
        for number, color in enumerate(colors):
            Image.fromarray(plain(color)).save(root / id / f"{number}.png")
    return root


def test_a_folder_becomes_items_and_again_adds_nothing(engine: ps.Engine, photos: Path) -> None:
    calls: list[tuple[int, int, str]] = []
    report = engine.add_folder(photos, progress=lambda *now: calls.append(now))
    assert (report.items, report.references, report.duplicates, list(report.failed)) == (3, 4, 0, [])
    assert calls[0][:2] == (0, 4)
    assert calls[-1] == (4, 4, "")
    assert sorted(item.id for item in engine.items()) == ["bear", "deep/fox", "兔子 🐰"]
    again = engine.add_folder(photos)
    assert (again.items, again.references, again.duplicates) == (0, 0, 4)


def test_a_bad_picture_is_reported_and_stops_nothing(engine: ps.Engine, photos: Path) -> None:
    (photos / "bear" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    (photos / "only-bad").mkdir()
    (photos / "only-bad" / "fake.png").write_text("hello")
    report = engine.add_folder(photos)
    assert (report.items, report.references) == (3, 4)
    assert sorted(Path(name).name for name, _ in report.failed) == ["broken.jpg", "fake.png"]
    assert all(reason for _, reason in report.failed)
    assert "only-bad" not in engine


def test_an_interrupted_folder_continues(engine: ps.Engine, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for index in range(150):
        (root / f"item-{index:03}").mkdir(parents=True)
        Image.fromarray(shade(index)).save(root / f"item-{index:03}" / "a.png")

    def stop_soon(done: int, total: int, item: str) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.add_folder(root, progress=stop_soon)
    kept = len(engine)
    assert 0 < kept < 150
    report = engine.add_folder(root)
    assert (report.items, report.duplicates) == (150 - kept, kept)


def test_lists_of_images_with_texts(engine: ps.Engine, photos: Path) -> None:
    paths: list[Any] = [str(photos / "bear" / "0.png"), photos / "deep/fox" / "0.png"]
    engine.add_images(paths, texts=["a red bear", None])
    assert engine.get(paths[0]).text == "a red bear"
    engine.add_images([plain(RED), plain(GREEN)], ids=["a", "a"], labels=["x", "x"], metadata=[{"n": 1}, None])
    item = engine.get("a")
    assert (item.label, item.metadata, len(item.references)) == ("x", {"n": 1}, 2)
    with pytest.raises(ValueError, match="2 images but 1 ids"):
        engine.add_images([plain(RED), plain(GREEN)], ids=["a"])
    with pytest.raises(ValueError, match="image 0 is no path"):
        engine.add_images([plain(RED)])


# Bad input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda e: e.search_image(plain(RED), k=0), ValueError, "k must be at least 1"),
        (lambda e: e.search_image(plain(RED), k=-3), ValueError, "k must be at least 1"),
        (lambda e: e.items(limit=-1), ValueError, "limit -1: give 0 or more"),
        (lambda e: e.items(offset=-2), ValueError, "offset -2"),
        (lambda e: e.search_text(""), ValueError, "empty"),
        (lambda e: e.search_text("  \n"), ValueError, "empty"),
        (lambda e: e.search_text("word " * 250_000), ValueError, "characters"),
        (lambda e: e.search_hybrid(plain(RED), "red", image_weight=1.5), ValueError, "image_weight"),
        (lambda e: e.search_hybrid([plain(RED)], ["a", "b"]), ValueError, "same length"),
        (lambda e: e.search_image("missing.jpg"), FileNotFoundError, r"missing\.jpg"),
        (lambda e: e.search_image(b"\x89PNG\r\n\x1a\n truncated"), ps.PictureError, "picture"),
        (lambda e: e.search_image(plain(RED), where={"price": {"$near": 3}}), ValueError, r"\$near"),
        (lambda e: e.search_vector(np.ones(3, np.float32)), ValueError, "numbers"),
        (lambda e: e.add("", images=[plain(RED)]), ValueError, "id"),
        (lambda e: e.add("x" * 10_000, images=[plain(RED)]), ValueError, "id"),
        (lambda e: e.add("new", images=[]), ValueError, "picture"),
        (lambda e: e.add("new", images=[plain(RED), b"junk"]), ps.PictureError, "picture"),
        (lambda e: e.add("new", images=[plain(RED)], metadata={"price": float("inf")}), ValueError, "metadata"),
        (lambda e: e.add("new", images=[plain(RED)], metadata={"when": object()}), TypeError, "metadata"),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(
    toys: ps.Engine, call: Any, error: type[Exception], message: str
) -> None:
    before = toys.items()
    with pytest.raises(error, match=message):
        call(toys)
    assert toys.items() == before
    assert toys.search_image(plain(RED), k=1)[0].item == "bear"


def test_nan_and_zero_vectors_are_refused(toys: ps.Engine) -> None:
    dim = toys.encode_images([plain(RED)]).shape[1]
    for bad in (np.full(dim, np.nan), np.zeros(dim), np.full(dim, np.inf)):
        with pytest.raises(ValueError, match="vector 0"):
            toys.search_vector(bad.astype(np.float32))


def test_an_empty_catalog_finds_nothing(engine: ps.Engine) -> None:
    assert list(engine.search_image(plain(RED))) == []
    assert list(engine.search_text("red")) == []
    assert (len(engine), engine.items()) == (0, [])


@pytest.mark.parametrize("id", ["../../etc/passwd", "🧸 мишка", "a/b\\c", "'; DROP TABLE items; --", "x" * 200, "%00"])
def test_ids_are_only_text(engine: ps.Engine, id: str) -> None:
    engine.add(id, images=[plain(RED)])
    assert engine.search_image(plain(RED))[0].item == id
    assert engine.get(id).id == id
    engine.remove(id)
    assert id not in engine


def test_a_catalog_of_another_model_is_refused(toys: ps.Engine, toy_model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other-model"
    other.mkdir()
    for file in toy_model.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    manifest = json.loads((other / "model.json").read_text())
    manifest["image"]["preprocess"]["mean"] = [0.1, 0.2, 0.3]
    (other / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ps.CatalogError, match="model"):
        ps.Engine(toys.path, model=other)
    assert len(toys) == 3


def test_other_directories_are_refused_and_left_alone(toy_model: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    database = sqlite3.connect(foreign / "catalog.sqlite")
    database.execute("CREATE TABLE notes (text)")
    database.commit()
    database.close()
    text = tmp_path / "text"
    text.mkdir()
    (text / "catalog.sqlite").write_text("these are my notes\n" * 100)
    file = tmp_path / "file.catalog"
    file.write_text("not a directory")
    for path, target in (
        (foreign, foreign / "catalog.sqlite"),
        (text, text / "catalog.sqlite"),
        (file, file),
    ):
        before = target.read_bytes()
        with pytest.raises((ps.CatalogError, OSError)):
            ps.Engine(path, model=toy_model)
        assert target.read_bytes() == before
    with pytest.raises((ps.CatalogError, FileNotFoundError)):
        ps.Engine(tmp_path / "nothing", model=toy_model, create=False)
    assert not (tmp_path / "nothing").exists()


READ_ONLY = """
import os, sys, plushie_search as ps
model, folder, catalog = sys.argv[1:]
with ps.Engine(os.path.join(folder, "first"), model=model): # imports everything while it is allowed to
    pass
os.chmod(folder, 0o555)
for root, folders, files in os.walk(catalog):
    os.chmod(root, 0o555)
    for file in files:
        os.chmod(os.path.join(root, file), 0o444)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for path in (os.path.join(folder, "second"), catalog):
    try:
        ps.Engine(path, model=model)
    except (ps.CatalogError, PermissionError) as error:
        print(error)
    else:
        sys.exit(f"{path} could be opened")
"""


def test_a_read_only_directory_is_refused(toys: ps.Engine, toy_model: Path) -> None:
    toys.close()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        catalog = shutil.copytree(toys.path, Path(folder, "catalog"))
        model = shutil.copytree(toy_model, Path(folder, "model"))
        code = [sys.executable, "-c", READ_ONLY, str(model), folder, str(catalog)]
        found = subprocess.run(code, capture_output=True, text=True, check=False)
        assert (found.returncode, found.stderr) == (0, "")
        first, second = found.stdout.splitlines()
        assert "second" in first
        assert "writable" in second
        Path(folder).chmod(0o755)
        catalog.chmod(0o755)


def test_unknown_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plushie-mini"):
        ps.Engine(tmp_path / "x", model="no-such-model")
    assert not (tmp_path / "x").exists()


# The object itself


def test_pickling_and_copying_are_refused(toys: ps.Engine) -> None:
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="open the catalog again"):
            attempt(toys)


def test_a_closed_engine_says_so(toys: ps.Engine) -> None:
    toys.close()
    toys.close()
    with pytest.raises(ValueError, match="closed"):
        toys.search_image(plain(RED))
    assert "closed" in repr(toys)


def _search_in_child(engine: ps.Engine, answer: Any) -> None:
    try:
        engine.search_image(plain(RED))
        answer.put("searched")
    except RuntimeError as error:
        answer.put(str(error))


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_opens_its_own(toys: ps.Engine) -> None:
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=_search_in_child, args=(toys, answer))
    child.start()
    assert answer.get(timeout=60) == "searched"
    child.join(60)
    assert toys.search_image(plain(RED), k=1)[0].item == "bear"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the threads that Linux lists")
def test_engines_of_as_many_threads_share_them(toy_model: Path, tmp_path: Path) -> None:
    def computing() -> set[str]:
        found = set()
        for task in Path("/proc/self/task").iterdir():
            # One of another test may end meanwhile.
            with contextlib.suppress(OSError):
                if (task / "comm").read_text().startswith("plushie-"):
                    found.add(task.name)
        return found

    before = computing()
    with ps.Engine(tmp_path / "one", model=toy_model, threads=7) as one:
        with ps.Engine(tmp_path / "two", model=toy_model, threads=7) as two:
            for engine in (one, two):
                engine.add("red", images=[plain(RED)])
                assert engine.search_image(plain(RED))[0].item == "red"
            assert len(computing() - before) == 7
        assert one.search_image(plain(RED))[0].item == "red"


def test_threads_share_an_engine_while_one_writes(toys: ps.Engine) -> None:
    expected = [hit.item for hit in toys.search_image(plain(RED), k=3, where={"price": {"$gt": 0}})]
    errors: list[BaseException] = []

    def search() -> None:
        try:
            for _ in range(50):
                hits = toys.search_image(plain(RED), k=3, where={"price": {"$gt": 0}})
                assert [hit.item for hit in hits] == expected
        except BaseException as error:
            errors.append(error)

    def write() -> None:
        try:
            for index in range(30):
                toys.add(f"extra-{index}", images=[shade(index)])
                if index % 3 == 0:
                    toys.remove(f"extra-{index}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(toys) == 3 + 20


def test_python_runs_on_while_a_long_call_works(engine: ps.Engine) -> None:
    """A thread that counts gets on while one call encodes a few hundred large pictures."""
    pictures = [shade(index).repeat(16, 0).repeat(16, 1) for index in range(300)]
    counted, running = 0, True

    def count() -> None:
        nonlocal counted
        while running:
            counted += 1

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    engine.encode_images(pictures)
    during = counted - before
    running = False
    thread.join()
    # With the GIL held, the counter could move only while the pictures are converted.
    assert during > 1000


def test_a_misspelt_key_of_a_filter_is_told(toys: ps.Engine, recwarn: pytest.WarningsRecorder) -> None:
    assert toys.items(where={"price": {"$gt": 100}}) == []
    assert [item.id for item in toys.items(where={"$or": [{"prise": 8}, {"price": 8}]})] == ["fox"]
    assert len(recwarn) == 0
    with pytest.warns(UserWarning, match="no item has the key 'prise' in its metadata, which the filter names") as told:
        assert toys.items(where={"prise": 8}) == []
    assert told[0].filename == __file__
