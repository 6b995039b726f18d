"""The checks of a catalog: each opens an empty one, works with it, and compares with numpy and plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..searcher import UnsupportedError
from . import finding, keeping
from .encoder import SuiteEncoder


class Closable(Protocol):
    """A catalog that can be closed."""

    def close(self) -> object:
        """Gives its resources back."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a catalog.

    Attributes:
        name: The name of the check.
        required: Whether a catalog must pass it; if not, it may raise :class:`UnsupportedError` instead.
    """

    name: str
    required: bool
    _work: Callable[[Any], None]
    _factory: Callable[[SuiteEncoder], Any]

    def __call__(self) -> bool:
        """Runs the check, and returns whether the catalog can do it.

        Raises:
            AssertionError: The catalog answers otherwise than it should.
            UnsupportedError: The catalog cannot do it, and must.
        """
        catalog = self._factory(SuiteEncoder())
        try:
            self._work(catalog)
        except UnsupportedError as error:
            if self.required:
                raise
            text = str(error)
            assert ": " in text, f"{self.name}: {text!r} names no way to do without: write it behind a colon"
            return False
        finally:
            catalog.close()
        return True

    def __repr__(self) -> str:
        return self.name


def searcher_suite(factory: Callable[[SuiteEncoder], Any]) -> Sequence[Check]:
    """Returns the checks of a catalog that answers as :class:`plushie_search.Engine` does.

    With pytest: ``@pytest.mark.parametrize("check", searcher_suite(factory), ids=repr)`` over a test that calls
    ``check()``.

    Args:
        factory: Opens an empty catalog with the encoder that it gets as its only model. Each check calls it once, and
            closes the catalog by ``close()``.
    """
    return [
        Check(work.__name__.strip("_"), required, work, factory)
        for required, works in ((True, REQUIRED), (False, OPTIONAL))
        for work in works
    ]


#: Without these it is no catalog.
REQUIRED: tuple[Callable[[Any], None], ...] = (*keeping.REQUIRED, *finding.REQUIRED)
#: A catalog may raise :class:`UnsupportedError` in these.
OPTIONAL: tuple[Callable[[Any], None], ...] = (*keeping.OPTIONAL, *finding.OPTIONAL)
