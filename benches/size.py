"""Measures the bytes of a catalog for each reference beside its vectors, which `plushie-search size` computes with.

python benches/size.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

import plushie_search as ps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--references", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=256)
    options = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        with ps.Engine(f"{folder}/catalog", dim=options.dim) as engine:
            ids = [f"item-{row // 2:08}" for row in range(options.references)]
            names = [f"photos/item-{row // 2:08}/{row % 2}.jpg" for row in range(options.references)]
            vectors = random.standard_normal((options.references, options.dim)).astype(np.float32)
            engine.add_vectors(ids, vectors, references=names, labels=["a label"] * len(ids))
            engine.compact()
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    each = size / options.references
    print(f"{options.references:,} × {options.dim}: {each:.0f} bytes each, {each - 4 * options.dim:.0f} beside vectors")


if __name__ == "__main__":
    main()
