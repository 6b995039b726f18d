"""Rule 1 of the design: each Rust module uses only modules above it in lib.rs; Python stays in src/python."""

import re
import subprocess
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
    """What the code of one core module may not say."""
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
