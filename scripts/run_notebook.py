"""Runs notebooks and stores what they show, in few bytes.

    python scripts/run_notebook.py [NOTEBOOK ...]

By default all of `notebooks/`. Each runs in an empty folder, whose path is left out of what is stored; pictures are
stored at most 96 pixels high.
"""

from __future__ import annotations

import base64
import io
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).parent.parent

#: A picture within a page.
PICTURE = re.compile(r"data:image/(?:jpeg|png);base64,([A-Za-z0-9+/=]+)")

SIDE, QUALITY = 96, 60


def smaller(found: re.Match[str]) -> str:
    image = Image.open(io.BytesIO(base64.b64decode(found[1]))).convert("RGB")
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def shown(value: Any, folder: str) -> Any:
    """Returns an output without the folder, and with smaller pictures."""
    if isinstance(value, str):
        return PICTURE.sub(smaller, value.replace(f"{folder}/", "").replace(folder, "."))
    if isinstance(value, dict):
        return {key: shown(one, folder) for key, one in value.items()}
    return value


def run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.execution_count = None
            cell.outputs = [
                nbformat.from_dict(
                    {**shown(dict(out), folder), **({"execution_count": None} if "execution_count" in out else {})}
                )
                for out in cell.outputs
            ]
    nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    for one in map(Path, sys.argv[1:]) if sys.argv[1:] else sorted((ROOT / "notebooks").glob("*.ipynb")):
        run(one)
