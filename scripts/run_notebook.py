"""Runs notebooks and stores what they show, in few bytes.

    python scripts/run_notebook.py [--check] [NOTEBOOK ...]

By default all of `notebooks/`. Each runs in an empty folder, whose path is left out of what is stored; pictures are
stored at most 96 pixels high, and progress bars not at all. `--check` stores nothing, and says how long each notebook
takes. If a cell fails, the other notebooks run, and the exit status is 1. A notebook of PyTorch, Milvus or a framework
of the web is left out where that is not installed.
"""

from __future__ import annotations

import argparse
import base64
import io
import re
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

ROOT = Path(__file__).parent.parent

#: A picture within a page.
PICTURE = re.compile(r"data:image/(?:jpeg|png);base64,([A-Za-z0-9+/=]+)")

SIDE, QUALITY = 96, 60

#: Words of notebooks that need a module beside those of tests.
NEEDS = {"import torch": "torch", "MilvusEngine": "milvus_lite", "import FastAPI": "fastapi", "import Flask": "flask"}


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


def run(path: Path, *, check: bool) -> None:
    notebook = nbformat.read(path, as_version=4)
    source = "\n".join(cell.source for cell in notebook.cells)
    for words, module in NEEDS.items():
        if words in source and find_spec(module) is None:
            print(f"{path.name}: left out, it needs {module}")
            return
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    if check:
        print(f"{path.name}: {time.monotonic() - began:.0f} s")
        return
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
                if out.get("name") != "stderr"
            ]
    nbformat.write(notebook, path)
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("notebooks", nargs="*", type=Path)
    given = parser.parse_args()
    failed = False
    for one in given.notebooks or sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            run(one, check=given.check)
        except CellExecutionError as error:
            print(f"{one.name}: {error}", file=sys.stderr)
            failed = True
    sys.exit(int(failed))
