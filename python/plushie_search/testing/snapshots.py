"""Pictures that tests compare with those of an earlier run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .._core import ArgumentError, decode, picture_file
from ..encoders.protocol import Model
from ..paths import expanded
from . import failures, likeness
from .assertions import check_threshold

if TYPE_CHECKING:
    from .._core import _Image as ImageLike


class Snapshots:
    """Compares pictures with stored ones; ``snapshot(image)`` asserts that a picture is like its snapshot.

    Args:
        folder: The folder of the PNG files, made when the first one is written.
        name: The name of the test, which begins the files' names.
        update: Whether snapshots that are missing, or that the picture is not like, are written instead of failing.
        model: A model's name, directory or encoder; that of ``--plushie-model`` by default, or else the built-in one.

    Attributes:
        written: The files that were written.
    """

    def __init__(
        self, folder: str | os.PathLike[str], name: str, *, update: bool = False, model: Model | None = None
    ) -> None:
        self.written: list[Path] = []
        self._folder, self._name, self._update, self._model = Path(expanded(folder)), name, update, model
        self._used: set[str] = set()

    def __call__(
        self,
        image: ImageLike,
        name: str | None = None,
        *,
        min_similarity: float = 0.98,
        model: Model | None = None,
    ) -> None:
        """Asserts that a picture is like its snapshot.

        Args:
            image: The picture: a path, a file's bytes, an open file, a PIL image or an array.
            name: What tells this snapshot from others of the test; by default their numbers, from 1.
            min_similarity: The least similarity, from 0 to 1; 0.98 by default. With 1 every pixel must be the same.
            model: As for the class, for this picture alone.

        Raises:
            AssertionError: There is no snapshot, or the picture is less like it.
            ArgumentError: ``min_similarity`` is not from 0 to 1, or the test has a snapshot of that name already.
            PictureError: The picture, or the snapshot's file, cannot be decoded.
            OSError: The snapshot cannot be written.
        """
        __tracebackhide__ = True
        check_threshold(min_similarity)
        label = str(len(self._used) + 1) if name is None else failures.file_name(name)
        if label in self._used:
            raise ArgumentError(f"snapshot {label!r}: the test has one of that name already; give it another name")
        self._used.add(label)
        path = self._folder / f"{failures.file_name(self._name)}-{label}.png"
        pixels = decode(image)
        if not path.exists():
            if not self._update:
                raise AssertionError(f"there is no snapshot {path}: write it by pytest --plushie-update")
            self._write(path, picture_file(pixels)[1])
            return
        if likeness.is_same(pixels, path):
            return
        model = self._model if model is None else model
        similarity = likeness.similarity(pixels, path, model)
        if similarity >= min_similarity and min_similarity < 1:
            return
        if self._update:
            self._write(path, picture_file(pixels)[1])
            return
        reason = "and their pixels differ" if min_similarity == 1 else f"which is below {min_similarity:g}"
        message = (
            f"the picture and its snapshot {path} have the similarity {similarity:.4f}, {reason}; if the picture is "
            "right, write it by pytest --plushie-update"
        )
        raise AssertionError(failures.told(message, likeness.drawn(pixels, path, model)))

    def _write(self, path: Path, content: bytes) -> None:
        """Writes a file whole or not at all, also where several processes write it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=self._folder, suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(draft, 0o644)
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise
        self.written.append(path)
