"""Shows hits as a grid of pictures, in self-contained HTML."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from html import escape
from typing import Any, Protocol, TypeAlias

from .. import _core
from .table import counted, printable, shortened

#: The longest side of a picture in a notebook, in pixels.
THUMBNAIL = 200
#: The number of lines about an item below its picture.
DETAILS = 4
#: The most cards in a row.
MOST = 5
#: The space between cards and inside them, the width of a card, and the least of one, in pixels.
GAP, PAD, CARD, LEAST = 12, 9, THUMBNAIL + 18, 120
RING = "1px solid rgba(128,128,128,.35)"
FONT = "font:13px/1.45 system-ui,sans-serif"


class Shown(Protocol):
    """The attributes of a hit that its card shows."""

    @property
    def rank(self) -> int: ...
    @property
    def item(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def similarity(self) -> float: ...
    @property
    def reference(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


Small: TypeAlias = Callable[[Any], "bytes | None"]
"""Called with a hit, and returns its picture as a JPEG file if there is one."""


class Named(Protocol):
    """The attribute of a reference that is shown."""

    @property
    def name(self) -> str: ...


class Described(Protocol):
    """The attributes of an item that are shown."""

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...
    @property
    def references(self) -> Sequence[Named]: ...


def picture_grid(hits: Iterable[Shown], *, right: frozenset[str] = frozenset(), small: Small | None = None) -> str:
    """Returns the hits as a grid of pictures with similarity bars, in self-contained HTML.

    Items in ``right`` are marked as right. Everything that comes from a catalog is escaped. ``small`` returns the
    picture of a hit as a JPEG file if its own file is gone.
    """
    return _grid([_card(hit, small, right=hit.item in right) for hit in hits])


def _grid(cards: Sequence[str]) -> str:
    """Returns cards in rows of about the same length: six cards are two rows of three."""
    rows = max(1, math.ceil(len(cards) / MOST))
    columns = max(1, math.ceil(len(cards) / rows))
    gaps = (columns - 1) * GAP
    # Rounding must not make the columns wider together than their place; a narrow one has fewer of them.
    least = f"max({LEAST}px,calc((100% - {gaps}px)/{columns} - .1px))"
    return (
        f'<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax({least},1fr));gap:{GAP}px;'
        f'align-items:start;flex:1;max-width:{columns * CARD + gaps}px">{"".join(cards)}</div>'
    )


def answer(
    head: str,
    hits: Iterable[Shown],
    *,
    warnings: Iterable[str] = (),
    queries: Sequence[tuple[str, Any]] = (),
    small: Small | None = None,
) -> str:
    """Returns a heading, warnings, and the hits as a grid beside the pictures of the query, each with its name."""
    told = "".join(f"<p>⚠ {escape(printable(warning))}</p>" for warning in warnings)
    shown = [picture(name, subject, side=CARD - 2 * PAD, boxed=False) for name, subject in queries]
    asked = "".join(f'<div style="margin-bottom:{GAP}px">{image}</div>' for image in shown if image)
    grid = picture_grid(hits, small=small)
    if asked:
        grid = (
            f'<div style="display:flex;gap:{2 * GAP}px;align-items:flex-start"><div style="'
            f'flex:0 1 {THUMBNAIL}px;max-width:25%;{FONT}"><b>query</b>{asked}</div>{grid}</div>'
        )
    return f"<p>{escape(head)}</p>{told}{grid}"


def items_grid(items: Iterable[Described]) -> str:
    """Returns items as a grid, each with its first picture."""
    return _grid([_item_card(item) for item in items])


def item(shown: Described) -> str:
    """Returns an item with all its pictures."""
    pictures = "".join(
        f'<figure style="margin:0;{FONT}">{thumbnail(reference.name)}'
        f"<figcaption>{escape(printable(reference.name))}</figcaption></figure>"
        for reference in shown.references
    )
    lines = "".join(f"<div>{escape(printable(line))}</div>" for line in _details(shown))
    return (
        f'<div style="{FONT}"><b>{escape(printable(shown.id))}</b>{lines}</div>'
        f'<div style="display:grid;grid-template-columns:repeat(auto-fill,minmax({LEAST}px,{THUMBNAIL}px));'
        f'gap:{GAP}px;margin-top:{GAP}px;overflow-wrap:anywhere">{pictures}</div>'
    )


def _details(shown: Described) -> list[str]:
    """Returns the lines about an item: label, text, and metadata."""
    lines = [] if shown.label is None or shown.label == shown.id else [shown.label]
    lines += [] if not shown.text else [shortened(shown.text, 200)]
    return lines + _facts(shown.metadata)


def _facts(metadata: Mapping[str, Any]) -> list[str]:
    return [f"{key}: {_value(value)}" for key, value in metadata.items() if value not in (None, "", [], {})]


def _card(hit: Shown, small: Small | None, *, right: bool) -> str:
    share = round(100 * hit.similarity)
    details = [] if hit.label is None or hit.label == hit.item else [hit.label]
    lines = "".join(f"<div>{escape(printable(line))}</div>" for line in [*details, *_facts(hit.metadata)][:DETAILS])
    return _figure(
        thumbnail(hit.reference, small=partial(small, hit) if small else None),
        f'<div style="display:flex;justify-content:space-between;gap:8px;margin-top:6px">'
        f"<b>{hit.rank}. {escape(printable(hit.item))}{' ✓' if right else ''}</b>"
        f'<span style="white-space:nowrap">{hit.score:.3f}</span></div>'
        f'<div style="height:5px;border-radius:3px;background:rgba(128,128,128,.25);margin:4px 0">'
        f'<div style="height:5px;border-radius:3px;background:#d9738d;width:{share}%"></div></div>'
        f'<div style="opacity:.75;font-size:12px">{lines}</div>',
        ring="2px solid #2e9e6b" if right else RING,
    )


def _item_card(shown: Described) -> str:
    count = len(shown.references)
    first = thumbnail(shown.references[0].name) if count else picture("no picture", None)
    lines = "".join(f"<div>{escape(printable(line))}</div>" for line in _details(shown)[:DETAILS])
    return _figure(
        first,
        f'<div style="margin-top:6px"><b>{escape(printable(shown.id))}</b></div>'
        f'<div style="opacity:.75;font-size:12px">{lines}<div>{counted(count, "reference")}</div></div>',
    )


def _figure(image: str, caption: str, *, ring: str = RING) -> str:
    return (
        f'<figure style="margin:0;padding:{PAD}px;outline:{ring};outline-offset:-1px;border-radius:10px;'
        f'box-sizing:border-box;min-width:0;overflow-wrap:anywhere;{FONT}">{image}'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _value(value: Any) -> str:
    """Returns a value of the metadata as a short text."""
    return shortened(", ".join(map(str, value)) if isinstance(value, list) else str(value), 60)


def thumbnail(path: str, *, side: int = THUMBNAIL, small: Callable[[], bytes | None] | None = None) -> str:
    """Returns a picture file as an inline image of at most ``side`` pixels, or its name in a box if it is gone.

    If there is no such file, or it is no picture any more, ``small`` is asked for a JPEG file in its place.
    """
    return picture(path, path, side=side, small=small)


def picture(
    name: str,
    subject: Any,
    *,
    side: int = THUMBNAIL,
    boxed: bool = True,
    small: Callable[[], bytes | None] | None = None,
) -> str:
    """Returns a picture as an inline image of at most ``side`` pixels.

    Args:
        name: The name of the picture.
        subject: The picture: the path of a file, or any other kind of picture.
        side: The most pixels of its longer side.
        boxed: Whether to return the name in a box if it cannot be shown; otherwise an empty text is returned.
        small: Returns a JPEG file in place of a picture that cannot be shown.
    """
    alt = escape(printable(name), quote=True)
    size = f"width:100%;max-width:{side}px;aspect-ratio:1;border-radius:6px"
    jpeg = None
    # It may have been moved or replaced since it was added: the hit stands, only its picture cannot be shown.
    with suppress(OSError, TypeError, ValueError):
        if subject is not None and (not isinstance(subject, (str, os.PathLike)) or os.path.isfile(subject)):
            jpeg = _core.thumbnail(subject, side=side)
    jpeg = small() if jpeg is None and small is not None else jpeg
    if jpeg is not None:
        return (
            f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{alt}" title="{alt}" '
            f'style="display:block;{size};object-fit:contain">'
        )
    if not boxed:
        return ""
    return (
        f'<div style="display:flex;align-items:center;justify-content:center;{size};'
        f'background:rgba(128,128,128,.12);font-size:11px;text-align:center">{alt}</div>'
    )
