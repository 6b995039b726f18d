"""The page of the demo."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from .grid import Shown, picture_grid, thumbnail

STYLE = """
:root { color-scheme: light dark; --ink: #2d2328; --paper: #fbf7f4; --card: #ffffff; --rose: #c2476a }
@media (prefers-color-scheme: dark) { :root { --ink: #f2e9ec; --paper: #1d181b; --card: #2a2327; --rose: #f08fab } }
body { margin: 0 auto; max-width: 1480px; padding: 40px 24px 80px; background: var(--paper); color: var(--ink);
       font: 16px/1.5 system-ui, sans-serif }
h1 { font-size: 34px; margin: 0 } h1 + p { margin: 4px 0 0; opacity: .75 }
section { display: grid; grid-template-columns: 250px 1fr; gap: 24px; margin-top: 28px; padding: 20px;
          background: var(--card); border-radius: 16px; box-shadow: 0 1px 4px #0002 }
h2 { font-size: 13px; letter-spacing: .06em; text-transform: uppercase; color: var(--rose); margin: 0 0 10px }
blockquote { margin: 12px 0 0; font-size: 21px; line-height: 1.35 }
small { display: block; margin-top: 12px; opacity: .65 }
@media (max-width: 800px) { section { grid-template-columns: 1fr } }
"""


class Section(NamedTuple):
    """A query and its answer.

    Attributes:
        title: The kind of query.
        image: The path of the query's picture.
        text: The query's words.
        hits: The answer.
        right: The ids of the right items.
        milliseconds: The time that the search took.
    """

    title: str
    image: str | None
    text: str | None
    hits: Sequence[Shown]
    right: frozenset[str]
    milliseconds: float


def page(*, items: int, references: int, model: str, figures: Sequence[str], sections: Sequence[Section]) -> str:
    """Returns the whole page."""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>plushie_search demo</title><style>{STYLE}</style>"
        f"<h1>Find the right plush</h1><p>{items} plush toys, {references} pictures, all rendered; "
        f"model: {escape(model)}. {'; '.join(figures)}. ✓ marks the right ones.</p>"
        f"{''.join(map(_section, sections))}</html>\n"
    )


def _section(section: Section) -> str:
    image = "" if section.image is None else thumbnail(section.image, side=220)
    text = "" if section.text is None else f"<blockquote>“{escape(section.text)}”</blockquote>"
    grid = picture_grid(section.hits, right=section.right)
    return (
        f"<section><div><h2>{escape(section.title)}</h2>{image}{text}"
        f"<small>{len(section.hits)} hits in {section.milliseconds:.1f} ms</small></div>{grid}</section>"
    )
