"""Pins of the first download of a model: revision, digests, and the consent to its license."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import quote

from .._core import ModelError


@dataclass(kw_only=True)
class Pins:
    """The pins of a model, stored in the user's cache.

    Attributes:
        repository: The repository of the model. The pins do not hold if the registry names another one.
        revision: The commit that was downloaded first.
        sha256: The digest of each file.
        seen: Size and time of change (ns) of each file when its digest was last computed.
        accepted: The license to which the user has consented.
    """

    repository: str | None = None
    revision: str | None = None
    sha256: dict[str, str] = field(default_factory=dict)
    seen: dict[str, list[int]] = field(default_factory=dict)
    accepted: str | None = None

    def write(self, name: str) -> None:
        """Writes the pins of the model ``name``; if that fails, its files are verified again next time."""
        path = path_of(name)
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".pins-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(self), file, indent=1)
            os.replace(temporary, path)


def read(name: str) -> Pins:
    """Returns the pins of the model ``name``; empty ones if it was never downloaded.

    Raises:
        ModelError: They are damaged.
    """
    path = path_of(name)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        pins = Pins(**values)
        whole = isinstance(pins.sha256, dict) and isinstance(pins.seen, dict)
    except FileNotFoundError:
        return Pins()
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}, which pins model {name}, cannot be read ({error}); delete it and try again"
        ) from error
    if not whole:
        raise ModelError(f"{path}, which pins model {name}, is damaged; delete it and try again")
    return pins


def path_of(name: str) -> Path:
    """Returns the file with the pins of the model ``name``."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "plushie_search" / "pins" / f"{quote(name, safe='')}.json"
