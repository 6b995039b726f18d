"""How many views of plush toys one core draws in a second.

    python benches/render.py [--views 400] [--size 224]

Counts processor time, so that other programs on the machine matter less.
"""

from __future__ import annotations

import argparse
import time
from typing import Final, Literal

from plushie_search import _core

SCENES: Final[tuple[Literal["studio", "everyday", "cluttered"], ...]] = ("studio", "everyday", "cluttered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=400)
    parser.add_argument("--size", type=int, default=224)
    options = parser.parse_args()
    seeds = list(range(options.views))
    for scene in SCENES:
        _core.render_plushes(seeds[:8], seeds[:8], size=options.size, scene=scene, threads=1)
        start = time.process_time()
        _core.render_plushes(seeds, seeds, size=options.size, scene=scene, threads=1)
        rate = options.views / (time.process_time() - start)
        print(f"{scene:10} {options.size} x {options.size}: {rate:.0f} views per second and core")


if __name__ == "__main__":
    main()
