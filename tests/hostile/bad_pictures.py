"""Pictures that are cut off, damaged, lie, are far too large, or are something else."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from harness import Case, Place
from mutate import chunk, mutate, with_checksums
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def saved(mode: str, format: str, **how: Any) -> bytes:
    """Returns a small noisy picture of a mode as a file."""
    chance = np.random.default_rng(3)
    base = Image.fromarray(chance.integers(0, 256, (20, 28, 3), np.uint8))
    file = io.BytesIO()
    base.convert(mode).save(file, format, **how)
    return file.getvalue()


def seeds() -> dict[str, bytes]:
    """Returns a sound file of each kind."""
    frames = [Image.new("RGB", (28, 20), (60 * n, 10, 90)) for n in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a toy"
    return {
        "jpeg": saved("RGB", "JPEG", quality=80),
        "jpeg-progressive": saved("RGB", "JPEG", progressive=True),
        "jpeg-gray": saved("L", "JPEG"),
        "jpeg-cmyk": saved("CMYK", "JPEG"),
        "jpeg-exif": saved("RGB", "JPEG", exif=exif),
        "png": saved("RGB", "PNG"),
        "png-alpha": saved("RGBA", "PNG"),
        "png-palette": saved("P", "PNG", transparency=3),
        "png-bits": saved("1", "PNG"),
        "png-16": png(28, 20, 16, 0, b"".join(b"\0" + bytes(range(56)) for _ in range(20))),
        "png-exif": saved("RGB", "PNG", exif=exif),
        "gif": saved("P", "GIF"),
        "gif-animated": saved("P", "GIF", save_all=True, append_images=frames, loop=0),
        "bmp": saved("RGB", "BMP"),
        "bmp-palette": saved("P", "BMP"),
        "webp": saved("RGB", "WEBP"),
        "webp-lossless": saved("RGBA", "WEBP", lossless=True),
        "webp-animated": saved("RGB", "WEBP", save_all=True, append_images=frames),
        "tiff": saved("RGB", "TIFF", compression="tiff_lzw"),
        "avif": saved("RGB", "AVIF"),
    }


def png(width: int, height: int, depth: int, kind: int, rows: bytes, *between: bytes, lace: int = 0) -> bytes:
    """Returns a PNG file of these rows, with chunks before its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, lace))
    return SIGNATURE + head + b"".join(between) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def lies() -> Iterator[tuple[str, bytes]]:
    """Yields files whose headers say something else than what follows."""
    rows = b"".join(b"\0" + bytes(84) for _ in range(20))
    for width, height in ((1, 1), (28, 19), (28, 21), (29, 20), (0, 20), (28, 0), (65535, 20), (65536, 1), (2**31, 2)):
        yield f"png of {width}x{height} with 28x20", png(width, height, 8, 2, rows)
    for depth in (0, 1, 3, 7, 16, 32, 255):
        for kind in (0, 1, 2, 3, 4, 5, 6, 7):
            yield f"png of depth {depth} and kind {kind}", png(28, 20, depth, kind, rows)
    for value in (1, 2, 3, 9, 255):
        yield f"png of lace {value}", png(28, 20, 8, 2, rows, lace=value)
        yield f"png with filter {value}", png(28, 20, 8, 2, bytes([value]) + rows[1:])
    more = zlib.compress(bytes(5_000_000))
    for kind in (b"iCCP", b"zTXt"):
        yield f"png with a bomb in {kind!r}", png(28, 20, 8, 2, rows, chunk(kind, b"name\0\0" + more))
    yield "png with a bomb in iTXt", png(28, 20, 8, 2, rows, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + more))
    yield "png with a long text", png(28, 20, 8, 2, rows, chunk(b"tEXt", b"a\0" + b"x" * 2_000_000))
    for length in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        yield f"png with a chunk of {length} bytes", png(28, 20, 8, 2, rows, chunk(b"tEXt", b"a\0b", length))
    yield "png with two headers", SIGNATURE + png(28, 20, 8, 2, rows)[8:33] * 2 + png(28, 20, 8, 2, rows)[33:]
    yield "png without pixels", SIGNATURE + png(28, 20, 8, 2, rows)[8:33] + chunk(b"IEND", b"")
    yield "png with pixels first", SIGNATURE + chunk(b"IDAT", zlib.compress(rows)) + png(28, 20, 8, 2, rows)[8:]
    yield "png of a palette without one", png(28, 20, 8, 3, rows)
    yield "png of a palette of 2 bytes", png(28, 20, 8, 3, rows, chunk(b"PLTE", b"ab"))
    yield "png of a palette of 300", png(28, 20, 8, 3, rows, chunk(b"PLTE", bytes(900)))
    yield "png with transparency of 300", png(28, 20, 8, 3, rows, chunk(b"PLTE", bytes(9)), chunk(b"tRNS", bytes(300)))
    yield "png of an animation without frames", png(28, 20, 8, 2, rows, chunk(b"acTL", bytes(8)))
    yield "png of an animation of 4 billion", png(28, 20, 8, 2, rows, chunk(b"acTL", b"\xff" * 8))
    jpeg = saved("RGB", "JPEG")
    frame = jpeg.index(b"\xff\xc0")
    for height, width in ((0, 28), (20, 0), (65535, 65535), (20, 65535), (1, 1), (4000, 4000)):
        made = jpeg[: frame + 5] + struct.pack(">HH", height, width) + jpeg[frame + 9 :]
        yield f"jpeg of {width}x{height} with 28x20", made
    for marker in (0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xDD, 0xD8, 0xD9):
        yield f"jpeg whose frame is {marker:x}", jpeg[: frame + 1] + bytes([marker]) + jpeg[frame + 2 :]
    for components in (0, 2, 4, 5, 255):
        yield f"jpeg of {components} components", jpeg[: frame + 9] + bytes([components]) + jpeg[frame + 10 :]
    for factor in (0x00, 0x44, 0x14, 0xFF):
        yield f"jpeg sampled by {factor:x}", jpeg[: frame + 11] + bytes([factor]) + jpeg[frame + 12 :]
    tables = jpeg.index(b"\xff\xc4")
    yield "jpeg without tables", jpeg[:tables] + jpeg[jpeg.index(b"\xff\xda") :]
    yield "jpeg of comments", jpeg[:2] + (b"\xff\xfe\xff\xff" + bytes(65533)) * 20 + jpeg[2:]
    yield "jpeg of 10,000 scans", _scans(10_000)
    gif = saved("P", "GIF")
    for width, height in ((0, 0), (65535, 65535), (65535, 1), (1, 1)):
        yield f"gif of {width}x{height}", gif[:6] + struct.pack("<HH", width, height) + gif[10:]
    for place in range(10, 24):
        for value in (0, 0x7F, 0x80, 0xFF):
            yield f"gif with {value} at {place}", gif[:place] + bytes([value]) + gif[place + 1 :]
    bmp = saved("RGB", "BMP")
    for place in (2, 10, 14, 18, 22, 26, 28, 30, 34, 46, 50):
        for number in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
            yield f"bmp with {number} at {place}", bmp[:place] + struct.pack("<I", number) + bmp[place + 4 :]
    webp = saved("RGBA", "WEBP", lossless=True)
    for place in (4, 12, 16, 20, 21, 24):
        for number in (0, 0x7FFFFFFF, 0xFFFFFFFF):
            yield f"webp with {number} at {place}", webp[:place] + struct.pack("<I", number) + webp[place + 4 :]


def _scans(count: int) -> bytes:
    """A progressive JPEG with one scan repeated."""
    whole = saved("L", "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * count + whole[-2:]


def bombs() -> Iterator[tuple[str, bytes]]:
    """Yields small files of far too many pixels."""
    for side in (12_000, 20_000, 60_000, 65_535):
        row = bytes(side // 8 + 1)
        packer = zlib.compressobj(9)
        rows = b"".join(packer.compress(b"\0" + row) for _ in range(2000)) + packer.flush()
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        yield f"png of {side}x{side}", SIGNATURE + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    gif = saved("P", "GIF")
    yield "gif of 60000x60000", gif[:6] + struct.pack("<HH", 60_000, 60_000) + gif[10:]
    frame = gif[13 + 3 * 2 ** ((gif[10] & 7) + 1) : -1]
    yield "gif of 3,000 frames", gif[:-1] + frame * 3000 + gif[-1:]
    bmp = saved("RGB", "BMP")
    yield "bmp of 60000x60000", bmp[:18] + struct.pack("<ii", 60_000, 60_000) + bmp[26:]
    yield "bmp of runs", _runs(30_000)
    for format in ("TIFF", "WEBP", "AVIF", "JPEG"):
        side = 16_000 if format == "TIFF" else 2_000
        how = {"compression": "tiff_adobe_deflate"} if format == "TIFF" else {}
        file = io.BytesIO()
        Image.new("1" if format == "TIFF" else "RGB", (side, side)).save(file, format, **how)
        yield f"{format} of {side}x{side}", file.getvalue()


def _runs(side: int) -> bytes:
    """A BMP file with a run for each row, and a size that they do not fill."""
    data = b"\xff\x01\x00\x00" * 2000 + b"\x00\x01"
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 2, 0)
    palette = bytes(8)
    begin = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", begin + len(data), 0, 0, begin) + info + palette + data


def others() -> Iterator[tuple[str, bytes]]:
    """Yields files of other kinds, and of two kinds at once."""
    whole = seeds()
    for name, data in {
        "nothing": b"",
        "one byte": b"\x89",
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        "svg of entities": b'<!DOCTYPE s [<!ENTITY a "' + b"x" * 999 + b'">]><svg>' + b"&a;" * 999 + b"</svg>",
        "postscript": b"%!PS\n{loop} exec",
        "pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
        "zip": b"PK\x03\x04" + bytes(60),
        "elf": b"\x7fELF" + bytes(60),
        "pickle": b"\x80\x04cposix\nsystem\n(S'true'\ntR.",
        "mvg": b"push graphic-context\nimage over 0,0 0,0 'msl:/etc/passwd'",
        "text": "粉色的兔子".encode() * 100,
        "noise": random.Random(4).randbytes(5000),
        "zeros": bytes(5000),
    }.items():
        yield name, data
        yield f"png, then {name}", whole["png"] + data
        yield f"{name}, then jpeg", data + whole["jpeg"]
        yield (
            f"jpeg with {name} as a comment",
            (
                whole["jpeg"][:2]
                + b"\xff\xfe"
                + struct.pack(">H", len(data[:60_000]) + 2)
                + data[:60_000]
                + whole["jpeg"][2:]
            ),
        )
    names = list(whole)
    for one in names:
        for two in ("jpeg", "png", "gif", "bmp", "webp"):
            yield f"the beginning of {one} before {two}", whole[one][:16] + whole[two]


def exif() -> Iterator[tuple[str, bytes]]:
    """Yields pictures whose EXIF data are damaged, endless or huge."""
    jpeg = saved("RGB", "JPEG")
    entry = lambda tag, kind, count, value: struct.pack("<HHII", tag, kind, count, value)  # noqa: E731
    directory = lambda *entries, then=0: struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", then)  # noqa: E731
    orient = lambda value: entry(0x0112, 3, 1, value)  # noqa: E731
    bodies = {
        "a loop": directory(orient(6), then=8),
        "a loop of sub-directories": directory(entry(0x8769, 4, 1, 8), orient(6)),
        "a huge count": directory(entry(0x0112, 3, 0xFFFFFFFF, 6)),
        "an offset beyond": directory(entry(0x010E, 2, 100, 0xFFFFFF00), orient(6)),
        "65,535 entries": struct.pack("<H", 65535) + orient(6) * 3,
        "orientation 0": directory(orient(0)),
        "orientation 9": directory(orient(9)),
        "orientation 65535": directory(orient(65535)),
        "orientation as a text": directory(entry(0x0112, 2, 4, 0x36363636)),
        "many orientations": directory(*[orient(n % 9) for n in range(200)]),
        "nothing": b"",
    }
    for name, body in bodies.items():
        for order in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II*\0\xff\xff\xff\xff", b"XX*\0\x08\0\0\0"):
            data = b"Exif\0\0" + order + body
            yield (
                f"exif with {name} and {order!r}",
                (jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(data) + 2) + data + jpeg[2:]),
            )


def things(place: Place) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields things that are no pictures, or odd ones, in other forms than bytes."""
    embed = place.engine.encode_images
    give = lambda thing: lambda: embed([thing])  # noqa: E731
    whole = np.zeros((9, 9, 3), np.uint8)
    arrays = {
        "no pixels": whole[:0],
        "no channels": whole[..., :0],
        "two channels": whole[..., :2],
        "nine channels": np.zeros((9, 9, 9), np.uint8),
        "one dimension": np.zeros(9, np.uint8),
        "five dimensions": np.zeros((1, 1, 9, 9, 3), np.uint8),
        "a scalar": np.uint8(3),
        "NaN": np.full((9, 9, 3), np.nan, np.float32),
        "infinite": np.full((9, 9, 3), np.inf, np.float32),
        "floats beyond 1": np.full((9, 9, 3), 300.0),
        "negative": np.full((9, 9, 3), -5, np.int16),
        "complex": np.zeros((9, 9, 3), complex),
        "objects": np.full((9, 9, 3), None, object),
        "texts": np.full((9, 9, 3), "x"),
        "dates": np.zeros((9, 9, 3), "M8[s]"),
        "records": np.zeros((9, 9), "u1,u1,u1"),
        "booleans": np.zeros((9, 9, 3), bool),
        "turned": whole[::-1, ::-2],
        "of the other byte order": np.zeros((9, 9, 3), ">u2"),
        "huge by strides": np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (1 << 20, 1 << 20, 3), (0, 0, 1)),
        "wide by strides": np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (60_000, 60_000, 3), (0, 0, 1)),
        "floats by strides": np.lib.stride_tricks.as_strided(np.zeros(3), (16_000, 16_000, 3), (0, 0, 8)),
    }
    for name, array in arrays.items():
        yield f"an array: {name}", give(array)
    for mode in (
        "1",
        "L",
        "P",
        "RGB",
        "RGBA",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "I",
        "F",
        "LA",
        "PA",
        "RGBX",
        "RGBa",
        "La",
        "I;16",
    ):
        yield f"a PIL image of mode {mode}", lambda mode=mode: embed([Image.new(mode, (9, 9))])
    for size in ((0, 0), (0, 5), (60_000, 1), (70_000, 1)):
        yield f"a PIL image of {size}", lambda size=size: embed([Image.new("L", size)])
    cut = saved("RGB", "PNG")[:-80]
    yield "a PIL image that is cut off", lambda: embed([Image.open(io.BytesIO(cut))])
    yield "a closed PIL image", lambda: embed([_closed()])

    class Reads:
        """A file that gives anything."""

        def __init__(self, given: Any) -> None:
            self.given = given

        def read(self, size: int = -1) -> Any:
            if isinstance(self.given, Exception):
                raise self.given
            return self.given

    for given in ("text", None, 7, [1], b"", OSError("gone"), ValueError("bad"), bytearray(b"x")):
        yield f"a file that gives {given!r}", give(Reads(given))
    for thing in (None, 7, 1.5, True, object(), {}, {"image": b""}, [], (), b"", bytearray(), memoryview(b"x"), "", "\0",
                  "no/such/file.png", "/", "/dev/null", "/dev/zero", "/proc/self/mem", "a" * 5000, "\ud800",
                  "data:image/png;base64,AAAA", "http://127.0.0.1:1/x.png", "file:///etc/passwd", Ellipsis):  # fmt: skip
        yield f"the thing {str(thing)[:40]!r} of {type(thing).__name__}", give(thing)
    pipe = place.folder / "pipe"
    os.mkfifo(pipe)
    yield "a pipe without a writer", give(str(pipe))
    link = place.folder / "loop.png"
    link.symlink_to(link)
    yield "a link to itself", give(str(link))
    sparse = place.folder / "sparse.png"
    with open(sparse, "wb") as file:
        file.truncate(40 << 30)
    yield "a file of 40 GB", give(str(sparse))


def _closed() -> Image.Image:
    image = Image.open(io.BytesIO(saved("RGB", "PNG")))
    image.close()
    return image


def files() -> Iterator[tuple[str, bytes]]:
    """Yields all bad files."""
    yield from lies()
    yield from bombs()
    yield from others()
    yield from exif()
    whole = seeds()
    samples = list(whole.values())
    for name, data in whole.items():
        for part in range(12):
            yield f"{name} cut at {part}/12", data[: len(data) * part // 12]
        chance = random.Random(f"pictures {name}")
        for number in range(16):
            yield f"{name} damaged {number}", with_checksums(mutate(data, chance, samples))


def cases(place: Place) -> Iterator[Case]:
    """Yields each bad picture, as one to encode, to look up, or to add."""
    engine = place.engine

    def add(data: bytes) -> None:
        engine.add("bad", images=data)
        engine.remove("bad")

    def add_file(data: bytes) -> None:
        path = place.file(data, ".png")
        report = engine.add_images([path], ids=["bad"])
        if report.failed:
            raise ValueError(report.failed[0][1])
        engine.remove("bad")

    ways: list[Callable[[bytes], object]] = [lambda data: engine.encode_images([data])] * 3
    ways += [lambda data: engine.search_image(data), add, add_file]
    for number, (name, data) in enumerate(files()):
        yield name, partial(ways[number % len(ways)], data)
    yield from things(place)
