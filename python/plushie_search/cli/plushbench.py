"""The command `plushie-search plushbench`."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

from ..hub import DEFAULT_MODEL
from ..paths import expanded
from ..plushbench import bench
from ..plushbench.bench import ALL_SPLITS, TEXT_SPLITS, Configuration
from ..plushbench.identities import SEEDS, SPLITS
from ..plushbench.report import Report
from ..show.progress import ProgressBar
from .common import DONE, INTERRUPTED, Commands, add_json, print_json, say
from .options import add_options, open_models

DESCRIPTION = """\
Measure how well models find plush toys that were rendered for it, each with known truth.

Every item of the catalog has one, two, three reference pictures: a plain studio photo, one from another side with the
limbs moved, one taken at home. Every query is another picture of an item:

  clean       a studio photo from a slightly other side
  light       strong, colored, too dark or too bright light
  pose        any side but the back, limbs and head moved
  occluded    20 to 60 % of the toy hidden by a hand, a box or a cloth, at home
  head-only   only the head in the picture, at home
  cluttered   among many other things, at home
  degraded    at home, blurred by lens or motion, made smaller, JPEG of quality 10 to 30
  everyday    any light, camera and background at home
  look-alike  everyday, while for each queried item the catalog also holds a toy that differs from it in one attribute
  mixed       all of those asked for, together
  unknown     everyday pictures of toys that are not in the catalog: how well the best score tells them from the
              everyday queries (AUROC), and how many are accepted where 5 % of the known are turned away

hit@1 and hit@10 say how often the right item is first, or among the first ten; where another item scores the same, it
counts as before. Texts in English, simplified and traditional Chinese look for the first 1000 items by their studio
photos; precision@5 is the share of the first five of which all that is said is true:

  text-one          one attribute, in the renderer's own words
  text-several      two or three attributes
  text-negated      one thing that the toy does not wear
  text-paraphrased  in other words than the renderer's, as people type them

All figures have 95 % bootstrap intervals; several models see the same pictures, and their differences are paired. Items
are counted while they pass by, so that memory does not grow with their number."""


def add_command(commands: Commands) -> None:
    """Adds the command."""
    parser = commands.add("plushbench", run, "measure models on plush toys that are rendered for it")
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    usual = Configuration()
    parser.add_argument(
        "--model", nargs="+", default=[DEFAULT_MODEL], metavar="MODEL", help=f"names or directories ({DEFAULT_MODEL})"
    )
    parser.add_argument("--items", type=int, default=usual.items, metavar="N", help="toys in the catalog (%(default)s)")
    parser.add_argument(
        "--references", type=int, default=usual.references, metavar="R", help="pictures of each, 1 to 3 (%(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help=f"which toys, 0 to {SEEDS - 1}; no two share one (%(default)s)"
    )
    parser.add_argument(
        "--splits",
        type=_splits,
        default=ALL_SPLITS,
        metavar="A,B",
        help="kinds of queries, separated by commas; `pictures`, `texts`, `all` or `none` (all)",
    )
    parser.add_argument(
        "--queries", type=int, default=usual.queries, metavar="N", help="of each kind, at most (%(default)s)"
    )
    parser.add_argument(
        "--texts", type=int, default=usual.texts, metavar="N", help="of each kind and language (%(default)s)"
    )
    parser.add_argument(
        "--unknown", type=int, default=usual.unknown, metavar="N", help="toys not in the catalog (%(default)s)"
    )
    parser.add_argument("--grocery", type=Path, metavar="DIR", help="measure the photos of a GroceryStoreDataset too")
    parser.add_argument(
        "--things", type=Path, nargs="+", default=[], metavar="DIR", help="find labeled photos by kind and word too"
    )
    parser.add_argument("--emoji", type=Path, metavar="DIR", help="find emoji by keyword too: keywords.json, png/")
    parser.add_argument("--work", type=Path, metavar="DIR", help="remember here how far it is, to go on after a break")
    parser.add_argument("--markdown", metavar="FILE", help="write the table as Markdown")
    add_options(parser, several=True)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    try:
        report = _report(options)
    except KeyboardInterrupt:
        if options.work is not None:
            say(f"interrupted: run it again with --work {options.work} to continue there")
            return INTERRUPTED
        raise
    if options.json:
        print_json(report.to_dict())
    else:
        print(report)
    return DONE


def _report(options: argparse.Namespace) -> Report:
    configuration = Configuration(
        items=options.items,
        references=options.references,
        seed=options.seed,
        splits=options.splits,
        queries=options.queries,
        texts=options.texts,
        unknown=options.unknown,
    )
    with closing(ProgressBar("benchmark")) as progress:
        found = bench.run(
            dict(zip(options.model, open_models(options, options.model), strict=True)),
            configuration,
            threads=options.threads,
            work=options.work,
            grocery=options.grocery,
            things=options.things,
            emoji=options.emoji,
            progress=progress,
        )
    if options.markdown is not None:
        Path(expanded(options.markdown)).write_text(found.to_markdown(), encoding="utf-8", errors="backslashreplace")
    return found


def _splits(text: str) -> tuple[str, ...]:
    groups = {"pictures": tuple(SPLITS), "texts": tuple(TEXT_SPLITS), "all": ALL_SPLITS, "none": ()}
    names = [name for part in text.split(",") for name in groups.get(part.strip(), (part.strip(),))]
    strange = [name for name in names if name not in ALL_SPLITS]
    if strange:
        raise argparse.ArgumentTypeError(f"no split {strange[0]!r}: use some of {', '.join((*groups, *ALL_SPLITS))}")
    return tuple(name for name in ALL_SPLITS if name in names)
