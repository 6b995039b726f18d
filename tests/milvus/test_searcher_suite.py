"""The suite that every storage backend passes, over the local engine and over Milvus."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import plushie_search as ps
from plushie_search.testing import Check, searcher_suite

numbers = itertools.count()
LOCAL = searcher_suite(lambda encoder: None)


@pytest.mark.parametrize("name", [check.name for check in LOCAL])
@pytest.mark.parametrize("kind", ["engine", "milvus"])
def test_a_catalog_passes(kind: str, name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    def local(encoder: Any) -> ps.Engine:
        return ps.Engine(tmp_path / "catalog", model=encoder, threads=2)

    def milvus(encoder: Any) -> Any:
        return request.getfixturevalue("open_milvus")(model=encoder, threads=2)

    (check,) = (one for one in searcher_suite(local if kind == "engine" else milvus) if one.name == name)
    assert check()


class Forgetful(ps.Engine):
    """An engine that finds items in the wrong order."""

    def _search(self, single: bool, *rest: Any, **how: Any) -> Any:
        found = super()._search(single, *rest, **how)
        return found[::-1] if single else [one[::-1] for one in found]


class Refusing(ps.Engine):
    """An engine that cannot update or search."""

    def update(self, *_: Any, **__: Any) -> None:
        raise ps.UnsupportedError("this catalog never changes: add the item again")

    def remove(self, *_: Any, **__: Any) -> int:
        raise ps.UnsupportedError("no")

    def search_image(self, *_: Any, **__: Any) -> Any:
        raise ps.UnsupportedError("this catalog has no pictures: use another")


def check_of(factory: Callable[[Any], Any], name: str) -> Check:
    return next(one for one in searcher_suite(factory) if one.name == name)


def test_a_wrong_catalog_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="item 0"):
        check_of(lambda encoder: Forgetful(tmp_path / "a", model=encoder), "pictures_find_the_nearest")()


def test_a_catalog_may_lack_some_things_and_says_so(tmp_path: Path) -> None:
    opened = itertools.count()

    def factory(encoder: Any) -> Any:
        return Refusing(tmp_path / str(next(opened)), model=encoder)

    assert check_of(factory, "items_are_changed")() is False
    with pytest.raises(AssertionError, match="names no way to do without"):
        check_of(factory, "items_are_removed")()
    with pytest.raises(ps.UnsupportedError):
        check_of(factory, "pictures_find_the_nearest")()


def test_unsupported_errors_have_a_code() -> None:
    error = ps.UnsupportedError("a: b")
    assert isinstance(error, ps.ArgumentError)
    assert (error.code, error.item, error.path) == ("unsupported", None, None)
