"""The registry: one entry for each published model, read from ``models/registry.json``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from .._core import ArgumentError
from ..paths import expanded

#: The registry that comes with this package.
REGISTRY = Path(__file__).parent.parent / "models" / "registry.json"

#: An environment variable that names another registry; its entries take precedence.
OWN_REGISTRY = "PLUSHIE_REGISTRY"

#: The format of a registry, and that of the manifests in it.
FORMAT = 1

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}")
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
REVISION = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a model: its path in the repository, and its size and digest if they are known."""

    path: str
    bytes: int | None = None
    sha256: str | None = None

    @property
    def is_network(self) -> bool:
        """Returns whether it is a network or the weights of one; the rest are settings and tokenizers."""
        return self.path.endswith((".onnx", "_data", ".data", ".bin"))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A published model.

    Attributes:
        name: The name.
        description: The kind of model, in a sentence.
        good_at: Its strengths and weaknesses.
        license: Its license, as an SPDX identifier if there is one.
        license_url: The address of the license's text.
        consent: The condition of the license that the user must accept; None if there is none.
        dimension: The dimension of its vectors.
        languages: The languages of its text tower, as BCP 47 tags; empty if it has none.
        repository: The repository on the model hub; None if ``export`` makes the model.
        revision: The pinned commit; None if the first download pins it.
        files: The files that are downloaded.
        about_bytes: The rough size of all files, if that of each is not known.
        export: The argument of ``plushie-search models export`` that makes it, if it is not published as ONNX.
        manifest: The towers, as in ``model.json``, with paths relative to the repository.
        aliases: Other names, such as that in its makers' library.
        probe: Vectors of the original for :mod:`plushie_search.hub.check`, if they are known.
    """

    name: str
    description: str
    good_at: str
    license: str
    license_url: str
    consent: str | None
    dimension: int
    languages: tuple[str, ...]
    repository: str | None
    revision: str | None
    files: tuple[File, ...]
    about_bytes: int | None
    export: str | None
    manifest: Mapping[str, Any]
    aliases: tuple[str, ...]
    probe: Mapping[str, Any] | None

    @property
    def pinned(self) -> bool:
        """Returns whether the registry has the SHA-256 of every file; otherwise the first download pins the rest."""
        return self.revision is not None and all(file.sha256 is not None for file in self.files)

    @cached_property
    def size(self) -> int | None:
        """The bytes of all files together, perhaps roughly; None if unknown."""
        sizes = [file.bytes for file in self.files]
        known = [size for size in sizes if size is not None]
        return sum(known) if sizes and len(known) == len(sizes) else self.about_bytes

    @property
    def facts(self) -> str:
        """Returns the facts of networks that are not local, as the text of a ``probe.json``."""
        digests = {file.path: file.sha256 for file in self.files if file.sha256 is not None}
        return json.dumps({**(self.probe or {}), "sha256": digests})

    def manifest_at(self, revision: str) -> str:
        """Returns the text of the ``model.json`` that describes the files of a revision."""
        whole = {
            "format": FORMAT,
            "name": self.name,
            "version": revision[:12],
            "license": self.license,
            "description": self.description,
            "languages": list(self.languages),
            "dimension": self.dimension,
            **self.manifest,
        }
        return json.dumps(whole, ensure_ascii=False)


def entries() -> Mapping[str, Entry]:
    """Returns the entries of the registry and of your own one, by name, in their order.

    Raises:
        ArgumentError: A registry cannot be read; the message names the wrong entry.
    """
    own = os.environ.get(OWN_REGISTRY)
    found = dict(_read(REGISTRY))
    if own:
        found.update(_read(Path(expanded(own))))
    return found


def find(name: str) -> Entry | None:
    """Returns the entry with this name or alias; None if there is none."""
    known = entries()
    return known.get(name) or next((entry for entry in known.values() if name in entry.aliases), None)


@lru_cache
def _read(path: Path) -> Mapping[str, Entry]:
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArgumentError(f"registry {path} cannot be read: {error}") from error
    if not isinstance(whole, dict) or whole.get("format") != FORMAT or not isinstance(whole.get("models"), dict):
        raise ArgumentError(f'registry {path}: it must be {{"format": {FORMAT}, "models": {{name: entry}}}}')
    found = {}
    for name, values in whole["models"].items():
        try:
            found[name] = _entry(name, values)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise ArgumentError(f"registry {path}, model {name!r}: {reason}") from error
    return found


def _entry(name: str, values: Any) -> Entry:
    if not NAME.fullmatch(name):
        raise ValueError("a name has 1 to 100 letters, digits and . _ : + -")
    values = dict(_of(dict, values, "an entry"))
    repository, revision, export = (
        _optional(values.pop(key, None), key) for key in ("repository", "revision", "export")
    )
    if repository is not None and not REPOSITORY.fullmatch(repository):
        raise ValueError(f"repository {repository!r} is not of the form owner/name")
    if revision is not None and not REVISION.fullmatch(revision):
        raise ValueError(f"revision {revision!r} is no commit of 40 hexadecimal digits")
    files = tuple(_file(path, facts) for path, facts in _of(dict, values.pop("files", {}), "files").items())
    if (repository is None) != (not files) or (repository is None and export is None):
        raise ValueError("it needs a repository with files, or an export")
    about = values.pop("about_bytes", None)
    probe = values.pop("probe", None)
    entry = Entry(
        name=name,
        description=_of(str, values.pop("description"), "description"),
        good_at=_of(str, values.pop("good_at"), "good_at"),
        license=_of(str, values.pop("license"), "license"),
        license_url=_of(str, values.pop("license_url"), "license_url"),
        consent=_optional(values.pop("consent", None), "consent"),
        dimension=_count(values.pop("dimension"), "dimension"),
        languages=tuple(_of(str, tag, "a language") for tag in _of(list, values.pop("languages"), "languages")),
        repository=repository,
        revision=revision,
        files=files,
        about_bytes=None if about is None else _count(about, "about_bytes"),
        export=export,
        manifest=_of(dict, values.pop("manifest", {}), "manifest"),
        aliases=tuple(_of(str, alias, "an alias") for alias in _of(list, values.pop("aliases", []), "aliases")),
        probe=None if probe is None else _of(dict, probe, "probe"),
    )
    if values:
        raise ValueError(f"{', '.join(map(repr, values))} is no key of an entry")
    return entry


def _file(path: str, facts: Any) -> File:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\\" in path or "\0" in path:
        raise ValueError(f"file {path!r} must be a path inside the repository")
    facts = _of(dict, facts, f"file {path!r}")
    size, sha256 = facts.get("bytes"), _optional(facts.get("sha256"), "sha256")
    if sha256 is not None and not SHA256.fullmatch(sha256):
        raise ValueError(f"file {path!r}: sha256 must be 64 hexadecimal digits, or null")
    return File(path=path, bytes=None if size is None else _count(size, "bytes"), sha256=sha256)


def _optional(value: Any, key: str) -> str | None:
    text: str | None = None if value is None else _of(str, value, key)
    return text


def _count(value: Any, key: str) -> int:
    if type(value) is not int or value < 1:
        raise TypeError(f"{key} must be a whole number of at least 1, not {value!r}")
    return value


def _of(kind: type, value: Any, key: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{key} must be a {kind.__name__}, not {value!r}")
    return value
