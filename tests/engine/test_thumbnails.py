"""Thumbnails: made of every kind of picture, found without the original, and never in the way of an add."""

from __future__ import annotations

import io
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import plushie_search as ps
from plushie_search.show.grid import picture_grid

ROOT = os.geteuid() == 0


def pixels(seed: int = 0, height: int = 300, width: int = 400) -> NDArray[np.uint8]:
    """A smooth picture that no two seeds share."""
    down, across = np.mgrid[0:height, 0:width]
    waves = [
        np.sin(down / (20 + seed % 17 + n) + n) * 60 + np.cos(across / (30 + seed % 13 + n)) * 60 for n in range(3)
    ]
    picture = (np.stack(waves, axis=2) + 128).astype(np.uint8)
    picture[0, 0] = np.frombuffer(seed.to_bytes(3, "little"), np.uint8)
    return picture


def encoded(picture: NDArray[np.uint8], format: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format, **options)
    return file.getvalue()


def opened(jpeg: bytes | None) -> Image.Image:
    assert jpeg is not None
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return image


def looks_like(jpeg: bytes | None, picture: NDArray[np.uint8]) -> bool:
    """Compares with PIL's reduction of the original."""
    small = opened(jpeg)
    expected = np.asarray(Image.fromarray(picture).resize(small.size, Image.Resampling.BICUBIC), np.float32)
    return float(np.abs(np.asarray(small, np.float32) - expected).mean()) < 6


def rows(catalog: Path) -> list[tuple[bytes, int]]:
    connection = sqlite3.connect(catalog / "thumbnails.sqlite")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return connection.execute("SELECT digest, LENGTH(jpeg) FROM thumbnails").fetchall()
    finally:
        connection.close()


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "toys.catalog"


@pytest.fixture
def engine(catalog: Path, toy_model: Path) -> Iterator[ps.Engine]:
    with ps.Engine(catalog, model=toy_model, threads=2, media=False) as engine:
        yield engine


# Of every kind of picture


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_bytes_of_each_format_have_one(engine: ps.Engine, format: str) -> None:
    picture = pixels(1)
    engine.add("a", images=encoded(picture, format))
    small = opened(engine.thumbnail("a"))
    assert small.size == (256, 192)
    assert format == "GIF" or looks_like(engine.thumbnail("a"), picture)


def test_arrays_pil_images_and_file_objects_have_one(engine: ps.Engine) -> None:
    picture = pixels(2)
    for id, image in {
        "array": picture,
        "floats": picture.astype(np.float32) / 255,
        "pil": Image.fromarray(picture),
        "file": io.BytesIO(encoded(picture)),
    }.items():
        engine.add(id, images=image)
        assert looks_like(engine.thumbnail(id), picture), id


def test_a_small_picture_is_not_enlarged_and_a_long_one_keeps_its_shape(engine: ps.Engine) -> None:
    engine.add("small", images=pixels(3, 20, 30))
    engine.add("long", images=pixels(3, 40, 2000))
    assert opened(engine.thumbnail("small")).size == (30, 20)
    assert opened(engine.thumbnail("long")).size == (256, 5)


def test_a_turned_photo_stands_upright(engine: ps.Engine) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    engine.add("a", images=encoded(pixels(4), exif=exif))
    assert opened(engine.thumbnail("a")).size == (192, 256)
    assert looks_like(engine.thumbnail("a"), np.rot90(pixels(4), -1))


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_photo_of_50_megapixels_has_a_small_one(engine: ps.Engine, format: str) -> None:
    picture = np.kron(pixels(5, 145, 217), np.ones((40, 40, 1), np.uint8))
    assert picture.shape == (5800, 8680, 3)
    engine.add("a", images=encoded(picture, format))
    jpeg = engine.thumbnail("a")
    assert opened(jpeg).size == (256, 171)
    assert looks_like(jpeg, picture)
    assert len(jpeg or b"") < 20_000


def test_one_is_made_by_every_way_of_adding(engine: ps.Engine, catalog: Path, tmp_path: Path) -> None:
    for seed in range(6):
        path = tmp_path / "photos" / f"item{seed % 3}" / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(pixels(seed)))
    engine.add_folder(tmp_path / "photos")
    engine.add_items([{"id": "row", "images": [pixels(10), pixels(11)]}])
    engine.add_images([pixels(12)], ids=["one"])
    engine.add_vectors(["vector"], np.ones((1, 6), np.float32))
    assert len(rows(catalog)) == 9
    digests = {reference.digest for item in engine.items() for reference in item.references}
    assert {digest.hex() for digest, _ in rows(catalog)} < digests
    assert engine.thumbnail("vector") is None


def test_items_that_share_a_picture_share_it(engine: ps.Engine, catalog: Path) -> None:
    data = encoded(pixels(6))
    engine.add("a", images=data)
    engine.add("b", images=data)
    assert len(rows(catalog)) == 1
    assert engine.thumbnail("a") == engine.thumbnail("b")


def test_a_reference_is_named_by_its_name_its_digest_or_itself(engine: ps.Engine) -> None:
    engine.add("a", images=[pixels(7), pixels(8)])
    first, second = engine.get("a").references
    assert looks_like(engine.thumbnail("a"), pixels(7))
    for reference in (second, second.name, second.digest):
        assert looks_like(engine.thumbnail("a", reference), pixels(8))
    assert engine.thumbnail("a", first) != engine.thumbnail("a", second)
    with pytest.raises(KeyError, match="no item"):
        engine.thumbnail("b")
    with pytest.raises(KeyError, match='item "a" has no reference "c"'):
        engine.thumbnail("a", "c")


# Without the original


def test_a_moved_file_is_still_shown(engine: ps.Engine, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(pixels(9)))
    engine.add("a", images=path)
    path.rename(tmp_path / "b.jpg")
    assert looks_like(engine.thumbnail("a", str(path)), pixels(9))
    results = engine.search_image(pixels(9), k=1)
    page = picture_grid(results, small=results.thumbnail)
    assert "data:image/jpeg;base64," in page


def test_results_show_arrays_until_the_engine_is_closed_and_can_be_pickled(engine: ps.Engine) -> None:
    engine.add("a", images=pixels(9))
    results = engine.search_vector(engine.encode_images([pixels(9)])[0], k=1)
    assert "data:image/jpeg;base64," in results[:1]._repr_html_()
    copied = pickle.loads(pickle.dumps(results))
    assert copied == results
    assert "data:image/jpeg;base64," not in copied._repr_html_()
    engine.close()
    assert "data:image/jpeg;base64," not in results._repr_html_()


def test_a_file_that_holds_another_picture_now_is_not_shown_for_it(
    catalog: Path, toy_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(pixels(1)))
    with ps.Engine(catalog, model=toy_model, thumbnails=False) as engine:
        engine.add("a", images=path)
        assert not (catalog / "thumbnails.sqlite").exists()
        assert looks_like(engine.thumbnail("a"), pixels(1)), "made of the original"
        path.write_bytes(encoded(pixels(2)))
        assert engine.thumbnail("a") is None


def test_a_missing_one_is_made_again_of_the_original(engine: ps.Engine, catalog: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(pixels(1)))
    engine.add("a", images=path)
    for file in catalog.glob("thumbnails.sqlite*"):
        file.unlink()
    assert looks_like(engine.thumbnail("a"), pixels(1))
    path.unlink()
    assert looks_like(engine.thumbnail("a"), pixels(1)), "stored again"


def test_a_catalog_that_is_only_read_shows_them(catalog: Path, toy_model: Path) -> None:
    with ps.Engine(catalog, model=toy_model) as engine:
        engine.add("a", images=pixels(1))
    before = sorted(os.listdir(catalog))
    with ps.Engine(catalog, model=toy_model, read_only=True) as engine:
        assert looks_like(engine.thumbnail("a"), pixels(1))
        with pytest.raises(ps.CatalogError, match="read_only"):
            engine.compact()
    assert set(os.listdir(catalog)) >= set(before)


def test_an_option_that_is_none_of_three_is_refused(catalog: Path, toy_model: Path) -> None:
    with pytest.raises(ValueError, match="thumbnails='small'"):
        ps.Engine(catalog, model=toy_model, thumbnails="small")  # type: ignore[arg-type]


# Faults of the file


def remove(file: Path) -> None:
    for one in file.parent.glob(f"{file.name}*"):
        one.unlink()


def remove_main(file: Path) -> None:
    file.unlink()


def garbage(file: Path) -> None:
    file.write_bytes(b"this is no database" * 1000)


def cut(file: Path) -> None:
    os.truncate(file, 5000)


def holes(file: Path) -> None:
    """Every page but the first is overwritten."""
    size = file.stat().st_size
    with file.open("r+b") as open:
        open.seek(4096)
        open.write(b"\xa5" * (size - 4096))


def other_table(file: Path) -> None:
    remove(file)
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE thumbnails (a, b)")
    connection.close()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("fault", [remove, remove_main, garbage, cut, holes, other_table])
def test_a_fault_of_the_file_fails_no_add(
    fault: Callable[[Path], None], closed: bool, catalog: Path, toy_model: Path
) -> None:
    file = catalog / "thumbnails.sqlite"
    engine = ps.Engine(catalog, model=toy_model, media=False)
    for seed in range(20):
        engine.add(f"a{seed}", images=pixels(seed))
    if closed:
        engine.close()
    fault(file)
    if closed:
        engine = ps.Engine(catalog, model=toy_model, media=False)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for seed in range(20, 40):
            engine.add(f"b{seed}", images=pixels(seed))
        # Pages that nothing has asked for yet are found to be damaged when they are read.
        for seed in range(20):
            engine.thumbnail(f"a{seed}")
        engine.add("c", images=pixels(50))
    assert len(told) <= 1, [str(one.message) for one in told]
    if closed and fault in (garbage, other_table):
        assert "was damaged and has been emptied" in str(told[0].message)
        assert told[0].filename == __file__
    assert len(engine) == 41
    assert looks_like(engine.thumbnail("c"), pixels(50))
    engine.close()
    with ps.Engine(catalog, model=toy_model) as again:
        assert len(again) == 41
        again.add("d", images=pixels(51))
        assert looks_like(again.thumbnail("c"), pixels(50))
        assert looks_like(again.thumbnail("d"), pixels(51))
    rows(catalog)


def test_a_locked_file_holds_an_add_up_for_a_second_once(engine: ps.Engine, catalog: Path) -> None:
    engine.add("a", images=pixels(1))
    # Two libraries of SQLite in one process do not see each other's locks.
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')"
    command = [sys.executable, "-c", f"{script}; print('locked', flush=True); input()", catalog / "thumbnails.sqlite"]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    start = time.monotonic()
    with pytest.warns(UserWarning, match=r"thumbnails\.sqlite is locked by another program"):
        engine.add("b", images=pixels(2))
    assert 0.9 < time.monotonic() - start < 3
    start = time.monotonic()
    engine.add("c", images=pixels(3))
    assert time.monotonic() - start < 0.5
    assert engine.thumbnail("b") is None
    assert looks_like(engine.thumbnail("a"), pixels(1)), "a reader waits for no writer"
    other.communicate("\n")
    engine.add("d", images=pixels(4))
    assert looks_like(engine.thumbnail("d"), pixels(4))
    assert len(engine) == 4


def test_a_directory_in_its_place_fails_no_add(catalog: Path, toy_model: Path) -> None:
    (catalog / "thumbnails.sqlite").mkdir(parents=True)
    with ps.Engine(catalog, model=toy_model, media=False) as engine:
        with pytest.warns(UserWarning, match="cannot be used, so that thumbnails are left out"):
            engine.add("a", images=pixels(1))
        assert engine.thumbnail("a") is None
        assert len(engine) == 1


def test_a_full_disk_fails_no_add(tmp_path: Path, toy_model: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if not ROOT or subprocess.run(mounted, capture_output=True).returncode != 0:
        pytest.skip("only an administrator may mount a small disk")
    try:
        # The catalog has a disk of its own, so that only the thumbnails find theirs full.
        catalog = tmp_path / "c"
        catalog.mkdir()
        (catalog / "thumbnails.sqlite").symlink_to(disk / "thumbnails.sqlite")
        noise = np.random.default_rng(0).integers(0, 255, (60, 256, 256, 3), np.uint8)
        with ps.Engine(catalog, model=toy_model, media=False) as engine:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                for number, picture in enumerate(noise):
                    engine.add(f"a{number}", images=picture)
            (notice,) = told
            assert "cannot be used, so that thumbnails are left out" in str(notice.message)
            assert len(engine) == 60
            assert engine.thumbnail("a0") is not None
            assert engine.thumbnail("a59") is None
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_those_that_nothing_needs_are_removed(engine: ps.Engine, catalog: Path) -> None:
    shared = pixels(100)
    for seed in range(30):
        engine.add(f"a{seed}", images=[pixels(seed), shared])
    kept = engine.thumbnail("a7")
    engine.remove([f"a{seed}" for seed in range(30) if seed != 7])
    with sqlite3.connect(catalog / "thumbnails.sqlite") as stored:
        assert stored.execute("SELECT count(*) FROM thumbnails").fetchone() == (31,)
        engine.compact()
        assert stored.execute("SELECT count(*) FROM thumbnails").fetchone() == (2,)
    stored.close()
    assert engine.thumbnail("a7") == kept
    engine.close()
    assert len(rows(catalog)) == 2
    assert (catalog / "thumbnails.sqlite").stat().st_size < 50_000


# Threads and processes

ADDER = """
import sys, numpy as np, plushie_search as ps
sys.path.insert(0, sys.argv[4])
from test_thumbnails import pixels
engine = ps.Engine(sys.argv[1], model=sys.argv[2], threads=1)
print("ready", flush=True)
n = int(sys.argv[3])
while True:
    engine.add(f"w{n}", images=pixels(n))
    print(n, flush=True)
    n += 1
"""


def adder(catalog: Path, model: Path, start: int) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        ADDER,
        str(catalog),
        str(model),
        str(start),
        str(Path(__file__).parent),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_processes_that_are_killed_while_they_write_leave_a_sound_file(catalog: Path, toy_model: Path) -> None:
    told: list[int] = []
    for turn in range(3):
        processes = [adder(catalog, toy_model, 10_000 * turn + 1000 * one) for one in (1, 2)]
        time.sleep(0.7)
        for process in processes:
            process.send_signal(signal.SIGKILL)
        told += [int(word) for process in processes for word in process.communicate()[0].split()]
        assert len(told) > 10 * (turn + 1)
    with ps.Engine(catalog, model=toy_model, media=False) as engine:
        ids = [item.id for item in engine.items()]
        assert {f"w{n}" for n in told} <= set(ids)
        missing = [id for id in ids if engine.thumbnail(id) is None]
        # A row may be there without its thumbnail where the process was killed in between.
        assert len(missing) <= 6
    digests = {digest for digest, _ in rows(catalog)}
    assert len(digests) >= len(ids) - 6


def test_threads_share_one_engine(engine: ps.Engine) -> None:
    def work(start: int) -> None:
        for seed in range(start, start + 15):
            engine.add(f"a{seed}", images=pixels(seed))
            assert engine.thumbnail(f"a{seed}") is not None

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(engine.thumbnail(item.id) is not None for item in engine.items())
    assert len(engine) == 60


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_parent_and_child_of_a_fork_both_add(engine: ps.Engine, catalog: Path, toy_model: Path) -> None:
    engine.add("before", images=pixels(1))
    stop = threading.Event()

    def write() -> None:
        seed = 1000
        while not stop.is_set():
            engine.add(f"p{seed}", images=pixels(seed))
            seed += 1

    thread = threading.Thread(target=write)
    thread.start()
    children = []
    for child in range(3):
        time.sleep(0.1)
        if (pid := os.fork()) == 0:
            try:
                for seed in range(10):
                    engine.add(f"c{child}-{seed}", images=pixels(100 * child + seed))
                shown = looks_like(engine.thumbnail("before"), pixels(1))
                os._exit(0 if shown else 3)
            finally:
                os._exit(4)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0, 0]
    stop.set()
    thread.join()
    for child in range(3):
        for seed in range(10):
            assert looks_like(engine.thumbnail(f"c{child}-{seed}"), pixels(100 * child + seed))
    engine.close()
    rows(catalog)
