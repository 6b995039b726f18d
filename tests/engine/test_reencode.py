"""Moving a catalog to another model: whole or not at all, the same vectors as a new catalog, and none of two models."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import toy
from mean import Mean
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps

#: The vectors of the second model: the pixels' means times these.
WEIGHTS = np.random.default_rng(9).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sees pictures alone, at another size, in vectors of dimension 4."""
    image = {"file": "image.onnx", "output": None, "preprocess": {**toy.PREPROCESS, "size": [16, 16]}}
    folder = toy.write(tmp_path_factory.mktemp("other") / "other", name="other", dimension=4, image=image, text=None)
    shape = ("batch", 3, 16, 16)
    onnx.save(toy.image_tower(shape=shape, weights=WEIGHTS), folder / "image.onnx")
    return folder


def picture(seed: int, side: int = 40) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side + seed % 7), Image.Resampling.BICUBIC))


def encoded(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(seed, 60)).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six items with two pictures each: JPEG files far larger than models see them, and PNG files."""
    for number in range(6):
        folder = tmp_path / "photos" / f"item {number}"
        folder.mkdir(parents=True)
        Image.fromarray(picture(2 * number, 900)).save(folder / "1.jpg")
        Image.fromarray(picture(2 * number + 1)).save(folder / "2.png")
    return tmp_path / "photos"


def fill(path: Path, model: Any, photos: Path, **options: Any) -> ps.Engine:
    """A catalog with pictures of each kind: files, bytes and pixels."""
    engine = ps.Engine(path, model=model, threads=2, **options)
    engine.add_folder(photos)
    engine.add("memory", images=[encoded(50), picture(51)], label="in memory")
    engine.add("item 2", images=Image.fromarray(picture(52)))
    return engine


def many(path: Path, model: Any, count: int) -> ps.Engine:
    engine = ps.Engine(path, model=model, threads=2)
    engine.add_images([picture(n, 9) for n in range(count)], ids=[f"a{n}" for n in range(count)])
    return engine


def all_vectors(engine: ps.Engine, model: str | None = None) -> dict[str, bytes]:
    return {item.id: engine.vectors(item.id, model=model).tobytes() for item in engine}


def held(path: Path) -> list[tuple[str, int]]:
    """The models that a catalog knows, and how many vectors it has of each."""
    connection = sqlite3.connect(f"file:{path / 'catalog.sqlite'}?mode=ro", uri=True)
    try:
        sql = "SELECT name, COUNT(vector) FROM models LEFT JOIN vectors USING (model) GROUP BY model ORDER BY model"
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


# Results


@pytest.mark.parametrize("as_object", [False, True])
def test_vectors_and_scores_are_those_of_a_new_catalog(
    as_object: bool, toy_model: Path, other_model: Path, photos: Path, tmp_path: Path
) -> None:
    target: Any = Mean() if as_object else other_model
    with fill(tmp_path / "new", target, photos) as fresh, fill(tmp_path / "c", toy_model, photos) as engine:
        before = [item.to_dict() for item in engine]
        told: list[tuple[int, int | None]] = []
        report = engine.reencode(target, progress=lambda done, total, item: told.append((done, total)))
        name = "mean" if as_object else "other"
        assert report == ps.ReencodeReport((name,), True, 15, 12, 3, 0)
        assert str(report) == f"15 references moved to {name}: 12 from files, 3 from media/"
        assert told[0] == (0, 15)
        assert told[-1] == (15, 15)
        assert engine.models == fresh.models == (name,)
        assert all_vectors(engine) == all_vectors(fresh)
        assert [item.to_dict() for item in engine] == before
        for query in (picture(2 * 3, 900), picture(51), picture(99)):
            found, expected = (one.search_image(query, k=20).to_dicts() for one in (engine, fresh))
            assert found == expected
        assert engine.verify().ok
        engine.add("more", images=picture(70))
        assert engine.search_image(picture(70))[0].item == "more"
    assert held(tmp_path / "c") == [(name, 16)]
    assert not (tmp_path / "c" / "reencode.vectors").exists()
    if as_object:
        with pytest.raises(ps.ModelError, match="filled with model 'mean', and it is not known where that lies"):
            ps.Engine(tmp_path / "c")
    else:
        with ps.Engine(tmp_path / "c") as engine:
            assert engine.models == ("other",)
            assert engine.search_image(picture(51))[0].item == "memory"


def test_a_catalog_whose_model_is_gone_names_the_command_and_moves(
    toy_model: Path, other_model: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(toy_model, tmp_path / "toy")
    fill(tmp_path / "c", tmp_path / "toy", photos).close()
    command = f"plushie-search reencode {tmp_path / 'c'} --model NEW"
    with pytest.raises(ps.CatalogError, match='has vectors of "toy" and none of "other"') as refused:
        ps.Engine(tmp_path / "c", model=other_model)
    assert command in str(refused.value)
    shutil.rmtree(tmp_path / "toy")
    with pytest.raises(ps.ModelError, match="not there any more") as gone:
        ps.Engine(tmp_path / "c")
    assert command in str(gone.value)
    with ps.Engine(tmp_path / "c", model=[]) as engine:
        assert engine.reencode(str(other_model)).files == 12
        assert engine.search_image(picture(51))[0].item == "memory"
    with ps.Engine(tmp_path / "c") as engine:
        assert engine.models == ("other",)


def test_another_version_of_a_model_takes_its_name(toy_model: Path, photos: Path, tmp_path: Path) -> None:
    with fill(tmp_path / "c", {"mine": toy_model}, photos) as engine:
        with pytest.raises(ps.CatalogError, match=r"another version of model .*: plushie-search reencode"):
            ps.Engine(tmp_path / "c", model={"mine": Mean()})
        engine.reencode({"mine": Mean()})
        assert engine.models == ("mine",)
        assert engine.vectors("memory").shape == (2, 3)
        # And back: the numbers of the models were never used again.
        engine.reencode({"mine": toy_model})
        assert engine.search_text("a bear", k=1)[0].item
    with fill(tmp_path / "new", toy_model, photos) as fresh, ps.Engine(tmp_path / "c") as engine:
        assert all_vectors(engine) == all_vectors(fresh)


def test_its_own_model_leaves_everything_as_it_is(toy_model: Path, photos: Path, tmp_path: Path) -> None:
    fill(tmp_path / "c", toy_model, photos).close()
    before = (tmp_path / "c" / "catalog.sqlite").read_bytes()
    with ps.Engine(tmp_path / "c", model=[]) as engine:
        report = engine.reencode(toy_model)
        assert report == ps.ReencodeReport(("toy",), False, 15, 0, 0, 0)
        assert str(report) == "nothing to do: the vectors of all 15 references are those of toy"
        assert engine.search_text("a bear", k=1)[0].item, "it has its model now"
    assert (tmp_path / "c" / "catalog.sqlite").read_bytes() == before
    with ps.Engine(tmp_path / "empty", model=toy_model) as engine:
        assert not engine.reencode(Mean()).changed
        engine.add("a", images=picture(1))
    assert held(tmp_path / "empty")[-1] == ("mean", 1)


def test_vectors_of_models_that_stay_are_kept(toy_model: Path, other_model: Path, photos: Path, tmp_path: Path) -> None:
    with fill(tmp_path / "c", [toy_model, Mean()], photos) as engine:
        kept = all_vectors(engine, "mean")
        shutil.rmtree(photos)
        mean = Mean()
        # Of files that are gone there are thumbnails, which the model that stays does not see.
        assert engine.reencode([other_model, mean]) == ps.ReencodeReport(("other", "mean"), True, 15, 0, 3, 12)
        assert all_vectors(engine, "mean") == kept
        assert mean.seen == 0
        (tmp_path / "c" / "thumbnails.sqlite").unlink()
        shutil.rmtree(tmp_path / "c" / "media")
        report = engine.reencode(mean)
        assert str(report) == "15 references moved to mean: the vectors were there already"
        assert all_vectors(engine) == kept
        assert engine.verify().ok
    assert held(tmp_path / "c") == [("mean", 15)]


# Sources


def test_of_changed_files_the_thumbnails_are_encoded(
    toy_model: Path, other_model: Path, photos: Path, tmp_path: Path
) -> None:
    with fill(tmp_path / "c", toy_model, photos) as engine:
        (photos / "item 0" / "1.jpg").unlink()
        Image.fromarray(picture(80)).save(photos / "item 1" / "2.png")
        [original] = (tmp_path / "c" / "media").rglob(f"{engine.get('memory').references[0].digest}.png")
        original.write_bytes(original.read_bytes()[:-20])  # a disk that has lost its end
        small = [engine.thumbnail("item 0", str(photos / "item 0" / "1.jpg")), engine.thumbnail("memory")]
        assert engine.reencode(other_model) == ps.ReencodeReport(("other",), True, 15, 10, 2, 3)
        encoder = ps.open_encoder(str(other_model))
        for item, jpeg in zip(("item 0", "memory"), small, strict=True):
            np.testing.assert_array_equal(engine.vectors(item)[0], encoder.encode_images([jpeg])[0])


def test_references_without_a_picture_stop_it_before_any_work(toy_model: Path, photos: Path, tmp_path: Path) -> None:
    with fill(tmp_path / "c", toy_model, photos, thumbnails=False) as engine:
        engine.add_vectors(["by hand"], np.ones((1, toy.DIM)), references=["no picture"])
        before, mean = all_vectors(engine), Mean()
        (photos / "item 3" / "2.png").unlink()
        with pytest.raises(ps.CatalogError, match="2 of 16 references have no picture to encode") as refused:
            engine.reencode(mean)
        message = str(refused.value)
        assert f'item "item 3", reference "{photos / "item 3" / "2.png"}"' in message
        assert 'item "by hand", reference "no picture" (neither its original nor a thumbnail is there)' in message
        assert "Put these files back, or remove the references, and run it again" in message
        assert mean.seen == 0
        assert all_vectors(engine) == before
        assert not (tmp_path / "c" / "reencode.vectors").exists()
        engine.remove("by hand")
        engine.remove_reference("item 3", str(photos / "item 3" / "2.png"))
        # This one is found to be another picture as late as it is read.
        (photos / "item 4" / "2.png").write_bytes(encoded(81))
        with pytest.raises(ps.CatalogError, match=r"1 of 14 references .*item 4"):
            engine.reencode(mean)
        assert mean.seen == 13
        engine.remove_reference("item 4", str(photos / "item 4" / "2.png"))
        assert engine.reencode(mean).references == 13
        assert mean.seen == 13, "what was encoded is not encoded again"


def test_at_most_five_of_them_are_named(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model) as engine:
        engine.add_vectors([f"a{n}" for n in range(8)], np.eye(8, toy.DIM) + 1)
        with pytest.raises(ps.CatalogError, match=r'item "a4", [^;]*; and 3 more\. Put') as refused:
            engine.reencode(Mean())
        assert '"a5"' not in str(refused.value)


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("begun", flush=True)
sys.stdin.readline()
"""


def test_what_cannot_work_is_refused_before_any_work(toy_model: Path, photos: Path, tmp_path: Path) -> None:
    class Words:
        name, dim, fingerprint = "words", 2, "words"

        def encode_texts(self, texts: list[str]) -> NDArray[np.float64]:
            return np.ones((len(texts), 2))

    fill(tmp_path / "c", toy_model, photos).close()
    mean = Mean()
    readers = ps.Engine(tmp_path / "c", model=[], read_only=True)
    with readers as engine, pytest.raises(ps.CatalogError, match="opened with read_only=True"):
        engine.reencode(mean)
    with ps.Engine(tmp_path / "c", model=[], busy_timeout=0.1) as engine:
        with pytest.raises(ps.ModelError, match="words: encodes no pictures"):
            engine.reencode(Words())
        with pytest.raises(ps.ArgumentError, match="no model is given"):
            engine.reencode([])
        with pytest.raises(ps.ArgumentError, match="two models are called"):
            engine.reencode([mean, mean])
        command = [sys.executable, "-c", WRITER, str(tmp_path / "c" / "catalog.sqlite")]
        writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begun\n"
        with pytest.raises(ps.CatalogError, match="another process or thread is writing to it"):
            engine.reencode(mean)
        writer.communicate("")
        assert mean.seen == 0
    assert held(tmp_path / "c") == [("toy", 15)]
    with pytest.raises(ps.CatalogError, match="does not exist"):
        ps.Engine(tmp_path / "none", model=[])


# Interruptions


def test_it_goes_on_where_it_was_interrupted(toy_model: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(seen: int) -> None:
        if seen > 300:
            raise Stop

    with many(tmp_path / "c", toy_model, 500) as engine:
        first = Mean(stop)
        with pytest.raises(Stop):
            engine.reencode(first)
        assert held(tmp_path / "c") == [("toy", 500)]
        assert engine.search_image(picture(7, 9), k=1)[0].item == "a7"
        second, told = Mean(), list[int]()

        def interrupt(done: int, total: int | None, item: str) -> None:
            told.append(done)
            if len(told) == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            engine.reencode(second, progress=interrupt)
        assert 64 <= told[0] < told[-1] < 500
        assert held(tmp_path / "c") == [("toy", 500)]
        third, last = Mean(), list[int]()
        report = engine.reencode(third, progress=lambda done, total, item: last.append(done))
        assert report.references == report.media == 500
        assert last[0] == told[-1], "all that was told as done was kept"
        assert third.seen == 500 - last[0]
        assert engine.search_image(picture(7, 9), k=1)[0].item == "a7"
    with many(tmp_path / "new", Mean(), 500) as fresh, ps.Engine(tmp_path / "c", model=Mean()) as engine:
        assert all_vectors(engine) == all_vectors(fresh)


def test_what_is_staged_for_one_model_is_not_taken_for_another(toy_model: Path, tmp_path: Path) -> None:
    def stop(seen: int) -> None:
        if seen > 200:
            raise RuntimeError("stop")

    with many(tmp_path / "c", toy_model, 300) as engine:
        with pytest.raises(RuntimeError):
            engine.reencode(Mean(stop))
        other = Mean()
        other.fingerprint = "mean 2"
        engine.reencode(other)
        assert other.seen == 300


def test_two_do_not_move_it_at_once(toy_model: Path, photos: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def again(seen: int) -> None:
        with ps.Engine(tmp_path / "c", model=[]) as second, pytest.raises(ps.CatalogError) as error:
            second.reencode(Mean())
        refused.append(str(error.value))

    with fill(tmp_path / "c", toy_model, photos) as engine:
        engine.reencode(Mean(again))
    assert "is being moved to another model by another call or process" in refused[0]


MOVER = """
import sys, time, numpy as np, plushie_search as ps

class Mean:
    name, dim, fingerprint, batch = "mean", 3, "mean 1", 8
    def encode_images(self, images):
        time.sleep(float(sys.argv[3]))
        return np.stack([1 + image.mean((0, 1)) for image in images])

with ps.Engine(sys.argv[1], model=[]) as engine:
    def told(done, total, item):
        if done >= int(sys.argv[2]):
            print("there", flush=True)
    engine.reencode(Mean(), progress=told)
"""


def mover(path: Path, place: int, pause: float = 0.0) -> subprocess.Popen[str]:
    """Another process that moves a catalog, and pauses before every eighth picture, when so many are done."""
    command = [sys.executable, "-c", MOVER, str(path), str(place), str(pause)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals of POSIX")
def test_ctrl_c_stops_it_before_the_end(toy_model: Path, tmp_path: Path) -> None:
    with many(tmp_path / "c", toy_model, 600) as engine:
        process = mover(tmp_path / "c", 64, 0.2)
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate()[1]
        assert time.monotonic() - begin < 6, "the rest would take 13 seconds"
        mean = Mean()
        engine.reencode(mean)
        assert 64 <= 600 - mean.seen < 600


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals of POSIX")
def test_kill_9_leaves_it_wholly_old_or_wholly_new(toy_model: Path, tmp_path: Path) -> None:
    count = 600
    with many(tmp_path / "whole", toy_model, count) as engine:
        old = all_vectors(engine)
    with many(tmp_path / "new", Mean(), count) as engine:
        new = all_vectors(engine)
    names = []
    # Within the first half, and then within the transaction that follows when all is staged, or soon after it.
    for place, wait in [(300, 0.0), *((count, 0.004 * n) for n in range(8)), (count, 1.0)]:
        shutil.copytree(tmp_path / "whole", tmp_path / "c")
        process = mover(tmp_path / "c", place)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        [(name, vectors)] = held(tmp_path / "c")
        names.append(name)
        assert vectors == count
        with ps.Engine(tmp_path / "c", model=Mean() if name == "mean" else toy_model) as engine:
            assert all_vectors(engine) == (new if name == "mean" else old)
            assert engine.verify().ok
            if name == "toy":
                engine.reencode(Mean())
                assert all_vectors(engine) == new
        shutil.rmtree(tmp_path / "c")
    assert (names[0], names[-1]) == ("toy", "mean")


# Others


def test_other_engines_refuse_to_go_on(toy_model: Path, photos: Path, tmp_path: Path) -> None:
    same_dimension = Mean()
    same_dimension.dim = toy.DIM
    same_dimension.encode_images = lambda images: np.stack(  # type: ignore[method-assign]
        [np.tile(1 + image.mean((0, 1)), 2) for image in images]
    )
    with fill(tmp_path / "c", toy_model, photos) as engine, ps.Engine(tmp_path / "c", model=[]) as bare:
        others = [ps.Engine(tmp_path / "c", model=toy_model) for _ in range(2)]
        others[0].remove_reference("item 5", str(photos / "item 5" / "1.jpg"))
        others[0].search_image(picture(51))
        engine.reencode(same_dimension)
        moved = 'was moved to other models while it was open, and has vectors of "mean" now: open it again'
        calls: list[Callable[[ps.Engine], object]] = [
            lambda old: old.search_image(picture(51)),
            lambda old: old.search_vector(np.ones(toy.DIM)),
            lambda old: old.search(ps.Query(item="memory")),
            lambda old: old.vectors("memory"),
            lambda old: old.add("x", images=picture(90)),
            lambda old: old.add_images([picture(90)], ids=["x"]),
            lambda old: old.add_vectors(["x"], np.ones((1, toy.DIM))),
            lambda old: old.stats(),
        ]
        for old in others:
            for call in calls:
                with pytest.raises(ps.CatalogError, match=moved):
                    call(old)
        for call in (calls[1], calls[3], calls[6]):
            with pytest.raises(ps.CatalogError, match=moved):
                call(bare)
        # Calls that need no vectors go on, and the others see their changes.
        assert others[0].get("memory").label == "in memory"
        others[0].remove("item 4")
        assert "item 4" not in [hit.item for hit in engine.search_image(picture(51), k=20)]
        assert engine.verify().ok
        with pytest.raises(ps.CatalogError, match='has vectors of "mean" and none of "toy"'):
            ps.Engine(tmp_path / "c", model=toy_model)
        for old in others:
            old.close()
    assert held(tmp_path / "c") == [("mean", 12)]


READER = """
import sys, plushie_search as ps, numpy as np
engine = ps.Engine(sys.argv[1])
query = np.ones(engine.stats()["dimension"])
print(engine.search_vector(query, k=1)[0].item, flush=True)
for line in sys.stdin:
    try:
        print(engine.search_vector(query, k=1)[0].item, flush=True)
    except ps.CatalogError as error:
        print(error, flush=True)
"""


def test_another_process_notices_it_at_its_next_search(
    toy_model: Path, other_model: Path, photos: Path, tmp_path: Path
) -> None:
    with fill(tmp_path / "c", toy_model, photos) as engine:
        command = [sys.executable, "-c", READER, str(tmp_path / "c")]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        first = process.stdout.readline()
        engine.reencode(other_model)
        told, _ = process.communicate("again\n")
    assert first.strip()
    assert "was moved to other models while it was open" in told
    assert process.returncode == 0


def test_what_is_added_and_removed_meanwhile_is_right(toy_model: Path, tmp_path: Path) -> None:
    done = []

    def meanwhile(seen: int) -> None:
        # While the first pictures are encoded, and again in the next round.
        if not done or (len(done) == 1 and seen > 200):
            done.append(seen)
            n = 1000 + len(done)
            adder.add(f"a{n}", images=picture(n, 9))
            adder.remove([f"a{len(done)}", f"a{190 + len(done)}"])
            adder.update("a20", label="new")

    with many(tmp_path / "c", toy_model, 200) as engine, ps.Engine(tmp_path / "c", model=toy_model) as adder:
        report = engine.reencode(Mean(meanwhile))
        assert len(done) == 2
        assert report.references == report.media == 198
        assert {item.id for item in engine} == {f"a{n}" for n in [*range(200), 1001, 1002] if n not in (1, 2, 191, 192)}
        assert engine.get("a20").label == "new"
        assert engine.search_image(picture(1002, 9), k=1)[0].item == "a1002"
        assert len(engine.search_image(picture(3, 9), k=300)) == 198
        assert engine.verify().ok
        with pytest.raises(ps.CatalogError, match="was moved to other models"):
            adder.add("late", images=picture(5))
    with ps.Engine(tmp_path / "c", model=Mean()) as engine:
        expected = Mean().encode_images([picture(1001, 9)])[0]
        np.testing.assert_allclose(engine.vectors("a1001")[0], expected / np.linalg.norm(expected), atol=1e-6)


def test_a_picture_that_is_being_added_is_not_stored_with_the_old_model(
    toy_model: Path, photos: Path, tmp_path: Path
) -> None:
    fill(tmp_path / "c", Mean(), photos).close()

    def move(seen: int) -> None:
        with ps.Engine(tmp_path / "c", model=[]) as other:
            other.reencode(toy_model)

    moved = 'was moved to other models while it was open, and has vectors of "toy"'
    with ps.Engine(tmp_path / "c", model=Mean(move)) as adder, pytest.raises(ps.CatalogError, match=moved):
        adder.add("late", images=picture(60))
    with ps.Engine(tmp_path / "c", model=toy_model) as engine:
        assert "late" not in engine
        assert engine.verify().ok


def test_removals_and_compaction_before_and_after(toy_model: Path, other_model: Path, tmp_path: Path) -> None:
    with many(tmp_path / "c", toy_model, 60) as engine:
        engine.remove([f"a{n}" for n in range(10)])
        engine.reencode(other_model)
        with ps.Engine(tmp_path / "c") as reader:
            assert len(reader.search_image(picture(20, 9), k=100)) == 50
            engine.remove([f"a{n}" for n in range(10, 20)])
            assert len(reader.search_image(picture(20, 9), k=100)) == 40
            engine.add("a0", images=picture(0, 9))
            engine.compact()
            for one in (reader, engine):
                assert len(one.search_image(picture(20, 9), k=100)) == 41
                assert one.search_image(picture(0, 9), k=1)[0].item == "a0"
        assert engine.verify().ok


def test_searches_go_on_in_other_threads(toy_model: Path, tmp_path: Path) -> None:
    """A search finds by the old vectors or by the new ones, or says that the catalog was moved."""
    stop, trouble, found = threading.Event(), list[str](), 0

    def search() -> None:
        nonlocal found
        while not stop.is_set():
            try:
                if engine.search_image(picture(7, 9), k=1)[0].item != "a7":
                    trouble.append("another item")
                found += 1
            except (ps.CatalogError, ps.ArgumentError) as error:
                if "open it again" not in str(error) and "open the catalog again" not in str(error):
                    trouble.append(str(error))

    with many(tmp_path / "c", toy_model, 300) as engine:
        threads = [threading.Thread(target=search) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            engine.reencode(Mean())
            engine.reencode(toy_model)
        stop.set()
        for thread in threads:
            thread.join()
        assert engine.search_image(picture(7, 9), k=1)[0].item == "a7"
    assert trouble == []
    assert found > 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_fork_has_the_new_model(
    toy_model: Path, other_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with fill(Path("c"), toy_model, photos) as engine:
        monkeypatch.chdir("photos")
        engine.reencode(other_model)
        child = os.fork()
        if child == 0:
            os._exit(0 if engine.search_image(picture(51), k=1)[0].item == "memory" else 1)
        assert os.waitpid(child, 0)[1] == 0


# Disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or subprocess.run(mounted, capture_output=True).returncode != 0:
        pytest.skip("only an administrator may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_disk_without_enough_space_is_told_before_any_work(toy_model: Path, small_disk: Path) -> None:
    large = Mean()
    large.dim = 4096
    large.encode_images = lambda images: np.ones((len(images), 4096))  # type: ignore[method-assign]
    with many(small_disk / "c", toy_model, 100) as engine:
        with pytest.raises(ps.CatalogError, match=r"takes \d{7} bytes of disk space, and there are less; free some"):
            engine.reencode(large)
        assert large.seen == 0
        assert not (small_disk / "c" / "reencode.vectors").exists()
        assert engine.search_image(picture(7, 9), k=1)[0].item == "a7"
        assert engine.reencode(Mean()).references == 100
