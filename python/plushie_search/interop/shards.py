"""Encodes a folder of pictures into files, a shard at a time, so that it can be stopped and goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._core import ArgumentError, Encoder, PictureError, folder_items, picture_digest
from ..exchange.parquet import MODELS, parquet_module
from ..paths import expanded
from ..searcher import Progress
from ..show.table import counted

VectorFormat: TypeAlias = Literal["parquet", "npy"]
FORMATS: tuple[VectorFormat, ...] = ("parquet", "npy")
#: The folder in which finished shards are noted, and the file that tells of which model they are.
NOTES, ABOUT = "_shards", "encode.json"


@dataclass(frozen=True, slots=True)
class Shard:
    """Pictures that are encoded together: pairs of an item and a path, and a name that changes with any of them."""

    name: str
    pictures: list[tuple[str, str]]


@dataclass(slots=True)
class Encoded:
    """The vectors of a shard.

    Attributes:
        rows: Item, path and digest of each picture that has a vector.
        vectors: Their unit vectors: float32 of shape (rows, dim).
        failed: Path and reason of each picture that could not be used.
    """

    rows: list[tuple[str, str, str]]
    vectors: NDArray[np.float32]
    failed: list[tuple[str, str]]


@dataclass(slots=True)
class EncodeReport:
    """The outcome of :func:`encode_folder`.

    Attributes:
        pictures: Pictures that have a vector in the output.
        shards: Shards that were encoded by this call.
        kept: Shards that were there already.
        failed: The pictures that could not be used: path and reason.
    """

    pictures: int = 0
    shards: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Returns the attributes as a dict, ready for JSON."""
        return {**asdict(self), "failed": [list(pair) for pair in self.failed]}

    def __str__(self) -> str:
        parts = [counted(self.pictures, "picture"), counted(self.shards, "shard")]
        parts += [f"{self.kept} there already"] * bool(self.kept) + [f"{len(self.failed)} failed"] * bool(self.failed)
        return ", ".join(parts)


class Run(Protocol):
    """Encodes shards in any order, here or elsewhere."""

    def __call__(self, shards: Sequence[Shard]) -> Iterable[tuple[Shard, Encoded]]:
        """Yields each shard with its vectors."""


def encode_shard(encoder: Encoder, pictures: Sequence[tuple[str, str]]) -> Encoded:
    """Encodes the pictures of a shard; those that cannot be used are told with the reason."""
    rows, failed, usable = [], [], []
    for item, path in pictures:
        try:
            rows.append((item, path, picture_digest(path)))
            usable.append(path)
        except (PictureError, OSError) as error:
            failed.append((path, str(error)))
    try:
        vectors = [encoder.encode_images(usable)] if usable else []
    except PictureError:
        kept, vectors = [], []
        for row in rows:
            try:
                vectors.append(encoder.encode_images([row[1]]))
                kept.append(row)
            except PictureError as error:
                failed.append((row[1], str(error)))
        rows = kept
    return Encoded(rows, np.concatenate([*vectors, np.empty((0, encoder.dim), np.float32)]), failed)


def here(encoder: Encoder) -> Run:
    """Returns what encodes shards in this process, one after another."""
    return lambda shards: ((shard, encode_shard(encoder, shard.pictures)) for shard in shards)


def encode_folder(
    pictures: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: tuple[str, str, int],
    run: Run,
    format: VectorFormat = "parquet",
    shard: int = 1000,
    progress: Progress | None = None,
) -> EncodeReport:
    """Encodes ``pictures/<item>/<picture>`` into the folder ``out``, and returns what was done.

    A shard gets its name when it is complete, and is noted in ``out/_shards``. Ctrl-C stops it, and running it again
    goes on; shards of which a file was changed, added or removed are encoded again.

    Args:
        pictures: The folder.
        out: The folder to write; made if it does not exist.
        model: Name, fingerprint and dimension of the model.
        run: Encodes shards, such as :func:`here`.
        format: ``"parquet"``: a file for each shard with the columns ``id``, ``reference``, ``digest`` and ``vector``,
            which ``import_vectors`` reads; ``"npy"``: a file ``out/<item>/<picture>.npy`` for each picture.
        shard: The most pictures of a shard.
        progress: Called with (pictures done, pictures in all, the shard that comes next).

    Raises:
        ArgumentError: There is no picture, the format is unknown, or ``out`` has vectors of another model or format.
        ImportError: pyarrow is not installed, for ``format="parquet"``.
        OSError: A folder cannot be read or written.
    """
    if format not in FORMATS or shard < 1:
        raise ArgumentError(f"format {format!r}, shard {shard}: give one of {', '.join(FORMATS)}, and 1 or more")
    folder = Path(expanded(out))
    files = [(item, str(path)) for item, paths in folder_items(expanded(pictures)) for path in paths]
    if not files:
        raise ArgumentError(f"{os.fspath(pictures)}: there is no picture in it: give a folder of pictures")
    if format == "parquet":
        parquet_module(str(folder))
    notes = folder / NOTES
    notes.mkdir(parents=True, exist_ok=True)
    _claim(folder, {"model": model[0], "fingerprint": model[1], "dimension": model[2], "format": format})
    shards = list(_shards(files, shard))
    names = {one.name for one in shards}
    for path in notes.glob("*.json"):
        if path.stem not in names:
            path.unlink()
            (folder / f"{path.stem}.parquet").unlink(missing_ok=True)
    report, left = EncodeReport(), []
    for one in shards:
        noted = notes / f"{one.name}.json"
        if noted.exists():
            told = json.loads(noted.read_text(encoding="utf-8"))
            report.kept += 1
            report.pictures += told["pictures"]
            report.failed += [(path, reason) for path, reason in told["failed"]]
        else:
            left.append(one)
    done = sum(len(one.pictures) for one in shards) - sum(len(one.pictures) for one in left)
    write: Callable[[Path, Shard, Encoded, tuple[str, str, int]], None]
    write = _write_parquet if format == "parquet" else _write_matrices
    for one, encoded in run(left):
        if progress is not None:
            progress(done, len(files), one.name)
        write(folder, one, encoded, model)
        note = {"pictures": len(encoded.rows), "failed": encoded.failed}
        _write(notes / f"{one.name}.json", note)
        report.shards += 1
        report.pictures += len(encoded.rows)
        report.failed += encoded.failed
        done += len(one.pictures)
    if progress is not None:
        progress(done, len(files), "")
    return report


def _shards(files: Sequence[tuple[str, str]], size: int) -> Iterator[Shard]:
    for start in range(0, len(files), size):
        some = list(files[start : start + size])
        digest = hashlib.sha256()
        for item, path in some:
            about = os.stat(path)
            digest.update(repr((item, path, about.st_size, about.st_mtime_ns)).encode())
        yield Shard(f"part-{start // size:06}-{digest.hexdigest()[:16]}", some)


def _claim(folder: Path, about: dict[str, Any]) -> None:
    path = folder / ABOUT
    if not path.exists():
        _write(path, about)
        return
    held = json.loads(path.read_text(encoding="utf-8"))
    if held != about:
        differs = next(name for name in about if held.get(name) != about[name])
        raise ArgumentError(
            f"{folder}: has vectors of another {differs} ({held.get(differs)!r}, not {about[differs]!r}): give another "
            "folder"
        )


def _write(path: Path, value: Any) -> None:
    """Writes JSON into a file that gets its name when it is complete."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8", errors="backslashreplace")
    os.replace(partial, path)


def _write_parquet(folder: Path, shard: Shard, encoded: Encoded, model: tuple[str, str, int]) -> None:
    import pyarrow as pa

    if not encoded.rows:
        return
    path = folder / f"{shard.name}.parquet"
    name, fingerprint, dim = model
    flat = pa.array(encoded.vectors.ravel())
    table = pa.table(
        {
            "id": [row[0] for row in encoded.rows],
            "reference": [row[1] for row in encoded.rows],
            "digest": [row[2] for row in encoded.rows],
            "vector": pa.FixedSizeListArray.from_arrays(flat, dim),
        }
    )
    told = [{"name": name, "fingerprint": fingerprint, "column": "vector"}]
    table = table.replace_schema_metadata({MODELS: json.dumps(told).encode()})
    partial = path.with_suffix(".partial")
    parquet_module(str(path)).write_table(table, partial)
    os.replace(partial, path)


def _write_matrices(folder: Path, shard: Shard, encoded: Encoded, model: tuple[str, str, int]) -> None:
    for (item, path, _), vector in zip(encoded.rows, encoded.vectors, strict=True):
        target = folder / item / f"{os.path.basename(path)}.npy"
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.save(file, vector)
        os.replace(partial, target)
