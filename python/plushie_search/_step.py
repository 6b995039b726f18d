"""Makes a GLB file of a STEP file for the core, with cascadio from the extra `step`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

#: How long a file may take, in seconds, and how much memory, in bytes.
SECONDS: Final = 300
MEMORY: Final = 16 << 30

#: Flat triangles leave a curved edge by at most this share of its length, and turn by at most so many radians: they
#: decide on the pictures of a part, and so on its vectors.
DEFLECTION: Final = 0.01
ANGLE: Final = 0.5

#: Runs in a process of its own, which may crash or hang on a damaged file: sys.argv is the folder of the library, the
#: STEP file, the GLB file, and the limits.
PROGRAM: Final = """
import sys
folder, source, target, deflection, angle, memory = sys.argv[1:]
sys.path.insert(0, folder)
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
except (ImportError, ValueError, OSError):
    pass
import cascadio
failed = cascadio.step_to_glb(source, target, float(deflection), float(angle), tol_relative=True, use_parallel=False)
sys.exit(1 if failed else 0)
"""


def read_step(data: bytes) -> bytes:
    """Returns the GLB file of a STEP file, in meters, with the axes of the STEP file.

    Raises:
        ImportError: The extra is not installed.
        ValueError: The file is damaged, or takes longer than 5 minutes.
    """
    found = importlib.util.find_spec("cascadio")
    if found is None or found.origin is None:
        raise ImportError("STEP is read by an extra: pip install 'plushie_search[step]'")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "part.step"), Path(folder, "part.glb")
        source.write_bytes(data)
        limits = [str(DEFLECTION), str(ANGLE), str(MEMORY)]
        library = str(Path(found.origin).parent.parent)
        command = [sys.executable, "-I", "-c", PROGRAM, library, str(source), str(target), *limits]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise ValueError(f"it takes longer than {SECONDS} seconds") from None
        if done.returncode != 0 or not target.exists():
            raise ValueError("it is damaged, or has no solid or surface")
        return target.read_bytes()
