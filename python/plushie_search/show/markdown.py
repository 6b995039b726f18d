"""Writes Markdown; nothing from a catalog can end a cell or become HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .table import printable


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table with escaped cells."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    for mark in "\\`*_[]|":
        text = text.replace(mark, "\\" + mark)
    # Notebooks render Markdown with the HTML that stands in it.
    return escape(printable(text), quote=False)


def line(text: str) -> str:
    """Returns a line of text with HTML escaped."""
    return escape(text, quote=False)
