"""Encoding for hours does not take more and more memory."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import toy
from onnx import TensorProto, helper

from plushie_search import _core, hub

#: ONNX Runtime's arena, rayon's stacks and numpy's own pools have settled by then.
WARM, MANY = 500, 2_000
GROWTH = 8 << 20


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


def test_threads_share_the_weights(tmp_path, runtime):
    """One network of 64 MB is one network of 64 MB, however many threads encode at the same time."""
    side, wide = toy.SIDE, 4096
    network = toy.model(
        [
            helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "widen"], ["many"]),
            helper.make_node("MatMul", ["many", "square"], ["mixed"]),
            helper.make_node("MatMul", ["mixed", "narrow"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, side, side])],
        [("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])],
        {
            "axes": np.array([2, 3]),
            "widen": np.ones((3, wide), np.float32),
            "square": np.eye(wide, dtype=np.float32),
            "narrow": np.eye(wide, toy.DIM, dtype=np.float32) + 1,
        },
    )
    directory = toy.write(tmp_path / "model", text=None)
    onnx.save(network, directory / "image.onnx")
    encoder = _core.Encoder(directory, runtime=runtime, threads=8)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 300, 300, 3), dtype=np.uint8)
    encoder.encode_images(pictures[0])
    before = resident()
    with ThreadPoolExecutor(8) as callers:
        for _ in range(10):
            list(callers.map(encoder.encode_images, pictures))
    assert resident() - before < GROWTH
