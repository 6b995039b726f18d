"""The units of systemd, and copies of a catalog by the script that they run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from http_server import png

import plushie_search as ps
from plushie_search.cli.main import _parser

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
PICTURE = png((20, 90, 160))


def analyze(*arguments: str) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units with a program that is here."""
    for unit in UNITS:
        text = re.sub(r"/opt/plushie/bin/[\w-]+", "/bin/true", unit.read_text(encoding="utf-8"))
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return [tmp_path / unit.name for unit in UNITS]


def test_systemd_understands_the_units(units: list[Path]) -> None:
    assert analyze("verify", "--man=no", *map(str, units)) == ""


def test_systemd_finds_the_services_closed(units: list[Path]) -> None:
    for unit in units:
        if unit.suffix == ".service":
            found = re.search(r"exposure level for \S+: ([\d.]+) ", analyze("security", "--offline=yes", str(unit)))
            assert found is not None
            assert float(found[1]) <= 1.5


def test_the_service_runs_a_command_that_exists() -> None:
    text = (DEPLOY / "systemd" / "plushie-search.service").read_text(encoding="utf-8")
    found = re.search(r"^ExecStart=/opt/plushie/bin/plushie-search (.*)$", text, re.MULTILINE)
    assert found is not None
    options = _parser().parse_args(found[1].split())
    assert options.create_keys
    assert options.catalog[0].startswith("/var/lib/plushie-search/")
    copy = (DEPLOY / "systemd" / "plushie-search-backup.service").read_text(encoding="utf-8")
    assert f"/backup {options.catalog[0]} " in copy


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    """The script beside the command, as it is installed."""
    folder = tmp_path / "bin"
    folder.mkdir()
    shutil.copy(DEPLOY / "backup", folder)
    command = folder / "plushie-search"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m plushie_search "$@"\n')
    command.chmod(0o755)
    return folder / "backup"


def test_copies_are_whole_and_the_newest_stay(backup: Path, toy_model: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    names = ("20200101-000000", "20200102-000000", "20200103-000000")
    for name in names:
        (copies / f"toys-{name}.catalog").mkdir(parents=True)
    (copies / "toys.unfinished").mkdir()
    (tmp_path / "keys.json").write_text("{}")
    with ps.Engine(tmp_path / "toys.catalog", model=toy_model) as engine:
        engine.add("bear", images=PICTURE)
        done = subprocess.run([backup, tmp_path / "toys.catalog", copies, "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the catalog is sound" in done.stdout
    *old, new = sorted(path.name for path in copies.iterdir())
    assert old == [f"toys-{names[-1]}.catalog"]
    with ps.Engine(copies / new, model=toy_model, create=False) as engine:
        assert [item.id for item in engine.items()] == ["bear"]
        original = engine.original("bear")
        assert original is not None
        assert original.is_relative_to(copies)
        assert original.read_bytes() == PICTURE
    assert (copies / new / "keys.json").read_text() == "{}"


def test_a_copy_that_fails_keeps_the_others(backup: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    (copies / "toys-20200101-000000.catalog").mkdir(parents=True)
    done = subprocess.run([backup, tmp_path / "toys.catalog", copies, "1"], capture_output=True, text=True)
    assert done.returncode != 0
    assert [path.name for path in copies.iterdir()] == ["toys-20200101-000000.catalog"]
    assert subprocess.run([backup, "a", copies, "0"], capture_output=True, text=True).returncode == 2
    assert subprocess.run([backup], capture_output=True, text=True).returncode == 2
