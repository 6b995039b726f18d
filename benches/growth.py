"""How the cost of a search grows with the catalog: time, recall, memory, disk, and searches while items are added.

    python benches/growth.py                                       # 10,000 and 100,000 x 256
    python benches/growth.py --vectors 10000 100000 1000000 3000000 --dim 512 --keep FOLDER --plot growth.html
    python benches/growth.py --vectors 1000000 --plushes FOLDER --keep OTHER   # vectors of benches/identify.py --keep

Vectors are clustered, or those of rendered plushes: a catalog that is larger than these adds to them the differences
between two pictures of other plushes, drawn at random. Queries by picture are drawn as the vectors are. Queries by text
are the captions of plushes, by plushie-mini; beside clusters, they lie apart from all pictures, as those of models with
two towers do: a cosine of about 0.3 to the best.

Each size is opened by a process of its own: memory is its anonymous memory, without pages of files, after it was opened
and searched. All queries are asked twice: *first* is the time when nothing that they find was looked at before. With
`--keep`, catalogs stay in the folder, and a run that was stopped goes on with them. While 1,000 items are added five
times, another thread searches; the slowest of a hundred searches is compared with its usual time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from drawn import STEP, Clusters, Numbered, Plushes, Vectors, best, blocks

import plushie_search as ps
from plushie_search.benchmark.measure import K, anonymous_bytes, disk_bytes, latencies, recall
from plushie_search.hub import as_encoder
from plushie_search.show.plot import plot_page

ADDED, RUNS = 1000, 5


def prepared(home: Path, count: int, options: argparse.Namespace) -> None:
    """Stores a catalog, its queries and their exact best in a folder, if they are not there."""
    source = Plushes(options.plushes) if options.plushes else Clusters(count, options.dim)
    pictures = source.draw(10 * count, options.queries + ADDED * RUNS)
    asked = pictures[: options.queries]
    queries = {"pictures": asked, "texts": source.texts(10 * count, asked)}
    if not (home / "queries.npz").exists():
        home.mkdir(parents=True, exist_ok=True)
        truth = best(blocks(source, count), np.concatenate(list(queries.values())))
        np.savez(home / "part.npz", **queries, added=pictures[options.queries :], truth=truth)
        (home / "part.npz").replace(home / "queries.npz")
    told = home / "stored.json"
    if not told.exists():
        begun = time.perf_counter()
        with ps.Engine(home / "vectors.catalog", model=Numbered(**queries), index="exact") as engine:
            for start in range(len(engine), count, STEP):
                block = source.draw(start, min(STEP, count - start))
                engine.add_vectors([str(row) for row in range(start, start + len(block))], block)
        told.write_text(json.dumps({"seconds": time.perf_counter() - begun}), encoding="ascii")


def built(home: Path) -> None:
    """Builds the index of a catalog."""
    drawn = np.load(home / "queries.npz", allow_pickle=False)
    reader = as_encoder("plushie-mini") if home.name.startswith("plushes") else None
    begun = time.perf_counter()
    with ps.Engine(home / "vectors.catalog", model=Numbered(drawn["pictures"], drawn["texts"], reader)) as engine:
        engine.optimize()
    (home / "built.json").write_text(json.dumps({"seconds": time.perf_counter() - begun}), encoding="ascii")


def measured(home: Path) -> dict[str, Any]:
    """Opens and measures a catalog."""
    drawn = np.load(home / "queries.npz", allow_pickle=False)
    pictures, texts, added, truth = (drawn[name] for name in ("pictures", "texts", "added", "truth"))
    model, path = Numbered(pictures, texts), home / "vectors.catalog"
    before, begun = anonymous_bytes() or 0, time.perf_counter()
    with ps.Engine(path, model=model) as engine:
        opened = time.perf_counter() - begun
        found: dict[str, Any] = {}
        for kind, rows in (("pictures", pictures), ("texts", texts)):
            search, numbers = partial(searched, engine, kind), list(range(len(rows)))
            first, _ = latencies(search, numbers)
            seconds, hits = latencies(search, numbers)
            right = truth[: len(pictures)] if kind == "pictures" else truth[len(pictures) :]
            found[kind] = {
                "first_ms": 1e3 * float(np.median(first)),
                "p50_ms": 1e3 * float(np.median(seconds)),
                "p99_ms": 1e3 * float(np.quantile(seconds, 0.99)),
                "recall": recall(hits, [[str(row) for row in some] for some in right.tolist()]),
            }
        memory, stats = (anonymous_bytes() or 0) - before, engine.stats()
        found["adding"] = adding(engine, len(pictures), added)
        found |= {
            "index": stats["index"],
            "settings": stats["approximate"],
            "opened_s": opened,
            "memory_mb": memory / 1e6,
            "disk_mb": disk_bytes(str(path)) / 1e6,
            "built_s": json.loads((home / "built.json").read_text(encoding="ascii"))["seconds"],
            "stored_s": json.loads((home / "stored.json").read_text(encoding="ascii"))["seconds"],
        }
    return found


def searched(engine: ps.Engine, kind: str, row: int) -> list[str]:
    if kind == "texts":
        return [hit.item for hit in engine.search_text(str(row), k=K, words=False)]
    picture = np.frombuffer(row.to_bytes(3, "big"), np.uint8).reshape(1, 1, 3)
    return [hit.item for hit in engine.search_image(picture, k=K)]


def adding(engine: ps.Engine, queries: int, added: Vectors) -> dict[str, Any]:
    """Adds items while another thread searches, and removes them again."""
    rates, slowest, usual = [], [], []
    search = partial(searched, engine, "pictures")
    for run in range(RUNS):
        usual.append(np.quantile(latencies(search, list(range(queries)))[0], 0.99))
        times: list[float] = []
        done = threading.Event()

        def search_on(times: list[float] = times, done: threading.Event = done) -> None:
            row = 0
            while not done.is_set() or len(times) < 100:
                start = time.perf_counter()
                search(row % queries)
                times.append(time.perf_counter() - start)
                row += 1

        thread = threading.Thread(target=search_on)
        thread.start()
        ids = [f"added-{run}-{row}" for row in range(ADDED)]
        start = time.perf_counter()
        engine.add_vectors(ids, added[run * ADDED : (run + 1) * ADDED])
        search(0)
        rates.append(time.perf_counter() - start)
        done.set()
        thread.join()
        slowest.append(np.quantile(times, 0.99))
        engine.remove(ids)
    return {
        "seconds": float(median(rates)),
        "usual_p99_ms": 1e3 * float(median(usual)),
        "p99_ms": 1e3 * float(median(slowest)),
    }


def told(count: int, found: dict[str, Any]) -> None:
    pictures, texts, added = found["pictures"], found["texts"], found["adding"]
    print(
        f"{count:>9,}: {found['index']}\n"
        f"  pictures {pictures['p50_ms']:.2f} ms (p99 {pictures['p99_ms']:.2f}, first {pictures['first_ms']:.2f}), "
        f"recall {pictures['recall']:.3f}\n"
        f"  texts {texts['p50_ms']:.2f} ms (ratio {texts['p50_ms'] / pictures['p50_ms']:.2f}, "
        f"first {texts['first_ms']:.2f}), recall {texts['recall']:.3f}\n"
        f"  stored in {found['stored_s']:.0f} s, built in {found['built_s']:.0f} s, opened in {found['opened_s']:.2f} s"
        f", {found['memory_mb']:,.0f} MB of memory, {found['disk_mb']:,.0f} MB on disk\n"
        f"  add {ADDED:,} and search: {added['seconds']:.2f} s, the slowest of a hundred searches "
        f"{added['p99_ms']:.2f} ms meanwhile, {added['usual_p99_ms']:.2f} before",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--plushes", type=Path, metavar="FOLDER")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--plot", type=Path, metavar="FILE.html")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        built(options.build)
    elif options.open:
        print(json.dumps(measured(options.open)))
    else:
        grown(options)


def grown(options: argparse.Namespace) -> None:
    """Measures one size after another, and tells how the time grew."""
    rows: list[tuple[int, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for count in options.vectors:
            home = (options.keep or Path(scratch)) / f"{'plushes' if options.plushes else options.dim}-{count}"
            prepared(home, count, options)
            program = [sys.executable, os.path.abspath(__file__)]
            if not (home / "built.json").exists():
                subprocess.run([*program, "--build", str(home)], check=True)
            output = subprocess.run(
                [*program, "--open", str(home)], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            rows.append((count, json.loads(output.splitlines()[-1])))
            told(*rows[-1])
    (first, least), (last, most) = rows[0], rows[-1]
    if last > first:
        power = np.log(most["pictures"]["p50_ms"] / least["pictures"]["p50_ms"]) / np.log(last / first)
        print(f"the time of a search grew as the power {power:.2f} of the number of vectors")
    if options.plot:
        table = [(f"{count:,}", f"{found['pictures']['p50_ms']:.2f} ms") for count, found in rows]
        points = [(float(np.log10(count)), found["pictures"]["p50_ms"], f"{count:,}") for count, found in rows]
        page = plot_page("The time of a search by the number of vectors", table, points, "log10 of vectors", "ms")
        options.plot.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
