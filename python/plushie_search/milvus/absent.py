"""The methods of an engine that a catalog in Milvus lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..searcher import UnsupportedError

LOCAL = "copy the collection into an Engine by interop.databases.add_rows(engine, catalog_rows(milvus))"


def _absent(name: str, cure: str) -> Callable[..., Any]:
    def method(self: object, *args: object, **options: object) -> Any:
        raise UnsupportedError(f"a catalog in Milvus has no {name}: {cure}")

    method.__name__, method.__qualname__ = name, f"MilvusEngine.{name}"
    method.__doc__ = f"Raises :class:`UnsupportedError`: {cure}."
    return method


class AbsentMethods:
    """Methods that raise :class:`UnsupportedError`, each with another way."""

    adapt = _absent("adapt", LOCAL)
    add_images = _absent("add_images", "call add for each item, or add_items")
    add_model = _absent("add_model", "open a new collection with all models, and add the pictures to it")
    backup = _absent("backup", "copy the file of Milvus Lite while it is closed, or use milvus-backup for a server")
    compact = _absent("compact", "Milvus compacts by itself")
    compare = _absent("compare", "call search_image with where={'id': ...}, or compare the vectors of encode_images")
    confirm = _absent("confirm", "call add(item, images=image)")
    duplicates = _absent("duplicates", LOCAL)
    explain = _absent("explain", LOCAL)
    export = _absent("export", LOCAL + ", and export that")
    forget_adapter = _absent("forget_adapter", LOCAL)
    import_vectors = _absent("import_vectors", "import into an Engine, and call add_rows(milvus, catalog_rows(engine))")
    inspect = _absent("inspect", LOCAL)
    optimize = _absent("optimize", "call reindex with another index")
    original = _absent("original", "keep the pictures, and their paths as names of references")
    page = _absent("page", "call items with limit and offset, or iterate")
    reencode = _absent("reencode", "open a new collection with the other model, and add the pictures to it")
    review = _absent("review", LOCAL)
    thumbnail = _absent("thumbnail", "keep small pictures elsewhere, and their addresses in the metadata")
    verify = _absent("verify", "Milvus checks what it reads by itself; stats counts what is there")
