"""Adding many pictures: batches as large as the encoder wants, the next encoded while one is stored, in order, whatever
happens."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
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
from peak import PEAK
from PIL import Image

import plushie_search as ps
from plushie_search import ModelError, Service

Picture = NDArray[np.uint8]
#: A picture that no numbered one equals.
POISON = np.full((8, 8, 3), 255, np.uint8)


def picture(number: int) -> Picture:
    return np.full((8, 8, 3), (number % 256, number // 256, 77), np.uint8)


def png(picture: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def rows(pictures: list[Picture]) -> list[ps.ItemDraft]:
    return [ps.ItemDraft(f"{number:05}", [one]) for number, one in enumerate(pictures)]


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
        far = Service(service.url("image"), timeout=20.0, **options)
        encoder = ps.open_encoder(model, threads=2, service=far)
        opened.append(ps.Engine(tmp_path / "far.catalog", model=encoder))
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
        for row in rows(pictures):
            single.add(row.id, images=row.images)
        assert ids(near) == ids(single)
        for id in ids(single):
            np.testing.assert_array_equal(near.vectors(id), single.vectors(id))


def test_bad_pictures_and_those_that_are_there_are_told(near: ps.Engine, tmp_path: Path) -> None:
    items = rows([picture(number) for number in range(300)])
    bad = [tmp_path / "bad.png", tmp_path / "worse.png"]
    for path, place in zip(bad, (70, 230), strict=True):
        path.write_text("no picture")
        items[place] = ps.ItemDraft(path.name, [path])
    items += [ps.ItemDraft(f"{number:05}", [picture(number)], "again") for number in (0, 150, 299)]
    # The same picture twice: far apart, and within what is encoded at a time.
    items += [ps.ItemDraft("twice", [picture(5000)])] * 2
    report = near.add_items(items)
    assert (report.items, report.references, report.duplicates) == (299, 299, 4)
    assert [name for name, _ in report.failed] == [str(path) for path in bad]
    assert ids(near) == [id for id in numbered(300) if id not in ("00070", "00230")] + ["twice"]
    assert [near.get(id).label for id in ("00000", "00001", "00150", "00299")] == ["again", None, "again", "again"]


def test_items_before_a_failure_are_stored_and_none_after(far: Callable[..., ps.Engine], service: FakeService) -> None:
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


def test_progress_tells_the_stored_items(near: ps.Engine) -> None:
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


def test_reported_items_survive_a_kill(toy_model: Path, tmp_path: Path) -> None:
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


# Folders as they are


def save(path: Path, number: int, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(number)).save(path, **options)
    return path


def names(engine: ps.Engine, id: str) -> list[str]:
    return sorted(reference.name for reference in engine.get(id).references)


def test_a_link_that_leads_back_is_told_and_each_picture_comes_once(near: ps.Engine, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number, name in enumerate(("bear/1.png", "zebra/1.png")):
        save(photos / name, number)
    (photos / "bear" / "up").symlink_to("..")
    (photos / "bear" / "friend").symlink_to("../zebra")
    (photos / "zebra" / "friend").symlink_to("../bear")
    (photos / "self").symlink_to("self")
    (photos / "other").symlink_to(save(tmp_path / "elsewhere" / "2.png", 2).parent)
    report = near.add_folder(photos)
    assert sorted(ids(near)) == ["bear", "other", "zebra"]
    assert [name for name, _ in report.failed] == [
        str(photos / name) for name in ("bear/friend", "bear/up", "self", "zebra/friend")
    ]
    assert report.failed[1][1].endswith(
        f"leads to the folder {photos}, which is added by another name already; remove the link, or add that folder by "
        "itself"
    )


def test_names_that_are_not_utf_8_are_told_and_not_merged(near: ps.Engine, tmp_path: Path) -> None:
    photos = os.fsencode(tmp_path / "photos")
    for number, name in enumerate((b"caf\xe9/1", b"caf\xe8/1", b"bear/\xe9", b"bear/\xe8", b"bear/good")):
        path = Path(os.fsdecode(photos + b"/" + name + b".png"))
        save(path, number)
    report = near.add_folder(tmp_path / "photos")
    assert sorted(name for name, _ in report.failed) == [
        f"{tmp_path}/photos/{name}" for name in (r"bear/\xE8.png", r"bear/\xE9.png", r"caf\xE8", r"caf\xE9")
    ]
    assert ids(near) == ["bear"]
    assert names(near, "bear") == [str(tmp_path / "photos/bear/good.png")]


def test_pictures_that_cannot_be_read_are_told_by_name(near: ps.Engine, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    good = [
        save(photos / "bear" / name, 60 * number, format="JPEG") for number, name in enumerate(("a.JFIF", "b", "c.jpe"))
    ]
    (photos / "bear" / "d.psd").write_bytes(b"8BPS\0\1")
    (photos / "bear" / "e").write_bytes(b"8BPS\0\1")
    (photos / "bear" / "notes.txt").write_text("BM is no bitmap")
    (photos / "bear" / "film.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    report = near.add_folder(photos)
    assert names(near, "bear") == [str(path) for path in good]
    assert [name for name, _ in report.failed] == [str(photos / "bear" / name) for name in ("d.psd", "e")]


def test_references_have_the_names_of_files_that_are_there(
    near: ps.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = tmp_path / "photos"
    for number in range(3):
        save(photos / "bear" / f"{number}.png", number)
    monkeypatch.chdir(tmp_path)
    near.add_folder("photos")
    assert names(near, "bear") == [str(photos / "bear" / f"{number}.png") for number in range(3)]
    vectors = near.vectors("bear")
    shutil.move(photos, tmp_path / "new")
    report = near.add_folder("new")
    assert (report.items, report.references, report.duplicates, report.renamed, report.replaced) == (0, 0, 3, 3, 0)
    assert names(near, "bear") == [str(tmp_path / "new" / "bear" / f"{number}.png") for number in range(3)]
    np.testing.assert_array_equal(near.vectors("bear"), vectors)
    # A copy beside the old file does not take its place.
    shutil.copytree("new", "copy")
    report = near.add_folder("copy")
    assert (report.duplicates, report.renamed) == (3, 0)
    assert names(near, "bear")[0] == str(tmp_path / "new" / "bear" / "0.png")


def test_an_edited_picture_takes_the_place_of_the_old_one(near: ps.Engine, tmp_path: Path) -> None:
    path = save(tmp_path / "photos" / "bear" / "1.png", 1)
    near.add_folder(tmp_path / "photos")
    save(path, 30_000)
    report = near.add_folder(tmp_path / "photos")
    assert (report.items, report.references, report.duplicates, report.renamed, report.replaced) == (0, 1, 0, 0, 1)
    assert names(near, "bear") == [str(path)]
    assert near.search_image(picture(1), k=1)[0].score < 0.9999
    assert near.search_image(path, k=1)[0].score > 0.9999


@pytest.mark.parametrize("step", [1, -1])
def test_numbers_that_shift_keep_all_pictures(near: ps.Engine, tmp_path: Path, step: int) -> None:
    bear = tmp_path / "photos" / "bear"
    for number in range(150):
        save(bear / f"{number:03}.png", number)
    near.add_folder(tmp_path / "photos")
    for number in range(150):  # one comes at the begin, or goes there
        save(bear / f"{number:03}.png", (number + step) % 151)
    report = near.add_folder(tmp_path / "photos")
    assert report.failed == []
    assert names(near, "bear") == [str(bear / f"{number:03}.png") for number in range(150)]
    digests = {reference.name: reference.digest for reference in near.get("bear").references}
    assert digests == {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in bear.iterdir()}


# Rows as they are


def test_unusable_images_in_memory_are_told_by_item_and_place(near: ps.Engine) -> None:
    closed = Image.fromarray(picture(9))
    closed.close()
    bad = [
        picture(1)[:0],
        picture(1).astype(np.float32),
        np.full((8, 8, 3), np.nan, np.float32),
        closed,
        object(),
        b"no",
    ]
    report = near.add_items(
        [ps.ItemDraft("bear", [picture(1), *bad, picture(2)]), ps.ItemDraft("cat", picture(3), "c", {}, "t")]
    )
    assert (report.items, report.references) == (2, 3)
    assert sorted(name for name, _ in report.failed) == [
        *(f"bear: image {place}" for place in (1, 2, 3, 4, 5)),
        "bear: image 6 (bytes)",
    ]
    with pytest.raises(ValueError, match="it has no pixels"):
        near.add("cat", images=[picture(4), bad[0]])
    assert len(near.get("cat").references) == 1


def test_rows_that_cannot_be_used_are_told_by_number_and_item(near: ps.Engine) -> None:
    rows: list[Any] = [
        {"id": "good", "images": [picture(1)], "label": np.str_("bear"), "text": None},
        {"id": "label", "images": [picture(2)], "label": 3.5},
        {"id": "metadata", "images": [picture(3)], "metadata": {"price": float("inf")}},
        {"id": "x" * 600, "images": [picture(4)]},
        {"id": None, "images": [picture(5)]},
        {"id": np.int64(7), "images": [picture(6)], "label": float("nan")},
        {"id": "new"},
        {"id": "good", "label": 12},
    ]
    report = near.add_items(rows)
    assert ids(near) == ["good", "7"]
    assert (near.get("good").label, near.get("7").label) == ("12", None)
    told = {name.split(" (")[0]: name + " " + reason for name, reason in report.failed}
    assert sorted(told) == ["new", "row 1", "row 2", "row 3", "row 4"]
    assert told["row 1"] == "row 1 ('label') the label 3.5 is of type float: give a text or a whole number"
    assert "'metadata'" in told["row 2"]
    assert "at least one picture" in told["new"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("bear", "row 1 is of type str"),
        (("bear", [], None, None, None), "row 1 is of type tuple: give ItemDraft"),
        ({"id": "a", "lable": "b"}, "row 1 has the unknown field 'lable'"),
        ({"images": []}, "row 1 has no field 'id'"),
        (ps.Reference("a.jpg", "00"), "row 1 has the unknown field 'name'"),
        (ps.ItemDraft, "row 1 is of type type"),
    ],
)
def test_a_row_of_another_shape_is_an_error_that_names_it(near: ps.Engine, row: Any, said: str) -> None:
    good = ps.ItemDraft("good", [picture(1)])
    with pytest.raises((TypeError, ValueError), match=said):
        near.add_items([good, row])
    with pytest.raises((TypeError, ValueError), match=said):
        near.add_items(iter([good, row]))


def test_no_more_is_taken_than_a_few_batches_hold(near: ps.Engine) -> None:
    taken, ahead = [0], [0]

    def stream() -> Iterator[Any]:
        for number in range(1000):
            taken[0] += 1
            ahead[0] = max(ahead[0], taken[0] - len(near))
            yield {"id": f"{number:05}", "images": picture(number)}

    told: list[tuple[int, int | None]] = []
    near.add_items(stream(), progress=lambda done, total, _: told.append((done, total)))
    assert ids(near) == numbered(1000)
    assert ahead[0] <= 4 * 64
    assert (told[0], told[-1]) == ((0, None), (1000, None))
    near.add_items(stream(), total=1000, progress=lambda done, total, _: told.append((done, total)))
    assert told[-1] == (1000, 1000)


def test_an_error_of_a_generator_comes_through_and_stored_items_stay(near: ps.Engine) -> None:
    def stream() -> Iterator[Any]:
        yield from rows([picture(number) for number in range(300)])
        raise KeyError("the source is gone")

    with pytest.raises(KeyError, match="the source is gone"):
        near.add_items(stream())
    assert ids(near) == numbered(len(near))


def test_columns_may_be_arrays_or_streams(near: ps.Engine) -> None:
    pictures = [picture(number) for number in range(3)]
    near.add_images(np.stack(pictures), ids=np.array(["a", "b", "c"]), labels=np.array([1, 2, 3]))
    assert [(id, near.get(id).label) for id in ids(near)] == [("a", "1"), ("b", "2"), ("c", "3")]
    report = near.add_images(iter(pictures), ids=(id for id in "abd"))
    assert (report.items, report.references, report.duplicates) == (1, 1, 2)
    with pytest.raises(ValueError, match="images, ids differ in length: one of them ends at 2"):
        near.add_images(iter(pictures), ids=(id for id in "ab"))
    with pytest.raises(TypeError, match="one picture"):
        near.add_images("bear.jpg")


def test_pictures_in_memory_are_converted_when_their_turn_comes(near: ps.Engine) -> None:
    """Each is a file object, which is read when it is converted."""
    taken = [0]

    class File(io.BytesIO):
        def read(self, *size: Any) -> bytes:
            taken[0] += 1
            return super().read(*size)

    def file(number: int) -> File:
        stream = io.BytesIO()
        Image.fromarray(picture(number)).save(stream, "PNG")
        return File(stream.getvalue() + bytes(8 << 20))

    seen: list[int] = []
    near.add_items(
        [ps.ItemDraft("bear", [file(number) for number in range(24)])], progress=lambda *_: seen.append(taken[0])
    )
    assert len(near.get("bear").references) == 24
    assert seen[0] <= 8


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
@pytest.mark.parametrize("call", ["add_images", "add_items", "add", "encode_images", "search_image", "search_hybrid"])
def test_pictures_in_memory_take_memory_for_a_few(tmp_path: Path, toy_model: Path, call: str) -> None:
    program = (
        f"{PEAK}\n"
        "import sys\n"
        "import numpy as np\n"
        "import plushie_search as ps\n"
        "photo = np.resize(np.arange(251, dtype=np.uint8), (2000, 3000, 3))\n"
        "with ps.Engine(sys.argv[1], model=sys.argv[2], threads=2) as engine:\n"
        "    engine.encode_images(photo)\n"
        "    before = peak()\n"
        "    if sys.argv[3] == 'add_images':\n"
        "        engine.add_images([photo] * 40, ids=map(str, range(40)))\n"
        "    elif sys.argv[3] == 'add_items':\n"
        "        engine.add_items([{'id': 'bear', 'images': [photo] * 40}])\n"
        "    elif sys.argv[3] == 'add':\n"
        "        engine.add('bear', images=[photo] * 40)\n"
        "    elif sys.argv[3] == 'search_hybrid':\n"
        "        engine.search_hybrid([photo] * 40, ['bear'] * 40)\n"
        "    else:\n"
        "        getattr(engine, sys.argv[3])([photo] * 40)\n"
        "    print(peak() - before >> 10)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "c"), str(toy_model), call]
    grown = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert grown < 300  # all of them are 687 MiB


def test_many_searches_are_those_of_each(tmp_path: Path, toy_model: Path) -> None:
    """In groups, of which each is converted when its turn comes: 40 pictures are three of them."""
    large = [np.full((1500, 1500, 3), color, np.uint8) for color in range(0, 240, 6)]
    with ps.Engine(tmp_path / "c", model=toy_model, threads=2) as engine:
        engine.add_images([picture(number) for number in range(9)], ids=numbered(9))
        both = engine.search_hybrid(large, ["bear"] * len(large), k=3)
        for one, results, mixed in zip(large, engine.search_image(large, k=3), both, strict=True):
            for found, alone in [
                (results, engine.search_image(one, k=3)),
                (mixed, engine.search_hybrid(one, "bear", k=3)),
            ]:
                assert [hit.item for hit in found] == [hit.item for hit in alone]
                assert [hit.score for hit in found] == pytest.approx([hit.score for hit in alone], abs=1e-6)
        with pytest.raises(ValueError, match="image 39 is an array of shape"):
            engine.search_image([*large[:39], large[39][:0]])


def test_an_item_of_many_large_pictures_is_added_as_a_whole_or_not(tmp_path: Path, toy_model: Path) -> None:
    large = [np.full((2600, 2600, 3), color, np.uint8) for color in range(8)]
    with ps.Engine(tmp_path / "c", model=toy_model, threads=2) as engine:
        with pytest.raises(ValueError, match="image 8 is an array of shape"):
            engine.add("bear", images=[*large, large[0][:0]])
        assert len(engine) == 0
        assert engine.add("bear", images=[*large, large[0]]) == ps.Added(8, 1)
        names = [reference.name for reference in engine.get("bear").references]
        assert names == [f"image {number} (array)" for number in range(8)]


def test_pictures_of_one_list_are_told_by_their_place(tmp_path: Path, toy_model: Path) -> None:
    good, bad = png(picture(1)), png(picture(2))[:40]
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        report = engine.add_images([good, bad, png(picture(3)), bad, ""], ids=["bear"] * 5)
        assert [name for name, _ in report.failed] == [
            "bear: image 4",
            "bear: image 1 (bytes)",
            "bear: image 3 (bytes)",
        ]
        assert "the path is empty" in report.failed[0][1]
        assert [one.name for one in engine.get("bear").references] == ["image 0 (bytes)", "image 2 (bytes)"]


def test_a_picture_that_cannot_be_used_is_told_as_often_as_it_comes(tmp_path: Path, toy_model: Path) -> None:
    bad = png(picture(2))[:40]
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        report = engine.add_items([ps.ItemDraft("a", [png(picture(1)), bad, bad])])
        assert [name for name, _ in report.failed] == ["a: image 1 (bytes)", "a: image 2 (bytes)"]
        assert all("damaged or cut off PNG data" in reason for _, reason in report.failed)


def test_files_that_move_to_another_item_leave_the_old_one(tmp_path: Path, toy_model: Path) -> None:
    photos = tmp_path / "photos"
    for number, name in enumerate(["bear/1", "bear/2", "fox/1", "lone"]):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / f"{name}.png").write_bytes(png(picture(number)))
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        engine.add_folder(photos)
        engine.update("bear", label="toys", text="brown", metadata={"price": 3})
        (photos / "bear").rename(photos / "bruin")
        (photos / "fox/1.png").rename(photos / "bruin/3.png")
        (photos / "lone.png").rename(photos / "single.png")
        report = engine.add_folder(photos)
        assert (report.items, report.references, report.moved, report.failed) == (2, 4, 4, [])
        assert sorted(ids(engine)) == ["bruin", "single"]
        bruin = engine.get("bruin")
        assert (bruin.label, bruin.text, bruin.metadata, len(bruin.references)) == ("toys", "brown", {"price": 3}, 3)
        assert [hit.item for hit in engine.search_image(picture(2), k=5)] == ["bruin", "single"]
        # A copy leaves the first where it is, and what was in memory never moves.
        shutil.copytree(photos / "bruin", photos / "copy")
        engine.add("memory", images=png(picture(3)))
        (photos / "single.png").rename(photos / "again.png")
        report = engine.add_folder(photos)
        assert (report.items, report.moved) == (2, 1)
        assert sorted(ids(engine)) == ["again", "bruin", "copy", "memory"]


def test_files_in_the_root_that_differ_by_their_ending_are_two_items(toy_model: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("IMG_1.jpg", "IMG_1.png", "IMG_2.png", "bear/1.jpg", "bear/1.png")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(50 * number)).save(path)
    with ps.Engine(tmp_path / "catalog", model=toy_model) as engine:
        assert engine.add_folder(tmp_path / "photos").items == 4
        found = {item.id: [Path(one.name).name for one in item.references] for item in engine}
        assert found == {
            "IMG_1.jpg": ["IMG_1.jpg"],
            "IMG_1.png": ["IMG_1.png"],
            "IMG_2": ["IMG_2.png"],
            "bear": ["1.jpg", "1.png"],
        }
        assert engine.add_folder(tmp_path / "photos").items == 0
