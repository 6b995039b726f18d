"""The last stage of training: the text tower learns with a frozen picture tower."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from ..plush import facts as truth
from . import captions, words
from .language import NEGATIONS, Language
from .lessons import geometry

TEXTS, GALLERY = 128, 2000
LENGTHS = 4
"""The number of parts of a batch of texts, by their lengths."""
TEMPERATURE = 0.05
RATE, WARM = 1e-3, 100
"""The highest learning rate, and the steps until it is reached."""
KEEP = 500
"""The steps between checkpoints."""
_FORMS = ("{}", "{}", "{}", "a {}", "a photo of a {}", "a picture of {}", "one {}", "this is a {}")
_CHINESE_FORMS = ("{}", "{}", "{}", "一张{}的照片", "这是{}", "一个{}")


@dataclass(frozen=True)
class Lessons:
    """Vectors of pictures that texts are compared with, and their captions.

    Attributes:
        attributes: The attributes of each plush.
        facts: The facts of each plush, shape (plushes, facts).
        plushes: Unit vectors of views of each plush, shape (plushes, views, dimension).
        photos: Unit vectors of photos, shape (photos, dimension).
        texts: The texts about each photo, maybe none.
        language: Knowledge of words.
        kinds: Words, and their vectors in the part of the picture vectors that tells kinds of things (see world.py),
            if they have one.
        part: The place of that part, None if there is none.
    """

    attributes: Sequence[Mapping[str, Any]]
    facts: NDArray[np.bool_]
    plushes: NDArray[np.float32]
    photos: NDArray[np.float32]
    texts: Sequence[Sequence[str]]
    language: Language
    kinds: tuple[Sequence[str], NDArray[np.float32]] | None = None
    part: slice | None = None


def finish(text: nn.Module, tokens: Tokenizer, about: Lessons, checkpoint: Path, *, steps: int, seed: int) -> None:
    """Trains `text` on the vectors of pictures for a number of steps, from the beginning or from the checkpoint."""
    reader = _Reader(text, tokens, about)
    text.train()
    optimizer = torch.optim.AdamW(text.parameters(), RATE, weight_decay=0.05)
    first = 0
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        text.load_state_dict(kept["text"])
        optimizer.load_state_dict(kept["optimizer"])
        first = kept["step"]
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1.0 - step / steps) * min(1.0, (step + 1) / WARM)
        chance, dice = np.random.default_rng((seed, 3, step)), random.Random(f"{seed} words {step}")
        losses = reader.losses(chance, dice, step)
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"words: step {step + 1} of {steps}, losses", *(f"{float(one):.3f}" for one in losses), flush=True)
        if (step + 1) % KEEP == 0 or step + 1 == steps:
            partial = checkpoint.with_suffix(".partial")
            state = {"text": text.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, partial)
            partial.replace(checkpoint)


class _Reader:
    def __init__(self, text: nn.Module, tokens: Tokenizer, about: Lessons) -> None:
        self.text, self.tokens, self.about = text, tokens, about
        self.plush_vectors = torch.from_numpy(about.plushes)
        self.photo_vectors = torch.from_numpy(about.photos)
        self.chinese = {word: chinese for english, chinese in about.language.translations for word in english}
        shown: dict[str, list[int]] = defaultdict(list)
        for row, texts in enumerate(about.texts):
            for one in texts:
                shown[one].append(row)
        self.said = list(shown)
        self.shown = [np.array(rows) for rows in shown.values()]
        weights = np.sqrt([len(rows) for rows in self.shown])
        self.weights = weights / weights.sum()

    def losses(self, chance: np.random.Generator, dice: random.Random, step: int) -> list[Tensor]:
        """Returns the losses of one step: plushes, photos, kinds, and by turns translations, names or sentences."""
        language = self.about.language
        losses = [self.plushes(chance, dice)]
        if self.said:
            losses.append(self.photos(chance, dice))
        if self.about.kinds:
            losses.append(self.kinds(chance, dice))
        turns = [self.translations]
        turns += [self.names] if language.names else []
        turns += [self.sentences] if language.sentences else []
        losses.append(turns[step % len(turns)](chance, dice))
        return losses

    def plushes(self, chance: np.random.Generator, dice: random.Random) -> Tensor:
        """Returns the loss of captions that should find their plushes."""
        about, count = self.about, len(self.plush_vectors)
        told, facts = [], []
        for row in chance.choice(count, min(TEXTS, count), replace=False):
            facts.append(captions.choose(about.attributes[row], dice, negations=NEGATIONS))
            told.append(captions.text(facts[-1], dice.choice(truth.LANGUAGES), dice, book=about.language.book))
        rows = chance.choice(count, min(GALLERY, count), replace=False)
        holds = truth.holds(truth.table(facts), about.facts[rows])
        gallery = self.plush_vectors[torch.from_numpy(rows), int(chance.integers(self.plush_vectors.shape[1]))]
        return _find(self.read(told), gallery, torch.from_numpy(holds))

    def photos(self, chance: np.random.Generator, dice: random.Random) -> Tensor:
        """Returns the loss of captions that should find their photos."""
        picked = chance.choice(len(self.said), min(TEXTS, len(self.said)), replace=False, p=self.weights)
        rows = [int(chance.choice(self.shown[one])) for one in picked]
        rows += chance.integers(len(self.photo_vectors), size=GALLERY // 2).tolist()
        holds = np.stack([np.isin(rows, self.shown[one]) for one in picked])
        told = [self._put(self.said[one], dice) for one in picked]
        return _find(self.read(told), self.photo_vectors[torch.tensor(rows)], torch.from_numpy(holds))

    def kinds(self, chance: np.random.Generator, dice: random.Random) -> Tensor:
        """Returns the loss of words against their vectors as kinds of things, and the photos that those find."""
        assert self.about.kinds
        assert self.about.part
        words, vectors = self.about.kinds
        picked = chance.choice(len(words), min(2 * TEXTS, len(words)), replace=False)
        unit = functional.normalize(self.read([self._put(words[one], dice) for one in picked]))
        targets = torch.from_numpy(vectors[picked])
        loss = 1.0 - functional.cosine_similarity(unit[:, self.about.part], targets).mean()
        rows = torch.from_numpy(chance.integers(len(self.photo_vectors), size=GALLERY))
        gallery = self.photo_vectors[rows]
        theirs = (targets @ functional.normalize(gallery[:, self.about.part]).T / TEMPERATURE).softmax(1)
        ours = (unit @ gallery.T / TEMPERATURE).log_softmax(1)
        return loss + 0.5 * functional.kl_div(ours, theirs, reduction="batchmean")

    def names(self, chance: np.random.Generator, dice: random.Random) -> Tensor:
        """Returns the loss of names against the cosines of CLIP's vectors of them."""
        assert self.about.language.names
        names, vectors = self.about.language.names
        picked = chance.choice(len(names), min(2 * TEXTS, len(names)), replace=False)
        written = [self._put(dice.choice(names[one]), dice) for one in picked]
        return 0.5 * geometry(self.read(written), torch.from_numpy(vectors[picked]))

    def translations(self, chance: np.random.Generator, dice: random.Random) -> Tensor:
        """Returns the loss of words that should have the same vector in both languages."""
        pairs = dice.sample(self.about.language.translations, min(TEXTS, len(self.about.language.translations)))
        english = self.read([dice.choice(_FORMS).format(dice.choice(one)) for one, _ in pairs])
        chinese = self.read([self._chinese(dice.choice(one), dice) for _, one in pairs])
        same = torch.eye(len(pairs), dtype=torch.bool)
        return 0.3 * _find(chinese, functional.normalize(english), same)

    def sentences(self, chance: np.random.Generator, dice: random.Random) -> Tensor:
        """Returns the loss of words and phrases against the cosines of a sentence encoder's vectors of them."""
        assert self.about.language.sentences
        texts, vectors = self.about.language.sentences
        picked = chance.choice(len(texts), min(4 * TEXTS, len(texts)), replace=False)
        return 0.5 * geometry(self.read([texts[one] for one in picked]), torch.from_numpy(vectors[picked]))

    def read(self, texts: Sequence[str]) -> Tensor:
        """Returns vectors of texts, computed in groups of similar lengths to save padding."""
        encoded = self.tokens.encode_batch(list(texts))
        lengths = np.array([sum(one.attention_mask) for one in encoded])
        order = np.argsort(lengths, kind="stable")
        vectors = []
        for places in np.array_split(order, min(LENGTHS, len(order))):
            ids = torch.tensor([encoded[place].ids[: lengths[places[-1]]] for place in places])
            with torch.autocast("cpu", torch.bfloat16):
                vectors.append(self.text(ids, torch.from_numpy(np.arange(ids.shape[1]) < lengths[places, None]).long()))
        return torch.cat(vectors).float()[torch.from_numpy(np.argsort(order))]

    def _put(self, word: str, dice: random.Random) -> str:
        if word in self.chinese and dice.random() < 0.4:
            return self._chinese(dice.choice(self.chinese[word]), dice)
        return dice.choice(_FORMS).format(word) if len(word.split()) < 4 else word

    def _chinese(self, word: str, dice: random.Random) -> str:
        written = dice.choice(_CHINESE_FORMS).format(word)
        return words.traditional(written) if dice.random() < 0.4 else written


def _find(texts: Tensor, gallery: Tensor, holds: Tensor) -> Tensor:
    """Returns the cross entropy between each text's scores of a gallery and the entries that it is true of."""
    chances = (functional.normalize(texts) @ gallery.T / TEMPERATURE).log_softmax(1)
    truths = holds.float()
    some = truths.sum(1) > 0
    return -((chances * truths).sum(1)[some] / truths.sum(1)[some]).mean()
