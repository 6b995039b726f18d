"""Fixtures of several tests."""

import gc
import os
from pathlib import Path

import pytest
import toy

from plushie_search import _core, hub

#: Real models and pictures, which a developer may have beside the checkout.
ASSETS = Path(os.environ.get("PLUSHIE_ASSETS", Path(__file__).parents[2] / "shared" / "assets"))

if hasattr(os, "fork"):
    # A child must not collect garbage of its parent: sessions of onnxruntime would wait for threads that are not there.
    os.register_at_fork(before=gc.freeze, after_in_parent=gc.unfreeze)


@pytest.fixture
def no_collection():
    """Collects no garbage during a test that nests calls to their limit, where a finalizer that runs would fail."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def runtime():
    """The installed ONNX Runtime library."""
    return hub.runtime_library()


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory):
    """The directory of a tiny model with both towers; see toy.py. Do not change it: copy it."""
    return toy.write(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(scope="session")
def toy_encoder(toy_model, runtime):
    """An encoder of the toy model."""
    return _core.Encoder(toy_model, runtime=runtime, threads=2)


@pytest.fixture(scope="session")
def assets():
    """Real models and pictures; the test is skipped where there are none."""
    if not ASSETS.is_dir():
        pytest.skip(f"no assets in {ASSETS}")
    return ASSETS
