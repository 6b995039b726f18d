"""A process that may open no more files: calls say so, the catalog stays as it is, and they work again afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, resource, sys
from pathlib import Path
import numpy as np
import plushie_search as ps

home, model = Path(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))

def items(engine):
    return {item.id: (item.label, [one.digest for one in item.references]) for item in engine.items()}

def colors(*color):
    return np.full((8, 8, 3), color, np.uint8)

engine = ps.Engine(home / "toys.catalog", model=model, threads=1)
engine.add("bear", images=[colors(200, 30, 30)], label="bear")
engine.add("rabbit", images=[colors(30, 200, 30)], label="rabbit")
before = items(engine)
works = {
    "add": lambda: engine.add("duck", images=[home / "duck.png"]),
    "search": lambda: engine.search_image(home / "duck.png", k=1)[0].item,
    "open": lambda: ps.Engine(home / "toys.catalog", model=model, threads=1).close(),
    "new": lambda: ps.Engine(home / "new.catalog", model=model, threads=1).close(),
    "backup": lambda: engine.backup(home / "copy.catalog"),
    "verify": lambda: engine.verify(),
}
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for name, work in works.items():
    try:
        work()
    except (ps.PlushieError, OSError) as error:
        print(name, "refused", type(error).__name__, str(error).replace("\\n", " "))
    else:
        print(name, "done")
for file in taken:
    os.close(file)
assert items(engine) == before, items(engine)
assert engine.verify().ok
for name, work in works.items():
    work()
assert set(items(engine)) == {"bear", "rabbit", "duck"}
assert engine.search_image(home / "duck.png", k=1)[0].item == "duck"
with ps.Engine(home / "copy.catalog", model=model, threads=1) as copy:
    assert len(copy) == 3
print("works again")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_process_that_may_open_no_more_files_is_told_so(toy_model: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", (8, 8), (30, 30, 200)).save(tmp_path / "duck.png")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(toy_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    *told, last = done.stdout.splitlines()
    assert last == "works again"
    refused = {line.split()[0]: line for line in told if " refused " in line}
    assert {"add", "search", "open", "new", "backup"} <= set(refused), told
    for line in refused.values():
        assert "too many open files" in line.lower(), line
