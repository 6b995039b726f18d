"""Originals in `media/`: whole, once, on disk before the row that needs them."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_thumbnails import encoded, pixels

import plushie_search as ps

ROOT = os.geteuid() == 0


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "toys.catalog"


@pytest.fixture
def engine(catalog: Path, toy_model: Path) -> Iterator[ps.Engine]:
    with ps.Engine(catalog, model=toy_model, threads=2) as engine:
        yield engine


def files(catalog: Path) -> list[Path]:
    return sorted(path for path in (catalog / "media").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("format", "extension"), [("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("BMP", "bmp")]
)
def test_bytes_are_kept_as_they_came(engine: ps.Engine, catalog: Path, format: str, extension: str) -> None:
    data = encoded(pixels(1), format)
    engine.add("a", images=data)
    path = engine.original("a")
    assert path is not None
    digest = engine.get("a").references[0].digest
    assert path.read_bytes() == data
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    assert path == catalog.resolve() / "media" / digest[:2] / f"{digest}.{extension}"
    assert files(catalog.resolve()) == [path]


def test_arrays_and_pil_images_are_kept_without_loss(engine: ps.Engine) -> None:
    picture = pixels(2)
    for id, image in {"array": picture, "pil": Image.fromarray(picture)}.items():
        engine.add(id, images=image)
        path = engine.original(id)
        assert path is not None
        assert path.suffix == ".png"
        assert path.stem == engine.get(id).references[0].digest
        assert np.array_equal(np.asarray(Image.open(path)), picture)


def test_a_file_object_is_kept_and_a_path_is_left_where_it_is(engine: ps.Engine, catalog: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(pixels(3)))
    engine.add("path", images=path)
    assert files(catalog) == []
    assert engine.original("path") == path
    with path.open("rb") as file:
        engine.add("file", images=file)
    assert len(files(catalog)) == 1
    path.write_bytes(encoded(pixels(4)))
    kept = engine.original("path")
    assert kept is not None
    assert kept != path, "the same content, whichever item it was kept for"
    engine.add("other", images=path)
    path.unlink()
    assert engine.original("other") is None


def test_true_keeps_paths_and_false_keeps_nothing(catalog: Path, toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "photos" / "a" / "1.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(encoded(pixels(5)))
    with ps.Engine(catalog, model=toy_model, media=False) as engine:
        engine.add_folder(tmp_path / "photos")
        engine.add("b", images=encoded(pixels(6)))
        assert not (catalog / "media").exists()
        assert engine.original("b") is None
    with ps.Engine(catalog, model=toy_model, media=True) as engine:
        # Pictures that the items have already are kept, too, if they are given again.
        assert engine.add_folder(tmp_path / "photos").duplicates == 1
        assert engine.add("b", images=encoded(pixels(6))).duplicates == 1
        assert len(files(catalog)) == 2
        path.unlink()
        kept = engine.original("a")
        assert kept is not None
        assert kept.read_bytes() == encoded(pixels(5))


def test_the_same_content_is_kept_once_and_a_cut_file_is_written_again(engine: ps.Engine, catalog: Path) -> None:
    data = encoded(pixels(7))
    engine.add_items([{"id": id, "images": [data, data]} for id in "abc"])
    (path,) = files(catalog)
    before = path.stat().st_ino
    engine.add("d", images=data)
    assert path.stat().st_ino == before
    os.truncate(path, 100)
    engine.add("e", images=data)
    assert path.read_bytes() == data


def test_a_link_in_its_place_is_no_original(engine: ps.Engine, catalog: Path, tmp_path: Path) -> None:
    engine.add("a", images=pixels(1))
    (path,) = files(catalog)
    secret = tmp_path / "secret"
    path.rename(secret)
    path.symlink_to(secret)
    assert engine.original("a") is None
    engine.add("b", images=pixels(1))
    assert not path.is_symlink()
    assert engine.original("b") == path.resolve()


def test_a_picture_that_cannot_be_used_leaves_no_file(engine: ps.Engine, catalog: Path) -> None:
    with pytest.raises(ps.PictureError):
        engine.add("a", images=[encoded(pixels(1))[:200]])
    report = engine.add_items([{"id": "b", "images": [b"no picture", pixels(2)]}])
    assert len(report.failed) == 1
    assert len(files(catalog)) == 1
    assert len(engine) == 1


def test_originals_that_nothing_needs_are_removed_after_a_day(engine: ps.Engine, catalog: Path) -> None:
    engine.add("a", images=[pixels(1), pixels(2)])
    engine.add("b", images=[pixels(2), pixels(3)])
    part = catalog / "media" / "00" / ".1-1.part"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"half")
    other = catalog / "media" / "00" / "readme.txt"
    other.write_text("someone's own")
    engine.remove("a")
    engine.compact()
    assert len(files(catalog)) == 5, "young files may belong to a change that is being made"
    day_before = time.time() - 25 * 3600
    for file in files(catalog):
        os.utime(file, (day_before, day_before))
    # Another process is about to add the picture again.
    engine.add("c", images=pixels(1))
    engine.remove("c")
    engine.compact()
    assert not part.exists()
    assert other.exists()
    kept = {engine.original("b", reference) for reference in engine.get("b").references}
    assert kept < set(files(catalog.resolve()))
    assert None not in kept
    assert len(files(catalog)) == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if not ROOT or subprocess.run(mounted, capture_output=True).returncode != 0:
        pytest.skip("only an administrator may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_fails_the_add_before_anything_is_stored(small_disk: Path, toy_model: Path) -> None:
    catalog = small_disk / "c"
    noise = np.random.default_rng(0).integers(0, 255, (40, 400, 400, 3), np.uint8)
    with ps.Engine(catalog, model=toy_model, thumbnails=False) as engine:
        engine.add("a", images=noise[0])
        with pytest.raises(ps.CatalogError, match=r"media/.*cannot be written, for the disk is full") as told:
            engine.add("b", images=list(noise[1:]))
        assert told.value.code == "disk_full"
        with pytest.raises(ps.CatalogError, match="the disk is full"):
            engine.add_items([{"id": "c", "images": list(noise[1:])}])
        assert [item.id for item in engine.items()] == ["a"]
        assert not [path for path in files(catalog) if path.suffix == ".part"]
        for path in files(catalog):
            if path != engine.original("a"):
                Image.open(path).load()
                path.unlink()
        engine.add("d", images=noise[1])
        assert engine.original("d") is not None


def test_a_file_in_place_of_the_directory_fails_the_add(engine: ps.Engine, catalog: Path) -> None:
    (catalog / "media").write_text("in the way")
    with pytest.raises(ps.CatalogError, match="media=False"):
        engine.add("a", images=pixels(1))
    assert len(engine) == 0


ADDER = """
import sys, plushie_search as ps
sys.path.insert(0, sys.argv[4])
from test_thumbnails import pixels
engine = ps.Engine(sys.argv[1], model=sys.argv[2], threads=1)
print("ready", flush=True)
n = int(sys.argv[3])
while True:
    engine.add_items([{"id": f"w{n}-{k}", "images": [pixels(4 * n + k, 150, 200)]} for k in range(4)])
    n += 1
"""


def test_a_kill_leaves_no_row_without_its_original_and_no_half_file(catalog: Path, toy_model: Path) -> None:
    for turn in range(4):
        command = [
            sys.executable,
            "-c",
            ADDER,
            str(catalog),
            str(toy_model),
            str(1000 * turn),
            str(Path(__file__).parent),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3 + 0.13 * turn)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with ps.Engine(catalog, model=toy_model) as engine:
        assert len(engine) > 20
        for item in engine.items():
            path = engine.original(item.id)
            assert path is not None, item.id
        for path in files(catalog):
            if path.suffix == ".png":
                picture = np.asarray(Image.open(path))
                height, width = picture.shape[:2]
                sides = width.to_bytes(4, "little") + height.to_bytes(4, "little")
                assert hashlib.sha256(sides + picture.tobytes()).hexdigest() == path.stem


def test_threads_and_processes_that_add_one_picture_keep_it_once(catalog: Path, toy_model: Path) -> None:
    data = encoded(pixels(9), quality=95)
    script = """
import sys, plushie_search as ps
data = sys.stdin.buffer.read()
with ps.Engine(sys.argv[1], model=sys.argv[2], threads=1) as engine:
    for n in range(20):
        engine.add(f"{sys.argv[3]}-{n}", images=data)
"""
    command = [sys.executable, "-c", script, str(catalog), str(toy_model)]
    processes = [subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE) for n in range(2)]
    feeders = [threading.Thread(target=process.communicate, args=(data,)) for process in processes]
    for feeder in feeders:
        feeder.start()
    with ps.Engine(catalog, model=toy_model, threads=2) as engine:
        own = [
            threading.Thread(target=lambda n=n: [engine.add(f"t{n}-{k}", images=io.BytesIO(data)) for k in range(20)])
            for n in range(3)
        ]
        for thread in own:
            thread.start()
        for thread in [*own, *feeders]:
            thread.join()
        assert [process.returncode for process in processes] == [0, 0]
        assert len(engine) == 100
        (path,) = files(catalog)
        assert path.read_bytes() == data


def test_a_backup_has_the_originals(engine: ps.Engine, catalog: Path, tmp_path: Path, toy_model: Path) -> None:
    engine.add("a", images=[pixels(1), pixels(2)])
    engine.add("b", images=pixels(2))
    engine.backup(tmp_path / "copy")
    assert sorted(file.name for file in files(tmp_path / "copy")) == sorted(file.name for file in files(catalog))
    with ps.Engine(tmp_path / "copy", model=toy_model) as copy:
        assert copy.original("b").read_bytes() == engine.original("b").read_bytes()
        assert copy.thumbnail("b") is not None
