"""Reads TIFF, HEIC, AVIF and JPEG XL for the core, with Pillow and its plugins from the extra `formats`."""

from __future__ import annotations

import importlib
import io
import warnings
from typing import Any

# The plugins that Pillow needs: their module, and the function in it that registers them, if importing does not.
_PLUGINS = {"HEIC": ("pillow_heif", "register_heif_opener"), "JPEG XL": ("pillow_jxl", None)}
# Pillow's own names, so that no other of its decoders is tried.
_NAMES = {"TIFF": ["TIFF"], "AVIF": ["AVIF"], "HEIC": ["HEIF"], "JPEG XL": ["JXL"]}


def open_picture(format: str, data: bytes) -> Any:
    """The PIL image of a file, of which only the header has been read.

    Raises ImportError if the extra is not installed, and ValueError or OSError if the file is damaged.
    """
    cure = f"{format} is read by an extra: pip install 'plushie_search[formats]'"
    try:
        image = importlib.import_module("PIL.Image")
        if format in _PLUGINS:
            module, register = _PLUGINS[format]
            plugin = importlib.import_module(module)
            if register is not None:
                getattr(plugin, register)()
    except ImportError as error:
        raise ImportError(cure) from error
    if format == "AVIF" and not importlib.import_module("PIL.features").check("avif"):
        raise ImportError(cure)
    with warnings.catch_warnings():
        # The core has limits of its own.
        warnings.simplefilter("ignore", image.DecompressionBombWarning)
        return image.open(io.BytesIO(data), formats=_NAMES[format])
