"""Damages samples of a format at random, so that most of the result is still such a file."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections.abc import Sequence

#: Numbers at which counts and offsets go wrong.
EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 64) - 1)
#: Texts at which parsers of texts go wrong.
TOKENS = (
    b"-1", b"1e999", b"NaN", b"null", b"true", b'"\\ud800"', b"[" * 40, b"{" * 40, b"0" * 400, b"\x00", b"\xff\xfe",
    b"../../../etc/passwd", b"'; DROP TABLE items; --", b"9" * 400, b"\xe2\x80\xae", b"\r\n\r\n", b'""', b"{}", b"[]",
    b"18446744073709551616", b"-9223372036854775809", b"\\u0000", b"$or", b"$not",
)  # fmt: skip


def mutate(data: bytes, chance: random.Random, others: Sequence[bytes] = (), most: int = 1 << 20) -> bytes:
    """Returns the data with one to eight changes.

    Args:
        data: A sample.
        chance: The source of chance; the same one gives the same changes.
        others: Samples of which pieces are put in.
        most: The most bytes that it returns.
    """
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        _change(made, chance, others)
    return bytes(made[:most])


def _change(made: bytearray, chance: random.Random, others: Sequence[bytes]) -> None:
    if not made:
        made += chance.choice(TOKENS)
        return
    # Headers decide most: every other change is among the first bytes.
    at = chance.randrange(min(len(made), 96) if chance.random() < 0.5 else len(made))
    kind = chance.randrange(10)
    if kind == 0:
        made[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        made[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    elif kind == 2:
        code = chance.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
        size = struct.calcsize(code)
        made[at : at + size] = struct.pack(code, chance.choice(EDGES) % (1 << (8 * size)))
    elif kind == 3:
        del made[at:]
    elif kind == 4:
        del made[at : at + chance.choice((1, 2, 4, 8, 16, 64))]
    elif kind == 5:
        piece = bytes(made[at : at + chance.choice((1, 4, 16, 64, 256))])
        made[at:at] = piece * chance.choice((1, 2, 30))
    elif kind == 6:
        made[at:at] = chance.choice(TOKENS)
    elif kind == 7 and others:
        other = chance.choice(others)
        begin = chance.randrange(len(other) + 1)
        made[at:] = other[begin:]
    elif kind == 8:
        numbers = list(re.finditer(rb"\d+", bytes(made[:20_000])))
        if numbers:
            found = chance.choice(numbers)
            made[found.start() : found.end()] = chance.choice((b"-1", b"0", b"1e30", b"%d" % chance.choice(EDGES)))
    else:
        made[at : at + 4] = chance.randbytes(chance.choice((1, 4, 16)))


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    """Returns a chunk of a PNG file with the right checksum, and a length that may be wrong."""
    return (
        struct.pack(">I", len(data) if length is None else length)
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
    )


def with_checksums(data: bytes) -> bytes:
    """Returns a PNG file whose chunks have the right checksums, so that damage is found behind them; others as is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    made, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        if at + 12 + length > len(data):
            break
        made += chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return bytes(made) + data[at:]
