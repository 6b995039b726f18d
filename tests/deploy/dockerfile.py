"""Reads Dockerfiles and .dockerignore files, as far as ours go."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Step(NamedTuple):
    """An instruction."""

    name: str
    #: Its flags, as ("mount", "type=cache,target=/x").
    flags: tuple[tuple[str, str], ...]
    #: The words of an instruction in JSON, otherwise its text.
    value: Any


class Stage(NamedTuple):
    """A stage of a build."""

    name: str
    base: str
    steps: list[Step]


def read(path: Path) -> tuple[dict[str, str], list[Stage]]:
    """Returns the arguments before the first stage with their defaults, and the stages."""
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for step in _steps(path.read_text(encoding="utf-8")):
        if step.name == "FROM":
            base, *named = step.value.split()
            assert not named or named[0].upper() == "AS", step
            stages.append(Stage(named[1] if named else str(len(stages)), base, []))
        elif stages:
            stages[-1].steps.append(step)
        else:
            assert step.name == "ARG", step
            name, _, default = step.value.partition("=")
            arguments[name] = default
    return arguments, stages


def _steps(text: str) -> list[Step]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", "", "\n".join(lines))
    return [_step(line) for line in whole.splitlines()]


def _step(line: str) -> Step:
    name, _, rest = line.strip().partition(" ")
    rest = rest.strip()
    flags = []
    while found := re.match(r"--([\w-]+)=(\S+)\s*", rest):
        flags.append((found[1], found[2]))
        rest = rest[found.end() :]
    value: Any = rest
    if name == "HEALTHCHECK":
        assert rest.startswith("CMD "), rest
        rest = rest.removeprefix("CMD ")
    if rest.startswith("[") and name in ("CMD", "ENTRYPOINT", "HEALTHCHECK", "COPY", "VOLUME"):
        value = json.loads(rest)
    return Step(name, tuple(flags), value)


def expanded(text: str, values: Mapping[str, str]) -> str:
    """Returns a text with its variables, as $NAME or ${NAME}, replaced."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values.get(found[1], ""), text)


def pairs(text: str, values: Mapping[str, str]) -> dict[str, str]:
    """Returns the names and values of ENV and LABEL."""
    return dict(expanded(word, values).split("=", 1) for word in shlex.split(text))  # type: ignore[misc]


def admits(ignore: str, path: str) -> bool:
    """Returns whether a .dockerignore file lets a path into the build."""
    admitted = True
    parts = path.split("/")
    for line in ignore.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pattern = line.strip().removeprefix("!").strip("/")
        shape = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
        if any(re.fullmatch(shape, "/".join(parts[:n])) for n in range(1, len(parts) + 1)):
            admitted = line.startswith("!")
    return admitted
