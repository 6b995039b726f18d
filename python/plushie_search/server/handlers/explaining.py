"""The routes that explain hits and inspect photos."""

from __future__ import annotations

from typing import Any

from ...query import Query
from ..call import Call
from ..catalog import base_name
from ..errors import bad
from ..service import Service
from .answers import SHARE, read_pictures

#: The choices of the options, the default first.
METHODS, DETAILS, LANGUAGES, SIDES = ("windows", "cam"), (1, 2), ("en", "zh"), ("both", "query")
CAMERAS = ("fixed", "free")


def explain(service: Service, call: Call) -> dict[str, Any]:
    """Explains why an item matches a picture, words, or both."""
    options = ("item", "text", "reference", "method", "detail", "language", "sides")
    given, pictures, _ = read_pictures(call, options, least=0)
    item, text, reference = (_text(given, name) for name in ("item", "text", "reference"))
    if item is None:
        raise bad("item: give the id of an item")
    if len(pictures) > 1 or not (pictures or text):
        raise bad("send one picture in image, words in text, or both")
    detail = given.get("detail", 1)
    detail = int(detail) if isinstance(detail, str) and detail in ("1", "2") else detail
    query = Query(image=pictures[0] if pictures else None, text=text)
    found = call.catalog.engine.explain(
        query,
        item,
        reference,
        method=_choice(given, "method", METHODS),
        detail=_choice({"detail": detail}, "detail", DETAILS),
        language=_choice(given, "language", LANGUAGES),
        sides=_choice(given, "sides", SIDES),
    ).to_dict()
    matched = found["matched"]
    if matched is not None:
        matched["name"] = base_name(matched["name"])
    return {"success": True, **found, "reference": base_name(found["reference"])}


def inspect(service: Service, call: Call) -> dict[str, Any]:
    """Tells photos of good products from those of faulty ones."""
    given, pictures, _ = read_pictures(call, ("item", "threshold", "alarm_rate", "camera"))
    item = _text(given, "item")
    if item is None:
        raise bad("item: give the id of an item")
    found: Any = call.catalog.engine.inspect(
        pictures,
        item,
        threshold=_number(given, "threshold", 0.9),
        alarm_rate=_number(given, "alarm_rate", 0.05),
        camera=_choice(given, "camera", CAMERAS),
    )
    results = found.to_dicts()
    for one in results:
        one["nearest"] = [{**near, "reference": base_name(near["reference"])} for near in one["nearest"]]
    failed = [{"photo": name, "reason": reason} for name, reason in found.failed]
    return {"success": True, "results": results, "failed": failed}


def _text(given: dict[str, Any], name: str) -> str | None:
    value = given.get(name)
    if value is not None and not isinstance(value, str):
        raise bad(f"{name}: give a text")
    return value or None


def _choice(given: dict[str, Any], name: str, choices: tuple[Any, ...]) -> Any:
    value = given.get(name)
    if value is None:
        return choices[0]
    if isinstance(value, bool) or value not in choices:
        raise bad(f"{name}: choose {' or '.join(map(str, choices))}")
    return value


def _number(given: dict[str, Any], name: str, default: float) -> float:
    value = given.get(name, default)
    if isinstance(value, str) and SHARE.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(f"{name}: give a number from 0 to 1")
    return value
