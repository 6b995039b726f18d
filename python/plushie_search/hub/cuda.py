"""Opens the CUDA libraries of the packages ``nvidia-*`` before ONNX Runtime needs them.

Their folders are not in the loader's search path. A library that is open is found by its name, so it is enough to open
each once, dependencies first; ``onnxruntime.preload_dlls`` does the same.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Folders: TypeAlias = tuple[tuple[str, tuple[str, ...]], ...]

#: Folders beside the package ``onnxruntime`` and the libraries in them, dependencies first: those of CUDA before
#: version 13, and those that are not part of CUDA.
FOLDERS: Folders = (
    ("nvidia/cuda_runtime/lib", ("cudart",)),
    ("nvidia/cuda_nvrtc/lib", ("nvrtc",)),
    ("nvidia/cublas/lib", ("cublasLt", "cublas")),
    ("nvidia/nvjitlink/lib", ("nvJitLink",)),
    ("nvidia/curand/lib", ("curand",)),
    ("nvidia/cufft/lib", ("cufft",)),
)
OTHERS: Folders = (("nvidia/cudnn/lib", ("cudnn",)), ("tensorrt_libs", ("nvinfer", "nvinfer_plugin", "nvonnxparser")))

#: Since this version the libraries of CUDA lie in one folder, which is called by the version.
IN_ONE_FOLDER = 13


def preload(capi: Path) -> list[Path]:
    """Opens the installed libraries that ONNX Runtime in the folder ``capi`` may need, and returns their paths.

    A library that cannot be opened is left out: the runtime reports the missing one.
    """
    opened = []
    # They may be in another folder of packages than the runtime, as with packages of the user or of an environment over
    # another one.
    packages = list(dict.fromkeys([capi.parent.parent, *(Path(place) for place in sys.path if place)]))
    for path in _found(packages, _version(capi)):
        try:
            ctypes.CDLL(str(path))
        except OSError:
            continue
        opened.append(path)
    return opened


def _version(capi: Path) -> int | None:
    """Returns the version of CUDA that the runtime was built for, which its package says in a file of assignments."""
    try:
        text = (capi / "build_and_package_info.py").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"^cuda_version\s*=\s*['\"](\d+)", text, re.MULTILINE)
    return int(found[1]) if found else None


def _found(packages: Sequence[Path], cuda: int | None) -> list[Path]:
    """Returns the libraries for this version of CUDA among the installed packages, in the order to open them."""
    if cuda is None:
        return []
    folders = FOLDERS
    if cuda >= IN_ONE_FOLDER:
        folders = ((f"nvidia/cu{cuda}/lib", tuple(name for _, names in FOLDERS for name in names)),)
    return [
        path
        for folder, names in (*folders, *OTHERS)
        for name in names
        for path in [path for place in packages for path in sorted(place.joinpath(folder).glob(f"lib{name}.so.*"))][:1]
    ]
