"""Short forms of the trials: each program of this folder in a process of its own, with few rounds.

Their seed is fixed, so that a change is told from chance; the long forms take others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import damage, faults, shim, trial

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, fork and signals of Linux")
needs_compiler = pytest.mark.skipif(shim.compiler() is None, reason="needs a C compiler")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(shim.build(tmp_path_factory.mktemp("shim")))


def run(name: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Runs a trial, and returns its exit status, its figures and its error output."""
    command = [sys.executable, "-m", f"soak.{name}", "--seed", "7", *arguments]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=600)
    assert done.stdout, done.stderr
    print(done.stdout, done.stderr)
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stderr


def passed(name: str, *arguments: str) -> dict[str, Any]:
    status, figures, said = run(name, *arguments)
    assert (status, figures["failed"]) == (0, 0), said
    return figures


def test_a_kill_loses_nothing_that_was_acknowledged() -> None:
    figures = passed("kill", "--rounds", "8", "--most", "60")
    assert figures["kills"] >= 20
    assert figures["acknowledged"] > 100
    assert figures["indexes"] > 0


@needs_compiler
def test_a_loss_of_power_loses_nothing_that_was_acknowledged(compiled: str) -> None:
    figures = passed("power", "--rounds", "3", "--states", "18", "--changes", "110", "--shim", compiled)
    assert figures["states"] == 54
    assert figures["acknowledged"] > 100


@needs_compiler
def test_a_disk_that_lies_is_seen(compiled: str) -> None:
    """The trial must be able to fail: without synchronization much is lost."""
    status, figures, said = run("power", "--rounds", "1", "--states", "20", "--lies", "--shim", compiled)
    assert (status, figures["failed"]) == (1, 1)
    assert "unsynchronized writes" in said


def test_random_changes_give_what_a_dictionary_and_a_scan_give() -> None:
    figures = passed("changes", "--rounds", "2")
    assert figures["changes"] == 5000
    assert figures["restarts"] > 2


@needs_compiler
def test_a_call_that_fails_is_told_and_changes_nothing(compiled: str) -> None:
    figures = passed("faults", "--most", "50", "--sparse", "--shim", compiled)
    assert figures["rounds"] == len(faults.WORKS)
    assert figures["refused"] > figures["cases"] / 2 > 100


def test_damage_gives_no_wrong_answer_without_a_word() -> None:
    figures = passed("damage", "--rounds", "1")
    assert figures["cases"] == 500
    assert figures["index/approximate healed"] > 20
    assert all(any(key.startswith(f"{name} ") for key in figures) for name in damage.FILES)


def test_a_crowd_finds_what_it_has_stored() -> None:
    figures = passed("crowd", "--rounds", "1", "--seconds", "30")
    assert figures["writes"] > 100
    assert figures["reads"] > 500


def test_a_server_answers_or_says_why() -> None:
    figures = passed("chaos", "--rounds", "1")
    assert figures["requests"] > 50
    assert (figures["kills"], figures["models_gone"]) == (2, 1)


# The trials themselves


def test_a_trial_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, float]] = []

    def one(number: int, rng: Any) -> trial.Figures:
        done.append((number, rng.random()))
        assert number != 3, "the fourth round fails"
        return {"things": 2, "most_things": number}

    def again(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["x", "--progress", str(tmp_path / "rounds"), *arguments])
        return trial.run(trial.options("some", "", rounds=6), one), (tmp_path / "rounds").read_text()

    assert again("--rounds", "2", "--seed", "7")[0] == 0
    status, text = again()
    assert status == 1
    assert [number for number, _ in done] == [0, 1, 2, 3, 4, 5]
    with (tmp_path / "rounds").open("a") as file:
        file.write('{"round": 9, "sec')  # as a kill leaves it
    assert again()[0] == 1, "a failure stays one"
    assert len(done) == 6
    assert [json.loads(line)["figures"].get("things") for line in text.splitlines()[1:]] == [2, 2, 2, None, 2, 2]
    again("--only", "4")
    assert done[-1] == done[4], "a round is the same again"


def test_the_folder_of_a_round_is_removed() -> None:
    with trial.folder(None) as made:
        (made / "file").touch()
    assert not made.exists()
