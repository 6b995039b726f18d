"""Decodes the codes of faiss's scalar quantizers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .faiss_bytes import Fields

Codes = NDArray[np.uint8]
Values = NDArray[np.float32]


@dataclass(frozen=True)
class Quantizer:
    """A scalar quantizer: the bytes of a code, and a decoder from (n, bytes) to float32 of (n, dim)."""

    code_size: int
    decode: Callable[[Codes], Values]


def read_quantizer(fields: Fields, dim: int) -> Quantizer:
    """Reads a scalar quantizer of vectors of ``dim`` numbers.

    Raises:
        ArgumentError: It is damaged, or of an unknown kind.
    """
    kind, _, _ = fields.number("i"), fields.number("i"), fields.number("f")
    length, size, trained = fields.number("Q"), fields.number("Q"), fields.vector("<f4")
    # The numbers in each code, in the order of faiss's QuantizerType, with those that it has learned.
    kinds: dict[int, tuple[int, int, Callable[[Codes], NDArray[Any]]]] = {
        0: (8, 2 * dim, lambda codes: _scaled(codes, 255)),
        1: (4, 2 * dim, lambda codes: _scaled(_halves(codes, dim), 15)),
        2: (8, 2, lambda codes: _scaled(codes, 255)),
        3: (4, 2, lambda codes: _scaled(_halves(codes, dim), 15)),
        4: (16, 0, lambda codes: np.ascontiguousarray(codes).view("<f2")),
        5: (8, 0, lambda codes: codes),
        6: (6, 2 * dim, lambda codes: _scaled(_sixes(codes, dim), 63)),
        7: (16, 0, _bf16),
        8: (8, 0, lambda codes: codes.astype(np.int16) - 128),
    }
    if kind not in kinds:
        raise fields.damaged(f"codes of the unknown kind {kind}")
    bits, learned, plain = kinds[kind]
    if (length, size) != (dim, (bits * dim + 7) // 8) or len(trained) != learned:
        raise fields.damaged(f"codes of {size} bytes for {dim} numbers")
    if not learned:
        return Quantizer(size, lambda codes: plain(codes).astype(np.float32))
    low, range_ = (trained[:1], trained[1:]) if learned == 2 else (trained[:dim], trained[dim:])

    def decode(codes: Codes) -> Values:
        with np.errstate(all="ignore"):  # damaged numbers, which the import refuses
            return np.asarray(low + plain(codes) * range_, np.float32)

    return Quantizer(size, decode)


def _scaled(codes: NDArray[Any], most: int) -> Values:
    """The middle of each step, as a share of the range."""
    return (codes.astype(np.float32) + np.float32(0.5)) / np.float32(most)


def _halves(codes: Codes, dim: int) -> Codes:
    """Four bits for each number, the lower ones first."""
    return np.stack([codes & 15, codes >> 4], axis=2).reshape(len(codes), -1)[:, :dim]


def _sixes(codes: Codes, dim: int) -> Codes:
    """Six bits for each number, the lower ones first."""
    bits = np.unpackbits(codes, axis=1, bitorder="little")[:, : 6 * dim].reshape(len(codes), dim, 6)
    return np.asarray((bits << np.arange(6, dtype=np.uint8)).sum(axis=2), np.uint8)


def _bf16(codes: Codes) -> Values:
    return (np.ascontiguousarray(codes).view("<u2").astype(np.uint32) << 16).view(np.float32)
