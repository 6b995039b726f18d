"""The progress line: what it says, and where it says nothing."""

import io
import os
import sys
import types
from contextlib import redirect_stderr
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plushie_search import Engine
from plushie_search.show.progress import ProgressBar, shown
from plushie_search.show.table import columns


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("plushie_search.show.progress.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("begin", "done", "seconds", "line"),
    [
        (0, 0, 0, "adding [------------------------] 0/500"),
        (0, 125, 10, "adding [######------------------] 125/500  12/s  0:30 left"),
        (100, 125, 10, "adding [######------------------] 125/500  2.5/s  2:30 left"),
        (0, 1, 10, "adding [------------------------] 1/500  0.1/s  1:23:10 left"),
        (0, 500, 10, "adding [########################] 500/500  50/s  0:00 left"),
    ],
)
def test_rate_and_time_left(clock: list[float], begin: int, done: int, seconds: float, line: str) -> None:
    progress = ProgressBar("adding", stream=Terminal())
    progress(begin, 500, "")
    assert progress.line(done, 500, clock[0] + seconds) == line


def test_one_line_no_wider_than_the_terminal(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plushie_search.show.progress.shutil.get_terminal_size", lambda: os.terminal_size((60, 24)))
    stream = Terminal()
    progress = ProgressBar("adding", stream=stream)
    progress(3, 4, "小熊\n" * 50)
    [text] = stream.getvalue().split("\r")[1:]
    assert text.endswith("\x1b[K")
    assert 57 <= columns(text.removesuffix("\x1b[K")) <= 59
    progress.close()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_it_draws_ten_times_a_second_and_at_the_end(clock: list[float]) -> None:
    stream = Terminal()
    progress = ProgressBar("adding", stream=stream)
    for done in range(101):
        progress(done, 100, "x")
        clock[0] += 0.01
    assert stream.getvalue().count("\r") in (11, 12)
    assert "100/100" in stream.getvalue()


def test_nothing_is_drawn_into_a_file() -> None:
    stream = io.StringIO()
    progress = ProgressBar("adding", stream=stream)
    progress(1, 2, "x")
    progress.close()
    assert stream.getvalue() == ""


def test_without_a_total_there_is_neither_bar_nor_time_left(clock: list[float]) -> None:
    bar = ProgressBar("adding", stream=Terminal())
    bar(0, None, "")
    assert bar.line(640, None, clock[0] + 10) == "adding 640  64/s"
    assert bar.line(0, None, clock[0] + 10) == "adding 0"


class Notebook(io.StringIO):
    """The stream of a notebook, which is no terminal; `seen` is what the line showed last."""

    def seen(self) -> str:
        shown = ""
        for part in self.getvalue().split("\r"):
            shown = part + shown[len(part) :]
        return shown.rstrip()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    return Notebook()


def test_in_a_notebook_a_long_work_shows_a_bar_by_default(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plushie_search.show.progress.PAUSE", 0.0)
    with redirect_stderr(notebook), shown(None, "adding") as bar:
        assert bar is not None
        bar(0, 2, "a long name of an item")
        assert notebook.seen().startswith("adding [------------------------] 0/2")
        assert notebook.seen().endswith("a long name of an item")
        bar(2, 2, "")
        assert notebook.seen().startswith("adding [########################] 2/2")
        assert "name" not in notebook.seen()
    assert notebook.seen() == ""
    assert "\x1b" not in notebook.getvalue()


def test_a_callback_of_the_caller_comes_first(notebook: Notebook) -> None:
    def progress(done: int, total: int | None, name: str) -> None: ...

    with redirect_stderr(notebook), shown(progress, "adding") as told:
        assert told is progress
    assert notebook.getvalue() == ""


@pytest.mark.parametrize("shell", [None, types.SimpleNamespace()])
def test_elsewhere_there_is_no_bar_by_default(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    with shown(None, "adding") as told:
        assert told is None


def test_adding_and_evaluating_show_it(tmp_path: Path, toy_model: Path, notebook: Notebook) -> None:
    for name, color in (("red", (200, 9, 9)), ("blue", (9, 9, 200))):
        (tmp_path / "items" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (20, 20 + number), color).save(tmp_path / "items" / name / f"{number}.png")
    with Engine(tmp_path / "catalog", model=toy_model) as engine:
        for work, verb in (
            (lambda: engine.add_folder(tmp_path / "items"), "adding"),
            (lambda: engine.add_images([np.zeros((9, 9, 3), np.uint8)], ids=["black"]), "adding"),
            (lambda: engine.add_items([{"id": "red", "metadata": {"a": 1}}]), "adding"),
            (lambda: engine.evaluate(tmp_path / "items"), "evaluating"),
        ):
            notebook.seek(0)
            notebook.truncate()
            with redirect_stderr(notebook):
                work()
            assert verb in notebook.getvalue()
            assert notebook.seen() == ""
