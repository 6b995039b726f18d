"""The command `plushie-search render`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .. import _core
from .._core import ArgumentError
from ..meshes import render_views
from ..paths import expanded
from ..show.table import counted, printable
from .common import DONE, Commands
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    render = commands.add("render", run, "draw a 3D model (STL, OBJ, PLY, GLB or 3MF) from many sides")
    render.add_argument("mesh", metavar="FILE", help="the file of the model")
    render.add_argument("--views", type=positive, default=20, metavar="N", help="pictures (%(default)s)")
    render.add_argument("--size", type=positive, default=224, metavar="PIXELS", help="their side (%(default)s)")
    render.add_argument(
        "--turntable", action="store_true", help="write one strip of pictures, for which the camera goes around once"
    )
    render.add_argument("--out", metavar="PATH", help="the folder, or the strip's JPEG file (named as the model)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    if options.turntable and options.out and Path(options.out).suffix.lower() not in (".jpg", ".jpeg"):
        raise ArgumentError(f"{options.out}: a strip is a JPEG file: end its name with .jpg")
    names, pictures = render_views(options.mesh, views=options.views, size=options.size, turntable=options.turntable)
    stem = Path(options.mesh).stem
    if options.turntable:
        out = Path(expanded(options.out or f"{stem}-turntable.jpg"))
        strip = np.concatenate(list(pictures), axis=1)
        out.write_bytes(_core.thumbnail(strip, side=max(strip.shape[:2])))
        print(f"{counted(len(names), 'view')} in {printable(str(out))}")
        return DONE
    out = Path(expanded(options.out or f"{stem}-views"))
    out.mkdir(parents=True, exist_ok=True)
    for number, (name, picture) in enumerate(zip(names, pictures, strict=True), 1):
        azimuth, elevation = name.removeprefix("view:").split(",")
        path = out / f"{number:02}_{azimuth}_{elevation}.jpg"
        path.write_bytes(_core.thumbnail(picture, side=options.size))
    print(f"{counted(len(names), 'view')} in {printable(str(out))}")
    return DONE
