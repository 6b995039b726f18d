"""Pieces of a page of HTML that needs nothing but itself. Every text is escaped."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from .. import _core
from .grid import thumbnail
from .table import printable

#: The side of a picture, in pixels.
SIDE = 160


class Picture(NamedTuple):
    """A picture with two lines below it.

    Attributes:
        heading: The first line.
        name: The second line.
        path: The picture's file, if it has one.
        subject: The picture itself, if it is no file.
    """

    heading: str
    name: str
    path: str | None
    subject: Any = None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; everything is escaped."""
    style = 'style="text-align:left;padding:2px 14px 2px 0"'
    lines = ["".join(f"<th {style}>{_text(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td {style}>{_text(cell)}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{_text(text)}</p>"


def heading(text: str, *, level: int = 3) -> str:
    """A heading."""
    return f"<h{level}>{_text(text)}</h{level}>"


def pictures(*row: Picture) -> str:
    """Pictures side by side."""
    style = "display:flex;gap:14px;padding:10px 0;border-top:1px solid rgba(128,128,128,.3)"
    return f'<div style="{style}">{"".join(map(_figure, row))}</div>'


def _figure(picture: Picture) -> str:
    return (
        f'<figure style="width:{SIDE}px;margin:0;overflow-wrap:anywhere">{_shown(picture)}'
        f'<figcaption style="font:12px/1.4 system-ui,sans-serif"><div style="opacity:.7">{_text(picture.heading)}</div>'
        f"<b>{_text(picture.name)}</b></figcaption></figure>"
    )


def _shown(picture: Picture) -> str:
    """The picture; its name in a box if it is a text or cannot be shown."""
    name = picture.path or "no reference"
    if picture.subject is None or isinstance(picture.subject, (str, os.PathLike)):
        return thumbnail(name, side=SIDE)
    try:
        data = base64.b64encode(_core.thumbnail(picture.subject, side=SIDE)).decode()
    except (OSError, TypeError, ValueError):
        return thumbnail(name, side=SIDE)
    style = f"display:block;width:{SIDE}px;height:{SIDE}px;object-fit:contain"
    return f'<img src="data:image/jpeg;base64,{data}" alt="{_text(picture.name)}" style="{style}">'


def document(title: str, content: str) -> str:
    """The page of an evaluation."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em}</style>"
        f"<h1>How good is the search?</h1>{content}</html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
