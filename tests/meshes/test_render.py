"""Views of meshes, compared with a naive projection of their corners."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from solids import box, bracket, stl, torus

import plushie_search as ps
from plushie_search import _core
from plushie_search.cli import main
from plushie_search.meshes import render_views


def extent(picture: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """The first and past the last column and row that are not white."""
    rows, columns = np.nonzero(picture.min(axis=2) < 250)
    return columns.min(), columns.max() + 1, rows.min(), rows.max() + 1


def projected(triangles: NDArray[np.float32], view: str) -> float:
    """Width by height of what a camera 3.864 radii away sees."""
    azimuth, elevation = np.radians([float(part) for part in view.removeprefix("view:").split(",")])
    back = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0])
    up = np.cross(back, right)
    corners = triangles.reshape(-1, 3).astype(float)
    corners = corners - (corners.min(axis=0) + corners.max(axis=0)) / 2
    corners /= np.linalg.norm(corners, axis=1).max()
    depth = 3.864 - corners @ back
    return float(np.ptp(corners @ right / depth) / np.ptp(corners @ up / depth))


def test_views_show_what_a_camera_sees() -> None:
    part = bracket()
    names, pictures = render_views(stl(part), views=20, size=200)
    assert pictures.shape == (20, 200, 200, 3)
    assert pictures.dtype == np.uint8
    assert len(set(names)) == 20
    for name, picture in zip(names, pictures, strict=True):
        left, right, top, bottom = extent(picture)
        assert abs(max(right - left, bottom - top) - 160) <= 2
        ratio = projected(part, name)
        assert (right - left) / (bottom - top) == pytest.approx(ratio, rel=0.03)


def test_the_same_file_gives_the_same_pixels_on_any_threads(tmp_path: Path) -> None:
    path = tmp_path / "ring.stl"
    path.write_bytes(stl(torus(2, 0.5)))
    one = ps.render(path, views=5, size=64, threads=1)
    assert np.array_equal(one, ps.render(str(path), views=5, size=64, threads=2))
    assert np.array_equal(one, ps.render(io.BytesIO(path.read_bytes()), views=5, size=64))


def test_a_mesh_is_grey_on_white_and_lit_from_above_left() -> None:
    picture = ps.render(stl(box(1, 1, 1)), views=8, size=100)[0].astype(int)
    seen = picture[picture.min(axis=2) < 240]
    assert (np.ptp(seen, axis=1) <= 20).all()
    assert seen.min() > 50
    assert (picture[:5, :5] == 255).all()
    corner = ps.render(stl(box(1, 1, 1)), views=1, size=100)[0].astype(int).sum(axis=2)
    above, left, right = corner[25, 50], corner[60, 32], corner[60, 68]
    assert above > left > right


@pytest.mark.parametrize(
    ("views", "size", "told"),
    [
        (0, 224, "0 views of a mesh: use 1 to 100"),
        (101, 224, "101 views"),
        (20, 0, "a view of 0 x 0"),
        (2, 2000, "use 1 to 1024"),
    ],
)
def test_refuses_options_out_of_range(views: int, size: int, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ps.render(stl(box(1, 1, 1)), views=views, size=size)


def test_the_command_writes_views_and_a_strip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "part.stl"
    path.write_bytes(stl(bracket()))
    out = tmp_path / "views"
    assert main(["render", str(path), "--views", "3", "--size", "50", "--out", str(out)]) == 0
    assert len(list(out.glob("*.jpg"))) == 3
    assert "3 views in" in capsys.readouterr().out
    strip = tmp_path / "strip.jpg"
    assert main(["render", str(path), "--turntable", "--views", "6", "--size", "40", "--out", str(strip)]) == 0
    assert _core.decode(strip).shape == (40, 240, 3)
    capsys.readouterr()
    assert main(["render", str(path), "--turntable", "--out", str(tmp_path / "strip.png")]) == 2
    assert "end its name with .jpg" in capsys.readouterr().err
    assert not (tmp_path / "strip.png").exists()
    assert main(["render", str(tmp_path / "none.stl")]) == 2
