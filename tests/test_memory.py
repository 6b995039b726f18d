"""Encoding for hours does not take more and more memory."""

import numpy as np
import pytest

from plushie_search import hub

#: ONNX Runtime's arena, rayon's stacks and numpy's own pools have settled by then.
WARM, MANY = 500, 10_000
GROWTH = 32 << 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))


@pytest.fixture(scope="module")
def encoder():
    return hub.open_encoder(hub.DEFAULT_MODEL, threads=2)


def test_pictures_of_mixed_sizes(encoder):
    chance = np.random.default_rng(0)
    noise = chance.integers(0, 256, (600, 600, 3), dtype=np.uint8)

    def encode(count: int) -> None:
        for _ in range(count // 50):
            sides = chance.integers(8, 600, (50, 2))
            vectors = encoder.encode_images([np.ascontiguousarray(noise[:high, :wide]) for high, wide in sides])
            assert np.isfinite(vectors).all()

    encode(WARM)
    before = resident()
    encode(MANY)
    assert resident() - before < GROWTH


def test_texts_of_mixed_lengths(encoder):
    chance = np.random.default_rng(0)
    words = ["bear", "red", "scarf", "with", "a", "little", "兔子", "粉色"]

    def encode(count: int) -> None:
        for _ in range(count // 50):
            texts = [" ".join(chance.choice(words, size)) for size in chance.integers(1, 60, 50)]
            assert np.isfinite(encoder.encode_texts(texts)).all()

    encode(WARM)
    before = resident()
    encode(MANY)
    assert resident() - before < GROWTH
