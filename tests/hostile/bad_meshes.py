"""Meshes that are cut off, damaged, lie about their counts, unpack to gigabytes, or name other files."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import solids
from harness import Case, Place
from mutate import mutate

import plushie_search as ps

BOX = solids.box(1, 2, 3)


def seeds() -> dict[str, bytes]:
    """Returns a sound file of each format."""
    text = "solid s\n" + "".join(
        "facet normal 0 0 0\nouter loop\n" + "".join(f"vertex {x} {y} {z}\n" for x, y, z in one) + "endloop\nendfacet\n"
        for one in BOX
    )
    ply = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    ply += "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    return {name: write(BOX) for name, write in solids.FORMATS.items()} | {
        "stl-text": f"{text}endsolid s\n".encode(),
        "ply-text": ply.encode(),
    }


def repacked(root: dict[str, Any], binary: bytes = bytes(400)) -> bytes:
    """Returns a GLB file of a JSON object and bytes."""
    text = json.dumps(root).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def gltf(**changes: Any) -> bytes:
    """Returns a GLB file with changes to its JSON."""
    root: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 9, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 400}],
        "buffers": [{"byteLength": 400}],
    }
    return repacked({**root, **changes})


def archive(model: bytes | str, *, path: str = "3D/3dmodel.model", target: str = "/3D/3dmodel.model") -> bytes:
    """Returns a 3MF file of a model."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(
            "_rels/.rels",
            '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship '
            f'Target="{target}" Id="r" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>'
            "</Relationships>",
        )
        made.writestr(path, model)
    return file.getvalue()


def model(objects: str, build: str = '<item objectid="1"/>', before: str = "") -> str:
    """Returns the XML of a 3MF model."""
    core = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
    return f'{before}<model unit="millimeter" xmlns="{core}"><resources>{objects}</resources><build>{build}</build></model>'


MESH = (
    '<mesh><vertices><vertex x="0" y="0" z="0"/><vertex x="1" y="0" z="0"/><vertex x="0" y="1" z="0"/></vertices>'
    '<triangles><triangle v1="0" v2="1" v3="2"/></triangles></mesh>'
)


def stl_files() -> Iterator[tuple[str, bytes]]:
    whole = solids.stl(BOX)
    for count in (0, 1, 11, 13, 5_000_001, 0x7FFFFFFF, 0xFFFFFFFF):
        yield f"stl of {count} triangles", whole[:80] + struct.pack("<I", count) + whole[84:]
    for value in ("nan", "inf", "-inf", "1e39", "1e30", "1e-45", "9" * 400, "0x1p3", "", "1,5", "１"):
        yield f"stl with {value[:9]}", seeds()["stl-text"].replace(b"1.0", value.encode(), 1)
    yield "stl of NaN", whole[:96] + struct.pack("<f", float("nan")) + whole[100:]
    yield "stl of a huge number", whole[:96] + struct.pack("<f", 3e38) + whole[100:]
    yield "stl of no area", whole[:84] + bytes(50) * 12
    yield "stl of 2 MB without a line end", b"solid " + b"x" * 2_000_000
    yield "stl of 2 MB of spaces", b"solid a\nfacet normal" + b" " * 2_000_000


def obj_files() -> Iterator[tuple[str, bytes]]:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
    for face in ("1 2 4", "0 1 2", "-1 -2 -3", "-4 -2 -3", "1 2", "1", "", "1 1 1", "a b c", "1/ 2/ 3/", "1//2 2//2 3//2",
                 "1/2/3/4 2 3", "1.5 2 3", "99999999999999999999 1 2", "-9223372036854775808 1 2", "4294967297 2 3",
                 "1 2 3 " * 20_000, "1 2 3 \\\n 1"):  # fmt: skip
        yield f"obj with the face {face[:24]!r}", f"{corners}f {face}\n".encode()
    for line in ("mtllib ../../../etc/passwd", "mtllib /dev/zero", "call other.obj", "csh rm", "cstype bezier", "o \0",
                 "v", "v 1", "v 1 2", "v nan 0 0", "v 1e999 0 0", "v 1 2 3 4 5 6 7 8", "vn 1", "g " + "x" * 500_000):  # fmt: skip
        yield f"obj with {line[:24]!r}", f"{line}\n{corners}f 1 2 3\n".encode()
    yield "obj of carriage returns", corners.replace("\n", "\r").encode() + b"f 1 2 3\r"
    yield "obj of a fan of a million", f"{corners}f {'1 2 3 ' * 350_000}\n".encode()


def ply_files() -> Iterator[tuple[str, bytes]]:
    whole = solids.ply(BOX)
    for count in (0, 1, 35, 37, 5_000_000, 0xFFFFFFFF, 1 << 62, 1 << 64, -1):
        yield f"ply of {count} corners", whole.replace(b"vertex 36", b"vertex %d" % count)
        yield f"ply of {count} faces", whole.replace(b"face 12", b"face %d" % count)
    for old, new in (("float x", "double x"), ("float x", "list uchar float x"), ("float x", "string x"), ("float y", "float x"),
                     ("uchar int", "uint int"), ("uchar int", "float int"), ("uchar int", "uchar double"), ("uchar int", "char int"),
                     ("binary_little_endian", "binary_big_endian"), ("binary_little_endian", "ascii"), ("1.0", "9.9"),
                     ("end_header", ""), ("vertex_indices", "other"), ("element vertex 36", ""), ("property float z", ""),
                     ("binary_little_endian", "gzip"), ("format", "comment")):  # fmt: skip
        yield f"ply with {new!r} for {old!r}", whole.replace(old.encode(), new.encode(), 1)
    text = seeds()["ply-text"]
    for old, new in (("3 0 1 2", "3 0 1 9"), ("3 0 1 2", "-1 0 1"), ("3 0 1 2", "3 0 1 -1"), ("3 0 1 2", "4294967295 0"),
                     ("1 0 0", "nan 0 0"), ("1 0 0", "1 0"), ("3 0 1 2", "200 " + "0 1 2 " * 70)):  # fmt: skip
        yield f"ply with {new[:12]!r} for {old!r}", text.replace(old.encode(), new.encode(), 1)
    elements = "".join(f"element e{n} 4000000000\n" for n in range(200))
    yield "ply of elements without properties", text.replace(b"element vertex", elements.encode() + b"element vertex")
    properties = "".join(f"property double p{n}\n" for n in range(20_000))
    yield "ply of 20,000 properties", text.replace(b"property float x", properties.encode() + b"property float x")
    yield "ply of an endless header", b"ply\nformat ascii 1.0\n" + b"comment x\n" * 200_000


def glb_files() -> Iterator[tuple[str, bytes]]:
    yield "glb as it should be", gltf()
    accessor = {"bufferView": 0, "componentType": 5126, "count": 9, "type": "VEC3"}
    for key, values in {
        "count": (0, 1, 10, 36, 10**6, 1 << 31, 1 << 63, 1 << 64, -1, 1.5, "9", None),
        "byteOffset": (1, 4, 390, 400, 1 << 40, (1 << 64) - 4, -4),
        "componentType": (0, 5120, 5121, 5125, 5130, -1, "x"),
        "type": ("SCALAR", "VEC2", "VEC4", "MAT4", "", 3),
        "bufferView": (1, 1 << 40, -1, None),
        "sparse": ({}, {"count": 1 << 40, "indices": {"bufferView": 0}, "values": {"bufferView": 0}}),
        "normalized": (True,),
    }.items():
        for value in values:
            yield f"glb whose accessor has {key} {value}", gltf(accessors=[{**accessor, key: value}])
    for view in ({"buffer": 1}, {"byteLength": 1 << 40}, {"byteLength": 0}, {"byteOffset": 1 << 63}, {"byteStride": 1}, {"byteStride": 0},
                 {"byteStride": 1 << 40}, {"byteOffset": 399}, {"byteLength": -1}):  # fmt: skip
        yield f"glb whose view has {view}", gltf(bufferViews=[{"buffer": 0, "byteLength": 400, **view}])
    for buffer in ({"uri": "../../../etc/passwd"}, {"uri": "file:///dev/zero"}, {"uri": "http://127.0.0.1:1/x"}, {"uri": "data:;base64,AAAA"},
                   {"byteLength": 1 << 60}, {"byteLength": 0}, {"byteLength": -5}):  # fmt: skip
        yield f"glb whose buffer has {buffer}", gltf(buffers=[{"byteLength": 400, **buffer}])
    nodes = {
        "a node that is its own child": [{"mesh": 0, "children": [0]}],
        "nodes in a circle": [{"children": [1]}, {"children": [0], "mesh": 0}],
        "a child that is not there": [{"children": [7]}],
        "a node without a mesh that is there": [{"mesh": 9}],
        "nodes 5,000 deep": [{"children": [n + 1]} for n in range(5000)] + [{"mesh": 0}],
        "two to the 40 meshes": [{"children": [n + 1, n + 1]} for n in range(40)] + [{"mesh": 0}],
        "a scale of NaN": [{"mesh": 0, "scale": [1e39, 0, 1]}],
        "a matrix of 3": [{"mesh": 0, "matrix": [1, 2, 3]}],
        "a rotation of zeros": [{"mesh": 0, "rotation": [0, 0, 0, 0]}],
        "a huge move": [{"mesh": 0, "translation": [1e30, 0, 0]}],
        "no nodes": [],
    }
    for name, given in nodes.items():
        yield f"glb with {name}", gltf(nodes=given)
    for mode in (0, 1, 4, 5, 6, 7, -1, 1 << 40):
        yield f"glb of mode {mode}", gltf(meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "mode": mode}]}])
    for indices in (0, 1, 9, -1):
        yield (
            f"glb of indices {indices}",
            gltf(
                meshes=[{"primitives": [{"attributes": {"POSITION": 0}, "indices": indices}]}],
                accessors=[accessor, {"bufferView": 0, "componentType": 5125, "count": 90, "type": "SCALAR"}],
            ),
        )
    for name in ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "x" * 10_000):
        yield f"glb that needs {name[:30]}", gltf(extensionsRequired=[name])
    yield "glb of 20,000 primitives", gltf(meshes=[{"primitives": [{"attributes": {"POSITION": 0}}] * 20_000}])
    whole = gltf()
    for place in (4, 8, 12, 16):
        for number in (0, 1, 3, 0x7FFFFFFF, 0xFFFFFFFF):
            yield f"glb with {number} at {place}", whole[:place] + struct.pack("<I", number) + whole[place + 4 :]
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    deep += b" " * (-len(deep) % 4)
    yield "glb of deep JSON", b"glTF" + struct.pack("<IIII", 2, 20 + len(deep), len(deep), 0x4E4F534A) + deep


def threemf_files() -> Iterator[tuple[str, bytes]]:
    one = f'<object id="1" type="model">{MESH}</object>'
    yield "3mf as it should be", archive(model(one))
    part = lambda id: f'<component objectid="{id}"/>'  # noqa: E731
    pieces = "".join(f'<object id="{n}"><components>{part(n + 1) * 2}</components></object>' for n in range(1, 60))
    for name, text in {
        "an object of itself": model(f'<object id="1"><components>{part(1)}</components></object>'),
        "objects in a circle": model(
            f'<object id="1"><components>{part(2)}</components></object>'
            f'<object id="2"><components>{part(1)}</components></object>'
        ),
        "two to the 60 objects": model(pieces + f'<object id="60">{MESH}</object>'),
        "a part that is not there": model(f'<object id="1"><components>{part(9)}</components></object>'),
        "nothing to build": model(one, ""),
        "a corner that is not there": model(one.replace('v3="2"', 'v3="3"')),
        "a negative corner": model(one.replace('v3="2"', 'v3="-1"')),
        "a huge corner": model(one.replace('v3="2"', 'v3="99999999999"')),
        "NaN": model(one.replace('x="1"', 'x="NaN"')),
        "an infinite number": model(one.replace('x="1"', 'x="1e999"')),
        "no numbers": model(one.replace('x="1"', 'x=""')),
        "a matrix of words": model(one, '<item objectid="1" transform="a b c"/>'),
        "a matrix of NaN": model(one, '<item objectid="1" transform="nan 0 0 0 1 0 0 0 1 0 0 0"/>'),
        "a strange unit": model(one).replace("millimeter", "parsec"),
        "entities": model(one, before='<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>').replace(
            'x="1"', 'x="&b;"'
        ),
        "a file as an entity": model(one, before='<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]>').replace(
            "parsec", "&a;"
        ),
        "tags 100,000 deep": "<a>" * 100_000,
        "a tag that does not end": model(one)[:200],
        "other bytes": "\ufffe\0\0",
        "20,000 items to build": model(one, '<item objectid="1"/>' * 20_000),
        "30 MB of spaces": model(one, " " * 30_000_000 + '<item objectid="1"/>'),
        "a long name": model(one, f'<item objectid="{"1" * 3_000_000}"/>'),
    }.items():
        yield f"3mf with {name}", archive(text)
    yield (
        "3mf whose model is elsewhere",
        archive(model(one), path="../../../tmp/evil.model", target="/../../../tmp/evil.model"),
    )
    yield "3mf whose model is not there", archive(model(one), target="/etc/passwd")
    yield "3mf of 600 MB of zeros", _zeros()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(20_000):
            made.writestr(f"{number}", "")
    yield "3mf of 20,000 files", file.getvalue()


def _zeros() -> bytes:
    """A 3MF file whose model unpacks to 600 MB."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("_rels/.rels", "<Relationships/>")
        with made.open("3D/3dmodel.model", "w", force_zip64=True) as member:
            for _ in range(36):
                member.write(bytes(1 << 24))
    return file.getvalue()


def files() -> Iterator[tuple[str, bytes]]:
    """Yields all bad files."""
    for some in (stl_files, obj_files, ply_files, glb_files, threemf_files):
        yield from some()
    whole = seeds()
    for name, data in whole.items():
        for part in range(10):
            yield f"{name} cut at {part}/10", data[: len(data) * part // 10]
        chance = random.Random(f"meshes {name}")
        for number in range(25):
            yield f"{name} damaged {number}", mutate(data, chance, list(whole.values()))


def cases(place: Place) -> Iterator[Case]:
    """Yields each bad mesh, as one to measure, to render, to look up or to add."""
    engine = place.engine

    def add(data: bytes) -> None:
        engine.add("bad", images=place.file(data, ".stl"))
        engine.remove("bad")

    ways = [ps.measure] * 4 + [
        lambda data: ps.render(data, views=1, size=32),
        lambda data: engine.search_image(place.file(data, ".ply")),
        add,
    ]
    for number, (name, data) in enumerate(files()):
        yield name, partial(ways[number % len(ways)], data)
