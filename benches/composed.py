"""How often "this one, but in blue" finds the right toy: a photo of one toy, and words that ask for another color.

    python benches/composed.py [--model plushie-mini] [--items 60]

Every toy is photographed at home and asked for in each other color in which the collection has its species: "a blue
bear". A hit is right if it has that color and species. Beside that, each photo is asked with words that fit its own
toy, which must be first. Prints both shares by fusion and weight of the picture, and those of words and picture alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import plushie_search as ps
from plushie_search import _core
from plushie_search.plush.pictures import write_plushes

WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--items", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ps.Engine(Path(folder, "c"), model=options.model) as engine:
        toys = write_plushes(Path(folder, "toys"), seeds=range(1, options.items + 1), views=2, side=320)
        pictures = [[Path(folder, "toys", image) for image in toy["images"]] for toy in toys]
        engine.add_items([ps.ItemDraft(toy["id"], own) for toy, own in zip(toys, pictures, strict=True)])
        seeds = [toy["metadata"]["seed"] for toy in toys]
        photos = _core.render_plushes(seeds, [10**9 + seed for seed in seeds], size=320, scene="everyday", threads=None)
        kinds = [(toy["metadata"]["color"], toy["label"]) for toy in toys]
        of = {toy["id"]: kind for toy, kind in zip(toys, kinds, strict=True)}
        asked = sorted(
            (number, kind)
            for number, own in enumerate(kinds)
            for kind in set(kinds)
            if kind[1] == own[1] and kind[0] != own[0]
        )
        words = [said(kind) for _, kind in asked]
        seen = [photos[number] for number, _ in asked]
        own_words = [said(kind) for kind in kinds]
        print(f"{len(asked)} photos with words for another color, {len(toys)} with words for their own toy\n")
        print("| fusion | picture's weight | another color | its own toy |\n| --- | --- | --- | --- |")
        row(
            "words alone", "", first(engine.search_text(words, k=1, words=False), [kind for _, kind in asked], of), None
        )
        alone = engine.search_image(photos, k=1)
        row(
            "picture alone", "", None, share([hits[0].item == toy["id"] for hits, toy in zip(alone, toys, strict=True)])
        )
        for fusion in ("weighted", "sum", "rrf", "dbsf"):
            for weight in WEIGHTS:
                how: Any = {"k": 1, "fusion": fusion, "image_weight": weight}
                other = first(engine.search_hybrid(seen, words, **how), [kind for _, kind in asked], of)
                agreeing = engine.search_hybrid(photos, own_words, **how)
                right = [hits[0].item == toy["id"] for hits, toy in zip(agreeing, toys, strict=True)]
                row(fusion, str(weight), other, share(right))


def said(kind: tuple[str, str]) -> str:
    return f"a {kind[0]} {kind[1]}".replace("_", " ")


def first(answers: Any, asked: list[tuple[str, str]], of: dict[str, tuple[str, str]]) -> float:
    return share([of[hits[0].item] == kind for hits, kind in zip(answers, asked, strict=True)])


def share(right: list[bool]) -> float:
    return sum(right) / len(right)


def row(fusion: str, weight: str, other: float | None, own: float | None) -> None:
    cells = ["" if figure is None else f"{figure:.3f}" for figure in (other, own)]
    print(f"| {fusion} | {weight} | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
