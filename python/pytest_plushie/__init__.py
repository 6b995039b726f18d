"""The pytest plugin of plushie_search: fixtures, options, and the folder of failures' pictures.

pytest imports this at its start in every project of the environment, so nothing of the package is imported before a
test asks for a fixture.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from plushie_search import Encoder, Engine
    from plushie_search.testing import Snapshots

#: The environment variables by which plushie_search.testing is told of the options.
FAILURES, MODEL = "PLUSHIE_TEST_FAILURES", "PLUSHIE_TEST_MODEL"

#: The variables as they were before the run.
_BEFORE = pytest.StashKey[dict[str, "str | None"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares the options."""
    group = parser.getgroup("plushie", "pictures and catalogs (plushie_search)")
    group.addoption(
        "--plushie-update", action="store_true", help="write picture snapshots that are missing or no longer fit"
    )
    group.addoption(
        "--plushie-failures",
        metavar="FOLDER",
        help="where pictures of failures are written (.plushie-failures, in the root directory)",
    )
    group.addoption("--plushie-model", metavar="MODEL", help="the model of fixtures and assertions (plushie-mini)")
    parser.addini("plushie_model", "the model of fixtures and assertions", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Tells the assertions where to write, and which model to take."""
    given = config.getoption("--plushie-failures")
    folder = config.rootpath / ".plushie-failures" if given is None else config.invocation_params.dir / given
    # Workers of xdist begin after this, and must not remove what others have written.
    if not hasattr(config, "workerinput") and not config.getoption("collectonly", default=False) and given is None:
        shutil.rmtree(folder, ignore_errors=True)
    config.stash[_BEFORE] = {name: os.environ.get(name) for name in (FAILURES, MODEL)}
    os.environ[FAILURES] = str(folder)
    model = config.getoption("--plushie-model") or config.getini("plushie_model")
    if model:
        os.environ[MODEL] = str(model)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Restores the environment."""
    for name, value in config.stash.get(_BEFORE, {}).items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def plushie_encoder() -> Encoder:
    """The model of ``--plushie-model`` or ``plushie_model``, by default the built-in one; opened once."""
    from plushie_search.testing.likeness import encoder

    return encoder()


@pytest.fixture
def plushie_engine(plushie_encoder: Encoder, tmp_path: Path) -> Iterator[Engine]:
    """An empty catalog with the model of ``plushie_encoder``, which is gone after the test."""
    from plushie_search import Engine

    with Engine(tmp_path / "plushie.catalog", model=plushie_encoder) as engine:
        yield engine


@pytest.fixture
def plushie_snapshot(request: pytest.FixtureRequest) -> Snapshots:
    """Asserts that pictures are like those of an earlier run, in ``snapshots/<file>/`` beside the test's file."""
    from plushie_search.testing import Snapshots

    folder = request.path.parent / "snapshots" / request.path.stem
    owner = f"{request.cls.__name__}-" if request.cls is not None else ""
    update = bool(request.config.getoption("--plushie-update"))
    return Snapshots(folder, owner + request.node.name, update=update)
