"""Adds new photos to a catalog, and looks up a table of queries in parts: a job that can be stopped and run again.

    python examples/nightly.py CATALOG PHOTOS QUERIES.parquet ANSWERS

PHOTOS is a folder of <item>/<picture>. QUERIES has a column `photo` of paths; ANSWERS is a folder that gets a parquet
file for each part of it: `row`, `rank`, `item`, `score` and more. A part is written whole or not at all, and is not
computed again while neither the queries, nor their photos, nor the catalog have changed. Photos that cannot be read
have no rows; a part that has none but these is not written. Needs pip install 'plushie_search[exchange]'.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
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
        if "photo" not in file.schema_arrow.names:
            raise ps.ArgumentError(f"{queries} has no column 'photo': it has {', '.join(file.schema_arrow.names)}")
        begin(out, inputs(engine, file, queries, k))
        for number, batch in enumerate(file.iter_batches(PART, columns=["photo"])):
            part = out / f"part-{number:05}.parquet"
            if part.exists():
                continue
            (hits,) = arrow.search_batches(engine, batch, "photo", k=k, errors="skip")
            found, asked = pc.count_distinct(hits.column("row")).as_py(), batch.num_rows - batch.column(0).null_count
            if asked and not found:
                raise ps.FileError(
                    f"part {number}: none of its {asked} photos can be read, such as {batch.column(0)[0]}"
                )
            if found < asked:
                print(f"part {number}: {asked - found} of {asked} photos cannot be read", file=sys.stderr)
            rows = pc.add(hits.column("row"), number * PART)
            table = pa.Table.from_batches([hits]).set_column(0, "row", rows)
            publish(part, lambda path, table=table: pq.write_table(table, path))
            made += 1
    return made


def inputs(engine: ps.Engine, file: pq.ParquetFile, queries: str, k: int) -> dict[str, object]:
    """Returns what the answers depend on."""
    content, photos = hashlib.sha256(), hashlib.sha256(Path(queries).read_bytes())
    for item in engine.iterate():
        content.update(json.dumps(item.to_dict(), sort_keys=True).encode())
    for batch in file.iter_batches(PART, columns=["photo"]):
        for path in batch.column(0).to_pylist():
            told = os.stat(path) if path and os.path.exists(path) else None
            photos.update(f"{told and (told.st_size, told.st_mtime_ns)} ".encode())
    digests = {"model": engine.stats()["fingerprint"], "items": content.hexdigest(), "queries": photos.hexdigest()}
    return {**digests, "k": k, "part": PART}


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
    try:
        print(add(given.catalog, given.photos))
        print(f"{search(given.catalog, given.queries, given.answers)} new parts in {given.answers}")
    except KeyboardInterrupt:
        sys.exit("stopped: run the same command to go on")
    except (ps.PlushieError, OSError, pa.ArrowInvalid) as error:
        sys.exit(f"nightly.py: {error}")


if __name__ == "__main__":
    main()
