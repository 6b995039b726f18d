"""The command `plushie-search models`: list, show, pull, check, export, fp16, wrap, quantize."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import hub
from ..convert.fp16 import convert_to_fp16
from ..convert.quantize.model import quantize_model
from ..encoders.service import SCHEME
from ..hub import pins
from ..hub.check import ALIKE, COMPARED, check
from ..hub.locate import is_here, locate
from ..hub.registry import Entry, entries
from ..paths import expanded
from ..show.progress import ProgressBar
from ..show.table import printable, table
from .common import DONE, Command, Commands, add_json, print_json
from .options import add_consent, add_options, add_threads, for_model, positive

#: The mean and standard deviation of the pictures that most networks were trained on, ImageNet's.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def add_command(commands: Commands) -> None:
    """Adds the command and its actions."""
    parser = commands.add("models", run, "list, show, download, check and make models")
    parser.intermixed = False
    actions = parser.add_subparsers(title="actions", metavar="ACTION", parser_class=Command)

    def action(name: str, work: Callable[[argparse.Namespace], tuple[Any, str]], help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", allow_abbrev=False)
        sub.set_defaults(work=work)
        add_json(sub)
        return sub

    parser.set_defaults(work=_list, json=False)
    action("list", _list, "list the models that can be used by their names")
    show = action("show", _show, "show all that is known of a model")
    pull = action("pull", _pull, "download models, so that they are there when the network is not")
    verify = action("check", _check, "try a model, here or on its service: its files, vectors and speed")
    make = action("export", _export, "make a model directory of an open_clip or transformers model")
    make.add_argument("source", metavar="SOURCE", help="open_clip:ARCHITECTURE/PRETRAINED, or transformers:NAME")
    make.add_argument("out", metavar="DIRECTORY", help="where; it must not exist")
    make.add_argument("--name", help="what the model is called (after SOURCE)")
    make.add_argument("--license", help="under which license it may be used")
    make.add_argument("--fp16", action="store_true", help="write networks of 16 bits, too, for --precision fp16")
    make.add_argument("--languages", default="", metavar="TAGS", help="of its texts, separated by commas: en,zh")
    for sub, names in ((show, None), (pull, "+"), (verify, None)):
        directory = {show: ", its directory, or an ONNX file", verify: " or directory"}.get(sub, "")
        sub.add_argument("model", metavar="NAME", nargs=names, help=f"a model's name{directory}")
    smaller = action("fp16", _fp16, "add networks of 16 bits to a model, for --precision fp16")
    smaller.add_argument("model", metavar="NAME", help="a model's name or directory")
    smaller.add_argument(
        "out",
        metavar="DIRECTORY",
        nargs="?",
        help="where to make a copy (beside its networks, in a directory of yours)",
    )
    plain = action("wrap", _wrap, "make a model directory of an ONNX network for pictures")
    plain.add_argument("network", metavar="FILE", help="the ONNX file; `models show FILE` shows its inputs and outputs")
    plain.add_argument("out", metavar="DIRECTORY", help="where; it must not exist")
    plain.add_argument("--output", metavar="NAME", help="the output that holds the vector (the first)")
    plain.add_argument(
        "--size", type=positive, metavar="PIXELS", help="the side of the pictures (that of the network's input, or 224)"
    )
    plain.add_argument("--resize", choices=("squash", "crop", "letterbox"), default="squash", help="(%(default)s)")
    for flag, usual in (("--mean", MEAN), ("--std", STD)):
        plain.add_argument(
            flag,
            type=float,
            nargs="+",
            default=usual,
            metavar="X",
            help=f"one number or three, of values from 0 to 1 ({' '.join(map(str, usual))})",
        )
    plain.add_argument("--channels", choices=("rgb", "bgr"), default="rgb", help="the order of colors (%(default)s)")
    plain.add_argument("--name", help="the name of the model (that of DIRECTORY)")
    plain.add_argument("--license", default="unknown", help="the license of the network (%(default)s)")
    faster = action("quantize", _quantize, "make a model directory that computes in 8 bits, and measure what it loses")
    faster.add_argument("model", metavar="NAME", help="a model's name or directory")
    faster.add_argument("out", metavar="DIRECTORY", help="where; it must not exist")
    faster.add_argument("--pictures", required=True, metavar="FOLDER", help="pictures like those to search, 40 or more")
    faster.add_argument("--sample", type=int, default=256, metavar="N", help="so many for the ranges (%(default)s)")
    faster.add_argument(
        "--held-out", type=int, default=500, metavar="N", help="measure on so many others (%(default)s)"
    )
    faster.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the pictures (%(default)s)")
    faster.add_argument("--weight-bits", type=int, choices=(7, 8), default=8, help="7 for processors without VNNI")
    faster.add_argument("--name", help="what the model is called (NAME-int8)")
    add_threads(faster)
    for sub in (pull, smaller, faster):
        add_consent(sub)
    add_options(verify, several=False, threads="1")


def run(options: argparse.Namespace) -> int:
    facts, text = options.work(options)
    if options.json:
        print_json(facts)
    else:
        print(text)
    return DONE


def _list(options: argparse.Namespace) -> tuple[Any, str]:
    rows, facts, uses = [], [], []
    for name in hub.models():
        entry = entries().get(name)
        if name in hub.built_in_models():
            manifest = hub.built_in_manifest(name)
            numbers, license, tags = manifest["dimension"], manifest.get("license", ""), manifest.get("languages", [])
            size: int | None = _networks(name, manifest)
            where = "built in"
            uses.append(manifest.get("description", ""))
            facts.append({"name": name, "here": True, "size": size, **manifest})
        elif entry is not None:
            here = is_here(entry)
            numbers, license, tags = entry.dimension, f"{entry.license}{' *' if entry.consent else ''}", entry.languages
            size, where = entry.size, "yes" if here else "no" if entry.repository else "export"
            uses.append(entry.good_at)
            facts.append({**_facts(entry), "here": here})
        rows.append((name, str(numbers), _megabytes(size), where, license, _languages(tags) or "none"))
    head, *lines = table(["model", "numbers", "size", "here", "license", "languages"], rows).splitlines()
    # With the use in a column of its own a line would be twice as wide as most terminals.
    text = [line for pair in zip(lines, (f"  {printable(use)}" for use in uses), strict=True) for line in pair]
    note = "* asks for consent, once: --accept-license"
    return facts, "\n".join([head, *text, note])


def _networks(name: str, manifest: dict[str, Any]) -> int:
    """Returns the bytes of the networks of a built-in model."""
    files = {manifest[tower]["file"] for tower in ("image", "text") if manifest.get(tower)}
    return sum((hub.BUILT_IN / name / file).stat().st_size for file in files)


def _show(options: argparse.Namespace) -> tuple[Any, str]:
    name = options.model
    if name in hub.built_in_models() or (name not in entries() and Path(expanded(name)).is_dir()):
        return _show_directory(name)
    if name not in entries() and Path(expanded(name)).is_file():
        return _show_file(name)
    entry = hub.entry(name)
    known = pins.read(name)
    facts = {**_facts(entry), "here": is_here(entry)}
    shown: dict[str, Any] = {
        "what": entry.description,
        "good at": entry.good_at,
        "numbers in a vector": entry.dimension,
        "languages": _languages(entry.languages) or "none: pictures only",
        "license": f"{entry.license}, {entry.license_url}",
    }
    if entry.consent:
        given = "given" if known.accepted == entry.license else "not given yet, see --accept-license"
        shown["consent"] = f"{entry.consent} ({given})"
    if entry.export:
        shown["made by"] = f"plushie-search models export {entry.export} DIRECTORY"
    if entry.repository:
        shown["size"] = _megabytes(entry.size)
        shown["repository"] = f"{entry.repository}, revision {_pinned(entry.revision, known.revision)}"
        for file in entry.files:
            size = f", {file.bytes} bytes" if file.bytes is not None else ""
            shown[f"file {file.path}"] = f"SHA-256 {_pinned(file.sha256, known.sha256.get(file.path))}{size}"
        shown["here"] = "yes" if facts["here"] else f"no, get it by: plushie-search models pull {name}"
    return facts, _lines(name, shown)


def _show_directory(name: str) -> tuple[Any, str]:
    encoder = hub.open_encoder(name, threads=1)
    manifest = json.loads(encoder.manifest)
    facts = {"directory": str(hub.resolve(name).directory), "fingerprint": encoder.fingerprint, **manifest}
    shown = {key: value for key, value in facts.items() if value is not None and key not in ("name", "image", "text")}
    for part in ("image", "text", "quantized"):
        shown |= {f"{part} {key}": value for key, value in (manifest.get(part) or {}).items() if value is not None}
    shown.pop("quantized", None)
    return facts, _lines(encoder.name, shown)


def _show_file(name: str) -> tuple[Any, str]:
    path = Path(expanded(name))
    if path.name == hub.MANIFEST:
        return _show_directory(str(path.parent))
    facts = _wrapping().describe(path)
    shown = {"size": _megabytes(facts["bytes"])}
    for kind in ("input", "output"):
        shown |= {f"{kind} {key}": f"({', '.join(map(str, shape))})" for key, shape in facts[f"{kind}s"].items()}
    shown["to use it"] = f"plushie-search models wrap {name} DIRECTORY"
    return facts, _lines(str(path), shown)


def _wrap(options: argparse.Namespace) -> tuple[Any, str]:
    manifest = _wrapping().wrap_network(
        options.network,
        options.out,
        output=options.output,
        side=options.size,
        resize=options.resize,
        mean=options.mean,
        std=options.std,
        channels=options.channels,
        name=options.name,
        license=options.license,
    )
    vector = f"{manifest['dimension']} numbers in a vector, from output {manifest['image']['output']}"
    return {"directory": options.out, **manifest}, f"{printable(options.out)}: {vector}"


def _wrapping() -> ModuleType:
    try:
        from ..convert import wrap
    except ImportError as error:
        raise ImportError(
            f"reading a network takes a package that is not installed ({error}); install it with: "
            "pip install 'plushie_search[quantize]'"
        ) from error
    return wrap


def _pull(options: argparse.Namespace) -> tuple[Any, str]:
    facts, lines = [], []
    for name in options.model:
        if name in hub.built_in_models():
            facts.append({"name": name, "directory": str(hub.resolve(name).directory)})
            lines.append(f"{name} is built in")
            continue
        entry = hub.entry(name)
        directory, revision = locate(entry, accept_license=options.accept_license)
        facts.append({"name": name, "directory": str(directory), "revision": revision})
        lines.append(f"{name}: {_megabytes(_size(entry, directory))} in {printable(str(directory))}, verified")
    return facts, "\n".join(lines)


def _check(options: argparse.Namespace) -> tuple[Any, str]:
    how = {**for_model(options, options.model), "threads": options.threads or 1}
    found = check(options.model, **how)
    shown: dict[str, Any] = {} if found.directory is None else {"directory": found.directory}
    shown |= {"numbers in a vector": found.dimension, "fingerprint": found.fingerprint}
    if found.device is not None:
        numbers = "" if found.precision is None else f", in {found.precision}"
        shown["device"] = f"{found.device}, by the {found.provider} of {found.runtime}{numbers}"
    if found.fallback is not None:
        shown["fallback"] = found.fallback
    for tower, (file, output) in found.outputs.items():
        likeness, agreement = found.likeness.get(tower), found.agreement.get(tower)
        original = "original unknown" if likeness is None else f"cosine {likeness:.6f} with the original"
        threads = "one thread" if found.threads == 1 else f"{found.threads} threads"
        speed = f"{found.milliseconds[tower]:.1f} ms on {threads}"
        shown[f"{tower} tower"] = f"{file}, output {output}; finite, of length 1; {original}; {speed}"
        if tower in found.batches:
            count, whole = found.batches[tower], found.batch_milliseconds[tower]
            shown[f"{tower} batch"] = f"{count} together in {whole:.1f} ms, {whole / count:.1f} ms each"
        if agreement is not None:
            shown[f"{tower} agreement"] = (
                f"least cosine {agreement:.6f} of {COMPARED} with the networks on the processor"
            )
        elif likeness is None and SCHEME.match(file):
            shown[f"{tower} agreement"] = "unknown: neither the networks nor a vector of the original are here"
        if any(cosine is not None and cosine < ALIKE for cosine in (likeness, agreement)):
            shown[f"{tower} verdict"] = f"below {ALIKE}: another model, or the server prepares what it gets otherwise"
    return asdict(found), _lines(found.model, shown)


def _export(options: argparse.Namespace) -> tuple[Any, str]:
    try:
        from ..convert.export.write import export
    except ImportError as error:
        raise ImportError(
            f"to make a model takes packages that are not all installed ({error}); install them with: "
            "pip install 'plushie_search[export]'"
        ) from error
    languages = [tag.strip() for tag in options.languages.split(",") if tag.strip()]
    likeness = export(
        options.source,
        options.out,
        name=options.name,
        license=options.license,
        languages=languages,
        fp16=options.fp16,
    )
    return _made(options.out, likeness)


def _fp16(options: argparse.Namespace) -> tuple[Any, str]:
    likeness = convert_to_fp16(options.model, options.out, accept_license=options.accept_license)
    return _made(options.out or options.model, likeness)


def _made(directory: str, likeness: dict[str, float]) -> tuple[Any, str]:
    towers = ", ".join(f"{tower} {least:.6f}" for tower, least in likeness.items())
    facts = {"directory": directory, "likeness": likeness}
    return facts, f"{printable(directory)}: least cosine with the original: {towers}"


def _quantize(options: argparse.Namespace) -> tuple[Any, str]:
    with closing(ProgressBar("quantizing")) as progress:
        made = quantize_model(
            options.model,
            options.out,
            pictures=options.pictures,
            sample=options.sample,
            held_out=options.held_out,
            seed=options.seed,
            weight_bits=options.weight_bits,
            threads=options.threads,
            name=options.name,
            accept_license=options.accept_license,
            progress=progress,
        )
    unread = [f"not read: {printable(reason)}" for _, reason in made.failed]
    return asdict(made), "\n".join([*map(printable, str(made).splitlines()), *unread])


def _facts(entry: Entry) -> dict[str, Any]:
    known = pins.read(entry.name)
    return {
        **{key: value for key, value in asdict(entry).items() if key not in ("manifest", "probe")},
        "size": entry.size,
        "pinned": entry.pinned,
        "pinned_by_first_use": None if entry.pinned else {"revision": known.revision, "sha256": known.sha256},
    }


def _pinned(ours: str | None, first: str | None) -> str:
    if ours is not None:
        return f"{ours} (pinned by the registry)"
    return f"{first} (pinned by the first download)" if first is not None else "of the first download, which pins it"


def _size(entry: Entry, directory: Any) -> int:
    return sum((directory / file.path).stat().st_size for file in entry.files)


def _languages(tags: Any) -> str:
    if list(tags) == ["mul"]:
        return "many"
    return ", ".join(tags) if len(tags) <= 3 else f"{', '.join(tags[:2])} and {len(tags) - 2} more"


def _megabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.3g} MB"


def _lines(name: str, shown: dict[str, Any]) -> str:
    width = max(map(len, shown))
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in shown.items()}
    return "\n".join([name, *(f"  {key:{width}}  {printable(text)}" for key, text in texts.items())])
