"""Parts of a self-contained HTML page. Every text is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from . import grid
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
    """Returns a table."""
    style = 'style="text-align:left;padding:2px 14px 2px 0"'
    lines = ["".join(f"<th {style}>{_text(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td {style}>{_text(cell)}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def paragraph(text: str) -> str:
    """Returns a paragraph."""
    return f"<p>{_text(text)}</p>"


def heading(text: str, *, level: int = 3) -> str:
    """Returns a heading."""
    return f"<h{level}>{_text(text)}</h{level}>"


def pictures(*row: Picture) -> str:
    """Returns pictures side by side."""
    style = "display:flex;gap:14px;padding:10px 0;border-top:1px solid rgba(128,128,128,.3)"
    return f'<div style="{style}">{"".join(map(_figure, row))}</div>'


def _figure(picture: Picture) -> str:
    subject = picture.path if picture.subject is None else picture.subject
    image = grid.picture(picture.path or "no reference", subject, side=SIDE)
    return (
        f'<figure style="width:{SIDE}px;margin:0;overflow-wrap:anywhere">{image}'
        f'<figcaption style="font:12px/1.4 system-ui,sans-serif"><div style="opacity:.7">{_text(picture.heading)}</div>'
        f"<b>{_text(picture.name)}</b></figcaption></figure>"
    )


def document(title: str, content: str, *, heading: str | None = None) -> str:
    """Returns a whole page of HTML, under a heading, which is the title by default."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:80em;margin:2em auto;padding:0 1em}</style>"
        f"<h1>{_text(title if heading is None else heading)}</h1>{content}</html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
