"""Filters as they are typed after --where: ``label=bear``, ``price<20``, or JSON."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from typing import Any

#: A key, an operator and a value, with or without spaces between them.
CONDITION = re.compile(r"\s*([^\s{=!<>][^=!<>]*?)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*", re.DOTALL)
OPERATORS = {"=": "$eq", "!=": "$ne", "<": "$lt", "<=": "$lte", ">": "$gt", ">=": "$gte"}

#: Keys whose values are texts, so that the digits of a number are meant.
TEXTS = ("id", "label", "text")

FORMS = """write KEY=VALUE, as label=bear (also !=, <, <=, > and >=), or a JSON object, as {"label": "bear"}"""


class AddCondition(argparse.Action):
    """Joins the filters of an option that is given several times: all of them must hold."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        before = getattr(namespace, self.dest)
        if before is not None:
            values = {"$and": [*_joined(before), values]}
        setattr(namespace, self.dest, values)


def parse_filter(text: str) -> dict[str, Any]:
    """Returns the filter that a text stands for.

    A value that is JSON (a number, true, false, null, a quoted text) is that, and any other a text; those of ``id``,
    ``label`` and ``text`` are texts unless they are quoted.

    Raises:
        argparse.ArgumentTypeError: The text is no filter.
    """
    if text.lstrip().startswith("{"):
        try:
            value: dict[str, Any] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}; {FORMS}") from error
        return value
    match = CONDITION.fullmatch(text)
    if match is None or not match[3] or match[3][0] in "=<>":
        raise argparse.ArgumentTypeError(f"{text!r} is no filter; {FORMS}")
    key, operator, value = match[1], OPERATORS[match[2]], _value(match[3], match[1])
    return {key: {operator: value}}


def _value(text: str, key: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(constant)  # NaN and the infinities, which are no JSON

    if key in TEXTS and not text.startswith('"'):
        return text
    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text


def _joined(where: dict[str, Any]) -> Sequence[dict[str, Any]]:
    """Returns the filters that this action has joined already, or the only one."""
    return where["$and"] if list(where) == ["$and"] and isinstance(where["$and"], list) else [where]
