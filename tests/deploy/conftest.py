"""The image of the Dockerfile, built with a wheel of the package that is imported here."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import containers
import pytest
from containers import Builder, Image

import plushie_search

ROOT = Path(__file__).parent.parent.parent
PACKAGE = Path(plushie_search.__file__).parent


def wheel_of_this(folder: Path) -> None:
    """Writes a wheel of the package that is imported here, as it would be in dist/."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = plushie_search.__version__
    metadata = ["Metadata-Version: 2.1", "Name: plushie_search", f"Version: {version}"]
    metadata += [f"Requires-Dist: {one}" for one in project["dependencies"]]
    for extra, needed in project["optional-dependencies"].items():
        metadata.append(f"Provides-Extra: {extra}")
        for one in needed:
            name, _, marker = one.partition(";")
            also = f"({marker.strip()}) and " if marker else ""
            metadata.append(f"Requires-Dist: {name}; {also}extra == '{extra}'")
    scripts = "\n".join(f"{name} = {target}" for name, target in project["scripts"].items())
    about = f"plushie_search-{version}.dist-info"
    record = io.StringIO()
    with zipfile.ZipFile(folder / f"plushie_search-{version}-py3-none-any.whl", "w") as wheel:
        for path in sorted(PACKAGE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                wheel.write(path, f"plushie_search/{path.relative_to(PACKAGE).as_posix()}")
        wheel.writestr(f"{about}/METADATA", "\n".join(metadata))
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/entry_points.txt", f"[console_scripts]\n{scripts}\n")
        csv.writer(record).writerows([name, "", ""] for name in [*wheel.namelist(), f"{about}/RECORD"])
        wheel.writestr(f"{about}/RECORD", record.getvalue())


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds with a wheel that is in dist/."""
    if (why := containers.why_not()) is not None:
        pytest.skip(why)
    context = tmp_path_factory.mktemp("context")
    for name in (".dockerignore", "deploy", "python"):
        (context / name).symlink_to(ROOT / name)
    (context / "dist").mkdir()
    wheel_of_this(context / "dist")
    layers = tmp_path_factory.mktemp("layers")
    return Builder(ROOT / "deploy" / "Dockerfile", context, layers, WHEEL="dist")


@pytest.fixture(scope="session")
def image(builder: Builder) -> Image:
    """The image that is built by default."""
    return builder.build("cpu")
