"""Files of 3D models in five formats, compared with the triangles that they were written from, and with trimesh."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from solids import FORMATS, Triangles, bracket, obj, ply, stl, threemf, torus

import plushie_search as ps


@pytest.mark.parametrize("ending", FORMATS)
def test_all_formats_hold_the_same_part(ending: str) -> None:
    part = bracket()
    shape, own = ps.measure(FORMATS[ending](part)), ps.measure(stl(part))
    assert shape.triangles == len(part)
    assert shape.size == pytest.approx(np.ptp(part.reshape(-1, 3), axis=0), rel=1e-5)
    assert own.relation(shape) == "same geometry"
    assert np.abs(ps.render(FORMATS[ending](part), views=2).astype(int) - ps.render(stl(part), views=2)).max() <= 8


@pytest.mark.parametrize("ending", FORMATS)
def test_trimesh_measures_the_same(ending: str, tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    if ending == "3mf":
        pytest.importorskip("lxml")
        pytest.importorskip("networkx")
    path = tmp_path / f"part.{ending}"
    path.write_bytes(FORMATS[ending](torus(2, 0.5)))
    theirs, own = trimesh.load(path, force="mesh"), ps.measure(path)
    assert own.triangles == len(theirs.faces)
    assert own.area == pytest.approx(theirs.area, rel=1e-5)
    assert own.volume == pytest.approx(theirs.volume, rel=1e-4)


def test_inches_of_3mf_are_millimeters() -> None:
    part = torus(2, 0.5)
    assert ps.measure(threemf(part, "inch")).size == pytest.approx(np.multiply(ps.measure(stl(part)).size, 25.4))


def replaced(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def zipped(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


SMALL = torus(2, 0.5, 6, 4)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "bytes are too few for a mesh"),
        (stl(SMALL)[:-10], "cut off"),
        (stl(SMALL * np.float32(np.nan)), "not finite"),
        (stl(SMALL * 0), "no triangle has an area"),
        (replaced(obj(SMALL), b"f 1 2 3", b"f 1 2 999"), "the corner 999"),
        (replaced(ply(SMALL), b"element vertex 144", b"element vertex 4000000000"), "counts wrongly"),
        (zipped({"3D/3dmodel.model": b"<model><build/></model>"}), "builds no object"),
        (zipped({"3D/3dmodel.model": b" " * (30 << 20)}), "unpacks to more than"),
        (b"\x89PNG\r\n\x1a\n", "too few"),
    ],
)
def test_says_what_is_wrong_with_a_file(data: bytes, told: str) -> None:
    with pytest.raises(ps.PictureError, match=told):
        ps.measure(data)


@pytest.mark.parametrize("ending", FORMATS)
def test_damaged_files_never_crash(ending: str) -> None:
    whole, chance = FORMATS[ending](SMALL), np.random.default_rng(0)
    for _ in range(60):
        data = np.frombuffer(whole, np.uint8).copy()
        places = chance.integers(len(data), size=chance.integers(1, 6))
        data[places] = chance.integers(256, size=len(places))
        with contextlib.suppress(ps.PictureError):
            ps.measure(data[: chance.integers(1, len(data) + 1)].tobytes())


def test_what_is_left_out_and_what_is_missing_is_told() -> None:
    whole = bracket()
    assert ps.measure(stl(torus(2, 0.5))).notes == ()
    flat, infinite = whole[:2].copy(), whole[:1].copy()
    flat[:, 1] = flat[:, 0]
    infinite[0, 2, 1] = np.inf
    shape = ps.measure(stl(np.concatenate([whole, flat, infinite])))
    assert shape.triangles == len(whole)
    assert shape.area == pytest.approx(ps.measure(stl(whole)).area)
    told = ("2 triangles without an area left out", "1 triangle with a coordinate that is not finite left out")
    assert shape.notes == told
    ring = torus(2, 0.5)
    assert ps.measure(stl(ring[1:])).notes == ("3 edges belong to one triangle alone: the surface is open",)
    assert ps.measure(stl(ring[:, ::-1])).notes == ("the faces look inwards: the volume is negative",)
    turned = ring.copy()
    turned[0] = turned[0, ::-1]
    assert ps.measure(stl(turned)).notes[0] == "3 edges lie between faces that look to different sides"
    twice = ps.measure(stl(np.concatenate([ring, ring[:1]])))
    assert twice.notes[0].startswith("3 edges belong to more than two triangles")


def test_edges_are_those_of_trimesh() -> None:
    trimesh = pytest.importorskip("trimesh")
    chance = np.random.default_rng(0)
    ring = torus(2, 0.5, 12, 8)
    for _ in range(5):
        part = ring[chance.random(len(ring)) < 0.8]
        edges = trimesh.Trimesh(*_welded(part), process=False).edges_sorted
        counts = np.unique(edges, axis=0, return_counts=True)[1]
        assert ps.measure(stl(part)).notes[0].startswith(f"{(counts == 1).sum()} edges belong to one triangle alone")


def _welded(triangles: Triangles) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    step = np.ptp(triangles.reshape(-1, 3), axis=0).max() * 1e-6
    corners, places = np.unique(np.round(triangles.reshape(-1, 3) / step), axis=0, return_inverse=True)
    return corners.astype(np.float32), places.reshape(-1, 3)


def test_a_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.stl"):
        ps.measure(tmp_path / "none.stl")
    with pytest.raises(ps.PictureError, match="not a regular file"):
        ps.measure(tmp_path)
    with pytest.raises(ValueError, match="pixels are no mesh"):
        ps.measure(np.zeros((4, 4, 3), np.uint8))  # type: ignore[arg-type]


def volume_of(triangles: Triangles) -> float:
    a, b, c = np.moveaxis(triangles.astype(float), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def test_volume_and_area_are_those_of_numpy() -> None:
    part = bracket()
    shape = ps.measure(stl(part))
    a, b, c = np.moveaxis(part.astype(float), 1, 0)
    assert shape.area == pytest.approx(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
    assert shape.volume == pytest.approx(volume_of(part), rel=1e-6)
    assert ps.measure(stl(part[1:])).volume is None
