"""The Rust core: what it raises, and its types. Import these names from `plushie_search`."""

import os
from typing import Literal, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str

class _File(Protocol):
    def read(self) -> bytes: ...

class _Pil(Protocol):
    def tobytes(self) -> bytes: ...
    @property
    def mode(self) -> str: ...

_Image: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | _File | _Pil | ArrayLike

class PictureError(ValueError):
    """A picture or mesh that cannot be read: damaged, of an unknown format, or beyond the limits."""

class ModelError(RuntimeError):
    """A model or runtime library that cannot be used."""

class CatalogError(RuntimeError):
    """A catalog that cannot be opened or changed."""

@final
class Encoder:
    """A model that is ready to encode, shared by any number of threads.

    Each picture and text goes through the model by itself, so its vector never depends on what it is encoded with.

    Args:
        model: The model's directory; `hub.model_directory` finds it by name.
        runtime: The ONNX Runtime library; `hub.runtime_library` finds it.
        threads: How many threads compute, however many call.

    Raises:
        ModelError: The model or the library cannot be used; the message says why and what to do.
    """

    def __new__(cls, model: str | os.PathLike[str], *, runtime: str | os.PathLike[str], threads: int) -> Encoder: ...
    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that changes vectors: networks, tokenizer and settings."""

    @property
    def threads(self) -> int:
        """How many threads compute."""

    def encode_images(self, images: _Image | list[_Image] | tuple[_Image, ...]) -> NDArray[np.float32]:
        """The unit vectors of one picture or a sequence of them, one row for each.

        Raises:
            PictureError: A picture cannot be read; the message names the first one.
            ModelError: The model has no image tower.
        """

    def encode_texts(self, texts: str | list[str] | tuple[str, ...]) -> NDArray[np.float32]:
        """The unit vectors of one text or a sequence of them, one row for each. Recent texts are remembered.

        Raises:
            ValueError: A text is empty or too long.
            ModelError: The model has no text tower.
        """

def decode(image: _Image, *, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The upright RGB pixels of a picture, as an array of shape (height, width, 3).

    EXIF orientation is applied, alpha is laid over white, 16 bits become 8, of an animation the first frame is taken.
    A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, as long as it stays at least `at_least` (width, height):
    that is several times faster.
    """

def load_runtime(path: str | os.PathLike[str]) -> None:
    """Opens the ONNX Runtime library for this process; does nothing if it is open already.

    Raises:
        ModelError: The file is missing, no ONNX Runtime or too old, or another one is open.
    """

def preprocess(
    image: _Image | list[_Image] | tuple[_Image, ...],
    *,
    resize: Literal["crop", "squash", "letterbox"] = "crop",
    size: tuple[int, int] = (224, 224),
    resize_to: int | None = None,
    filter: Literal["bicubic", "bilinear"] = "bicubic",
    mean: tuple[float, float, float] = ...,
    std: tuple[float, float, float] = ...,
    fill: tuple[int, int, int] = (255, 255, 255),
    channels: Literal["rgb", "bgr"] = "rgb",
) -> NDArray[np.float32]:
    """What a model sees: an array of shape (3, height, width) for one picture, (n, 3, height, width) for a list.

    resize: "crop" covers `size` (height, width) and cuts out the middle; "squash" scales each side by itself;
        "letterbox" fits the whole picture in and fills the rest with `fill`.
    resize_to: with "crop", scale the shorter side to this length first, as in 256, then 224.
    filter: as Pillow's BICUBIC and BILINEAR, antialiased.
    mean, std: of values from 0 to 1, in the order of `channels`; CLIP's unless told.
    """

def thumbnail(image: _Image, side: int = 256) -> bytes:
    """A small copy as the bytes of a JPEG file, without metadata; no side is longer than `side`."""
