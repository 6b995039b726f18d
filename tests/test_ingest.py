"""Adding many pictures: batches as large as the encoder wants, the next encoded while one is stored, in order, whatever
happens."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from fake_service import FakeService
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps
from plushie_search import ModelError, Service

Picture = NDArray[np.uint8]
#: What pictures that are numbered are never.
POISON = np.full((8, 8, 3), 255, np.uint8)


def picture(number: int) -> Picture:
    return np.full((8, 8, 3), (number % 256, number // 256, 77), np.uint8)


def rows(pictures: list[Picture]) -> list[tuple[str, list[Any], None, None, None]]:
    return [(f"{number:05}", [one], None, None, None) for number, one in enumerate(pictures)]


def ids(engine: ps.Engine) -> list[str]:
    return [item.id for item in engine.items()]


def numbered(count: int) -> list[str]:
    return [f"{number:05}" for number in range(count)]


@pytest.fixture
def service() -> Iterator[FakeService]:
    with FakeService({"image": toy.image_tower().SerializeToString()}).running() as running:
        yield running


@pytest.fixture
def far(service: FakeService, tmp_path: Path) -> Iterator[Callable[..., ps.Engine]]:
    opened: list[ps.Engine] = []

    def open_engine(**options: Any) -> ps.Engine:
        model = toy.write(tmp_path / "toy", text=None)
        encoder = Service(service.url("image"), timeout=20.0, **options)
        opened.append(ps.Engine(tmp_path / "far.catalog", model=model, threads=2, encoder=encoder))
        opened[-1].encode_images([picture(1), picture(2)])  # finds out that several may go together
        service.asked.clear()
        return opened[-1]

    yield open_engine
    for engine in opened:
        engine.close()


@contextmanager
def nobody_writes(catalog: Path) -> Iterator[None]:
    """Another process writes to the catalog, and does not end."""
    program = (
        "import sqlite3, sys\n"
        "store = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "store.execute('BEGIN IMMEDIATE')\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(catalog / "catalog.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        try:
            yield
        finally:
            other.stdin.close()


@pytest.fixture
def near(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "near.catalog", model=toy_model, threads=2) as engine:
        yield engine


# As much at a time as the encoder wants


def test_requests_are_as_large_as_they_may_be(far: Callable[..., ps.Engine], service: FakeService) -> None:
    engine = far(batch=100, requests=2)
    engine.add_items(rows([picture(number) for number in range(1000)]))
    assert service.rows() == [100] * 10
    assert ids(engine) == numbered(1000)


def test_no_more_requests_than_allowed_are_under_way(far: Callable[..., ps.Engine], service: FakeService) -> None:
    engine = far(batch=8, requests=3)
    changed, now, most = threading.Condition(), [0], [0]

    def count(output: NDArray[np.float32]) -> NDArray[np.float32]:
        with changed:
            now[0] += 1
            most[0] = max(most[0], now[0])
            changed.notify_all()
            changed.wait_for(lambda: most[0] >= 3, timeout=20)
        time.sleep(0.005)
        with changed:
            now[0] -= 1
        return output

    service.alter = count
    engine.add_items(rows([picture(number) for number in range(400)]))
    assert most[0] == 3
    assert ids(engine) == numbered(400)


def test_the_next_pictures_are_encoded_while_some_are_stored(
    far: Callable[..., ps.Engine], service: FakeService
) -> None:
    engine = far(batch=16, requests=2)  # 64 to a transaction
    adding = threading.Thread(target=engine.add_items, args=(rows([picture(number) for number in range(500)]),))
    with nobody_writes(Path(engine.path)):
        adding.start()
        # The first 64 cannot be stored, and 128 more are encoded meanwhile.
        end = time.monotonic() + 20
        while sum(service.rows()) < 192 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.2)
        asked, stored = sum(service.rows()), len(engine)
    adding.join()
    assert (asked, stored) == (192, 0)
    assert ids(engine) == numbered(500)
    assert sum(service.rows()) == 500


# In order, whatever happens


def test_vectors_and_order_are_those_of_one_by_one(near: ps.Engine, tmp_path: Path, toy_model: Path) -> None:
    pictures = [picture(number) for number in range(300)]
    near.add_items(rows(pictures))
    with ps.Engine(tmp_path / "single.catalog", model=toy_model, threads=1) as single:
        for id, images, *_ in rows(pictures):
            single.add(id, images=images)
        assert ids(near) == ids(single)
        for id in ids(single):
            np.testing.assert_array_equal(near.vectors(id), single.vectors(id))


def test_bad_pictures_and_those_that_are_there_are_told(near: ps.Engine, tmp_path: Path) -> None:
    items = rows([picture(number) for number in range(300)])
    bad = [tmp_path / "bad.png", tmp_path / "worse.png"]
    for path, place in zip(bad, (70, 230), strict=True):
        path.write_text("no picture")
        items[place] = (path.name, [path], None, None, None)
    items += [(f"{number:05}", [picture(number)], "again", None, None) for number in (0, 150, 299)]
    # The same picture twice: far apart, and within what is encoded at a time.
    items += [("twice", [picture(5000)], None, None, None)] * 2
    report = near.add_items(items)
    assert (report.items, report.references, report.duplicates) == (299, 299, 4)
    assert [name for name, _ in report.failed] == [str(path) for path in bad]
    assert ids(near) == [id for id in numbered(300) if id not in ("00070", "00230")] + ["twice"]
    assert [near.get(id).label for id in ("00000", "00001", "00150", "00299")] == ["again", None, "again", "again"]


def test_what_comes_before_a_failure_is_stored_and_nothing_after(
    far: Callable[..., ps.Engine], service: FakeService
) -> None:
    engine = far(batch=16, requests=2, retries=0)
    mean, std = np.array(toy.PREPROCESS["mean"]), np.array(toy.PREPROCESS["std"])
    poisoned = (1 - mean) / std @ toy.IMAGE_WEIGHTS

    def fail(output: NDArray[np.float32]) -> NDArray[np.float32]:
        if (abs(output - poisoned) < 1e-3).all(axis=1).any():
            raise RuntimeError("the server breaks down")
        return output

    service.alter = fail
    pictures = [picture(number) for number in range(400)]
    pictures[150] = POISON
    with pytest.raises(ModelError, match="service"):
        engine.add_items(rows(pictures))
    assert ids(engine) == numbered(128)
    service.alter = lambda output: output
    report = engine.add_items(rows(pictures))
    assert (report.items, report.duplicates) == (272, 128)
    assert ids(engine) == numbered(400)


def test_progress_tells_what_is_stored(near: ps.Engine) -> None:
    told: list[tuple[int, int, str, int]] = []
    near.add_items(
        rows([picture(number) for number in range(200)]), progress=lambda *now: told.append((*now, len(near)))
    )
    assert told == [(n, 200, f"{n:05}" if n < 200 else "", n) for n in (0, 64, 128, 192, 200)]


def test_ctrl_c_does_not_wait_for_a_batch(far: Callable[..., ps.Engine], service: FakeService) -> None:
    engine = far(batch=1, requests=1)

    def slowly(output: NDArray[np.float32]) -> NDArray[np.float32]:
        time.sleep(0.05)
        return output

    service.alter = slowly
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(KeyboardInterrupt):
            engine.add_items(rows([picture(number) for number in range(1000)]))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(service.asked) < 64
    assert len(engine) == 0
    service.alter = lambda output: output
    assert engine.add_items(rows([picture(number) for number in range(100)])).items == 100


def test_what_was_told_survives_a_kill(toy_model: Path, tmp_path: Path) -> None:
    photos, catalog = tmp_path / "photos", tmp_path / "killed.catalog"
    photos.mkdir()
    for number in range(1500):
        Image.fromarray(picture(number)).save(photos / f"{number:05}.png")
    program = (
        "import sys, plushie_search as ps\n"
        "with ps.Engine(sys.argv[1], model=sys.argv[2], threads=2) as engine:\n"
        "    engine.add_folder(sys.argv[3], progress=lambda done, *_: print(done, flush=True))\n"
    )
    kept = 0
    for cycle in range(4):
        command = [sys.executable, "-c", program, str(catalog), str(toy_model), str(photos)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(1 + 3 * cycle)]
            child.send_signal(signal.SIGKILL)
            told += [int(line) for line in child.stdout.read().splitlines()]
        with ps.Engine(catalog, model=toy_model) as engine:
            stored = ids(engine)
        assert stored == numbered(len(stored))
        assert len(stored) >= max(told[-1], kept)
        assert len(stored) % 64 == 0 or len(stored) == 1500
        kept = len(stored)
