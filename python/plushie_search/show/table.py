"""Text in aligned columns of a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

#: The widest cell of a table, in columns of the terminal.
WIDEST = 44


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, widest: int = WIDEST) -> str:
    """Returns rows as text in aligned columns, for any script: Chinese characters take two columns each."""
    lines = [[shortened(printable(cell), widest) for cell in row] for row in [head, *rows]]
    widths = [max(map(columns, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def columns(text: str) -> int:
    """Returns the number of columns that a text takes in a terminal."""
    return sum(_width(character) for character in text)


def _width(character: str) -> int:
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def printable(text: str) -> str:
    """Returns the text on one line, with characters that would move the cursor or hide text written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def shortened(text: str, width: int) -> str:
    """Returns the text, or its beginning and an ellipsis if it is wider."""
    if columns(text) <= width:
        return text
    kept, used = [], 1
    for character in text:
        used += _width(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def shorter_path(path: str) -> str:
    """Returns a path, without its first folders if it is wide: the end distinguishes pictures."""
    if columns(path) <= WIDEST:
        return path
    parts = path.split("/")
    while len(parts) > 1 and columns("…/" + "/".join(parts)) > WIDEST:
        del parts[0]
    return "…/" + "/".join(parts)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a number with its noun."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
