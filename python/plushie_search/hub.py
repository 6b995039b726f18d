"""Where things are found on this machine: models by name, and the ONNX Runtime library."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import warnings
from dataclasses import replace
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from . import _core, _cuda
from .catalogue.entry import Entry, entries
from .catalogue.locate import is_here, locate
from .paths import expanded
from .service import Remote, as_service

#: The models that come with this package, one directory for each.
BUILT_IN = Path(__file__).parent / "models"

#: The model that is used unless another is named.
DEFAULT_MODEL = "plushie-mini"

#: The manifest of a built-in model; other directories may tell by their files what it would say.
MANIFEST = "model.json"

#: The oldest ONNX Runtime that can be used.
OLDEST_RUNTIME = (1, 23)

#: Packages whose wheel has an ONNX Runtime library, and the devices that each is for. They all install into the same
#: directory, where a library is called by its version: those of two packages lie side by side unless they are of one.
RUNTIMES = {
    "onnxruntime": ("cpu",),
    "onnxruntime-gpu": ("cuda", "tensorrt", "auto"),
    "onnxruntime-openvino": ("openvino",),
}

INSTALL = "pip install --upgrade 'onnxruntime>={}.{}'".format(*OLDEST_RUNTIME)


class Located(NamedTuple):
    """Where a model lies, and what describes it if that is nothing in its directory."""

    directory: Path
    manifest: str | None


def resolve(
    model: str | os.PathLike[str], *, accept_license: bool = False, networks: bool = True, thorough: bool = False
) -> Located:
    """The directory of a model: of a built-in one or one of the registry by its name, or any directory by its path.

    A model of the registry is downloaded if it is not on this disk.

    Args:
        model: The name or path; a directory that is called like a model is given as ``./name``.
        accept_license: Whether one consents to the model's license, where that asks for it. Once is enough.
        networks: Whether the networks are wanted; without them only the files that they do not run on are downloaded.
        thorough: Whether the files of a model of the registry are read again, even if nothing was seen to change.

    Raises:
        ValueError: There is no such model; the message says what there is.
        ModelError: The model's license needs consent, or it cannot be downloaded; the message says what to do.
        ImportError: It would have to be downloaded and ``huggingface_hub`` is not installed.
    """
    name = os.fspath(model)
    if isinstance(model, str):
        if name in built_in_models():
            return Located(BUILT_IN / name, None)
        if found := entries().get(name):
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
        raise ValueError(f"model {name!r} cannot be looked up among the directories: {error}") from error
    raise ValueError(
        f"unknown model {name!r}; {_alike(name)}give the path of a model directory, the built-in model "
        f"{', '.join(built_in_models())}, or another name that `plushie-search models list` shows"
    )


def open_encoder(
    model: str | os.PathLike[str],
    *,
    threads: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
    max_batch: int | None = None,
    accept_license: bool = False,
    encoder: Remote | None = None,
) -> _core.Encoder:
    """What turns pictures and texts into unit vectors, for those who keep these themselves.

    ``open_encoder("ViT-B-32::openai").encode_images(paths)`` is an array of shape (pictures, dimension), float32; any
    number of threads may share an encoder. For what a name may be, see :func:`plushie_search.models`.

    Args:
        model: The name or path.
        threads: The most threads that compute, 1 to 1024; all cores unless told.
        device: What computes: ``"cpu"``; ``"cuda"``, ``"cuda:1"`` or ``"cuda:0,1"``, NVIDIA GPUs by their numbers,
            which share a batch; ``"tensorrt"``, the same through TensorRT; ``"openvino"`` or ``"openvino:GPU"``; or
            ``"auto"``, the first NVIDIA GPU, or with a warning that says why, the processor.
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``: the numbers to compute in, where the device has them. What the
            model is made of unless told.
        max_batch: The most pictures, or texts of one length, that go through the model together, 1 to 1024. 32 on GPUs
            unless told; elsewhere one, and four where that changes no bit of a vector.
        accept_license: Whether you consent to the model's license, where that asks for it.
        encoder: The service that runs the model's networks, if they do not run here: its address, the address of each
            tower (``{"image": ..., "text": ...}``), or a :class:`plushie_search.Service`. Where it runs the whole model
            (``http://``), ``model`` only names it.

    Raises:
        ModelError: The model or ONNX Runtime cannot be used, the license needs consent, a file cannot be downloaded,
            the device is missing, or the service cannot be asked or runs another model; the message says what to do.
        ImportError: ONNX Runtime is not installed, or the model would have to be downloaded and ``huggingface_hub`` is
            not.
        ValueError: There is no such model or device, the device has no such precision, or a number is out of range.
    """
    for option, number in (("threads", threads), ("max_batch", max_batch)):
        if number is not None and number < 0:
            raise ValueError(f"{option} {number}: give 1 to 1024")
    service = as_service(encoder)
    if service is not None and service.is_whole:
        for option, value in (("device", device), ("precision", precision), ("max_batch", max_batch)):
            if value not in (None, "auto", "cpu"):
                raise ValueError(f"{option} {value!r}: a service that runs a whole model decides that; leave it out")
        name = None if model == DEFAULT_MODEL else os.fspath(model)
        return _core.Encoder.of_service(service, name=name, threads=threads)
    near = service is None or not service.is_everything
    directory, manifest = resolve(model, accept_license=accept_license, networks=near)
    facts = None if service is None or manifest is None else entry(os.fspath(model)).facts
    library = runtime_library(device)
    if device.partition(":")[0] in RUNTIMES["onnxruntime-gpu"]:
        _cuda.preload(library.parent)
    opened = _core.Encoder(
        directory,
        runtime=library,
        threads=threads,
        manifest=manifest,
        device=device,
        precision=precision,
        max_batch=max_batch,
        service=service,
        facts=facts,
    )
    if opened.fallback is not None:
        _warn(f"device auto computes on {opened.device}: {opened.fallback}")
    return opened


def _warn(message: str) -> None:
    """Warns at the line that called this package, however much of it lies between."""
    inside = os.path.dirname(__file__) + os.sep
    if sys.version_info >= (3, 12):
        warnings.warn(message, RuntimeWarning, skip_file_prefixes=(inside,))
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)


def _alike(name: str) -> str:
    names = {known.casefold(): known for known in (*built_in_models(), *entries())}
    alike = [names[known] for known in get_close_matches(name.casefold(), names, n=3)]
    return f"did you mean {' or '.join(alike)}? Otherwise " if alike else ""


def models() -> list[str]:
    """The names that ``Engine(model=...)`` knows: the built-in models first, then those of the registry."""
    built_in = built_in_models()
    return built_in + [name for name in entries() if name not in built_in]


def built_in_models() -> list[str]:
    """The names of the models that come with this package, in alphabetical order."""
    return sorted(manifest.parent.name for manifest in BUILT_IN.glob(f"*/{MANIFEST}"))


def built_in_manifest(name: str) -> dict[str, Any]:
    """The manifest of a built-in model."""
    manifest: dict[str, Any] = json.loads((BUILT_IN / name / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def entry(name: str) -> Entry:
    """A model of the registry.

    Raises:
        ValueError: The registry has none of that name.
    """
    try:
        return entries()[name]
    except KeyError:
        raise ValueError(f"unknown model {name!r}; {_alike(name)}see `plushie-search models list`") from None


def pull_model(name: str, *, accept_license: bool = False) -> Path:
    """Downloads a model of the registry unless it is on this disk, verifies it, and returns its directory.

    The files lie in the model hub's cache, which ``HF_HOME`` and ``HF_HUB_CACHE`` place; ``HF_ENDPOINT`` names a
    mirror, ``HF_TOKEN`` an access token, and with ``HF_HUB_OFFLINE=1`` no call is made at all. An interrupted download
    goes on where it was.

    Args:
        name: A name that :func:`models` lists.
        accept_license: Whether you consent to the model's license, where that asks for it. Once is enough.

    Raises:
        ValueError: There is no such model.
        ModelError: The license needs consent, or a file cannot be had or is not what it should be; the message says
            what to do.
        ImportError: ``huggingface_hub`` is not installed.
    """
    if name in built_in_models():
        return BUILT_IN / name
    return locate(entry(name), accept_license=accept_license)[0]


def runtime_library(device: str = "cpu") -> Path:
    """The ONNX Runtime library inside the installed ``onnxruntime`` package, which is not imported.

    Where there are several, it is the one of the package for ``device``, or else the newest.

    Raises:
        ImportError: It is missing, too old, or has no library; the message says what to install.
    """
    spec = find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"ONNX Runtime is not installed; install it with: {INSTALL}", name="onnxruntime")
    installed = {}
    for name in RUNTIMES:
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    places = [Path(place) / "capi" for place in spec.submodule_search_locations]
    libraries = [path for place in places for path in place.glob("libonnxruntime.so*")]
    for name, devices in RUNTIMES.items():
        if device.partition(":")[0] in devices and name in installed:
            own = [path for path in libraries if _numbers(path.name) == _numbers(installed[name])]
            libraries, installed = own or libraries, {name: installed[name]}
    for name, number in installed.items():
        if _numbers(number) < OLDEST_RUNTIME:
            needed = INSTALL.replace("'onnxruntime", f"'{name}")
            raise ImportError(f"{name} {number} is too old; update it with: {needed}", name="onnxruntime")
    if not libraries:
        looked = ", ".join(str(place) for place in places)
        raise ImportError(f"no ONNX Runtime library in {looked}; install one with: {INSTALL}", name="onnxruntime")
    # An interrupted update may leave an older library behind.
    return max(libraries, key=lambda path: _numbers(path.name))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))
