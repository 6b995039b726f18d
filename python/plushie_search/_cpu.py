"""Refuses a processor that the extension module was not compiled for, before it can crash on it."""

import os
import platform
from importlib import metadata

#: The instruction sets that x86-64-v3 adds to x86-64, as /proc/cpuinfo names them; older kernels say abm for lzcnt.
REQUIRED = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe")


def missing_features(cpuinfo: str) -> list[str]:
    """Returns the instruction sets that the first processor of ``/proc/cpuinfo`` lacks; empty if it is not known."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            flags = set(value.split())
            missing = [feature for feature in REQUIRED if feature not in flags]
            return missing if flags & {"abm", "lzcnt"} else [*missing, "lzcnt"]
    return []


def check() -> None:
    """Raises ImportError if this processor cannot run the extension module."""
    if platform.machine() not in ("x86_64", "AMD64") or os.environ.get("PLUSHIE_SEARCH_ANY_CPU"):
        return
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            missing = missing_features(file.read())
    except OSError:
        return
    if missing and not metadata.version("plushie_search").endswith("+baseline"):
        raise ImportError(
            f"plushie_search is compiled for x86-64-v3 and this processor lacks {', '.join(missing)}: install the "
            "wheel of the release whose version ends in +baseline"
        )
