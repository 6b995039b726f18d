"""Damages samples at random and gives them to a reader, for as long as it is told.

``python tests/hostile/fuzz.py picture --seconds 600`` ends with status 1 at the first input that the reader cannot
bear, which is kept in a file. Each run has another seed, which is printed; ``--seed`` repeats one.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import logging
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

import harness
from mutate import mutate
from targets import TARGETS, Target

#: The most memory that one input may take, in MiB.
MOST = 400


def run(target: Target, seed: int, seconds: float, kept: Path) -> tuple[int, int]:
    """Returns how many inputs were read, and how many of them were taken.

    Raises:
        AssertionError: One ended otherwise than documented. It is in the file ``kept``, as is one at which the process
            crashes.
    """
    chance, end = random.Random(seed), time.monotonic() + seconds
    read = taken = 0
    pool = list(target.seeds)
    while time.monotonic() < end:
        sample = chance.choice(pool)
        data = target.repair(mutate(sample, chance, target.seeds))
        kept.write_bytes(data)
        read += 1
        faulthandler.dump_traceback_later(harness.ENDLESS, exit=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read(data)
            taken += 1
            # Damage upon damage that is still understood leads far from the samples.
            if len(pool) < 500:
                pool.append(data)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            if fault := harness.wrong(error):
                raise AssertionError(f"{fault}: the input is in {kept}") from error
        finally:
            faulthandler.cancel_dump_traceback_later()
        if read % 64 == 0:
            if harness.memory("VmHWM") - harness.memory("VmRSS") > MOST:
                raise AssertionError(f"one of the last 64 inputs took more than {MOST} MiB: repeat it with this seed")
            harness.reset_peak()
    kept.unlink()
    return read, taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=[*TARGETS, "all"])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    given = parser.parse_args()
    faulthandler.enable()
    logging.disable(logging.CRITICAL)
    given.findings.mkdir(parents=True, exist_ok=True)
    for name in TARGETS if given.target == "all" else [given.target]:
        seed = random.SystemRandom().randrange(1 << 32) if given.seed is None else given.seed
        print(f"{name}: seed {seed}", flush=True)
        with tempfile.TemporaryDirectory() as folder, contextlib.closing(TARGETS[name](Path(folder))) as made:
            harness.reset_peak()
            read, taken = run(next(made), seed, given.seconds, given.findings / f"{name}-{seed}")
        print(f"{name}: {read} inputs in {given.seconds:g} s, {taken} of them taken, no finding", flush=True)


if __name__ == "__main__":
    sys.exit(main())
