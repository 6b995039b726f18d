"""Reads the JSON file with the labels of a source's rows."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError
from ..paths import expanded
from .batch import Cells, take_cells
from .matrices import check_file, told

#: What to do with a pickled list of labels.
UNPICKLE = (
    "a pickle runs the code that is in it, so none is opened here: if you trust it, write it as JSON by "
    "python -c \"import json, pickle; json.dump(pickle.load(open('labels.pkl', 'rb')), open('labels.json', 'w'))\""
)


class Labels:
    """The entries of a JSON file for the rows of a source: a list with one for each row, or an object by row.

    An entry is a text or a number, which is the row's label, null for nothing, or an object with any of ``id``,
    ``label``, ``text``, ``reference``, ``digest`` and ``metadata``; its other fields are metadata, too. A list goes by
    the places of the rows. The keys of an object are their numbers, or the ids that a faiss index has for them.
    """

    def __init__(self, path: str, entries: Sequence[Any] | Mapping[str, Any], *, ids: bool = False) -> None:
        self.path = path
        self._entries = entries
        self._ids = ids

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def is_listed(self) -> bool:
        """Whether the entries are a list, with one for each row."""
        return not isinstance(self._entries, Mapping)

    def cells(self, numbers: Sequence[int] | NDArray[np.int64]) -> Cells:
        """Returns the cells of rows by their places if these are a list, or else by their numbers.

        Raises:
            ArgumentError: A row has no entry, or its entry cannot be understood.
        """
        plain = [int(number) for number in numbers]
        entries = [self._entry(number) for number in plain]
        if not any(isinstance(entry, dict) for entry in entries):
            texts = [self._text(entry, number) for entry, number in zip(entries, plain, strict=True)]
            return Cells(ids=texts) if self._ids else Cells(labels=texts)
        records = [entry if isinstance(entry, dict) else {"label": entry} for entry in entries]
        names = list(dict.fromkeys(name for record in records for name in record))
        return take_cells({name: [record.get(name) for record in records] for name in names}, len(records))

    def _entry(self, number: int) -> Any:
        try:
            return self._entries[str(number)] if isinstance(self._entries, Mapping) else self._entries[number]
        except KeyError:
            raise ArgumentError(
                f"{self.path}: has no entry for row {number}, but {len(self._entries)} entries: give one for each row"
            ) from None

    def _text(self, entry: Any, number: int) -> Any:
        if entry is None and not self._ids:
            return None
        if isinstance(entry, (str, int)) and not isinstance(entry, bool):
            return entry
        raise ArgumentError(
            f"{self.path}: the entry of row {number} is {json.dumps(entry)[:60]}: give a text, or an object with id, "
            "label, text or metadata"
        )


def read_labels(path: str | os.PathLike[str], *, ids: bool = False) -> Labels:
    """Reads a file of labels: JSON, or JSON lines if it ends in ``.jsonl``.

    ``ids`` says that its texts are the ids of the rows instead of their labels.

    Raises:
        OSError: It cannot be read.
        ArgumentError: It is not such a file.
    """
    path = expanded(path)
    if path.lower().endswith((".pkl", ".pickle")):
        raise ArgumentError(f"{path}: {UNPICKLE}")
    check_file(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if path.lower().endswith(".jsonl"):
            entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            entries = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{path}: not JSON: {told(error)}; give a list with an entry for each row") from error
    if not isinstance(entries, (list, dict)):
        raise ArgumentError(
            f"{path}: needs a list with an entry for each row, or an object of them by the rows' numbers"
        )
    return Labels(path, entries, ids=ids)
