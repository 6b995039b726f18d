"""Restores a catalog from a backup, and saves what can be read of a damaged one."""

from __future__ import annotations

import os
from pathlib import Path

from . import _core
from .paths import expanded
from .results import Problem, Restored, Salvaged


def restore(backup: str | os.PathLike[str], path: str | os.PathLike[str], *, overwrite: bool = False) -> Restored:
    """Writes a copy of the catalog in ``backup`` to the directory ``path``, with its originals.

    The backup is verified before, as by :meth:`Engine.verify`, and so is the copy, which is made beside ``path`` and
    then renamed. Engines that have a replaced catalog open raise :class:`CatalogError` at their next call. The restored
    catalog is one of its own: its approximate index and thumbnails are made again.

    Args:
        backup: The directory of the backup, a catalog.
        path: The directory of the restored catalog; made if it does not exist.
        overwrite: Whether a catalog that is there is replaced: it is moved aside, as ``NAME.replaced``. False by
            default, which refuses.

    Raises:
        CatalogError: The backup is damaged or no catalog, or there is something in ``path`` that is not to be replaced.
            Then nothing has changed.
        FileError: ``path`` cannot be written.
    """
    items, moved = _core.restore(expanded(backup), expanded(path), overwrite=overwrite)
    return Restored(items, None if moved is None else Path(moved))


def salvage(path: str | os.PathLike[str], out: str | os.PathLike[str]) -> Salvaged:
    """Writes what can be read of the damaged catalog in ``path`` into a new catalog in ``out``.

    Rows are read in the order of their numbers without any index; where a page of ``catalog.sqlite`` is damaged, or
    the file is cut off, the next readable row is searched. A vector counts if it has its checksum, a reference if it
    has a vector of each model, and an item if it has a reference. Originals in ``media/`` are copied if they have the
    content of their names. Nothing in ``path`` is changed. No engine of this process may have it open.

    Raises:
        CatalogError: Nothing can be read, the catalog is open in this process, or ``out`` holds a catalog.
        FileError: ``out`` cannot be written.
    """
    items, references, lost = _core.salvage(expanded(path), expanded(out))
    return Salvaged(items, references, tuple(Problem(*one) for one in lost))
