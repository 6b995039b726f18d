"""A further model for a catalog that has pictures: the old ones go on answering, and their vectors stay as they are."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from mean import Mean
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps


def picture(seed: int) -> NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((12, 9 + seed % 5), Image.Resampling.BICUBIC))


def fill(path: Path, model: Any, count: int = 150) -> ps.Engine:
    engine = ps.Engine(path, model=model, threads=2)
    engine.add_images([picture(n) for n in range(count)], ids=[f"a{n // 2}" for n in range(count)])
    return engine


def all_vectors(engine: ps.Engine, model: str) -> dict[str, bytes]:
    return {item.id: engine.vectors(item.id, model=model).tobytes() for item in engine}


def held(path: Path) -> list[tuple[str, int]]:
    """The models that a catalog knows, and how many vectors it has of each."""
    connection = sqlite3.connect(f"file:{path / 'catalog.sqlite'}?mode=ro", uri=True)
    try:
        sql = "SELECT name, COUNT(vector) FROM models LEFT JOIN vectors USING (model) GROUP BY model ORDER BY model"
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_it_becomes_a_catalog_of_both_models(toy_model: Path, tmp_path: Path) -> None:
    with fill(tmp_path / "both", [toy_model, Mean()]) as fresh, fill(tmp_path / "c", toy_model) as engine:
        old, mean, told = all_vectors(engine, "toy"), Mean(), list[tuple[int, int | None]]()
        report = engine.add_model(mean, progress=lambda done, total, item: told.append((done, total)))
        assert report == ps.ReencodeReport(("toy", "mean"), True, 150, 0, 150, 0)
        assert (told[0], told[-1]) == ((0, 150), (150, 150))
        assert mean.seen == 150
        assert engine.models == ("toy", "mean")
        assert all_vectors(engine, "toy") == old
        assert all_vectors(engine, "mean") == all_vectors(fresh, "mean")
        for models in (None, "mean", {"toy": 0.3, "mean": 0.7}):
            found, expected = (one.search_image(picture(7), models=models).to_dicts() for one in (engine, fresh))
            assert found == expected
        engine.add("more", images=picture(999))
        assert engine.search_image(picture(999), models="mean")[0].item == "more"
        assert engine.verify().ok
        seen = mean.seen
        assert not engine.add_model(mean).changed
        assert mean.seen == seen
    assert held(tmp_path / "c") == [("toy", 151), ("mean", 151)]


def test_of_lost_originals_the_thumbnails_are_encoded(toy_model: Path, tmp_path: Path) -> None:
    with fill(tmp_path / "c", toy_model, 20) as engine:
        shutil.rmtree(tmp_path / "c" / "media")
        small = engine.thumbnail("a3")
        assert engine.add_model(Mean()).thumbnails == 20
        np.testing.assert_array_equal(
            engine.vectors("a3", model="mean")[0], engine.encode_images([small], model="mean")[0]
        )


READER = """
import sys, numpy as np, plushie_search as ps
engine = ps.Engine(sys.argv[1])
for line in sys.stdin:
    try:
        print(engine.models, [hit.item for hit in engine.search_vector(np.array(eval(line)), k=5)], flush=True)
    except ps.CatalogError as error:
        print(error, flush=True)
"""


def test_others_go_on_with_their_models(toy_model: Path, tmp_path: Path) -> None:
    """In this process and another one, while it is encoded, and afterwards: what they find is the same."""
    command = [sys.executable, "-c", READER, str(tmp_path / "c")]
    with fill(tmp_path / "c", toy_model) as engine, ps.Engine(tmp_path / "c") as other:
        [vector] = engine.encode_images([picture(7)])
        expected = [hit.item for hit in engine.search_vector(vector, k=5)]
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask(seen: int = 0) -> None:
            assert [hit.item for hit in other.search_vector(vector, k=5)] == expected
            assert [hit.item for hit in engine.search_vector(vector, k=5)] == expected
            reader.stdin.write(f"{vector.tolist()}\n")
            reader.stdin.flush()
            assert reader.stdout.readline() == f"('toy',) {expected}\n"

        def meanwhile(seen: int) -> None:
            ask()
            if seen <= 8:
                other.add("late", images=picture(500))
                other.remove("a70")

        ask()
        mean = Mean(meanwhile)
        engine.add_model(mean)
        ask()
        assert reader.communicate()[0] == ""
        mean._meanwhile = lambda seen: None
        assert other.search_image(picture(500), k=1)[0].item == "late"
        assert other.vectors("late").shape == (1, toy.DIM)
        assert engine.vectors("late", model="mean").shape == (1, 3)
        # A picture would lack a vector of the new model.
        with pytest.raises(ps.CatalogError, match=r'open it with model=\["toy", "mean"\] to add to it'):
            other.add("x", images=picture(600))
        other.remove("late")
        other.update("a3", label="new")
        assert "late" not in [hit.item for hit in engine.search_image(picture(500), models="mean", k=200)]
        # And back: nothing is encoded.
        assert str(engine.reencode(toy_model)) == "148 references moved to toy: the vectors were there already"
        assert [hit.item for hit in other.search_vector(vector, k=5)] == expected
        other.add("x", images=picture(600))
        assert engine.search_image(picture(600), k=1)[0].item == "x"
        assert engine.verify().ok
    assert held(tmp_path / "c") == [("toy", 149)]


def test_a_model_is_left_out_without_its_pictures_and_without_disk_space(toy_model: Path, tmp_path: Path) -> None:
    with fill(tmp_path / "c", [toy_model, Mean()]) as engine, ps.Engine(tmp_path / "c", model=Mean()) as other:
        kept = all_vectors(engine, "mean")
        shutil.rmtree(tmp_path / "c" / "media")
        (tmp_path / "c" / "thumbnails.sqlite").unlink()
        # A folder in the place of the file that vectors are staged in.
        (tmp_path / "c" / "reencode.vectors").mkdir()
        mean = Mean()
        assert engine.reencode({"blur": mean}).references == 150
        assert mean.seen == 0
        assert engine.models == ("blur",)
        assert all_vectors(engine, "blur") == all_vectors(other, "mean") == kept
        assert engine.verify().ok
    assert held(tmp_path / "c") == [("blur", 150)]


def test_models_in_another_order_are_stored_in_it(toy_model: Path, tmp_path: Path) -> None:
    with fill(tmp_path / "c", [toy_model, Mean()], 40) as engine, ps.Engine(tmp_path / "c", model=toy_model) as other:
        kept = all_vectors(engine, "toy"), all_vectors(engine, "mean")
        mean = Mean()
        engine.reencode([mean, toy_model])
        assert mean.seen == 0
        assert (engine.models, engine.image_model) == (("mean", "toy"), "mean")
        assert (all_vectors(engine, "toy"), all_vectors(engine, "mean")) == kept
        assert engine.verify().ok
        # The number of the last one had to change.
        with pytest.raises(ps.CatalogError, match="was moved to other models while it was open"):
            other.search_image(picture(1))
    assert [name for name, _ in held(tmp_path / "c")] == ["mean", "toy"]


def test_an_engine_without_the_models_adds_one(toy_model: Path, tmp_path: Path) -> None:
    class Second(Mean):
        name, fingerprint = "second", "second 1"

    fill(tmp_path / "c", [toy_model, Mean()], 40).close()
    with ps.Engine(tmp_path / "c", model=[]) as engine:
        assert engine.add_model(Second()).models == ("toy", "mean", "second")
        assert engine.models == ("second",)
        assert engine.search_image(picture(3), k=1)[0].item == "a1"
    with ps.Engine(tmp_path / "c", model=toy_model) as engine:
        assert engine.stats()["other_models"] == ["mean", "second"]
        assert engine.search_image(picture(3), k=1)[0].item == "a1"
    with ps.Engine(tmp_path / "new", model=toy_model) as engine:
        assert not engine.add_model(Mean()).changed, "it has no references"
        engine.add("a", images=picture(1))
    assert held(tmp_path / "new") == [("toy", 1), ("mean", 1)]


def test_what_cannot_work_is_refused(toy_model: Path, tmp_path: Path) -> None:
    other = Mean()
    other.fingerprint = "mean 2"
    with fill(tmp_path / "c", [toy_model, Mean()], 4) as engine:
        with pytest.raises(ps.ArgumentError, match='two models are called "mean": leave one out, or name them'):
            engine.add_model(other)
        with pytest.raises(ps.ArgumentError, match="no model is given: name the one that the catalog gets"):
            engine.add_model([])
        assert engine.add_model({"later": other}).models == ("toy", "mean", "later")
        engine.add_vectors(
            ["bare"], {name: np.ones((1, dim)) for name, dim in (("toy", toy.DIM), ("mean", 3), ("later", 3))}
        )
        third = Mean()
        third.name = third.fingerprint = "third"
        with pytest.raises(ps.CatalogError, match=r'1 of 5 references have no picture to encode.* item "bare"'):
            engine.add_model(third)
        assert engine.models == ("toy", "mean", "later")
        assert third.seen == 0
    with pytest.raises(ps.ArgumentError, match="this engine is closed"):
        engine.add_model(third)
    with ps.Engine(tmp_path / "vectors", dim=4) as engine:
        engine.add_vectors(["a"], np.ones((1, 4)))
        with pytest.raises(ps.CatalogError, match=r"has vectors alone, .* move it to a model by reencode"):
            engine.add_model(Mean())


ADDER = """
import sys, time, numpy as np, plushie_search as ps

class Mean:
    name, dim, fingerprint, batch = "mean", 3, "mean 1", 8
    def encode_images(self, images):
        return np.stack([1 + image.mean((0, 1)) for image in images])

with ps.Engine(sys.argv[1]) as engine:
    def told(done, total, item):
        if done >= int(sys.argv[2]):
            print("there", flush=True)
    engine.add_model(Mean(), progress=told)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs signals of POSIX")
def test_kill_9_leaves_it_with_one_model_or_with_both(toy_model: Path, tmp_path: Path) -> None:
    count = 300
    with fill(tmp_path / "whole", toy_model, count) as engine:
        old = all_vectors(engine, "toy")
    with fill(tmp_path / "new", [toy_model, Mean()], count) as engine:
        new = all_vectors(engine, "mean")
    models = []
    # Within the first half, then within the transaction that follows when all is staged, and after it.
    for place, wait in [(150, 0.0), *((count, 0.006 * n) for n in range(4)), (count, 1.0)]:
        shutil.copytree(tmp_path / "whole", tmp_path / "c")
        command = [sys.executable, "-c", ADDER, str(tmp_path / "c"), str(place)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        models.append(len(held(tmp_path / "c")))
        assert held(tmp_path / "c") in ([("toy", count)], [("toy", count), ("mean", count)])
        with ps.Engine(tmp_path / "c", model=toy_model) as engine:
            assert engine.verify().ok
            assert all_vectors(engine, "toy") == old
            mean = Mean()
            assert engine.add_model(mean).changed == (models[-1] == 1)
            assert mean.seen <= count - 64 if place < count else mean.seen == 0, "what was staged is not encoded again"
            assert all_vectors(engine, "mean") == new
        shutil.rmtree(tmp_path / "c")
    assert (models[0], models[-1]) == (1, 2)


def test_searches_in_other_threads_never_fail(toy_model: Path, tmp_path: Path) -> None:
    stop, trouble, found = threading.Event(), list[str](), [0, 0]

    def search(number: int) -> None:
        while not stop.is_set():
            try:
                if engine.search_image(picture(8 + number), models="toy", k=1)[0].item != "a4":
                    trouble.append("another item")
                found[number] += 1
            except ps.PlushieError as error:
                trouble.append(str(error))

    with fill(tmp_path / "c", toy_model, 200) as engine:
        threads = [threading.Thread(target=search, args=[number]) for number in range(2)]
        for thread in threads:
            thread.start()
        for number in range(4):
            mean = Mean()
            mean.name = mean.fingerprint = f"mean {number}"
            engine.add_model(mean)
        stop.set()
        for thread in threads:
            thread.join()
    assert trouble == []
    assert min(found) > 5


def test_an_async_engine_goes_on_meanwhile(toy_model: Path, tmp_path: Path) -> None:
    async def run() -> tuple[ps.ReencodeReport, list[str]]:
        begun, may_end = threading.Event(), threading.Event()

        def meanwhile(seen: int) -> None:
            begun.set()
            assert may_end.wait(20)

        async with await ps.AsyncEngine.open(tmp_path / "c") as engine:
            adding = asyncio.create_task(engine.add_model(Mean(meanwhile)))
            await asyncio.to_thread(begun.wait, 20)
            items = [hit.item for hit in await engine.search_image(picture(8), k=1)]
            may_end.set()
            return await adding, items

    fill(tmp_path / "c", toy_model, 20).close()
    report, items = asyncio.run(run())
    assert (report.models, items) == (("toy", "mean"), ["a4"])
