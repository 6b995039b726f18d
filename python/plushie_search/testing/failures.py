"""Pictures of failed assertions: where they are written, and how they are named."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from .._core import picture_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The environment variable with the folder of the pictures; without it none is written.
FOLDER = "PLUSHIE_TEST_FAILURES"

#: The ids of tests that letters, digits and hyphens tell from each other.
PLAIN = re.compile(r"[\w./:-]*\w(\[[\w.-]*[\w.]\])?")

#: The environment variable in which pytest tells which test runs now.
CURRENT = "PYTEST_CURRENT_TEST"


def file_name(test: str) -> str:
    """Returns a name for a file from the id of a test: letters, digits, ``.``, ``_`` and ``-``, at most 120 of them.

    Eight digits of its SHA-256 follow if another test could have the same name: ids of parameters differ in spaces and
    slashes, too, and long ones only at their beginning.
    """
    short = re.sub(r"[^\w.-]+", "-", test).strip("-")
    if not test or (len(short) <= 120 and PLAIN.fullmatch(test)):
        return short or "failure"
    return f"{short[-111:].lstrip('-') or 'failure'}-{hashlib.sha256(test.encode()).hexdigest()[:8]}"


def write(pixels: NDArray[np.uint8]) -> Path | None:
    """Writes a picture of the test that runs now as a PNG file.

    Returns:
        Its path, which no other failure of the run has; None if no folder is set.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return None
    test = os.environ.get(CURRENT, "").rpartition(" (")[0]
    Path(folder).mkdir(parents=True, exist_ok=True)
    content = picture_file(pixels)[1]
    number, name = 1, file_name(test)
    while True:
        path = Path(folder, f"{name}.png" if number == 1 else f"{name}-{number}.png")
        try:
            with path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            number += 1


def told(message: str, pixels: NDArray[np.uint8] | None) -> str:
    """Returns the message of a failure, with the path of its picture if one was written."""
    path = None if pixels is None else write(pixels)
    return message if path is None else f"{message}\nside by side: {path}"
