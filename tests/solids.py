"""Meshes made of numbers: arrays of triangles of shape (n, 3, 3), and the files that hold them."""

from __future__ import annotations

import io
import json
import struct
import zipfile

import numpy as np
from numpy.typing import NDArray

Triangles = NDArray[np.float32]


def box(x: float, y: float, z: float) -> Triangles:
    """A box with one corner at the origin, its faces outwards."""
    corners = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) * [x, y, z]
    quads = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    return corners[[part for a, b, c, d in quads for part in ((a, b, c), (a, c, d))]].astype(np.float32)


def torus(ring: float, tube: float, around: int = 40, across: int = 20) -> Triangles:
    """A torus about the z axis, of 2 * around * across triangles."""
    u, v = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")

    def point(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
        a, b = 2 * np.pi * i / around, 2 * np.pi * j / across
        radius = ring + tube * np.cos(b)
        return np.stack([radius * np.cos(a), radius * np.sin(a), tube * np.sin(b)], axis=-1)

    a, b, c, d = point(u, v), point(u + 1, v), point(u + 1, v + 1), point(u, v + 1)
    quads = [np.stack([a, b, c], axis=-2), np.stack([a, c, d], axis=-2)]
    return np.concatenate([part.reshape(-1, 3, 3) for part in quads]).astype(np.float32)


def bracket(height: float = 3.0) -> Triangles:
    """Two boxes and a small torus at one corner: a part without mirror symmetry."""
    foot, wall = box(4, 2, 0.5), box(0.6, 1.2, height)
    return np.concatenate([foot, wall, torus(0.5, 0.2) + np.float32([3, 0.6, 1])])


def turned(triangles: Triangles, seed: int = 0) -> Triangles:
    """The mesh turned and moved at random."""
    chance = np.random.default_rng(seed)
    q, _ = np.linalg.qr(chance.normal(size=(3, 3)))
    q[:, 0] *= np.linalg.det(q)  # a rotation, no mirror image
    return (triangles @ q.T + chance.normal(size=3) * 5).astype(np.float32)


def subdivided(triangles: Triangles) -> Triangles:
    """Each triangle cut into four, in another order."""
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]
    return np.concatenate([np.stack(part, axis=1) for part in parts])[::-1].astype(np.float32)


def stl(triangles: Triangles) -> bytes:
    """A binary STL file."""
    rows = np.zeros(len(triangles), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    rows["corners"] = triangles
    return b"\0" * 80 + struct.pack("<I", len(triangles)) + rows.tobytes()


def obj(triangles: Triangles) -> bytes:
    """An OBJ file that names a file of materials."""
    corners = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in triangles.reshape(-1, 3)]
    faces = [f"f {3 * i + 1} {3 * i + 2} {3 * i + 3}" for i in range(len(triangles))]
    return "\n".join(["mtllib no-such-file.mtl", *corners, *faces, ""]).encode()


def ply(triangles: Triangles) -> bytes:
    """A binary PLY file."""
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {3 * len(triangles)}\n"
    head += "".join(f"property float {axis}\n" for axis in "xyz")
    head += f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nend_header\n"
    faces = np.zeros(len(triangles), [("count", "u1"), ("corners", "<i4", 3)])
    faces["count"], faces["corners"] = 3, np.arange(3 * len(triangles)).reshape(-1, 3)
    return head.encode() + triangles.astype("<f4").tobytes() + faces.tobytes()


def glb(triangles: Triangles) -> bytes:
    """A GLB file, whose y axis is up: z of the triangles."""
    x, y, z = np.moveaxis(triangles.reshape(-1, 3), 1, 0)
    binary = np.stack([x, z, -y], axis=1).astype("<f4").tobytes()
    root = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3 * len(triangles), "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": len(binary)}],
        "buffers": [{"byteLength": len(binary)}],
    }
    text = json.dumps(root).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return b"glTF" + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def threemf(triangles: Triangles, unit: str = "millimeter") -> bytes:
    """A 3MF file with one object on the plate."""
    corners = "".join(f'<vertex x="{x:.9g}" y="{y:.9g}" z="{z:.9g}"/>' for x, y, z in triangles.reshape(-1, 3))
    faces = "".join(f'<triangle v1="{3 * i}" v2="{3 * i + 1}" v3="{3 * i + 2}"/>' for i in range(len(triangles)))
    core = "http://schemas.microsoft.com/3dmanufacturing"
    model = (
        f'<model unit="{unit}" xmlns="{core}/core/2015/02"><resources><object id="1" type="model"><mesh>'
        f"<vertices>{corners}</vertices><triangles>{faces}</triangles></mesh></object></resources>"
        '<build><item objectid="1"/></build></model>'
    )
    package = "http://schemas.openxmlformats.org/package/2006"
    relations = (
        f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Target="/3D/3dmodel.model" Id="rel0" Type="{core}/2013/01/3dmodel"/></Relationships>'
    )
    types = (
        f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/></Types>'
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", relations)
        archive.writestr("3D/3dmodel.model", model)
    return file.getvalue()


def step(x: float, y: float, z: float) -> bytes:
    """A STEP file of a box with one corner at the origin, in millimeters."""
    rows: list[str] = []

    def add(text: str) -> str:
        rows.append(text)
        return f"#{len(rows)}"

    application = add("APPLICATION_CONTEXT('design')")
    about = add(f"PRODUCT_CONTEXT('',{application},'mechanical')")
    product = add(f"PRODUCT('box','','',({about}))")
    formation = add(f"PRODUCT_DEFINITION_FORMATION('','',{product})")
    context = add(f"PRODUCT_DEFINITION_CONTEXT('part definition',{application},'design')")
    definition = add(f"PRODUCT_DEFINITION('','',{formation},{context})")
    shape = add(f"PRODUCT_DEFINITION_SHAPE('','',{definition})")
    length = add("(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.))")
    angle = add("(NAMED_UNIT(*)PLANE_ANGLE_UNIT()SI_UNIT($,.RADIAN.))")
    solid = add("(NAMED_UNIT(*)SI_UNIT($,.STERADIAN.)SOLID_ANGLE_UNIT())")
    near = add(f"UNCERTAINTY_MEASURE_WITH_UNIT(LENGTH_MEASURE(1.E-07),{length},'','')")
    units = f"GLOBAL_UNCERTAINTY_ASSIGNED_CONTEXT(({near}))GLOBAL_UNIT_ASSIGNED_CONTEXT(({length},{angle},{solid}))"
    space = add(f"(GEOMETRIC_REPRESENTATION_CONTEXT(3){units}REPRESENTATION_CONTEXT('',''))")
    corners = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) * [x, y, z]
    points = [add("CARTESIAN_POINT('',({:.6f},{:.6f},{:.6f}))".format(*corner)) for corner in corners]
    faces = []
    for quad in [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]:
        along, across = corners[quad[1]] - corners[quad[0]], corners[quad[2]] - corners[quad[1]]
        ways = [way / np.linalg.norm(way) for way in (np.cross(along, across), along)]
        normal, first = (add("DIRECTION('',({:f},{:f},{:f}))".format(*way)) for way in ways)
        place = add(f"AXIS2_PLACEMENT_3D('',{points[quad[0]]},{normal},{first})")
        plane = add(f"PLANE('',{place})")
        loop = add("POLY_LOOP('',({}))".format(",".join(points[i] for i in quad)))
        bound = add(f"FACE_OUTER_BOUND('',{loop},.T.)")
        faces.append(add(f"FACE_SURFACE('',({bound}),{plane},.T.)"))
    shell = add("CLOSED_SHELL('',({}))".format(",".join(faces)))
    brep = add(f"FACETED_BREP('',{shell})")
    whole = add(f"FACETED_BREP_SHAPE_REPRESENTATION('',({brep}),{space})")
    add(f"SHAPE_DEFINITION_REPRESENTATION({shape},{whole})")
    body = "".join(f"#{number}={row};\n" for number, row in enumerate(rows, 1))
    head = "FILE_DESCRIPTION((''),'2;1');\nFILE_NAME('','',(''),(''),'','','');\nFILE_SCHEMA(('AUTOMOTIVE_DESIGN'));\n"
    return f"ISO-10303-21;\nHEADER;\n{head}ENDSEC;\nDATA;\n{body}ENDSEC;\nEND-ISO-10303-21;\n".encode()


FORMATS = {"stl": stl, "obj": obj, "ply": ply, "glb": glb, "3mf": threemf}
