"""Hits as a grid of pictures, in HTML that needs nothing but itself."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from html import escape
from typing import Any, Protocol, TypeAlias

from .. import _core
from .table import printable, shortened

#: The longest side of a picture in a notebook, in pixels.
THUMBNAIL = 200
#: How many lines about an item stand below its picture.
DETAILS = 4


class Shown(Protocol):
    """The attributes of a hit that its card shows."""

    @property
    def rank(self) -> int: ...
    @property
    def item(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def reference(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


Small: TypeAlias = Callable[[Any], "bytes | None"]
"""Called with a hit, and returns its picture as a JPEG file if there is one."""


def picture_grid(hits: Iterable[Shown], *, right: frozenset[str] = frozenset(), small: Small | None = None) -> str:
    """Returns the hits as a grid of pictures with similarity bars, in HTML that needs nothing but itself.

    Items in ``right`` are marked as right answers. Everything that comes from a catalog is escaped. ``small`` returns a
    hit's picture as a JPEG file, in place of one that is not found by its name.
    """
    cards = "".join(_card(hit, small, right=hit.item in right) for hit in hits)
    return f'<div style="display:flex;flex-wrap:wrap;gap:12px;align-items:flex-start">{cards}</div>'


def answer(head: str, hits: Iterable[Shown], *, warnings: Iterable[str] = (), small: Small | None = None) -> str:
    """A heading, warnings, and the hits as a grid."""
    told = "".join(f"<p>⚠ {escape(printable(warning))}</p>" for warning in warnings)
    return f"<p>{escape(head)}</p>{told}{picture_grid(hits, small=small)}"


def _card(hit: Shown, small: Small | None, *, right: bool) -> str:
    share = round(100 * min(max(hit.score, 0.0), 1.0))
    details = [] if hit.label is None or hit.label == hit.item else [hit.label]
    details += [f"{key}: {_value(value)}" for key, value in hit.metadata.items() if value not in (None, "", [], {})]
    lines = "".join(f"<div>{escape(printable(line))}</div>" for line in details[:DETAILS])
    ring = "2px solid #2e9e6b" if right else "1px solid rgba(128,128,128,.35)"
    return (
        f'<figure style="width:{THUMBNAIL}px;margin:0;padding:9px;outline:{ring};outline-offset:-1px;'
        f'border-radius:10px;box-sizing:content-box;overflow-wrap:anywhere;font:13px/1.45 system-ui,sans-serif">'
        f"{thumbnail(hit.reference, small=partial(small, hit) if small else None)}"
        f'<figcaption><div style="display:flex;justify-content:space-between;gap:8px;margin-top:6px">'
        f"<b>{hit.rank}. {escape(printable(hit.item))}{' ✓' if right else ''}</b>"
        f'<span style="white-space:nowrap">{hit.score:.3f}</span></div>'
        f'<div style="height:5px;border-radius:3px;background:rgba(128,128,128,.25);margin:4px 0">'
        f'<div style="height:5px;border-radius:3px;background:#d9738d;width:{share}%"></div></div>'
        f'<div style="opacity:.75;font-size:12px">{lines}</div></figcaption></figure>'
    )


def _value(value: Any) -> str:
    """A value of the metadata in few words."""
    return shortened(", ".join(map(str, value)) if isinstance(value, list) else str(value), 60)


def thumbnail(path: str, *, side: int = THUMBNAIL, small: Callable[[], bytes | None] | None = None) -> str:
    """Returns a picture file as an inline image of at most ``side`` pixels, or its name in a box if it cannot be shown.

    If there is no such file, or it is no picture any more, ``small`` is asked for a JPEG file in its place.
    """
    name = escape(printable(path), quote=True)
    jpeg = None
    # A picture that has been moved or replaced since it was added is none: the hit stands.
    with suppress(OSError, ValueError):
        jpeg = _core.thumbnail(path, side=side) if os.path.isfile(path) else None
    jpeg = small() if jpeg is None and small is not None else jpeg
    if jpeg is not None:
        return (
            f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{name}" title="{name}" '
            f'style="display:block;width:{side}px;height:{side}px;object-fit:contain;border-radius:6px">'
        )
    return (
        f'<div style="display:flex;align-items:center;justify-content:center;width:{side}px;height:{side}px;'
        f'border-radius:6px;background:rgba(128,128,128,.12);font-size:11px;text-align:center">{name}</div>'
    )
