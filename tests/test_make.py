"""The Makefile's wheel, with stand-ins for its programs, and the scripts `quietly`, `label-wheel` and others."""

import base64
import hashlib
import os
import pty
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "scripts" / "quietly"


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


# The wheel

#: Stands in for maturin: needs patchelf on PATH, rewrites the library as repairing does, and fails if it is told to.
MATURIN = """#!/bin/sh
patchelf || exit 4
while [ "$1" != --out ]; do shift; done
echo repaired >target/release/deps/libplushie_search.so
mkdir -p "$2" && echo "$WHEEL" >"$2/new.whl"
exit "$STATUS"
"""


def program(path: Path, code: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code)
    path.chmod(0o755)


def test_dist_changes_only_once_a_wheel_was_built_and_passed(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    program(
        tmp_path / "scripts" / "test-wheel",
        "import pathlib, sys\nsys.exit('bad' in pathlib.Path(sys.argv[1]).read_text())",
    )
    for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml", "scripts/install-system-packages"):
        (tmp_path / name).touch()
    for name in (".cargo", "src", "dist"):
        (tmp_path / name).mkdir()
    program(tmp_path / ".venv" / "bin" / "maturin", MATURIN)
    program(tmp_path / ".venv" / "bin" / "patchelf", "#!/bin/sh\n")
    (tmp_path / ".venv" / ".done").mkdir()
    for name in ("venv", "package"):
        (tmp_path / ".venv" / ".done" / name).touch()
    library = tmp_path / "target" / "release" / "deps" / "libplushie_search.so"
    library.parent.mkdir(parents=True)
    library.write_text("built")
    dist = tmp_path / "dist"
    (dist / "old.whl").write_text("old")

    def wheel(status: int, content: str) -> int:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "CARGO_TARGET"))
        }
        environment |= {"STATUS": str(status), "WHEEL": content}
        done = subprocess.run(
            ["make", "wheel", f"PYTHON={sys.executable}"], cwd=tmp_path, env=environment, capture_output=True
        )
        assert library.read_text() == "built"
        return done.returncode

    assert (wheel(3, "good"), [one.name for one in dist.iterdir()]) == (2, ["old.whl"])
    assert (wheel(0, "bad"), [one.name for one in dist.iterdir()]) == (2, ["old.whl"])
    assert (wheel(0, "good"), [one.name for one in dist.iterdir()]) == (0, ["new.whl"])


def test_the_first_build_says_how_long_it_takes(tmp_path: Path) -> None:
    def spoken() -> bool:
        command = ["make", "-n", "-B", "demo", f"CARGO_TARGET_DIR={tmp_path}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return "'building plushie_search, which takes about ten minutes the first time'" in done.stdout

    assert spoken()
    (tmp_path / "release" / "deps").mkdir(parents=True)
    (tmp_path / "release" / "deps" / "libplushie_search.so").touch()
    assert not spoken()


def test_a_label_becomes_part_of_a_wheels_version(tmp_path: Path) -> None:
    wheel, about = tmp_path / "toy-1.2.3-cp310-abi3-manylinux_2_28_x86_64.whl", "toy-1.2.3.dist-info"
    written = {
        "toy/__init__.py": "Version = 1\n",
        f"{about}/METADATA": "Metadata-Version: 2.4\nName: toy\nVersion: 1.2.3\n\nVersion: 1.2.3\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp310-abi3-manylinux_2_28_x86_64\n",
        f"{about}/licenses/LICENSE-MIT": "do as you like\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip('=')},{len(text)}\n"
        for name, text in written.items()
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in [*written.items(), (f"{about}/RECORD", record + f"{about}/RECORD,,\n")]:
            archive.writestr(name, text)
    subprocess.run([sys.executable, ROOT / "scripts" / "label-wheel", wheel, "baseline"], check=True)
    assert [one.name for one in tmp_path.iterdir()] == ["toy-1.2.3+baseline-cp310-abi3-manylinux_2_28_x86_64.whl"]
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        names = set(archive.namelist())
        metadata = archive.read("toy-1.2.3+baseline.dist-info/METADATA").decode()
    assert names == {name.replace("1.2.3.dist", "1.2.3+baseline.dist") for name in [*written, f"{about}/RECORD"]}
    assert metadata == written[f"{about}/METADATA"].replace("1.2.3\n", "1.2.3+baseline\n", 1)


# The system's packages

#: A machine of the Red Hat family: cc links blas only by links that dnf's packages do not make.
STANDINS = {
    "dnf": 'echo "dnf $*" >>"$LOG"; touch "$BIN/installed"',
    "ln": 'echo "ln $*" >>"$LOG"; touch "$BIN/linked"',
    "cc": 'cat >/dev/null; [ -e "$BIN/linked" ]',
    "g++": '[ -e "$BIN/installed" ]',
    "nasm": '[ -e "$BIN/installed" ]',
    "cmake": "exit 0",
    "make": "exit 0",
    "python3": "exit 0",
    "cargo": "exit 0",
    "rustc": "echo rustc 1.95.0",
    "id": 'echo "$WHO"',
    "sudo": "exit 1",
}


@pytest.mark.parametrize(("who", "status"), [("0", 0), ("1000", 1)])
def test_packages_of_the_red_hat_family_are_installed_or_named(tmp_path: Path, who: str, status: int) -> None:
    for name, code in STANDINS.items():
        program(tmp_path / "bin" / name, f"#!/bin/bash\n{code}\n")
    for name in ("bash", "cat", "touch", "cut", "sort", "head"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    environment = {"PATH": f"{tmp_path}/bin", "BIN": f"{tmp_path}/bin", "LOG": f"{tmp_path}/log", "WHO": who}
    script = ["bash", str(ROOT / "scripts" / "install-system-packages")]
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    if status:
        assert done.stderr == (
            "needs the system packages gcc-c++ nasm openblas-devel; "
            "install them with: sudo dnf install gcc-c++ nasm openblas-devel\n"
        )
        return
    assert (tmp_path / "log").read_text().splitlines() == [
        "dnf install -q -y gcc-c++ nasm openblas-devel",
        "ln -s /usr/lib64/libopenblas.so /usr/local/lib64/libblas.so",
        "ln -s /usr/lib64/libopenblas.so /usr/local/lib64/liblapack.so",
    ]


def test_a_tag_is_the_version() -> None:
    version = re.findall(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    for tag, status in ((f"v{version[0]}", 0), ("v0.0.0", 2), (version[0], 2)):
        done = subprocess.run(["make", "check-tag", f"TAG={tag}"], cwd=ROOT, capture_output=True)
        assert (len(version), done.returncode) == (1, status)
