"""The Rust core: what it raises, and its types. Import these names from `plushie_search`."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, SupportsIndex, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str

class _File(Protocol):
    def read(self) -> bytes: ...

class _Pil(Protocol):
    def tobytes(self) -> bytes: ...
    @property
    def mode(self) -> str: ...

class _Array(Protocol):
    def __array__(self) -> NDArray[Any]: ...

_Image: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | _File | _Pil | NDArray[Any] | _Array | Crop
)

@final
class Crop:
    """A picture of a query of which one part counts: it is cut out before the model sees it.

    It stands for a picture in searches, `identify`, `classify`, `compare` and `encode_images`. A reference is a whole
    picture: `add` takes none.

    >>> Crop("room.jpg", (0.25, 0.1, 0.75, 0.6))
    Crop('room.jpg', (0.25, 0.1, 0.75, 0.6))

    Args:
        image: A picture of any other kind.
        box: Left, top, right and bottom in shares of the upright picture, from 0 to 1. Edges are rounded to pixels; at
            least one remains.

    Raises:
        ArgumentError: The box is empty, or a number is NaN or not from 0 to 1.
    """

    def __new__(cls, image: _Image, box: Sequence[float]) -> Crop: ...
    @property
    def image(self) -> Any: ...
    @property
    def box(self) -> tuple[float, float, float, float]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs__(self) -> tuple[Any, tuple[float, float, float, float]]: ...

_Texts: TypeAlias = Sequence[str] | _Array

_Progress: TypeAlias = Callable[[int, int | None, str], object]
_Text: TypeAlias = str | SupportsIndex
_NewItem: TypeAlias = tuple[
    _Text,
    _Image | Sequence[_Image],
    _Text | None,
    Mapping[str, Any] | None,
    _Text | None,
    Sequence[str | None] | None,
]
_Report: TypeAlias = tuple[int, int, int, list[tuple[str, str]], int, int, int, list[tuple[str, str]]]
_WalkedItem: TypeAlias = tuple[str, str | None, str | None, dict[str, Any], list[tuple[str, str, int, Path | None]]]
_Found: TypeAlias = tuple[str | None, str | None, str]
_ItemRow: TypeAlias = tuple[str, str | None, str | None, dict[str, Any], list[tuple[str, str, str | None]]]
_By: TypeAlias = str | Mapping[str, float]
_QueryRow: TypeAlias = tuple[
    list[tuple[_Image, float]],
    list[tuple[str, float]],
    list[tuple[_Text, float]],
    list[tuple[tuple[str | None, ArrayLike], float]],
]
_WindowsRow: TypeAlias = tuple[tuple[int, int], int, NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]
_ActivationRow: TypeAlias = tuple[tuple[int, int], NDArray[np.float32], float, float]
_IdentifiedRow: TypeAlias = tuple[
    Literal["match", "ambiguous", "unknown"], float | None, float | None, float | None, float, list[str], list[Hit]
]
_WeighedRow: TypeAlias = tuple[list[tuple[str, float]], tuple[float, float, float], bool]
_CalibratedRow: TypeAlias = tuple[
    tuple[str, Literal["image", "text", "hybrid"], int, int, int, int, bool, float, float, float],
    list[tuple[str, float]],
    _WeighedRow | None,
]
_MapRow: TypeAlias = tuple[int, list[float], list[float], list[float], float]
_GalleryRow: TypeAlias = tuple[
    list[str], list[str | None], NDArray[np.int64], list[str], list[str], list[str | None], NDArray[np.float32]
]
_NeighborsRow: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]

class _EncoderLike(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def fingerprint(self) -> str: ...

class PlushieError(Exception):
    """The root of this package's errors. Each is a built-in error, too: a `CatalogError` is a `RuntimeError`.

    Attributes:
        code: A word for the kind of error, which later versions keep: "argument", "unknown_item", "file", "picture",
            "mesh", "runtime", "model", "catalog", "busy", "disk_full", "damaged" or "internal".
        item: The id of the item that it is about, or None.
        path: The file or directory that it is about, or None.
    """

    code: str
    item: str | None
    path: str | None

class ArgumentError(PlushieError, ValueError):
    """An argument that no catalog or model accepts."""

class UnknownItemError(PlushieError, KeyError):
    """An item that is not in the catalog."""

class FileError(PlushieError, OSError):
    """A file that cannot be read or written."""

class MissingFileError(FileError, FileNotFoundError):
    """A file that does not exist."""

class ForbiddenFileError(FileError, PermissionError):
    """A file that this user may not read or write."""

class PictureError(PlushieError, ValueError):
    """A picture that cannot be read: damaged, of an unknown format, or beyond the limits."""

class ModelError(PlushieError, RuntimeError):
    """A model or runtime library that cannot be used."""

class CatalogError(PlushieError, RuntimeError):
    """A catalog that cannot be opened or changed."""

class InternalError(PlushieError, RuntimeError):
    """A failure of this package or of a library in it, such as a lack of memory or threads."""

class UnreadableTextWarning(UserWarning):
    """A text of which the model knows no word: its vector is that of any such text, and means nothing."""

class _Networks(Protocol):
    """The networks that run on servers; `encoders.connect.networks` makes them."""

    @property
    def image(self) -> _Transport | None: ...
    @property
    def text(self) -> _Transport | None: ...
    @property
    def picture(self) -> NDArray[np.uint8]: ...
    @property
    def words(self) -> str: ...

_Declared: TypeAlias = tuple[str, str, list[int]]

class _Transport(Protocol):
    """Calls one network on a server, by any number of threads.

    `signature` returns the inputs and the outputs as the server declares them: name, datatype of the Open Inference
    Protocol, and shape, negative where a size is not fixed. `infer` takes arrays by name and returns one output, of at
    most so many numbers.
    """

    @property
    def address(self) -> object: ...
    @property
    def batch(self) -> int: ...
    @property
    def requests(self) -> int: ...
    def signature(self) -> tuple[list[_Declared], list[_Declared]]: ...
    def infer(self, inputs: dict[str, NDArray[Any]], output: str, most: int, /) -> NDArray[np.float32]: ...

@final
class Encoder:
    """A model that is ready to encode, shared by any number of threads.

    In a process that was forked from the one where it was opened, it opens itself again when it is first used.

    A vector never depends on what it is encoded with: each text goes through the model by itself, and so does each
    picture, unless the model was seen to give the same bits for several at once.

    Args:
        model: The model's directory; `hub.resolve` finds it by name.
        runtime: The ONNX Runtime library; `hub.runtime_library` finds it.
        threads: How many threads compute, however many call; all cores by default. Encoders of as many threads share
            them.
        manifest: What a model.json would say, as JSON, instead of the one in the directory, into which nothing is
            written; its file names are relative to the directory.
        device: The device, as `hub.open_encoder` explains; "cpu" by default. The runtime must have a provider for
            it.
        precision: "fp32", "fp16" or "bf16", where the device has them; by default the precision of the model.
        max_batch: The most pictures, or texts of one length, that go through the model together, 1 to 1024; 32 on GPUs
            by default, elsewhere one, and four where that changes no bit. In batches that were asked for, a vector may
            differ by rounding (a cosine of 0.9999) from that of the picture alone; a model where it would by more is
            given them one by one.
        service: What calls the model's networks, if they do not all run here. Networks that run elsewhere need not be
            in the directory.
        facts: What is known of the networks without having them, as the JSON of a `probe.json`, instead of the one in
            the directory: `image` and `text`, the vectors of a fixed picture and text, and `sha256`, the digests of the
            networks by their paths, by which the fingerprint is that of the complete directory.
        cache: The number of pictures of searches whose vectors are remembered; 1,000 by default, 0 remembers none.
        networks: Whether to open the networks that run here; without them it only prepares pictures and texts.

    Raises:
        ModelError: The model, the library or the device cannot be used, or the server cannot be asked or runs another
            model; the message says why and what to do.
        ArgumentError: An address or another setting of the service makes no sense, or there is no such device or
            precision.
    """

    def __new__(
        cls,
        model: str | os.PathLike[str],
        *,
        runtime: str | os.PathLike[str],
        threads: int | None = None,
        manifest: str | None = None,
        device: str | None = None,
        precision: str | None = None,
        max_batch: int | None = None,
        service: _Networks | None = None,
        facts: str | None = None,
        cache: int | None = None,
        networks: bool = True,
    ) -> Encoder: ...
    @staticmethod
    def of_object(object: _EncoderLike, *, threads: int | None = None) -> Encoder:
        """An encoder that calls an object; see `plushie_search.EncoderLike`.

        Args:
            object: What computes the vectors. They are checked and scaled to length 1.
            threads: The most threads that decode pictures; all cores by default.

        Raises:
            TypeError: It lacks an attribute or a method.
            ArgumentError: An attribute makes no sense.
        """

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def directory(self) -> Path | None:
        """The model directory; None if the model has none here."""

    @property
    def dim(self) -> int:
        """Numbers in a vector."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that changes vectors: networks, tokenizer and settings."""

    @property
    def manifest(self) -> str:
        """The manifest as JSON, with everything that was found out from the files: the same model as a model.json.

        Of an object it has no towers.
        """

    @property
    def threads(self) -> int:
        """The number of threads that compute."""

    @property
    def device(self) -> str:
        """The device, with its number or name: "cpu", "cuda:0,1", "openvino:CPU"; never "auto"."""

    @property
    def precision(self) -> str | None:
        """The numbers that the device was asked to compute in; None is what the model is made of."""

    @property
    def max_batch(self) -> int | None:
        """The most rows that go through the model together; None is one, or four where that changes no bit."""

    @property
    def fallback(self) -> str | None:
        """Why the device "auto" is not a GPU that computes in the precision asked for, if it is not."""

    @property
    def outputs(self) -> dict[str, tuple[str, str]]:
        """For each tower, "image" and "text", the file and the output of it that has the vectors."""

    def encode_images(self, images: _Image | list[_Image] | tuple[_Image, ...]) -> NDArray[np.float32]:
        """The unit vectors of one picture or a sequence of them, one row for each.

        Raises:
            PictureError: A picture cannot be read; the message names the first one.
            ModelError: The model has no image tower.
        """

    def encode_texts(self, texts: str | list[str] | tuple[str, ...] | _Array) -> NDArray[np.float32]:
        """The unit vectors of one text or a sequence of them, one row for each. Recent texts are remembered.

        Texts of which the model knows no word have one vector, and an `UnreadableTextWarning` says so.

        Raises:
            ArgumentError: A text is empty or too long.
            ModelError: The model has no text tower.
        """

    def preprocess_images(self, images: _Image | list[_Image] | tuple[_Image, ...]) -> NDArray[np.float32]:
        """The tensors that the model sees of pictures: float32, (n, 3, height, width). No network is needed.

        Raises:
            PictureError: A picture cannot be read; the message names the first one.
            ModelError: The model has no image tower, or is an object.
        """

    def tokenize(self, texts: str | list[str] | tuple[str, ...] | _Array) -> dict[str, NDArray[np.int64]]:
        """The tokens that the model reads of texts: "input_ids" and "attention_mask", int64, (n, tokens).

        Shorter texts are padded to the longest. No network is needed.

        Raises:
            ArgumentError: A text is empty or too long.
            ModelError: The model has no text tower, or is an object.
        """

def decode(image: _Image, *, at_least: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """The upright RGB pixels of a picture, as an array of shape (height, width, 3).

    EXIF orientation is applied, alpha is laid over white, 16 bits become 8, of an animation the first frame is taken.
    A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size, as long as it stays at least `at_least` (width, height):
    that is several times faster.
    """

def picture_file(image: _Image) -> tuple[str, bytes]:
    """A picture as a JPEG or PNG file that every program reads alike: its media type and its bytes.

    A JPEG or PNG file of up to 1 MiB that needs no turning and has no transparency is returned as it is.
    """

def picture_digest(image: _Image) -> str:
    """Returns the digest by which a picture is known in a catalog: 64 hexadecimal digits."""

def spread_windows(boxes: list[list[float]], values: list[float], size: tuple[int, int]) -> NDArray[np.float32]:
    """Returns the map (h, w) of windows of a picture of this width and height.

    Each cell has the mean of the values of the windows over it, the nearer their centers the more.
    """

def judge(
    fit: str, scores: list[float], crowd: list[float], *, gallery: int, target_fpr: float, prior: float
) -> tuple[Literal["match", "ambiguous", "unknown"], float | None, float | None, float, int, list[float]]:
    """Judges the best scores of a query, one for each item, by the calibration `fit`.

    Returns the verdict, margin, strength, threshold, how many of the first items are plausible, and the probability of
    each.

    `crowd` has the best scores of all items, and `gallery` is the number of the items that were compared.

    Raises:
        ArgumentError: `fit` is no calibration.
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
    size: tuple[int, int] = ...,
    resize_to: int | None = None,
    filter: Literal["bicubic", "bilinear"] = "bicubic",
    mean: tuple[float, float, float] = ...,
    std: tuple[float, float, float] = ...,
    fill: tuple[int, int, int] = ...,
    channels: Literal["rgb", "bgr"] = "rgb",
    center: Literal["down", "even"] = "down",
) -> NDArray[np.float32]:
    """Prepares pictures as a model takes them: shape (3, height, width) for one, (n, 3, height, width) for a list.

    resize: "crop" covers `size` (height, width; 224 each by default) and cuts out the
        middle; "squash" scales each side by itself; "letterbox" fits the whole picture in and
        fills the rest with `fill` (white by default).
    resize_to: with "crop", scale the shorter side to this length first, as in 256, then 224.
    filter: as Pillow's BICUBIC and BILINEAR, antialiased.
    mean, std: of values from 0 to 1, in the order of `channels`; CLIP's by default.
    center: with "crop", where the odd one of the rows or columns goes that are cut off: "down" is below and on the
        right, as transformers does it; "even" rounds half to the even number, as torchvision and open_clip do.
    """

def thumbnail(image: _Image, side: int = 256, *, quality: int | None = None) -> bytes:
    """A small copy as the bytes of a JPEG file, without metadata; no side is longer than `side`.

    quality: libjpeg's, 1 to 100; without it no artifact can be seen.
    """

def folder_items(folder: str | os.PathLike[str]) -> list[tuple[str, list[Path]]]:
    """Returns the items that `Engine.add_folder` would add: each item's id and the paths of its pictures, both sorted.

    Raises:
        ArgumentError: There is no picture in it.
        OSError: A folder cannot be read.
    """

@final
class Hit:
    """One item that a search has found, and the reference of it that matched best.

    Attributes:
        rank: 1 for the best.
        item: The item's id.
        score: By default the cosine between query and reference, from -1 to 1; if several models looked up the query,
            or it has pictures and texts, the mean of their cosines as `fusion` weighs it, which with `fusion="rrf"` and
            "dbsf" is no cosine; with another `aggregate` that of all references of the item. Scores of different models
            cannot be compared.
        scores: For each model that looked up the query the cosine between query and reference.
        probability: The probability, from 0 to 1, that the item is the right one, if that is as likely in the catalog
            as not. None if such queries are not calibrated: texts without ``calibrate``, items and vectors, several
            models together but by weights that were calibrated and ``fusion="sum"``, other options of ``fusion`` and
            ``aggregate``, and catalogs of more than 1,000 references that have not been calibrated. Words of the item
            do not count in it.
        similarity: From 0 to 1: the probability if there is one, else the cosine, of several models the best one, or 0
            if that is below 0. It is no key of `to_dict`.
        matched: The fields of the item that have words of the query: `id`, `label`, `text`, or keys of the metadata if
            the search names them in `words`. Empty if only the vector matched.
        reference: The name of the matching reference: the picture's path, if it was added by one.
        digest: The SHA-256 of the reference's content, 64 hexadecimal digits.
        view: The side from which a mesh was seen, `view:azimuth,elevation` in degrees, or `view:all` for the mean of
            all; None for a picture.
        label: The item's class, if it has one.
        text: The item's text, if it has one.
        metadata: The item's metadata.
        vectors: For each model that looked up the query the unit vector of the reference, float32 (dim,); None unless
            the search asked for vectors.

    Raises:
        ArgumentError: The digest is not 64 hexadecimal digits, `view` names no view, or `vectors` has other models than
            `scores`.
    """

    def __new__(
        cls,
        rank: int,
        item: str,
        score: float,
        *,
        reference: str = "",
        digest: str | None = None,
        view: str | None = None,
        label: str | None = None,
        text: str | None = None,
        metadata: dict[str, Any] | None = None,
        scores: dict[str, float] | None = None,
        probability: float | None = None,
        matched: Sequence[str] | None = None,
        vectors: Mapping[str, NDArray[np.float32]] | None = None,
    ) -> Hit: ...
    @property
    def rank(self) -> int: ...
    @property
    def item(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def scores(self) -> dict[str, float]: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def similarity(self) -> float: ...
    @property
    def matched(self) -> tuple[str, ...]: ...
    @property
    def reference(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def view(self) -> str | None: ...
    @property
    def label(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...
    @property
    def metadata(self) -> dict[str, Any]: ...
    @property
    def vectors(self) -> dict[str, NDArray[np.float32]] | None: ...
    def to_dict(self) -> dict[str, Any]:
        """Returns a plain dict of the attributes, ready for JSON; `vectors` only if there are any."""

    def __eq__(self, value: object, /) -> bool: ...
    def __reduce__(self) -> tuple[Callable[[], Hit], tuple[()]]: ...

def each_image(images: _Image | Sequence[_Image]) -> tuple[list[Any], bool]:
    """Returns one picture or many as a list, and whether it was one."""

def each_text(texts: str | _Texts) -> tuple[list[str], bool]:
    """Returns one text or many as a list, and whether it was one."""

def each_vector(vectors: ArrayLike, name: str) -> tuple[NDArray[np.float32], bool]:
    """Returns one vector or many as rows, (n, dim), and whether it was one. `name` is what errors call them."""

@final
class Engine:
    """An open catalog; `plushie_search.Engine` is its public face and has the documentation."""

    def __new__(
        cls,
        path: str,
        encoders: Sequence[tuple[str | None, Encoder]],
        *,
        dim: int | None,
        absent: Sequence[tuple[str, str, int]],
        threads: int | None,
        create: bool,
        read_only: bool,
        busy_timeout: float,
        durability: str,
        thumbnails: bool | None,
        media: bool | None,
        crops: bool | None,
        views: int | None,
        index: str,
        recall: float | None,
        memory: float | None,
        index_device: str | None,
    ) -> Engine: ...
    @property
    def path(self) -> str: ...
    @property
    def migrated(self) -> int | None: ...
    @property
    def models(self) -> list[str]: ...
    @property
    def image_model(self) -> str | None: ...
    @property
    def text_model(self) -> str | None: ...
    def add(
        self,
        id: _Text,
        images: _Image | Sequence[_Image],
        *,
        names: str | Sequence[str | None] | None = None,
        label: _Text | None = None,
        metadata: Mapping[str, Any] | None = None,
        text: _Text | None = None,
        upsert: bool = False,
    ) -> tuple[int, int, int, list[tuple[str, str]]]: ...
    def add_folder(self, folder: str, *, progress: _Progress | None = None) -> _Report: ...
    def add_items(
        self,
        items: Iterable[_NewItem],
        *,
        listed: bool = False,
        upsert: bool = False,
        total: int | None = None,
        progress: _Progress | None = None,
    ) -> _Report: ...
    def add_vectors(
        self,
        ids: list[_Text],
        vectors: Sequence[tuple[str | None, ArrayLike]],
        *,
        references: Iterable[_Text | None] | None = None,
        digests: Iterable[str | None] | None = None,
        labels: Iterable[_Text | None] | None = None,
        metadata: Iterable[Mapping[str, Any] | None] | None = None,
        texts: Iterable[_Text | None] | None = None,
        views: Sequence[int] | None = None,
        by_digest: bool = False,
    ) -> tuple[int, int, int]: ...
    def keep_files(self, files: Sequence[tuple[str, str]]) -> None: ...
    def walk(self, limit: int, told: Callable[[list[_WalkedItem], list[NDArray[np.float32]]], object]) -> None: ...
    def update(self, id: _Text, changes: dict[str, Any]) -> None: ...
    def remove(self, ids: list[_Text]) -> int: ...
    def remove_where(self, where: Mapping[str, Any]) -> int: ...
    def remove_reference(self, id: _Text, reference: str) -> int: ...
    def get(self, id: _Text) -> _ItemRow: ...
    def get_all(self, ids: list[_Text]) -> list[_ItemRow]: ...
    def thumbnail(self, id: _Text, reference: str | None = None) -> bytes | None: ...
    def original(self, id: _Text, reference: str | None = None) -> Path | None: ...
    def vectors(self, id: _Text, *, model: str | None = None) -> NDArray[np.float32]: ...
    def gallery(self, *, where: Mapping[str, Any] | None, model: str | None) -> _GalleryRow: ...
    def neighbors(
        self, k: int, *, where: Mapping[str, Any] | None, model: str | None
    ) -> tuple[_GalleryRow, _NeighborsRow]: ...
    def position(self) -> tuple[int, tuple[int, int] | None]: ...
    def items(self, *, where: Mapping[str, Any] | None, limit: int | None, offset: int) -> list[_ItemRow]: ...
    def items_after(
        self, after: int, limit: int, *, where: Mapping[str, Any] | None = None
    ) -> tuple[int, list[_ItemRow]]: ...
    def count(self, *, where: Mapping[str, Any] | None = None) -> int: ...
    def __len__(self) -> int: ...
    def contains(self, id: object) -> bool: ...
    def search(
        self,
        queries: list[_QueryRow],
        *,
        k: int,
        after: str | None,
        where: Mapping[str, Any] | None,
        min_score: float | None,
        exclude: str | SupportsIndex | Iterable[str | SupportsIndex] | None,
        mmr: float | None,
        models: _By | None,
        fusion: str,
        rrf_k: float,
        aggregate: str,
        temperature: float,
        query_crops: bool,
        expand: bool | Sequence[str] | None,
        words: bool | str | Sequence[str] | None,
        nprobe: int | None,
        ef_search: int | None,
        k_factor: float | None,
        vectors: bool,
    ) -> tuple[list[list[Hit]], str | None, float, float]: ...
    def identify(
        self,
        queries: list[_QueryRow],
        *,
        target_fpr: float,
        prior: float,
        k: int,
        where: Mapping[str, Any] | None,
        models: _By | None,
        query_crops: bool,
    ) -> list[_IdentifiedRow]: ...
    def fit_of_pictures(self, *, models: _By | None = None) -> str: ...
    def calibrate(
        self, queries: list[_QueryRow], labels: list[_Text | None], *, models: _By | Sequence[str] | None
    ) -> _CalibratedRow: ...
    def adapt(
        self, whole: _MapRow, parts: list[_MapRow], items: list[tuple[str, int]], *, model: str | None
    ) -> _CalibratedRow: ...
    def forget_adapter(self, *, model: str | None) -> bool: ...
    def encode_images(self, images: _Image | Sequence[_Image], *, model: str | None = None) -> NDArray[np.float32]: ...
    def encode_texts(
        self, texts: str | _Texts, *, model: str | None = None, expand: bool | Sequence[str] | None = None
    ) -> NDArray[np.float32]: ...
    def windows(self, image: _Image, *, detail: int, model: str) -> _WindowsRow: ...
    def activation(self, image: _Image, vector: list[float], model: str) -> _ActivationRow: ...
    def feature_maps(
        self, image: _Image, model: str
    ) -> tuple[list[NDArray[np.float32]], tuple[float, float, float, float]]: ...
    def query_vectors(self, queries: list[_QueryRow], *, model: str) -> NDArray[np.float32]: ...
    def unreadable(self, texts: list[str], *, models: _By | None = None) -> list[bool]: ...
    def unknown_keys(self, where: Mapping[str, Any]) -> list[str]: ...
    def stats(self) -> dict[str, Any]: ...
    def backup(self, directory: str) -> None: ...
    def verify(self, *, repair: bool = False) -> list[list[_Found]]: ...
    def compact(self) -> None: ...
    def optimize(self) -> None: ...
    def reencode(
        self,
        encoders: Sequence[tuple[str | None, Encoder]],
        *,
        sources: dict[str, str],
        progress: _Progress | None,
    ) -> tuple[bool, int, int, int, int]: ...
    def add_models(
        self,
        encoders: Sequence[tuple[str | None, Encoder]],
        *,
        sources: dict[str, str],
        progress: _Progress | None,
    ) -> tuple[bool, int, int, int, int]: ...
    def remember_sources(self, sources: dict[str, str]) -> None: ...
    def close(self) -> None: ...

def held_models(
    path: str, *, read_only: bool, busy_timeout: float
) -> tuple[list[tuple[str, str, int, str | None]], int | None]:
    """Returns the models that a catalog has vectors of, and the older format that it had if opening it has migrated it.

    Each model has its name, fingerprint, dimension, and source if that is known.
    """

def restore(backup: str, path: str, *, overwrite: bool) -> tuple[int, str | None]:
    """Restores a catalog: the number of its items, and the directory of the one that was there."""

def salvage(path: str, out: str) -> tuple[int, int, list[_Found]]:
    """Saves the readable part of a damaged catalog: the numbers of items and references, and the losses."""

def before_fork() -> None:
    """Waits for running transactions and closes every connection to a catalog, before this process forks."""

def after_fork_in_parent() -> None:
    """Lets this process use its catalogs again, after it has forked."""

def after_fork_in_child() -> None:
    """Forgets the catalogs of the process from which this one was forked."""

_Language: TypeAlias = Literal["en", "zh-Hans", "zh-Hant"]
_Scene: TypeAlias = Literal["studio", "everyday", "light", "pose", "occluded", "head_only", "cluttered"]

@final
class Plush:
    """A plush toy made of numbers: the same seed is the same plush on every machine."""

    def __new__(cls, seed: int) -> Plush: ...
    @staticmethod
    def with_attributes(seed: int, attributes: dict[str, Any]) -> Plush:
        """A plush with these attributes and the proportions of this seed; raises ValueError if they do not fit."""

    @property
    def seed(self) -> int:
        """The seed of its proportions."""

    @property
    def attributes(self) -> dict[str, Any]:
        """Its attributes: species, color, pattern, accessories, pose and so on."""

    def caption(self, language: _Language = "en") -> str:
        """A sentence that names what stands out."""

    def lookalike(self, seed: int) -> Plush:
        """A plush that differs in one visible attribute, which the seed chooses."""

    def render(self, *, size: int = 224, view: int = 0, scene: _Scene = "studio") -> NDArray[np.uint8]:
        """A picture of shape (size, size, 3); the number of the view chooses camera, light and background."""

    def cutout(self, *, size: int = 224, view: int = 0, scene: _Scene = "studio") -> NDArray[np.uint8]:
        """The picture that :meth:`render` makes, of shape (size, size, 4).

        The fourth channel is 255 where the plush itself can be seen and 0 elsewhere: paste it on a photo of your own.
        """

    def stl(self) -> bytes:
        """Its surface, without colors and fur, as a binary STL file in millimeters: z is up, and it faces -y."""

def render_plushes(
    seeds: Sequence[int],
    views: Sequence[int],
    *,
    size: int = 224,
    scene: _Scene = "everyday",
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Pictures of many plushes, each in its own view: an array of shape (n, size, size, 3)."""

def render_mesh(
    mesh: str | os.PathLike[str] | bytes | BinaryIO, *, views: int, size: int, turntable: bool, threads: int | None
) -> tuple[list[str], NDArray[np.uint8]]:
    """The names of views of a mesh, and their pictures: an array of shape (views, size, size, 3)."""

def mesh_shape(
    mesh: str | os.PathLike[str] | bytes | BinaryIO,
) -> tuple[
    int,
    tuple[float, float, float],
    float,
    float | None,
    tuple[float, float, float],
    int,
    NDArray[np.float32],
    tuple[str, ...],
]:
    """The arguments of `plushie_search.Shape`."""

def plush_words() -> dict[str, dict[str, dict[str, str]]]:
    """The word for every value of every attribute: ``plush_words()["color"]["red"]["zh-Hans"]``."""

@final
class Index:
    """Exact search over your own vectors, grouped by item.

    Each vector is a *reference* and belongs to an *item*; a search returns items, each with its best reference.
    Several threads may use an index at once.

        index = Index(256)
        index.add(references=[1, 2, 3], vectors=vectors, items=[10, 10, 11])
        scores, items, references = index.search(queries, k=5)

    Args:
        dim: Numbers in each vector, 1 to 65,536.
        metric: How vectors are compared. By ``"cosine"``, the default, which scales all vectors to length 1. Or as
            they are: by ``"ip"``, the inner product, or ``"l2"``, the squared Euclidean distance. These are the scores
            of faiss's IndexFlatIP and IndexFlatL2.

    Raises:
        ArgumentError: The metric is unknown, or dim is out of its bounds.
    """

    def __new__(cls, dim: int, *, metric: Literal["cosine", "ip", "l2"] = "cosine") -> Index: ...
    @property
    def dim(self) -> int:
        """Numbers in each vector."""
    @property
    def metric(self) -> str:
        """How vectors are compared."""
    def __len__(self) -> int:
        """Returns the number of references."""
    def add(self, references: ArrayLike, vectors: ArrayLike, *, items: ArrayLike | None = None) -> None:
        """Adds references (integers) with their vectors (one row each); without `items`, each is its own item.

        A reference that is there already is replaced.
        """
    def remove(self, references: ArrayLike) -> int:
        """Removes references, passes over those that are not there, and returns how many were."""
    def search(
        self,
        queries: ArrayLike,
        *,
        k: int = 10,
        allowed: ArrayLike | None = None,
        min_score: float | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        """Returns the scores, items and references of the best `k` items for each query (one row each), best first.

        There are `k` columns, or as many as the index has items if these are fewer. Distances are less for better
        items. Only `allowed` items count, and only scores of at least `min_score`, or distances of at most that. Where
        fewer are found, the rest of a row is -inf, or inf for distances, -1 and -1.

        Raises:
            ArgumentError: The queries are of another dimension or have NaN, or k is below 1.
        """

_Bounds: TypeAlias = tuple[float, float, float]
_Ids: TypeAlias = Iterable[str] | Iterable[int]

@final
class Rankings:
    """Ranked lists and where the relevant items stand in them; `plushie_search.metrics.Rankings`.

    Precision, recall, average precision and reciprocal rank are defined as in trec_eval: what a list lacks counts as
    ranked below everything.

    Args:
        ranked: For each query the ids of items, str or int, best first. Rows of `Index.search` that end in -1 must be
            cut there.
        relevant: For each query the ids of the right items, or a dict of their grades (above 0; items with 0 are not
            relevant). Only `ndcg` looks at the grades.

    Raises:
        ArgumentError: The numbers of queries differ, an item is in a list twice, a query has no relevant item (none of
            the figures is defined then), or a grade is negative, NaN or infinite.
        TypeError: Something is no list of ids.
    """

    def __new__(cls, ranked: Iterable[_Ids], relevant: Iterable[_Ids | Mapping[Any, float]]) -> Rankings: ...
    @staticmethod
    def from_ranks(ranks: ArrayLike) -> Rankings:
        """Queries with one relevant item each, by its rank from 1; 0 where it was not found. Shape (n,)."""

    def __len__(self) -> int:
        """Returns the number of queries."""

    @property
    def ranks(self) -> NDArray[np.int64]:
        """The rank of the best relevant item of each query, from 1; 0 where the list has none. Shape (n,)."""

    def hit(self, k: int) -> NDArray[np.float64]:
        """1 where any of the first `k` is relevant, else 0, shape (n,); the mean is the hit rate or top-k accuracy."""

    def precision(self, k: int) -> NDArray[np.float64]:
        """The share of relevant items among the first `k`, shape (n,); divided by `k` even if a list is shorter."""

    def recall(self, k: int) -> NDArray[np.float64]:
        """The share of the relevant items that are among the first `k`, shape (n,)."""

    def average_precision(self, k: int | None = None) -> NDArray[np.float64]:
        """The precision at the rank of each relevant item, 0 for those not among the first `k` (all by default),
        averaged over all relevant items. Shape (n,); the mean is the mean average precision (mAP)."""

    def reciprocal_rank(self, k: int | None = None) -> NDArray[np.float64]:
        """1 / rank of the best relevant item, 0 if none is among the first `k` (all by default); the mean is MRR."""

    def ndcg(self, k: int | None = None) -> NDArray[np.float64]:
        """Normalized discounted cumulative gain of the first `k` (all by default), shape (n,): the sum of grade /
        log2(1 + rank), divided by that of the best order (Järvelin and Kekäläinen 2002)."""

def bootstrap_mean(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    rounds: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> _Bounds:
    """The mean with the ends of its interval; `plushie_search.metrics.mean`. `groups` are integers."""

def open_set(
    known: ArrayLike,
    unknown: ArrayLike,
    *,
    false_reject_rate: float = 0.05,
    groups: ArrayLike | None = None,
    rounds: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[_Bounds, _Bounds, float, float]:
    """AUROC and false-accept rate with their intervals, false-reject rate and threshold;
    `plushie_search.metrics.open_set`."""

def confusions(items: list[str], wrong: list[str | None], *, worst: int = 20) -> list[tuple[str, str, int, int]]:
    """(item, instead, times, queries) of the most frequent confusions; `plushie_search.metrics.confusions`."""
