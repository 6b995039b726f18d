"""Adds new photos to a catalog, and looks up a table of queries in parts: a job that can be stopped and run again.

    python examples/nightly.py CATALOG PHOTOS QUERIES.parquet ANSWERS

PHOTOS is a folder of <item>/<picture>. QUERIES has a column `photo` of paths; ANSWERS is a folder that gets a parquet
file for each part of it: `row`, `rank`, `item`, `score` and more. A part is written whole or not at all, and is not
computed again while neither the queries nor the catalog have changed. Needs pip install 'plushie_search[exchange]'.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import plushie_search as ps
from plushie_search import arrow

#: Queries of one part.
PART = 256
#: What the parts were computed from.
STATE = "state.json"


def add(catalog: str, photos: str) -> str:
    """Adds the photos that the catalog does not have; a retry goes on where the last one stopped."""
    with ps.Engine(catalog) as engine:
        report = engine.add_folder(photos)
    if report.failed:
        names = ", ".join(name for name, _ in report.failed[:5])
        print(f"left out {len(report.failed)} photos: {names}")
    return str(report)


def search(catalog: str, queries: str, answers: str, *, k: int = 5) -> int:
    """Looks up the queries in parts, all but those that are there; returns the number of parts that were computed."""
    out = Path(answers)
    out.mkdir(parents=True, exist_ok=True)
    made = 0
    with ps.Engine(catalog, create=False) as engine, pq.ParquetFile(queries) as file:
        begin(out, inputs(engine, queries, k))
        for number, batch in enumerate(file.iter_batches(PART, columns=["photo"])):
            part = out / f"part-{number:05}.parquet"
            if part.exists():
                continue
            (hits,) = arrow.search_batches(engine, [batch], "photo", k=k, errors="skip")
            rows = pc.add(hits.column("row"), number * PART)
            table = pa.Table.from_batches([hits]).set_column(0, "row", rows)
            publish(part, lambda path, table=table: pq.write_table(table, path))
            made += 1
    return made


def inputs(engine: ps.Engine, queries: str, k: int) -> dict[str, object]:
    """Returns what the answers depend on."""
    stats = engine.stats()
    digest = hashlib.sha256(Path(queries).read_bytes()).hexdigest()
    counts = {name: stats[name] for name in ("fingerprint", "items", "references")}
    return {"queries": digest, "k": k, "part": PART, **counts}


def begin(out: Path, now: dict[str, object]) -> None:
    """Removes the parts of other queries or of an older catalog."""
    state = out / STATE
    if state.exists() and json.loads(state.read_text(encoding="utf-8")) == now:
        return
    for part in out.glob("part-*.parquet"):
        part.unlink()
    publish(state, lambda path: path.write_text(json.dumps(now), encoding="utf-8"))


def publish(path: Path, write) -> None:
    """Writes a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    write(draft)
    os.replace(draft, path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("catalog", "photos", "queries", "answers"):
        parser.add_argument(name)
    given = parser.parse_args(arguments)
    print(add(given.catalog, given.photos))
    print(f"{search(given.catalog, given.queries, given.answers)} new parts in {given.answers}")


if __name__ == "__main__":
    main()
