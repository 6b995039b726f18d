"""Reads names of things with the vectors of a large text model."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read(folder: Path) -> tuple[list[list[str]], NDArray[np.float32]]:
    """Returns the synonyms of each name, and their centered unit vectors.

    The folder has CLIP's text vectors of the categories of LVIS (`lvis_v1_clip_a+cname.npy`, names in
    `lvis_v1_train_cat_info.json`) and of Objects365 (`o365_clip_a+cnamefix.npy`, `Objects365_names_fix.csv`), as
    published with Detic (Zhou et al., 2022).
    """
    with (folder / "lvis_v1_train_cat_info.json").open(encoding="utf-8") as file:
        names = [[_plain(word) for word in one["synonyms"]] for one in json.load(file)]
    with (folder / "Objects365_names_fix.csv").open(newline="", encoding="utf-8") as file:
        names += [[_plain(word) for word in row[2].split("/")] for row in csv.reader(file)]
    vectors = np.concatenate(
        [
            np.load(folder / name, allow_pickle=False)
            for name in ("lvis_v1_clip_a+cname.npy", "o365_clip_a+cnamefix.npy")
        ]
    ).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors -= vectors.mean(0)
    return names, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def classes(file: Path) -> list[list[str]]:
    """Returns the synonyms of each class of a backbone, read from a line separated by commas."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [[_plain(word) for word in line.split(",")] for line in lines]


def _plain(word: str) -> str:
    return word.replace("_", " ").split("(")[0].strip().lower()
