"""STEP files, which an extra reads: sizes in millimeters, the vertical axis, a folder, and damaged files."""

from __future__ import annotations

from pathlib import Path

import pytest
from solids import box, step, stl

import plushie_search as ps

pytest.importorskip("cascadio")


def test_a_part_has_the_size_and_the_axes_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "part.STEP"
    path.write_bytes(step(10, 20, 30))
    shape, own = ps.measure(path), ps.measure(stl(box(10, 20, 30)))
    assert shape.size == pytest.approx((10, 20, 30), rel=1e-5)
    assert shape.volume == pytest.approx(6000, rel=1e-4)
    assert shape.relation(own) == "same geometry"
    views, expected = ps.render(path, views=4, size=60), ps.render(stl(box(10, 20, 30)), views=4, size=60)
    assert abs(views.astype(int) - expected).mean() < 1


def test_files_of_a_folder_are_added_and_found(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "long.stp").write_bytes(step(10, 20, 90))
    (parts / "cube.step").write_bytes(step(20, 20, 20))
    (parts / "bad.step").write_bytes(b"ISO-10303-21;\nHEADER;\nENDSEC;\nDATA;\n#1=FOO();\nENDSEC;\nEND-ISO-10303-21;\n")
    with ps.Engine(tmp_path / "c", views=2) as engine:
        report = engine.add_folder(parts)
        assert (report.items, [Path(name).name for name, _ in report.failed]) == (2, ["bad.step"])
        assert "export the part as STL" in report.failed[0][1]
        assert engine.search_image(stl(box(20, 20, 20)))[0].item == "cube"
        assert engine.search_image(step(10, 20, 90))[0].item == "long"
