"""Copies of meshes, and how their geometry is told to be related."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from solids import Triangles, box, bracket, stl, subdivided, threemf, torus, turned

import plushie_search as ps

MIRROR = np.float32([-1, 1, 1])


def reduced(triangles: Triangles) -> Triangles:
    """The mesh with corners on a grid of a fiftieth of its size, as after a coarse export."""
    step = np.ptp(triangles.reshape(-1, 3)) / 150
    return (np.round(triangles / step) * step).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "expected", "scale"),
    [
        (lambda part: part, "same geometry", 1),
        (turned, "same geometry", 1),
        (lambda part: part[::-1].copy(), "same geometry", 1),
        (lambda part: subdivided(subdivided(part)), "same geometry", 1),
        (lambda part: part * np.float32(25.4), "scaled", 25.4),
        (lambda part: turned(part * np.float32(0.5), 3), "scaled", 0.5),
        (lambda part: (part * MIRROR)[:, ::-1], "mirrored", 1),
        (lambda part: turned(part * MIRROR * np.float32(2), 5), "mirrored", 2),
        (reduced, "re-meshed", 1),
        (lambda part: part * np.float32([1.1, 1, 1]), None, 1),
    ],
)
def test_copies_are_told(change: Callable[[Triangles], Triangles], expected: str | None, scale: float) -> None:
    own, other = ps.measure(stl(bracket())), ps.measure(stl(change(bracket())))
    assert own.relation(other) == expected == other.relation(own)
    if expected is not None:
        assert own.scale(other) == pytest.approx(scale, rel=0.02)


def test_other_parts_are_not_related() -> None:
    parts = [bracket(), bracket(2.2), box(1, 2, 3), box(1, 1, 1), torus(2, 0.5), torus(2, 0.9)]
    shapes = [ps.measure(stl(part)) for part in parts]
    related = [(i, j) for i in range(len(parts)) for j in range(i) if shapes[i].relation(shapes[j])]
    assert related == []


def test_a_part_that_is_its_own_mirror_image_has_no_hand() -> None:
    assert [ps.measure(stl(part)).hand for part in (box(1, 2, 3), torus(2, 0.5))] == [0, 0]
    assert {ps.measure(stl(turned(bracket(), seed))).hand for seed in range(5)} != {0}


def test_duplicates_of_a_catalog_are_classed_by_geometry(tmp_path: Path) -> None:
    part = bracket()
    files = {
        "own": stl(part),
        "copy": stl(part),
        "moved": stl(turned(part, 1)),
        "inches": threemf(turned(part, 2), "inch"),
        "mirrored": stl(part * MIRROR),
        "other": stl(torus(2, 0.5)),
    }
    for name, data in files.items():
        (tmp_path / f"{name}.{'3mf' if name == 'inches' else 'stl'}").write_bytes(data)
    with ps.Engine(tmp_path / "c", views=3) as engine:
        report = engine.add_folder(tmp_path)
        assert (report.items, report.references, report.failed) == (6, 24, [])
        found = engine.duplicates()
        kinds = {frozenset((one.first.item, one.second.item)): one for one in found if one.kind != "look-alike"}
        assert kinds[frozenset(("own", "copy"))].kind == "same bytes"
        assert kinds[frozenset(("own", "moved"))].kind == "same geometry"
        inches = kinds[frozenset(("own", "inches"))]
        assert inches.kind == "scaled"
        assert {round(inches.scale or 0, 2), round(1 / (inches.scale or 1), 2)} & {25.4}
        assert kinds[frozenset(("own", "mirrored"))].kind == "mirrored"
        assert all("other" not in pair for pair in kinds)
        # Views of one mesh are no duplicates of each other.
        assert all(len(pair) == 2 for pair in kinds)
        (tmp_path / "moved.stl").unlink()
        pairs = [(one.kind, one.first.item, one.second.item) for one in engine.duplicates().of("same geometry")]
        assert all("moved" not in pair for pair in pairs)
