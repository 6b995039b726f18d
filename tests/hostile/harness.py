"""Gives bad inputs to the package in one process, and tells how each of them ended.

Run as ``python harness.py GROUP FOLDER MODEL``: prints a JSON object.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import logging
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import toy
from PIL import Image

import plushie_search as ps

#: A name, and the work that takes the input.
Case = tuple[str, Callable[[], object]]
#: The errors that the documents name. Those of this package are of one of these, too.
DOCUMENTED = (ps.PlushieError, ValueError, TypeError, OSError, ImportError)
#: The longest text of an error, in characters: no input is repeated whole.
LONGEST = 4000
#: Seconds after which an input counts as one that never ends.
ENDLESS = 40.0


@dataclass
class Place:
    """An open catalog, with folders for files.

    Attributes:
        engine: A catalog of eight items, with pictures and texts.
        folder: An empty folder.
        model: The directory of its model; not to be changed.
    """

    engine: ps.Engine
    folder: Path
    model: Path
    _written: int = 0

    def file(self, data: bytes, ending: str) -> Path:
        """Writes a file, which replaces the one of 50 files before."""
        self._written += 1
        path = self.folder / f"{self._written % 50}{ending}"
        path.write_bytes(data)
        return path


@dataclass
class Outcome:
    """How inputs ended.

    Attributes:
        taken, refused: How many gave a result, and how many an error as documented.
        faults: Each that ended otherwise, in words.
        peak: The most memory that one of them took beside what was in use before, in MiB, and its name.
        slow: The five that took longest, in seconds.
    """

    taken: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)
    peak: tuple[float, str] = (0.0, "")
    slow: list[tuple[float, str]] = field(default_factory=list)


def picture(color: tuple[int, int, int], size: tuple[int, int] = (24, 16), format: str = "PNG") -> bytes:
    """Returns a small picture of one color."""
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, format)
    return file.getvalue()


def fill(engine: ps.Engine) -> None:
    """Adds eight items."""
    for number in range(8):
        color = (255 if number & 1 else 20, 255 if number & 2 else 20, 255 if number & 4 else 20)
        engine.add(f"good-{number}", images=picture(color), label="toy", text="a teddy bear", metadata={"n": number})


def found(engine: ps.Engine) -> list[tuple[str, float]]:
    """Returns the hits of good searches, by a picture, a text, a filter and a vector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lists = [
            engine.search_image(picture((250, 20, 20)), k=3),
            engine.search_text("a pink rabbit", k=3),
            engine.search_text("bear", k=3, where={"n": {"$lt": 4}}),
            engine.search_vector([1.0] * toy.DIM, k=3),
        ]
    return [(hit.item, round(hit.score, 5)) for hits in lists for hit in hits]


def memory(name: str) -> float:
    """Returns a figure of this process in MiB: ``VmRSS``, in use now, or ``VmHWM``, the most since the last reset."""
    found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def reset_peak() -> bool:
    """Makes the most memory that is now in use, if the system can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
        return True
    return False


def wrong(error: BaseException) -> str | None:
    """Returns what is wrong with an error, None if it is as documented."""
    text = str(error)
    if isinstance(error, ps.InternalError) or not isinstance(error, DOCUMENTED):
        return f"{type(error).__name__}: {text[:300]}"
    if not text.strip() or len(text) > LONGEST:
        return f"{type(error).__name__} with a text of {len(text)} characters"
    return None


def judge(cases: Iterable[Case], engine: ps.Engine, note: Callable[[str], object]) -> Outcome:
    """Runs all inputs. After each fifty of them, and at the end, good searches must find what they found before."""
    outcome, before = Outcome(), found(engine)
    resets = reset_peak()
    number = 0
    for number, (name, work) in enumerate(cases, 1):
        note(name)
        if resets:
            reset_peak()
        start, began = memory("VmRSS"), time.perf_counter()
        faulthandler.dump_traceback_later(ENDLESS, exit=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                work()
            outcome.taken += 1
        except BaseException as error:
            fault = wrong(error)
            outcome.refused += fault is None
            if fault is not None:
                outcome.faults.append(f"{name}: {fault}")
        faulthandler.cancel_dump_traceback_later()
        outcome.slow = sorted([*outcome.slow, (round(time.perf_counter() - began, 2), name)], reverse=True)[:5]
        outcome.peak = max(outcome.peak, (round(memory("VmHWM") - start, 1), name))
        if number % 50 == 0 and found(engine) != before:
            outcome.faults.append(f"{name} or one of the fifty before: good searches find something else")
            break
    if found(engine) != before or not number:
        outcome.faults.append("good searches find something else at the end, or there was no input")
    return outcome


def groups() -> dict[str, Callable[[Place], Iterable[Case]]]:
    """Returns the groups of inputs by their names."""
    import bad_arguments
    import bad_meshes
    import bad_models
    import bad_pictures
    import bad_requests
    import bad_sources

    return {
        "pictures": bad_pictures.cases,
        "meshes": bad_meshes.cases,
        "models": bad_models.cases,
        "arguments": bad_arguments.cases,
        "sources": bad_sources.cases,
        "requests": bad_requests.cases,
    }


def main(group: str, folder: str, model: str) -> None:
    faulthandler.enable()
    logging.disable(logging.CRITICAL)  # of refused requests
    place = Path(folder)
    (place / "files").mkdir(parents=True)
    # What runs when the process ends by force.
    running = open(place / "running", "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115

    def note(name: str) -> None:
        running.seek(0)
        running.truncate()
        running.write(name)
        running.flush()

    with ps.Engine(place / "catalog", model=model, threads=2) as engine:
        fill(engine)
        outcome = judge(groups()[group](Place(engine, place / "files", Path(model))), engine, note)
        if threading.active_count() > 20:
            outcome.faults.append(f"{threading.active_count()} threads are left")
    told: dict[str, Any] = vars(outcome)
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
