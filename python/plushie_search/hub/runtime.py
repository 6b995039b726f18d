"""The ONNX Runtime library of the installed package."""

from __future__ import annotations

import contextlib
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

#: The oldest ONNX Runtime that can be used.
OLDEST_RUNTIME = (1, 23)

#: Packages with an ONNX Runtime library, and the devices of each. They all install into the same directory, where the
#: name of a library has its version: those of two packages are side by side if the versions differ.
RUNTIMES = {
    "onnxruntime": ("cpu",),
    "onnxruntime-gpu": ("cuda", "tensorrt", "auto"),
    "onnxruntime-openvino": ("openvino",),
}

#: The library's file in these packages, by the system; Linux's by default.
FILES = {"darwin": "libonnxruntime*.dylib", "win32": "onnxruntime.dll"}

INSTALL = "pip install --upgrade 'onnxruntime>={}.{}'".format(*OLDEST_RUNTIME)


def runtime_library(device: str = "cpu") -> Path:
    """Returns the ONNX Runtime library inside the installed ``onnxruntime`` package, without importing it.

    If there are several, returns that of the package for ``device``, or else the newest.

    Raises:
        ImportError: The package is missing, too old, or has no library; the message names the package to install.
    """
    spec = find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"ONNX Runtime is not installed; install it with: {INSTALL}", name="onnxruntime")
    installed = {}
    for name in RUNTIMES:
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    places = [Path(place) / "capi" for place in spec.submodule_search_locations]
    libraries = [path for place in places for path in place.glob(FILES.get(sys.platform, "libonnxruntime.so*"))]
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
