"""How long one picture file and one text take to become vectors, on one thread.

    python benches/encode.py [--model plushie-mini] [--other MODEL_DIRECTORY]

Both models go through the package's own encoder (decoding, resizing, network), by turns; medians and their ratio are
printed. `plushie-search models wrap` makes a directory of a plain ONNX network.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable

from PIL import Image

from plushie_search import _core, hub

TEXTS = ("a brown bear with a red scarf", "戴红色围巾的棕色小熊", "bunny")


def photo() -> bytes:
    """A JPEG file of 500 x 375 with things of every size in it."""
    toys = [Image.fromarray(_core.Plush(seed).render(size=250, view=seed, scene="cluttered")) for seed in range(4)]
    sheet = Image.new("RGB", (500, 375))
    for number, toy in enumerate(toys):
        sheet.paste(toy, (250 * (number % 2), 187 * (number // 2)))
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=90)
    return file.getvalue()


def medians(works: list[Callable[[], object]], rounds: int) -> list[float]:
    """Milliseconds that each takes, measured by turns."""
    taken: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 5):
        for work, times in zip(works, taken, strict=True):
            start = time.perf_counter()
            work()
            if number >= 5:
                times.append(1000 * (time.perf_counter() - start))
    return [statistics.median(times) for times in taken]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL)
    parser.add_argument("--other", help="a model to compare with")
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    names = [options.model, *([options.other] if options.other else [])]
    encoders = [hub.open_encoder(name, threads=1) for name in names]
    file = photo()
    times = medians([lambda encoder=one: encoder.encode_images([file]) for one in encoders], options.rounds)
    for name, milliseconds in zip(names, times, strict=True):
        print(f"{name}: a JPEG file of 500 x 375 to a vector in {milliseconds:.2f} ms")
    if options.other:
        print(f"{options.model} takes {times[0] / times[1]:.2f} of the time: {times[1] / times[0]:.2f} times as fast")
    numbers = iter(range(10**9))  # a text that was read before would come from memory
    for text in TEXTS:
        (milliseconds,) = medians(
            [lambda text=text: encoders[0].encode_texts([f"{text} {next(numbers)}"])], options.rounds
        )
        print(f"{options.model}: {text!r} to a vector in {milliseconds:.2f} ms")


if __name__ == "__main__":
    main()
