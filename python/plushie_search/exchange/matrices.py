"""Matrices of vectors in files of numpy and of the TEXMEX benchmarks, read some rows at a time."""

from __future__ import annotations

import errno
import os
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, ClassVar, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .._core import ArgumentError

#: The most bytes of a column of an .npz file, those up to which it may be packed to nothing, and how many times its
#: packed size it may have beyond.
MOST_BYTES, FREE_BYTES, PACKED = 1 << 30, 32 << 20, 50
#: The longest vector.
LONGEST = 1 << 16
#: The names that the array of vectors has in an .npz file.
VECTORS = ("vectors", "embeddings", "features", "base", "arr_0")
#: What numpy and zipfile raise of damaged files.
DAMAGE = (
    ValueError,
    KeyError,
    EOFError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    NotImplementedError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


#: How members of an archive may be packed.
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def told(error: BaseException) -> str:
    """Returns what an error says, or how it begins if it repeats its input."""
    text = str(error) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} [...]"


def check_file(path: str) -> None:
    """Refuses what is no regular file: a device or a pipe may never end.

    Raises:
        OSError: There is no such file.
        ArgumentError: It is no regular file.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ArgumentError(f"{path}: is not a regular file: give the path of a file")


class Matrix(Protocol):
    """Rows of numbers in a file."""

    path: str
    rows: int
    dim: int

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """Yields all rows in their order, ``size`` at a time."""


class Mapped:
    """A matrix in mapped memory."""

    def __init__(self, path: str, array: NDArray[Any]) -> None:
        self.path = path
        self._array = array
        self.rows, self.dim = array.shape

    def part(self, start: int, end: int) -> NDArray[Any]:
        """Returns the rows from one to another."""
        return np.asarray(self._array[start:end])

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        for start in range(0, self.rows, size):
            yield self.part(start, start + size)


def read_npy(path: str) -> Mapped:
    """Opens a matrix in an .npy file.

    Raises:
        OSError: The file cannot be read.
        ArgumentError: It is damaged, holds objects, or no matrix of numbers.
    """
    check_file(path)
    with open(path, "rb") as file:
        head = file.read(len(npy.MAGIC_PREFIX))
    if head.startswith(b"PK"):
        raise ArgumentError(f"{path}: is an archive of arrays: name it .npz")
    if head != npy.MAGIC_PREFIX:
        raise ArgumentError(f"{path}: is no .npy file of numbers: write the vectors by numpy.save")
    try:
        with np.errstate(all="ignore"):  # damaged sizes, which are refused
            array = npy.open_memmap(path, mode="r")
    except DAMAGE as error:
        raise ArgumentError(
            f"{path}: no array of numbers can be read ({told(error)}); write it again by numpy.save"
        ) from error
    return Mapped(path, checked(path, array))


class Zipped:
    """The matrix of an .npz file, of which a block at a time is unpacked."""

    def __init__(self, path: str) -> None:
        self.path = path
        with self._open() as archive:
            headers = {name: self._header(archive, name) for name in archive.namelist() if name.endswith(".npy")}
        wide = [name for name, (shape, dtype, _) in headers.items() if len(shape) == 2 and dtype.kind in "fiu"]
        named = [name for one in VECTORS if (name := f"{one}.npy") in wide] or wide
        if not named or (len(wide) > 1 and named is wide):
            held = ", ".join(name.removesuffix(".npy") for name in headers) or "nothing"
            raise ArgumentError(f"{path}: holds {held}: name the array of vectors 'vectors', of shape (n, dim)")
        self._member = named[0]
        (self.rows, self.dim), self._dtype, fortran = headers[self._member]
        check_shape(path, self.rows, self.dim)
        if fortran:
            raise ArgumentError(f"{path}: {self._member} is stored by columns: write numpy.ascontiguousarray of it")
        self._columns = [
            name for name, (shape, _, _) in headers.items() if name != self._member and shape == (self.rows,)
        ]

    def columns(self) -> Mapping[str, list[Any]]:
        """Returns the arrays that have a value for each row, by their names."""
        found = {}
        with self._open() as archive:
            for name in self._columns:
                size = archive.getinfo(name).file_size
                most = min(MOST_BYTES, max(FREE_BYTES, PACKED * archive.getinfo(name).compress_size))
                if size > most:
                    raise ArgumentError(f"{self.path}: {name} unpacks to {size >> 20} MB: leave it out")
                with archive.open(name) as member:
                    found[name.removesuffix(".npy")] = self._whole(name, member).tolist()
        return found

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        with self._open() as archive, archive.open(self._member) as member:
            self._read_header(self._member, member)
            for start in range(0, self.rows, size):
                count = min(size, self.rows - start)
                wanted = count * self.dim * self._dtype.itemsize
                try:
                    data = member.read(wanted)
                except (*DAMAGE, OSError) as error:
                    raise self._damaged(told(error)) from error
                if len(data) != wanted:
                    raise self._damaged(f"{self._member} ends in row {start + len(data) // (wanted // count)}")
                yield np.frombuffer(data, self._dtype).reshape(count, self.dim)

    def _open(self) -> zipfile.ZipFile:
        try:
            archive = zipfile.ZipFile(self.path)
        except (*DAMAGE, OSError) as error:
            # A damaged archive may name a place before its beginning, which no file has.
            if isinstance(error, OSError) and error.errno != errno.EINVAL:
                raise
            raise self._damaged(told(error)) from error
        # The other ways of packing can ask for gigabytes of memory before the first byte.
        if odd := [one.filename for one in archive.infolist() if one.compress_type not in PLAIN]:
            archive.close()
            raise self._damaged(f"{odd[0][:80]} is packed otherwise than by numpy")
        return archive

    def _header(self, archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
        try:
            with archive.open(name) as member:
                return self._read_header(name, member)
        except ArgumentError:
            raise
        except (*DAMAGE, OSError) as error:
            raise self._damaged(told(error)) from error

    def _read_header(self, name: str, member: Any) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
        try:
            version = npy.read_magic(member)
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, fortran, dtype = read(member)
        except (*DAMAGE, OSError) as error:
            raise self._damaged(f"{name}: {told(error)}") from error
        if dtype.hasobject:
            raise ArgumentError(f"{self.path}: {name} holds Python objects: write it as an array of numbers or texts")
        return shape, dtype, fortran

    def _whole(self, name: str, member: Any) -> NDArray[Any]:
        try:
            array: NDArray[Any] = npy.read_array(member, allow_pickle=False)
        except (*DAMAGE, OSError) as error:
            raise self._damaged(f"{name}: {told(error)}") from error
        return array

    def _damaged(self, reason: str) -> ArgumentError:
        return ArgumentError(f"{self.path}: is damaged ({reason}); write it again by numpy.savez")


class Vecs:
    """A file of the TEXMEX benchmarks (Jégou et al. 2011): each row is its length, int32, and its numbers.

    ``.fvecs`` has float32, ``.bvecs`` bytes and ``.ivecs`` int32, all of them little-endian.
    """

    KINDS: ClassVar = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1"), ".ivecs": np.dtype("<i4")}

    def __init__(self, path: str) -> None:
        self.path = path
        number = self.KINDS[os.path.splitext(path)[1].lower()]
        size = os.path.getsize(path)
        with open(path, "rb") as file:
            self.dim = _length(path, file)
        row = np.dtype([("length", "<i4"), ("numbers", number, (self.dim,))])
        if size % row.itemsize:
            raise ArgumentError(
                f"{path}: {size} bytes are not whole rows of {self.dim} numbers: it was cut off or is of another "
                "format; copy it again"
            )
        self.rows = size // row.itemsize
        self._array = np.memmap(path, row, "r", shape=(self.rows,))

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        for start in range(0, self.rows, size):
            block = self._array[start : start + size]
            if (wrong := np.flatnonzero(block["length"] != self.dim)).size:
                row = start + int(wrong[0])
                raise ArgumentError(
                    f"{self.path}: row {row} has {int(block['length'][wrong[0]])} numbers and row 0 {self.dim}: it is "
                    "damaged; copy it again"
                )
            yield np.asarray(block["numbers"])


def _length(path: str, file: BinaryIO) -> int:
    head = file.read(4)
    length = int.from_bytes(head, "little", signed=True)
    if len(head) < 4 or not 1 <= length <= LONGEST:
        raise ArgumentError(f"{path}: has no row of 1 to {LONGEST} numbers: it is of another format")
    return length


def checked(path: str, array: NDArray[Any]) -> NDArray[Any]:
    """Returns an array if it is a matrix of numbers.

    Raises:
        ArgumentError: It is none.
    """
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise ArgumentError(f"{path}: has shape {array.shape} and type {array.dtype}: give numbers of shape (n, dim)")
    check_shape(path, *array.shape)
    return array


def check_shape(path: str, rows: int, dim: int) -> None:
    """Refuses vectors without rows or numbers, and those that are too long.

    Raises:
        ArgumentError: They are so.
    """
    if rows < 1 or not 1 <= dim <= LONGEST:
        raise ArgumentError(f"{path}: has {rows} rows of {dim} numbers: give one row or more of 1 to {LONGEST}")
