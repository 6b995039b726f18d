"""Encodes English words and phrases with a sentence encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

BATCH = 256


def prepare(folder: Path, texts: Sequence[str], kept: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Returns the texts and their vectors, which are stored in a file for the next time."""
    if kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            return file["texts"].tolist(), file["vectors"]
    vectors = read(folder, texts)
    np.savez(kept, texts=np.array(texts), vectors=vectors)
    return list(texts), vectors


@torch.no_grad()
def read(folder: Path, texts: Sequence[str]) -> NDArray[np.float32]:
    """Returns centered unit vectors `(n, width)` by the BERT in a folder in the layout of transformers.

    Its last states are averaged over the real tokens, as sentence-transformers' models need it (Reimers and Gurevych,
    "Sentence-BERT", 2019).
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        fed = tokenizer([texts[place] for place in places], padding=True, truncation=True, return_tensors="pt")
        states, mask = model(**fed).last_hidden_state, fed["attention_mask"][:, :, None]
        vectors[places] = ((states * mask).sum(1) / mask.sum(1)).numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors -= vectors.mean(0)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
