"""The short form of `make fuzz`: five seconds of damaged samples for each reader."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

for module in ("PIL", "h5py", "onnx", "pyarrow", "starlette", "xxhash"):
    pytest.importorskip(module)

TARGETS = ("picture", "mesh", "manifest", "index", "filter", "source", "form", "line", "tokenizer")


def test_readers_bear_damaged_samples(tmp_path: Path) -> None:
    program = [sys.executable, str(Path(__file__).with_name("fuzz.py")), "all", "--seconds", "5", "--seed", "7"]
    done = subprocess.run(
        [*program, "--findings", str(tmp_path)], capture_output=True, text=True, timeout=600, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = [line.partition(":")[0] for line in done.stdout.splitlines() if line.endswith("no finding")]
    assert tuple(told) == TARGETS
