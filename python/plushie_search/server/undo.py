"""Removed items, kept for a minute so that a removal can be undone."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..meshes import view_number
from ..results import Item
from .catalog import Catalog
from .errors import Problem

TOKEN = re.compile(r"[\w-]{20,40}")


class Undo:
    """Keeps removed items in files of a folder, which all processes of a server share.

    Args:
        folder: The folder.
        seconds: For how long.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds

    def keep(self, catalog: Catalog, item: Item) -> str | None:
        """Keeps an item that is about to be removed, and returns the token that brings it back.

        Returns None if it could not be brought back as it is, for the engine lacks one of the catalog's models.
        """
        engine = catalog.engine
        if not self._seconds or engine.stats().get("other_models"):
            return None
        self._forget()
        token = secrets.token_urlsafe(18)
        held = {"catalog": catalog.name, "item": item.to_dict(), "models": list(engine.models)}
        arrays: dict[str, Any] = {"held": np.frombuffer(json.dumps(held).encode(), np.uint8)}
        arrays |= {f"model {number}": engine.vectors(item.id, model=name) for number, name in enumerate(engine.models)}
        path = self._folder / f"{token}.npz"
        with open(path, "xb") as file:
            np.savez(file, **arrays)
        return token

    def restore(self, catalog: Catalog, id: str, token: Any) -> None:
        """Brings a removed item back, with the vectors, pictures and thumbnails that it had.

        Raises:
            Problem: The token is too old or of another item (410), or there is an item of that id again (409).
        """
        if id in catalog.engine:
            raise Problem(409, "exists", "there is an item of that id again: remove it or keep it")
        gone = Problem(410, "gone", f"a removal can be undone for {self._seconds:g} seconds: add the item again")
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise gone
        path = self._folder / f"{token}.npz"
        try:
            if time.time() - path.stat().st_mtime > self._seconds:
                raise gone
            with np.load(path, allow_pickle=False) as arrays:
                held = json.loads(arrays["held"].tobytes())
                vectors = {name: arrays[f"model {number}"] for number, name in enumerate(held["models"])}
        except OSError:
            raise gone from None
        item = held["item"]
        if held["catalog"] != catalog.name or item["id"] != id:
            raise gone
        references = item["references"]
        count = len(references)
        catalog.engine._add_vectors(
            [id] * count,
            vectors,
            references=[one["name"] for one in references],
            digests=[one["digest"] for one in references],
            views=[view_number(one["view"]) for one in references],
            by_digest=True,
            labels=[item["label"]] * count,
            metadata=[item["metadata"]] * count,
            texts=[item["text"]] * count,
        )
        with suppress(OSError):
            os.unlink(path)

    def _forget(self) -> None:
        """Deletes the files of removals that are too old."""
        for path in self._folder.glob("*.npz"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > self._seconds:
                    path.unlink()
