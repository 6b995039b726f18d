"""The log as lines that are written together."""

from __future__ import annotations

import io
import logging
import time

from plushie_search.server.lines import Lines


class Counted(io.StringIO):
    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


def test_lines_are_written_together_and_errors_at_once() -> None:
    stream = Counted()
    log = logging.Logger("test")
    log.addHandler(Lines(stream))
    for number in range(100):
        log.info("line %d", number)
    for _ in range(100):
        if stream.getvalue().count("\n") == 100:
            break
        time.sleep(0.05)
    assert stream.getvalue() == "".join(f"line {number}\n" for number in range(100))
    assert stream.writes <= 10
    log.info("before")
    log.error("at once")
    assert stream.getvalue().endswith("line 99\nbefore\nat once\n")
    stream.close()
    log.error("nothing reads this")
