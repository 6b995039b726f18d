"""The log as lines, many of which are written at once."""

from __future__ import annotations

import atexit
import contextlib
import logging
import sys
import threading
from typing import TextIO

#: For how many seconds lines are collected. A line of its own costs as much as half of a request.
COLLECTED = 0.1


class Lines(logging.Handler):
    """Writes lines to a stream within a tenth of a second, and warnings and errors at once.

    Args:
        stream: The stream; standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        self._held: list[str] = []
        self._wake, self._writing = threading.Event(), threading.Lock()
        threading.Thread(target=self._write, name="plushie-log", daemon=True).start()
        atexit.register(self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line."""
        self._held.append(self.format(record))
        if record.levelno >= logging.WARNING:
            self.flush()
        elif len(self._held) == 1:
            self._wake.set()

    def _write(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            threading.Event().wait(COLLECTED)
            self.flush()

    def flush(self) -> None:
        """Writes what was collected."""
        with self._writing:
            lines, self._held = self._held, []
            if lines:
                with contextlib.suppress(OSError, ValueError):  # the reader is gone
                    self._stream.write("".join(f"{line}\n" for line in lines))
                    self._stream.flush()
