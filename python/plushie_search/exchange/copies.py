"""The directories that exports write, read again by their `catalog.json`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .._core import ArgumentError
from .batch import Batch, Cells, SourceModel
from .faiss_file import FaissFile
from .labels import read_labels
from .matrices import Mapped, check_file, read_npy

#: The manifest of a directory.
MANIFEST = "catalog.json"
#: The items of an export as JSON lines.
ITEMS = "items.jsonl"
#: The ids of the rows of an export.
IDS = "ids.json"


def read_manifest(path: str) -> list[dict[str, Any]]:
    """Returns the models of an exported directory: the name, fingerprint and file of each.

    Raises:
        OSError: It has no manifest.
        ArgumentError: The manifest is damaged.
    """
    file = Path(path, MANIFEST)
    check_file(str(file))
    try:
        models = json.loads(file.read_text(encoding="utf-8"))["models"]
        for model in models:
            own = {key: model[key] for key in ("name", "fingerprint", "file")}
            if not all(isinstance(value, str) for value in own.values()) or Path(own["file"]).name != own["file"]:
                raise ValueError(f"{own} is no model")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArgumentError(f"{file}: is damaged ({error}); export the catalog again") from error
    if not models:
        raise ArgumentError(f"{file}: names no model: the catalog that was exported was empty")
    return list(models)


class Copy:
    """An export with the vectors of each model in a file of its own."""

    def __init__(self, path: str) -> None:
        self.path = path
        manifest = read_manifest(path)
        self.models: Sequence[SourceModel] = [
            SourceModel(one["name"], one["fingerprint"], one.get("opened_by")) for one in manifest
        ]
        self._matrices = {one["name"]: _matrix(Path(path, one["file"])) for one in manifest}
        rows = {name: matrix.rows for name, matrix in self._matrices.items()}
        if len(set(rows.values())) > 1:
            raise ArgumentError(f"{path}: the files of its models have {rows} rows: export the catalog again")
        first = next(iter(self._matrices.values()))
        self.rows, self.dim = first.rows, first.dim
        self._is_whole = Path(path, ITEMS).exists()
        if not self._is_whole:
            self._ids = read_labels(Path(path, IDS), ids=True)
            if len(self._ids) != self.rows:
                raise ArgumentError(f"{path}: has {len(self._ids)} ids for {self.rows} rows: export the catalog again")

    def batches(self, size: int) -> Iterator[Batch]:
        if not self._is_whole:
            for start in range(0, self.rows, size):
                numbers = range(start, min(start + size, self.rows))
                yield self._batch(numbers, self._ids.cells(numbers))
            return
        cells = {name: list[Any]() for name in ("ids", "labels", "texts", "references", "digests", "metadata", "views")}
        pictures: list[tuple[str, str]] = []
        start = done = 0
        for item in self._items():
            for reference in item["references"]:
                is_first = reference is item["references"][0]
                cells["ids"].append(item["id"])
                cells["references"].append(reference["name"])
                cells["digests"].append(reference["digest"])
                cells["views"].append(int(reference.get("view", 0)))
                for name, key in (("labels", "label"), ("texts", "text"), ("metadata", "metadata")):
                    cells[name].append(item.get(key) if is_first else None)
                if reference.get("picture"):
                    pictures.append((str(Path(self.path, reference["picture"])), reference["digest"]))
                done += 1
            if done - start >= size:
                yield self._batch(range(start, done), Cells(**cells), pictures)
                cells, pictures, start = {name: [] for name in cells}, [], done
        if done != self.rows:
            raise ArgumentError(f"{self.path}: has {self.rows} vectors and {done} references: export the catalog again")
        if done > start:
            yield self._batch(range(start, done), Cells(**cells), pictures)

    def _batch(self, numbers: range, cells: Cells, pictures: list[tuple[str, str]] | None = None) -> Batch:
        if numbers.stop > self.rows:
            raise ArgumentError(
                f"{self.path}: has more references than its {self.rows} vectors: export the catalog again"
            )
        vectors = {name: matrix.part(numbers.start, numbers.stop) for name, matrix in self._matrices.items()}
        return Batch({**vectors}, numbers, cells, pictures or [])

    def _items(self) -> Iterator[dict[str, Any]]:
        file = Path(self.path, ITEMS)
        check_file(str(file))
        with open(file, encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    item = json.loads(line)
                    for reference in item["references"]:
                        picture = reference.get("picture")
                        if not isinstance(reference["name"], str) or not isinstance(reference["digest"], str):
                            raise ValueError("a reference without a name or a digest")
                        if picture is not None and (Path(picture).is_absolute() or ".." in Path(picture).parts):
                            raise ValueError(f"{picture!r} lies elsewhere")
                    yield {**item, "id": item["id"]}
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                    raise ArgumentError(
                        f"{file} line {number}: is damaged ({error}); export the catalog again"
                    ) from error


def _matrix(path: Path) -> Mapped | FaissFile:
    check_file(str(path))
    return read_npy(str(path)) if path.suffix == ".npy" else FaissFile(str(path))
