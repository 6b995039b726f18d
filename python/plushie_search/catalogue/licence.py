"""Licences that ask for a word of consent: for research only, or not for commerce."""

from __future__ import annotations

import os

from plushie_search._core import ModelError

from .entry import Entry

#: An environment variable with the names of licences or models, separated by commas, to which one consents.
ACCEPT = "PLUSHIE_ACCEPT_LICENCE"


def check(entry: Entry, *, accept: bool, accepted: str | None) -> str | None:
    """The licence to which one has consented, None where no consent is needed.

    Args:
        entry: The model.
        accept: Whether one consents now.
        accepted: The licence to which one has consented earlier.

    Raises:
        ModelError: Consent is needed and was not given; the message says what to, and how.
    """
    if entry.consent is None:
        return None
    words = {word.strip().casefold() for word in os.environ.get(ACCEPT, "").split(",")}
    if accept or accepted == entry.licence or not words.isdisjoint({entry.licence.casefold(), entry.name.casefold()}):
        return entry.licence
    raise ModelError(
        f"model {entry.name} is under the licence {entry.licence}: {entry.consent}. Read it at {entry.licence_url}; if "
        f"your use is within it, say so once: plushie-search models pull {entry.name} --accept-licence, or "
        f"accept_licence=True in Python, or {ACCEPT}={entry.licence} in the environment"
    )
