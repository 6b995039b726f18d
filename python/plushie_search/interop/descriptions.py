"""Reads files that describe items (CSV, JSON, JSON lines) and refer to pictures by their paths."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from .._core import ArgumentError
from ..paths import expanded

#: The file endings that are read.
SUFFIXES = (".csv", ".json", ".jsonl")

#: The names of the fields that are no metadata.
ID, IMAGES, LABEL, TEXT = ("id", "item"), ("image", "images"), ("label",), ("text", "description")

#: Numbers that are written as Python would write them: "007" and "2310009E13" stay text.
WHOLE = re.compile(r"0|-?[1-9]\d*", re.ASCII)
DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.(\d+)([eE][+-]?\d+)?", re.ASCII)
#: The decimal digits that a float keeps of any number.
DIGITS = 15

#: Last words of the names of columns with codes, which stay text: no digit of a code may change.
CODES = frozenset(
    {
        "asin",
        "barcode",
        "code",
        "ean",
        "gtin",
        "hash",
        "id",
        "isbn",
        "mobile",
        "mpn",
        "phone",
        "plz",
        "postcode",
        "serial",
        "sku",
        "tel",
        "telephone",
        "upc",
        "zip",
    }
)

#: The characters that may separate the cells of a CSV file, the most usual first.
SEPARATORS = ",;\t|"


@dataclass
class Description:
    """One item as a file describes it."""

    id: str
    images: list[Path] = field(default_factory=list)
    label: str | None = None
    metadata: dict[str, Any] | None = None
    text: str | None = None


def read_descriptions(path: str | os.PathLike[str]) -> list[Description]:
    """Returns the items that a CSV, JSON or JSON lines file describes.

    Each record has an ``image`` (or ``images``: a list, in CSV separated by ``;``), seen from the file's folder,
    and may have an ``id`` (else that of :func:`picture_ids`), a ``label``, a ``text`` (or
    ``description``) and ``metadata``. Every other field is metadata too. Records with the same id are one item. A JSON
    file is a list of records, or an object that gives each id its record.

    A column of CSV is text by default. It is boolean if all its cells are true or false, and numeric if all its cells
    are numbers that lose nothing by it: without leading zeros, an exponent without a point, or digits beyond 64 bits.
    ``1.50`` is a number where all cells have as many decimals. Columns whose names end as those of codes do (``sku``,
    ``ean``, ``product_id``, ``zip code``) stay text. Cells are separated by a comma, semicolon, tab or bar, and the
    text is in UTF-8, UTF-16 or GBK; a warning says which if not by a comma and in UTF-8.

    Raises:
        ArgumentError: The file is not of these formats, or a record has no picture; the message names file, record and
            field.
    """
    path = Path(expanded(path))
    return _items(_records(path), path.parent, str(path))


def read_json_lines(file: BinaryIO, name: str) -> list[Description]:
    """Returns the items that JSON lines describe, as :func:`read_descriptions` does, of a file that is open.

    Args:
        file: The lines, in UTF-8 or UTF-16. Paths of pictures are seen from the working directory.
        name: The name of the file in errors.

    Raises:
        ArgumentError: A line is no JSON, or no record; the message names it.
    """
    return _items(_json_lines(name, _text(name, file.read())[0]), Path(), name)


def picture_ids(paths: Sequence[str]) -> list[str]:
    """Returns the ids of items that are named by their pictures: each path without its ending.

    The ending stays where two paths differ by it alone: ``IMG_1.jpg`` and ``IMG_1.png`` are two items.
    """
    ids = {path: os.path.splitext(path)[0] for path in paths}
    count = Counter(ids.values())
    return [ids[path] if count[ids[path]] == 1 else path for path in paths]


def _items(records: Iterable[tuple[str, dict[str, Any]]], folder: Path, name: str) -> list[Description]:
    """Returns the items of records; pictures are seen from a folder."""
    found = []
    for place, record in records:  # not a comprehension: one more frame would move the warning to another line
        found.append(_description(record, place, folder))
    ids = iter(picture_ids([image for _, image in found if image is not None]))
    items: dict[str, Description] = {}
    for new, image in found:
        if image is not None:
            new.id = next(ids)
        item = items.setdefault(new.id, new)
        if item is not new:
            item.images += [image for image in new.images if image not in item.images]
            item.label = item.label if new.label is None else new.label
            item.text = item.text if new.text is None else new.text
            if new.metadata:
                item.metadata = {**(item.metadata or {}), **new.metadata}
    if not items:
        raise ArgumentError(f"{name}: describes no item")
    return list(items.values())


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields each record of a file with the place that an error names."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ArgumentError(f"{path}: needs a folder of pictures or a file that ends in {', '.join(SUFFIXES)}")
    text, encoding = _text(str(path), path.read_bytes())
    notes = [] if encoding == "UTF-8" else [f"text in {encoding}"]
    if suffix == ".csv":
        text, separator = _separator(text)
        if separator != ",":
            notes.append(f"cells separated by {separator!r}")
    if notes:
        warnings.warn(f"{path}: read as {' with '.join(notes)}", stacklevel=4)
    if suffix == ".csv":
        yield from _csv(path, text, separator)
    elif suffix == ".jsonl":
        yield from _json_lines(str(path), text)
    else:
        value = _json(str(path), text)
        if isinstance(value, dict):
            value = [{"id": id, **record} if isinstance(record, dict) else record for id, record in value.items()]
        if not isinstance(value, list):
            raise ArgumentError(f"{path}: needs a list of records, or an object that gives each id its record")
        yield from _objects((f"{path} record {number}", record) for number, record in enumerate(value, 1))


def _json_lines(name: str, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = ((f"{name} line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
    return _objects((place, _json(place, line)) for place, line in lines)


def _text(name: str, data: bytes) -> tuple[str, str]:
    """Returns the text of a file's bytes, and the name of its encoding."""
    # Of text in ASCII, every other byte of UTF-16 is zero.
    wide = "UTF-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else None
    if wide is None and len(data) % 2 == 0 and b"\0" in data[:2]:
        wide = "UTF-16-LE" if data[1] == 0 else "UTF-16-BE"
    try:
        if wide is not None:
            return data.decode(wide), "UTF-16"
        return data.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError as error:
        if wide is None and _is_gbk(data):
            return data.decode("gb18030"), "GBK"
        raise ArgumentError(
            f"{name}: not {wide or 'UTF-8'} text: {error.reason} at byte {error.start}; save it as UTF-8"
        ) from error


def _is_gbk(data: bytes) -> bool:
    """Returns whether text that is not UTF-8 is in GBK: nearly all characters beyond ASCII are common Chinese ones.

    In European encodings letters with accents stand alone among others.
    """
    try:
        characters = [character.encode("gb18030") for character in data.decode("gb18030") if not character.isascii()]
    except UnicodeDecodeError:
        return False
    # Rows B0 to D7 have the 3,755 characters of daily use, A1 to A3 punctuation and wide letters.
    common = [c for c in characters if len(c) == 2 and c[1] >= 0xA1 and (0xB0 <= c[0] <= 0xD7 or c[0] <= 0xA3)]
    return len(common) >= 0.8 * len(characters)


def _separator(text: str) -> tuple[str, str]:
    """Returns the text of a CSV file and its separator: by default the first one that finds a column of pictures."""
    told = re.match(r"sep=(.)\r?\n", text)  # Excel's own way to say it
    if told:
        return text[told.end() :], told[1]
    for separator in SEPARATORS:
        try:
            head = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
        except csv.Error:
            continue
        if any(name.strip() in IMAGES for name in head):
            return text, separator
    return text, ","


def _csv(path: Path, text: str, separator: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[tuple[str, dict[str, str]]] = []
    names: list[str] | None = None
    try:
        for cells in reader:
            place = f"{path} line {reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = [name.strip() for name in cells]
                for number, name in enumerate(names):
                    if name in names[:number]:
                        raise ArgumentError(f"{place}: has two columns {name!r}; rename one of them")
                continue
            if len(cells) != len(names):
                raise ArgumentError(
                    f"{place}: has {len(cells)} cells, and the first line has {len(names)} names; quote cells that "
                    f"hold {separator!r}"
                )
            rows.append((place, {name: cell for name, cell in zip(names, cells, strict=True) if cell.strip()}))
    except csv.Error as error:
        raise ArgumentError(f"{path} line {reader.line_num}: {error}") from error
    plain = {*ID, *IMAGES, *LABEL, *TEXT, "metadata"}
    kinds = {
        name: _kind(name, [cells[name] for _, cells in rows if name in cells])
        for name in names or []
        if name not in plain
    }
    for place, row in rows:
        record: dict[str, Any] = {name: kinds[name](cell) if name in kinds else cell for name, cell in row.items()}
        if "images" in record:
            record["images"] = [part.strip() for part in row["images"].split(";") if part.strip()]
        yield place, record


def _kind(name: str, cells: list[str]) -> Any:
    """Turns each cell of a column into a value, all into one kind."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if words and words[-1] in CODES:
        return str
    if all(cell.lower() in ("true", "false") for cell in cells):
        return lambda cell: cell.lower() == "true"
    decimals = {len(match[2]) for match in map(DECIMAL.fullmatch, cells) if match}
    even = len(decimals) == 1 and not any(WHOLE.fullmatch(cell) for cell in cells)
    return _number if all(_loses_nothing(cell, even=even) for cell in cells) else str


def _loses_nothing(cell: str, *, even: bool) -> bool:
    """Returns whether a cell is a number that keeps all its digits; ``even`` allows zeros at the end of decimals."""
    if WHOLE.fullmatch(cell):
        return len(cell) < 20 and -(2**63) <= int(cell) < 2**63
    match = DECIMAL.fullmatch(cell)
    if match is None or (match[2].endswith("0") and not even):
        return False
    value = float(cell)
    digits = re.sub(r"\D", "", cell[: match.end(2)]).lstrip("0")
    return len(digits) <= DIGITS and math.isfinite(value) and (value != 0 or not digits)


def _number(cell: str) -> int | float:
    return int(cell) if WHOLE.fullmatch(cell) else float(cell)


def _json(place: str, text: str) -> Any:
    """Returns parsed JSON; a number beyond 64 bits stays text."""

    def whole(digits: str) -> int | str:
        return int(digits) if len(digits) < 20 and -(2**63) <= int(digits) < 2**63 else digits

    def real(digits: str) -> float | str:
        value = float(digits)
        return value if math.isfinite(value) else digits

    try:
        return json.loads(text, parse_int=whole, parse_float=real)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"{place}: not JSON: {error}") from error


def _objects(records: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, record in records:
        if not isinstance(record, dict):
            raise ArgumentError(f"{place}: needs an object, not {json.dumps(record)[:60]}")
        _check(record, place, "")
        yield place, record


def _check(value: Any, place: str, key: str) -> None:
    """Refuses NaN and the infinities, which Python reads but JSON does not have."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"{place}: {key} is {value}, which is no number of JSON; for a missing value write null")
    if isinstance(value, dict):
        for name, part in value.items():
            _check(part, place, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _check(part, place, f"{key}[{number}]")


def _description(record: dict[str, Any], place: str, folder: Path) -> tuple[Description, str | None]:
    """Returns the item of a record, and the path of the picture that names it if the record has no id."""
    rest = dict(record)

    def take(names: tuple[str, ...]) -> Any:
        found = [name for name in names if rest.get(name) is not None]
        if len(found) > 1:
            raise ArgumentError(f"{place}: has both {found[0]!r} and {found[1]!r}, which mean the same")
        values = [rest.pop(name, None) for name in names]
        return next((value for value in values if value is not None), None)

    def text(names: tuple[str, ...]) -> str | None:
        value = take(names)
        if isinstance(value, (dict, list, bool)):
            raise ArgumentError(f"{place}: {names[0]} needs a text, not {json.dumps(value)[:60]}")
        return None if value is None else str(value)

    images = take(IMAGES)
    images = [images] if isinstance(images, str) else images
    if not isinstance(images, list) or not images or not all(isinstance(image, str) and image for image in images):
        raise ArgumentError(f"{place}: needs an 'image', the path of a picture, or 'images', a list of them")
    id = text(ID)
    metadata = rest.pop("metadata", None)
    if metadata is not None and not isinstance(metadata, dict):
        raise ArgumentError(f"{place}: metadata needs an object, not {json.dumps(metadata)[:60]}")
    item = Description(
        id=images[0] if id is None else id,
        images=[folder / expanded(image) for image in images],
        label=text(LABEL),
        text=text(TEXT),
        metadata={**rest, **(metadata or {})} or None,
    )
    return item, images[0] if id is None else None
