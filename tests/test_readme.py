"""Every example of the README runs, and prints what the README says it prints.

They run as :mod:`pages` says, in one folder that holds nothing but the virtual environment; each shell enters that as
the README says. Of ``sh`` blocks and of commands in the text only names and arguments are checked.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest

from plushie_search.cli.main import _parser

ROOT = Path(__file__).parent.parent
#: The README in each of its languages.
READMES = sorted(ROOT.glob("README*.md"))
README = ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")
#: The page of all figures, whose commands run no longer than a test may.
FIGURES = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
#: The line by which a shell enters the environment.
ENTER = re.search(r"^\. \S+/bin/activate", TEXT, re.MULTILINE)


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_the_examples_run(readme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".venv").symlink_to(sys.prefix)
    assert ENTER is not None
    assert pages.run(readme.name, readme.read_text(encoding="utf-8"), ENTER[0]) == 6


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_a_busy_reader_gets_through(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    assert text.count("\n") <= 150
    assert {block.language for block in pages.blocks(text)} <= {"python", "console", "sh"}


def test_languages_say_the_same() -> None:
    def facts(readme: Path) -> list[object]:
        """Returns the code without comments, the figures of the table, and the links."""
        text = readme.read_text(encoding="utf-8")
        code = [re.sub(r"#.*", "", block.code).split() for block in pages.blocks(text)]
        figures = [line.split("|")[2] for line in text.splitlines() if line.startswith("| ")]
        rows = [re.findall(r"\d[\d.]*", cell) for cell in figures]
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("README")]
        return [code, rows, sorted(links)]

    assert [path.name for path in READMES] == ["README.md", "README.zh-CN.md", "README.zh-TW.md"]
    assert facts(READMES[1]) == facts(READMES[0])
    assert facts(READMES[2]) == facts(READMES[0])


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_links_lead_to_files(readme: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", readme.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


# The commands that no block runs


def test_make_sets_up_the_environment_that_the_readme_enters() -> None:
    assert ENTER is not None
    dry = subprocess.run(["make", "-n", "-C", ROOT, "demo"], capture_output=True, text=True, check=True)
    entered = ROOT / Path(ENTER[0].split()[1]).parent
    assert f"{entered}/plushie-search demo demo\n" in dry.stdout


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^|`|; )make ([a-z][a-z-]*)", TEXT, re.MULTILINE))))
def test_make_targets_are_there(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert target in re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)


#: The distributions that have the modules which programs in benches/ import.
DISTRIBUTIONS = {"PIL": "pillow", "faiss": "faiss-cpu", "open_clip": "open_clip_torch"}
#: The extras that a program takes besides `make bench-tools`, as docs/figures.md tells.
EXTRAS = dict(re.findall(r"`(\S+\.py)` also `pip install '\.\[(\S+)\]'`", FIGURES))


def listed(name: str) -> set[str]:
    """The distributions of a list of pyproject.toml, without versions."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^{name} = (\[.*?\])$", project, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no {name} in pyproject.toml"
    return {re.split(r"[\[><=]", one)[0] for one in ast.literal_eval(found[1])}


@pytest.mark.parametrize("program", sorted({words[1] for words in pages.commands(FIGURES) if words[0] == "python"}))
def test_programs_import_only_packages_that_are_told(program: str) -> None:
    path = ROOT / program
    code = path.read_text(encoding="utf-8")
    imported: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            imported |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add(str(node.module).partition(".")[0])
    imported -= set(sys.stdlib_module_names) | {other.stem for other in path.parent.glob("*.py")} | {"plushie_search"}
    imported -= set(re.findall(r'find_spec\("(\w+)"\)', code))  # used only where they happen to be installed
    extras = [name for name in EXTRAS.get(path.name, "").split(",") if name]
    installed = set.union(*(listed(name) for name in ("dependencies", "bench", *extras)))
    assert {DISTRIBUTIONS.get(name, name) for name in imported} <= installed


LINES = [words[1:] for words in pages.commands(TEXT + FIGURES) if words[0] == "plushie-search" and len(words) > 1]


@pytest.mark.parametrize("arguments", LINES, ids=" ".join)
def test_the_command_takes_these_arguments(arguments: list[str]) -> None:
    if len(arguments) > 1 and "--help" not in arguments:
        _parser().parse_args(arguments)
