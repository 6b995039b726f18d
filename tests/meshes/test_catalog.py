"""Meshes in a catalog: a reference for each view, and queries by their mean."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from solids import FORMATS, box, bracket, stl, torus

import plushie_search as ps
from plushie_search.cli import main
from plushie_search.meshes import render_views

PARTS = {"bracket": bracket(), "box": box(1, 2, 3), "ring": torus(2, 0.5)}


class Grays:
    """An encoder whose vector is the brightness of 8 × 8 parts of a picture."""

    name, dim, fingerprint = "grays", 64, "grays"

    def __init__(self) -> None:
        self.seen = 0

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.seen += len(images)
        small = [Image.fromarray(image).convert("L").resize((8, 8), Image.Resampling.BOX) for image in images]
        return np.stack([256 - np.asarray(one, np.float32).ravel() for one in small])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "parts"
    root.mkdir()
    for name, part in PARTS.items():
        (root / f"{name}.stl").write_bytes(stl(part))
    return root


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "c", model=Grays(), views=6, threads=2) as engine:
        yield engine


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_each_view_is_a_reference_with_the_vector_of_its_picture(engine: ps.Engine, folder: Path) -> None:
    path = folder / "bracket.stl"
    added = engine.add("bracket", images=[path])
    assert (added.references, added.duplicates) == (7, 0)
    names, pictures = render_views(path, views=6, size=224)
    item = engine.get("bracket")
    assert [reference.view for reference in item.references] == [*names, "view:all"]
    assert {reference.name for reference in item.references} == {str(path)}
    assert len({reference.digest for reference in item.references}) == 1
    expected = unit(Grays().encode_images(list(pictures)))
    mean = unit(expected.mean(axis=0))
    assert np.allclose(engine.vectors("bracket"), np.vstack([expected, mean]), atol=1e-5)
    assert np.allclose(engine.encode_images([path])[0], mean, atol=1e-5)
    # Its bytes are the same mesh, and the item has it already.
    again = engine.add("bracket", images=[path.read_bytes()])
    assert (again.references, again.duplicates) == (0, 1)


def test_a_folder_is_added_once(tmp_path: Path, folder: Path) -> None:
    model = Grays()
    (folder / "broken.stl").write_bytes(b"solid no")
    with ps.Engine(tmp_path / "c", model=model, views=4) as engine:
        report = engine.add_folder(folder)
        assert (report.items, report.references, report.duplicates) == (3, 15, 0)
        assert [Path(name).name for name, _ in report.failed] == ["broken.stl"]
        seen = model.seen
        report = engine.add_folder(folder)
        assert (report.items, report.references, report.duplicates, model.seen) == (0, 0, 3, seen)
    with ps.Engine(tmp_path / "c", model=model) as engine:
        assert engine.stats()["views"] == 4
        assert engine.remove_reference("ring", folder / "ring.stl") == 0
        assert "ring" not in engine


def test_what_is_left_out_of_a_mesh_is_told(
    tmp_path: Path, folder: Path, engine: ps.Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    triangles = bracket()
    triangles[5, 2] = triangles[5, 0]
    path = folder / "flat.stl"
    path.write_bytes(stl(triangles))
    note = (str(path), "1 triangle without an area left out")
    assert engine.add("flat", images=[path, folder / "box.stl"]).notes == [note]
    assert engine.add("flat", images=[path]).notes == []  # it has it already
    report = engine.add_folder(folder)
    assert (report.failed, report.notes) == ([], [])
    with ps.Engine(tmp_path / "other", model=Grays(), views=2) as other:
        report = other.add_folder(folder)
    assert (report.failed, report.notes) == ([], [note])
    assert report.to_dict()["notes"] == [list(note)]
    assert main(["add", str(tmp_path / "third"), str(folder), "--views", "1"]) == 0
    assert f"{path}: 1 triangle without an area left out" in capsys.readouterr().err


def test_a_query_finds_the_mesh_from_any_format(engine: ps.Engine, folder: Path, tmp_path: Path) -> None:
    engine.add_folder(folder)
    views = {name: unit(Grays().encode_images(list(ps.render(folder / f"{name}.stl", views=6)))) for name in PARTS}
    for name, part in PARTS.items():
        # The mean of the query's views, compared with each view of each item and their mean.
        mean = unit(views[name].sum(axis=0))
        scores = {
            other: float(max((views[other] @ mean).max(), unit(views[other].sum(axis=0)) @ mean)) for other in PARTS
        }
        for ending, write in FORMATS.items():
            query = tmp_path / f"query.{ending}"
            query.write_bytes(write(part))
            hits = engine.search_image(query)
            assert [hit.item for hit in hits] == sorted(scores, key=lambda other: -scores[other])
            assert (hits[0].item, hits[0].view) == (name, "view:all")
            assert [hit.score for hit in hits] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-3)
    hit = engine.search_image(render_views(folder / "ring.stl", views=6, size=224)[1][2])[0]
    assert (hit.item, hit.view, hit.score) == ("ring", engine.get("ring").references[2].view, pytest.approx(1))
    assert hit.to_dict()["view"] == hit.view
    both = engine.search_image([folder / "ring.stl", io.BytesIO((folder / "box.stl").read_bytes())], k=1)
    assert both[0][0].item == "ring"
    assert engine.compare(folder / "ring.stl", folder / "ring.stl").similarity == pytest.approx(1)


def test_thumbnails_are_those_of_the_view(engine: ps.Engine, folder: Path) -> None:
    engine.add_folder(folder)
    references = engine.get("bracket").references
    small = [engine.thumbnail("bracket", reference) for reference in references]
    assert len(set(small)) == 6
    assert small[6] == small[0]  # the mean shows the first view
    _, pictures = render_views(folder / "bracket.stl", views=6, size=224)
    for jpeg, picture in zip(small[:6], pictures, strict=True):
        shown = np.asarray(Image.open(io.BytesIO(jpeg or b"")).convert("RGB"), int)
        assert np.abs(shown - picture).mean() < 3
    assert engine.thumbnail("bracket", references[2].key) == small[2]
    assert engine.original("bracket", references[2]) == folder / "bracket.stl"
    hits = engine.search_image(pictures[4], k=1)
    assert hits.thumbnail(hits[0]) == small[4]


def test_thumbnails_are_drawn_anew_where_none_are_kept(tmp_path: Path, folder: Path) -> None:
    with ps.Engine(tmp_path / "c", model=Grays(), views=3, thumbnails=False) as engine:
        engine.add_folder(folder)
    with ps.Engine(tmp_path / "c", model=Grays()) as engine:
        references = engine.get("box").references
        assert len({engine.thumbnail("box", reference) for reference in references} - {None}) == 3


def test_views_are_encoded_again_by_another_model(engine: ps.Engine, folder: Path) -> None:
    engine.add_folder(folder)

    class Halves(Grays):
        name, dim, fingerprint = "halves", 32, "halves"

        def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            return super().encode_images(images)[:, ::2]

    before = engine.vectors("ring")[:6]
    engine.reencode(Halves())
    half = unit(before[:, ::2])
    after = engine.vectors("ring")
    assert np.allclose(after[:6], half, atol=1e-4)
    # Vectors were scaled to length 1 before they were halved, and the mean is of pictures that are encoded anew.
    assert after[6] @ unit(half.sum(axis=0)) > 0.999


def test_items_with_photos_and_a_mesh(engine: ps.Engine, folder: Path) -> None:
    photo = np.full((50, 50, 3), 90, np.uint8)
    engine.add("both", images=[photo, folder / "ring.stl"])
    views = [reference.view for reference in engine.get("both").references]
    assert views[0] is None
    assert len([view for view in views if view]) == 7
    with pytest.raises(ps.PictureError, match="holds no triangles"):
        engine.add("bad", images=[photo, b"solid x\nfacet\n"])
    assert "bad" not in engine


def test_the_command_line_takes_meshes(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = str(tmp_path / "catalog")
    assert main(["add", catalog, str(folder), "--views", "2"]) == 0
    assert "3 new items, 9 new references" in capsys.readouterr().out
    assert main(["search", catalog, str(folder / "ring.stl"), "-k", "1"]) == 0
    assert "ring" in capsys.readouterr().out
    assert main(["add", catalog, str(folder)]) == 0
    assert "3 items in the catalog" in capsys.readouterr().out
