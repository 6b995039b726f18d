"""Logs of a training: rows of a CSV file, and TensorBoard if that is installed."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from ...paths import expanded

#: The columns of the CSV file.
COLUMNS = ("epoch", "loss", "recall", "best", "rate", "seconds")


class Logs:
    """Writes one row for each epoch into ``log.csv``, and scalars for TensorBoard beside it.

    Args:
        folder: The folder, made if it is not there.
        first: The epoch that comes next: rows of it and later ones, of a run that was cut, are left out.
    """

    def __init__(self, folder: str | os.PathLike[str], *, first: int = 0) -> None:
        self.folder = Path(expanded(folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = self.folder / "log.csv"
        kept = []
        if self._file.exists():
            with self._file.open(newline="", encoding="utf-8") as file:
                kept = [row for row in csv.DictReader(file) if int(row["epoch"]) <= first]
        with self._file.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        self._board: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._board = SummaryWriter(str(self.folder), purge_step=first + 1)

    def add(self, row: dict[str, float]) -> None:
        """Writes the row of an epoch, with the keys of the columns."""
        with self._file.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        if self._board is not None:
            for name in ("loss", "recall", "rate"):
                self._board.add_scalar(name, row[name], row["epoch"])
            self._board.flush()

    def close(self) -> None:
        """Closes the files."""
        if self._board is not None:
            self._board.close()
