"""Writes items that were staged: their references are rows that repeat what is known of the item."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._core import ArgumentError
from ..results import reference_key
from .schema import FIELDS, LONGEST, Space
from .staged import Staged
from .store import Row, Store
from .terms import TERMS, described

#: The most references of a batch that is written.
BATCH = 8000


class Writing:
    """Changes of one collection.

    Args:
        store: The collection.
        spaces: The fields of the models, in the order of the vectors that are staged.
    """

    def __init__(self, store: Store, spaces: Sequence[Space]) -> None:
        self._store, self._spaces = store, spaces
        self._lock, self._last = threading.Lock(), 0
        self._size = 4 * sum(space.dimension for space in spaces) + 500

    def put(self, staged: Sequence[Staged], *, exact: bool = False, named: bool = False) -> tuple[int, int, int, int]:
        """Stores items, and returns how many items and references are new, were there already, and were replaced.

        Args:
            staged: The items, each once.
            exact: Whether an item becomes exactly so: its other references are removed, and what is None is cleared.
            named: Whether a reference takes the place of one with the same name.

        Raises:
            ArgumentError: An item's metadata or text is too long for Milvus; nothing is stored.
            CatalogError: Milvus does not answer or refuses.
        """
        held = self.held([item.id for item in staged], empty=self._store.count() == 0)
        rows: list[Row] = []
        gone: list[str] = []
        counts = [0, 0, 0, 0]
        for item in staged:
            own = held.get(item.id, [])
            add, remove, more = self._rows(item, own, exact=exact, named=named)
            rows += add
            gone += remove
            counts = [a + b for a, b in zip(counts, (int(not own), *more), strict=True)]
        self._store.put(rows, self._size)
        self._store.delete(gone)
        return counts[0], counts[1], counts[2], counts[3]

    def held(self, ids: Sequence[str], *, empty: bool = False, vectors: bool = False) -> dict[str, list[Row]]:
        """Returns the rows of items by their ids, the oldest first."""
        found: dict[str, list[Row]] = {}
        if empty:
            return found
        fields = [*FIELDS, *(space.field for space in self._spaces if vectors)]
        for row in self._store.rows("item", ids, fields):
            found.setdefault(row["item"], []).append(row)
        for rows in found.values():
            rows.sort(key=lambda row: row["added"])
        return found

    def change(self, rows: Sequence[Row], fields: dict[str, Any]) -> None:
        """Gives the rows of an item, with their vectors, other values."""
        whole = self._fields(
            rows[0]["item"], {**{key: rows[0][key] for key in ("label", "text", "metadata")}, **fields}
        )
        self._store.put([{**row, **whole} for row in rows], self._size)

    def remove(self, rows: Sequence[Row], keys: Sequence[str]) -> None:
        """Removes some of an item's references; the oldest one that is left becomes its first."""
        left = [row for row in rows if row["pk"] not in keys]
        if left and not any(row["head"] for row in left):
            whole = self._store.rows("pk", [left[0]["pk"]], [*FIELDS, *(space.field for space in self._spaces)])
            fields = self._fields(left[0]["item"], whole[0])
            self._store.put([{**whole[0], **fields, "head": True}], self._size)
        self._store.delete(list(keys))

    def _rows(
        self, item: Staged, own: list[Row], *, exact: bool, named: bool
    ) -> tuple[list[Row], list[str], tuple[int, int, int]]:
        """Returns the rows to write and the keys to remove for an item, and the counts of references."""
        known = {reference_key(row["digest"], row["view"] or None): row for row in own}
        names = {row["name"]: row for row in own} if named else {}
        given = {"label": item.label, "text": item.text, "metadata": item.metadata or None}
        before = {name: own[0][name] if own and not exact else None for name in given}
        fields = {name: before[name] if value is None else value for name, value in given.items()}
        fields["metadata"] = fields["metadata"] or {}
        whole = self._fields(item.id, fields)
        if any(len(name.encode()) > LONGEST for name, *_ in item.references):
            raise ArgumentError(f"item {item.id!r}: a reference's name has more than {LONGEST:,} bytes: shorten it")
        is_changed = bool(own) and any((own[0][name] or None) != (fields[name] or None) for name in given)
        since = own[0]["since"] if own else self._now(1)
        new, duplicates, kept, replaced = [], 0, set(), {}
        for place, (name, digest, view) in enumerate(item.references):
            key = reference_key(digest, view)
            old = known.get(key) or names.get(name)
            if old is not None and reference_key(old["digest"], old["view"] or None) == key:
                kept.add(old["pk"])
                if not named or self._is_same(old["pk"], item, place):
                    duplicates += 1
                    continue
            elif old is not None:
                replaced[old["pk"]] = old
            row = {
                "pk": key_of(item.id, key),
                "item": item.id,
                "since": since,
                "added": old["added"] if old is not None else 0,
                "head": old["head"] if old is not None else False,
                "name": name,
                "digest": digest,
                "view": view or "",
                **whole,
            }
            row |= {space.field: vectors[place] for space, vectors in zip(self._spaces, item.vectors, strict=True)}
            new.append(row)
        fresh = [row for row in new if not row["added"]]
        for number, row in enumerate(fresh, self._now(len(fresh)) if fresh else 0):
            row["added"] = number
        left_out = [row for row in own if exact and row["pk"] not in kept and row["pk"] not in replaced]
        removed = {row["pk"] for row in left_out} | replaced.keys()
        staying = [row for row in own if row["pk"] not in removed]
        if new and not any(row["head"] for row in [*staying, *new]):
            new[0]["head"] = True
        write = {row["pk"]: row for row in new}
        needs_head = bool(staying) and not any(row["head"] for row in [*staying, *new])
        if is_changed or needs_head:
            old_rows = self.held([item.id], vectors=True).get(item.id, [])
            some = [row for row in old_rows if row["pk"] not in removed and row["pk"] not in write]
            write |= {
                row["pk"]: {**row, **whole, "head": row["head"] or (needs_head and row["pk"] == staying[0]["pk"])}
                for row in some
            }
        again = sum(1 for row in new if row["pk"] in kept)
        return (
            list(write.values()),
            [key for key in removed if key not in write],
            (len(new), duplicates, again + len(replaced) + len(left_out)),
        )

    def _is_same(self, key: str, item: Staged, place: int) -> bool:
        """Returns whether a stored reference has the vectors that are given."""
        stored = self._store.rows("pk", [key], [space.field for space in self._spaces])
        return bool(stored) and all(
            np.allclose(np.asarray(stored[0][space.field], np.float32), vectors[place], atol=1e-6)
            for space, vectors in zip(self._spaces, item.vectors, strict=True)
        )

    def _fields(self, id: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Returns the fields of an item with the terms of its metadata.

        Raises:
            ArgumentError: They are too long for Milvus.
        """
        metadata = fields["metadata"] or {}
        terms, bounds = described(metadata)
        for name in ("label", "text"):
            if fields[name] is not None and len(fields[name].encode()) > LONGEST:
                raise ArgumentError(
                    f"item {id!r}: its {name} has more than {LONGEST:,} bytes, as Milvus takes: shorten it"
                )
        if len(terms) > TERMS or len(str(metadata).encode()) > LONGEST or len(str(bounds).encode()) > LONGEST:
            raise ArgumentError(
                f"item {id!r}: its metadata has more than {TERMS:,} values or {LONGEST:,} bytes, as Milvus takes: keep "
                "the rest elsewhere"
            )
        told = {"label": fields["label"], "text": fields["text"], "metadata": metadata}
        return {**told, "terms": terms, "bounds": bounds}

    def _now(self, count: int) -> int:
        """Returns the first of so many numbers that only grow, also beside those of other programs."""
        with self._lock:
            first = max(time.time_ns(), self._last + 1)
            self._last = first + count - 1
            return first


def key_of(id: str, reference: str) -> str:
    """Returns the key of a row: digests of the item and of the reference."""
    return "".join(hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in (id, reference))
