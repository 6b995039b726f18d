"""How fast meshes are drawn, and how often parts, words and toys find the right ones.

    python benches/meshes.py [PARTS] [--mobilenet FILE] [--toys 60] [--views 1 8 20]

PARTS is a folder of robots, each a folder of STL files that are named for their role: <robot>/visual/link_4.stl. The
parts of each robot are looked up among those of all others: the first five hits and the whole list (precision at 5,
mean average precision) are right where the role is the same. FILE is MobileNetV2 as ONNX, with the input pixel_values
and the output features: it sees 20 plain depth pictures of each part. Without PARTS, only speed and toys are measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import _core
from plushie_search.meshes import render_views

Vectors = NDArray[np.float32]

#: Points of a surface that a depth picture is made of, and its side.
POINTS, SIDE = 60_000, 224


def speed() -> None:
    """Prints how many models of 10,000 triangles one core draws in a second, and how long the largest file takes."""
    ring = torus(100, 50)
    for views in (1, 8, 20):
        rounds = max(1, 20 // views)
        ps.render(ring, views=views, threads=1)
        start = time.process_time()
        for _ in range(rounds):
            ps.render(ring, views=views, threads=1)
        rate = rounds / (time.process_time() - start)
        print(f"10,000 triangles, {views} views of 224 px: {rate:.1f} models per second and core")
    start = time.process_time()
    ps.measure(ring)
    print(f"geometry of 10,000 triangles: {1000 * (time.process_time() - start):.0f} ms")


def torus(around: int, across: int) -> bytes:
    """Returns the binary STL file of a torus of 2 * around * across triangles."""
    u, v = np.meshgrid(np.arange(around + 1), np.arange(across + 1), indexing="ij")
    a, b = 2 * np.pi * u / around, 2 * np.pi * v / across
    grid = np.stack([(2 + np.cos(b)) * np.cos(a), (2 + np.cos(b)) * np.sin(a), np.sin(b)], axis=-1)
    p, q, r, s = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    corners = np.concatenate([np.stack(three, axis=-2).reshape(-1, 3, 3) for three in ((p, q, r), (p, r, s))])
    rows = np.zeros(len(corners), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    rows["corners"] = corners
    return b"\0" * 80 + np.uint32(len(corners)).tobytes() + rows.tobytes()


def unit(rows: NDArray[Any]) -> Vectors:
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def pooled(views: Vectors) -> dict[str, NDArray[np.float64]]:
    """Returns the scores of all parts (n, n) of their views (n, v, dim), by each way of pooling."""
    means = unit(views.sum(axis=1))
    mean = means @ means.T
    best = np.einsum("id,jvd->ijv", means, views).max(axis=2)
    pairs = np.stack([(one @ views.reshape(-1, views.shape[2]).T).reshape(len(one), *views.shape[:2]) for one in views])
    return {
        "mean with best view or mean, as catalogs do": np.maximum(mean, best),
        "mean with mean": mean,
        "mean with best view": best,
        "mean with best view and mean": (best + mean) / 2,
        "best pair of views": pairs.max(axis=(1, 3)),
        "each view with its best": pairs.max(axis=3).mean(axis=1),
    }


def figures(scores: NDArray[Any], roles: NDArray[np.str_], robots: NDArray[np.str_]) -> tuple[float, float, int]:
    """Returns precision at 5, mean average precision and the number of queries whose role other robots have, too."""
    at_five, average = [], []
    for row, (role, robot) in enumerate(zip(roles, robots, strict=True)):
        others = np.flatnonzero(robots != robot)
        right = (roles[others] == role)[np.argsort(-scores[row, others], kind="stable")]
        if right.sum() >= 5:
            at_five.append(right[:5].mean())
            average.append((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())
    return float(np.mean(at_five)), float(np.mean(average)), len(at_five)


def depths(triangles: NDArray[np.float32], views: list[str]) -> NDArray[np.uint8]:
    """Returns depth pictures (v, side, side, 3) of points of a surface: near is bright, and the background black."""
    chance = np.random.default_rng(0)
    a, b, c = np.moveaxis(triangles.astype(np.float64), 1, 0)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    faces = chance.choice(len(areas), POINTS, p=areas / areas.sum())
    root, share = np.sqrt(chance.random((POINTS, 1))), chance.random((POINTS, 1))
    points = (1 - root) * a[faces] + root * (1 - share) * b[faces] + root * share * c[faces]
    points -= (points.min(axis=0) + points.max(axis=0)) / 2
    points /= np.linalg.norm(points, axis=1).max()
    pictures = np.zeros((len(views), SIDE, SIDE), np.float32)
    for picture, view in zip(pictures, views, strict=True):
        azimuth, elevation = np.radians([float(part) for part in view.removeprefix("view:").split(",")])
        back = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
        right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
        x, y, near = points @ right, points @ np.cross(back, right), points @ back
        column, row = ((0.5 + 0.4 * x) * SIDE).astype(int), ((0.5 - 0.4 * y) * SIDE).astype(int)
        for shift in ((0, 0), (0, 1), (1, 0), (1, 1)):
            np.maximum.at(picture, (row + shift[0], column + shift[1]), (0.6 + 0.4 * near).astype(np.float32))
    return np.repeat((pictures * 255).astype(np.uint8)[..., None], 3, axis=3)


def mobilenet(file: Path, pictures: NDArray[np.uint8]) -> Vectors:
    """Returns the unit vectors of pictures (n, 224, 224, 3)."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    pixels = ((pictures.astype(np.float32) - 127) * 0.0078431).transpose(0, 3, 1, 2)
    return unit(np.concatenate([session.run(["features"], {"pixel_values": one[None]})[0] for one in pixels]))


def corners_of(path: Path) -> NDArray[np.float32]:
    rows = np.frombuffer(path.read_bytes(), np.uint8, offset=84).reshape(-1, 50)
    return rows[:, 12:48].copy().view("<f4").reshape(-1, 3, 3)


def parts(folder: Path, counts: list[int], network: Path | None, model: str) -> None:
    """Prints how often parts of the same role are found."""
    paths = sorted(folder.rglob("visual/*.stl"))
    roles = np.array([path.stem for path in paths])
    robots = np.array([path.parent.parent.name for path in paths])
    encoder = ps.open_encoder(model)
    lines: list[tuple[str, NDArray[Any]]] = []
    shapes = [ps.measure(path) for path in paths]
    ratios = np.array([shape.ratios for shape in shapes])
    distances = np.array([shape.distances for shape in shapes])
    apart = np.linalg.norm(ratios[:, None] - ratios, axis=2) + np.linalg.norm(distances[:, None] - distances, axis=2)
    for count in counts:
        views = np.stack([encoder.encode_images(list(ps.render(path, views=count))) for path in paths])
        scores = pooled(views)
        lines += [(f"{model}, {count} views: {way}", found) for way, found in scores.items()]
    lines.append(("shape alone", -apart))
    fused = scores["mean with mean"]
    lines += [(f"{model}, {count} views: mean with mean, less {w} of shape", fused - w * apart) for w in (0.1, 0.2)]
    if network is not None:
        names = render_views(paths[0], views=20, size=8)[0]
        deep = np.stack([mobilenet(network, depths(corners_of(path), names)) for path in paths])
        lines += [(f"MobileNetV2, 20 depth views: {way}", found) for way, found in pooled(deep).items()]
        gray = np.stack([mobilenet(network, ps.render(path, views=20)) for path in paths])
        lines += [(f"MobileNetV2, 20 views as here: {way}", found) for way, found in pooled(gray).items()]
    print("| parts by parts | precision at 5 | mean average precision |\n| --- | --- | --- |")
    for name, found in lines:
        at_five, average, queries = figures(found, roles, robots)
        print(f"| {name} | {at_five:.3f} | {average:.3f} |")
    print(f"{queries} queries, {len(paths)} parts, {len(set(robots))} robots")
    words(paths, roles, robots, model)


def words(paths: list[Path], roles: NDArray[np.str_], robots: NDArray[np.str_], model: str) -> None:
    """Prints how often a role's words find its parts, whose names have them."""
    with tempfile.TemporaryDirectory() as work, ps.Engine(Path(work) / "c", model=model, views=8) as engine:
        ids = [f"{robot}/{role}" for role, robot in zip(roles, robots, strict=True)]
        for id, path in zip(ids, paths, strict=True):
            engine.add(id, images=[path])
        right = []
        for role in sorted(set(roles)):
            if (roles == role).sum() >= 5:
                hits = engine.search_text(role.replace("_", " "), k=5)
                right.append(np.mean([hit.item.rpartition("/")[2] == role for hit in hits]))
        print(f"words of a role → parts, 8 views: precision at 5 {np.mean(right):.3f} of {len(right)} roles")


def toys(count: int, model: str) -> None:
    """Prints how often the words of a species, and photos of a toy, find toys that are known by their surface alone."""
    plushes = [_core.Plush(seed) for seed in range(1000, 1000 + count)]
    species = [plush.attributes["species"] for plush in plushes]
    known = _core.plush_words()["species"]
    with tempfile.TemporaryDirectory() as work, ps.Engine(Path(work) / "c", model=model) as engine:
        for number, plush in enumerate(plushes):
            engine.add(f"{number}", images=[plush.stl()])
        for language in ("en", "zh-Hans"):
            right = []
            for one in sorted(set(species)):
                most = min(5, species.count(one))
                hits = engine.search_text(f"{known[one][language]}", k=most)
                right.append(np.mean([species[int(hit.item)] == one for hit in hits]))
            print(
                f"words of a species ({language}) → {count} toys by their surface: precision at 5 {np.mean(right):.3f}"
            )
        photos = [plush.render(view=5, scene="studio") for plush in plushes]
        found = [[hit.item for hit in hits] for hits in engine.search_image(photos, k=5)]
        first = np.mean([items[0] == f"{number}" for number, items in enumerate(found)])
        five = np.mean([f"{number}" in items for number, items in enumerate(found)])
        print(f"a product photo → {count} toys by their surface: first {first:.3f}, among five {five:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, nargs="?")
    parser.add_argument("--mobilenet", type=Path)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--toys", type=int, default=60)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 8, 20])
    options = parser.parse_args()
    speed()
    if options.parts is not None:
        parts(options.parts, options.views, options.mobilenet, options.model)
    toys(options.toys, options.model)


if __name__ == "__main__":
    main()
