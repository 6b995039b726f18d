"""Gives each data frame of polars the namespace ``plushie``; importing this module is enough.

import plushie_search.polars
hits = frame.plushie.search(engine, "photo", k=3)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import arrow
from .engine import Engine
from .interop import tables
from .interop.tables import Kind, OnError
from .results import Report

try:
    import polars as pl
except ImportError as error:
    raise ImportError(
        "plushie_search.polars needs polars; install it with: pip install 'plushie_search[polars]'"
    ) from error

if TYPE_CHECKING:
    from .encoders.protocol import EncoderLike

__all__ = ["PlushieNamespace"]


@pl.api.register_dataframe_namespace("plushie")
class PlushieNamespace:
    """The methods of ``frame.plushie``."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def search(
        self, engine: Engine, column: str, *, kind: Kind = "image", errors: OnError = "raise", **options: Any
    ) -> pl.DataFrame:
        """Searches for each cell of a column; arguments and errors are those of
        :func:`plushie_search.arrow.search_batches`.

        Returns:
            A row for each hit: ``row``, the number of the row that was searched for, from 0, and a hit's attributes;
            ``frame.with_row_index("row").join(hits, on="row")`` sets hits beside rows.
        """
        table = self._frame.select(tables.present(self._frame.columns, column)).to_arrow()
        batches = arrow.search_batches(engine, table, column, kind=kind, errors=errors, **options)
        frames = [_frame(batch) for batch in batches]
        return pl.concat(frames) if frames else _frame(arrow.no_hits())

    def encode(
        self, encoder: EncoderLike | Engine, column: str, *, kind: Kind = "image", errors: OnError = "raise"
    ) -> pl.Series:
        """Encodes each cell of a column; arguments and errors are those of :func:`plushie_search.arrow.encode_batches`.

        Returns:
            Unit vectors as arrays of float32, null for empty cells and rows that were left out.
        """
        table = self._frame.select(pl.col(tables.present(self._frame.columns, column)).alias("cell")).to_arrow()
        encoded = arrow.encode_batches(encoder, table, "cell", kind=kind, errors=errors)
        parts = [pl.Series("vector", batch.column("vector")) for batch in encoded]
        return (
            pl.concat(parts) if parts else pl.Series("vector", [], pl.Array(pl.Float32, arrow.dimension(encoder, kind)))
        )

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
        """Adds the rows to a catalog; arguments and errors are those of :func:`plushie_search.arrow.add_batches`."""
        return arrow.add_batches(
            engine,
            self._frame.to_arrow(),
            image=image,
            id=id,
            label=label,
            text=text,
            metadata=metadata,
            upsert=upsert,
        )


def _frame(batch: Any) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)
    return frame
