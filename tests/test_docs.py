"""The pages for developers and users name only paths, targets and options that exist, and their examples run.

Each page of docs/ runs in a folder of its own, which holds the toys and the catalog of the README's first two examples.
"""

import ast
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pages
import pytest
import yaml
from nbclient import NotebookClient

import plushie_search as ps
from plushie_search import cli
from plushie_search.cli.main import _parser

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
#: The pages at the root that are about the source tree.
GUIDES = [ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# Examples


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's toys and their catalog."""
    folder = tmp_path_factory.mktemp("docs")
    cli.main(["plush", "--seed", "1", "--count", "40", "--views", "2", "--out", str(folder / "toys")])
    with ps.Engine(folder / "toys.catalog") as engine:
        engine.add_folder(folder / "toys")
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_the_examples_run(page: Path, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(toys, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    runnable = [one for one in pages.blocks(text_of(page)) if one.why is None and one.language in ("python", "console")]
    assert pages.run(name_of(page), text_of(page), ". .venv/bin/activate") == len(runnable)


@pytest.mark.parametrize("page", [*DOCS, *GUIDES], ids=name_of)
def test_blocks_are_of_a_known_kind(page: Path) -> None:
    for block in pages.blocks(text_of(page)):
        assert block.language in {"python", "console", "sh", "json", "text"}, block
        if block.language == "json":
            json.loads(block.code)


def test_a_block_that_is_not_run_says_why() -> None:
    page = "<!-- not run: needs a GPU -->\n```python\n1 / 0\n```\n\n- a list\n\n  ```python\n  x = 2\n  x += 0\n  ```\n"
    first, second = pages.blocks(page)
    assert (first.why, first.line, second.why, second.code) == ("needs a GPU", 3, None, "x = 2\nx += 0\n")
    assert pages.run("page", page, "true") == 1
    with pytest.raises(ZeroDivisionError):
        pages.run("page", page.partition("\n")[2], "true")


@pytest.mark.parametrize(
    "block",
    [
        "```python\nassert 1 == 2\n```\n",
        "```python\n>>> 1 + 1\n3\n```\n",
        "```console\n$ echo one \\\n      two\none\n```\n",
        "```console\n$ false\n```\n",
    ],
)
def test_a_wrong_example_is_seen(block: str) -> None:
    with pytest.raises(AssertionError):
        pages.run("page", block, "true")
    right = (
        block.replace("== 2", "== 1")
        .replace("\n3\n", "\n2\n")
        .replace("\none\n", "\none two\n")
        .replace("false", "true")
    )
    assert pages.run("page", right, "true") == 1


def calls(code: str) -> Iterator[tuple[str, list[str]]]:
    """The calls of the package's functions and of methods of `engine`, with the names of their keyword arguments."""
    for node in ast.walk(ast.parse(code)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ):
            holder = {"ps": "", "engine": "Engine."}.get(node.func.value.id)
            if holder is not None:
                yield holder + node.func.attr, [one.arg for one in node.keywords if one.arg is not None]


def unknown(code: str) -> list[str]:
    """The names in such calls that the package does not have."""
    found = []
    for called, keywords in calls(code):
        target: object = ps
        for part in called.split("."):
            target = getattr(target, part, None)
        if not callable(target):
            found.append(called)
            continue
        parameters = inspect.signature(target).parameters
        if not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            found += [f"{called}({one}=)" for one in keywords if one not in parameters]
    return found


def test_unknown_names_are_found() -> None:
    code = "engine.search_image(a, k=3); ps.Engine('x', colour=1); engine.fly(); print(other.nothing)"
    assert unknown(code) == ["Engine(colour=)", "Engine.fly"]


@pytest.mark.parametrize("page", DOCS, ids=name_of)
def test_blocks_that_are_not_run_use_names_that_exist(page: Path) -> None:
    if "MilvusEngine" in text_of(page):
        pytest.importorskip("pymilvus")
    blocks = [block for block in pages.blocks(text_of(page)) if block.language == "python" and block.why is not None]
    assert [name for block in blocks for name in unknown(block.code)] == []


@pytest.mark.parametrize("page", [*DOCS, *GUIDES], ids=name_of)
def test_commands_take_these_arguments(page: Path) -> None:
    for words in pages.commands(text_of(page)):
        subcommand = words[1:3] if words[1:2] == ["models"] else words[1:2]
        if words[0] == "plushie-search" and words[1:] != subcommand and "--help" not in words:
            _parser().parse_args(words[1:])


# Links and paths


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", pages.BLOCK.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*DOCS, *GUIDES], ids=name_of)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", pages.BLOCK.sub("", text_of(page))):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(text_of(target)), f"{path}#{anchor}"


#: Where a path may begin.
BASES = [ROOT, ROOT / "src", ROOT / "python" / "plushie_search"]
#: A path of the source tree, such as src/engine/, tests/toy.py, Cargo.toml.
PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:rs|py|pyi|md|toml|json|yml)\b")


def named_paths(text: str) -> set[str]:
    """The paths that a page names in backquotes, and those of a tree: a `text` block that begins with a directory."""
    found = {span for span in re.findall(r"`([^`\n]+)`", pages.BLOCK.sub("", text)) if PATH.fullmatch(span)}
    for block in pages.blocks(text):
        if block.language == "text" and block.code.partition("\n")[0].endswith("/"):
            found |= drawn_paths(block.code)
    return found


def drawn_paths(code: str) -> set[str]:
    """The paths of a tree: lines begin with names, which two spaces end, and deeper lines are inside the line above."""
    found, above = set(), list[tuple[int, str]]()
    for line in code.splitlines():
        depth = len(line) - len(line.lstrip())
        above = [one for one in above if one[0] < depth]
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            path = "".join(directory for _, directory in above) + name
            found.add(path)
        if line.strip() and name.endswith("/"):
            above.append((depth, name))
    return found


def test_a_tree_is_read_as_paths() -> None:
    assert drawn_paths("src/\n  a.rs b.rs  two files\n  c/  a folder\n    d.rs\ntests/\n  e.py\n") == {
        *("src/", "src/a.rs", "src/b.rs", "src/c/", "src/c/d.rs", "tests/", "tests/e.py")
    }


@pytest.mark.parametrize("page", GUIDES, ids=name_of)
def test_guides_name_only_paths_that_exist(page: Path) -> None:
    paths = named_paths(text_of(page))
    assert len(paths) > 10
    assert [path for path in sorted(paths) if not any((base / path).exists() for base in BASES)] == []


def test_the_architecture_names_every_module_and_is_short() -> None:
    text = text_of(ROOT / "ARCHITECTURE.md")
    assert len(text.splitlines()) <= 120
    paths = {path.rstrip("/") for path in named_paths(text)}
    modules = re.findall(r"^(?:pub )?mod (\w+);", text_of(ROOT / "src" / "lib.rs"), re.MULTILINE)
    rooms = [one for one in (ROOT / "python" / "plushie_search").iterdir() if (one / "__init__.py").exists()]
    wanted = {f"src/{name}" for name in modules} | {name_of(one) for one in rooms}
    assert sorted(one for one in wanted if not {one, f"{one}.rs"} & paths) == []


# The Makefile


def targets() -> set[str]:
    """The targets; of those with a pattern the beginning, which a job of many calls with a variable."""
    return set(re.findall(r"^([a-z-]+)(?:%)?:", text_of(ROOT / "Makefile"), re.MULTILINE))


@pytest.mark.parametrize("path", [*DOCS, *GUIDES, *WORKFLOWS, ROOT / ".pre-commit-config.yaml"], ids=name_of)
def test_make_targets_are_there(path: Path) -> None:
    called = re.findall(r"(?:^|`|\$ |; |run: |&& |entry: )make (?:--\S+ )*([a-z][a-z-]*)", text_of(path), re.MULTILINE)
    assert set(called) <= targets()
    assert called or path.suffix == ".md"


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_workflows_are_valid(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=name_of)
def test_workflows_name_jobs_and_steps_that_they_have(path: Path) -> None:
    jobs = yaml.safe_load(text_of(path))["jobs"]
    for job in jobs.values():
        assert set(re.findall(r"\w+", str(job.get("needs", "")))) <= set(jobs)
        for local in re.findall(r"\./(.github/\S+)", str(job.get("uses", ""))):
            assert (ROOT / local).exists()
        named = {step["id"] for step in job.get("steps", []) if "id" in step}
        assert set(re.findall(r"steps\.([\w-]+)\.", str(job))) <= named
        variables = {key for one in job.get("strategy", {}).get("matrix", {}).get("include", []) for key in one}
        variables |= set(job.get("strategy", {}).get("matrix", {})) - {"include"}
        assert set(re.findall(r"matrix\.([\w-]+)", str(job))) <= variables


def test_the_oldest_versions_are_tried_and_told() -> None:
    python = re.findall(r'^requires-python = ">=(.*)"', text_of(ROOT / "pyproject.toml"), re.MULTILINE)
    rust = re.findall(r'^rust-version = "(.*)"', text_of(ROOT / "Cargo.toml"), re.MULTILINE)
    jobs = yaml.safe_load(text_of(ROOT / ".github" / "workflows" / "checks.yml"))["jobs"]
    tried = jobs["tests"]["strategy"]["matrix"]["include"]
    assert {"python": python[0], "rust": f"{rust[0]}.0"} in tried
    install = text_of(ROOT / "docs" / "install.md")
    assert f"CPython from {python[0]} on" in install
    assert f"Rust {rust[0]}," in install


def test_every_extra_is_explained() -> None:
    section = re.search(r"^\[project.optional-dependencies\]\n(.*?)\n\[", text_of(ROOT / "pyproject.toml"), re.M | re.S)
    assert section is not None
    table = re.search(r"^## Extras\n(.*?)^## ", text_of(ROOT / "docs" / "install.md"), re.M | re.S)
    assert table is not None
    extras = re.findall(r"^([\w-]+) = ", section[1], re.MULTILINE)
    rows = [row.split("|")[1] for row in table[1].splitlines() if row.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(extras)


def test_the_release_takes_artifacts_that_are_uploaded() -> None:
    built, release = (
        yaml.safe_load(text_of(ROOT / ".github" / "workflows" / f"{name}.yml"))["jobs"]
        for name in ("wheels", "release")
    )
    kinds = {f"wheel-{one['name']}" for one in built["linux"]["strategy"]["matrix"]["include"]} | {"sdist"}
    pattern = release["index"]["steps"][0]["with"]["pattern"]
    assert set(pattern.strip("{}").split(",")) == kinds - {"wheel-linux-x86-64-baseline"}


# Notebooks


def test_the_quick_start_runs(tmp_path: Path) -> None:
    """`make notebooks` runs the others."""
    notebook = nbformat.read(ROOT / "notebooks" / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [data for cell in notebook.cells for out in cell.get("outputs", []) for data in [out.get("data", {})]]
    assert any("<img" in data.get("text/html", "") for data in shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_notebooks_are_stored_with_what_they_show_in_few_bytes(path: Path) -> None:
    """As ``scripts/run_notebook.py`` stores them."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert (cell.get("execution_count"), cell["metadata"]) == (None, {}), cell["source"]
        assert not any(out.get("name") == "stderr" for out in cell.get("outputs", []))
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert '"pip", "install", "-q", "plushie_search' in first  # on a machine of others, where it is not there
    shown = [data for cell in notebook.cells for out in cell.get("outputs", []) for data in [out.get("data", {})]]
    assert any("<img" in "".join(data.get("text/html", "")) for data in shown)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert any(cell.get("outputs") for cell in notebook.cells)
    assert not any(out.output_type == "error" for cell in notebook.cells for out in cell.get("outputs", []))
    assert path.stat().st_size < 150_000
    assert not re.search(r"/tmp/|/home/|/root/|/work/|/private/", text_of(path))


def test_no_notebook_is_left_out() -> None:
    assert {path.name for path in NOTEBOOKS} >= {
        *("compare_models.ipynb", "explain.ipynb", "fine_tune.ipynb", "identify.ipynb"),
        *("milvus.ipynb", "quickstart.ipynb", "serve.ipynb", "stl.ipynb", "your_photos.ipynb"),
    }


# The site


def test_every_guide_and_name_is_on_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = yaml.safe_load(text_of(ROOT / "mkdocs.yml"))
    assert settings["strict"] is True
    listed = {page for section in settings["nav"] for pages_of in section.values() for page in pages_of}
    tree = ast.parse(text_of(ROOT / "scripts" / "site_pages.py"))
    table = next(one for one in tree.body if isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == "API")
    assert table.value is not None
    api = ast.literal_eval(table.value)
    assert listed == {path.name for path in DOCS} | {"index.md"} | {f"api/{name}.md" for name in api}
    names = [name for *_, told in api.values() for name in told.split()]
    assert len(names) == len(set(names))
    assert {name for name in names if "." not in name} == set(ps.__all__) - {"__version__"}
