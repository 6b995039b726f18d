"""Says in a sentence why an item matches, in English and Chinese."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..._core import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .parts import HeatMap, RunnerUp
    from .words import WordPart

Language = Literal["en", "zh"]

#: Names of places in a picture.
PLACES = {
    "whole": ("the whole", "整幅图"),
    "center": ("the center", "中部"),
    "top": ("the top", "上部"),
    "bottom": ("the bottom", "下部"),
    "left": ("the left", "左侧"),
    "right": ("the right", "右侧"),
    "upper left": ("the upper left", "左上部"),
    "upper right": ("the upper right", "右上部"),
    "lower left": ("the lower left", "左下部"),
    "lower right": ("the lower right", "右下部"),
}


def sentence(
    item: str,
    score: float,
    *,
    query: HeatMap | None,
    matched: HeatMap | None,
    words: Sequence[WordPart],
    runner_up: RunnerUp | None,
    language: Language,
) -> str:
    """Returns an explanation in words.

    Raises:
        ArgumentError: The language is neither ``"en"`` nor ``"zh"``.
    """
    if language not in ("en", "zh"):
        raise ArgumentError(f'language {language!r}: give "en" or "zh"')
    told = [(part.word, part.value) for part in words if abs(part.value) >= 0.005]
    if language == "zh":
        return "".join(_chinese(item, score, query, matched, told, runner_up))
    return " ".join(_english(item, score, query, matched, told, runner_up))


def _english(
    item: str,
    score: float,
    query: HeatMap | None,
    matched: HeatMap | None,
    words: Sequence[tuple[str, float]],
    other: RunnerUp | None,
) -> list[str]:
    said = [f"{item} matches with the score {score:.2f}."]
    for side, whose in ((query, "the query's picture"), (matched, "the reference")):
        if side is None:
            continue
        if not side.regions:
            said.append(f"No part of {whose} stands out.")
            continue
        first = side.regions[0]
        said.append(f"In {whose}, {PLACES[first.place][0]} counts most: {first.share:.0%} of the heat map.")
    if words:
        said.append(f"Parts of the words: {', '.join(f'{word} ({value:+.2f})' for word, value in words)}.")
    if other is not None:
        said.append(f"The next item is {other.item} with {other.score:.2f}")
        where = [PLACES[region.place][0] for region in other.regions[:2]]
        speak = "speak" if len(where) > 1 else "speaks"
        said[-1] += f"; {' and '.join(where)} of the query's picture {speak} against it." if where else "."
    return said


def _chinese(
    item: str,
    score: float,
    query: HeatMap | None,
    matched: HeatMap | None,
    words: Sequence[tuple[str, float]],
    other: RunnerUp | None,
) -> list[str]:
    said = [f"{item} 的匹配分数为 {score:.2f}。"]
    for side, whose in ((query, "查询图片"), (matched, "参考图片")):
        if side is None:
            continue
        if not side.regions:
            said.append(f"{whose}中没有特别突出的部分。")
            continue
        first = side.regions[0]
        said.append(f"{whose}中最重要的是{PLACES[first.place][1]},占热图的 {first.share:.0%}。")
    if words:
        said.append(f"各词的作用:{'、'.join(f'{word}({value:+.2f})' for word, value in words)}。")
    if other is not None:
        where = [PLACES[region.place][1] for region in other.regions[:2]]
        against = f",查询图片的{'和'.join(where)}与它不同" if where else ""
        said.append(f"其次是 {other.item},分数为 {other.score:.2f}{against}。")
    return said
