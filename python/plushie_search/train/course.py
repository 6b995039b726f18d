"""Trains the plush tower: batches of plushes, their captions and real photos."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .. import _core
from ..plush import facts as truth
from . import captions, plushes, tokenizer, words
from .augment import augment, spoil
from .language import NEGATIONS
from .lessons import PhotoLesson, PlushLesson
from .photos import Photos
from .towers import ImageTower, TextTower, pixels

CHECKPOINT_SECONDS = 120.0
AVERAGING = 0.995
PHOTO_WEIGHT = 2.0
"""Weight of real photos beside the plushes."""
HIDDEN = 0.4
"""The share of second views that hide a part of the plush."""
COARSE_SHARE, COARSE_SIDE = 0.75, 128
"""The share of the time that uses smaller pictures, and their side."""
RESTING = 4
"""The number of first layers of the picture tower that are frozen."""
KEPT = 0.3
"""The share of the picture tower's first weights that is mixed into its last ones."""
SPOILT = 0.5
"""The share of pictures that are blurred, made smaller or poorly compressed."""
HARD_SHARE = 0.5
"""The share of batches with plushes of one species or one color."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run, apart from its folders."""

    pairs: int
    steps: int
    batch: int
    side: int
    rate: float
    threads: int
    device: str
    seed: int


class Course:
    """The towers and lessons, and the batches that they are taught with."""

    def __init__(
        self, settings: Settings, work: Path, start: Path, real: Photos | None, book: words.Book, tokens: Tokenizer
    ) -> None:
        self.settings, self.real, self.book, self.tokens = settings, real, book, tokens
        torch.manual_seed(settings.seed)
        self.image = ImageTower()
        complete = self.image.start_from(start)
        self.image.rest(RESTING)
        pictures = real.pictures if real else None
        self.plushes = plushes.Plushes(work, settings.pairs, threads=settings.threads, photos=pictures)
        if not complete:
            self._find_directions()
        self.start = {name: one.clone() for name, one in self.image.state_dict().items()}
        self.text = TextTower(tokens.get_vocab_size())
        self.plush_lesson = PlushLesson()
        self.parts = nn.ModuleDict({"image": self.image, "text": self.text, "plush_lesson": self.plush_lesson})
        if real:
            self.photo_lesson = PhotoLesson(real.features.shape[-1])
            self.parts["photo_lesson"] = self.photo_lesson
        self.parts.to(settings.device)

    @torch.no_grad()
    def _find_directions(self) -> None:
        """Sets the projection to the principal directions of many pictures."""
        chance = np.random.default_rng((self.settings.seed, 0))
        rows = np.arange(min(len(self.plushes), 1000))
        some = [self.plushes.pictures(rows, chance.integers(plushes.VIEWS, size=len(rows)))]
        if self.real:
            few = chance.choice(self.real.rows, min(len(self.real.rows), 4000), replace=False)
            some.append(self.real.pictures[np.sort(few), 0])
        pictures = [few for part in some for few in np.array_split(part, len(part) // 50 + 1)]
        with torch.autocast("cpu", torch.bfloat16):
            pooled = [self.image.pool(pixels(torch.from_numpy(np.ascontiguousarray(few)))) for few in pictures]
        self.image.project_principal(torch.cat(pooled))

    def photo_loss(self, batch: int, step: int, side: int) -> Tensor:
        """Returns the loss of `batch` photos, two regions each."""
        assert self.real is not None
        pictures, features = self.real.pictures, self.real.features
        chance = np.random.default_rng((self.settings.seed, 1, step))
        seen = self.real.rows
        rows = np.sort(chance.choice(seen, min(batch, len(seen)), replace=False)).repeat(2)
        regions = np.stack([chance.choice(pictures.shape[1], 2, replace=False) for _ in rows[::2]]).flatten()
        vectors = self._see(pictures[rows, regions], side, chance, mirror=True, strength=1.0)
        teacher = torch.from_numpy(features[rows, regions]).to(self.settings.device)
        loss: Tensor = self.photo_lesson(vectors, teacher, torch.from_numpy(rows).to(self.settings.device))
        return loss

    def plush_loss(self, batch: int, step: int, side: int) -> Tensor:
        """Returns the loss of `batch` pairs of plushes, two views of each plush and a text about it."""
        device = self.settings.device
        chance = np.random.default_rng((self.settings.seed, 2, step))
        if chance.random() < HARD_SHARE:
            pairs = self.plushes.alike(batch, chance)
        else:
            pairs = chance.choice(len(self.plushes) // 2, min(batch, len(self.plushes) // 2), replace=False)
        rows = np.stack([2 * pairs, 2 * pairs + 1], 1).flatten()
        first = chance.integers(plushes.CLEAR, size=len(rows))
        other = (first + chance.integers(1, plushes.CLEAR, size=len(rows))) % plushes.CLEAR
        hidden = chance.integers(plushes.CLEAR, plushes.VIEWS, size=len(rows))
        second = np.where(chance.random(len(rows)) < HIDDEN, hidden, other)
        shown, views = rows.repeat(2), np.stack([first, second], 1).flatten()
        vectors = self._see(self.plushes.pictures(shown, views), side, chance, mirror=False, strength=0.9)
        told, facts = self._tell(rows, step)
        ids = torch.tensor([one.ids for one in told], device=device)
        mask = torch.tensor([one.attention_mask for one in told], device=device)
        loss: Tensor = self.plush_lesson(
            vectors,
            torch.from_numpy(shown).to(device),
            torch.from_numpy(views < plushes.CLEAR).to(device),
            torch.from_numpy(self.plushes.facts[shown]).float().to(device),
            self._read(self._smudge(ids, chance), mask),
            torch.from_numpy(truth.holds(facts, self.plushes.facts[shown])).to(device),
        )
        return loss

    def _see(
        self, pictures: NDArray[np.uint8], side: int, chance: np.random.Generator, *, mirror: bool, strength: float
    ) -> Tensor:
        dice = torch.Generator().manual_seed(int(chance.integers(2**62)))
        pictures = spoil(pictures, SPOILT, chance)
        covers = None
        if self.real:
            shown = self.real.pictures
            some = np.sort(chance.choice(self.real.rows, len(pictures)))
            covers = torch.from_numpy(shown[some, chance.integers(shown.shape[1], size=len(some))])
        rough = augment(torch.from_numpy(pictures), side, dice, mirror=mirror, strength=strength, covers=covers)
        x = pixels(rough).to(self.settings.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.settings.device.split(":")[0], torch.bfloat16):
            vectors: Tensor = self.image(x)
        return vectors.float()

    def _tell(self, rows: NDArray[np.int64], step: int):  # type: ignore[no-untyped-def]
        dice = random.Random(f"{self.settings.seed} {step}")
        texts, facts = [], []
        everything = dice.random() < 0.04  # long texts make a whole batch slow, so they come together
        for row in rows:
            attributes, language = self.plushes.attributes[row], dice.choice(truth.LANGUAGES)
            if everything and dice.random() < 0.5:
                texts.append(_core.Plush.with_attributes(0, dict(attributes)).caption(language))
                facts.append(sorted(truth.facts_of(attributes)))
            else:
                facts.append(captions.choose(attributes, dice, negations=NEGATIONS))
                texts.append(captions.text(facts[-1], language, dice, book=self.book))
        return self.tokens.encode_batch(texts), truth.table(facts)

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(self.settings.device.split(":")[0], torch.bfloat16):
            vectors: Tensor = self.text(ids, mask)
        return vectors.float()

    def _smudge(self, ids: Tensor, chance: np.random.Generator) -> Tensor:
        """Returns the ids with a few words replaced by the unknown one."""
        gone = torch.from_numpy(chance.random(tuple(ids.shape)) < 0.03).to(ids.device)
        return torch.where(gone & (ids > tokenizer.START), tokenizer.UNKNOWN, ids)


def teach(course: Course, checkpoint: Path) -> nn.ModuleDict:
    """Trains for the steps of the settings, from the beginning or from the checkpoint.

    Returns the towers with weights averaged over the last few hundred steps, which are better than the last ones.
    """
    settings = course.settings
    mature = [one for one in course.image.parameters() if one.requires_grad]
    young = [one for name, part in course.parts.items() if name != "image" for one in part.parameters()]
    groups = [{"params": mature, "share": 0.3}, {"params": young, "share": 1.0}]
    optimizer = torch.optim.AdamW(groups, settings.rate, weight_decay=0.02)
    average = AveragedModel(course.parts, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING), use_buffers=True)
    step, shown, mean = 0, 0.0, 0.0
    kept = torch.load(checkpoint, map_location="cpu", weights_only=True) if checkpoint.exists() else None
    if kept:
        course.parts.load_state_dict(kept["parts"])
        average.load_state_dict(kept["average"])
        optimizer.load_state_dict(kept["optimizer"])
        step = kept["step"]
    course.parts.train()
    saved = time.monotonic()
    workers = ThreadPoolExecutor(settings.threads, initializer=torch.set_num_threads, initargs=(1,))
    while step < settings.steps:
        progress = step / settings.steps
        for group in optimizer.param_groups:
            rate = settings.rate * group["share"]
            group["lr"] = rate * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * math.cos(math.pi * progress))
        side = settings.side if progress >= COARSE_SHARE else min(settings.side, COARSE_SIDE)
        optimizer.zero_grad()
        losses = list(workers.map(partial(_learn, course, side), range(step, step + settings.threads)))
        learning = [one for one in course.parts.parameters() if one.grad is not None]
        for parameter in learning:
            parameter.grad /= len(losses)
        torch.nn.utils.clip_grad_norm_(learning, 5.0)
        optimizer.step()
        average.update_parameters(course.parts)
        step += len(losses)
        mean = 0.98 * mean + 0.02 * sum(losses) / len(losses) if mean else losses[0]
        now = time.monotonic()
        if now - saved > CHECKPOINT_SECONDS:
            _save(checkpoint, course, average, optimizer, step)
            saved = now
        if now - shown > 30.0:
            shown = now
            print(f"step {step} of {settings.steps}, loss {mean:.3f}", flush=True)
    _save(checkpoint, course, average, optimizer, step)
    learnt = average.module
    assert isinstance(learnt, nn.ModuleDict)
    return learnt


@torch.no_grad()
def keep_some(image: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Mixes a share of the first weights of training into the last ones.

    The mixture is nearly as good for plushes, and better than either for photos of other things (Wortsman et al.,
    "Robust fine-tuning of zero-shot models", 2022). The start's projection is first made as long as the learnt one.
    """
    learnt = image.state_dict()
    longer = learnt["project.weight"].norm() / start["project.weight"].norm()
    for name, weights in learnt.items():
        begun = start[name].to(weights.device) * (longer if name.startswith("project") else 1.0)
        weights.copy_((1.0 - share) * weights + share * begun)


def _learn(course: Course, side: int, number: int) -> float:
    """Adds the gradients of one batch. Threads that share nothing but gradients do not wait for each other."""
    batch = course.settings.batch
    loss = course.plush_loss(batch // 4, number, side)
    if course.real:
        loss = loss + PHOTO_WEIGHT * course.photo_loss(batch // 4, number, side)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _save(
    checkpoint: Path,
    course: Course,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    step: int,
) -> None:
    state = {
        "step": step,
        "parts": course.parts.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    unfinished = checkpoint.with_suffix(".partial")
    torch.save(state, unfinished)
    os.replace(unfinished, checkpoint)
