"""JSON of requests and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from .errors import Problem, bad


def parse_object(text: str | bytes, what: str) -> dict[str, Any]:
    """Returns the JSON object that a text holds.

    Raises:
        Problem: It is no JSON (400) or no object (422).
    """
    value = parse_json(text, what)
    if not isinstance(value, dict):
        raise bad(f"{what} is no JSON object: send {{...}}")
    return value


def parse_json(text: str | bytes, what: str) -> Any:
    """Returns the JSON value that a text holds.

    Raises:
        Problem: It is no JSON (400).
    """
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text))
        value = _DECODER.decode(text)
        if _SURROGATE.search(text):
            _ENCODER.encode(
                value
            ).encode()  # fails if it is no pair: such a text is none that can be stored or looked up
        return value
    except (ValueError, RecursionError) as error:
        raise Problem(400, "json", f"{what} is no JSON: {str(error) or type(error).__name__}") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number of JSON")


#: The escape of a half of a pair of UTF-16.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

# Made once: a new one for every text costs more than reading a short text.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def dump(value: Any) -> bytes:
    """Returns a value as JSON in UTF-8. A name with bytes that are no text keeps them as escapes."""
    return _ENCODER.encode(value).encode("utf-8", "backslashreplace")


def check_keys(given: Mapping[str, Any], known: tuple[str, ...], what: str) -> None:
    """Refuses a key that is not known.

    Raises:
        Problem: There is one.
    """
    for key in given:
        if key not in known:
            alike = get_close_matches(key, known, n=1)
            hint = f"did you mean {alike[0]!r}?" if alike else f"known are {', '.join(known)}"
            raise bad(f"{what} has the unknown key {key[:40]!r}: {hint}")


@lru_cache(4096)
def segment(text: str) -> str:
    """Returns a text as one segment of a path."""
    return quote(text.encode("utf-8", "surrogateescape"), safe="")
