"""How much more two Python threads encode and search than one: `python benches/threads.py [model]`.

The encoder has two threads of its own, and each call gives it one picture or text, so one caller keeps one of them
busy and two callers keep both. The runs alternate; medians are compared. The first line says what the machine allows:
hashing shares nothing between threads, so it reaches 2 where two cores are free.
"""

import hashlib
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from plushie_search import Engine, _core, hub

ROUNDS = 9
SECONDS = 0.5


def rate(work, callers):
    """Calls of `work` that a number of threads finish each second."""
    counts = [0] * callers
    end = time.perf_counter() + SECONDS

    def call(caller):
        while time.perf_counter() < end:
            work(caller * 1_000_000 + counts[caller])
            counts[caller] += 1

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / SECONDS


def compare(name, work):
    """Prints how much more two callers get done."""
    rates = [(rate(work, 1), rate(work, 2)) for _ in range(ROUNDS)]
    one, two = (statistics.median(column) for column in zip(*rates, strict=True))
    ratio = statistics.median(two / one for one, two in rates)
    print(f"{name}: one thread {one:.0f}/s, two threads {two:.0f}/s, ratio {ratio:.2f}")


def main():
    model = sys.argv[1] if len(sys.argv) > 1 else hub.DEFAULT_MODEL
    # No picture is remembered, so that each is encoded.
    encoder = hub.open_encoder(model, threads=2, cache=0)
    views = _core.render_plushes(range(16), range(16), size=320)
    pictures = [_core.thumbnail(view, side=320) for view in views]
    megabyte = bytes(1 << 20)
    compare("hash a megabyte", lambda i: hashlib.sha256(megabyte))
    compare("encode a picture", lambda i: encoder.encode_images(pictures[i % len(pictures)]))
    # Never the same text twice: it would be remembered.
    run = time.time_ns()
    compare("encode a text", lambda i: encoder.encode_texts(f"a brown bear with a red scarf, number {run + i}"))
    with tempfile.TemporaryDirectory() as folder, Engine(Path(folder, "toys"), model=encoder) as engine:
        vectors = np.random.default_rng(0).normal(size=(1000, encoder.dim)).astype(np.float32)
        engine.add_vectors([f"item-{row // 2}" for row in range(len(vectors))], vectors)
        compare("search by picture", lambda i: engine.search_image(pictures[i % len(pictures)], k=5))
        compare("search by text", lambda i: engine.search_text(f"a white rabbit with a hat, number {run + i}", k=5))


if __name__ == "__main__":
    main()
