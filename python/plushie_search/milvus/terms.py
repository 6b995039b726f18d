"""Metadata as terms that Milvus can look up, and filters as expressions over them.

Milvus compares a JSON field with a value, and knows neither members of lists as filters of this package see them, nor
dates with two spellings. Therefore each value becomes a term, the digest of its path and itself: equality is membership
among a reference's terms. The least and the greatest value of each path answer comparisons of order.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ..searcher import UnsupportedError

Scalar: TypeAlias = "str | int | float | bool | None"
#: The columns of a collection that filters name.
COLUMNS = {"id": "item", "label": "label", "text": "text"}
#: Expressions that always hold, and never.
ALWAYS, NEVER = 'pk != ""', 'pk == ""'
#: The most terms of a reference: the capacity of their field.
TERMS = 4096
#: The opposite of each comparison of order.
ORDERS = {"$lt": ("<", ">="), "$lte": ("<=", ">"), "$gt": (">", "<="), "$gte": (">=", "<")}
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(T00:00:00)?", re.ASCII)
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?)(?:\+00:00|Z)", re.ASCII)


def described(metadata: Mapping[str, Any]) -> tuple[list[str], dict[str, Scalar]]:
    """Returns the terms of metadata, and the least and the greatest number and text of each path by their names."""
    terms: dict[str, None] = {}
    bounds: dict[str, Any] = {}
    for keys, kind, value in _walk(metadata, ()):
        terms[_term(kind, keys, value)] = None
        if kind != "=" or value is None or isinstance(value, bool):
            continue
        plain = _canonical(value)
        terms[_term(_kind(plain), keys, None)] = None
        low, high = (_bound(end, keys, plain) for end in "<>")
        bounds[low] = min(bounds.get(low, plain), plain)
        bounds[high] = max(bounds.get(high, plain), plain)
    return list(terms), bounds


def expression(where: Mapping[str, Any] | None) -> str:
    """Returns a filter as an expression of Milvus; empty if all items fit.

    The filter must be one that an engine understands: it is not checked here.

    Raises:
        UnsupportedError: It looks for a part of a text that Milvus cannot look for.
    """
    return _all(where, True) if where else ""


def quoted(text: str) -> str:
    """Returns a text as a literal of an expression."""
    return json.dumps(text, ensure_ascii=False)


def among(column: str, values: Sequence[str]) -> str:
    """Returns the expression for rows whose column has one of these values."""
    return f"{column} in [{', '.join(map(quoted, values))}]"


def both(*expressions: str) -> str:
    """Returns the expression for rows that fit each of several, of which empty ones count nothing."""
    given = [one for one in expressions if one]
    return given[0] if len(given) == 1 else " and ".join(f"({one})" for one in given)


# Terms


def _walk(value: Mapping[str, Any], path: tuple[str, ...], *, direct: bool = True) -> Iterator[tuple[Any, str, Any]]:
    """Yields the path, the kind and the value of each term."""
    for key, inner in value.items():
        keys = (*path, key)
        if direct:
            yield keys, "?", None
        if isinstance(inner, Mapping):
            if not direct:
                yield keys, "?", None
            yield from _walk(inner, keys, direct=direct)
        elif isinstance(inner, (list, tuple)):
            if direct:
                yield keys, "#", len(inner)
                if not any(isinstance(one, (list, tuple, Mapping)) for one in inner):
                    yield keys, "[", [_canonical(one) for one in inner]
            for member in inner:
                if not direct:
                    yield keys, "?", None
                if isinstance(member, Mapping):
                    yield from _walk(member, keys, direct=False)
                elif not isinstance(member, (list, tuple)):
                    yield keys, "=", member
        else:
            if direct and isinstance(inner, str):
                yield keys, "direct", None
            if not direct:
                yield keys, "?", None
            yield keys, "=", inner


def _term(kind: str, keys: Sequence[str], value: Any) -> str:
    value = [_canonical(one) for one in value] if isinstance(value, list) else _canonical(value)
    text = json.dumps([kind, list(keys), value], ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _bound(end: str, keys: Sequence[str], value: Scalar) -> str:
    return _term(end + _kind(value), keys, None)


def _kind(value: Scalar) -> str:
    return "text" if isinstance(value, str) else "number"


def _canonical(value: Any) -> Any:
    """Returns one spelling of a number, a date or an instant, and the composed form of a text."""
    if isinstance(value, str):
        text = unicodedata.normalize("NFC", value)
        if found := _DATE.fullmatch(text):
            return found[1]
        found = _INSTANT.fullmatch(text)
        return f"{found[1]}+00:00" if found else text
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


# Expressions. A negation is moved inwards to comparisons, where a missing value can be told from others: in Milvus it
# makes a comparison and its opposite false alike.


def _all(where: Mapping[str, Any], holds: bool) -> str:
    parts = []
    for key, value in where.items():
        if key == "$and":
            parts.append(_joined([_all(one, holds) for one in value], holds))
        elif key == "$or":
            parts.append(_joined([_all(one, holds) for one in value], not holds))
        elif key == "$not":
            parts.append(_all(value, not holds))
        elif key == "$key":
            parts += [_field((_composed(name),), one, holds) for name, one in value.items()]
        elif key in COLUMNS:
            parts.append(_field(key, value, holds))
        else:
            parts.append(_field(tuple(_composed(key).split(".")), value, holds))
    return _joined(parts, holds)


def _joined(parts: Sequence[str], every: bool) -> str:
    if not parts:
        return ALWAYS if every else NEVER
    return parts[0] if len(parts) == 1 else f"({(' and ' if every else ' or ').join(parts)})"


def _field(field: Any, value: Any, holds: bool) -> str:
    tests = value if isinstance(value, Mapping) else {"$eq": value}
    return _joined([_test(field, operator, one, holds) for operator, one in tests.items()], holds)


def _test(field: Any, operator: str, value: Any, holds: bool) -> str:
    opposite = {"$ne": "$eq", "$nin": "$in", "$not_contains": "$contains"}.get(operator)
    if opposite:
        return _test(field, opposite, value, not holds)
    if operator == "$not":
        return _field(field, value, not holds)
    if operator == "$exists" and not value:
        return _test(field, "$exists", True, not holds)
    if operator == "$all":
        if not value:
            return NEVER if holds else ALWAYS
        return _joined([_test(field, "$in", [one], holds) for one in value], holds)
    if operator == "$eq" and not isinstance(value, (list, tuple)):
        operator, value = "$in", [value]
    return _column(field, operator, value, holds) if isinstance(field, str) else _path(field, operator, value, holds)


def _column(name: str, operator: str, value: Any, holds: bool) -> str:
    column, sure = COLUMNS[name], name == "id"
    missing, there = (NEVER, ALWAYS) if sure else (f"{column} is null", f"{column} is not null")
    if operator == "$exists":
        return there if holds else missing
    if operator == "$in":
        whole = (int, str)
        texts = [_composed(str(one)) for one in value if isinstance(one, whole) and not isinstance(one, bool)]
        texts += [one for one in value if isinstance(one, str) and one not in texts]
        parts = [among(column, texts)] if texts else []
        parts += [missing] if None in value else []
        if holds:
            return _joined(parts, False)
        parts = [f"({missing} or not ({among(column, texts)}))" if None not in value else f"not ({parts[0]})"] * bool(
            texts
        )
        return _joined([*parts, *([there] if None in value else [])], True)
    if operator in ORDERS and isinstance(value, str):
        sign, other = ORDERS[operator]
        text = quoted(_composed(value))
        return f"{column} {sign} {text}" if holds else f"({missing} or {column} {other} {text})"
    if operator == "$contains" and isinstance(value, str):
        like = f"{column} like {_pattern(value)}"
        return like if holds else f"({missing} or not ({like}))"
    return NEVER if holds else ALWAYS


def _path(keys: tuple[str, ...], operator: str, value: Any, holds: bool) -> str:
    def has(kind: str, one: Any = None, *, holds: bool = holds) -> str:
        found = f'array_contains(terms, "{_term(kind, keys, one)}")'
        return found if holds else f"not {found}"

    if operator == "$exists":
        return has("?")
    if operator == "$size":
        return has("#", value)
    if operator == "$eq":
        return has("[", list(value))
    if operator == "$in":
        terms = ", ".join(f'"{_term("=", keys, one)}"' for one in value)
        found = f"array_contains_any(terms, [{terms}])" if value else NEVER
        return found if holds else f"not ({found})" if value else ALWAYS
    if operator == "$contains":
        member = has("=", value)
        if not isinstance(value, str):
            return member
        place = "".join(f"[{quoted(key)}]" for key in keys)
        like = f"metadata{place} like {_pattern(value)}"
        if holds:
            return f"({member} or {like})"
        return f"({member} and ({has('direct')} or not ({like})))"
    sign, other = ORDERS[operator]
    plain = _canonical(value)
    bound = f'bounds["{_bound("<" if sign[0] == "<" else ">", keys, plain)}"]'
    literal = quoted(plain) if isinstance(plain, str) else repr(plain)
    known = has(_kind(plain), holds=True)
    if holds:
        return f"({known} and {bound} {sign} {literal})"
    return f"(not {known} or {bound} {other} {literal})"


def _pattern(part: str) -> str:
    part = _composed(part)
    if set(part) & set("%_\\"):
        raise UnsupportedError(
            f"filter: Milvus cannot look for {part!r} in a text, since %, _ and \\ have a meaning there: look for a "
            "part without them, or compare the whole text with $eq"
        )
    return quoted(f"%{part}%")


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
