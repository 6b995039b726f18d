"""Parts of pictures: those that Pillow cuts out."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from PIL import Image, ImageOps
from test_preprocess import levels, scene

import plushie_search as ps
from plushie_search import _core, cli

BOX = (0.21, 0.4, 0.77, 0.93)
#: The tower of another model, which sees pictures at the same size.
EYE = {"file": "image.onnx", "preprocess": {**toy.PREPROCESS, "resize": "crop"}}


def cut(image: Image.Image, box: tuple[float, float, float, float]) -> Image.Image:
    """Cuts the box out of the upright picture with Pillow."""
    upright = ImageOps.exif_transpose(image)
    left, top, right, bottom = box
    width, height = upright.size
    return upright.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


def saved(image: Image.Image, format: str, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, format, quality=92, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("resize", ["crop", "squash", "letterbox"])
@pytest.mark.parametrize("box", [BOX, (0, 0, 1, 1), (0.5, 0, 1, 0.25), (0.99, 0.99, 1, 1)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_part_is_what_pillow_cuts_out(resize: str, box: Any, orientation: int) -> None:
    png = saved(scene(640, 480), "PNG", orientation)
    part = cut(Image.open(io.BytesIO(png)), box)
    assert np.array_equal(levels(ps.Crop(png, box), resize=resize), levels(part, resize=resize))


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("size", [(1283, 955), (300, 200)])
def test_a_part_of_a_jpeg_is_pillows_but_for_rounding(size: tuple[int, int], orientation: int) -> None:
    # Softened, as the finest detail of photographs is: it is the only one that a smaller decode sees differently.
    image = scene(*size).reduce(2).resize(size, Image.Resampling.BICUBIC)
    jpeg = saved(image, "JPEG", orientation)
    part = cut(Image.fromarray(_core.decode(jpeg)), BOX)
    difference = np.abs(levels(ps.Crop(jpeg, BOX), resize="squash") - levels(part, resize="squash"))
    assert difference.mean() <= 0.5
    assert difference.max() <= 24


def test_every_form_of_a_picture_has_parts(tmp_path: Path, toy_encoder: Any) -> None:
    image = scene(90, 60)
    path = tmp_path / "a.png"
    image.save(path)
    wanted = toy_encoder.encode_images(cut(image, BOX))
    with path.open("rb") as file:
        for form in (str(path), path, path.read_bytes(), file, image, np.asarray(image)):
            assert np.array_equal(toy_encoder.encode_images(ps.Crop(form, BOX)), wanted)
    assert np.array_equal(Image.open(io.BytesIO(_core.picture_file(ps.Crop(path, BOX))[1])), cut(image, BOX))


def test_parts_are_remembered_apart(tmp_path: Path, toy_model: Path) -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:] = 255
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        engine.add("left", images=image[:, :10])
        engine.add("right", images=image[:, 10:])
        boxes = {"left": (0, 0, 0.5, 1), "right": (0.5, 0, 1, 1)}
        for _ in range(2):
            for item, box in boxes.items():
                hit = engine.search_image(ps.Crop(image, box), k=1)[0]
                assert (hit.item, hit.score) == (item, pytest.approx(1, abs=1e-6))
        counts = engine.stats()["cache"]["images"]
        assert (counts["misses"], counts["hits"]) == (2, 2)
    digests = {_core.picture_digest(one) for one in (image, *(ps.Crop(image, box) for box in boxes.values()))}
    assert len(digests) == 3


def test_several_models_share_a_decoded_part(tmp_path: Path, toy_model: Path) -> None:
    other = toy.write(tmp_path / "other", name="other", text=None, image=EYE)
    jpeg = saved(scene(400, 300), "JPEG")
    part = ps.Crop(jpeg, BOX)
    with ps.Engine(tmp_path / "c", model=[toy_model, other], threads=1) as engine:
        engine.add("a", images=cut(Image.fromarray(_core.decode(jpeg)), BOX))
        hit = engine.search_image(part, models={"toy": 0.5, "other": 0.5})[0]
        for name in ("toy", "other"):
            alone = float(engine.encode_images([part], model=name)[0] @ engine.vectors("a", model=name)[0])
            assert hit.scores[name] == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((0.5, 0, 0.5, 1), "is no part of a picture"),
        ((0.6, 0, 0.4, 1), "is no part of a picture"),
        ((0, 0, 1.01, 1), "is no part of a picture"),
        ((-0.1, 0, 1, 1), "is no part of a picture"),
        ((0, float("nan"), 1, 1), "is no part of a picture"),
        ((0, 0, float("inf"), 1), "is no part of a picture"),
        ((0, 0, 1), "the box has 3 numbers"),
    ],
)
def test_a_box_that_is_none_is_refused(box: Any, said: str) -> None:
    with pytest.raises(ps.ArgumentError, match=said):
        ps.Crop("a.jpg", box)


def test_a_part_is_one_value(tmp_path: Path) -> None:
    part = ps.Crop("a.jpg", (0, 0.25, 1, 0.75))
    assert (part.image, part.box) == ("a.jpg", (0, 0.25, 1, 0.75))
    assert repr(part) == "Crop('a.jpg', (0, 0.25, 1, 0.75))"
    for other in (copy.copy(part), pickle.loads(pickle.dumps(part)), ps.Crop("a.jpg", [0, 0.25, 1, 0.75])):
        assert part == other
    assert part != ps.Crop("b.jpg", part.box)
    assert part != ps.Crop("a.jpg", (0, 0, 1, 1))
    for bad in ("wide", 3, [None] * 4):
        with pytest.raises(TypeError, match="box takes four numbers"):
            ps.Crop("a.jpg", bad)
    with pytest.raises(ps.ArgumentError, match="a Crop already"):
        ps.Crop(part, part.box)


def test_a_part_is_no_reference(tmp_path: Path, toy_model: Path) -> None:
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        part = ps.Crop(scene(9, 9), BOX)
        with pytest.raises(ps.PictureError, match="a part of it is no reference: save the part"):
            engine.add("a", images=part)
        assert len(engine) == 0


def test_parts_are_classified_compared_and_identified(tmp_path: Path, toy_model: Path) -> None:
    image = scene(80, 80)
    part, plain = ps.Crop(image, BOX), cut(image, BOX)
    with ps.Engine(tmp_path / "c", model=toy_model, threads=1) as engine:
        for number in range(6):
            shade = np.full((8, 8, 3), (40 * number, 90, 255 - 40 * number), np.uint8)
            engine.add(str(number), images=shade, label="ab"[number % 2])
        assert engine.identify(part).hits == engine.identify(plain).hits
        assert engine.classify(part).to_dict() == engine.classify(plain).to_dict()
        assert engine.compare(part, plain).similarity == pytest.approx(1, abs=1e-6)
        assert engine.compare(part, item="0").scores == engine.compare(plain, item="0").scores
        results = engine.search_hybrid(part, "teddy", k=2)
        assert results == engine.search_hybrid(plain, "teddy", k=2)
        assert "a part of <Image>" in repr(results)
        assert engine.search_image(part).to_html().count("data:image/jpeg") >= 1


def test_the_command_line_names_parts(
    tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = scene(60, 40)
    image.save("a.png")
    with ps.Engine("c", model=toy_model, threads=1) as engine:
        for number in range(4):
            engine.add(str(number), images=np.full((8, 8, 3), 60 * number, np.uint8), label="ab"[number % 2])
        hits = engine.search_image(ps.Crop("a.png", BOX), k=2)
        found = engine.identify(ps.Crop("a.png", BOX))

        def printed(*command: str, status: int = 0) -> str:
            assert cli.main([command[0], "c", *command[1:], "--model", str(toy_model)]) == status
            return capsys.readouterr().out

        named = "a.png[0.21,0.4,0.77,0.93]"
        rows = repr(hits).splitlines()[1:]
        assert printed("search", named, "-k", "2").splitlines()[1:] == rows
        assert (
            printed("search", "--query", f"{named} + a.png[0.21, 0.4, 0.77, 0.93]", "-k", "2").splitlines()[1:] == rows
        )
        assert printed("identify", named) == f"{named}: {found}\n"
        assert f"{engine.classify(ps.Crop('a.png', BOX))}\n" == printed("classify", named)
        assert "same" in printed("compare", named, named)
        for bad, said in (("a.png[1,2]", "2 numbers"), ("a.png[0,0,2,1]", "no part"), ("a.png[x]", "write the box as")):
            assert cli.main(["search", "c", bad, "--model", str(toy_model)]) == 2
            assert said in capsys.readouterr().err
        assert cli.main(["search", "c", "b.png[0,0,1,1]", "--model", str(toy_model)]) == 2
        assert "there is no picture 'b.png[0,0,1,1]'" in capsys.readouterr().err
        # A file of such a name is itself.
        image.save("a.png[0,0,1,0.5].png")
        Path("a.png[0,0,1,0.5].png").rename("a.png[0,0,1,0.5]")
        whole = repr(engine.search_image(image, k=2)).splitlines()[1:]
        assert printed("search", "a.png[0,0,1,0.5]", "-k", "2").splitlines()[1:] == whole


def test_a_line_names_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png").write_bytes(b"")
    line = ps.Query.parse("2*a.png[0,0,.5,1] - b.png[0,0,1,1]")
    assert line == ps.Query(image=[(ps.Crop("a.png", (0, 0, 0.5, 1)), 2.0)], text=[("b.png[0,0,1,1]", -1.0)])
