"""The command `plushie-search encode`."""

from __future__ import annotations

import argparse
from contextlib import closing

from ..hub import DEFAULT_MODEL, open_encoder
from ..interop.ray import on_ray
from ..interop.shards import FORMATS, encode_folder, here
from ..show.progress import ProgressBar
from ..show.table import printable
from .common import DONE, INTERRUPTED, SOME_FAILED, Commands, add_json, print_json, say
from .options import add_options, for_model, positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    command = commands.add("encode", run, "write the vectors of a folder of pictures into files, here or by Ray")
    command.add_argument("pictures", metavar="PICTURES", help="the folder: PICTURES/<item>/<picture>")
    command.add_argument("out", metavar="OUT", help="the folder to write; running it again goes on")
    command.add_argument("--model", default=DEFAULT_MODEL, metavar="MODEL", help="the model (%(default)s)")
    command.add_argument("--format", choices=FORMATS, default=FORMATS[0], help="the files to write (%(default)s)")
    command.add_argument(
        "--shard", type=positive, default=1000, metavar="N", help="pictures that are written at once (%(default)s)"
    )
    command.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="encode on a cluster of Ray (that of RAY_ADDRESS, or this machine)",
    )
    command.add_argument(
        "--workers", type=positive, default=2, metavar="N", help="Ray's processes that encode (%(default)s)"
    )
    add_json(command)
    add_options(command, several=False)


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    how = for_model(options, options.model)
    encoder = open_encoder(options.model, **how)
    run_shards = here(encoder)
    if options.ray is not None:
        run_shards = on_ray(options.model, workers=options.workers, how=how, address=options.ray or None)
    try:
        with closing(ProgressBar("encoding")) as progress:
            report = encode_folder(
                options.pictures,
                options.out,
                model=(encoder.name, encoder.fingerprint, encoder.dim),
                run=run_shards,
                format=options.format,
                shard=options.shard,
                progress=progress,
            )
    except KeyboardInterrupt:
        say("interrupted: run it again to continue there")
        return INTERRUPTED
    for name, reason in report.failed:
        say(f"left out {name}: {reason}")
    if options.json:
        print_json(report.to_dict())
    else:
        print(f"{report} in {printable(options.out)}")
    return SOME_FAILED if report.failed else DONE
