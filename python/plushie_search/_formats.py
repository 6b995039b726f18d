"""Reads TIFF, HEIC, AVIF and JPEG XL for the core, with Pillow and its plugins from the extra `formats`."""

from __future__ import annotations

import io
import warnings
from typing import Any

# Pillow's own names, so that no other of its decoders is tried.
_NAMES = {"TIFF": ["TIFF"], "AVIF": ["AVIF"], "HEIC": ["HEIF"], "JPEG XL": ["JXL"]}


def open_picture(format: str, data: bytes) -> Any:
    """Returns the PIL image of a file, of which only the header has been read.

    Raises:
        ImportError: The extra is not installed.
        ValueError, OSError: The file is damaged.
    """
    try:
        import PIL.Image

        _register(format)
    except ImportError as error:
        raise ImportError(f"{format} is read by an extra: pip install 'plushie_search[formats]'") from error
    with warnings.catch_warnings():
        # The core has limits of its own.
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
        return PIL.Image.open(io.BytesIO(data), formats=_NAMES[format])


def _register(format: str) -> None:
    """Makes Pillow read a format.

    Raises:
        ImportError: The format's plugin is not installed.
    """
    if format == "HEIC":
        import pillow_heif

        pillow_heif.register_heif_opener()
    elif format == "JPEG XL":
        import pillow_jxl  # noqa: F401  (importing it registers it)
    elif format == "AVIF":
        import PIL.features

        if not PIL.features.check("avif"):
            raise ImportError("this Pillow was built without AVIF")
