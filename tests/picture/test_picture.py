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
from typing import Any

import numpy as np
import pytest
from peak import PEAK
from PIL import Image, ImageOps

from plushie_search import PictureError, _core

WIDTH, HEIGHT = 61, 43


def scene(width: int = WIDTH, height: int = HEIGHT, channels: int = 3, seed: int = 7) -> np.ndarray:
    """Smooth colors, an edge and a little noise: no symmetry under any turn."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(x / (5 + c) + c) * np.cos(y / (7 - c)) + (x > width / 3) * 20 for c in range(channels)]
    return np.clip(np.stack(waves, axis=-1) + rng.normal(0, 4, (height, width, 1)), 0, 255).astype(np.uint8)


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    """Returns the picture as Pillow decodes it: upright, alpha over white."""
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


def test_jpeg_is_decoded_smaller_but_never_below_the_needed_size() -> None:
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
        (b"II*\0" + bytes(100), "damaged or cut off TIFF data"),
        (b"\0\0\0 ftypavif" + bytes(100), "damaged or cut off AVIF data"),
        (b"\0\0\0 ftypheic" + bytes(100), "damaged or cut off HEIC data"),
        (b"\xff\x0a" + bytes(100), "damaged or cut off JPEG XL data"),
        (b"\0\0\0 ftypmp42" + bytes(100), "looks like a video"),
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
def test_other_files_than_pictures_are_refused_by_name(data: bytes, says: str) -> None:
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
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 65_536, 1, 8, 0, 0, 0, 0))
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
import sys
from pathlib import Path
from plushie_search import PictureError, _core
files = sorted(Path(sys.argv[1]).iterdir())
before = peak()
for file in files:
    try:
        _core.decode(file)
    except PictureError:
        pass
    else:
        raise SystemExit(f"{file} was decoded")
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", PEAK + script, tmp_path], capture_output=True, text=True, check=True)
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


def test_other_things_than_plain_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _core.decode(tmp_path / "missing.png")
    with pytest.raises(PictureError, match="not a regular file"):
        _core.decode(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(PictureError, match="not a regular file"):
        _core.decode(pipe)
    with pytest.raises(PictureError, match="not a regular file"):
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
        small = np.asarray(image.convert("L")).astype(int)  # Such a file has half of the detail of colors.
    reference = Image.fromarray(by_pillow(data)).resize((75, 100), Image.Resampling.BICUBIC).convert("L")
    assert np.abs(small - np.asarray(reference)).mean() < 4
    with Image.open(io.BytesIO(_core.thumbnail(RGB, 1000))) as image:
        assert image.size == RGB.size
    with Image.open(io.BytesIO(_core.thumbnail(np.zeros((2, 900, 3), np.uint8), 100))) as image:
        assert image.size == (100, 1)
    with pytest.raises(ValueError, match="the side of a thumbnail is 0"):
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


def photo(width: int = 320, height: int = 240, **options: object) -> bytes:
    """A JPEG as cameras write it, with a thumbnail in its EXIF block."""
    image = Image.fromarray(scene(width, height))
    thumbnail = encoded(image.resize((64, 48)), "JPEG")
    payload = exif(1) + thumbnail
    data = encoded(image, "JPEG", quality=90, **options)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]


OTHERS = {
    "nothing": b"",
    "end mark": b"\xff\xd9",
    "next picture": JPEGS["jpeg-420"],
    "next picture with thumbnail": photo(),
    "video": struct.pack(">I", 24) + b"ftypmp42" + random.Random(5).randbytes(4000) + b"\xff\xd9",
    "zeros": bytes(4000),
    "comment": b"\xff\xfe\0\x0a\xff\xda\0\2\xff\xd9\0\0",
}
PHOTOS = {
    "baseline": photo(),
    "progressive": photo(progressive=True),
    "restarts": photo(restart_marker_blocks=4),
    "grey": JPEGS["jpeg-grey"],
}


@pytest.mark.parametrize("kind", PHOTOS)
@pytest.mark.parametrize("other", OTHERS)
def test_nothing_hides_that_a_jpeg_is_cut_off(kind: str, other: str) -> None:
    data = PHOTOS[kind]
    for share in [0.9, 0.75, 0.6, 0.4]:
        with pytest.raises(PictureError, match=r"cut off|damaged"):
            _core.decode(data[: int(len(data) * share)] + OTHERS[other])


@pytest.mark.parametrize("kind", PHOTOS)
@pytest.mark.parametrize("other", OTHERS)
def test_a_whole_jpeg_may_be_followed_by_anything(kind: str, other: str) -> None:
    data = PHOTOS[kind]
    whole = _core.decode(data)
    assert (_core.decode(data + OTHERS[other]) == whole).all()
    if other != "comment":
        assert (_core.decode(data[:-2] + OTHERS[other]) == whole).all()


def test_a_broken_block_is_forgiven() -> None:
    data = bytearray(photo())
    data[-40:-38] = bytes(2)
    assert _core.decode(bytes(data)).shape == (240, 320, 3)


def flat_jpeg(width: int, height: int, frame: int = 0xC0) -> bytes:
    """A grey JPEG: each block is the two bits "no difference, end of block"."""
    table = bytes([1] + [0] * 15 + [0])
    blocks = -(-width // 8) * -(-height // 8)

    def segment(marker: int, body: bytes) -> bytes:
        return b"\xff" + bytes([marker]) + struct.pack(">H", len(body) + 2) + body

    head = segment(0xDB, b"\0" + bytes([16] * 64))
    head += segment(frame, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    head += segment(0xC4, b"\0" + table) + segment(0xC4, b"\x10" + table) + segment(0xDA, b"\1\1\0\0\x3f\0")
    return b"\xff\xd8" + head + bytes(-(-blocks * 2 // 8)) + b"\xff\xd9"


@pytest.mark.parametrize("size", [(8160, 6144), (16_320, 12_240), (16_382, 3628), (65_500, 900), (900, 65_500)])
def test_pixels_count_as_they_are_decoded(size: tuple[int, int]) -> None:
    width, height = size
    data = flat_jpeg(width, height)
    ours = _core.decode(data, at_least=(400, 400))
    assert ours.shape[0] * ours.shape[1] < 20_000_000
    assert (ours == 128).all()
    with Image.open(io.BytesIO(_core.thumbnail(data, 64))) as image:
        assert max(image.size) == 64


def test_a_jpeg_far_too_short_for_its_pixels_is_refused_at_once() -> None:
    data = flat_jpeg(65_500, 20_000)
    with pytest.raises(PictureError, match="65500x20000 pixels cannot be in it"):
        _core.decode(data[:5000], at_least=(224, 224))
    with pytest.raises(PictureError, match="beyond the limit of a JPEG file"):
        _core.decode(flat_jpeg(65_500, 50_000)[:5000], at_least=(224, 224))


def test_the_coefficients_of_a_progressive_file_are_limited() -> None:
    with pytest.raises(PictureError, match=r"17000x17000 pixels of a JPEG in several scans .* need 5\d\d MiB"):
        _core.decode(flat_jpeg(17_000, 17_000, frame=0xC2), at_least=(224, 224))


def test_the_limit_can_be_set() -> None:
    script = """
import sys
from plushie_search import _core
try:
    print(_core.decode(bytes.fromhex(sys.stdin.read())).shape)
except ValueError as error:
    print(error)
"""

    def decoded(limit: str) -> str:
        variables = {**os.environ, "PLUSHIE_MAX_PIXELS": limit}
        run = [sys.executable, "-c", script]
        data = ALL["png-rgb"].hex()
        return subprocess.run(run, input=data, env=variables, capture_output=True, text=True, check=True).stdout

    assert decoded("2623") == "(43, 61, 3)\n"
    assert "61x43 pixels are beyond the limit" in decoded("2622")
    assert 'PLUSHIE_MAX_PIXELS is "much"; set it to a number of pixels' in decoded("much")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
def test_sizes_are_checked_before_anything_is_converted(tmp_path: Path) -> None:
    side = 13_000
    rows = zlib.compress(bytes(side * (side + 1)))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    (tmp_path / "large.png").write_bytes(file)
    script = """
import sys, warnings
import numpy as np
from PIL import Image
from plushie_search import _core
warnings.simplefilter("ignore")
image = Image.open(sys.argv[1])
stretched = np.broadcast_to(np.zeros((1, 1, 3), np.float64), (13_000, 13_000, 3))
before = peak()
for picture in (image, stretched):
    try:
        _core.decode(picture)
    except ValueError as error:
        assert "13000x13000 pixels are beyond the limit" in str(error), error
    else:
        raise SystemExit("converted")
print(peak() - before)
"""
    run = [sys.executable, "-c", PEAK + script, tmp_path / "large.png"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 8 << 10  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory as Linux counts it")
def test_all_decoders_together_are_limited(tmp_path: Path) -> None:
    whole = png(np.zeros((3_000, 10_000), np.uint8), 8, 0)
    (tmp_path / "cut.png").write_bytes(whole[:-100])
    script = """
import sys
from concurrent.futures import ThreadPoolExecutor
from plushie_search import PictureError, _core
def refused(_):
    try:
        _core.decode(sys.argv[1])
    except PictureError as error:
        return "cut off" in str(error)
before = peak()
assert refused(0)
one = peak() - before
with ThreadPoolExecutor(24) as pool:
    assert all(pool.map(refused, range(48)))
print(one >> 10, peak() - before >> 10)
"""
    run = [sys.executable, "-c", PEAK + script, str(tmp_path / "cut.png")]
    # glibc would keep what each of 24 threads has given back.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    done = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
    one, all_of_them = map(int, done.stdout.split())
    assert one >= 28  # MiB, the rows of one: they are there before the end is missed
    assert all_of_them < 512 + one < 24 * one


XMP = {
    "attribute": b'<rdf:Description tiff:Orientation="6"/>',
    "element": b"<tiff:Orientation>6</tiff:Orientation>",
    "second": b'<tiff:Orientation/><a tiff:Orientation="6" b="tiff:Orientation=3"/>',
    "none": b"<tiff:Orientation/>",
}


def by_pil(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return _core.decode(image)


def in_png(xmp: bytes) -> tuple[bytes, bytes]:
    return b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp


def with_xmp(kind: str, xmp: bytes) -> dict[str, bytes]:
    packed = b"XML:com.adobe.xmp\0\1\0en\0\0" + zlib.compress(xmp)
    return {
        f"png {kind}": png(scene(), 8, 2, in_png(xmp)),
        f"png packed {kind}": png(scene(), 8, 2, (b"iTXt", packed)),
        f"webp {kind}": encoded(RGB, "WEBP", lossless=True, xmp=xmp),
        f"jpeg {kind}": encoded(RGB, "JPEG", quality=95, xmp=xmp),
    }


def turned_files() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    rows = scene()
    for kind, xmp in XMP.items():
        files |= with_xmp(kind, xmp)
    files["png exif wins"] = png(rows, 8, 2, in_png(XMP["attribute"]), (b"eXIf", exif(3)[6:]))
    files["jpeg exif wins"] = encoded(RGB, "JPEG", quality=95, xmp=XMP["attribute"], exif=exif(1))
    block = exif(8)
    lines = "\n".join(block.hex()[i : i + 72] for i in range(0, 2 * len(block), 72))
    profile = f"\nexif\n{len(block):8}\n{lines}\n".encode()
    files["png raw tEXt"] = png(rows, 8, 2, (b"tEXt", b"Raw profile type exif\0" + profile))
    files["png raw zTXt"] = png(rows, 8, 2, (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)))
    files["png raw iTXt"] = png(rows, 8, 2, (b"iTXt", b"Raw profile type exif\0\0\0\0\0" + profile))
    for order, magic in [("<", b"II*\0"), (">", b"MM\0*")]:
        for kind, entry in {
            "short": struct.pack(order + "HIHH", 3, 1, 6, 0),
            "long": struct.pack(order + "HII", 4, 1, 6),
            "byte": struct.pack(order + "HIBBBB", 1, 1, 6, 0, 0, 0),
            "zero": struct.pack(order + "HIHH", 3, 1, 0, 0),
        }.items():
            block = magic + struct.pack(order + "IHH", 8, 1, 0x0112) + entry + bytes(4)
            files[f"jpeg {kind} {order}"] = encoded(RGB, "JPEG", quality=95, exif=b"Exif\0\0" + block)
            files[f"png {kind} {order}"] = png(rows, 8, 2, (b"eXIf", block))
    return files


@pytest.mark.parametrize("name", turned_files())
def test_orientation_is_pillows_wherever_it_is_told(name: str) -> None:
    data = turned_files()[name]
    ours = _core.decode(data)
    upright = [kind for kind in ("none", "byte", "zero", "wins") if kind in name]
    assert ours.shape == ((HEIGHT, WIDTH, 3) if upright else (WIDTH, HEIGHT, 3))
    assert_close(ours, by_pillow(data), 2 if "jpeg" in name else 0)
    assert_close(ours, by_pil(data), 2 if "jpeg" in name else 0)


PACKET = '<?xpacket begin="\ufeff"?><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
BOUND = {
    "apostrophes": b"<a xmlns:tiff='http://ns.adobe.com/tiff/1.0/' tiff:Orientation='6'/>",
    "spaces": b'<a\n\ttiff:Orientation\n = " 6 "/>',
    "padded element": b"<tiff:Orientation>\n  6\n</tiff:Orientation >",
    "element with attributes": b'<tiff:Orientation xml:lang="x">6</tiff:Orientation>',
    "another prefix": b'<a xmlns:t = "http://ns.adobe.com/tiff/1.0/" t:Orientation="6"/>',
    "element of another prefix": b'<a xmlns:t="http://ns.adobe.com/tiff/1.0/"><t:Orientation>6</t:Orientation></a>',
    "utf-16": PACKET.encode("utf-16-le"),
    "utf-16 with a mark": b"\xfe\xff" + PACKET.encode("utf-16-be"),
    "upright: a prefix that is not bound": b'<a xmlns:t="http://example.com/" t:Orientation="6"/>',
    "upright: the end of another name": b"<a xmlns:x='http://ns.adobe.com/tiff/1.0/' fix:Orientation='6'/>",
    "upright: no number": b"<a tiff:Orientation='six'/>",
    "upright: no such number": b"<a tiff:Orientation='16'/>",
}


def bound_files() -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    rows = scene()
    for kind, xmp in BOUND.items():
        files |= with_xmp(kind, xmp)
        header = b"http://ns.adobe.com/xap/1.0/\0"
        files[f"png raw APP1 {kind}"] = png(rows, 8, 2, (b"tEXt", profile("APP1", header + xmp)))
        files[f"png raw xmp {kind}"] = png(rows, 8, 2, (b"tEXt", profile("xmp", xmp)))
    files["png raw APP1 exif"] = png(rows, 8, 2, (b"tEXt", profile("APP1", exif(6))))
    files["png raw APP1 upright: exif wins"] = png(
        rows, 8, 2, (b"tEXt", profile("APP1", exif(6))), (b"eXIf", exif(1)[6:])
    )
    return files


def profile(name: str, block: bytes) -> bytes:
    """A block as ImageMagick writes it into a text of a PNG."""
    lines = "\n".join(block.hex()[i : i + 72] for i in range(0, 2 * len(block), 72))
    return f"Raw profile type {name}\0\n{name}\n{len(block):8}\n{lines}\n".encode()


@pytest.mark.parametrize("name", bound_files())
def test_orientation_in_any_valid_xmp_is_that_of_the_pil_image(name: str) -> None:
    data = bound_files()[name]
    ours = _core.decode(data)
    expected = scene() if "upright" in name else np.rot90(scene(), -1)
    assert_close(ours, expected if "jpeg" not in name else ours, 0)
    assert ours.shape == expected.shape
    assert_close(ours, by_pil(data), 2 if "jpeg" in name else 0)


def test_a_pil_image_that_was_turned_is_not_turned_again() -> None:
    data = encoded(RGB, "WEBP", lossless=True, xmp=BOUND["apostrophes"], exif=exif(6))
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
    assert_close(_core.decode(upright), np.rot90(scene(), -1), 0)


def bmp(bits: int, header: int, alpha: np.ndarray, masks: tuple[int, int, int, int]) -> tuple[bytes, np.ndarray]:
    """A BMP of pixels packed by masks, and the pixels that are in it without alpha."""
    rows = scene()
    height, width = alpha.shape
    packed = np.zeros((height, width), np.uint32)
    shown = np.zeros((height, width, 3), np.uint8)
    for channel, mask in enumerate(masks):
        values = alpha if channel == 3 else rows[..., channel]
        if not mask:
            continue
        shift, most = (mask & -mask).bit_length() - 1, mask >> ((mask & -mask).bit_length() - 1)
        level = np.rint(values.astype(float) * most / 255).astype(np.uint32)
        packed |= level << shift
        if channel < 3:
            shown[..., channel] = np.rint(level * 255 / most)
    lines = packed[::-1].astype("<u4" if bits == 32 else "<u2")
    body = b"".join(line.tobytes() + bytes(-len(line.tobytes()) % 4) for line in lines)
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, 3, len(body), 2835, 2835, 0, 0)
    info += struct.pack("<IIII", *masks)
    info += bytes(header - len(info))
    return b"BM" + struct.pack("<IHHI", 14 + header + len(body), 0, 0, 14 + header) + info + body, shown


@pytest.mark.parametrize("header", [56, 108, 124])
@pytest.mark.parametrize(
    ("bits", "masks"),
    [
        (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
        (32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)),
        (16, (0x7C00, 0x3E0, 0x1F, 0x8000)),
    ],
)
def test_a_bmp_whose_alpha_is_zero_has_none(header: int, bits: int, masks: tuple[int, int, int, int]) -> None:
    none = np.zeros((HEIGHT, WIDTH), np.uint8)
    data, shown = bmp(bits, header, none, masks)
    assert_close(_core.decode(data), shown, 1)
    some = none.copy()
    some[:, 30:] = 255
    data, shown = bmp(bits, header, some, masks)
    shown[:, :30] = 255
    assert_close(_core.decode(data), shown, 1)


def test_a_bmp_by_pil_has_no_unused_alpha_either() -> None:
    data, shown = bmp(32, 124, np.zeros((HEIGHT, WIDTH), np.uint8), (0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    assert_close(by_pil(data), shown, 0)


def test_png_without_its_end_is_whole() -> None:
    # An odd number of cut bytes ends in every part of the end mark, and in the checksum of the picture data.
    for name in ["png-rgb", "png-p", "png-la", "png-1"]:
        data, whole = FILES[name], _core.decode(FILES[name])
        for cut in range(1, 17):
            assert (_core.decode(data[:-cut]) == whole).all(), (name, cut)
        text = data[:-12] + chunk(b"tEXt", b"Comment\0of some length")
        for cut in range(1, 30):
            assert (_core.decode(text[:-cut]) == whole).all(), (name, cut)
        for cut in [17, 25, 60]:
            with pytest.raises(PictureError, match="cut off PNG"):
                _core.decode(data[:-cut])


def test_png_whose_picture_data_is_short_is_refused() -> None:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row.tobytes() for row in scene()))
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data[: len(data) // 2])
    for end in [b"", chunk(b"IEND", b"")]:
        with pytest.raises(PictureError, match="cut off PNG"):
            _core.decode(file + end)


def test_apples_png_is_named() -> None:
    data = FILES["png-rgb"]
    with pytest.raises(PictureError, match=r"CgBI.*pngcrush -revert-iphone-optimizations"):
        _core.decode(data[:8] + chunk(b"CgBI", b"\x50\0\x20\6") + data[8:])


@pytest.mark.parametrize("screen", [(30, 25), (20, 10), (10, 5), (0, 0), (23, 4)])
@pytest.mark.parametrize("place", [(0, 0), (4, 6)])
def test_a_gif_is_as_large_as_its_screen_and_its_first_frame(screen: tuple[int, int], place: tuple[int, int]) -> None:
    small = PALETTE.crop((0, 0, 20, 10))
    data = bytearray(encoded(small, "GIF"))
    data[6:10] = struct.pack("<HH", *screen)
    frame = data.index(b",\0\0\0\0" + struct.pack("<HH", 20, 10))
    data[frame + 1 : frame + 5] = struct.pack("<HH", *place)
    ours = _core.decode(bytes(data))
    assert ours.shape == (max(screen[1], place[1] + 10), max(screen[0], place[0] + 20), 3)
    inside = np.zeros(ours.shape[:2], bool)
    inside[place[1] : place[1] + 10, place[0] : place[0] + 20] = True
    assert_close(ours[inside].reshape(10, 20, 3), np.asarray(small.convert("RGB")), 0)
    assert (ours[~inside] == 255).all()


def test_a_gif_without_a_picture_takes_no_memory() -> None:
    with pytest.raises(PictureError, match="it has no picture"):
        _core.decode(b"GIF89a" + struct.pack("<HHBBB", 10_000, 10_000, 0, 0, 0) + b";")


def lossless_jpeg(samples: np.ndarray, precision: int = 8) -> bytes:
    """Each sample by its difference from the one on the left, in 17 categories of eight bits each."""
    height, width, channels = samples.shape
    bits = []
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                above = int(samples[y - 1, 0, c]) if y else 1 << (precision - 1)
                left = int(samples[y, x - 1, c]) if x else above
                difference = int(samples[y, x, c]) - left
                size = abs(difference).bit_length()
                bits.append(f"{size:05b}")
                if size:
                    low = difference if difference > 0 else difference + (1 << size) - 1
                    bits.append(f"{low:0{size}b}")
    stream = "".join(bits)
    stream += "1" * (-len(stream) % 8)
    data = int(stream, 2).to_bytes(len(stream) // 8, "big").replace(b"\xff", b"\xff\0")
    parts = b"".join(bytes([c + 1, 0x11, 0]) for c in range(channels))
    frame = struct.pack(">BHHB", precision, height, width, channels) + parts
    table = bytes([0]) + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    scan = bytes([channels]) + b"".join(bytes([c + 1, 0]) for c in range(channels)) + bytes([1, 0, 0])
    # The letters as names of components say RGB.
    if channels == 3:
        frame = frame[:6] + b"R\x11\0G\x11\0B\x11\0"
        scan = b"\3R\0G\0B\0\1\0\0"
    segments = [(0xC3, frame), (0xC4, table), (0xDA, scan)]
    head = b"".join(b"\xff" + bytes([m]) + struct.pack(">H", len(body) + 2) + body for m, body in segments)
    return b"\xff\xd8" + head + data + b"\xff\xd9"


def test_lossless_jpeg_is_read_or_named() -> None:
    rows = scene()
    assert (_core.decode(lossless_jpeg(rows)) == rows).all()
    assert (_core.decode(lossless_jpeg(rows), at_least=(4, 4)) == rows).all()
    assert (_core.decode(lossless_jpeg(rows[..., :1])) == rows[..., :1]).all()
    for precision in (12, 16):
        with pytest.raises(PictureError, match=f"JPEG with {precision} bits per sample is not read"):
            _core.decode(lossless_jpeg(rows[..., :1], precision))


class Pipe(io.RawIOBase):
    """A file that cannot go back."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data, self.data = self.data, b""
        return data


def test_a_file_object_is_a_whole_file_wherever_it_stands(tmp_path: Path) -> None:
    data, pixels = FILES["png-rgb"], scene()
    stream = io.BytesIO()
    stream.write(data)
    for _ in range(2):
        assert (_core.decode(stream) == pixels).all()
        assert stream.tell() == len(data)
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        file.seek(5)
        for _ in range(2):
            assert (_core.decode(file) == pixels).all()
            assert file.tell() == 5
    assert (_core.decode(Pipe(data)) == pixels).all()


class Forgetful(io.BytesIO):
    """A file that can go back and does not tell where it stands."""

    tell = property()  # type: ignore[assignment]


class Stuck(io.BytesIO):
    """A file that says only when it is asked that it cannot go back."""

    seekable = None  # type: ignore[assignment]

    def seek(self, *place: int) -> int:
        raise io.UnsupportedOperation("seek")


class Lost(Stuck):
    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


class Views(io.BytesIO):
    def read(self, *size: int | None) -> Any:
        return self.kind(super().read(*size))

    def __init__(self, data: bytes, kind: type) -> None:
        super().__init__(data)
        self.kind = kind


class Upload:
    """As Starlette's."""

    def __init__(self, data: bytes, filename: str | None) -> None:
        self.file, self.filename = io.BytesIO(data), filename

    async def read(self, size: int = -1) -> bytes:
        return self.file.read(size)

    async def seek(self, place: int) -> None:
        self.file.seek(place)


def test_file_objects_of_other_libraries_are_read() -> None:
    data, pixels = FILES["png-rgb"], scene()
    forgetful = Forgetful(data)
    forgetful.seek(7)
    for file in (forgetful, Stuck(data), Lost(data), Views(data, bytearray), Views(data, memoryview)):
        assert (_core.decode(file) == pixels).all()
    upload = Upload(data, "bear.png")
    for _ in range(2):
        assert (_core.decode(upload) == pixels).all()
    stuck = Stuck(b"rubbish" + data)
    io.BytesIO.seek(stuck, 7)
    assert (_core.decode(stuck) == pixels).all()


def test_an_upload_has_the_name_that_its_sender_gave_it() -> None:
    named = io.BytesIO(b"rubbish")
    named.name, named.filename = "file", "bear.png"  # type: ignore[attr-defined]
    for file, name in [
        (named, "bear.png"),
        (Upload(b"rubbish", "bear.png"), "bear.png"),
        (Upload(b"rubbish", ""), r"image \(file\)"),
        (Upload(b"rubbish", None), r"image \(file\)"),
    ]:
        with pytest.raises(PictureError, match=f"picture {name}: not a JPEG"):
            _core.decode(file)


def foreign_files() -> dict[str, tuple[bytes, np.ndarray, int]]:
    """The bytes of a file, the pixels in it, and by how much they may differ."""
    pillow_heif = pytest.importorskip("pillow_heif")
    pytest.importorskip("pillow_jxl")
    pillow_heif.register_heif_opener()
    rows = scene()
    second = Image.new("RGB", (9, 9))
    wide = Image.fromarray(rows[..., 0].astype(np.uint16) * 257)
    grey = np.repeat(rows[..., :1], 3, axis=-1)
    quarter = np.rot90(rows, -1)
    return {
        "tiff": (encoded(RGB, "TIFF", compression="tiff_lzw"), rows, 0),
        "tiff-pages": (encoded(RGB, "TIFF", save_all=True, append_images=[second]), rows, 0),
        "tiff-16": (encoded(wide, "TIFF"), grey, 0),
        "tiff-cmyk": (encoded(CMYK, "TIFF"), np.asarray(CMYK.convert("RGB")), 0),
        "tiff-turned": (encoded(RGB, "TIFF", tiffinfo={0x0112: 6}), quarter, 0),
        "avif": (encoded(RGB, "AVIF", quality=100, subsampling="4:4:4"), rows, 4),
        "avif-turned": (encoded(RGB, "AVIF", quality=100, subsampling="4:4:4", exif=exif(6)), quarter, 4),
        "heic": (encoded(RGB, "HEIF", quality=-1, chroma=444), rows, 4),
        "heic-turned": (encoded(RGB, "HEIF", quality=-1, chroma=444, exif=exif(6)), quarter, 4),
        "jxl": (encoded(RGB, "JXL", lossless=True), rows, 0),
    }


def test_formats_of_the_extra_are_read_wherever_they_come_from(tmp_path: Path) -> None:
    for name, (data, pixels, most) in foreign_files().items():
        path = tmp_path / f"{name}.jpg"
        path.write_bytes(data)
        for picture in (data, path, io.BytesIO(data)):
            ours = _core.decode(picture)
            assert ours.shape == pixels.shape, name
            assert_close(ours, pixels, most)
        assert_close(by_pil(data), pixels, most)
        with ThreadPoolExecutor(4) as pool:
            assert all((ours == other).all() for other in pool.map(_core.decode, [data] * 8))
        with pytest.raises(PictureError, match="damaged or cut off"):
            _core.decode(data[: len(data) // 3])


@pytest.mark.parametrize(
    ("format", "data"),
    [("TIFF", b"II*\0"), ("HEIC", b"\0\0\0 ftypheic"), ("AVIF", b"\0\0\0 ftypavif"), ("JPEG XL", b"\xff\x0a")],
)
def test_a_missing_extra_is_named(format: str, data: bytes) -> None:
    script = """
import sys
sys.modules.update(dict.fromkeys(["PIL", "PIL.Image", "pillow_heif", "pillow_jxl"]))
from plushie_search import PictureError, _core
try:
    _core.decode(bytes.fromhex(sys.argv[1]))
except PictureError as error:
    print(error)
"""
    run = [sys.executable, "-c", script, (data + bytes(60)).hex()]
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert said == f"picture image (bytes): {format} is read by an extra: pip install 'plushie_search[formats]'\n"
