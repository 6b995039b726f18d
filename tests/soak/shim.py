"""Builds shim.c with the C compiler, and runs programs with it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")


def compiler() -> str | None:
    """The C compiler, if there is one; the shim is for Linux alone."""
    return shutil.which(os.environ.get("CC", "cc")) if sys.platform == "linux" else None


def build(folder: Path) -> Path:
    """Compiles the shim into a folder."""
    made, cc = folder / "shim.so", compiler()
    assert cc is not None, "there is no C compiler"
    subprocess.run([cc, "-O1", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl", "-lpthread"], check=True)
    return made


def start(shim: Path, module: str, *arguments: str, watch: Path, record: Path | None = None) -> subprocess.Popen[str]:
    """Starts a module of this package whose calls on the files below a folder go through the shim."""
    environment = {**os.environ, "LD_PRELOAD": str(shim), "SOAK_FOLDER": str(watch)}
    if record is not None:
        environment["SOAK_RECORD"] = str(record)
    command = [sys.executable, "-m", f"soak.{module}", *arguments]
    return subprocess.Popen(command, env=environment, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True)


class Loaded:
    """The shim of this process."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self.calls, self._fail, self._note = library.soak_calls, library.soak_fail, library.soak_note
        self.calls.restype = ctypes.c_long
        self._fail.argtypes = [ctypes.c_long, ctypes.c_int]
        self._note.argtypes = [ctypes.c_char_p]

    def note(self, text: str) -> None:
        """Puts a note among the records."""
        self._note(text.encode())

    def fail(self, number: int, error: int) -> None:
        """Makes a call fail by its number from now on, with this errno; of a negative number all calls from then on."""
        self._fail(number, error)

    def rest(self) -> None:
        """Lets all calls through again."""
        self._fail(0, 0)
