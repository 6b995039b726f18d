"""How fast a model is on the devices of this machine, and how near their vectors are to those of the first.

    python benches/devices.py [MODEL] [DEVICE[/PRECISION] ...] [--threads N] [--max-batch N] [--pictures N] [--rounds N]

For instance `ViT-B-32::openai cpu openvino openvino/bf16`, where onnxruntime-openvino is installed: it has the provider
for the processor, too. The devices take turns; medians are compared, of the time that passes and of the time that
processors work.
"""

import argparse
import statistics
import time

import numpy as np

from plushie_search import _core, hub


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=hub.DEFAULT_MODEL)
    parser.add_argument("devices", nargs="*", default=["cpu"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--max-batch", type=int)
    parser.add_argument("--pictures", type=int, default=1, help="in one call")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    encoders = {}
    for name in options.devices:
        device, _, precision = name.partition("/")
        start = time.perf_counter()
        encoders[name] = hub.open_encoder(
            options.model,
            threads=options.threads,
            device=device,
            precision=precision or None,
            max_batch=options.max_batch,
        )
        print(f"{name}: opened in {time.perf_counter() - start:.1f} s")
    views = _core.render_plushes(range(options.pictures), range(options.pictures), size=320)
    compare("a picture", options, encoders, lambda encoder, _: encoder.encode_images(views))
    # Never the same texts twice: they would be remembered.
    texts = [f"a brown bear with a red scarf, number {number}" for number in range(options.pictures)]
    compare("a text", options, encoders, lambda encoder, n: encoder.encode_texts([f"{text}, {n}" for text in texts]))


def compare(what, options, encoders, encode):
    """Prints how long each encoder takes for one picture or text, and the least cosine to the first one's vectors."""
    taken = {name: [] for name in encoders}
    vectors = {}
    for number in range(options.rounds + 2):
        for name, encoder in encoders.items():
            start = time.perf_counter(), time.process_time()
            vectors[name] = encode(encoder, number)
            if number >= 2:
                taken[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    first = next(iter(vectors.values()))
    for name, times in taken.items():
        passed, worked = (1000 * statistics.median(column) / options.pictures for column in zip(*times, strict=True))
        cosine = np.einsum("ij,ij->i", first, vectors[name]).min()
        print(f"{what} by {name:16}{passed:9.2f} ms, of processors {worked:9.2f} ms, cosine {cosine:.6f}")


if __name__ == "__main__":
    main()
