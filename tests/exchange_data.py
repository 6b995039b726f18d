"""Vectors and files for the tests of import and export."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def vectors(count: int, dim: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Vectors of any length."""
    return np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """The rows scaled to length 1, in double precision."""
    rows = rows.astype(np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
