"""Rule 1 of the design: each Rust module uses only modules above it in lib.rs; Python stays in src/python.

Each Python module imports only modules of rooms below its own, and of its own room without a circle.
"""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
BINDINGS = SRC / "python"

MODULES = re.findall(r"^pub mod (\w+);", (SRC / "lib.rs").read_text(), re.MULTILINE)
CORE = sorted(path for path in SRC.rglob("*.rs") if BINDINGS not in path.parents and path != SRC / "lib.rs")


def module_of(path: Path) -> str:
    """The top-level module that a file belongs to: src/render.rs and src/render/light.rs are both `render`."""
    return path.relative_to(SRC).with_suffix("").parts[0]


def code_of(text: str) -> str:
    """The text without comments, doc links included; strings that hold `//` lose their tail, which no rule reads."""
    return re.sub(r"//.*", "", text)


def broken_rules(module: str, text: str) -> list[str]:
    """Returns the rules that the code of a core module breaks."""
    code, above = code_of(text), MODULES[: MODULES.index(module)]
    broken = []
    if re.search(r"\bcrate::\{", code):
        broken.append("a grouped import `crate::{...}`: write one line for each module")
    for name in re.findall(r"\bcrate::(\w+)", code):
        if name not in MODULES:
            broken.append(f"`crate::{name}` is no module: write the path through its module")
        elif name != module and name not in above:
            broken.append(f"`crate::{name}` stands below `{module}` in lib.rs")
    broken += [f"`super::{n}`: write `crate::{n}`" for n in re.findall(r"\bsuper::(\w+)", code) if n in MODULES]
    broken += [f"`{name}` belongs to src/python" for name in re.findall(r"\b(pyo3|numpy)::", code)]
    return broken


def test_lib_lists_every_module() -> None:
    assert {module_of(path) for path in CORE} == set(MODULES)


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_uses_only_those_above_it(path: Path) -> None:
    assert broken_rules(module_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("store", "use crate::engine::Engine;"),
        ("store", "use crate::{error::Error, vectors::Vectors};"),
        ("store", "use crate::Result;"),
        ("store", "use super::engine::Engine;"),
        ("store", "let x = crate::index::Index::new();"),
        ("picture", "use pyo3::prelude::*;"),
        ("picture", "fn f(x: numpy::PyArray1<f32>) {}"),
    ],
)
def test_a_breach_is_seen(module: str, code: str) -> None:
    assert len(broken_rules(module, code)) == 1


def test_only_engine_joins_store_and_index() -> None:
    both = {
        module_of(path)
        for path in CORE
        if all(f"crate::{name}::" in code_of(path.read_text()) for name in ("store", "index"))
    }
    assert both <= {"engine"}


def test_each_binding_mirrors_a_core_module() -> None:
    of_its_own = {"mod", "error", "convert", "formats", "hit", "json"}
    assert {path.stem for path in BINDINGS.glob("*.rs")} - of_its_own <= set(MODULES)


def test_the_crate_without_features_builds_no_pyo3() -> None:
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--offline", "--prefix", "none", "--edges", "normal,build,dev"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {line.split()[0] for line in tree.stdout.splitlines() if line}
    assert "faiss" in names
    assert not names & {"pyo3", "numpy"}


# Python

PACKAGE = ROOT / "python" / "plushie_search"

#: Modules and rooms, bottom to top: each imports only those above it in this list.
ROOMS = [
    "_cpu",
    "_core",
    "_formats",
    "_step",
    "log",
    "paths",
    "meshes",
    "metrics",
    "show",
    "query",
    "results",
    "identification",
    "encoders",
    "hub",
    "searcher",
    "evaluate",
    "rows",
    "forks",
    "stored",
    "answers",
    "exchange",
    "engine",
    "keeping",
    "async_engine",
    "remote",
    "milvus",
    "testing",
    "image_search",
    "compare",
    "convert",
    "server",
    "interop",
    "pandas",
    "arrow",
    "polars",
    "benchmark",
    "plush",
    "plushbench",
    "sklearn",
    "testing",
    "train",
    "demo",
    "__init__",
    "cli",
    "__main__",
]

#: The names by which packages of the extras are imported; all others are imported at the top of a file.
OPTIONAL = {
    "PIL",
    "cascadio",
    "certifi",
    "datasets",
    "fastapi",
    "flask",
    "google",
    "grpc",
    "h5py",
    "httptools",
    "httpx",
    "huggingface_hub",
    "langchain_core",
    "llama_index",
    "mcp",
    "milvus_lite",
    "onnx",
    "open_clip",
    "pandas",
    "pillow_heif",
    "pillow_jxl",
    "polars",
    "prometheus_client",
    "pyarrow",
    "pydantic",
    "pydantic_settings",
    "pymilvus",
    "python_multipart",
    "pytorch_metric_learning",
    "qdrant_client",
    "ray",
    "scipy",
    "sklearn",
    "starlette",
    "timm",
    "tokenizers",
    "torch",
    "transformers",
    "uvicorn",
    "uvloop",
    "yaml",
}

#: A tag of HTML.
TAG = re.compile(r"</?(a|b|body|br|div|figure|h\d|html|img|p|section|small|span|style|table|td|th|tr)\b[^<]*>")

PYTHON = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in sorted(PACKAGE.rglob("*.py"))} | {
    "_core": PACKAGE / "_core.pyi"
}


def room_of(module: str) -> str:
    """Returns the room of a module: `hub` for `hub.open`."""
    return module.partition(".")[0]


def nodes(tree: ast.AST, *, inner: bool = False) -> list[tuple[ast.stmt, bool]]:
    """Returns the imports of a file, and whether each stands in a function."""
    found = []
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            found.append((child, inner))
        found += nodes(child, inner=inner or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)))
    return found


def own_modules(module: str, node: ast.ImportFrom) -> list[str]:
    """Returns the modules of the package that a relative import names."""
    *package, _ = module.split(".")
    base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
    found = []
    for alias in node.names:
        for parts in ([*base, alias.name], base):
            name = next((one for one in (".".join(parts), ".".join([*parts, "__init__"])) if one in PYTHON), None)
            if name is not None:
                found.append(name)
                break
        else:
            found.append(".".join([*base, alias.name]))
    return found


def imports(module: str, text: str, *, inside: bool = True) -> list[str]:
    """Returns the modules of the package that a module imports, in functions, too, if ``inside``."""
    return [
        name
        for node, inner in nodes(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.level and (inside or not inner)
        for name in own_modules(module, node)
    ]


def outside(node: ast.stmt) -> list[str]:
    """Returns the packages of others that an import names."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [node.module.partition(".")[0]] if isinstance(node, ast.ImportFrom) and not node.level else []


@functools.cache
def needs_an_extra(module: str) -> bool:
    """Returns whether importing a module imports a package of an extra."""
    text = PYTHON[module].read_text()
    own = {name for node, inner in nodes(ast.parse(text)) if not inner for name in outside(node)}
    return bool(own & OPTIONAL) or any(needs_an_extra(name) for name in imports(module, text, inside=False))


def breaches(module: str, text: str) -> list[str]:
    """Returns the rules that the text of a module breaks."""
    tree, room, broken = ast.parse(text), room_of(module), []
    for node, inner in nodes(tree):
        line = ast.unparse(node)
        if "plushie_search" in outside(node):
            broken.append(f"`{line}`: write a relative import")
        if isinstance(node, ast.ImportFrom) and node.level:
            for name in own_modules(module, node):
                if name not in PYTHON:
                    broken.append(f"`{line}`: there is no module {name}")
                elif ROOMS.index(room_of(name)) > ROOMS.index(room):
                    broken.append(f"`{line}`: {room_of(name)} stands above {room}")
                elif inner and not needs_an_extra(name):
                    broken.append(f"`{line}`: import it at the top of the file")
        elif inner and not set(outside(node)) <= OPTIONAL:
            broken.append(f"`{line}`: import it at the top of the file")
    for node in ast.walk(tree):
        name = getattr(node, "id", getattr(node, "attr", None))
        if name in ("__import__", "import_module"):
            broken.append(f"`{name}`: import by a statement")
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if room != "show" and is_text and TAG.search(node.value):
            broken.append(f"{node.value[:40]!r}: HTML is written in show/")
    return broken


def test_each_python_module_has_a_room() -> None:
    assert {room_of(module) for module in PYTHON} == set(ROOMS)


@pytest.mark.parametrize("module", PYTHON)
def test_a_python_module_imports_only_those_below_it(module: str) -> None:
    assert breaches(module, PYTHON[module].read_text()) == []


def test_no_python_modules_import_each_other() -> None:
    graph = {module: imports(module, path.read_text()) for module, path in PYTHON.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert len(order) == len(PYTHON)


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("hub.open", "from ..engine import Engine"),
        ("hub.open", "from .. import engine"),
        ("engine", "from .cli import main"),
        ("engine", "from . import Engine"),
        ("engine", "from plushie_search.hub import models"),
        ("engine", "import plushie_search.hub"),
        ("engine", "def f():\n    from .hub import models"),
        ("engine", "def f():\n    import json"),
        ("engine", "from importlib import import_module\nonnx = import_module('onnx')"),
        ("engine", "import importlib\nonnx = importlib.import_module('onnx')"),
        ("engine", "title = '<p>Hits</p>'"),
        ("engine", "title = f'<p>{1}'"),
    ],
)
def test_a_breach_in_python_is_seen(module: str, code: str) -> None:
    assert len(breaches(module, code)) == 1


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("engine", "from . import _core, hub"),
        ("engine", "def f():\n    import pandas as pd"),
        ("cli.models", "def f():\n    from ..convert.export.write import export"),
        ("show.page", "title = '<p>Hits</p>'"),
        ("engine", "name = 'a folder of <item>/<picture>'"),
    ],
)
def test_the_rules_of_python_allow(module: str, code: str) -> None:
    assert breaches(module, code) == []


def test_importing_the_package_imports_no_extra() -> None:
    code = "import sys, plushie_search; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & OPTIONAL
    rooms = {name.split(".")[1] for name in loaded if name.startswith("plushie_search.")}
    assert not rooms & {"cli", "demo", "interop", "plushbench", "sklearn", "train"}
    assert "onnxruntime" not in loaded


def test_every_extra_is_known_by_its_modules() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]\n")[2].partition("\n\n")[0]
    modules = {"open_clip_torch": "open_clip", "pillow": "PIL", "pillow-heif": "pillow_heif"}
    modules |= {"grpcio": "grpc", "protobuf": "google", "prometheus-client": "prometheus_client"}
    modules |= {"pydantic-settings": "pydantic_settings", "python-multipart": "python_multipart"}
    modules |= {"pillow-jxl-plugin": "pillow_jxl", "pytorch-metric-learning": "pytorch_metric_learning"}
    modules |= {"scikit-learn": "sklearn", "milvus-lite": "milvus_lite"}
    named = {name for name in re.findall(r'"([\w-]+)', extras) if not name.startswith("onnxruntime")}
    assert {"onnx", "torch"} < named
    assert {modules.get(name, name) for name in named} <= OPTIONAL
