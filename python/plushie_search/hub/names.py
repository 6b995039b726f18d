"""Resolves names of models to directories."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from .._core import ArgumentError
from ..paths import expanded
from .locate import is_here, locate
from .registry import Entry, entries, find

#: The models that come with this package, one directory for each.
BUILT_IN = Path(__file__).parents[1] / "models"

#: The default model.
DEFAULT_MODEL = "plushie-mini"

#: The manifest of a built-in model; other directories may do without one.
MANIFEST = "model.json"


class Located(NamedTuple):
    """A model directory, and its manifest if the directory has none."""

    directory: Path
    manifest: str | None


def resolve(
    model: str | os.PathLike[str], *, accept_license: bool = False, networks: bool = True, thorough: bool = False
) -> Located:
    """Returns the directory of a model, by its name (built in, or in the registry) or by its path.

    A model of the registry is downloaded if it is not on this disk.

    Args:
        model: The name or path; give a directory with the name of a model as ``./name``.
        accept_license: Whether you consent to the model's license, if that needs consent. Once is enough.
        networks: Whether to download the networks, too; False for models that run on a server.
        thorough: Whether to read the files of a model of the registry again, even if they seem unchanged.

    Raises:
        ArgumentError: There is no such model; the message names similar ones.
        ModelError: The model's license needs consent, or it cannot be downloaded; the message has the cure.
        ImportError: It must be downloaded and ``huggingface_hub`` is not installed.
    """
    name = os.fspath(model)
    if isinstance(model, str):
        if name in built_in_models():
            return Located(BUILT_IN / name, None)
        if found := find(name):
            wanted = found
            if not networks and not is_here(found):
                wanted = replace(found, files=tuple(file for file in found.files if not file.is_network))
            directory, revision = locate(wanted, accept_license=accept_license, thorough=thorough)
            return Located(directory, found.manifest_at(revision))
    directory = Path(expanded(name))
    try:
        if name and directory.is_dir():
            return Located(directory, None)
    except OSError as error:
        raise ArgumentError(f"model {name!r} cannot be opened as a directory: {error}") from error
    raise ArgumentError(
        f"unknown model {name!r}; {_alike(name)}give the path of a model directory, the built-in model "
        f"{', '.join(built_in_models())}, or another name that `plushie-search models list` shows"
    )


def _alike(name: str) -> str:
    names = {known.casefold(): known for known in (*built_in_models(), *entries())}
    alike = [names[known] for known in get_close_matches(name.casefold(), names, n=3)]
    return f"did you mean {' or '.join(alike)}? Otherwise " if alike else ""


def models() -> list[str]:
    """Returns the names that ``Engine(model=...)`` knows: the built-in models first, then those of the registry."""
    built_in = built_in_models()
    return built_in + [name for name in entries() if name not in built_in]


def built_in_models() -> list[str]:
    """Returns the names of the models that come with this package, in alphabetical order."""
    return sorted(manifest.parent.name for manifest in BUILT_IN.glob(f"*/{MANIFEST}"))


def built_in_manifest(name: str) -> dict[str, Any]:
    """Returns the manifest of a built-in model."""
    manifest: dict[str, Any] = json.loads((BUILT_IN / name / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def entry(name: str) -> Entry:
    """Returns a model of the registry, by its name or an alias.

    Raises:
        ArgumentError: The registry has no such model.
    """
    if (found := find(name)) is None:
        raise ArgumentError(f"unknown model {name!r}; {_alike(name)}see `plushie-search models list`")
    return found


def pull_model(name: str, *, accept_license: bool = False) -> Path:
    """Downloads a model of the registry if it is not on this disk, verifies it, and returns its directory.

    The files are in the model hub's cache, which ``HF_HOME`` and ``HF_HUB_CACHE`` place. ``HF_ENDPOINT`` names a mirror
    and ``HF_TOKEN`` an access token; ``HF_HUB_OFFLINE=1`` forbids all requests. An interrupted download resumes.

    Args:
        name: A name that :func:`models` lists.
        accept_license: Whether you consent to the model's license, if that needs consent. Once is enough.

    Raises:
        ArgumentError: There is no such model.
        ModelError: The license needs consent, or a file cannot be downloaded or has another digest than the pinned one;
            the message has the cure.
        ImportError: ``huggingface_hub`` is not installed.
    """
    if name in built_in_models():
        return BUILT_IN / name
    return locate(entry(name), accept_license=accept_license)[0]
