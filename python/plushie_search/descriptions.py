"""Files that describe items (CSV, JSON, JSON lines) → what `Engine.add_items` takes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: The file endings that are read.
SUFFIXES = (".csv", ".json", ".jsonl")

#: The names of the fields with a meaning of their own; every other field is metadata.
ID, IMAGES, LABEL, TEXT = ("id", "item"), ("image", "images"), ("label",), ("text", "description")

#: A number as JSON writes it; "007" stays text.
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")


@dataclass
class Description:
    """One item as a file describes it."""

    id: str
    images: list[Path] = field(default_factory=list)
    label: str | None = None
    metadata: dict[str, Any] | None = None
    text: str | None = None

    def row(self) -> tuple[str, list[Path], str | None, dict[str, Any] | None, str | None]:
        """The item in the order that `Engine.add_items` takes."""
        return self.id, self.images, self.label, self.metadata, self.text


def read_descriptions(path: str | os.PathLike[str]) -> list[Description]:
    """The items that a CSV, JSON or JSON lines file describes.

    Each record has an ``image`` (or ``images``: a list, in CSV separated by ``;``), seen from its folder,
    and may have an ``id`` (else it is the picture's path without its ending), a ``label``, a ``text`` (or
    ``description``) and ``metadata``. Every other field is metadata too. Records with the same id are one item. A JSON
    file is a list of records, or an object that gives each id its record.

    Raises:
        ValueError: The file is not of these formats, or a record has no picture; the message names file and record.
    """
    path = Path(path)
    items: dict[str, Description] = {}
    for place, record in _records(path):
        new = _description(record, place, path.parent)
        item = items.setdefault(new.id, new)
        if item is not new:
            item.images += [image for image in new.images if image not in item.images]
            item.label = item.label if new.label is None else new.label
            item.text = item.text if new.text is None else new.text
            if new.metadata:
                item.metadata = {**(item.metadata or {}), **new.metadata}
    if not items:
        raise ValueError(f"{path}: describes no item")
    return list(items.values())


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record of a file with the place that an error names."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    suffix = path.suffix.lower()
    if suffix == ".csv":
        yield from _csv(path, text)
    elif suffix == ".jsonl":
        lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        yield from _objects((f"{path} line {number}", _json(f"{path} line {number}", line)) for number, line in lines)
    elif suffix == ".json":
        value = _json(str(path), text)
        if isinstance(value, dict):
            value = [{"id": id, **record} if isinstance(record, dict) else record for id, record in value.items()]
        if not isinstance(value, list):
            raise ValueError(f"{path}: needs a list of records, or an object that gives each id its record")
        yield from _objects((f"{path} record {number}", record) for number, record in enumerate(value, 1))
    else:
        raise ValueError(f"{path}: needs a folder of pictures or a file that ends in {', '.join(SUFFIXES)}")


def _csv(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            place = f"{path} line {reader.line_num}"
            if None in row or None in row.values():
                raise ValueError(f"{place}: has not as many cells as the first line has names")
            plain = {*ID, *LABEL, *TEXT}
            record = {name: cell if name in plain else _cell(cell) for name, cell in row.items() if cell.strip()}
            if "images" in record:
                record["images"] = [part.strip() for part in row["images"].split(";") if part.strip()]
            yield place, record
    except csv.Error as error:
        raise ValueError(f"{path} line {reader.line_num}: {error}") from error


def _cell(cell: str) -> Any:
    """A CSV cell as number or truth value if it is written like one in JSON, so that filters can compare it."""
    return json.loads(cell) if cell in ("true", "false") or NUMBER.fullmatch(cell) else cell


def _json(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place}: not JSON: {error}") from error


def _objects(records: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, record in records:
        if not isinstance(record, dict):
            raise ValueError(f"{place}: needs an object, not {json.dumps(record)[:60]}")
        yield place, record


def _description(record: dict[str, Any], place: str, folder: Path) -> Description:
    rest = dict(record)

    def take(names: tuple[str, ...]) -> Any:
        found = [name for name in names if rest.get(name) is not None]
        if len(found) > 1:
            raise ValueError(f"{place}: has both {found[0]!r} and {found[1]!r}, which mean the same")
        values = [rest.pop(name, None) for name in names]
        return next((value for value in values if value is not None), None)

    def text(names: tuple[str, ...]) -> str | None:
        value = take(names)
        if isinstance(value, (dict, list, bool)):
            raise ValueError(f"{place}: {names[0]} needs a text, not {json.dumps(value)[:60]}")
        return None if value is None else str(value)

    images = take(IMAGES)
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not images or not all(isinstance(image, str) and image for image in images):
        raise ValueError(f"{place}: needs an 'image', the path of a picture, or 'images', a list of them")
    id = text(ID)
    metadata = rest.pop("metadata", None)
    if metadata is not None and not isinstance(metadata, dict):
        raise ValueError(f"{place}: metadata needs an object, not {json.dumps(metadata)[:60]}")
    return Description(
        id=os.path.splitext(images[0])[0] if id is None else id,
        images=[folder / image for image in images],
        label=text(LABEL),
        text=text(TEXT),
        metadata={**rest, **(metadata or {})} or None,
    )
