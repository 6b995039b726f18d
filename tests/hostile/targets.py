"""What a fuzzer calls with damaged samples: one target for each reader of data from elsewhere."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bad_meshes
import bad_pictures
import bad_sources
import numpy as np
import toy
import xxhash
from bad_arguments import filters
from bad_requests import form
from harness import fill, picture
from mutate import with_checksums
from starlette.testclient import TestClient

import plushie_search as ps
from plushie_search import _core, hub, server
from plushie_search.exchange.sources import open_source


@dataclass
class Target:
    """A reader.

    Attributes:
        seeds: Sound samples.
        read: Takes data; it returns, or raises an error as documented.
        repair: Makes checksums right again, so that damage behind them is found.
    """

    seeds: list[bytes]
    read: Callable[[bytes], object]
    repair: Callable[[bytes], bytes] = lambda data: data


def picture_target(folder: Path) -> Iterator[Target]:
    """Decodes pictures, whole and reduced."""

    def read(data: bytes) -> None:
        whole = _core.decode(data)
        assert whole.ndim == 3
        assert whole.size > 0
        assert len(_core.thumbnail(data, 8)) > 0

    yield Target(list(bad_pictures.seeds().values()), read, with_checksums)


def mesh_target(folder: Path) -> Iterator[Target]:
    """Measures meshes."""
    yield Target(list(bad_meshes.seeds().values()), ps.measure)


def manifest_target(folder: Path) -> Iterator[Target]:
    """Reads a model.json, without its networks."""
    model, runtime = toy.write(folder / "model"), hub.runtime_library()

    def read(data: bytes) -> None:
        _core.Encoder(model, runtime=runtime, threads=1, manifest=data.decode("utf-8", "replace"), networks=False)

    changes: list[dict[str, Any]] = [{}, {"text": None}, {"image": None}, {"prompts": {"en": ["a photo of {}"]}}]
    yield Target([json.dumps(toy.manifest(**change)).encode() for change in changes], read)


def index_target(folder: Path) -> Iterator[Target]:
    """Opens a catalog whose approximate index has another header, with the right checksum, and searches it."""
    path = folder / "catalog"
    rows = np.random.default_rng(1).standard_normal((800, 8)).astype(np.float32)
    with ps.Engine(path, dim=8, index="IVF4,SQ8", threads=1) as engine:
        engine.add_vectors([f"a{n}" for n in range(800)], rows)
        engine.optimize()
        expected = engine.search_vector(rows[7], k=1)[0].item
    (file,) = (path / "index").iterdir()
    seed = file.read_bytes()

    def read(data: bytes) -> None:
        # The old file stays as it is for those that have it open as memory.
        file.unlink(missing_ok=True)
        file.write_bytes(data)
        with ps.Engine(path, dim=8, index="IVF4,SQ8", threads=1, read_only=True) as engine:
            assert engine.search_vector(rows[7], k=1)[0].item == expected

    yield Target([seed], read, signed)


def signed(data: bytes) -> bytes:
    """Returns an index file whose header has the right checksum; others as is."""
    if len(data) < 64:
        return data
    start, length = struct.unpack_from("=QQ", data, 32)
    header = data[start : start + length] if start + length <= len(data) else b""
    return data[:48] + struct.pack("=Q", xxhash.xxh3_64_intdigest(header)) + data[56:]


def filter_target(folder: Path) -> Iterator[Target]:
    """Counts items by filters."""
    with ps.Engine(folder / "catalog", model=toy.write(folder / "model"), threads=1) as engine:
        fill(engine)

        def read(data: bytes) -> None:
            try:
                where = json.loads(data)
            except (ValueError, RecursionError):
                return  # no filter, by Python's own reader
            assert 0 <= engine.count(where) <= 8

        seeds = []
        for name, where in filters().items():
            if name == "two in each of 30 steps":  # as a text it is a gigabyte
                continue
            with contextlib.suppress(TypeError, ValueError, RecursionError):
                if len(str(where)) < 1000:
                    seeds.append(json.dumps(where).encode())
        yield Target(seeds, read)


def source_target(folder: Path) -> Iterator[Target]:
    """Reads files of vectors: the first byte tells the format."""
    endings = list(bad_sources.seeds())

    def read(data: bytes) -> None:
        path = folder / f"source{endings[data[0] % len(endings)] if data else '.npy'}"
        path.write_bytes(data[1:])
        rows = 0
        for batch in open_source(path).batches(1000):
            rows += len(batch.numbers)
            if rows > 100_000:
                break

    yield Target([bytes([n]) + data for n, data in enumerate(bad_sources.seeds().values())], read)


def form_target(folder: Path) -> Iterator[Target]:
    """Sends forms and bodies of JSON to the server."""
    with ps.Engine(folder / "catalog", model=toy.write(folder / "model"), threads=1) as engine:
        fill(engine)
        with TestClient(
            server.create_app(engine), base_url="http://localhost", raise_server_exceptions=False
        ) as client:

            def read(data: bytes) -> None:
                kind = "application/json" if data[:1] == b"{" else "multipart/form-data; boundary=x"
                answer = client.post("/api/v1/search", content=data, headers={"content-type": kind})
                assert answer.status_code in (200, 400, 404, 413, 415, 422), answer.text
                if answer.status_code != 200:
                    raise ValueError(answer.json()["detail"])

            png = picture((250, 20, 20))
            seeds = [
                form(("image", "a.png", png), ("k", None, b"3")),
                form(("text", None, b"bear"), ("query", None, b'{"k": 2}'), ("where", None, b'{"label": "toy"}')),
                b'{"query": {"text": ["bear", ["red", 0.5]], "item": "good-1"}, "k": 3, "where": {"n": {"$lt": 4}}}',
                b'{"line": "2*bear + item:good-1 - red", "k": 2, "fusion": "rrf", "words": ["label"], "expand": true}',
                b'{"queries": [{"vector": [1, 2, 3, 4, 5, 6]}, "bear"], "mmr": 0.5, "exclude": ["good-2"]}',
            ]
            yield Target(seeds, read)


def line_target(folder: Path) -> Iterator[Target]:
    """Reads queries of one line."""
    seeds = [
        '2*bunny + item:bear-1 - "hat - red"',
        "bear - 0.5*red + teddy",
        "兔子 + 2*围巾",
        "pic.jpg[0.1,0.2,0.8,0.9] + x",
    ]
    yield Target([seed.encode() for seed in seeds], lambda data: ps.Query.parse(data.decode("utf-8", "replace")))


def tokenizer_target(folder: Path) -> Iterator[Target]:
    """Opens tokenizers, and tokenizes with them."""
    model, runtime = toy.write(folder / "model"), hub.runtime_library()
    seed = toy.tokenizer().to_str().encode()

    def read(data: bytes) -> None:
        (model / "tokenizer.json").write_bytes(data)
        _core.Encoder(model, runtime=runtime, threads=1, networks=False).tokenize(["a pink rabbit", "粉色兔子"])

    yield Target([seed, json.dumps(json.loads(seed), separators=(",", ":")).encode()], read)


TARGETS: dict[str, Callable[[Path], Iterator[Target]]] = {
    "picture": picture_target,
    "mesh": mesh_target,
    "manifest": manifest_target,
    "index": index_target,
    "filter": filter_target,
    "source": source_target,
    "form": form_target,
    "line": line_target,
    "tokenizer": tokenizer_target,
}
