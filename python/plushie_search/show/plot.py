"""A page with a table and a plot, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

#: Width, height and margin of the plot, in pixels.
WIDTH, HEIGHT, MARGIN = 640, 400, 64
STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:44em;margin:2em auto;padding:0 1em;color:#222;background:#fff}"
    "table{border-collapse:collapse}td{padding:.2em 1em .2em 0;border-bottom:1px solid #ddd}"
    "svg{width:100%;height:auto;margin-top:1.5em}text{font:12px system-ui,sans-serif;fill:#444}"
)


def plot_page(
    title: str, rows: Sequence[tuple[str, str]], points: Sequence[tuple[float, float, str]], x_name: str, y_name: str
) -> str:
    """Returns a page of HTML that needs nothing else.

    Args:
        title: Its title.
        rows: A table of names and values.
        points: Points of the plot: x, y, which is above 0 and drawn on a logarithmic scale, and a label.
        x_name, y_name: Names of the axes.
    """
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><h1>{escape(title)}</h1><table>{cells}</table>"
        f"{plot(points, x_name, y_name)}</body></html>\n"
    )


def plot(points: Sequence[tuple[float, float, str]], x_name: str, y_name: str) -> str:
    """Returns an SVG of points that a line joins in their order; an empty text if there is none."""
    drawn = [(x, y, label) for x, y, label in points if math.isfinite(x) and math.isfinite(y) and y > 0]
    if not drawn:
        return ""
    low, high = min(x for x, _, _ in drawn), max(x for x, _, _ in drawn)
    low, high = (low - 0.05, high + 0.05) if low == high else (low, high)
    bottom = math.floor(math.log10(min(y for _, y, _ in drawn)))
    top = max(math.ceil(math.log10(max(y for _, y, _ in drawn))), bottom + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        across = MARGIN + (x - low) / (high - low) * (WIDTH - 2 * MARGIN)
        return across, HEIGHT - MARGIN - (math.log10(y) - bottom) / (top - bottom) * (HEIGHT - 2 * MARGIN)

    parts = []
    for power in range(bottom, top + 1):
        _, y = place(low, 10.0**power)
        parts.append(f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:,g}</text>')
    for step in range(6):
        value = low + step / 5 * (high - low)
        x, _ = place(value, 10.0**bottom)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - MARGIN + 20}" text-anchor="middle">{value:.3f}</text>')
    places = [(*place(x, y), label) for x, y, label in drawn]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#2563eb" stroke-width="2"/>')
    for x, y, label in places:
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="#2563eb"><title>{escape(label)}</title></circle>')
        parts.append(f'<text x="{x + 7:.1f}" y="{y - 7:.1f}">{escape(label)}</text>')
    middle = f'<text x="{WIDTH / 2}" y="{HEIGHT - 16}" text-anchor="middle">{escape(x_name)}</text>'
    turned = f'transform="rotate(-90 16 {HEIGHT / 2})"'
    side = f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" {turned}>{escape(y_name)}</text>'
    name = escape(f"{y_name} against {x_name}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{"".join(parts)}{middle}{side}</svg>'
