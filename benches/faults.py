"""How well faults of products are told from good ones, by the anomaly of parts and by the plain cosine.

    python benches/faults.py [--toys 20] [--golden 5] [--size 320] [--shift 0] [--free]

Each toy of PlushBench is photographed by a fixed camera, under light that varies by 5 % and with the noise of a sensor.
Its golden samples are five such photos, and it is inspected in five more good ones and in one with each fault: an
accessory that has another color or is missing, an eye that is missing, a torn seam, a stain. Prints the area under the
ROC curve of each fault, over the photos of all toys, for the anomaly divided by its limit and for the cosine with the
nearest sample; and the verdicts. With ``--shift 4`` each photo is moved by up to four pixels. With ``--free`` each
shows the toy from another side, as photos by hand do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import _core

COLORS = ("red", "blue", "yellow", "green", "purple", "orange")
Pixels = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toys", type=int, default=20)
    parser.add_argument("--golden", type=int, default=5)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--shift", type=int, default=0)
    parser.add_argument("--free", action="store_true")
    options = parser.parse_args()
    dice = np.random.default_rng(0)
    scores: dict[str, list[tuple[float, float]]] = {}
    verdicts: dict[str, Counter[str]] = {}
    seconds = []
    camera = "free" if options.free else "fixed"
    with tempfile.TemporaryDirectory() as folder, ps.Engine(Path(folder, "c")) as engine:
        for seed in range(100, 100 + options.toys):
            toy = _core.Plush(seed)

            def view(number: int, seed: int = seed) -> int:
                return seed * 100 + (number if options.free else 0)

            golden = [
                taken(toy.render(size=options.size, view=view(number)), dice, options.shift)
                for number in range(options.golden)
            ]
            photos = [
                ("good", taken(toy.render(size=options.size, view=view(100 + number)), dice, options.shift))
                for number in range(5)
            ]
            for place, (name, make) in enumerate(FAULTS.items()):
                pixels = make(toy, view(200 + place), options.size, dice)
                if pixels is not None:
                    photos.append((name, taken(pixels, dice, options.shift)))
            begin = time.perf_counter()
            found: Any = engine.inspect([one for _, one in photos], golden=golden, threshold=0.5, camera=camera)
            seconds.append((time.perf_counter() - begin) / (len(photos) + len(golden)))
            for (name, _), one in zip(photos, found, strict=True):
                scores.setdefault(name, []).append((one.anomaly / one.limit, -one.nearest[0][1]))
                verdicts.setdefault(name, Counter())[one.verdict] += 1
    print(f"{options.toys} toys, {options.golden} golden samples, camera {camera}, shift {options.shift}\n")
    print("| fault | photos | AUROC of the anomaly | of the cosine | pass / review / fail |")
    print("| --- | --- | --- | --- | --- |")
    for name, values in scores.items():
        areas = [area([one[at] for one in scores["good"]], [one[at] for one in values]) for at in (0, 1)]
        shown = ["", ""] if name == "good" else [f"{one:.3f}" for one in areas]
        said = " / ".join(str(verdicts[name][verdict]) for verdict in ("pass", "review", "fail"))
        print(f"| {name} | {len(values)} | {shown[0]} | {shown[1]} | {said} |")
    print(f"\n{1000 * np.median(seconds):.0f} ms for a photo, golden samples included")


def taken(pixels: Pixels, dice: np.random.Generator, shift: int) -> Pixels:
    """Returns a picture under light that varies by 5 %, with the noise of a sensor, moved by some pixels."""
    pixels = np.roll(pixels, dice.integers(-shift, shift + 1, 2), axis=(0, 1))
    light = dice.uniform(0.95, 1.05)
    return np.clip(pixels * light + dice.normal(0, 2, pixels.shape), 0, 255).astype(np.uint8)


def area(good: list[float], bad: list[float]) -> float:
    """Returns the area under the ROC curve: how often a bad one has a higher score than a good one."""
    return float(np.mean([(one > other) + 0.5 * (one == other) for one in bad for other in good]))


def recolored(toy: Any, view: int, size: int, dice: np.random.Generator) -> Pixels | None:
    worn = [dict(one) for one in toy.attributes["accessories"]]
    if not worn:
        return None
    one = worn[dice.integers(len(worn))]
    one["color"] = str(dice.choice([color for color in COLORS if color != one["color"]]))
    return changed(toy, accessories=worn).render(size=size, view=view)


def missing_part(toy: Any, view: int, size: int, dice: np.random.Generator) -> Pixels | None:
    worn = list(toy.attributes["accessories"])
    if not worn:
        return None
    del worn[dice.integers(len(worn))]
    return changed(toy, accessories=worn).render(size=size, view=view)


def missing_eye(toy: Any, view: int, size: int, dice: np.random.Generator) -> Pixels | None:
    """Covers one eye with the color around it: eyes are where toys with other eyes differ."""
    pixels = toy.render(size=size, view=view)
    other = "green" if toy.attributes["eyes"] != "green" else "blue"
    differs = np.abs(pixels.astype(int) - changed(toy, eyes=other).render(size=size, view=view)).max(-1) > 24
    if not differs.any():
        return None
    y, x = np.argwhere(differs)[0]
    reach = size // 16
    near = np.zeros_like(differs)
    near[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = True
    eye = grown(differs & near, size // 100)
    around = grown(eye, size // 60) & ~eye & (toy.cutout(size=size, view=view)[..., 3] > 127)
    if not around.any():
        return None
    pixels[eye] = np.median(pixels[around], axis=0)
    return pixels


def stain(toy: Any, view: int, size: int, dice: np.random.Generator) -> Pixels | None:
    pixels = toy.render(size=size, view=view)
    y, x, on = place(toy, view, size, dice)
    rows, columns = np.mgrid[:size, :size]
    cover = np.clip(1.5 - np.hypot(rows - y, columns - x) / (size * dice.uniform(0.03, 0.05)), 0, 1) * 0.7 * on
    return (pixels * (1 - cover[..., None]) + np.array([90, 60, 30]) * cover[..., None]).astype(np.uint8)


def torn_seam(toy: Any, view: int, size: int, dice: np.random.Generator) -> Pixels | None:
    """Draws an open seam with white stuffing in it."""
    pixels = toy.render(size=size, view=view)
    y, x, on = place(toy, view, size, dice)
    angle, length = dice.uniform(0, np.pi), size * dice.uniform(0.08, 0.14)
    along = np.linspace(-length / 2, length / 2, int(3 * length))
    sway = 3 * np.sin(along / 3)
    line = np.zeros_like(on)
    down = (y + along * np.sin(angle) + sway * np.cos(angle)).astype(int).clip(0, size - 1)
    across = (x + along * np.cos(angle) - sway * np.sin(angle)).astype(int).clip(0, size - 1)
    line[down, across] = True
    pixels[grown(line, 3) & on] = (40, 30, 30)
    pixels[grown(line, 1) & on] = (240, 238, 230)
    return pixels


FAULTS = {
    "another color": recolored,
    "missing accessory": missing_part,
    "missing eye": missing_eye,
    "torn seam": torn_seam,
    "stain": stain,
}


def changed(toy: Any, **attributes: Any) -> Any:
    """Returns the same toy with other attributes."""
    return _core.Plush.with_attributes(toy.seed, {**toy.attributes, **attributes})


def place(toy: Any, view: int, size: int, dice: np.random.Generator) -> tuple[int, int, NDArray[np.bool_]]:
    """Returns a place on the toy, and where the toy is."""
    on = toy.cutout(size=size, view=view)[..., 3] > 127
    y, x = dice.choice(np.argwhere(on))
    return int(y), int(x), on


def grown(mask: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """Returns a mask that is larger by some pixels on each side."""
    padded = np.pad(mask, reach)
    height, width = mask.shape
    return np.any(
        [padded[y : y + height, x : x + width] for y in range(2 * reach + 1) for x in range(2 * reach + 1)], axis=0
    )


if __name__ == "__main__":
    main()
