"""Writes fp16 networks beside those of a model, for devices that compute faster in them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from .. import _core, hub
from .._core import ArgumentError, ModelError
from ..hub.check import ALIKE, PROBE, TEXTS, encode, pictures
from ..paths import expanded
from .quantize.directory import LICENSES, publish, settle, stage, write_manifest

_Locations: TypeAlias = Callable[[Path], list[str]]
_Write: TypeAlias = Callable[[Path, Path], None]


def convert_to_fp16(
    model: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, *, accept_license: bool = False
) -> dict[str, float]:
    """Writes fp16 networks beside those of a model, for ``precision="fp16"``.

    They take half the space. The model stays the same one, with the same fingerprint: its catalogs may be made with
    these networks and searched with the others.

    Args:
        model: A name or directory, as for :class:`plushie_search.Engine`.
        out: A directory to make, with a copy of the model and the new networks. It must not exist; it appears only if
            it is complete. By default the networks are written into the model's own directory, which must not be shared
            as those of built-in and downloaded models are.
        accept_license: Whether you consent to the model's license, if that needs consent.

    Returns:
        For each tower, the least cosine between vectors of the new network and the old one.

    Raises:
        ArgumentError: There is no such model, or it is shared and ``out`` is missing.
        FileExistsError: ``out``, or an fp16 network, exists.
        ModelError: The model cannot be used or its numbers do not fit into fp16; nothing is written then.
        ImportError: The package ``onnx`` is missing.
    """
    try:
        from .graph import files
        from .graph.fp16 import SUFFIX, write
    except ImportError as error:
        raise ImportError(
            f"converting a model to fp16 needs a package that is not installed ({error}); install it with: "
            "pip install 'plushie_search[quantize]'"
        ) from error
    target = None if out is None else Path(expanded(out))
    if target is not None and (target.exists() or target.is_symlink()):
        raise FileExistsError(f"{target} exists already; give the name of a directory that does not")
    directory, description = hub.resolve(model, accept_license=accept_license)
    encoder = _core.Encoder(directory, runtime=hub.runtime_library(), manifest=description)
    manifest: dict[str, Any] = json.loads(encoder.manifest)
    if manifest.get("precision") not in (None, "fp32"):
        raise ModelError(
            f"model {encoder.name} computes in {manifest['precision']}: convert the one that it was made of"
        )
    if target is None:
        if directory != Path(expanded(model)) or any(
            (directory / file).is_symlink() for file, _ in encoder.outputs.values()
        ):
            raise ArgumentError(
                f"the files of model {encoder.name} are shared with others: give a directory for a copy"
            )
        return _convert(directory, manifest, encoder, SUFFIX, write)
    with stage(target) as folder:
        made = folder / "model"
        _copy(directory, made, manifest, files.locations)
        likeness = _convert(made, manifest, encoder, SUFFIX, write)
        publish(made, target)
    return likeness


def _copy(directory: Path, made: Path, manifest: Mapping[str, Any], locations: _Locations) -> None:
    towers = [manifest[side] for side in ("image", "text") if manifest.get(side)]
    networks = [tower["file"] for tower in towers]
    wanted = [*networks, *(tower["tokenizer"] for tower in towers if "tokenizer" in tower)]
    wanted += [str(Path(file).parent / place) for file in networks for place in locations(directory / file)]
    wanted += [path.name for pattern in (*LICENSES, PROBE) for path in directory.glob(pattern) if path.is_file()]
    for file in dict.fromkeys(wanted):
        (made / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(directory / file, made / file)
    write_manifest(made, manifest)


def _convert(
    directory: Path,
    manifest: Mapping[str, Any],
    encoder: _core.Encoder,
    suffix: str,
    write: _Write,
) -> dict[str, float]:
    """Makes the networks in a hidden folder of the directory, checks them, and moves them to their places."""
    changed, networks = dict(manifest), sorted({file for file, _ in encoder.outputs.values()})
    named = {file: Path(file).with_stem(Path(file).stem + suffix) for file in networks}
    for path in named.values():
        if (directory / path).exists():
            raise FileExistsError(f"{directory / path} exists already; remove it to make it anew")
    draft = Path(tempfile.mkdtemp(dir=directory, prefix=".fp16-"))
    try:
        for file, path in named.items():
            (draft / path).parent.mkdir(parents=True, exist_ok=True)
            try:
                write(directory / file, draft / path)
            except ValueError as error:
                raise ModelError(f"model {encoder.name}: {file} cannot be converted to fp16: {error}") from error
        for side, (file, _) in encoder.outputs.items():
            changed[side] = {**manifest[side], "file": str(draft.name / named[file])}
        likeness = _likeness(encoder, directory, changed)
        # A network comes after its weights.
        made = [path for path in draft.rglob("*") if path.is_file()]
        for path in sorted(made, key=lambda path: path.suffix == ".onnx"):
            settle(path)
            os.replace(path, directory / path.relative_to(draft))
        settle(directory)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return likeness


def _likeness(encoder: _core.Encoder, directory: Path, manifest: Mapping[str, Any]) -> dict[str, float]:
    likeness: dict[str, float] = {}
    try:
        reduced = _core.Encoder(directory, runtime=hub.runtime_library(), manifest=json.dumps(manifest))
        for tower in sorted(encoder.outputs):
            subjects = list(pictures() if tower == "image" else TEXTS)
            one, other = (encode(each, tower, subjects) for each in (encoder, reduced))
            likeness[tower] = float((one * other).sum(axis=1).min())
    except ModelError as error:
        raise ModelError(f"model {encoder.name} does not run in fp16, so nothing was written: {error}") from error
    for tower, least in likeness.items():
        if not least >= ALIKE:
            raise ModelError(
                f"model {encoder.name}: in fp16, vectors of its {tower} tower have only the cosine {least:.4f} with "
                "those in fp32, so nothing was written; its numbers may be too great"
            )
    return likeness
