"""`scripts/quietly`: a log, one line of progress, and the end of the log if the command fails."""

import os
import pty
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "quietly"


def quietly(log: Path, *command: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, str(SCRIPT), str(log), "building", *command]
    return subprocess.run(whole, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_output_goes_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "new" / "build.log"
    done = quietly(log, "sh", "-c", "echo one; echo two >&2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"building; its output goes to {log}\nbuilding: done in 0:00\n"
    assert log.read_text() == "one\ntwo\n"


def test_a_failure_shows_the_end_of_the_log_and_keeps_the_status(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    done = quietly(log, "sh", "-c", "seq 100; exit 7")
    assert done.returncode == 7
    last = [*map(str, range(71, 101)), f"building failed with status 7; all its output is in {log}"]
    assert done.stderr.splitlines() == last
    assert quietly(log, "sh", "-c", "kill -9 $$").returncode == 137


def test_a_command_that_is_not_there_fails_in_words(tmp_path: Path) -> None:
    done = quietly(tmp_path / "build.log", "/no/such/program")
    assert done.returncode == 127
    assert done.stderr == "building failed: cannot run /no/such/program: No such file or directory\n"


def test_a_terminal_sees_one_line_that_changes(tmp_path: Path) -> None:
    command = ["sh", "-c", "echo compiling faiss; sleep 0.8"]
    master, slave = pty.openpty()
    whole = [sys.executable, str(SCRIPT), str(tmp_path / "build.log"), "building", *command]
    with subprocess.Popen(
        whole, stdout=slave, stdin=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "60"}
    ) as process:
        os.close(slave)
        seen = b""
        while True:
            try:
                seen += os.read(master, 4096)
            except OSError:  # how Linux ends a terminal without a writer
                break
    os.close(master)
    assert process.returncode == 0
    assert seen.count(b"\n") == 1
    lines = seen.decode().replace("\033[K", "").split("\r")
    assert next(line for line in lines if "compiling" in line) in (
        "building (0:00): compiling faiss",
        "building (0:01): compiling faiss",
    )
    assert lines[-2].startswith("building: done in 0:0")
