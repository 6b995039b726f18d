"""Licenses that ask for a word of consent: for research only, or not for commerce."""

from __future__ import annotations

import os

from .._core import ModelError
from .registry import Entry

#: An environment variable with the names of licenses or models, separated by commas, to which one consents.
ACCEPT = "PLUSHIE_ACCEPT_LICENSE"


def check(entry: Entry, *, accept: bool, accepted: str | None) -> str | None:
    """The license to which one has consented, None where no consent is needed.

    Args:
        entry: The model.
        accept: Whether one consents now.
        accepted: The license to which one has consented earlier.

    Raises:
        ModelError: Consent is needed and was not given; the message says what to, and how.
    """
    if entry.consent is None:
        return None
    words = {word.strip().casefold() for word in os.environ.get(ACCEPT, "").split(",")}
    if accept or accepted == entry.license or not words.isdisjoint({entry.license.casefold(), entry.name.casefold()}):
        return entry.license
    raise ModelError(
        f"model {entry.name} is under the license {entry.license}: {entry.consent}. Read it at {entry.license_url}; if "
        f"your use is within it, say so once: plushie-search models pull {entry.name} --accept-license, or "
        f"accept_license=True in Python, or {ACCEPT}={entry.license} in the environment"
    )
