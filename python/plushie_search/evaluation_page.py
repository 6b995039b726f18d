"""An evaluation as a page of HTML that needs nothing but itself."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from . import _core
from .evaluation import CONFUSIONS, FIGURES, counted
from .results import printable, thumbnail

if TYPE_CHECKING:
    from .comparison import Comparison
    from .evaluation import Evaluation, Outcome, Stranger

#: The side of a picture, in pixels.
SIDE = 160


def page(evaluation: Evaluation, *, worst: int) -> str:
    """The whole page."""
    return _document(evaluation._head(), body(evaluation, worst=worst))


def comparison_page(comparison: Comparison, *, worst: int) -> str:
    """The table of models, then what each failed at."""
    parts = [html_table(comparison._columns(), comparison._rows())]
    for name, evaluation in zip(comparison.models, comparison.evaluations, strict=True):
        parts.append(f"<h2>{_text(name)}</h2>{body(evaluation, worst=worst)}")
    return _document(comparison._head(), "".join(parts))


def body(evaluation: Evaluation, *, worst: int) -> str:
    """Figures, confusions and failures."""
    parts = [f"<p>{_text(evaluation._head())}</p>", html_table(FIGURES, evaluation._rows())]
    parts += [f"<p>{_text(note)}</p>" for note in evaluation._notes()]
    if evaluation.confusions:
        parts.append(f"<h3>What was found instead</h3>{html_table(CONFUSIONS, evaluation._confused())}")
    failures = evaluation.failures()
    if failures:
        parts.append(f"<h3>The worst of {counted(len(failures), 'failure')}</h3>")
        parts += [_failure(evaluation.outcomes[i], evaluation._subjects.get(i)) for i in failures[:worst]]
    bar = float("inf") if evaluation.open_set is None else evaluation.open_set.threshold
    accepted = sorted((one for one in evaluation.unknown if one.score >= bar), key=lambda one: -one.score)
    if accepted:
        parts.append(f"<h3>{counted(len(accepted), 'unknown query', 'unknown queries')} accepted</h3>")
        parts += [_accepted(stranger) for stranger in accepted[:worst]]
    return "".join(parts)


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; everything is escaped."""
    style = 'style="text-align:left;padding:2px 14px 2px 0"'
    lines = ["".join(f"<th {style}>{_text(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td {style}>{_text(cell)}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _failure(outcome: Outcome, subject: Any) -> str:
    place = "not found" if outcome.rank is None else f"found at {outcome.rank}"
    right = " | ".join(outcome.items)
    return _row(
        _figure("query", outcome.query, _query(outcome.query, subject)),
        _figure(f"right, {place}{_score(outcome.score)}", right, _reference(outcome.reference)),
        _figure(
            f"instead{_score(outcome.wrong_score)}", outcome.wrong or "nothing", _reference(outcome.wrong_reference)
        ),
    )


def _accepted(stranger: Stranger) -> str:
    return _row(
        _figure("unknown", stranger.query, thumbnail(stranger.query, side=SIDE)),
        _figure(f"taken for{_score(stranger.score)}", stranger.item or "nothing", _reference(stranger.reference)),
    )


def _score(score: float | None) -> str:
    return "" if score is None else f", {score:.3f}"


def _reference(name: str | None) -> str:
    return thumbnail(name or "no reference", side=SIDE)


def _query(name: str, subject: Any) -> str:
    """The picture of a query; its name in a box if it is a text or cannot be shown."""
    if subject is None or isinstance(subject, (str, os.PathLike)):
        return thumbnail(name, side=SIDE)
    try:
        data = base64.b64encode(_core.thumbnail(subject, side=SIDE)).decode()
    except (OSError, TypeError, ValueError):
        return thumbnail(name, side=SIDE)
    style = f"display:block;width:{SIDE}px;height:{SIDE}px;object-fit:contain"
    return f'<img src="data:image/jpeg;base64,{data}" alt="{_text(name)}" style="{style}">'


def _figure(heading: str, name: str, picture: str) -> str:
    return (
        f'<figure style="width:{SIDE}px;margin:0;overflow-wrap:anywhere">{picture}'
        f'<figcaption style="font:12px/1.4 system-ui,sans-serif"><div style="opacity:.7">{_text(heading)}</div>'
        f"<b>{_text(name)}</b></figcaption></figure>"
    )


def _row(*figures: str) -> str:
    style = "display:flex;gap:14px;padding:10px 0;border-top:1px solid rgba(128,128,128,.3)"
    return f'<div style="{style}">{"".join(figures)}</div>'


def _document(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{_text(title)}</title>"
        "<style>body{font:15px/1.5 system-ui,sans-serif;max-width:72em;margin:2em auto;padding:0 1em}</style>"
        f"<h1>How good is the search?</h1>{content}</html>\n"
    )


def _text(text: str) -> str:
    return escape(printable(text), quote=True)
