"""Pictures of every format and mode against Pillow, and what hostile files may not do."""

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from plushie_search import PictureError, _core

WIDTH, HEIGHT = 61, 43


def scene(width: int = WIDTH, height: int = HEIGHT, channels: int = 3, seed: int = 7) -> np.ndarray:
    """Smooth colours, an edge and a little noise: no symmetry under any turn."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(x / (5 + c) + c) * np.cos(y / (7 - c)) + (x > width / 3) * 20 for c in range(channels)]
    return np.clip(np.stack(waves, axis=-1) + rng.normal(0, 4, (height, width, 1)), 0, 255).astype(np.uint8)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    """What Pillow sees: upright, alpha over white."""
    with Image.open(io.BytesIO(data)) as file:
        image = ImageOps.exif_transpose(file)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def assert_close(ours: np.ndarray, reference: np.ndarray, most: int) -> None:
    assert ours.shape == reference.shape
    assert ours.dtype == np.uint8
    assert np.abs(ours.astype(int) - reference.astype(int)).max() <= most


def png(rows: np.ndarray, depth: int, color: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of rows of big-endian samples or packed bytes, for what Pillow cannot write."""
    height, width = rows.shape[:2]
    samples = rows.astype(">u2" if depth == 16 else np.uint8)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in samples))
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def exif(orientation: int) -> bytes:
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


RGB = Image.fromarray(scene())
RGBA = Image.fromarray(scene(channels=4))
GREY = RGB.convert("L")
PALETTE = RGB.quantize(32)
CMYK = Image.fromarray(scene(channels=4), "RGBA").convert("RGB").convert("CMYK")


def transparent_palette() -> Image.Image:
    image = PALETTE.copy()
    image.info["transparency"] = bytes([0, 128] + [255] * 30)
    return image


FILES = {
    "png-1": encoded(RGB.convert("1"), "PNG"),
    "png-l": encoded(GREY, "PNG"),
    "png-la": encoded(RGBA.convert("LA"), "PNG"),
    "png-p": encoded(PALETTE, "PNG"),
    "png-p2": encoded(RGB.quantize(4), "PNG", bits=2),
    "png-p-transparent": encoded(transparent_palette(), "PNG"),
    "png-rgb": encoded(RGB, "PNG"),
    "png-rgb-transparent": encoded(RGB, "PNG", transparency=tuple(int(c) for c in scene()[3, 5])),
    "png-rgba": encoded(RGBA, "PNG"),
    "webp-lossless": encoded(RGB, "WEBP", lossless=True),
    "webp-lossless-alpha": encoded(RGBA, "WEBP", lossless=True, exact=True),
    "webp-animated": encoded(RGB, "WEBP", lossless=True, save_all=True, append_images=[RGB.rotate(180)]),
    "gif": encoded(PALETTE, "GIF"),
    "gif-transparent": encoded(PALETTE, "GIF", transparency=3),
    "gif-animated": encoded(PALETTE, "GIF", save_all=True, append_images=[PALETTE.rotate(180)]),
    "gif-interlaced": encoded(PALETTE, "GIF", interlace=1),
    "bmp-1": encoded(RGB.convert("1"), "BMP"),
    "bmp-l": encoded(GREY, "BMP"),
    "bmp-p": encoded(PALETTE, "BMP"),
    "bmp-rgb": encoded(RGB, "BMP"),
    "bmp-rgba": encoded(RGBA, "BMP"),
}
JPEGS = {
    "jpeg-420": encoded(RGB, "JPEG", quality=90, subsampling="4:2:0"),
    "jpeg-422": encoded(RGB, "JPEG", quality=90, subsampling="4:2:2"),
    "jpeg-444": encoded(RGB, "JPEG", quality=90, subsampling="4:4:4"),
    "jpeg-rgb": encoded(RGB, "JPEG", quality=90, keep_rgb=True),
    "jpeg-grey": encoded(GREY, "JPEG", quality=90),
    "jpeg-cmyk": encoded(CMYK, "JPEG", quality=90),
    "jpeg-progressive": encoded(RGB, "JPEG", quality=90, progressive=True),
    "jpeg-restarts": encoded(RGB, "JPEG", quality=90, restart_marker_blocks=2),
    "jpeg-one-pixel": encoded(RGB.crop((0, 0, 1, 1)), "JPEG"),
}
LOSSY_WEBP = {
    "webp-lossy": encoded(RGB, "WEBP", quality=80),
    "webp-lossy-alpha": encoded(RGBA, "WEBP", quality=80, exact=True),
}
ALL = {**FILES, **JPEGS, **LOSSY_WEBP}


@pytest.mark.parametrize("name", FILES)
def test_lossless_formats_are_pillows(name: str) -> None:
    # One level for alpha: Pillow blends in fixed point.
    assert_close(_core.decode(FILES[name]), by_pillow(FILES[name]), 1)


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_is_pillows(name: str) -> None:
    # Another libjpeg in Pillow may round differently.
    assert_close(_core.decode(JPEGS[name]), by_pillow(JPEGS[name]), 2)


@pytest.mark.parametrize("name", LOSSY_WEBP)
def test_lossy_webp_is_pillows(name: str) -> None:
    assert_close(_core.decode(LOSSY_WEBP[name]), by_pillow(LOSSY_WEBP[name]), 2)


def test_sixteen_bits_become_eight() -> None:
    rng = np.random.default_rng(3)
    wide = rng.integers(0, 65536, (9, 11, 4))
    exact = np.rint(wide / 257)
    assert_close(_core.decode(png(wide[..., 0], 16, 0)), np.repeat(exact[..., :1], 3, axis=-1), 0)
    assert_close(_core.decode(png(wide[..., :3], 16, 2)), exact[..., :3], 0)
    share = wide[..., 3:] / 65535
    blended = (wide[..., :3] * share + 65535 * (1 - share)) / 257
    assert np.abs(_core.decode(png(wide, 16, 6)) - blended).max() <= 0.5 + 1e-9
    assert np.abs(_core.decode(png(wide[..., [0, 3]], 16, 4)) - blended[..., :1]).max() <= 0.5 + 1e-9


def test_a_gif_frame_may_be_smaller_than_its_screen() -> None:
    small = PALETTE.crop((0, 0, 20, 10))
    data = bytearray(encoded(small, "GIF"))
    data[6:10] = struct.pack("<HH", 30, 25)
    frame = data.index(b",\0\0\0\0" + struct.pack("<HH", 20, 10))
    data[frame + 1 : frame + 5] = struct.pack("<HH", 4, 6)
    ours = _core.decode(bytes(data))
    assert ours.shape == (25, 30, 3)
    assert_close(ours[6:16, 4:24], np.asarray(small.convert("RGB")), 0)
    assert (ours[:6] == 255).all()
    assert (ours[:, 24:] == 255).all()


@pytest.mark.parametrize("orientation", range(9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_pillows(format: str, orientation: int) -> None:
    options = {"lossless": True} if format == "WEBP" else {"quality": 95} if format == "JPEG" else {}
    data = encoded(RGB, format, exif=exif(orientation), **options)
    assert_close(_core.decode(data), by_pillow(data), 2 if format == "JPEG" else 0)


def test_broken_exif_means_as_it_is() -> None:
    plain = _core.decode(JPEGS["jpeg-420"])
    for payload in [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", exif(6)[:20], b"Exif\0\0" + bytes(50)]:
        segment = b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload
        data = JPEGS["jpeg-420"][:2] + segment + JPEGS["jpeg-420"][2:]
        assert (_core.decode(data) == plain).all()


def test_jpeg_is_decoded_smaller_but_never_below_what_is_needed() -> None:
    image = Image.fromarray(scene(801, 403))
    data = encoded(image, "JPEG", quality=95)
    turned = encoded(image, "JPEG", quality=95, exif=exif(6))
    for at_least, shape in [
        ((802, 10), (403, 801, 3)),
        ((401, 202), (403, 801, 3)),
        ((400, 201), (202, 401, 3)),
        ((200, 1), (101, 201, 3)),
        ((1, 1), (51, 101, 3)),
    ]:
        assert _core.decode(data, at_least=at_least).shape == shape
        width, height = at_least
        assert _core.decode(turned, at_least=(height, width)).shape == (shape[1], shape[0], 3)
    half = _core.decode(data, at_least=(400, 201))
    reference = np.asarray(image.reduce(2))
    assert np.abs(half[:201, :400].astype(int) - reference[:201, :400]).mean() < 3
    assert _core.decode(ALL["png-rgb"], at_least=(1, 1)).shape == (HEIGHT, WIDTH, 3)


def test_names_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(ALL["png-rgb"])
    assert (_core.decode(path) == scene()).all()
    assert (_core.decode(str(path)) == scene()).all()


# A single pixel is complete long before the end.
@pytest.mark.parametrize("name", [name for name in ALL if name != "jpeg-one-pixel"])
def test_a_file_that_is_cut_off_is_refused(name: str) -> None:
    data = ALL[name]
    # Only the first frame of an animation is needed.
    for share in [0.3, 0.1, 0.02] if "animated" in name else [0.9, 0.6, 0.3, 0.1, 0.02]:
        with pytest.raises(PictureError, match=r"^picture image \(bytes\): "):
            _core.decode(data[: int(len(data) * share)])


def test_jpeg_without_its_end_marker_is_whole() -> None:
    data = JPEGS["jpeg-420"]
    assert (_core.decode(data[:-2]) == _core.decode(data)).all()
    with pytest.raises(PictureError, match="cut off"):
        _core.decode(data[:-60])


def test_stray_bytes_in_jpeg_are_forgiven() -> None:
    data = JPEGS["jpeg-420"]
    scan = data.index(b"\xff\xda")
    for at in [data.index(b"\xff\xdb"), scan]:
        assert (_core.decode(data[:at] + b"\0\0\0" + data[at:]) == _core.decode(data)).all()
    assert (_core.decode(data + b"trailing rubbish") == _core.decode(data)).all()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\0", "not a JPEG, PNG, WebP, GIF or BMP"),
        (b"II*\0" + bytes(100), "looks like TIFF"),
        (b"\0\0\0 ftypavif" + bytes(100), "looks like AVIF"),
        (b"\0\0\0 ftypheic" + bytes(100), "looks like HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "looks like SVG"),
        (b"%PDF-1.7", "looks like PDF"),
        (b"<!doctype html><html>", "looks like HTML"),
        (b"BM", "not a JPEG"),
        (b"\xff\xd8\xff", "damaged JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
        (b"GIF89a", "GIF"),
        (b"BM" + bytes(60), "BMP"),
    ],
)
def test_what_is_no_picture_is_refused_by_its_name(data: bytes, says: str) -> None:
    with pytest.raises(PictureError, match=says):
        _core.decode(data)


def bombs() -> dict[str, bytes]:
    side = 20_000
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20))
    jpeg = bytearray(JPEGS["jpeg-420"])
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    progressive = bytearray(JPEGS["jpeg-progressive"])
    frame = progressive.index(b"\xff\xc2")
    progressive[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    vp8l = b"\x2f" + struct.pack("<I", (16_383 << 14) | 16_383) + bytes(64)
    small_canvas = b"VP8X" + struct.pack("<I", 10) + bytes([0, 0, 0, 0]) + bytes([99, 0, 0]) + bytes([99, 0, 0])
    vp8 = bytes([0x10, 0, 0, 0x9D, 1, 0x2A]) + struct.pack("<HH", 16_383, 16_383) + bytes(64)

    def riff(body: bytes) -> bytes:
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body

    def piece(name: bytes, body: bytes) -> bytes:
        return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)

    bmp = b"BM" + struct.pack("<IHHI", 2000, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6)
    return {
        "png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""),
        "png-thin": b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16_385, 1, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", rows),
        "gif": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + bytes(100),
        "bmp": bmp + bytes(1000),
        "webp-lossless": riff(piece(b"VP8L", vp8l)),
        "webp-lossy": riff(piece(b"VP8 ", vp8)),
        "webp-canvas": riff(small_canvas + piece(b"VP8 ", vp8)),
        "jpeg": bytes(jpeg),
        "jpeg-progressive": bytes(progressive),
    }


@pytest.mark.parametrize("name", bombs())
def test_a_bomb_is_refused_by_its_header(name: str) -> None:
    with pytest.raises(PictureError, match="beyond the limit"):
        _core.decode(bombs()[name])


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    for name, data in bombs().items():
        (tmp_path / name).write_bytes(data)
    script = """
import resource, sys
from pathlib import Path
from plushie_search import PictureError, _core
files = sorted(Path(sys.argv[1]).iterdir())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in files:
    try:
        _core.decode(file)
    except PictureError:
        pass
    else:
        raise SystemExit(f"{file} was decoded")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8 << 10  # KiB


def test_scans_of_a_progressive_file_are_limited() -> None:
    data = JPEGS["jpeg-progressive"]
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff\xc4", start)
    assert (_core.decode(data[:end] + data[start:end] * 20 + data[end:]) == _core.decode(data)).all()
    with pytest.raises(PictureError, match="scans"):
        _core.decode(data[:end] + data[start:end] * 200 + data[end:])


def test_damaged_files_never_crash() -> None:
    random_ = random.Random(20)
    outcomes = {True: 0, False: 0}
    for name, data in ALL.items():
        for _ in range(60):
            broken = bytearray(data)
            for _ in range(random_.choice([1, 1, 2, 8])):
                at = random_.randrange(len(broken))
                action = random_.randrange(4)
                if action == 0:
                    broken[at] ^= 1 << random_.randrange(8)
                elif action == 1:
                    broken[at : at + 4] = random_.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
                elif action == 2:
                    del broken[at : at + random_.randrange(1, 20)]
                else:
                    broken[at:at] = random_.randbytes(random_.randrange(1, 20))
                if not broken:
                    broken = bytearray(1)
            try:
                shape = _core.decode(bytes(broken)).shape
            except PictureError:
                outcomes[False] += 1
            else:
                assert shape[2] == 3, name
                outcomes[True] += 1
    assert min(outcomes.values()) > 100, outcomes


def test_damaged_checksums_do_not_hide_damage() -> None:
    """Most changes of a PNG stop at its checksums; these have correct ones."""
    random_ = random.Random(21)
    rows = scene()
    for _ in range(200):
        header = bytearray(struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0))
        header[random_.randrange(13)] ^= 1 << random_.randrange(8)
        data = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
        data[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        palette = random_.randbytes(random_.choice([0, 3, 5, 768]))
        parts = [(b"IHDR", bytes(header)), (b"PLTE", palette), (b"tRNS", random_.randbytes(3)), (b"IDAT", bytes(data))]
        file = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts) + chunk(b"IEND", b"")
        with suppress(PictureError):
            assert _core.decode(file).shape[2] == 3


def test_random_bytes_never_crash() -> None:
    random_ = random.Random(22)
    starts = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ", b"GIF89a", b"BM", b""]
    for i in range(300):
        with pytest.raises(PictureError):
            _core.decode(starts[i % len(starts)] + random_.randbytes(random_.randrange(400)))


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _core.decode(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="not a plain file"):
        _core.decode(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(PictureError, match="not a plain file"):
        _core.decode(pipe)
    with pytest.raises(PictureError, match="not a plain file"):
        _core.decode("/dev/zero")
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.write(ALL["png-rgb"])
        file.truncate(300 << 20)
    with pytest.raises(PictureError, match="larger than 256 MiB"):
        _core.decode(huge)


def test_many_threads_see_the_same() -> None:
    expected = {name: _core.decode(data) for name, data in ALL.items()}
    names = list(ALL) * 40
    with ThreadPoolExecutor(8) as pool:
        for name, pixels in zip(names, pool.map(lambda name: _core.decode(ALL[name]), names), strict=True):
            assert (pixels == expected[name]).all(), name


def test_a_thumbnail_is_a_small_jpeg_without_metadata() -> None:
    data = encoded(Image.fromarray(scene(640, 480)), "JPEG", quality=95, exif=exif(6))
    with Image.open(io.BytesIO(_core.thumbnail(data, 100))) as image:
        assert (image.format, image.size) == ("JPEG", (75, 100))
        assert not image.getexif()
        small = np.asarray(image.convert("L")).astype(int)  # Such a file has half of the detail of colours.
    reference = Image.fromarray(by_pillow(data)).resize((75, 100), Image.Resampling.BICUBIC).convert("L")
    assert np.abs(small - np.asarray(reference)).mean() < 4
    with Image.open(io.BytesIO(_core.thumbnail(RGB, 1000))) as image:
        assert image.size == RGB.size
    with Image.open(io.BytesIO(_core.thumbnail(np.zeros((2, 900, 3), np.uint8), 100))) as image:
        assert image.size == (100, 1)
    with pytest.raises(ValueError, match="side of 1"):
        _core.thumbnail(RGB, 0)


def test_a_thumbnail_has_the_quality_of_libjpeg() -> None:
    picture = scene(64, 64)
    for quality in (10, 30, 100):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
        with Image.open(stream) as expected, Image.open(io.BytesIO(_core.thumbnail(picture, quality=quality))) as found:
            assert found.quantization == expected.quantization
    assert _core.thumbnail(picture) == _core.thumbnail(picture, quality=85)
    for quality in (0, 101):
        with pytest.raises(ValueError, match="use 1 to 100"):
            _core.thumbnail(picture, quality=quality)
