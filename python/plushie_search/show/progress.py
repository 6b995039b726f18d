"""Shows the progress of long work, with rate and time left, on one line of a terminal or a notebook."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO, TypeAlias

from .table import columns, printable

Callback: TypeAlias = Callable[[int, int | None, str], object]
"""Called with the number done, the total or None, and the name of the next."""

#: The width of the bar, and how often it is drawn at most, in seconds.
BAR, PAUSE = 24, 0.1


class ProgressBar:
    """A callback for `progress=` that draws ``adding [####----] 120/500  85/s  0:04 left  bear-001``.

    Draws nothing if `stream` is neither a terminal nor that of a notebook. Call `close` to clear the line.
    """

    def __init__(self, verb: str, *, stream: TextIO | None = None) -> None:
        self._verb = verb
        self._stream = sys.stderr if stream is None else stream
        self._erase = "\x1b[K" if self._stream.isatty() else ""
        self._on = bool(self._erase) or in_notebook()
        self._width = 0
        self._start: tuple[float, int] | None = None
        self._drawn = 0.0

    def __call__(self, done: int, total: int | None, name: str) -> None:
        """Draws the progress, at most every ``PAUSE`` seconds."""
        if not self._on:
            return
        now = time.monotonic()
        if self._start is None:
            self._start = now, done
        if now - self._drawn < PAUSE and (total is None or done < total):
            return
        self._drawn = now
        line = f"{self.line(done, total, now)}  {printable(name)}"
        room = shutil.get_terminal_size().columns - 1
        while columns(line) > room:
            line = line[:-1]
        self._write(line)

    def line(self, done: int, total: int | None, now: float) -> str:
        """Returns the line at a time, without the name; without a total it has no bar and no time left."""
        begin, before = self._start if self._start is not None else (now, done)
        if total is None:
            text = f"{self._verb} {done}"
        else:
            filled = BAR * done // total if total else BAR
            text = f"{self._verb} [{'#' * filled}{'-' * (BAR - filled)}] {done}/{total}"
        if done == before or now <= begin:
            return text
        rate = (done - before) / (now - begin)
        if total is None:
            return f"{text}  {rate:.{0 if rate >= 10 else 1}f}/s"
        minutes, seconds = divmod(round((total - done) / rate), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        return f"{text}  {rate:.{0 if rate >= 10 else 1}f}/s  {left} left"

    def close(self) -> None:
        """Clears the line."""
        if self._on and self._drawn:
            self._write("")

    def _write(self, line: str) -> None:
        """Writes a line over the last one. A notebook, which cannot erase, gets spaces over its rest."""
        rest = self._erase or " " * (self._width - columns(line))
        self._stream.write(f"\r{line}{rest}" if line or self._erase else f"\r{rest}\r")
        self._stream.flush()
        self._width = columns(line)


def in_notebook() -> bool:
    """Returns whether the program runs in the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


@contextmanager
def shown(progress: Callback | None, verb: str) -> Iterator[Callback | None]:
    """Gives the callback for a long work: the caller's, or by default a progress bar if it runs in a notebook."""
    if progress is not None or not in_notebook():
        yield progress
        return
    bar = ProgressBar(verb)
    try:
        yield bar
    finally:
        bar.close()
