"""Catalogs that are opened, forked, killed, replaced, damaged and squeezed while in use: nothing may be lost.

Short forms of longer trials; each runs the real processes, files and signals.
"""

from __future__ import annotations

import os
import random
import re
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
import pytest
import toy
from numpy.typing import NDArray

import plushie_search as ps

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals of POSIX"),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]

ROOT = os.geteuid() == 0


def vectors(*seeds: int) -> NDArray[np.float32]:
    rows = np.stack([np.random.default_rng(seed).standard_normal(toy.DIM) for seed in seeds])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def filled(path: Path, model: Path, count: int = 20) -> None:
    with ps.Engine(path, model=model, threads=1) as engine:
        engine.add_vectors([f"a{n}" for n in range(count)], vectors(*range(count)))


def ids(path: Path, model: Path) -> set[str]:
    with ps.Engine(path, model=model, threads=1, create=False) as engine:
        return {item.id for item in engine.items()}


def sound(path: Path) -> bool:
    connection = sqlite3.connect(path / "catalog.sqlite")
    try:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


def forked(work: Callable[[], object]) -> Callable[[], str]:
    """Starts `work` in a child of a fork; the answer is what it returned or raised."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = str(work())
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writes, said.encode()[:4000])
        os._exit(0)
    os.close(writes)

    def answer() -> str:
        with os.fdopen(reads, "rb") as pipe:
            said = pipe.read().decode()
        os.waitpid(child, 0)
        return said

    return answer


WRITER = """
import sys, numpy as np, plushie_search as ps
path, model, dim, start = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
engine = ps.Engine(path, model=model, threads=1)
print("ready", flush=True)
n = start
while True:
    rows = np.random.default_rng(n).standard_normal((50, dim)).astype("f")
    engine.add_vectors([f"w{n}-{k}" for k in range(50)], rows)
    print(n, flush=True)
    if n % 3 == 2:
        engine.remove([f"w{m}-{k}" for m in (n - 2, n - 1) for k in range(50)])
        print("removed", flush=True)
    n += 1
"""


def writer(path: Path, model: Path, start: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(model), str(toy.DIM), str(start)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


# Opening


def test_a_catalog_opens_while_another_process_writes(toy_model: Path, tmp_path: Path) -> None:
    process = writer(tmp_path / "c", toy_model)
    try:
        encoder = ps.open_encoder(str(toy_model), threads=1)
        end = time.monotonic() + 4
        opened = 0
        while time.monotonic() < end:
            ps.Engine(tmp_path / "c", model=encoder, create=False).close()
            opened += 1
    finally:
        process.kill()
        process.communicate()
    assert opened > 20


def test_a_catalog_left_within_a_checkpoint_opens(toy_model: Path, tmp_path: Path) -> None:
    """The log has everything, and catalog.sqlite has its first page alone, as a crash within a checkpoint leaves it."""
    live, left = tmp_path / "live", tmp_path / "left"
    with ps.Engine(live, model=toy_model, threads=1) as engine:
        engine.add_vectors([f"a{n}" for n in range(300)], vectors(*range(300)))
        left.mkdir()
        shutil.copy(live / "catalog.sqlite-wal", left)
        # A checkpoint in a copy tells the first page that it writes.
        whole = tmp_path / "whole"
        whole.mkdir()
        for name in ("catalog.sqlite", "catalog.sqlite-wal"):
            shutil.copy(live / name, whole)
        before = (live / "catalog.sqlite").read_bytes()
    with sqlite3.connect(whole / "catalog.sqlite") as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    after = (whole / "catalog.sqlite").read_bytes()
    assert len(after) > len(before)
    (left / "catalog.sqlite").write_bytes(after[:8192] + before[8192:])
    assert ids(left, toy_model) == {f"a{n}" for n in range(300)}
    assert sound(left)


def test_kill_9_loses_nothing_that_was_acknowledged(toy_model: Path, tmp_path: Path) -> None:
    path, expected, start = tmp_path / "c", set[str](), 0
    chance = random.Random(5)
    for _ in range(6):
        process = writer(path, toy_model, start)
        time.sleep(chance.uniform(0.05, 0.4))
        process.send_signal(signal.SIGKILL)
        last = start - 1  # the first change may be stored and not told yet
        for word in process.communicate()[0].split():
            if word != "removed":
                last = int(word)
                expected |= {f"w{last}-{k}" for k in range(50)}
            else:
                expected -= {f"w{n}-{k}" for n in (last - 2, last - 1) for k in range(50)}
        found = ids(path, toy_model)
        # The change that was under way is there as a whole, or not at all.
        after = {f"w{last + 1}-{k}" for k in range(50)}
        removed = {f"w{n}-{k}" for n in (last - 2, last - 1) for k in range(50)}
        assert found in (expected, expected | after, expected - removed)
        expected = found
        start = (last // 3 + 2) * 3
        assert sound(path)


def test_two_processes_write_at_once(toy_model: Path, tmp_path: Path) -> None:
    processes = [writer(tmp_path / "c", toy_model, start) for start in (0, 300_000)]
    time.sleep(1.5)
    told = []
    for process in processes:
        process.send_signal(signal.SIGKILL)
        told.append([int(word) for word in process.communicate()[0].split() if word != "removed"])
    assert all(len(numbers) > 3 for numbers in told), "each gets its turn"
    found = ids(tmp_path / "c", toy_model)
    kept = {n for numbers in told for n in numbers if n % 3 == 2}
    assert {f"w{n}-{k}" for n in kept for k in range(50)} <= found
    assert sound(tmp_path / "c")


# Forks


@pytest.mark.parametrize("parent", ["goes on", "closes", "closes and opens again"])
def test_parent_and_child_of_a_fork_keep_their_writes(parent: str, toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    engine = ps.Engine(path, model=toy_model, threads=1)
    engine.add_vectors(["before"], vectors(1))
    go, ready = os.pipe(), os.pipe()

    def child() -> str:
        engine.add_vectors(["c-first"], vectors(2))
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        for n in range(30):
            engine.add_vectors([f"c{n}"], vectors(100 + n))
        found = engine.search_vector(vectors(115)[0], k=1)[0]
        return f"{found.item} {found.score:.3f}"

    answer = forked(child)
    os.read(ready[0], 1)
    if parent != "goes on":
        engine.close()
    if parent == "closes and opens again":
        engine = ps.Engine(path, model=toy_model, threads=1)
    os.write(go[1], b"x")
    if parent != "closes":
        engine.add_vectors(["p"], vectors(3))
    assert answer() == "c15 1.000"
    engine.close()
    expected = {"before", "c-first", *(f"c{n}" for n in range(30))} | ({"p"} if parent != "closes" else set())
    assert ids(path, toy_model) == expected
    assert sound(path)


def test_a_fork_waits_for_a_write_and_no_child_waits_long(toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    engine = ps.Engine(path, model=toy_model, threads=1)
    stop, written = threading.Event(), 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            engine.add_vectors([f"b{written}-{k}" for k in range(20)], vectors(*range(written, written + 20)))
            written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for n in range(4):
            time.sleep(0.05)
            answer = forked(lambda n=n: engine.add_vectors([f"c{n}"], vectors(1000 + n)).references)  # type: ignore[misc]
            assert answer() == "1"
    finally:
        stop.set()
        thread.join()
    engine.close()
    assert ids(path, toy_model) >= {"c0", "c1", "c2", "c3", *(f"b{n}-{k}" for n in range(written) for k in range(20))}
    assert sound(path)


def test_a_child_outlives_its_parent_as_a_daemon_does(toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    engine = ps.Engine(path, model=toy_model, threads=1)
    engine.add_vectors(["before"], vectors(1))

    def daemon() -> str:
        looked = ids(path, toy_model)  # as another program that opens it and closes it as the last one
        for n in range(20):
            engine.add_vectors([f"d{n}"], vectors(10 + n))
        return str(len(looked))

    answer = forked(daemon)
    engine.close()
    assert answer() == "1"
    assert ids(path, toy_model) == {"before", *(f"d{n}" for n in range(20))}


def test_a_fork_that_python_does_not_see_is_refused_in_words(toy_model: Path, tmp_path: Path) -> None:
    """Forks by the C library, as a web server's or another language's code does."""
    program = f"""
import ctypes, os, plushie_search as ps
path, model = {str(tmp_path / "c")!r}, {str(toy_model)!r}
engine = ps.Engine(path, model=model, threads=1)
child = ctypes.CDLL(None).fork()
if child == 0:
    for work in (lambda: engine.items(), lambda: ps.Engine(path, model=model, threads=1)):
        try:
            work()
            print("not refused", flush=True)
        except RuntimeError as error:
            print(error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(len(engine))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done
    assert "opened before a fork" in lines[0]
    assert "forked other than by os.fork" in lines[1]
    assert lines[2] == "0"


def test_a_closed_engine_stays_closed_in_a_child(toy_model: Path, tmp_path: Path) -> None:
    engine = ps.Engine(tmp_path / "c", model=toy_model, threads=1)
    engine.close()
    assert "is closed" in forked(lambda: len(engine))()


# Another file in its place


@pytest.mark.parametrize("change", ["removed", "made anew", "renamed", "a backup copied over it"])
def test_a_catalog_that_is_not_there_any_more_acknowledges_nothing(
    change: str, toy_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "c"
    filled(path, toy_model)
    engine = ps.Engine(path, model=toy_model, threads=1)
    assert engine.search_vector(vectors(3)[0], k=1)[0].item == "a3"
    if change == "a backup copied over it":
        shutil.copy(path / "catalog.sqlite", tmp_path / "backup")
        os.replace(tmp_path / "backup", path / "catalog.sqlite")
    elif change == "renamed":
        path.rename(tmp_path / "elsewhere")
    else:
        shutil.rmtree(path)
    if change == "made anew":
        with ps.Engine(path, model=toy_model, threads=1) as other:
            other.add_vectors([f"new{n}" for n in range(20)], vectors(*range(19, -1, -1)))
    words = "removed or renamed" if change in ("removed", "renamed") else "replaced by another file"
    for work in (
        lambda: engine.add_vectors(["x"], vectors(99)),
        lambda: engine.search_vector(vectors(3)[0], k=1),
        lambda: engine.remove("a1"),
        lambda: len(engine),
        lambda: engine.get("a1"),
        lambda: engine.items(),
        lambda: "a1" in engine,
        lambda: engine.vectors("a1"),
        engine.stats,
    ):
        with pytest.raises(ps.CatalogError, match=words):
            work()
    engine.close()
    if change == "made anew":
        assert ids(path, toy_model) == {f"new{n}" for n in range(20)}


def test_a_catalog_made_anew_after_a_fork_is_not_taken_for_the_old_one(toy_model: Path, tmp_path: Path) -> None:
    """The connections are closed then, and the system may give the number of the old file to the new one."""
    path = tmp_path / "c"
    engine = ps.Engine(path, model=toy_model, threads=1)
    engine.add_vectors(["old"], vectors(1))
    assert forked(lambda: len(engine))() == "1"
    shutil.rmtree(path)
    filled(path, toy_model, 1)
    with pytest.raises(ps.CatalogError, match="replaced by another file"):
        engine.search_vector(vectors(1)[0])
    with pytest.raises(ps.CatalogError, match="replaced by another file"):
        engine.add_vectors(["x"], vectors(2))
    assert ids(path, toy_model) == {"a0"}


def test_another_sqlite_in_the_same_process_costs_nothing(toy_model: Path, tmp_path: Path) -> None:
    """It drops the locks of this process, so that the next one to close elsewhere removes the log."""
    path = tmp_path / "c"
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        engine.add_vectors(["before"], vectors(1))
        assert sound(path)
        look = f"import plushie_search as ps; ps.Engine({str(path)!r}, model={str(toy_model)!r}, threads=1).close()"
        subprocess.run([sys.executable, "-c", look], check=True)
        for n in range(10):
            engine.add_vectors([f"after{n}"], vectors(10 + n))
        assert engine.search_vector(vectors(15)[0], k=1)[0].item == "after5"
    assert ids(path, toy_model) == {"before", *(f"after{n}" for n in range(10))}


# Damage


def test_a_stored_vector_that_was_changed_is_told_and_can_be_removed(toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    filled(path, toy_model, 5)
    for bad, words in [
        (1000 * vectors(7), "it has another checksum"),
        (vectors(7), "it has another checksum"),
        (vectors(7)[:, :-1], "it has another length"),
    ]:
        with sqlite3.connect(path / "catalog.sqlite") as connection:
            good = connection.execute("SELECT vector FROM vectors WHERE reference = 3").fetchone()[0]
            connection.execute("UPDATE vectors SET vector = ? WHERE reference = 3", (bad.tobytes(),))
        connection.close()
        with ps.Engine(path, model=toy_model, threads=1) as engine:
            for work in (lambda: engine.search_vector(vectors(1)[0]), lambda: engine.vectors("a2")):
                with pytest.raises(ps.CatalogError, match=f'item "a2", reference "vector" is damaged .{words}'):
                    work()
        with sqlite3.connect(path / "catalog.sqlite") as connection:
            connection.execute("UPDATE vectors SET vector = ? WHERE reference = 3", (good,))
        connection.close()
    with sqlite3.connect(path / "catalog.sqlite") as connection:
        connection.execute("UPDATE vectors SET vector = ? WHERE reference = 3", ((2 * vectors(7)).tobytes(),))
    connection.close()
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        engine.remove("a2")
        assert engine.search_vector(vectors(1)[0], k=1)[0].item == "a1"


def test_flipped_bits_never_give_a_score_beyond_1(toy_model: Path, tmp_path: Path) -> None:
    filled(tmp_path / "c", toy_model, 200)
    encoder = ps.open_encoder(str(toy_model), threads=1)
    good = (tmp_path / "c" / "catalog.sqlite").read_bytes()
    chance, told = random.Random(11), list[str]()
    for _ in range(60):
        bad = bytearray(good)
        bad[chance.randrange(100, len(bad))] ^= 1 << chance.randrange(8)
        path = tmp_path / "bad"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        (path / "catalog.sqlite").write_bytes(bad)
        try:
            engine = ps.Engine(path, model=encoder, create=False)
            found = engine.search_vector(vectors(*range(0, 200, 20)), k=3)
            assert all(abs(hit.score) < 1.001 for hits in found for hit in hits)
            engine.close()
        except ps.CatalogError as error:
            told.append(str(error))
    assert told
    assert not [text for text in told if "restore a backup" in text]


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM vectors; END",
        "CREATE VIEW v AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "ALTER TABLE items RENAME TO things;"
        "CREATE VIEW items AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
        " SELECT i AS item, i AS id, i AS label, i AS text, '{}' AS metadata, i AS added FROM n",
        "ALTER TABLE items ADD COLUMN more TEXT",
        "DROP INDEX items_by_label; CREATE INDEX items_by_label ON items (label)",
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_schema SET sql = replace(sql, 'metadata TEXT NOT NULL', 'metadata TEXT NOT NULL CHECK ("
        "instr(hex(zeroblob(200000000)), hex(zeroblob(10000000)) || ''1'') = 0)') WHERE name = 'items'",
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_schema SET sql = replace(sql, ' ON DELETE CASCADE', '') WHERE name = 'refs'",
        "CREATE TABLE other (x)",
    ],
)
def test_tables_that_are_not_ours_are_refused_at_once(change: str, toy_model: Path, tmp_path: Path) -> None:
    filled(tmp_path / "c", toy_model, 2)
    connection = sqlite3.connect(tmp_path / "c" / "catalog.sqlite")
    connection.executescript(change)
    connection.close()
    with pytest.raises(ps.CatalogError, match="its tables are not those of format 6"):
        ps.Engine(tmp_path / "c", model=toy_model, threads=1)


def test_an_entry_that_was_changed_is_told_with_its_item(toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    filled(path, toy_model, 3)
    with sqlite3.connect(path / "catalog.sqlite") as connection:
        connection.execute("UPDATE items SET metadata = '{' WHERE id = 'a1'")
        connection.execute("UPDATE items SET label = CAST(x'ff' AS TEXT) WHERE id = 'a2'")
    connection.close()
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        for id, what in [("a1", "metadata"), ("a2", "label")]:
            words = f'the {what} of item "{id}" is damaged .*; update or remove that item'
            # A hit reads its metadata when it is asked for them.
            query = vectors(int(id[1]))[0]
            for look in (
                lambda id=id: engine.get(id),
                lambda query=query: engine.search_vector(query, k=1)[0].metadata,
            ):
                with pytest.raises(ps.CatalogError, match=words):
                    look()
        engine.update("a1", metadata={"price": 3})
        engine.remove("a2")
        assert [item.metadata for item in engine.items()] == [{}, {"price": 3}]


# Waiting for others


def writing(path: Path) -> subprocess.Popen[str]:
    """Another process that is in the middle of a change, until it reads a line."""
    program = (
        "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "connection.execute('BEGIN IMMEDIATE'); print('begun', flush=True); sys.stdin.readline()"
    )
    command = [sys.executable, "-c", program, str(path / "catalog.sqlite")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize(
    "change",
    [
        f"engine.add_vectors(['x'], np.eye(1, {toy.DIM}))",
        "engine.add('x', images=np.zeros((8, 8, 3), np.uint8))",
        "engine.add_images([np.zeros((8, 8, 3), np.uint8)], ids=['x'])",
        "engine.update('a1', label='x')",
        "engine.remove('a1')",
    ],
)
def test_ctrl_c_ends_the_waiting_for_another_writer(change: str, toy_model: Path, tmp_path: Path) -> None:
    filled(tmp_path / "c", toy_model, 2)
    program = f"""
import sys, time, numpy as np, plushie_search as ps
engine = ps.Engine({str(tmp_path / "c")!r}, model={str(toy_model)!r}, threads=1)
print("ready", flush=True)
begin = time.monotonic()
try:
    {change}
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - begin < 10, "x" in engine, engine.get("a1").label, flush=True)
"""
    holder = writing(tmp_path / "c")
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=25)[0] == "interrupted True False None\n"
    holder.communicate("")


def test_the_limit_of_the_waiting_can_be_set(toy_model: Path, tmp_path: Path) -> None:
    filled(tmp_path / "c", toy_model, 2)
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1, busy_timeout=0.2) as engine:
        holder = writing(tmp_path / "c")
        with pytest.raises(ps.CatalogError, match="open it with a longer busy_timeout"):
            engine.remove("a1")
        assert engine.search_vector(vectors(1)[0], k=1)[0].item == "a1", "reading waits for no writer"
        holder.communicate("")
        engine.remove("a1")
    for bad in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="busy_timeout"):
            ps.Engine(tmp_path / "c", model=toy_model, busy_timeout=bad)


def test_a_long_list_of_vectors_lets_others_in(toy_model: Path, tmp_path: Path) -> None:
    path, count = tmp_path / "c", 60_000
    filled(path, toy_model, 1)
    rows = np.random.default_rng(3).standard_normal((count, toy.DIM)).astype(np.float32)
    with ps.Engine(path, model=toy_model, threads=1) as long, ps.Engine(path, model=toy_model, threads=1) as other:
        thread = threading.Thread(target=long.add_vectors, args=([f"v{n}" for n in range(count)], rows))
        thread.start()
        between = []
        while thread.is_alive():
            other.add_vectors([f"o{len(between)}"], vectors(5000 + len(between)))
            between.append(len(other))
        thread.join()
        assert any(1 < found - n - 2 < count for n, found in enumerate(between)), between[-5:]
        assert len(long) == 1 + count + len(between)
        with pytest.raises(ValueError, match="an id has 1 to 512 bytes"):
            long.add_vectors(["ok"] * 10_001 + ["\n"], rows[:10_002])
        assert "ok" not in long, "nothing is stored when an id cannot be one"


# Reading only


@pytest.fixture
def as_reader() -> Any:
    """Runs work as a user who may only read; as root, in a child that has become another user."""

    def run(work: Callable[[], object]) -> str:
        def other() -> object:
            if ROOT:
                os.setgid(65534)
                os.setuid(65534)
            return work()

        return forked(other)()

    return run


@pytest.mark.parametrize("log", [False, True], ids=["closed", "open elsewhere"])
def test_a_read_only_catalog_can_be_searched(log: bool, as_reader: Any, toy_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "c"
    filled(path, toy_model)
    shutil.copytree(toy_model, tmp_path / "model")
    for directory in (*tmp_path.parents, tmp_path):
        if str(directory).startswith(str(Path("/tmp"))) and directory != Path("/tmp"):
            directory.chmod(0o755)
    holder = ps.Engine(path, model=toy_model, threads=1) if log else None
    for file in path.iterdir():
        file.chmod(0o444)
    path.chmod(0o555)

    def work() -> str:
        with ps.Engine(path, model=tmp_path / "model", threads=1, read_only=True) as engine:
            found = engine.search_vector(vectors(3)[0], k=1)[0].item, len(engine), engine.get("a1").id
            for change in (lambda: engine.add_vectors(["x"], vectors(99)), lambda: engine.remove("a1")):
                with pytest.raises(ps.CatalogError, match="was opened with read_only=True"):
                    change()
            return f"{found} {engine.stats()['references']}"

    try:
        assert as_reader(work) == "('a3', 20, 'a1') 20"
        refused = as_reader(lambda: ps.Engine(path, model=tmp_path / "model", threads=1))
        assert refused.startswith("CatalogError")
        assert "read_only=True" in refused
    finally:
        path.chmod(0o755)
        for file in path.iterdir():
            file.chmod(0o644)
        if holder is not None:
            holder.close()


@pytest.mark.skipif(not ROOT, reason="only an administrator may become another user")
def test_a_reader_of_closed_files_sees_those_who_open_and_change_them(toy_model: Path, tmp_path: Path) -> None:
    """Nothing can be locked by it, so that it must look whether the files have changed."""
    path = tmp_path / "c"
    filled(path, toy_model)
    shutil.copytree(toy_model, tmp_path / "model")
    for directory in (*tmp_path.parents, tmp_path):
        if str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    go, ready = os.pipe(), os.pipe()

    def reader() -> str:
        os.setgid(65534)
        os.setuid(65534)
        engine = ps.Engine(path, model=tmp_path / "model", threads=1, read_only=True)
        seen = []
        for _ in range(3):
            seen.append(f"{len(engine)} {engine.search_vector(vectors(999)[0], k=1)[0].item}")
            os.write(ready[1], b"x")
            os.read(go[0], 1)
        return ", ".join(seen)

    answer = forked(reader)
    os.read(ready[0], 1)
    with ps.Engine(path, model=toy_model, threads=1) as engine:
        engine.add_vectors(["new"], vectors(999))
        os.write(go[1], b"x")
        os.read(ready[0], 1)
        engine.remove([f"a{n}" for n in range(15)])
    os.write(go[1], b"x")
    os.read(ready[0], 1)
    os.write(go[1], b"x")
    first, *later = answer().split(", ")
    assert first.startswith("20 a")
    assert later == ["21 new", "6 new"]


def test_reading_only_creates_nothing(toy_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ps.CatalogError, match="does not exist"):
        ps.Engine(tmp_path / "none", model=toy_model, read_only=True)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ps.CatalogError, match=r"holds no catalog\.sqlite"):
        ps.Engine(tmp_path / "empty", model=toy_model, read_only=True)
    assert list((tmp_path / "empty").iterdir()) == []


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 6 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if not ROOT or subprocess.run(mounted, capture_output=True).returncode != 0:
        pytest.skip("only an administrator may mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_loses_nothing_and_opens_again(small_disk: Path, toy_model: Path) -> None:
    path, acknowledged, refused = small_disk / "c", set(), list[str]()
    engine = ps.Engine(path, model=toy_model, threads=1)
    for n in range(2000):
        try:
            engine.add_vectors([f"a{n}"], vectors(n))
            acknowledged.add(f"a{n}")
        except ps.CatalogError as error:
            refused.append(f"{error.code}: {error}")
            if len(refused) > 5:
                break
    assert len(refused) == 6
    assert all(re.match("disk_full: .*the disk is full, so this change was not made", text) for text in refused)
    assert engine.search_vector(vectors(7)[0], k=1)[0].item == "a7"
    engine.close()
    assert ids(path, toy_model) == acknowledged
    assert sound(path)
    (small_disk / "fill").write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096))
    with pytest.raises(ps.CatalogError, match="the disk is full"):
        ps.Engine(small_disk / "new", model=toy_model, threads=1)
    assert list((small_disk / "new").iterdir()) == []
    (small_disk / "fill").unlink()


def test_a_step_that_finds_the_disk_full_tells_the_items_stored_before(small_disk: Path, toy_model: Path) -> None:
    rows = np.random.default_rng(1).standard_normal((60_000, toy.DIM)).astype(np.float32)
    engine = ps.Engine(small_disk / "c", model=toy_model, threads=1)
    with pytest.raises(ps.CatalogError, match="the disk is full, so this change was not made") as told:
        engine.add_vectors([f"a{n}" for n in range(60_000)], rows)
    stored = len(engine)
    assert (f"; {stored} of 60000 rows were stored before it" in str(told.value)) == (stored > 0)
    engine.close()


def test_a_removal_is_not_called_undone_because_space_could_not_be_given_back(
    small_disk: Path, toy_model: Path
) -> None:
    for spare in range(100, 2600, 300):  # KiB
        path = small_disk / f"c{spare}"
        with ps.Engine(path, model=toy_model, threads=1) as engine:
            engine.add_vectors([f"a{n}" for n in range(3000)], vectors(*range(3000)))
        with ps.Engine(path, model=toy_model, threads=1) as engine:
            free = os.statvfs(small_disk).f_bavail * 4096
            (small_disk / "fill").write_bytes(b"x" * max(0, free - spare * 1024))
            removed = [f"a{n}" for n in range(2900)]
            try:
                engine.remove(removed)
            except ps.CatalogError:
                assert len(engine) == 3000
            else:
                assert len(engine) == 100
            (small_disk / "fill").unlink()
        shutil.rmtree(path)


# Memory and disk that stay


def test_large_metadata_does_not_fill_memory(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        count = 60
        engine.add_vectors([f"a{n}" for n in range(count)], vectors(*range(count)))
        # Filters do not look into lists of lists, so these numbers need no index.
        metadata = {"numbers": [list(range(140_000))]}
        for n in range(count):
            engine.update(f"a{n}", metadata=metadata)
        before = resident()
        for _ in range(2):
            found = engine.search_vector(vectors(1)[0], k=count)
            assert len(found) == count
            assert found[-1].metadata == metadata
            del found
        assert resident() - before < 400, "each hit took 9.6 MiB as parsed values"


def resident() -> float:
    """MiB of memory that are in use."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_the_log_does_not_keep_growing(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        rows = np.random.default_rng(1).standard_normal((150_000, toy.DIM)).astype(np.float32)
        engine.add_vectors([f"a{n}" for n in range(len(rows))], rows)
        engine.add_vectors(["last"], vectors(1))
        assert (tmp_path / "c" / "catalog.sqlite-wal").stat().st_size < 24 << 20
