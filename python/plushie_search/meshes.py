"""Pictures and geometry of meshes: 3D models in STL, OBJ, PLY, GLB, 3MF and, by an extra, STEP files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _core
from .paths import expanded

#: A mesh: the path of a file, its bytes, or the open file.
MeshLike: TypeAlias = "str | os.PathLike[str] | bytes | BinaryIO"


#: The endings of their names, in lower case.
ENDINGS = (".stl", ".obj", ".ply", ".glb", ".3mf", ".step", ".stp")

#: The number of elevations, and that of ``view:all``, by which the core numbers views.
ELEVATIONS, ALL = 181, 1 + 360 * 181

#: How the geometry of one mesh may be that of another.
Relation: TypeAlias = Literal["same geometry", "scaled", "mirrored", "re-meshed"]

#: How far ratios of moments, area and volume may differ in one geometry that is written anew, and in one that is cut
#: into other triangles.
EXACT, CLOSE = 1e-4, 0.02

#: How far the distributions of distances may be apart in the same two cases: more than the noise of the samples.
SAME_DISTANCES, CLOSE_DISTANCES = 0.05, 0.1


@dataclass(frozen=True, slots=True)
class Shape:
    """The geometry of a mesh, in the unit of its file: numbers that stay if it is moved or turned.

    Attributes:
        triangles: Triangles.
        size: The sides of the bounding box along x, y and z.
        area: The area of the surface.
        volume: The volume inside, negative if faces look inwards; None if the surface is open.
        spread: The standard deviations of the surface along its principal axes, largest first.
        hand: 1 or -1, and the mirror image has the other one; 0 if it is its own mirror image, or nearly so.
        distances: The square roots of the shares of distances between points of the surface in 64 equal classes, up to
            2.5 times their root mean square (D2; Osada, Funkhouser, Chazelle and Dobkin, "Shape Distributions", 2002).
        notes: What the mesh lacks, in words: triangles that are left out, for they have no area or a coordinate that is
            not finite; edges that a closed surface does not have; faces that look inwards.
    """

    triangles: int
    size: tuple[float, float, float]
    area: float
    volume: float | None
    spread: tuple[float, float, float]
    hand: int
    distances: NDArray[np.float32]
    notes: tuple[str, ...] = ()

    @property
    def ratios(self) -> tuple[float, float, float, float]:
        """Numbers that stay if it is scaled, too: two ratios of spreads, and area and volume by the largest spread.

        The last one is 0 if the surface is open.
        """
        first, second, third = self.spread
        volume = 0.0 if self.volume is None else abs(self.volume) ** (1 / 3)
        return second / first, third / first, self.area**0.5 / first, volume / first

    def relation(self, other: Shape) -> Relation | None:
        """Returns how this geometry is that of another mesh; None if it is another one.

        ``"same geometry"``: moved, turned, or written to another file. ``"scaled"``: and larger or smaller.
        ``"mirrored"``: its mirror image, in any size. ``"re-meshed"``: about the same surface in other triangles, as
        after a repair or a reduction; a part of which a length differs by less than 2 % looks the same.
        """
        if not self.spread[0] or not other.spread[0]:
            return None
        apart = np.abs(np.subtract(self.ratios, other.ratios))
        distances = float(np.linalg.norm(self.distances - other.distances))
        if (apart <= EXACT).all() and distances <= SAME_DISTANCES:
            if self.hand * other.hand < 0:
                return "mirrored"
            return "same geometry" if abs(self.scale(other) - 1) <= EXACT else "scaled"
        # A reduction may open a surface, or close it.
        if (apart[:3] <= CLOSE).all() and distances <= CLOSE_DISTANCES:
            return "re-meshed"
        return None

    def scale(self, other: Shape) -> float:
        """Returns how many times as large the other mesh is."""
        return other.spread[0] / self.spread[0]


def measure(mesh: MeshLike) -> Shape:
    """Measures the geometry of a mesh.

    Args:
        mesh: The path of an STL, OBJ, PLY, GLB, 3MF or STEP file, its bytes, or the open file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no mesh, is damaged, or has more than 5 million triangles.
    """
    return Shape(*_core.mesh_shape(_path(mesh)))


def render(
    mesh: MeshLike, *, views: int = 20, size: int = 224, turntable: bool = False, threads: int | None = None
) -> NDArray[np.uint8]:
    """Renders a mesh from many sides: an array of shape (views, size, size, 3).

    The z axis of the file is up (y in a GLB file, as its format says). The camera has a field of view of 30 degrees,
    and the mesh fills four fifths of each picture: warm grey on white, lit from above left, and from both sides of a
    face. The same file gives the same pixels on every machine.

    Args:
        mesh: The path of an STL, OBJ, PLY, GLB, 3MF or STEP file, its bytes, or the open file.
        views: Pictures, 1 to 100. 20 look from the corners of a dodecahedron, 8 from those of a cube, 1 from a corner,
            and other numbers from points that are spread evenly.
        size: Side of a picture in pixels, 1 to 1024.
        turntable: The camera goes around once, 20 degrees above the horizon, in place of looking from all sides.
        threads: Threads to render on; one for each core by default.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no mesh, is damaged, or has more than 5 million triangles; or an option is out of range.
    """
    return render_views(mesh, views=views, size=size, turntable=turntable, threads=threads)[1]


def render_views(
    mesh: MeshLike, *, views: int, size: int, turntable: bool = False, threads: int | None = None
) -> tuple[list[str], NDArray[np.uint8]]:
    """Returns the names of the views, as ``view:azimuth,elevation`` in degrees, and what :func:`render` returns."""
    return _core.render_mesh(_path(mesh), views=views, size=size, turntable=turntable, threads=threads)


def view_number(view: str | None) -> int:
    """Returns the number of a view by its name, as references are stored with: 0 for None, a picture."""
    if view is None:
        return 0
    if view == "view:all":
        return ALL
    azimuth, elevation = view.removeprefix("view:").split(",")
    return 1 + int(azimuth) * ELEVATIONS + int(elevation) + 90


def _path(mesh: MeshLike) -> MeshLike:
    return expanded(mesh) if isinstance(mesh, (str, os.PathLike)) else mesh
