"""Files of vectors that are damaged, lie about their sizes, unpack to gigabytes or name other files."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import toy
from bad_exports import configurations, exports, labels
from harness import Case, Place
from mutate import mutate

ROWS = np.random.default_rng(5).standard_normal((6, toy.DIM)).astype(np.float32)


def npy(array: Any = ROWS, *, allow: bool = False) -> bytes:
    """Returns an .npy file."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow)
    return file.getvalue()


def npy_of(
    shape: str, kind: str = "<f4", more: str = "", data: bytes = ROWS.tobytes(), version: bytes = b"\x01\x00"
) -> bytes:
    """Returns an .npy file whose header says anything."""
    told = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, {more}}}".encode()
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(told) + 1)
    return b"\x93NUMPY" + version + length + told + b"\n" + data


def npz(**arrays: Any) -> bytes:
    """Returns an .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    """Returns an archive of these files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def parquet(columns: dict[str, Any] | None = None, metadata: dict[bytes, bytes] | None = None) -> bytes:
    """Returns a parquet file."""
    table = pa.table(columns or {"id": [str(n) for n in range(6)], "vector": list(ROWS)})
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, file)
    return file.getvalue()


def hdf5(fill: Callable[[Any], object]) -> bytes:
    """Returns an HDF5 file."""
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        fill(made)
    return file.getvalue()


def vecs(rows: np.ndarray) -> bytes:
    """Returns an .fvecs, .bvecs or .ivecs file."""
    return b"".join(struct.pack("<i", len(row)) + row.tobytes() for row in rows)


def flat(rows: np.ndarray = ROWS) -> bytes:
    """Returns a flat index of faiss."""
    head = struct.pack("<iqqqBi", rows.shape[1], len(rows), 1 << 20, 1 << 20, 1, 0)
    return b"IxFI" + head + struct.pack("<Q", rows.size) + rows.tobytes()


def lists(count: int = 2) -> bytes:
    """Returns an index of faiss with inverted lists."""
    centers, size = np.ones((count, toy.DIM), np.float32), 4 * toy.DIM
    head = (
        struct.pack("<iqqqBi", toy.DIM, len(ROWS), 1 << 20, 1 << 20, 1, 0)
        if count
        else struct.pack("<iqqqBi", toy.DIM, 0, 0, 0, 1, 0)
    )
    sizes = [3] * count
    body = b"".join(ROWS[3 * n : 3 * n + 3].tobytes() + np.arange(3 * n, 3 * n + 3).tobytes() for n in range(count))
    inverted = b"ilar" + struct.pack("<QQ", count, size) + b"full" + struct.pack(f"<Q{count}Q", count, *sizes) + body
    return b"IwFl" + head + struct.pack("<QQ", count, 1) + flat(centers) + b"\0" + struct.pack("<Q", 0) + inverted


def mapped(depth: int = 1) -> bytes:
    """Returns a flat index within so many id maps."""
    made = flat()
    for _ in range(depth):
        head = struct.pack("<iqqqBi", toy.DIM, len(ROWS), 1 << 20, 1 << 20, 1, 0)
        made = b"IxMp" + head + made + struct.pack("<Q", len(ROWS)) + np.arange(len(ROWS)).tobytes()
    return made


def quantized() -> bytes:
    """Returns an index of faiss with a scalar quantizer."""
    head = struct.pack("<iqqqBi", toy.DIM, 4, 1 << 20, 1 << 20, 1, 0)
    trained = np.ones(2 * toy.DIM, np.float32)
    codes = bytes(range(4 * toy.DIM))
    quantizer = struct.pack("<iifQQQ", 0, 0, 0.0, toy.DIM, toy.DIM, 2 * toy.DIM) + trained.tobytes()
    return b"IxSQ" + head + quantizer + struct.pack("<Q", len(codes)) + codes


def seeds() -> dict[str, bytes]:
    """Returns a sound file of each format, by its ending."""
    return {
        ".npy": npy(),
        ".npz": npz(vectors=ROWS, label=np.array(list("abcdef"))),
        ".parquet": parquet(),
        ".hdf5": hdf5(lambda file: file.create_dataset("train", data=ROWS, chunks=(2, toy.DIM), compression="gzip")),
        ".fvecs": vecs(ROWS),
        ".bvecs": vecs(np.abs(ROWS * 50).astype(np.uint8) + 1),
        ".faiss": flat(),
        ".lists.faiss": lists(),
        ".mapped.faiss": mapped(),
        ".quantized.faiss": quantized(),
    }


def of_numpy() -> Iterator[tuple[str, str, bytes]]:
    for shape in ("(6, 6)", "(1, 36)", "(36, 1)", "(7, 6)", "(0, 6)", "(6, 0)", "(36,)", "()", "(1, 6, 6)", "(-6, -6)", "(1000000000000, 6)",
                  "(4611686018427387904, 4)", "(10**9, 6)", "'x'", "(True, 6)", "(6.0, 6)", "[6, 6]", "(2,)*9**9", "(" * 300, "None"):  # fmt: skip
        yield f"npy of shape {shape[:20]}", ".npy", npy_of(shape)
    for kind in (
        "<f4",
        ">f4",
        "<f2",
        "<f8",
        "<i8",
        "|u1",
        "|b1",
        "|O",
        "|S4",
        "<U9",
        "<c8",
        "<M8[s]",
        "|V4",
        "<f16",
        "x",
        "<f999",
        "",
        "i" * 5000,
        "|V1000000000000",
    ):
        yield f"npy of type {kind[:20]}", ".npy", npy_of("(6, 6)", kind)
        yield f"npz of type {kind[:20]}", ".npz", zipped({"vectors.npy": npy_of("(6, 6)", kind)})
        yield (
            f"npz with a column of type {kind[:20]}",
            ".npz",
            zipped({"vectors.npy": npy(), "label.npy": npy_of("(6,)", kind)}),
        )
    for more in (
        "'x': 1,",
        "'descr': 1,",
        "__import__('os').system('true'),",
        "**{},",
        "'a': " + "[" * 200 + "]" * 200,
        "1: 2,",
        "'a': 9" + "9" * 5000,
    ):
        yield f"npy with {more[:20]}", ".npy", npy_of("(6, 6)", more=more)
    for version in (b"\x02\x00", b"\x03\x00", b"\x04\x00", b"\x00\x00", b"\xff\xff"):
        yield f"npy of version {version.hex()}", ".npy", npy_of("(6, 6)", version=version)
        yield f"npz of version {version.hex()}", ".npz", zipped({"vectors.npy": npy_of("(6, 6)", version=version)})
    yield "npy of objects", ".npy", npy(np.array([print, None], object).astype(str))
    yield "npy of a pickle", ".npy", npy(np.full((6, 6), None, object), allow=True)
    yield "npz of a pickle", ".npz", zipped({"vectors.npy": npy(np.full((6, 6), None, object), allow=True)})
    yield (
        "npz with a pickled column",
        ".npz",
        zipped({"vectors.npy": npy(), "label.npy": npy(np.full(6, None, object), allow=True)}),
    )
    yield "npz named npy", ".npy", npz(vectors=ROWS)
    yield "a cut npz named npy", ".npy", npz(vectors=ROWS)[:90]
    yield "npy named npz", ".npz", npy()
    yield "a pickle named npy", ".npy", b"\x80\x04cposix\nsystem\n(S'true'\ntR."
    yield "npz of nothing", ".npz", zipped({})
    yield "npz of a text", ".npz", zipped({"vectors.npy": b"text"})
    yield "npz of two matrices", ".npz", npz(a=ROWS, b=ROWS)
    yield "npz by columns", ".npz", npz(vectors=np.asfortranarray(ROWS))
    yield "npz with both class and label", ".npz", npz(vectors=ROWS, label=np.arange(6), **{"class": np.arange(6)})
    yield "npz out of its folder", ".npz", zipped({"../../../tmp/evil.npy": npy(), "/etc/passwd.npy": npy()})
    yield "npz of 5,000 members", ".npz", zipped({f"{n}.npy": b"" for n in range(5000)})
    yield "npz with a column of 100 million zeros", ".npz", npz(vectors=ROWS, label=np.zeros(6, "S20000000"))
    yield "npz with a column of zeros in UTF-32", ".npz", npz(vectors=ROWS, label=np.zeros(6, "U4000000"))
    yield "npz of a huge shape", ".npz", zipped({"vectors.npy": npy_of("(1000000000000, 6)")})
    yield "npz of long vectors", ".npz", zipped({"vectors.npy": npy_of("(1000, 65536)")})
    whole = npz(vectors=ROWS)
    for place in (
        6,
        8,
        10,
        14,
        18,
        22,
        26,
        28,
        len(whole) - 22,
        len(whole) - 12,
        len(whole) - 10,
        len(whole) - 6,
        len(whole) - 2,
    ):
        for number in (0, 1, 0xFFFF):
            yield (
                f"npz with {number} at {place}",
                ".npz",
                whole[:place] + struct.pack("<H", number) + whole[place + 2 :],
            )
    for value in (np.nan, np.inf, -np.inf, 0, 3e38):
        rows = ROWS.copy()
        rows[3] = value
        for ending, data in ((".npy", npy(rows)), (".npz", npz(vectors=rows)), (".fvecs", vecs(rows)), (".faiss", flat(rows)),
                             (".parquet", parquet({"vector": list(rows)})), (".hdf5", hdf5(lambda file, rows=rows: file.create_dataset("train", data=rows)))):  # fmt: skip
            yield f"a row of {value} in {ending}", ending, data


def of_vecs() -> Iterator[tuple[str, str, bytes]]:
    for ending in (".fvecs", ".bvecs", ".ivecs"):
        for length in (0, -1, 1, 5, 7, 65_536, 65_537, 1 << 30, -(1 << 31)):
            yield f"{ending} of {length} numbers", ending, struct.pack("<i", length) + vecs(ROWS)[4:]
        yield f"{ending} of rows of two lengths", ending, vecs(ROWS[:2]) + struct.pack("<i", 5) + vecs(ROWS)[4:28]
        yield f"{ending} of three bytes", ending, b"abc"


def of_faiss() -> Iterator[tuple[str, str, bytes]]:
    for code in (
        b"IxFI",
        b"IxF2",
        b"IxSQ",
        b"IwFl",
        b"IwSq",
        b"IHNf",
        b"IxMp",
        b"IxPq",
        b"IwPQ",
        b"ILfs",
        b"IxPT",
        b"    ",
        b"\xff" * 4,
    ):
        yield f"faiss of {code!r}", ".faiss", code + flat()[4:]
    for whole, name in ((flat(), "flat"), (lists(), "lists"), (mapped(), "mapped"), (quantized(), "quantized")):
        for place in range(4, min(len(whole), 220), 4):
            for number in (0, 1, 0x7FFFFFFF, 0xFFFFFFFF):
                if place < 60 or number in (0, 0xFFFFFFFF):
                    yield (
                        f"{name} with {number} at {place}",
                        ".faiss",
                        whole[:place] + struct.pack("<I", number) + whole[place + 4 :],
                    )
    yield "faiss of no lists", ".faiss", lists(0)
    for depth in (3, 4, 5, 2000):
        yield f"faiss in {depth} id maps", ".faiss", mapped(depth)


def of_parquet() -> Iterator[tuple[str, str, bytes]]:
    key = b"plushie_search.models"
    for told in (b"", b"x", b"{}", b"null", b"3", b"[3]", b"[{}]", b'[{"name": 3, "fingerprint": 4, "column": 5}]', b"\xff", b"[" * 100_000,
                 b'[{"name": "toy", "fingerprint": "x", "column": "nobody"}]', b'[{"name": "toy", "fingerprint": "x", "column": "id"}]',
                 b'[{"name": "toy", "fingerprint": "x", "column": "vector"}]', b'["x"]', b'[{"name": null}]'):  # fmt: skip
        yield f"parquet that says {told[:40]!r}", ".parquet", parquet(metadata={key: told})
    good = list(ROWS)
    for name, columns in {
        "no vectors": {"id": ["a"]},
        "no rows": {"vector": pa.array([], pa.list_(pa.float32(), toy.DIM))},
        "rows of two lengths": {"vector": [[1.0] * 6, [1.0] * 5]},
        "a row without a vector": {"vector": [[1.0] * 6, None]},
        "a vector with a gap": {"vector": [[1.0] * 5 + [None], [1.0] * 6]},
        "empty vectors": {"vector": [[], []]},
        "vectors of texts": {"vector": [["1"] * 6] * 2},
        "vectors of vectors": {"vector": [[[1.0] * 6]] * 2},
        "two columns of vectors": {"a": good, "b": good},
        "a column of no name": {"": good},
        "dates": {"vector": good, "when": pa.array([2**62] * 6, pa.timestamp("ns"))},
        "days beyond the calendar": {"vector": good, "when": pa.array([2**31 - 1] * 6, pa.date32())},
        "times beyond the calendar": {"vector": good, "when": pa.array([2**52] * 6, pa.timestamp("ms"))},
        "decimals": {"vector": good, "price": pa.array([None] * 6, pa.decimal128(38, 10))},
        "bytes": {"vector": good, "data": [b"\xff"] * 6},
        "bytes as ids": {"vector": good, "id": [b"\xff"] * 6},
        "structures": {"vector": good, "x": [{"a": {"b": [1]}}] * 6},
        "maps": {"vector": good, "x": pa.array([[("a", 1)]] * 6, pa.map_(pa.string(), pa.int64()))},
        "structures as labels": {"vector": good, "label": [{"a": 1}] * 6},
        "metadata of deep JSON": {"vector": good, "metadata": ["[" * 100_000] * 6},
        "metadata of no JSON": {"vector": good, "metadata": ["{"] * 6},
        "metadata that is a number": {"vector": good, "metadata": [3] * 6},
        "metadata that is JSON of a number": {"vector": good, "metadata": ["3"] * 6},
        "metadata of NaN": {"vector": good, "metadata": ['{"a": NaN}'] * 6},
        "both label and class": {"vector": good, "label": ["a"] * 6, "class": ["b"] * 6},
        "some ids": {"vector": good, "id": ["a", None, "b", "c", "d", "e"]},
        "ids of a megabyte": {"vector": good, "id": ["x" * 1_000_000] * 6},
        "a label of 10 MB": {"vector": good, "label": ["x" * 10_000_000] * 6},
        "digests that are none": {"vector": good, "digest": ["x"] * 6},
        "500 columns": {"vector": good, **{f"c{n}": [n] * 6 for n in range(500)}},
    }.items():
        yield f"parquet with {name}", ".parquet", parquet(columns)


def of_hdf5() -> Iterator[tuple[str, str, bytes]]:
    for name, fill in {
        "nothing": lambda file: None,
        "a group": lambda file: file.create_group("train"),
        "a number": lambda file: file.create_dataset("train", data=3),
        "texts": lambda file: file.create_dataset("train", data=[b"x"] * 3),
        "an empty set": lambda file: file.create_dataset("train", shape=(0, 6), dtype="f4"),
        "a set of nothing": lambda file: file.create_dataset("train", data=h5py.Empty("f4")),
        "three dimensions": lambda file: file.create_dataset("train", data=np.ones((2, 3, 4))),
        "records": lambda file: file.create_dataset("train", data=np.zeros((2, 2), "f4,f4")),
        "a link that is broken": lambda file: file.__setitem__("train", h5py.SoftLink("/nowhere")),
        "a link to itself": lambda file: file.__setitem__("train", h5py.SoftLink("/train")),
        "a link to another file": lambda file: file.__setitem__("train", h5py.ExternalLink("/etc/passwd", "/x")),
        "a link to a device": lambda file: file.__setitem__("train", h5py.ExternalLink("/dev/zero", "/x")),
        "numbers of another file": lambda file: file.create_dataset(
            "train", (4, 6), "u1", external=[("/etc/passwd", 0, 24)]
        ),
        "numbers that are not stored": lambda file: file.create_dataset(
            "train", (1 << 40, 6), "f4", chunks=(1024, 6), fillvalue=1.0
        ),
        "a huge chunk": lambda file: file.create_dataset(
            "train", (400_000, 512), "u1", chunks=(400_000, 512), compression="gzip", data=None
        ).__setitem__((0, 0), 1),
        "many huge rows": lambda file: file.create_dataset("train", (1 << 30, 65_536), "f8", chunks=(1, 65_536)),
        "a virtual set": _virtual,
    }.items():
        yield f"hdf5 with {name}", ".hdf5", hdf5(fill)


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4, 6), "u1")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4, 6))
    file.create_virtual_dataset("train", layout)


def files() -> Iterator[tuple[str, str, bytes]]:
    """Yields all bad files of vectors, with their endings."""
    for some in (of_numpy, of_vecs, of_faiss, of_parquet, of_hdf5):
        yield from some()
    whole = seeds()
    for ending, data in whole.items():
        for part in range(8):
            yield f"{ending} cut at {part}/8", ending, data[: len(data) * part // 8]
        chance = random.Random(f"sources {ending}")
        for number in range(25):
            yield f"{ending} damaged {number}", ending, mutate(data, chance, [data])


def cases(place: Place) -> Iterator[Case]:
    """Yields each bad source, as one to import."""
    engine = place.engine

    def bring(path: Path, **how: Any) -> None:
        before = {item.id for item in engine}
        try:
            engine.import_vectors(path, **how)
        finally:
            added = [item.id for item in engine if item.id not in before]
            if added:
                engine.remove(added)

    for name, ending, data in files():
        yield name, lambda data=data, ending=ending: bring(place.file(data, ending))
    good = place.folder / "rows.npy"
    good.write_bytes(npy())
    for name, ending, data in labels():
        yield f"labels: {name}", lambda data=data, ending=ending: bring(good, labels=place.file(data, ending))
        yield f"ids: {name}", lambda data=data, ending=ending: bring(good, ids=place.file(data, ending))
    for name in ("npy", "npz", "parquet", "fvecs", "hdf5", "faiss", "export", "clip-retrieval", "other", ""):
        for path in ("/dev/null", "/dev/zero", "/", "no-such-file", "\0", "\ud800", ""):
            yield f"{path!r} as {name}", lambda path=path, name=name: bring(path, format=name)
    yield from exports(place)
    yield from configurations(place)
