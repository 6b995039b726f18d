"""Gives each data frame of pandas the accessor ``plushie``; importing this module is enough.

import plushie_search.pandas
hits = frame.plushie.search(engine, "photo", k=3)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .engine import Engine
from .interop import tables
from .interop.tables import Kind, OnError
from .results import COLUMNS, Report

try:
    import pandas as pd
except ImportError as error:
    raise ImportError(
        "plushie_search.pandas needs pandas; install it with: pip install 'plushie_search[pandas]'"
    ) from error

if TYPE_CHECKING:
    from .encoders.protocol import EncoderLike

__all__ = ["PlushieAccessor"]


@pd.api.extensions.register_dataframe_accessor("plushie")
class PlushieAccessor:
    """The methods of ``frame.plushie``."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def search(
        self,
        engine: Engine,
        column: str,
        *,
        kind: Kind = "image",
        errors: OnError = "raise",
        **options: Any,
    ) -> pd.DataFrame:
        """Searches for each cell of a column.

        Args:
            engine: The catalog.
            column: The column of pictures (paths, files' bytes, PIL images, arrays) or texts. Empty cells have no hits.
            kind: ``"image"``, the default, or ``"text"``.
            errors: ``"raise"``, the default, or ``"skip"``, which leaves out rows that cannot be used, and logs them.
            options: Those of :class:`plushie_search.SearchOptions`, such as ``k`` and ``where``.

        Returns:
            A row for each hit, with a hit's attributes as columns; its index is that of the row that was searched for,
            so that ``frame.join(frame.plushie.search(engine, column, k=1), rsuffix="_hit")`` sets hits beside rows.

        Raises:
            ArgumentError: There is no such column, or an option makes no sense.
            PlushieError: A cell cannot be used; the message names its row, from 0.
        """
        found = tables.found(engine, self._cells(column), kind=kind, errors=errors, options=options)
        places, hits = [], []
        for number, results in found:
            places += [number] * len(results)
            hits += results.to_dicts()
        frame = pd.DataFrame(hits, columns=list(hits[0] if hits else COLUMNS))
        return frame.set_axis(self._frame.index[places], axis="index")

    def encode(
        self, encoder: EncoderLike | Engine, column: str, *, kind: Kind = "image", errors: OnError = "raise"
    ) -> pd.Series[Any]:
        """Encodes each cell of a column.

        Args:
            encoder: What encodes: of :func:`plushie_search.open_encoder`, or a catalog.
            column, kind, errors: As for :meth:`search`.

        Returns:
            Unit vectors, float32 (dim,), by the frame's index; None for empty cells and rows that were left out.

        Raises:
            As :meth:`search`.
        """
        vectors: list[Any] = [None] * len(self._frame)
        for number, vector in tables.encoded(encoder, self._cells(column), kind=kind, errors=errors):
            vectors[number] = np.asarray(vector)
        return pd.Series(vectors, index=self._frame.index, name="vector", dtype=object)

    def add(
        self,
        engine: Engine,
        *,
        image: str | None = None,
        id: str | None = None,
        label: str | None = None,
        text: str | None = None,
        metadata: Sequence[str] | Literal["rest"] = (),
        upsert: bool = False,
    ) -> Report:
        """Adds the rows to a catalog. Rows with one id are one item; what is there already is left out.

        Args:
            engine: The catalog.
            image: The column of pictures, or of lists of pictures.
            id: The column of ids; by default the pictures' paths are the ids.
            label, text: The columns of labels and texts.
            metadata: The columns that become metadata; ``"rest"`` takes all others. None by default.
            upsert: Makes each item exactly as its row is; see :meth:`plushie_search.Engine.add_items`.

        Returns:
            How many were added, and the rows that could not be used.

        Raises:
            ArgumentError: A column is not there, or a row has neither an id nor a path.
        """
        names = list(self._frame.columns)
        chosen, extra = tables.fields(names, image=image, id=id, label=label, text=text, metadata=metadata)
        columns = {field: self._frame[column].tolist() for field, column in chosen.items()}
        columns |= {column: self._frame[column].tolist() for column in extra}
        return engine.add_items(tables.rows(columns, extra), upsert=upsert, total=len(self._frame))

    def _cells(self, column: str) -> list[Any]:
        return list(self._frame[tables.present(list(self._frame.columns), column)])
