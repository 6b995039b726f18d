"""OpenAI's ``/v1/embeddings``, for texts and for pictures."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from ..._core import Crop
from ..call import Call
from ..coding import check_keys
from ..errors import bad
from ..service import Service
from .searching import MAX_TEXT, base64_picture, cropped

#: The most inputs of a request.
MAX_INPUTS = 256


def embeddings(service: Service, call: Call) -> dict[str, Any]:
    """Returns the unit vectors of texts and pictures, in OpenAI's form.

    A picture is ``{"image": base64}``, as for Jina's servers, or a data URL with ``"modality": "image"``, as for
    Infinity's.
    """
    given = call.json()
    check_keys(given, ("input", "model", "encoding_format", "dimensions", "user", "modality"), "the body")
    inputs = given.get("input")
    inputs = inputs if isinstance(inputs, list) else [inputs]
    if not 1 <= len(inputs) <= MAX_INPUTS:
        raise bad(f"input: give 1 to {MAX_INPUTS} texts or pictures")
    coding = given.get("encoding_format") or "float"
    if coding not in ("float", "base64"):
        raise bad("encoding_format: choose float or base64")
    encoder = service.encoder(call.catalog, given.get("model"))
    if given.get("dimensions") not in (None, encoder.dim):
        raise bad(f"dimensions: this model has vectors of {encoder.dim} numbers")
    pictures: dict[int, bytes | Crop] = {}
    texts: dict[int, str] = {}
    for number, one in enumerate(inputs):
        if isinstance(one, dict):
            check_keys(one, ("text", "image", "crop"), f"input.{number}")
        if isinstance(one, dict) and "image" in one:
            picture = base64_picture(one["image"], f"input.{number}.image")
            pictures[number] = cropped([picture], one.get("crop"), f"input.{number}.crop")[0]
        elif given.get("modality") == "image":
            pictures[number] = base64_picture(one, f"input.{number}")
        else:
            texts[number] = _text(one.get("text") if isinstance(one, dict) else one, f"input.{number}")
    rows: dict[int, np.ndarray] = {}
    if pictures:
        rows |= zip(pictures, encoder.images(list(pictures.values())), strict=True)
    if texts:
        rows |= zip(texts, encoder.texts(list(texts.values())), strict=True)
    tokens = sum(len(text.split()) for text in texts.values())
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": number, "embedding": _coded(rows[number], coding)}
            for number in range(len(inputs))
        ],
        "model": encoder.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _coded(row: np.ndarray, coding: str) -> Any:
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if coding == "base64" else row.tolist()


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT:
        raise bad(f"{name}: give a text of 1 to {MAX_TEXT} characters; tokens are not taken")
    return value
