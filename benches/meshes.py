"""How fast meshes are drawn, and how often parts, words and toys find the right ones.

    python benches/meshes.py [PARTS] [--mobilenet FILE] [--toys 60] [--first 1000] [--views 1 8 20] [--large 5000000]

PARTS is a folder of robots, each a folder of STL files that are named for their role: <robot>/visual/link_4.stl. The
parts of each robot are looked up among those of all others: the first five hits and the whole list (precision at 5,
mean average precision) are right where the role is the same. FILE is MobileNetV2 as ONNX, with the input pixel_values
and the output features: it sees 20 plain depth pictures of each part. Without PARTS, only speed and toys are measured.

Toys are known by the surface that ``plushie-search plush --stl`` writes, which has no colors: captions, with their
words for colors and without, the words of a species and rendered photos look them up, by the best view and by
``aggregate="softmax"``. They look up photos, as they are and less what eight other toys have in common. ``--large`` is
the number of triangles of one more file, whose time and memory are those of a process of its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

import plushie_search as ps
from plushie_search import _core
from plushie_search.meshes import render_views

Vectors = NDArray[np.float32]

#: The words of roles in Chinese.
CHINESE = {
    "base_link": "底座",
    "link_1": "连杆一",
    "link_2": "连杆二",
    "link_3": "连杆三",
    "link_4": "连杆四",
    "link_5": "连杆五",
    "link_6": "连杆六",
}
#: How words may be said to a model that reads them.
TEMPLATES: dict[Literal["en", "zh-Hans"], tuple[str, ...]] = {
    "en": ("{}", "a 3D model of {}"),
    "zh-Hans": ("{}", "{}的三维模型"),
}
#: The draws of the bootstrap, and how much the distance of shapes counts beside the cosine of views.
DRAWS = 2000
SHARES = (0.01, 0.03, 0.1, 0.2)
#: The scenes of photos.
SCENES: tuple[Literal["studio", "everyday"], ...] = ("studio", "everyday")

#: Toys that no photo shows, whose mean is taken from a surface that looks up photos.
OTHERS = range(5000, 5008)
#: The ways in which the views of a toy become its score.
AGGREGATES: tuple[Literal["max", "softmax"], ...] = ("max", "softmax")

#: Whether the words of names count, and the way.
NAMED: tuple[tuple[bool, Literal["max", "softmax"]], ...] = ((True, "max"), (False, "max"), (False, "softmax"))
#: That of ``aggregate="softmax"`` by default.
TEMPERATURE = 0.1

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


def large(triangles: int) -> None:
    """Prints the time and memory of a file of many triangles, in a process of its own."""
    program = """
import time
import plushie_search as ps
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 2**10 for line in status if line.startswith("VmHWM"))
before, start = peak(), time.process_time()
{call}
print(f"{{time.process_time() - start:.1f}} s of processor, {{peak() - before:.0f}} MB")
"""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.stl"
        path.write_bytes(torus(triangles // 2000, 1000))
        for what, call in (
            ("measured", f"ps.measure({str(path)!r})"),
            ("drawn from 20 sides", f"ps.render({str(path)!r}, views=20, threads=1)"),
        ):
            code = program.format(call=call)
            told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            size = path.stat().st_size / 2**20
            print(f"a file of {triangles} triangles ({size:.0f} MB) {what}: {told.strip()}")


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
        'mean, with aggregate="softmax"': softmax(means, np.concatenate([views, means[:, None]], axis=1)),
        "mean with mean": mean,
        "mean with best view": best,
        "mean with best view and mean": (best + mean) / 2,
        "best pair of views": pairs.max(axis=(1, 3)),
        "each view with its best": pairs.max(axis=3).mean(axis=1),
    }


def softmax(means: Vectors, references: Vectors) -> NDArray[np.float64]:
    """Returns the scores (n, n) of queries (n, dim) as catalogs do, each reference (n, v, dim) by its exponential."""
    cosines = np.einsum("id,jvd->ijv", means, references)
    weights = np.exp((cosines - cosines.max(axis=2, keepdims=True)) / TEMPERATURE)
    return np.asarray((weights * cosines).sum(axis=2) / weights.sum(axis=2), np.float64)


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


def average_precisions(scores: NDArray[Any], roles: NDArray[np.str_], robots: NDArray[np.str_]) -> NDArray[np.float64]:
    """Returns the average precision of each query that has at least five right ones."""
    found = []
    for row, (role, robot) in enumerate(zip(roles, robots, strict=True)):
        others = np.flatnonzero(robots != robot)
        right = (roles[others] == role)[np.argsort(-scores[row, others], kind="stable")]
        if right.sum() >= 5:
            found.append((np.cumsum(right) / np.arange(1, len(right) + 1))[right].mean())
    return np.array(found)


def compare(one: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Returns the mean difference with the interval of 95 % of a paired bootstrap."""
    draws = np.random.default_rng(0).integers(len(one), size=(DRAWS, len(one)))
    low, high = np.percentile((one - other)[draws].mean(axis=1), [2.5, 97.5])
    return f"{np.mean(one - other):+.3f} ({low:+.3f} to {high:+.3f})"


def silhouettes(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns pictures whose parts have one grey, without light."""
    seen = pictures.min(axis=-1, keepdims=True) < 250
    return np.broadcast_to(np.where(seen, 128, 255), pictures.shape).astype(np.uint8)


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
    lines += [(f"{model}, {count} views: mean with mean, less {w} of shape", fused - w * apart) for w in SHARES]
    best, catalog = scores["each view with its best"], scores["mean with best view or mean, as catalogs do"]
    names = render_views(paths[0], views=20, size=8)[0]
    for shading, drawn in (
        ("silhouettes", lambda path: silhouettes(ps.render(path, views=20))),
        ("depth", lambda path: depths(corners_of(path), names)),
    ):
        other = pooled(np.stack([encoder.encode_images(list(drawn(path))) for path in paths]))
        lines += [(f"{model}, 20 views as {shading}: {way}", other[way]) for way in list(other)[:1]]
    if network is not None:
        deep = np.stack([mobilenet(network, depths(corners_of(path), names)) for path in paths])
        lines += [(f"MobileNetV2, 20 depth views: {way}", found) for way, found in pooled(deep).items()]
        gray = np.stack([mobilenet(network, ps.render(path, views=20)) for path in paths])
        lines += [(f"MobileNetV2, 20 views as here: {way}", found) for way, found in pooled(gray).items()]
    print("| parts by parts | precision at 5 | mean average precision |\n| --- | --- | --- |")
    for name, found in lines:
        at_five, average, queries = figures(found, roles, robots)
        print(f"| {name} | {at_five:.3f} | {average:.3f} |")
    print(f"{queries} queries, {len(paths)} parts, {len(set(robots))} robots")
    gain = compare(*(average_precisions(one, roles, robots) for one in (best, catalog)))
    print(f"each view with its best, {count} views, against as catalogs do: {gain} of mean average precision")
    words(paths, roles, robots, model)


def words(paths: list[Path], roles: NDArray[np.str_], robots: NDArray[np.str_], model: str) -> None:
    """Prints how often a role's words find its parts, with the words of their names and by their views alone."""
    with tempfile.TemporaryDirectory() as work, ps.Engine(Path(work) / "c", model=model, views=8) as engine:
        ids = [f"{robot}/{role}" for role, robot in zip(roles, robots, strict=True)]
        for id, path in zip(ids, paths, strict=True):
            engine.add(id, images=[path])
        asked = {"en": {role: role.replace("_", " ") for role in CHINESE}, "zh-Hans": CHINESE}
        for language, said in asked.items():
            for template in TEMPLATES[language]:
                for named, aggregate in NAMED:
                    right = [
                        np.mean([hit.item.rpartition("/")[2] == role for hit in hits])
                        for role, text in said.items()
                        for hits in [engine.search_text(template.format(text), k=5, words=named, aggregate=aggregate)]
                    ]
                    how = "views and words of names" if named else f"views alone ({aggregate})"
                    print(f"{template!r} of a role → parts, 8 views, {how}: precision at 5 {np.mean(right):.3f}")
        share = np.mean([(roles == role).mean() for role in CHINESE])
        print(f"by chance {share:.3f}, {len(CHINESE)} roles")


def toys(count: int, first: int, model: str) -> None:
    """Prints how often words and photos find toys that are known by their surface alone, and these find photos."""
    plushes = [_core.Plush(seed) for seed in range(first, first + count)]
    species = [plush.attributes["species"] for plush in plushes]
    surfaces = [plush.stl() for plush in plushes]
    known = _core.plush_words()["species"]
    with tempfile.TemporaryDirectory() as work, ps.Engine(Path(work) / "c", model=model) as engine:
        for number, surface in enumerate(surfaces):
            engine.add(f"{number}", images=[surface])
        for language, templates in TEMPLATES.items():
            for template in templates:
                right = []
                for one in sorted(set(species)):
                    hits = engine.search_text(template.format(known[one][language]), k=min(5, species.count(one)))
                    right.append(np.mean([species[int(hit.item)] == one for hit in hits]))
                print(f"{template!r} of a species → {count} surfaces: precision at 5 {np.mean(right):.3f}")
            captions = [plush.caption(language) for plush in plushes]
            for name, asked in (("a caption", captions), ("without colors", without_colors(captions, language))):
                for aggregate in AGGREGATES:
                    answers = engine.search_text(asked, k=5, aggregate=aggregate)
                    found = [[hit.item for hit in hits] for hits in answers]
                    alike = np.mean([species[int(items[0])] == one for items, one in zip(found, species, strict=True)])
                    told = f"{places(found)}, first of its species {alike:.3f}"
                    print(f"{name} ({language}, {aggregate}) → {count} surfaces: {told}")
        for scene in SCENES:
            photos = [plush.render(view=5, scene=scene) for plush in plushes]
            for aggregate in AGGREGATES:
                found = [[hit.item for hit in hits] for hits in engine.search_image(photos, k=5, aggregate=aggregate)]
                print(f"a {scene} photo ({aggregate}) → {count} surfaces: {places(found)}")
    others = [(_core.Plush(seed).stl(), -1 / len(OTHERS)) for seed in OTHERS]
    for scene in SCENES:
        with tempfile.TemporaryDirectory() as work, ps.Engine(Path(work) / "c", model=model) as engine:
            for number, plush in enumerate(plushes):
                engine.add(f"{number}", images=[plush.render(view=view, scene=scene) for view in (5, 6, 7)])
            for name, taken in (("a surface", []), ("a surface less eight others", others)):
                queries = [ps.Query(image=[(surface, 1.0), *taken]) for surface in surfaces]
                found = [[hit.item for hit in engine.search(query, k=5)] for query in queries]
                print(f"{name} → {count} toys by three {scene} photos: {places(found)}")


def without_colors(captions: list[str], language: str) -> list[str]:
    """Returns captions without the words of colors, which no surface has."""
    colors = sorted((color[language] for color in _core.plush_words()["color"].values()), key=len, reverse=True)
    word = r"\b(?:{}) " if language == "en" else "(?:{})"
    return [re.sub(word.format("|".join(colors)), "", caption) for caption in captions]


def places(found: list[list[str]]) -> str:
    """Returns how often the right one is the first, and among five."""
    first = np.mean([items[0] == f"{number}" for number, items in enumerate(found)])
    five = np.mean([f"{number}" in items for number, items in enumerate(found)])
    return f"first {first:.3f}, among five {five:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", type=Path, nargs="?")
    parser.add_argument("--mobilenet", type=Path)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--toys", type=int, default=60)
    parser.add_argument("--first", type=int, default=1000, help="the seed of the first toy")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 8, 20])
    parser.add_argument("--large", type=int, metavar="TRIANGLES")
    options = parser.parse_args()
    speed()
    if options.large is not None:
        large(options.large)
    if options.parts is not None:
        parts(options.parts, options.views, options.mobilenet, options.model)
    toys(options.toys, options.first, options.model)


if __name__ == "__main__":
    main()
