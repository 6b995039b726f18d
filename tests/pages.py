"""Reads and runs the examples of Markdown pages.

``python`` blocks run one after another in one namespace; lines that begin with ``>>>`` are checked as doctests.
``console`` blocks run their ``$`` lines in a shell; the text below each must be its output, where ``...`` stands for
anything. All run in the current folder, in the order of the page. A comment above a block, which readers do not see,
keeps it from running and says why: ``<!-- not run: needs a GPU -->``.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<why>[^\n]+) -->\n)?^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A block of code on a page."""

    language: str
    code: str
    line: int
    #: The reason why it is not run, or None if it is.
    why: str | None


def blocks(text: str) -> list[Block]:
    """Returns the blocks of a page in their order."""
    return [
        Block(
            match["language"],
            textwrap.dedent(match["code"]),
            text.count("\n", 0, match.start("language")) + 2,
            match["why"],
        )
        for match in BLOCK.finditer(text)
    ]


def shell_lines(code: str) -> list[tuple[str, str]]:
    """Returns each command of a `console` block, continued lines joined, with its output."""
    joined = code.replace("\\\n", "")
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", joined, re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """Returns the commands in blocks for a shell and in the text of a page, split into words."""
    lines = []
    for block in blocks(text):
        if block.language == "sh":
            lines += block.code.splitlines()
        elif block.language == "console":
            lines += [command for command, _ in shell_lines(block.code)]
    lines += re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    found = []
    for line in lines:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # code that is no command, such as a lone quotation mark
            continue
        # The file that the shell writes to is no argument.
        found.append(words[: words.index(">")] if ">" in words else words)
    return [words for words in found if words]


def run(name: str, text: str, enter: str) -> int:
    """Runs the examples of a page here, each shell after the command `enter`; returns how many have run."""
    names: dict[str, object] = {"__name__": name}
    count = 0
    for block in blocks(text):
        if block.why is not None:
            continue
        if block.language == "python":
            run_python(block, names, name)
        elif block.language == "console":
            run_console(block, enter)
        count += block.language in ("python", "console")
    return count


def run_python(block: Block, names: dict[str, object], page: str) -> None:
    """Runs a `python` block in a namespace."""
    if ">>>" not in block.code:
        exec(compile(block.code, f"{page}, block at line {block.line}", "exec"), names)
        return
    example = doctest.DocTestParser().get_doctest(block.code, names, page, page, block.line)
    example.globs = names  # not the copy that doctest makes: later blocks see what this one defines
    runner = doctest.DocTestRunner(optionflags=SAME)
    runner.run(example, clear_globs=False)
    assert runner.summarize(verbose=False).failed == 0


def run_console(block: Block, enter: str) -> None:
    """Runs the commands of a `console` block, with no environment but the one that `enter` enters."""
    here = str(Path(sys.executable).parent)
    environment = dict(os.environ)
    environment["PATH"] = ":".join(folder for folder in os.environ["PATH"].split(":") if folder != here)
    for command, expected in shell_lines(block.code):
        shell = ["bash", "-c", f"{enter}\n{command}"]
        done = subprocess.run(shell, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"$ {command}\n{done.stderr}"
        same = doctest.OutputChecker().check_output(expected, done.stdout, SAME)
        assert same or not expected.strip(), f"$ {command}\nexpected:\n{expected}\nprinted:\n{done.stdout}"
