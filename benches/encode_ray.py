"""How much faster two local workers of Ray encode a folder of pictures than one, each with one thread.

    pip install 'plushie_search[exchange,ray]'
    python benches/encode_ray.py [--model plushie-mini] [--pictures 2000]

Plushes are rendered into a folder, which one and two workers encode by turns, as `plushie-search encode --ray` does.
The times are from the first shard that is done to the last one, without the start of the workers, and whole. The
processor time of all workers is told for each picture: on a busy machine it says more than the clock.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from plushie_search import hub
from plushie_search.interop.ray import on_ray
from plushie_search.interop.shards import encode_folder
from plushie_search.plush.pictures import write_plushes

SHARD = 50


def processor() -> float:
    """Returns the processor seconds of the workers that there are."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(b"ray::Worker"):
                ticks += sum(map(int, (folder / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def encode(pictures: Path, out: Path, model: str, about: tuple[str, str, int], workers: int) -> tuple[float, ...]:
    """Returns seconds for a picture: by the clock between shards, by the clock as a whole, and of the processor."""
    marks: list[tuple[int, float, float]] = []

    def progress(done: int, _total: int | None, name: str) -> None:
        # The workers end with the last shard, behind which no name is told.
        if name:
            marks.append((done, time.perf_counter(), processor()))

    began = time.perf_counter()
    report = encode_folder(
        pictures,
        out,
        model=about,
        run=on_ray(model, workers=workers, how={"device": "cpu", "threads": 1}),
        shard=SHARD,
        progress=progress,
    )
    assert not report.failed
    first, last = marks[0], marks[-1]
    count = last[0] - first[0]
    return (
        (last[1] - first[1]) / count,
        (time.perf_counter() - began) / report.pictures,
        (last[2] - first[2]) / count,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=hub.DEFAULT_MODEL)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--size", type=int, default=512, help="the side of the pictures")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if find_spec("ray") is None:
        raise SystemExit("this needs Ray: pip install 'plushie_search[exchange,ray]'")
    # Ray's workers would stand back behind all other programs.
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    encoder = hub.open_encoder(options.model, threads=1)
    about = (encoder.name, encoder.fingerprint, encoder.dim)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        write_plushes(pictures, seeds=range((options.pictures + 3) // 4), views=4, side=options.size)
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        times: dict[int, list[tuple[float, ...]]] = {1: [], 2: []}
        for turn in range(options.rounds):
            for workers in times:
                times[workers].append(
                    encode(pictures, Path(folder, f"{turn}-{workers}"), options.model, about, workers)
                )
        ray.shutdown()
    middle = {
        workers: [statistics.median(column) for column in zip(*own, strict=True)] for workers, own in times.items()
    }
    print(f"{options.model}, pictures of {options.size} pixels, medians of {options.rounds} rounds, ms for a picture")
    for workers, (between, whole, spent) in middle.items():
        print(
            f"{workers} worker{'s' * (workers > 1)}: {1000 * between:6.2f} by the clock, {1000 * whole:6.2f} with the "
            f"start, {1000 * spent:6.2f} of the processor"
        )
    ratios = [one / two for one, two in zip(*middle.values(), strict=True)]
    print(f"two are {ratios[0]:.2f} times as fast, with the start {ratios[1]:.2f} times; processor {1 / ratios[2]:.2f}")


if __name__ == "__main__":
    main()
