"""The configuration as text: an example with comments, and the values that count with where they are from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from .run import FILE
from .settings import Model, Settings, load

HEAD = """\
# The configuration of plushie-search serve. Every key has its default here; delete what you do not change.
# An environment variable comes before this file: PLUSHIE_SERVER__PORT=80 is server.port. A flag comes before both.
"""

#: Shown in place of a secret.
MASKED = "********"


def example() -> str:
    """Returns a file with every key, its meaning and its default."""
    return HEAD + "".join(_lines(Settings, "", commented=False))


def _lines(kind: type[BaseModel], indent: str, *, commented: bool) -> Iterator[str]:
    for name, field in kind.model_fields.items():
        inner = Model if field.annotation in (Model, Model | None) else field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            optional = commented or inner is Model
            text = field.description or (inner.__doc__ or "").partition("\n")[0].rstrip(".")
            yield f"\n{indent}# {text}\n{indent}{'# ' if optional else ''}{name}:\n"
            yield from _lines(inner, f"{indent}  ", commented=optional)
            continue
        default = field.get_default(call_default_factory=True)
        unset = default is None
        value = "" if unset else _yaml(default)
        yield f"{indent}{'# ' if unset or commented else ''}{name}: {value}".rstrip() + (
            f"  # {field.description}\n" if field.description else "\n"
        )


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=1000)).partition("\n...")[0].strip()


def shown(file: str | None) -> str:
    """Returns the values that count, as YAML; a comment tells where each is from, and secrets are masked.

    Raises:
        FileNotFoundError: There is no such file.
        ArgumentError: A value cannot be used.
    """
    file = file or os.environ.get(FILE)
    values = load(file).model_dump()
    held: Any = {}
    if file is not None:
        with open(os.path.expanduser(file), encoding="utf-8") as opened:
            held = yaml.safe_load(opened) or {}
    return "".join(_shown(values, held, "PLUSHIE", "", file or ""))


def _shown(values: Mapping[str, Any], held: Any, variable: str, indent: str, file: str) -> Iterator[str]:
    for name, value in values.items():
        key = f"{variable}_{name}".upper() if variable == "PLUSHIE" else f"{variable}__{name}".upper()
        inner = held.get(name) if isinstance(held, Mapping) else None
        if isinstance(value, dict) and value:
            yield f"{indent}{name}:\n"
            yield from _shown(value, inner, key, f"{indent}  ", file)
            continue
        source = key if key in os.environ else file if isinstance(held, Mapping) and name in held else "default"
        text = MASKED if name == "secret" and value else _yaml(value)
        yield f"{indent}{name}: {text}  # {source}\n"
