"""Milvus for the tests: Milvus Lite in a file, or the server of PLUSHIE_MILVUS_URI."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import plushie_search as ps

numbers = itertools.count()


@pytest.fixture(scope="session")
def milvus_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("pymilvus")
    uri = os.environ.get("PLUSHIE_MILVUS_URI")
    if uri is None:
        pytest.importorskip("milvus_lite")
        uri = str(tmp_path_factory.mktemp("milvus") / "toys.db")
    return uri


@pytest.fixture
def open_milvus(milvus_uri: str) -> Iterator[Callable[..., Any]]:
    """Opens engines, each over a collection of its own unless one is named, and removes their collections."""
    opened = []

    def open_one(**how: Any) -> Any:
        how.setdefault("collection", f"test_{os.getpid()}_{next(numbers)}")
        opened.append(ps.MilvusEngine(milvus_uri, **{"index": "FLAT", **how}))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()
