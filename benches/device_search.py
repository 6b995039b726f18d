"""Exact search on a device of ONNX Runtime against the processor's own: time, and the share of the memory's bandwidth.

    python benches/device_search.py [--device cuda] [--sizes 10000x128 ...] [--batches 1 32 1000] [--bandwidth GB/S]

By default an NVIDIA GPU if there is one, or else the provider for the processor, which gains nothing and shows that
all works. Processor and device take turns on the same queries, and must find the same items; the ratio of their
medians is above 1 where the device is faster. Rows are read once for each run of up to 256 queries: their bytes by the
time are compared with --bandwidth, that of the device's memory by its data sheet, or on the processor with that of a
sum over 1 GB. A million rows of 512 take 12 GB of memory.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from statistics import median

import numpy as np

import plushie_search as ps

SIZES = ["10000x128", "100000x128", "500000x128", "1000000x512"]
K = 10
#: Queries that are compared with all rows together.
TOGETHER = 256
STEP = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device")
    parser.add_argument("--sizes", nargs="+", default=SIZES)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 1000])
    parser.add_argument("--bandwidth", type=float, help="GB/s of the device's memory")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    device = options.device or found()
    bandwidth = options.bandwidth or (measured() if device == "onnx:cpu" else None)
    for size in options.sizes:
        rows, dim = map(int, size.split("x"))
        with tempfile.TemporaryDirectory() as folder:
            run(options, f"{folder}/bench.catalog", device, rows, dim, bandwidth)


def found() -> str:
    """Returns the device to measure."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            ps.Engine(f"{folder}/none.catalog", dim=8, index_device="cuda").close()
        except ps.ModelError as error:
            print(f"no GPU: {error}")
            return "onnx:cpu"
    return "cuda"


def measured() -> float:
    """Returns the GB/s at which one thread reads memory."""
    numbers = np.ones(1 << 28, np.float32)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        numbers.sum()
        times.append(time.perf_counter() - start)
    return numbers.nbytes / min(times) / 1e9


def run(options: argparse.Namespace, path: str, device: str, rows: int, dim: int, bandwidth: float | None) -> None:
    random = np.random.default_rng(0)
    with ps.Engine(path, dim=dim, thumbnails=False, threads=options.threads) as engine:
        for start in range(0, rows, STEP):
            some = range(start, min(start + STEP, rows))
            engine.add_vectors(list(some), random.standard_normal((len(some), dim), np.float32))
    with (
        ps.Engine(path, index="exact", threads=options.threads) as processor,
        ps.Engine(path, index_device=device, threads=options.threads) as other,
    ):
        other.optimize()
        held = other.stats()["index_device"]
        assert held["references"] == rows
        for batch in options.batches:
            times: dict[str, list[float]] = {"processor": [], "device": []}
            for turn in range(options.rounds):
                queries = random.standard_normal((batch, dim), np.float32)
                answers = []
                for name, engine in (("processor", processor), ("device", other)):
                    start = time.perf_counter()
                    answers.append(engine.search_vector(queries, k=K))
                    if turn:  # the first one of a size prepares
                        times[name].append(time.perf_counter() - start)
                compare(*answers)
            ours, theirs = median(times["device"]), median(times["processor"])
            speed = held["bytes"] * -(-batch // TOGETHER) / ours / 1e9
            share = f" = {speed / bandwidth:4.0%} of {bandwidth:.0f}" if bandwidth else ""
            print(
                f"{rows:>9,} x {dim}, {batch:>4} queries: processor {1e3 * theirs:9.2f} ms, {held['device']} "
                f"{1e3 * ours:9.2f} ms, ratio {theirs / ours:5.2f}, rows read at {speed:6.1f} GB/s{share}",
                flush=True,
            )


def compare(one: ps.Batch, other: ps.Batch) -> None:
    """Asserts that two answers are the same but for the order of equal scores."""
    for hits, others in zip(one, other, strict=True):
        np.testing.assert_allclose([hit.score for hit in hits], [hit.score for hit in others], atol=1e-5)
        differing = [pair for pair in zip(hits, others, strict=True) if pair[0].item != pair[1].item]
        assert all(abs(hit.score - other.score) < 1e-5 for hit, other in differing), differing


if __name__ == "__main__":
    warnings.simplefilter("error", RuntimeWarning)
    main()
