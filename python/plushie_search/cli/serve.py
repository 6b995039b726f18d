"""The command `plushie-search serve`."""

from __future__ import annotations

import argparse
from typing import Any

from ..paths import expanded
from .common import DONE, Commands
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    serve = commands.add("serve", run, "serve catalogs over HTTP, with a web page")
    serve.add_argument("catalog", metavar="CATALOG", nargs="*", help="the catalogs' directories, or NAME=DIRECTORY")
    serve.add_argument("--config", metavar="FILE", help="a YAML file; plushie-search config --example prints one")
    serve.add_argument("--host", help="the address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=int, metavar="N", help="the port (8082); 0 takes a free one")
    serve.add_argument(
        "--mode", choices=("dev", "prod"), help="dev reads the page's files anew and logs plainly (prod)"
    )
    serve.add_argument("--workers", type=positive, metavar="N", help="processes that share the catalogs (1)")
    serve.add_argument("--threads", type=positive, metavar="N", help="the most threads that compute (all cores)")
    serve.add_argument("--model", metavar="MODEL", help="a model's name or directory (those of the catalog)")
    serve.add_argument("--device", help="what computes: cpu, cuda, cuda:0,1 or auto (cpu)")
    serve.add_argument("--index-device", metavar="DEVICE", help="what compares vectors, as --device (cpu)")
    serve.add_argument(
        "--encoder-only", action="store_true", default=None, help="serve /v1/embeddings alone, without a catalog"
    )
    serve.add_argument("--read-only", action="store_true", default=None, help="refuse every change")
    serve.add_argument(
        "--create-keys",
        action="store_true",
        default=None,
        help="make keys and print them once if there are none; keys.json beside the catalog has their hashes",
    )
    serve.add_argument("--insecure", action="store_true", default=None, help="listen on other hosts without keys")
    serve.add_argument("--open", action="store_true", help="show the page in the browser")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    from ..server.run import run as serve
    from ..server.settings import load

    serve(load(options.config, **values(options)), show=options.open)
    return DONE


def values(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the sections and keys that the flags set."""
    sections: dict[str, Any] = {}
    for section, names in (
        ("server", ("host", "port", "mode", "workers", "threads", "encoder_only", "read_only")),
        ("auth", ("create_keys", "insecure")),
    ):
        given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
        if given:
            sections[section] = given
    model = {"model_name": options.model, "device": options.device}
    if given := {name: value for name, value in model.items() if value is not None}:
        sections["clip"] = given
    if options.index_device is not None:
        sections["faiss"] = {"device": options.index_device}
    for number, text in enumerate(options.catalog):
        name, equals, path = text.partition("=")
        if number == 0 and not equals:
            sections["catalog"] = expanded(text)
        else:
            path = expanded(path if equals else text)
            name = name if equals else path.rstrip("/").rpartition("/")[2].removesuffix(".catalog")
            sections.setdefault("catalogs", {})[name] = path
    return sections
