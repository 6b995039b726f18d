"""Every example of the README runs, and prints what the README says it prints.

``python`` blocks run one after another in one namespace; lines that begin with ``>>>`` are checked as doctests.
``console`` blocks run their ``$`` lines in a shell; what follows each must be what it prints, where ``...`` stands for
anything. Both happen in one empty folder, in the order of the README. ``sh`` blocks are for the reader alone.
"""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_python(code: str, names: dict[str, object], line: int) -> None:
    if ">>>" not in code:
        exec(compile(code, f"README.md, block at line {line}", "exec"), names)
        return
    example = doctest.DocTestParser().get_doctest(code, names, "README", "README.md", line)
    example.globs = names  # not the copy that doctest makes: later blocks see what this one defines
    runner = doctest.DocTestRunner(optionflags=SAME)
    runner.run(example, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0


def run_console(code: str) -> None:
    for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", code, re.MULTILINE):
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"$ {command}\n{done.stderr}"
        same = doctest.OutputChecker().check_output(expected, done.stdout, SAME)
        assert same or not expected.strip(), f"$ {command}\nexpected:\n{expected}\nprinted:\n{done.stdout}"


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = README.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "readme"}
    count = 0
    for block in BLOCK.finditer(text):
        language, code = block.groups()
        line = text.count("\n", 0, block.start()) + 2
        if language == "python":
            run_python(code, names, line)
        elif language == "console":
            run_console(code)
        count += language in ("python", "console")
    assert count >= 5


def test_blocks_are_of_a_known_kind() -> None:
    assert {block.group(1) for block in BLOCK.finditer(README.read_text(encoding="utf-8"))} <= {
        "python",
        "console",
        "sh",
    }


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text(encoding="utf-8")))
def test_links_lead_to_files(link: str) -> None:
    assert (README.parent / link).exists()
