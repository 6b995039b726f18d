"""The routes that classify and compare pictures, and that list duplicates and items that need attention."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from ..._core import Crop
from ..call import Call
from ..catalog import base_name
from ..coding import check_keys, parse_json
from ..errors import Problem, bad
from ..service import Service
from .searching import base64_picture, cropped, expansion

#: The most pictures in a request, names of classes, and pairs or items in an answer.
MAX_PICTURES, MAX_LABELS, MAX_LIMIT = 64, 1000, 1000

#: A number from 0 to below 2.
SHARE = re.compile(r"[01](?:\.\d{1,9})?", re.ASCII)

#: The most references of a catalog that are compared with each other while a client waits.
MAX_REFERENCES = 20_000


def classify(service: Service, call: Call) -> dict[str, Any]:
    """Tells which class each picture is of."""
    given, pictures, single = read_pictures(call, ("labels", "by", "where", "expand"))
    labels = given.get("labels")
    if labels is not None and not (
        isinstance(labels, list) and len(labels) <= MAX_LABELS and all(isinstance(one, str) for one in labels)
    ):
        raise bad(f"labels: give a list of at most {MAX_LABELS} names")
    by = given.get("by", "auto")
    if by not in ("auto", "images", "texts"):
        raise bad("by: choose auto, images or texts")
    where, expand = _where(given.get("where")), expansion(given.get("expand", True))
    found = call.catalog.engine.classify(pictures, labels, by=by, where=where, expand=expand)
    results = [one.to_dict() for one in found]
    return {"success": True, "results": results[0] if single else results}


def compare(service: Service, call: Call) -> dict[str, Any]:
    """Tells how like a picture is to another one, or to an item."""
    given, pictures, _ = read_pictures(call, ("item", "threshold", "models"))
    item, threshold = given.get("item"), given.get("threshold", 0.9)
    if isinstance(threshold, str) and SHARE.fullmatch(threshold):
        threshold = float(threshold)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
        raise bad("threshold: give a number from 0 to 1")
    models = given.get("models")
    if isinstance(models, str) and models.lstrip().startswith("{"):
        models = parse_json(models, "models")
    models = call.catalog.models(models)
    if item is None:
        if len(pictures) != 2:
            raise bad(f"{len(pictures)} pictures: send two, or one and the id of an item in item")
        found = call.catalog.engine.compare(pictures[0], pictures[1], threshold=threshold, models=models)
    else:
        if not isinstance(item, str) or len(pictures) != 1:
            raise bad("item: give the id of an item, and one picture")
        found = call.catalog.engine.compare(pictures[0], item=item, threshold=threshold, models=models)
    reference = None if found.reference is None else base_name(found.reference)
    return {"success": True, **found.to_dict(), "reference": reference}


def duplicates(service: Service, call: Call) -> dict[str, Any]:
    """Lists references that are the same or nearly so, and items that look alike."""
    check_keys(call.query, ("limit", "near", "where"), "the address")
    limit, where = _limit(call), _where(call.query.get("where"))
    near = _share(call, "near", 0.98)
    _check_size(call, "duplicates")
    found = call.catalog.engine.duplicates(where=where, near=near, limit=limit)

    def side(row: dict[str, Any]) -> dict[str, Any]:
        thumbnail, picture = call.catalog.pictures(row["item"], row["digest"], call.prefix, row["view"])
        return {**row, "reference": base_name(row["reference"]), "thumbnail": thumbnail, "picture": picture}

    pairs = [{**asdict(one), "first": side(asdict(one.first)), "second": side(asdict(one.second))} for one in found]
    return {"counts": found.counts, "pairs": pairs}


def review(service: Service, call: Call) -> dict[str, Any]:
    """Lists the items that need attention, the most urgent first."""
    check_keys(call.query, ("limit", "margin", "where"), "the address")
    limit, where = _limit(call), _where(call.query.get("where"))
    margin = _share(call, "margin", 0.05)
    _check_size(call, "review")
    found = call.catalog.engine.review(where=where, margin=margin, limit=limit)
    items = [
        {**one.to_dict(), "reference": None if one.reference is None else base_name(one.reference)} for one in found
    ]
    return {"total": found.total, "items": items}


def read_pictures(
    call: Call, options: tuple[str, ...], *, least: int = 1
) -> tuple[dict[str, Any], list[bytes | Crop], bool]:
    """Returns the options, the pictures, ``least`` or more, and whether there is one alone."""
    given: dict[str, Any]
    options = (*options, "crop")
    if call.is_picture:
        given, pictures, single = dict(call.query), [call.body], True
        check_keys(given, options, "the address")
        given = {key: _decoded(value, key) for key, value in given.items()}
    elif call.is_form:
        given = {key: _decoded(value, key) for key, value in call.form().fields.items() if value}
        check_keys(given, options, "the form")
        pictures = [upload.data for upload in call.form().pictures()]
        single = len(pictures) == 1
    else:
        given = call.json()
        check_keys(given, ("image", *options), "the body")
        image = given.pop("image", [])
        single = not isinstance(image, list)
        several = [image] if single else image
        pictures = [base64_picture(one, f"image.{place}") for place, one in enumerate(several[: MAX_PICTURES + 1])]
    if not least <= len(pictures) <= MAX_PICTURES:
        raise bad(f"{len(pictures)} pictures: send {least} to {MAX_PICTURES}, in the field image")
    return given, cropped(pictures, given.pop("crop", None), "crop"), single


def _decoded(value: str, key: str) -> Any:
    """Returns the list or object that a field of a form holds in JSON, and any other text as it is."""
    return parse_json(value, key) if key in ("labels", "where") else value


def _where(given: Any) -> dict[str, Any] | None:
    where = parse_json(given, "where") if isinstance(given, str) and given else given
    if where and not isinstance(where, dict):
        raise bad('where: give an object such as {"label": "bear"}')
    return where or None


def _limit(call: Call) -> int:
    text = call.query.get("limit") or "100"
    if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not 1 <= int(text) <= MAX_LIMIT:
        raise bad(f"limit {text[:20]!r}: give a number from 1 to {MAX_LIMIT}")
    return int(text)


def _share(call: Call, name: str, default: float) -> float:
    text = call.query.get(name) or str(default)
    if not SHARE.fullmatch(text) or float(text) > 1:
        raise bad(f"{name} {text[:20]!r}: give a number from 0 to 1")
    return float(text)


def _check_size(call: Call, command: str) -> None:
    """Refuses what would take minutes.

    Raises:
        Problem: The catalog is large.
    """
    count = call.catalog.engine.stats()["references"]
    if count > MAX_REFERENCES:
        raise Problem(
            422,
            "argument",
            f"the catalog has {count} references, too many to compare while a client waits: "
            f"run `plushie-search {command}` where the catalog is",
        )
