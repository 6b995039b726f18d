"""Measures the cost of adding a picture, and the share of its thumbnail and its original.

    python benches/add.py [--pictures 200] [--repeats 5] [--model plushie-mini]

Prints the least milliseconds per picture of several rounds, in which the ways take turns.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import plushie_search as ps

#: Width, height and format.
KINDS = [(640, 480, "JPEG"), (1600, 1200, "JPEG"), (4000, 3000, "JPEG"), (640, 480, "PNG")]


def picture(seed: int, width: int, height: int, format: str) -> bytes:
    """Blurred noise: about as large a file as a photo."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (height // 16, width // 16, 3), np.uint8))
    fine = Image.fromarray(rng.integers(0, 255, (height // 2, width // 2, 3), np.uint8))
    sides = (width, height)
    file = io.BytesIO()
    Image.blend(coarse.resize(sides), fine.resize(sides), 0.04).save(file, format)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--threads", type=int, default=None)
    options = parser.parse_args()
    ways: dict[str, dict[str, Any]] = {
        "vectors alone": {"thumbnails": False, "media": False},
        "and thumbnails": {"thumbnails": True, "media": False},
        "and originals": {"thumbnails": True, "media": True},
    }
    for width, height, format in KINDS:
        count = max(options.pictures * 640 * 480 // (width * height), 40)
        with tempfile.TemporaryDirectory() as folder:
            for seed in range(count):
                path = Path(folder, "photos", f"{seed % 50}", f"{seed}.{format.lower()}")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture(seed, width, height, format))
            least = dict.fromkeys(ways, float("inf"))
            for round in range(options.repeats):
                for name, way in ways.items():
                    catalog = Path(folder, f"{name} {round}.catalog")
                    with ps.Engine(catalog, model=options.model, threads=options.threads, **way) as engine:
                        start = time.perf_counter()
                        report = engine.add_folder(Path(folder, "photos"))
                        least[name] = min(least[name], (time.perf_counter() - start) / count * 1e3)
                    assert (report.references, report.failed) == (count, [])
            size = (catalog / "thumbnails.sqlite").stat().st_size / count / 1e3
        figures = ", ".join(f"{name} {least[name]:.2f}" for name in ways)
        print(f"{format} {width}x{height}, ms per picture: {figures}; {size:.1f} kB per thumbnail")


if __name__ == "__main__":
    main()
