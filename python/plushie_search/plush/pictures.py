"""Plush toys as picture files, with descriptions that can be added to a catalog."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import _core
from ..searcher import Progress

#: The number of plushes that are rendered at once.
BATCH = 32

Toy = dict[str, Any]


def write_plushes(
    directory: Path,
    *,
    seeds: Sequence[int],
    views: int = 1,
    side: int = 224,
    stl: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Toy]:
    """Renders each seed's plush to ``directory/<plush>/<view>.jpg`` and describes all in ``directory/plushes.jsonl``.

    With ``stl`` the surface of each is written to ``directory/<plush>.stl``, too.

    Returns the descriptions, which `plushie-search add` reads: id, images, label, text in English, and its attributes
    and Chinese captions as metadata.
    """
    toys = [_toy(seed, views) for seed in seeds]
    directory.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(toys), BATCH):
        batch = toys[start : start + BATCH]
        if progress is not None:
            progress(start, len(toys), batch[0]["id"])
        shots = [(toy["metadata"]["seed"], view) for toy in batch for view in range(views)]
        pictures = _core.render_plushes(
            [seed for seed, _ in shots],
            [(seed * 100 + view) % 2**63 for seed, view in shots],
            size=side,
            scene="studio",
            threads=threads,
        )
        paths = [directory / image for toy in batch for image in toy["images"]]
        for path, picture in zip(paths, pictures, strict=True):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(_core.thumbnail(picture, side=side))
        if stl:
            for toy in batch:
                (directory / f"{toy['id']}.stl").write_bytes(_core.Plush(toy["metadata"]["seed"]).stl())
    if progress is not None:
        progress(len(toys), len(toys), "")
    lines = (json.dumps(toy, ensure_ascii=False) + "\n" for toy in toys)
    (directory / "plushes.jsonl").write_text("".join(lines), encoding="utf-8")
    return toys


def _toy(seed: int, views: int) -> Toy:
    plush = _core.Plush(seed)
    attributes = plush.attributes
    id = f"{attributes['color']}-{attributes['species']}-{seed}".replace("_", "-")
    return {
        "id": id,
        "images": [f"{id}/{view + 1}.jpg" for view in range(views)],
        "label": attributes["species"],
        "text": plush.caption("en"),
        "metadata": {
            "color": attributes["color"],
            "wears": [f"{one['color']} {one['kind']}" for one in attributes["accessories"]],
            **{name: attributes[name] for name in ("pattern", "second_color", "pose", "fur", "eyes", "wear")},
            "seed": seed,
            "zh-Hans": plush.caption("zh-Hans"),
            "zh-Hant": plush.caption("zh-Hant"),
        },
    }
