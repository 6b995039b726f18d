"""Writes model directories: copies files of the original, and publishes each directory atomically."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ... import _core, hub
from ..._core import ModelError

#: The files that every copy of a model must have, in both spellings.
LICENSES = ("LICENSE*", "LICENCE*", "NOTICE*")


class Original:
    """A model whose picture tower is to be quantized.

    Raises:
        ModelError: It has no picture tower.
        ArgumentError: There is no such model.
    """

    def __init__(self, model: str | os.PathLike[str], *, accept_license: bool) -> None:
        self.directory, self._description = hub.resolve(model, accept_license=accept_license)
        encoder = self.encoder(1)
        self.fingerprint = encoder.fingerprint
        if "image" not in encoder.outputs:
            raise ModelError(f"model {encoder.name} has no image tower to quantize: it encodes texts only")
        self.name = encoder.name
        self.manifest: dict[str, Any] = json.loads(encoder.manifest)
        file, self.output = encoder.outputs["image"]
        self.network = self.directory / file
        #: The file of the new network, relative to the new model's directory.
        self.file = str(Path(file).with_suffix(".int8.onnx"))

    def encoder(self, threads: int) -> _core.Encoder:
        """Returns an encoder of the model."""
        runtime = hub.runtime_library()
        return _core.Encoder(self.directory, runtime=runtime, threads=threads, manifest=self._description)

    @property
    def preprocess(self) -> dict[str, Any]:
        """The options of `_core.preprocess`."""
        settings: dict[str, Any] = self.manifest["image"]["preprocess"]
        options = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
        return {key: value for key, value in options.items() if value is not None}

    def pictures_only(self) -> dict[str, Any]:
        """Returns the manifest of a model with the new network and no text tower."""
        image = {**self.manifest["image"], "file": self.file, "output": self.output}
        return {**{key: value for key, value in self.manifest.items() if key != "text"}, "image": image}

    def complete(self, directory: Path, changes: Mapping[str, Any], locations: Callable[[Path], list[str]]) -> None:
        """Adds the text tower and the licenses to a directory with the new network, and the whole manifest.

        Args:
            directory: The directory of the new network.
            changes: Keys of the manifest.
            locations: Finds the files with the weights of a network, relative to it.
        """
        text = self.manifest.get("text")
        files = []
        if text is not None:
            files = [text["tokenizer"], text["file"]]
            places = locations(self.directory / text["file"])
            files += [str(Path(text["file"]).parent / place) for place in places]
        files += [path.name for pattern in LICENSES for path in self.directory.glob(pattern) if path.is_file()]
        for file in dict.fromkeys(files):
            target = directory / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.directory / file, target)
        image = self.pictures_only()["image"]
        write_manifest(directory, {**self.manifest, **changes, "image": image})


def write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Writes model.json."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False)
    (directory / hub.MANIFEST).write_text(f"{text}\n", encoding="utf-8")


@contextmanager
def stage(out: Path) -> Iterator[Path]:
    """Makes a hidden directory beside `out`, and removes it at the end."""
    out.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def publish(directory: Path, out: Path) -> None:
    """Flushes a complete model to disk and moves it to its place.

    Raises:
        FileExistsError: Something has appeared there meanwhile.
    """
    for path in [*directory.rglob("*"), directory]:
        settle(path)
    try:
        os.rename(directory, out)
    except OSError as error:
        if out.exists():
            raise FileExistsError(f"{out} has appeared meanwhile; nothing was written into it") from error
        raise
    settle(out.parent)


def settle(path: Path) -> None:
    """Flushes a file or directory to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
