"""Measures importing vectors with labels and metadata, and exporting them again.

    python benches/bring.py                          # 100,000 x 256
    python benches/bring.py --rows 1000000

Prints the seconds of each step, the rows a second, and the processor time, which other programs lengthen less. Rows are
items of their own, with a label of 1,000, a text of three words, and metadata of a number, a name and a truth value.
Needs pyarrow.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

import plushie_search as ps

#: Rows that are drawn at a time.
DRAWN = 20_000
COLORS = ("red", "blue", "green", "white", "grey", "pink", "beige", "brown")
SPECIES = ("bear", "rabbit", "cat", "lion", "sheep", "duck", "panda", "fox")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--formats", nargs="*", default=["jsonl", "npy", "parquet", "faiss"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        source = Path(home, "source.parquet")
        write(source, options.rows, options.dim)
        with ps.Engine(Path(home, "vectors.catalog"), dim=options.dim, index="exact") as engine:
            timed("import", options.rows, lambda: engine.import_vectors(source))
            timed("import again, all there", options.rows, lambda: engine.import_vectors(source))
            for format in options.formats:
                out = partial(engine.export, Path(home, f"out-{format}"), format=format)
                timed(f"export {format}", options.rows, out)
        for format in options.formats:
            kind = "parquet" if format == "parquet" else None
            with ps.Engine(Path(home, f"{format}.catalog"), dim=options.dim, index="exact") as engine:
                back = partial(engine.import_vectors, Path(home, f"out-{format}"), format=kind)
                timed(f"import {format}", options.rows, back)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{options.rows:,} x {options.dim}; at most {peak:.2f} GB of memory")


def write(path: Path, rows: int, dim: int) -> None:
    """Writes the source, which is told by numbers alone."""
    random = np.random.default_rng(0)
    writer = None
    for start in range(0, rows, DRAWN):
        numbers = range(start, min(start + DRAWN, rows))
        vectors = random.standard_normal((len(numbers), dim), np.float32)
        columns: dict[str, Any] = {
            "id": [f"item-{number}" for number in numbers],
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
            "label": [f"label {number % 1000}" for number in numbers],
            "text": [f"a {COLORS[number % 8]} {SPECIES[number // 8 % 8]}" for number in numbers],
            "price": [number % 997 / 4 for number in numbers],
            "maker": [f"maker {number % 50}" for number in numbers],
            "sold": [number % 3 == 0 for number in numbers],
        }
        table = pa.table(columns)
        writer = writer or pyarrow.parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    writer.close()


def timed(name: str, rows: int, work: Any) -> None:
    start, begun = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - start, time.process_time() - begun
    print(f"{name}: {seconds:.1f} s, {rows / seconds:,.0f} rows a second; {used:.1f} s of processor time", flush=True)


if __name__ == "__main__":
    main()
