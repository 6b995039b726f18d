"""File to pixel tensor, one thread: ours beside Pillow, interleaved in one run, in processor time.

python benches/preprocess.py [--repeats N] [picture ...]

Without pictures of yours it draws photograph-like JPEGs: noise with the spectrum of natural scenes and hard-edged
shapes, as dense in bytes as a camera's.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from plushie_search import _core

# Width, height, and the quality that makes them as dense as a camera's files: 0.15 to 0.2 bytes a pixel.
SIZES = [(500, 375, 85), (1280, 960, 85), (4000, 3000, 93)]
SIDE = 224
GRAIN = 1.5
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)


def noise(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Noise whose amplitude falls with frequency as in natural scenes seen through a lens; its deviation is 1."""
    fx, fy = np.fft.rfftfreq(width)[None, :], np.fft.fftfreq(height)[:, None]
    falloff = np.hypot(np.maximum(fx, 1 / width), fy).astype(np.float32) ** -1.5
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), dtype=np.float32)) * falloff
    plane = np.fft.irfft2(spectrum, s=(height, width))
    return plane / plane.std()


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Light and dark at full size, color at an eighth of it, then shapes, and a little grain on top."""
    rng = np.random.default_rng(seed)
    levels = []
    for _ in range(3):
        small = Image.fromarray(noise(width // 8, height // 8, rng).astype(np.float32))
        levels.append(np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)))
    light = noise(width, height, rng)
    colors = np.stack([128 + 48 * light + 16 * level for level in levels], axis=-1)
    image = Image.fromarray(np.clip(colors, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(24):
        x, y = rng.integers(0, width), rng.integers(0, height)
        radius = int(rng.integers(height // 40, height // 8))
        color = tuple(int(c) for c in rng.integers(0, 256, 3))
        draw.ellipse((x - radius, y - radius // 2, x + radius, y + radius // 2), fill=color)
    grain = rng.normal(0, GRAIN, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))


def pillow_pixels(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        image = file.convert("RGB")
    width, height = image.size
    short = min(width, height)
    width, height = (SIDE * width // short, SIDE * height // short)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    return np.asarray(image.crop((left, top, left + SIDE, top + SIDE)))


def pillow(path: Path) -> np.ndarray:
    pixels = pillow_pixels(path).astype(np.float32) / np.float32(255)
    return np.ascontiguousarray(((pixels - MEAN) / STD).transpose(2, 0, 1))


def ours(path: Path) -> np.ndarray:
    return _core.preprocess(path)


def times(repeats: int, path: Path, *calls: Callable[[Path], np.ndarray]) -> list[float]:
    """The median milliseconds of each, called by turns so that a busy moment of the machine meets them all."""
    for call in calls:
        call(path)
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, durations in zip(calls, taken, strict=True):
            start = time.thread_time()
            call(path)
            durations.append((time.thread_time() - start) * 1e3)
    return [statistics.median(durations) for durations in taken]


def report(path: Path, repeats: int) -> None:
    with Image.open(path) as file:
        width, height = file.size
    ours_ms, pillow_ms = times(repeats, path, ours, pillow)
    grey = (1 / 255, 1 / 255, 1 / 255)
    levels = _core.preprocess(path, mean=(0, 0, 0), std=grey).transpose(1, 2, 0)
    difference = np.abs(levels - pillow_pixels(path).astype(np.float32))
    print(
        f"{path.name:24} {width:5}x{height:<5} {path.stat().st_size / 1e3:8.0f} kB {ours_ms:9.2f} {pillow_ms:9.2f} "
        f"{pillow_ms / ours_ms:6.2f}x {difference.mean():9.3f} {difference.max():5.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=30)
    arguments = parser.parse_args()
    head = ("picture", "pixels", "file", "ours ms", "Pillow ms", "ratio", "mean diff", "max")
    print(f"{head[0]:24} {head[1]:^11} {head[2]:>11} {head[3]:>9} {head[4]:>9} {head[5]:>7} {head[6]:>9} {head[7]:>5}")
    with tempfile.TemporaryDirectory() as folder:
        paths = list(arguments.pictures)
        if not paths:
            for seed, (width, height, quality) in enumerate(SIZES):
                paths.append(Path(folder) / f"drawn-{width}x{height}.jpg")
                photograph(width, height, seed).save(paths[-1], quality=quality)
        for path in paths:
            report(path, arguments.repeats)


if __name__ == "__main__":
    main()
