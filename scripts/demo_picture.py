"""Draws the first screen of the demo's page for the README, and writes down the facts that it shows.

    python scripts/demo_picture.py docs/demo.jpg docs/demo.json

Runs the demo with the built-in model and draws the first answers with Pillow alone, so that the same demo gives the
same picture on every machine. A test compares the facts with the demo of today: the model, the figures, the
hits and their scores, and the SHA-256 of the picture that belongs to them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from plushie_search import demo

#: How many answers are drawn: those in English, whose letters Pillow's own font has.
ANSWERS = 3
MARGIN, PAD, GAP = 32, 20, 14
SIDE, QUERY, HITS = 168, 190, 5
HEAD, CARD = 112, SIDE + 76
ROW = CARD + 2 * PAD
WIDTH = 2 * (MARGIN + PAD) + QUERY + PAD + HITS * (SIDE + 16) + (HITS - 1) * GAP
PAPER, WHITE, INK, GREY, ROSE, GREEN, LINE = "#fbf7f4", "#ffffff", "#2d2328", "#7d7478", "#c2476a", "#2e9e6b", "#dcd6d3"


def facts(shown: demo.Demo) -> dict[str, Any]:
    """The contents of the picture, with scores as it writes them."""
    return {
        "model": shown.model,
        "fingerprint": shown.fingerprint,
        "items": shown.items,
        "references": shown.references,
        "figures": list(shown.figures),
        "answers": [
            {
                "title": answer.question.title,
                "asked": answer.question.text or (answer.question.image or Path()).name,
                "hits": [
                    {"item": hit.item, "score": round(hit.score, 2), "right": hit.item in answer.question.right}
                    for hit in answer.hits
                ],
            }
            for answer in shown.answers[:ANSWERS]
        ],
    }


def draw(shown: demo.Demo) -> Image.Image:
    """The heading, and a row for each answer: the query, then its hits with their scores."""
    sheet = Image.new("RGB", (WIDTH, HEAD + ANSWERS * (ROW + GAP) + MARGIN - GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 24), "Find the right plush", INK, font(34))
    size = f"{shown.items} plush toys, {shown.references} pictures, all rendered; model: {shown.model}"
    pen.text((MARGIN, 70), f"{size}; {shown.figures[0]}", GREY, font(16))
    for number, (answer, told) in enumerate(zip(shown.answers, facts(shown)["answers"], strict=False)):
        top = HEAD + number * (ROW + GAP)
        pen.rounded_rectangle((MARGIN, top, WIDTH - MARGIN, top + ROW), 16, WHITE)
        left, top = MARGIN + PAD, top + PAD
        pen.text((left, top), told["title"].upper(), ROSE, font(13))
        if answer.question.image is None:
            pen.multiline_text((left, top + 28), folded(f'"{told["asked"]}"', QUERY, 20), INK, font(20), spacing=6)
        else:
            paste(sheet, answer.question.image, left, top + 24)
        left += QUERY + PAD
        for rank, (hit, words) in enumerate(zip(answer.hits, told["hits"], strict=True), 1):
            box = (left, top, left + SIDE + 16, top + CARD)
            right = words["right"]
            pen.rounded_rectangle(box, 10, outline=GREEN if right else LINE, width=3 if right else 1)
            paste(sheet, Path(hit.reference), left + 8, top + 8)
            pen.text((left + 8, top + SIDE + 16), f"{rank}. {words['item']}", INK, font(14))
            pen.text((left + 8, top + SIDE + 36), f"{words['score']:.2f}", GREY, font(14))
            if right:
                x, y = left + SIDE - 8, top + SIDE + 44
                pen.line(((x - 6, y), (x - 1, y + 5), (x + 8, y - 8)), GREEN, 3, joint="curve")
            pen.rounded_rectangle((left + 8, top + CARD - 17, left + 8 + SIDE, top + CARD - 12), 2, LINE)
            long = round(SIDE * min(max(hit.score, 0.0), 1.0))
            pen.rounded_rectangle((left + 8, top + CARD - 17, left + 8 + long, top + CARD - 12), 2, "#d9738d")
            left += SIDE + 16 + GAP
    return sheet


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def folded(text: str, width: int, size: int) -> str:
    """The text in lines of at most ``width`` pixels."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def paste(sheet: Image.Image, path: Path, left: int, top: int) -> None:
    """The picture, in a square with round corners."""
    with Image.open(path) as picture:
        square = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    mask = Image.new("L", square.size)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, SIDE - 1, SIDE - 1), 8, 255)
    sheet.paste(square, (left, top), mask)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="the JPEG file to write")
    parser.add_argument("facts", type=Path, help="the JSON file to write")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="demo-picture-") as directory:
        shown = demo.run(Path(directory))
        draw(shown).save(given.picture, quality=88, optimize=True)
        digest = hashlib.sha256(given.picture.read_bytes()).hexdigest()
        told = json.dumps({**facts(shown), "picture": digest}, indent=2, ensure_ascii=False)
    given.facts.write_text(f"{told}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
