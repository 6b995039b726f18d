"""Several models in one engine decode a picture once where they can, and each gives it the vector it gives it alone,
bit by bit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import toy
from fake_service import FakeService
from onnx import TensorProto, helper
from PIL import Image

import plushie_search as ps
from plushie_search import PictureError, Service

#: Some decode a JPEG at one scale, some at others; two see the same pixels and make other numbers of them.
MODELS = {
    "small": {"size": [40, 40], "resize": "squash", "filter": "bicubic"},
    "crop": {"size": [56, 56], "resize": "crop", "filter": "bicubic"},
    "crop-again": {"size": [56, 56], "resize": "crop", "filter": "bicubic", "mean": [0.1, 0.2, 0.3]},
    "wide": {"size": [48, 72], "resize": "letterbox", "filter": "bilinear", "channels": "bgr"},
    "large": {"size": [112, 112], "resize": "crop", "resize_to": 128, "filter": "bilinear"},
}


def network(height: int, width: int) -> onnx.ModelProto:
    """Every pixel counts by itself."""
    weights = np.random.default_rng(height).normal(size=(3 * height * width, toy.DIM)).astype(np.float32)
    return toy.model(
        [
            helper.make_node("Reshape", ["pixel_values", "flat"], ["row"]),
            helper.make_node("MatMul", ["row", "weights"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, height, width])],
        [("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])],
        {"flat": np.array([0, -1]), "weights": weights},
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    made = {}
    for name, changes in MODELS.items():
        image = {"file": "image.onnx", "preprocess": {**toy.PREPROCESS, **changes}}
        made[name] = toy.write(root / name, name=name, image=image, text=None, languages=[])
        onnx.save(network(*changes["size"]), made[name] / "image.onnx")  # type: ignore[misc]
    return made


def drawn(width: int, height: int) -> Image.Image:
    rng = np.random.default_rng(width * height)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
    noise = rng.normal(0, 9, (height, width, 3))
    return Image.fromarray((np.asarray(coarse.resize((width, height))) + noise).clip(0, 255).astype(np.uint8))


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def turned(width: int, height: int, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(drawn(width, height), "JPEG", exif=exif)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    all: dict[str, Any] = {
        f"jpeg {width}x{height}": encoded(drawn(width, height), "JPEG", quality=90)
        for width, height in [(33, 50), (500, 375), (481, 913), (1601, 1203), (3000, 250)]
    }
    all |= {f"turned {number}": turned(801, 607, number) for number in range(1, 9)}
    all["ycck"] = encoded(drawn(640, 480).convert("CMYK"), "JPEG")
    all["grey"] = encoded(drawn(640, 480).convert("L"), "JPEG")
    all["progressive"] = encoded(drawn(900, 700), "JPEG", progressive=True)
    all["png"] = encoded(drawn(640, 480), "PNG")
    all["transparent"] = encoded(drawn(300, 200).convert("RGBA").rotate(30), "PNG")
    all["webp"] = encoded(drawn(640, 480), "WEBP")
    all["array"] = np.asarray(drawn(400, 300))
    all["PIL"] = drawn(200, 300)
    path = tmp_path_factory.mktemp("pictures") / "photo.jpg"
    path.write_bytes(encoded(drawn(1000, 800), "JPEG"))
    all["path"] = path
    return all


@pytest.fixture(scope="module")
def alone(
    models: dict[str, Path], pictures: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, Any]]:
    """The vectors of the pictures by each model, in an engine of its own."""
    vectors = {}
    for name, model in models.items():
        with ps.Engine(tmp_path_factory.mktemp("alone") / "catalog", model=model, threads=1) as engine:
            for id, picture in pictures.items():
                engine.add(id, images=[picture])
            vectors[name] = {id: engine.vectors(id) for id in pictures}
    return vectors


@pytest.fixture
def engine(models: dict[str, Path], tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "all.catalog", model=list(models.values()), threads=2) as engine:
        yield engine


def check(engine: ps.Engine, alone: dict[str, dict[str, Any]]) -> None:
    for name in engine.models:
        for id, expected in alone[name].items():
            np.testing.assert_array_equal(engine.vectors(id, model=name), expected, err_msg=f"{id} by {name}")


@pytest.mark.parametrize("order", [list(MODELS), list(MODELS)[::-1], ["large", "small"], ["crop", "crop-again"]])
def test_pictures_that_are_added(
    models: dict[str, Path],
    pictures: dict[str, Any],
    alone: dict[str, dict[str, Any]],
    tmp_path: Path,
    order: list[str],
) -> None:
    with ps.Engine(tmp_path / "one.catalog", model=[models[name] for name in order], threads=2) as engine:
        for id, picture in pictures.items():
            engine.add(id, images=[picture])
        check(engine, alone)
    with ps.Engine(tmp_path / "many.catalog", model=[models[name] for name in order], threads=2) as engine:
        engine.add_items([ps.ItemDraft(id, [picture]) for id, picture in pictures.items()])
        check(engine, alone)


def test_pictures_that_are_looked_up(
    engine: ps.Engine, pictures: dict[str, Any], alone: dict[str, dict[str, Any]]
) -> None:
    for id, picture in pictures.items():
        engine.add(id, images=[picture])
    weights = {name: 0.5 + number for number, name in enumerate(engine.models)}
    together = engine.search_image(list(pictures.values()), k=5, models=weights)
    for id, picture, found in zip(pictures, pictures.values(), together, strict=True):
        vectors = {name: alone[name][id][0] for name in engine.models}
        expected = engine.search_vector(vectors, k=5, models=weights)
        for hits in (found, engine.search_image(picture, k=5, models=weights)):
            assert [hit.item for hit in hits] == [hit.item for hit in expected]
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], abs=1e-6)


def test_a_bad_picture_spoils_no_other(
    engine: ps.Engine, pictures: dict[str, Any], alone: dict[str, dict[str, Any]]
) -> None:
    cut = pictures["jpeg 500x375"][:2000]
    rows = [ps.ItemDraft(id, [picture]) for id, picture in pictures.items()]
    report = engine.add_items([*rows[:3], ps.ItemDraft("cut", [cut]), *rows[3:]])
    assert len(report.failed) == 1
    assert "cut" not in engine
    check(engine, alone)
    with pytest.raises(PictureError):
        engine.search_image(cut, models={"small": 0.5, "large": 0.5})


def test_a_model_on_a_server(
    models: dict[str, Path], pictures: dict[str, Any], alone: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    """Decodes for the one that runs here, and the other way round."""
    with FakeService({"crop": network(56, 56).SerializeToString()}).running() as running:
        far = Service({"image": running.url("crop")}, timeout=20.0)
        for order, places in [(["crop", "crop-again"], [far, None]), (["small", "crop"], [None, far])]:
            opened = [
                ps.open_encoder(models[name], threads=2, service=place)
                for name, place in zip(order, places, strict=True)
            ]
            with ps.Engine(tmp_path / f"{order[0]}.catalog", model=opened) as engine:
                engine.add_items([ps.ItemDraft(id, [picture]) for id, picture in pictures.items()])
                for name in order:
                    for id, expected in alone[name].items():
                        np.testing.assert_allclose(engine.vectors(id, model=name), expected, atol=1e-6, err_msg=id)
