"""The pixel tensor against Pillow and against the image processors that the models were trained with."""

import io
import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plushie_search import _core

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
GREY: dict[str, Any] = {"mean": (0, 0, 0), "std": (1 / 255, 1 / 255, 1 / 255)}
RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def scene(width: int, height: int, seed: int = 1) -> Image.Image:
    """Smooth colors with edges, as pictures have them, and some noise, as few have it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = [127 + 100 * np.sin(9 * x * (c + 1) + c) * np.cos(7 * y) + 60 * (x + y > 0.7) for c in range(3)]
    noise = rng.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(np.stack(waves, axis=-1) + noise, 0, 255).astype(np.uint8))


def levels(image: Any, **settings: Any) -> np.ndarray:
    """The tensor as grey levels, channels last."""
    return _core.preprocess(image, **GREY, **settings).transpose(1, 2, 0)


def resize(image: Image.Image, width: int, height: int, filter: str) -> Image.Image:
    """Rows first, then columns, as every Pillow did until 12.2; a newer one may choose the other order."""
    return image.resize((width, image.height), RESAMPLING[filter]).resize((width, height), RESAMPLING[filter])


def assert_same(ours: np.ndarray, reference: np.ndarray) -> None:
    """But for a rounding here and there: our weights have 15 bits, Pillow's 22."""
    difference = np.abs(ours - reference)
    assert difference.mean() <= 0.05
    assert difference.max() <= 2.001


def shorter_side(image: Image.Image, side: int, filter: str) -> Image.Image:
    width, height = image.size
    short = min(width, height)
    return resize(image, side * width // short, side * height // short, filter)


def middle(image: Image.Image, width: int, height: int) -> np.ndarray:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)))


SIZES = [(224, 224), (640, 480), (481, 640), (333, 500), (1001, 257), (100, 80), (37, 211), (5, 3), (1, 1), (225, 224)]
CASES = list(itertools.product(SIZES, ["bicubic", "bilinear"]))


@pytest.mark.parametrize(("size", "filter"), CASES)
def test_crop_is_pillows(size: tuple[int, int], filter: str) -> None:
    image = scene(*size)
    ours = levels(image, filter=filter)
    assert_same(ours, middle(shorter_side(image, 224, filter), 224, 224))


@pytest.mark.parametrize(("size", "filter"), CASES)
def test_resize_to_and_crop_is_pillows(size: tuple[int, int], filter: str) -> None:
    image = scene(*size)
    ours = levels(image, filter=filter, resize_to=256, size=(224, 192))
    assert_same(ours, middle(shorter_side(image, 256, filter), 192, 224))


@pytest.mark.parametrize(("size", "filter"), CASES)
def test_squash_is_pillows(size: tuple[int, int], filter: str) -> None:
    image = scene(*size)
    ours = levels(image, filter=filter, resize="squash", size=(192, 256))
    assert_same(ours, np.asarray(resize(image, 256, 192, filter)))


@pytest.mark.parametrize(("size", "filter"), CASES)
def test_letterbox_is_pillows(size: tuple[int, int], filter: str) -> None:
    image = scene(*size)
    ours = levels(image, filter=filter, resize="letterbox", size=(192, 256), fill=(10, 20, 30))
    ratio = min(256 / image.width, 192 / image.height)
    width, height = (max(1, round(side * ratio)) for side in image.size)
    reference = Image.new("RGB", (256, 192), (10, 20, 30))
    reference.paste(resize(image, width, height, filter), ((256 - width) // 2, (192 - height) // 2))
    assert_same(ours, np.asarray(reference))


def test_a_shape_that_is_not_square_is_covered() -> None:
    image = scene(300, 200)
    ours = levels(image, size=(100, 200))
    assert_same(ours, middle(resize(image, 200, 133, "bicubic"), 200, 100))
    tall = levels(image, size=(200, 100))
    assert np.abs(tall - middle(image, 100, 200)).max() < 1e-4


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("size", [(1280, 960), (1283, 955), (1999, 1501), (448, 448), (447, 900)])
@pytest.mark.parametrize("resize", ["crop", "squash", "letterbox"])
def test_jpeg_decoded_smaller_is_pillows_full_decode(resize: str, size: tuple[int, int], turned: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    file = io.BytesIO()
    # Softened, as the finest detail of photographs is: it is the only one that a smaller decode sees differently.
    image = scene(*size).reduce(2).resize(size, Image.Resampling.BICUBIC)
    image.save(file, "JPEG", quality=92, exif=exif)
    ours = levels(file.getvalue(), resize=resize)
    full = Image.fromarray(_core.decode(file.getvalue()))
    difference = np.abs(ours - levels(full, resize=resize))
    assert difference.mean() <= 0.25
    assert difference.max() <= 12


def test_mean_std_and_channels() -> None:
    image = scene(30, 30)
    pixels = np.asarray(image).astype(np.float64)
    settings: dict[str, Any] = {"size": (30, 30), "mean": (0.1, 0.2, 0.3), "std": (0.5, 2.0, -4.0)}
    expected = (pixels / 255 - settings["mean"]) / settings["std"]
    ours = _core.preprocess(image, **settings)
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours, expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-7)
    # Mean and std go with the planes, not with the colors.
    expected = (pixels[..., ::-1] / 255 - settings["mean"]) / settings["std"]
    ours = _core.preprocess(image, channels="bgr", **settings)
    np.testing.assert_allclose(ours, expected.transpose(2, 0, 1), rtol=1e-6, atol=1e-7)
    fill = _core.preprocess(scene(30, 10), resize="letterbox", channels="bgr", fill=(1, 2, 3), size=(30, 30), **GREY)
    assert [round(float(level)) for level in fill[:, 0, 0]] == [3, 2, 1]


def processor(module: str, name: str, **settings: Any) -> Any:
    """An image processor that works on PIL images; newer releases keep it under a name of its own."""
    transformers = pytest.importorskip(f"transformers.models.{module}")
    return getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [(640, 480), (333, 500), (224, 224), (1001, 257), (100, 81), (451, 300)])
def test_tensors_are_those_of_the_image_processors(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    scene(*size).save(file, "PNG")
    squash = {"size": {"height": 224, "width": 224}, "do_center_crop": False}
    for kind, settings, ours in [
        (("clip", "CLIPImageProcessor"), {}, {"mean": CLIP_MEAN, "std": CLIP_STD}),
        (("siglip", "SiglipImageProcessor"), {}, {"resize": "squash", "mean": (0.5,) * 3, "std": (0.5,) * 3}),
        (
            ("siglip", "SiglipImageProcessor"),
            {"resample": 2},
            {"resize": "squash", "filter": "bilinear", "mean": (0.5,) * 3, "std": (0.5,) * 3},
        ),
        (("chinese_clip", "ChineseCLIPImageProcessor"), squash, {"resize": "squash"}),
        (
            ("clip", "CLIPImageProcessor"),
            {"size": {"shortest_edge": 256}, "resample": 2, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]},
            {"resize_to": 256, "filter": "bilinear", "mean": (0, 0, 0), "std": (1, 1, 1)},
        ),
    ]:
        theirs = processor(*kind)(**settings)(Image.open(file), return_tensors="np")["pixel_values"][0]
        tensor = _core.preprocess(file.getvalue(), **ours)
        assert tensor.shape == theirs.shape
        step = 1 / 255 / min(ours.get("std", CLIP_STD))
        difference = np.abs(tensor - theirs) / step
        # Where a new Pillow takes the other order, every fifth value is rounded the other way.
        assert difference.mean() <= 0.25, kind
        assert difference.max() <= 2.01, kind


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"resize": "stretch"}, "resize: unknown variant `stretch`, expected one of `crop`, `squash`, `letterbox`"),
        ({"filter": "lanczos"}, "filter: unknown variant `lanczos`"),
        ({"channels": "grey"}, "channels: unknown variant `grey`"),
        ({"size": (0, 224)}, r"size \[0, 224\] must be two numbers from 1 to 4096"),
        ({"size": (224, 5000)}, "from 1 to 4096"),
        ({"std": (1, 0, 1)}, "std .* other than 0"),
        ({"std": (1, float("nan"), 1)}, "std"),
        ({"mean": (float("inf"), 0, 0)}, "mean .* finite"),
        ({"resize_to": 100}, "resize_to 100 must be from 224"),
        ({"resize": "squash", "resize_to": 256}, "goes with resize"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        _core.preprocess(scene(4, 4), **settings)


def test_extreme_shapes() -> None:
    for size in [(16_384, 1), (1, 16_384), (3, 9000)]:
        for resize in ["crop", "squash", "letterbox"]:
            tensor = levels(Image.new("RGB", size, (10, 20, 30)), resize=resize, fill=(10, 20, 30))
            assert (np.abs(tensor - (10, 20, 30)) < 1e-4).all()


def test_many_threads_see_the_same() -> None:
    files = []
    for i, size in enumerate([(900, 700), (64, 48), (500, 1200), (30, 30)]):
        file = io.BytesIO()
        scene(*size, seed=i).save(file, "JPEG" if i % 2 else "PNG")
        files.append(file.getvalue())
    settings = [{"resize": resize, "size": (side, side)} for resize in ["crop", "squash"] for side in (32, 224)]
    work = [(file, setting) for file in files for setting in settings]
    expected = [_core.preprocess(file, **setting) for file, setting in work]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda i: _core.preprocess(work[i][0], **work[i][1]), list(range(len(work))) * 10))
    for i, tensor in enumerate(results):
        assert (tensor == expected[i % len(work)]).all()
