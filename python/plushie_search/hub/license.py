"""Checks the consent to licenses that need it, such as those for research only."""

from __future__ import annotations

import os

from .._core import ModelError
from .registry import Entry

#: An environment variable with the names of accepted licenses or models, separated by commas.
ACCEPT = "PLUSHIE_ACCEPT_LICENSE"


def check(entry: Entry, *, accept: bool, accepted: str | None) -> str | None:
    """Returns the accepted license; None if no consent is needed.

    Args:
        entry: The model.
        accept: Whether the user consents now.
        accepted: The license that the user accepted earlier; None if there is none.

    Raises:
        ModelError: Consent is needed and missing; the message has the license and the way to accept it.
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
