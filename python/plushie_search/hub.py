"""Where things are found on this machine: models by name, and the ONNX Runtime library."""

from __future__ import annotations

import os
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

#: The models that come with this package, one directory for each.
BUILT_IN = Path(__file__).parent / "models"

#: The model that is used unless another is named.
DEFAULT_MODEL = "plushie-mini"

#: The manifest that makes a directory a model.
MANIFEST = "model.json"

#: The oldest ONNX Runtime that can be used.
OLDEST_RUNTIME = (1, 23)

#: Packages whose wheel has an ONNX Runtime library; they all install into the same place.
RUNTIMES = ("onnxruntime", "onnxruntime-gpu")

INSTALL = "pip install --upgrade 'onnxruntime>={}.{}'".format(*OLDEST_RUNTIME)


def model_directory(model: str | os.PathLike[str]) -> Path:
    """The directory of a model: one of the built-in models by its name, or any directory by its path.

    Raises:
        ValueError: There is no such model; the message lists the names that exist.
    """
    name = os.fspath(model)
    if isinstance(model, str) and name in built_in_models():
        return BUILT_IN / name
    directory = Path(name)
    if (directory / MANIFEST).is_file():
        return directory
    if directory.is_dir():
        raise ValueError(f"model {name}: the directory has no {MANIFEST}, so it is not a model directory")
    names = ", ".join(built_in_models()) or "none in this installation"
    raise ValueError(f"unknown model {name!r}; give the path of a model directory, or a built-in model: {names}")


def built_in_models() -> list[str]:
    """The names of the models that come with this package, in alphabetical order."""
    return sorted(manifest.parent.name for manifest in BUILT_IN.glob(f"*/{MANIFEST}"))


def runtime_library() -> Path:
    """The ONNX Runtime library inside the installed ``onnxruntime`` package, which is not imported.

    Raises:
        ImportError: It is missing, too old, or has no library; the message says what to install.
    """
    spec = find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"ONNX Runtime is not installed; install it with: {INSTALL}", name="onnxruntime")
    for name in RUNTIMES:
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if _numbers(installed) < OLDEST_RUNTIME:
            raise ImportError(f"{name} {installed} is too old; update it with: {INSTALL}", name="onnxruntime")
    places = [Path(place) / "capi" for place in spec.submodule_search_locations]
    libraries = [path for place in places for path in place.glob("libonnxruntime.so*")]
    if not libraries:
        looked = ", ".join(str(place) for place in places)
        raise ImportError(f"no ONNX Runtime library in {looked}; install one with: {INSTALL}", name="onnxruntime")
    # An interrupted update may leave an older library behind.
    return max(libraries, key=lambda path: _numbers(path.name))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))
