"""How often the right item is found, on your own photographs.

    python benches/photos.py ITEMS QUERIES [--model plushie-mini] [--check 5] [--words WORDS.csv] [--weights W ...]

ITEMS/<item>/<picture> become a catalog through the command line; every QUERIES/<item>/<picture> whose item is in it is
searched for through the Python API, and the first few of them through the command line as well, which must find the
same. Prints the share of queries whose item is first, and among the first five, with 95 % bootstrap intervals that draw
items with all their queries, and what guessing would reach.

Several models, as in `--model mobilenet plushie-mini`, share the catalog: the first looks up pictures. With a file that
has the columns `item` and `words`, each picture is also asked with its item's words, by the first model that reads, and
the words are asked alone. With `--weights`, one for each model, each picture is looked up by all of them together.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import plushie_search as ps
from plushie_search import metrics

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
COMMAND = [sys.executable, "-m", "plushie_search"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("items", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--model", nargs="+", default=["plushie-mini"])
    parser.add_argument("--check", type=int, default=5, help="queries that also go through the command line")
    parser.add_argument("--weights", type=float, nargs="+", help="how much each model counts, all together")
    parser.add_argument("--words", type=Path, help="a .csv file with the columns item and words")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        catalog = str(Path(folder, "photos.catalog"))
        choice = [option for model in options.model for option in ("--model", model)]
        subprocess.run([*COMMAND, "add", *choice, catalog, str(options.items)], check=True)
        with ps.Engine(catalog, model=options.model) as engine:
            paths = sorted(path for path in options.queries.rglob("*") if path.suffix.lower() in PICTURES)
            truth = [path.parent.relative_to(options.queries).as_posix() for path in paths]
            known = [id in engine for id in truth]
            paths = [path for path, keep in zip(paths, known, strict=True) if keep]
            truth = [id for id, keep in zip(truth, known, strict=True) if keep]
            found = _items(engine.search_image(paths, k=5))
            items = len(engine)
            kinds = {"picture": found}
            if options.weights:
                by = dict(zip(engine.models, options.weights, strict=True))
                kinds[f"picture ({by})"] = _items(engine.search_image(paths, k=5, models=by))
            if options.words:
                with options.words.open(newline="", encoding="utf-8") as file:
                    words = {row["item"]: row["words"] for row in csv.DictReader(file)}
                asked = [words[id] for id in truth]
                kinds["picture and words"] = _items(engine.search_hybrid(paths, asked, k=5))
                kinds["words"] = _items(engine.search_text(asked, k=5))
        for path, expected in list(zip(paths, found, strict=True))[: options.check]:
            search = [*COMMAND, "search", *choice, "--json", "-k", "5", catalog, str(path)]
            hits = json.loads(subprocess.run(search, check=True, capture_output=True).stdout)
            assert [hit["item"] for hit in hits] == expected, f"the command line finds something else for {path}"
    print(f"{len(paths)} queries, {items} items, model {' and '.join(options.model)}")
    for kind, found in kinds.items():
        for k in (1, 5):
            right = metrics.Rankings(found, [{id} for id in truth]).hit(k)
            figure = metrics.mean(right, groups=truth)
            print(f"by {kind}, right item among the first {k}: {figure}; guessing {k / items:.3f}")


def _items(batch: list[ps.Results]) -> list[list[str]]:
    return [[hit.item for hit in results] for results in batch]


if __name__ == "__main__":
    main()
