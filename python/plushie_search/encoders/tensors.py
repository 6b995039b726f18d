"""Numbers as the Open Inference Protocol has them: little-endian bytes, or JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .request import ServiceError, quoted, unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATATYPES = {"float32": "FP32", "float16": "FP16", "int64": "INT64", "int32": "INT32"}
FLOATS = {"FP32": "<f4", "FP16": "<f2", "FP64": "<f8", "BF16": "<u2"}

#: Bytes for names and shapes, and for small outputs that not every server leaves out.
SPARE = 8 << 20

#: The most bytes that are read of what is no tensor.
MAX_METADATA = 1 << 20


def little_endian(tensor: NDArray[Any]) -> memoryview:
    """The numbers of a tensor in C order as the protocol sends them."""
    little = tensor.astype(tensor.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).reshape(-1).view(np.uint8).data


def floats(datatype: str, data: bytes) -> NDArray[np.float32]:
    """The numbers of an output in binary form, shape (n,).

    Raises:
        ServiceError: They are no floats, or not whole ones.
    """
    if datatype not in FLOATS:
        raise ServiceError(f"answers with {quoted(datatype)}, which are no floats")
    try:
        numbers = np.frombuffer(data, FLOATS[datatype])
    except ValueError:
        raise ServiceError(f"answers with {len(data)} bytes, which are not whole {datatype}") from None
    if datatype == "BF16":
        return (numbers.astype(np.uint32) << 16).view(np.float32)
    return rounded(numbers)


def rounded(numbers: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers in 32 bits; those beyond their range become infinite, which is found later."""
    with np.errstate(over="ignore", under="ignore"):
        return numbers.astype(np.float32, copy=False)


def flat(data: Any) -> NDArray[np.float32]:
    """The numbers of lists of any depth, shape (n,).

    Raises:
        ServiceError: They are no numbers.
    """
    try:
        numbers = np.asarray(data)
        if numbers.dtype.kind == "O" and isinstance(data, list):
            numbers = np.asarray([number for part in data for number in flat(part).tolist()])
    except (ValueError, RecursionError, OverflowError):
        parts = [flat(part if isinstance(part, list) else [part]) for part in data]
        return np.concatenate(parts)
    if numbers.size and numbers.dtype.kind not in "fiu":
        if numbers.dtype.kind == "O":
            raise unreadable("null is no number; did the model give NaN?")
        raise unreadable("what should be numbers is none")
    return rounded(numbers.astype(np.float64)).ravel()


def shaped(name: str, shape: Sequence[int], numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    """The numbers of an output in its shape.

    Raises:
        ServiceError: They are not as many as the shape says.
    """
    sides = [int(side) for side in shape]
    if any(side < 0 for side in sides) or math.prod(sides) != numbers.size:
        raise ServiceError(
            f"answers with {numbers.size} numbers for the output {quoted(name)}, but with the shape {sides}"
        )
    return numbers.reshape(sides)
