"""The last stage: the picture tower rests, and the text tower learns to find its way among thousands of plushes."""

from __future__ import annotations

import random
import time

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from plushie_search.train import captions
from plushie_search.train.plushes import Plushes
from plushie_search.train.towers import pixels

TEXTS, GALLERY = 128, 2000
TEMPERATURE = 0.05


def finish(image: nn.Module, text: nn.Module, tokens: Tokenizer, about: Plushes, *, side: int, minutes: float) -> None:
    """Trains `text` for so many minutes on the vectors of each plush's first two views."""
    known = _vectors(image.eval(), about, side)
    text.train()
    optimiser = torch.optim.AdamW(text.parameters(), 1e-3, weight_decay=0.05)
    start, step = time.monotonic(), 0
    while (progress := (time.monotonic() - start) / (60.0 * minutes)) < 1.0:
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * (1.0 - progress) * min(1.0, (step + 1) / 20)
        chance, dice = np.random.default_rng((3, step)), random.Random(step)
        told, facts = [], []
        for row in chance.choice(len(about), TEXTS, replace=False):
            facts.append(captions.choose(about.attributes[row], dice))
            told.append(captions.text(facts[-1], dice.choice(captions.LANGUAGES), dice))
        rows = chance.choice(len(about), min(GALLERY, len(about)), replace=False)
        holds = torch.from_numpy(captions.holds(captions.table(facts), about.facts[rows])).float()
        encoded = tokens.encode_batch(told)
        ids = torch.tensor([one.ids for one in encoded])
        vectors = text(ids, torch.tensor([one.attention_mask for one in encoded]))
        gallery = known[torch.from_numpy(rows), int(chance.random() < 0.3)]
        chances = (functional.normalize(vectors) @ gallery.T / TEMPERATURE).log_softmax(1)
        some = holds.sum(1) > 0
        loss = -((chances * holds).sum(1)[some] / holds.sum(1)[some]).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        step += 1
        if step % 100 == 0:
            print(f"words: step {step}, {progress:.0%}, loss {float(loss.detach()):.3f}", flush=True)


def _vectors(image: nn.Module, about: Plushes, side: int) -> Tensor:
    rows = np.arange(len(about))
    views = []
    with torch.no_grad():
        for view in (0, 1):
            parts = []
            for few in np.array_split(rows, len(rows) // 100):
                shown = torch.from_numpy(about.pictures(few, np.full(len(few), view))).float()
                small = functional.interpolate(shown, (side, side), mode="bilinear", antialias=True)
                parts.append(functional.normalize(image(pixels(small))))
            views.append(torch.cat(parts))
    return torch.stack(views, 1)
