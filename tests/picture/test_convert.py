"""Python's kinds of pictures."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plushie_search import PictureError, _core

PIXELS = np.random.default_rng(5).integers(0, 256, (12, 17, 3), dtype=np.uint8)
SQUASH: dict[str, Any] = {"resize": "squash", "size": (12, 17), "mean": (0, 0, 0), "std": (1 / 255, 1 / 255, 1 / 255)}


def png(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def test_every_form_of_one_picture_is_the_same(tmp_path: Path) -> None:
    image = Image.fromarray(PIXELS)
    data = png(image)
    path = tmp_path / "picture.png"
    path.write_bytes(data)

    class Array:
        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return PIXELS

    forms = [str(path), path, data, bytearray(data), memoryview(data), io.BytesIO(data), image, PIXELS, Array()]
    forms += [np.asfortranarray(PIXELS), PIXELS[::-1][::-1], PIXELS.astype(np.float64) / 255]
    forms += [PIXELS.astype(np.float32) / 255, PIXELS.astype(np.uint16) * 257, PIXELS.astype(">u2") * 257]
    for form in forms:
        assert (_core.decode(form) == PIXELS).all(), type(form)
    with path.open("rb") as file:
        for _ in range(2):
            assert (_core.decode(file) == PIXELS).all()


def test_grey_and_alpha() -> None:
    grey = np.repeat(PIXELS[..., :1], 3, axis=-1)
    assert (_core.decode(PIXELS[..., 0]) == grey).all()
    assert (_core.decode(PIXELS[..., :1]) == grey).all()
    alpha = np.concatenate([PIXELS, PIXELS[..., :1]], axis=-1)
    share = alpha[..., 3:] / 255
    assert (_core.decode(alpha) == np.rint(PIXELS * share + 255 * (1 - share))).all()
    assert (_core.decode(alpha / 255.0) == _core.decode(alpha)).all()
    assert (_core.decode(np.zeros((1, 1), np.uint8)) == 0).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "La", "RGBa"])
def test_pil_modes(mode: str) -> None:
    rgba = Image.fromarray(np.concatenate([PIXELS, PIXELS[..., :1]], axis=-1))
    image = {"RGBa": lambda: rgba.convert("RGBa"), "La": lambda: rgba.convert("LA").convert("La")}.get(
        mode, lambda: (rgba if "A" in mode[1:] else rgba.convert("RGB")).convert(mode)
    )
    picture = image()
    if picture.has_transparency_data:
        picture = (picture.convert("LA") if mode == "La" else picture).convert("RGBA")
        expected = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    else:
        expected = picture.convert("RGB")
    assert np.abs(_core.decode(image()).astype(int) - np.asarray(expected)).max() <= 1


def test_pil_images_are_turned_upright_and_agree_with_their_file() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    alpha = Image.fromarray(np.concatenate([PIXELS, PIXELS[..., :1]], axis=-1))
    wide = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 251)
    for image in [Image.fromarray(PIXELS), alpha, wide, alpha.convert("P")]:
        data = png(image, exif=exif)
        with Image.open(io.BytesIO(data)) as opened:
            assert (_core.decode(opened) == _core.decode(data)).all()
            assert _core.decode(opened).shape == (17, 12, 3)


@pytest.mark.parametrize(
    ("value", "error", "says"),
    [
        (np.moveaxis(PIXELS, -1, 0), ValueError, r"shape \(3, 12, 17\).*channels come first.*moveaxis"),
        (PIXELS[..., :2], ValueError, "no shape of a picture"),
        (PIXELS[0, 0], ValueError, "no shape of a picture"),
        (PIXELS[None, None], ValueError, "no shape of a picture"),
        (PIXELS[:0], ValueError, "no pixels"),
        (PIXELS.astype(np.int64), ValueError, "type int64.*astype"),
        (PIXELS > 100, ValueError, "type bool"),
        (PIXELS.astype(complex), ValueError, "type complex128"),
        (PIXELS.astype(float), ValueError, "the floats of the picture are from 0 to 255; use floats from 0 to 1"),
        (PIXELS / 255.0 * 2 - 1, ValueError, "from -1 to 1"),
        (np.full((2, 2), np.nan), ValueError, "NaN"),
        (np.zeros((1, 70_000), np.uint8), ValueError, "beyond the limit"),
        (np.broadcast_to(np.uint8(0), (16_000, 16_000)), ValueError, "beyond the limit"),
        (Image.fromarray(PIXELS.astype(np.float32)[..., 0]), ValueError, 'PIL mode "F"'),
        (Image.fromarray(PIXELS.astype(np.int32)[..., 0]), ValueError, 'PIL mode "I"'),
        ("https://example.com/a.jpg", ValueError, "addresses are not fetched"),
        (io.StringIO("text"), ValueError, 'read\\(\\) gave str, not bytes; open the file with mode "rb"'),
        (None, TypeError, "of type NoneType; a picture is a path"),
        (3, TypeError, "of type int"),
        ({"a": 1}, TypeError, "of type dict"),
        (b"", PictureError, "the file is empty"),
    ],
)
def test_other_values_than_pictures_are_refused_with_a_reason(value: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        _core.decode(value)


def test_one_picture_or_many() -> None:
    one = _core.preprocess(PIXELS, **SQUASH)
    assert one.shape == (3, 12, 17)
    assert one.dtype == np.float32
    assert np.abs(one - PIXELS.transpose(2, 0, 1)).max() < 1e-4
    other = 255 - PIXELS
    for many in [[PIXELS, other], (PIXELS, other), np.stack([PIXELS, other]), [Image.fromarray(PIXELS), other]]:
        tensors = _core.preprocess(many, **SQUASH)
        assert tensors.shape == (2, 3, 12, 17)
        assert (tensors[0] == one).all()
        assert np.abs(tensors[1] - (255 - one)).max() < 1e-4
    assert _core.preprocess([PIXELS], **SQUASH).shape == (1, 3, 12, 17)
    assert _core.preprocess([], **SQUASH).shape == (0, 3, 12, 17)
    with pytest.raises(TypeError, match="image 1 is of type int"):
        _core.preprocess([PIXELS, 3])
    with pytest.raises(TypeError, match="image 0 is of type list"):
        _core.preprocess([[PIXELS]])
    with pytest.raises(ValueError, match=r"image 1 .* not a batch"):
        _core.preprocess([PIXELS, np.stack([PIXELS, other])])
    with pytest.raises(PictureError, match=r"picture image 1 \(bytes\): not a JPEG"):
        _core.preprocess([PIXELS, b"rubbish"])
