"""Train `plushie-mini`: a picture tower and a text tower into one space.

    python -m plushie_search.train.mini --out my-model --minutes 60

renders its own plushes, learns from them and writes a model directory. It picks up where it was stopped. With
`--photos` and `--teacher` it first learns from real photos what a real backbone sees in them, and keeps doing so
beside the plushes.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from plushie_search import _core
from plushie_search.train import captions, photos, plushes, tokenizer
from plushie_search.train.augment import augment
from plushie_search.train.export import export
from plushie_search.train.finish import finish
from plushie_search.train.lessons import PhotoLesson, PlushLesson
from plushie_search.train.towers import MAX_LENGTH, ImageTower, TextTower, pixels

CHECKPOINT_SECONDS = 120.0
AVERAGING = 0.99
PHOTO_STEPS = 3
"""One batch in so many has real photos beside the plushes."""
COARSE_SHARE = 0.5
"""So much of each stage looks at pictures of two thirds of the side, which is twice as fast."""


@dataclass(frozen=True)
class Settings:
    """What a run does, apart from where it keeps things."""

    pairs: int
    photo_minutes: float
    minutes: float
    batch: int
    side: int
    rate: float
    threads: int
    device: str
    seed: int


class Course:
    """The towers and lessons, and the batches that they are taught with."""

    def __init__(
        self, settings: Settings, work: Path, real: tuple[NDArray[np.uint8], NDArray[np.float32]] | None
    ) -> None:
        self.settings, self.work, self.real = settings, work, real
        torch.manual_seed(settings.seed)
        self.image = ImageTower()
        self.photo_lesson = PhotoLesson(real[1].shape[-1]) if real else None
        self.plushes: plushes.Plushes | None = None
        self.parts = nn.ModuleDict({"image": self.image})
        if self.photo_lesson:
            self.parts["photo_lesson"] = self.photo_lesson
        self.parts.to(settings.device)

    def open_plushes(self) -> None:
        """Renders (or opens) the plushes and adds what learns from them."""
        self.plushes = plushes.Plushes(self.work, self.settings.pairs, threads=self.settings.threads)
        file = self.work / "tokenizer.json"
        if not file.exists():
            tokenizer.train(_every_way(self.plushes)).save(str(file))
        self.tokens = tokenizer.load(file)
        self.tokens.enable_truncation(MAX_LENGTH)
        self.text = TextTower(self.tokens.get_vocab_size())
        self.plush_lesson = PlushLesson()
        self.parts["text"], self.parts["plush_lesson"] = self.text, self.plush_lesson
        self.parts.to(self.settings.device)

    def photo_loss(self, batch: int, step: int, side: int) -> Tensor:
        """One batch of `batch` photos, two regions each."""
        assert self.real is not None
        assert self.photo_lesson is not None
        pictures, features = self.real
        chance = np.random.default_rng((self.settings.seed, 1, step))
        rows = np.sort(chance.choice(len(pictures), batch, replace=False))
        vectors = self._see(pictures[rows].reshape(-1, *pictures.shape[2:]), side, chance, mirror=True, strength=1.0)
        teacher = torch.from_numpy(features[rows]).flatten(0, 1).to(self.settings.device)
        which = torch.arange(batch, device=self.settings.device).repeat_interleave(photos.REGIONS)
        loss: Tensor = self.photo_lesson(vectors, teacher, which)
        return loss

    def plush_loss(self, batch: int, step: int, side: int) -> Tensor:
        """One batch of `batch` pairs of plushes, two views of each plush and two texts about it."""
        assert self.plushes is not None
        device = self.settings.device
        chance = np.random.default_rng((self.settings.seed, 2, step))
        pairs = chance.choice(len(self.plushes) // 2, batch, replace=False)
        rows = np.stack([2 * pairs, 2 * pairs + 1], 1).flatten()
        views = np.stack([chance.choice(plushes.VIEWS, 2, replace=False) for _ in rows]).flatten()
        shown = rows.repeat(2)
        vectors = self._see(self.plushes.pictures(shown, views), side, chance, mirror=False, strength=0.5)
        told, facts = self._tell(rows, step)
        ids = torch.tensor([one.ids for one in told], device=device)
        mask = torch.tensor([one.attention_mask for one in told], device=device)
        loss: Tensor = self.plush_lesson(
            vectors,
            torch.from_numpy(shown).to(device),
            torch.from_numpy(plushes.clear(shown, views)).to(device),
            torch.from_numpy(self.plushes.facts[shown]).float().to(device),
            self._read(self._smudge(ids, chance), mask),
            torch.from_numpy(captions.holds(facts, self.plushes.facts[shown])).to(device),
        )
        return loss

    def _see(
        self, pictures: NDArray[np.uint8], side: int, chance: np.random.Generator, *, mirror: bool, strength: float
    ) -> Tensor:
        dice = torch.Generator().manual_seed(int(chance.integers(2**62)))
        rough = augment(torch.from_numpy(pictures), side, dice, mirror=mirror, strength=strength)
        x = pixels(rough).to(self.settings.device).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.settings.device.split(":")[0], torch.bfloat16):
            vectors: Tensor = self.image(x)
        return vectors.float()

    def _tell(self, rows: NDArray[np.int64], step: int):  # type: ignore[no-untyped-def]
        assert self.plushes is not None
        dice = random.Random(f"{self.settings.seed} {step}")
        texts, facts = [], []
        everything = dice.random() < 0.04  # long texts make a whole batch slow, so they come together
        for row in rows:
            for _ in range(2):
                attributes, language = self.plushes.attributes[row], dice.choice(captions.LANGUAGES)
                if everything and dice.random() < 0.5:
                    texts.append(_core.Plush.with_attributes(0, dict(attributes)).caption(language))
                    facts.append(sorted(captions.facts_of(attributes)))
                else:
                    facts.append(captions.choose(attributes, dice))
                    texts.append(captions.text(facts[-1], language, dice))
        return self.tokens.encode_batch(texts), captions.table(facts)

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(self.settings.device.split(":")[0], torch.bfloat16):
            vectors: Tensor = self.text(ids, mask)
        return vectors.float()

    def _smudge(self, ids: Tensor, chance: np.random.Generator) -> Tensor:
        """A few words become unknown ones."""
        gone = torch.from_numpy(chance.random(tuple(ids.shape)) < 0.03).to(ids.device)
        return torch.where(gone & (ids > tokenizer.START), tokenizer.UNKNOWN, ids)


def _every_way(about: plushes.Plushes) -> Iterator[str]:
    dice = random.Random(0)
    for attributes in about.attributes[:4000]:
        for language in captions.LANGUAGES:
            yield _core.Plush.with_attributes(0, dict(attributes)).caption(language)
            for _ in range(8):
                yield captions.text(captions.choose(attributes, dice), language, dice)


def teach(course: Course, stage: str, minutes: float, checkpoint: Path, *, warm: bool = False) -> nn.ModuleDict:
    """Runs a stage for so many minutes of work, from its beginning or from its checkpoint.

    `warm` begins again with the weights of the checkpoint. What is returned are the weights averaged over the last few
    hundred steps, which are better than the last ones.
    """
    settings = course.settings
    optimiser = torch.optim.AdamW(course.parts.parameters(), settings.rate, weight_decay=0.05)
    step, spent, shown, mean = 0, 0.0, 0.0, 0.0
    kept = _load(checkpoint)
    if kept and kept["stage"] == stage and not warm:
        course.parts.load_state_dict(kept["parts"])
        optimiser.load_state_dict(kept["optimiser"])
        step, spent = kept["step"], kept["spent"]
    elif kept:
        course.parts.load_state_dict(kept["parts"], strict=False)
    course.parts.train()
    average = AveragedModel(course.parts, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING), use_buffers=True)
    if kept and kept["stage"] == stage and not warm:
        average.load_state_dict(kept["average"])
    saved = clock = time.monotonic()
    workers = ThreadPoolExecutor(settings.threads, initializer=torch.set_num_threads, initargs=(1,))
    while spent < 60.0 * minutes:
        progress = spent / (60.0 * minutes)
        for group in optimiser.param_groups:
            group["lr"] = settings.rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * progress))
        side = settings.side if progress >= COARSE_SHARE else 32 * round(settings.side / 48)
        optimiser.zero_grad()
        losses = list(workers.map(partial(_learn, course, stage, side), range(step, step + settings.threads)))
        for parameter in course.parts.parameters():
            if parameter.grad is not None:
                parameter.grad /= len(losses)
        torch.nn.utils.clip_grad_norm_(course.parts.parameters(), 5.0)
        optimiser.step()
        average.update_parameters(course.parts)
        step += len(losses)
        mean = 0.98 * mean + 0.02 * sum(losses) / len(losses) if mean else losses[0]
        now = time.monotonic()
        spent, clock = spent + now - clock, now
        if now - saved > CHECKPOINT_SECONDS:
            _save(checkpoint, course, average, optimiser, stage, step, spent)
            saved = now
        if now - shown > 30.0:
            shown = now
            print(f"{stage}: step {step}, {spent / 60:.1f} of {minutes:g} min, loss {mean:.3f}", flush=True)
    _save(checkpoint, course, average, optimiser, stage, step, spent)
    learnt = average.module
    assert isinstance(learnt, nn.ModuleDict)
    return learnt


def _learn(course: Course, stage: str, side: int, number: int) -> float:
    """Adds the gradients of one batch. Threads that share nothing but gradients do not wait for each other."""
    batch = course.settings.batch
    if stage == "photos":
        loss = course.photo_loss(batch // 2, number, side)
    else:
        loss = course.plush_loss(batch // 4, number, side)
        if course.real and number % PHOTO_STEPS == 0:
            loss = loss + 0.6 * course.photo_loss(batch // 8, number, side)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _load(checkpoint: Path):  # type: ignore[no-untyped-def]
    return torch.load(checkpoint, map_location="cpu", weights_only=True) if checkpoint.exists() else None


def _save(
    checkpoint: Path,
    course: Course,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    stage: str,
    step: int,
    spent: float,
) -> None:
    state = {
        "stage": stage,
        "step": step,
        "spent": spent,
        "parts": course.parts.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    unfinished = checkpoint.with_suffix(".partial")
    torch.save(state, unfinished)
    os.replace(unfinished, checkpoint)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plushie_search" / "train"
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parser.add_argument("--work", type=Path, default=cache, help="pictures and checkpoint are kept here (%(default)s)")
    parser.add_argument("--pairs", type=int, default=5000, help="pairs of look-alike plushes to render (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60.0, help="minutes of learning from plushes (%(default)s)")
    parser.add_argument("--photos", type=Path, help="a folder of real photos; needs --teacher")
    parser.add_argument(
        "--teacher", type=Path, help="an ONNX backbone with an output `features`, input 224 px in -1..1"
    )
    parser.add_argument("--photo-minutes", type=float, default=20.0, help="minutes with photos alone (%(default)s)")
    parser.add_argument("--word-minutes", type=float, default=4.0, help="minutes of words alone, last (%(default)s)")
    parser.add_argument("--batch", type=int, default=96, help="views in a batch, a multiple of 8 (%(default)s)")
    parser.add_argument("--side", type=int, default=96, help="pixels of the model's pictures, 64 to 128 (%(default)s)")
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="begin again instead of going on from the checkpoint")
    parser.add_argument("--warm", action="store_true", help="go through the plushes once more with the weights so far")
    given = parser.parse_args(arguments)
    if (given.photos is None) != (given.teacher is None):
        parser.error("--photos and --teacher go together")
    if given.batch % 8 or given.batch < 8:
        parser.error(f"--batch must be a multiple of 8, not {given.batch}")
    if given.side not in (64, 96, 128):
        parser.error(f"--side must be 64, 96 or 128, not {given.side}")
    given.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    checkpoint = given.work / "checkpoint.pt"
    if given.fresh:
        checkpoint.unlink(missing_ok=True)
    settings = Settings(
        pairs=given.pairs,
        photo_minutes=given.photo_minutes,
        minutes=given.minutes,
        batch=given.batch,
        side=given.side,
        rate=given.rate,
        threads=given.threads,
        device=given.device,
        seed=given.seed,
    )
    real = photos.prepare(given.photos, given.teacher, given.work, threads=given.threads) if given.photos else None
    course = Course(settings, given.work, real)
    kept = _load(checkpoint)
    if real and not (kept and kept["stage"] == "plushes"):
        teach(course, "photos", given.photo_minutes, checkpoint)
    course.open_plushes()
    learnt = teach(course, "plushes", given.minutes, checkpoint, warm=given.warm)
    assert course.plushes is not None
    image, text = learnt["image"].cpu(), learnt["text"].cpu()
    finish(image, text, course.tokens, course.plushes, side=given.side, minutes=given.word_minutes)
    export(image, text, given.work / "tokenizer.json", given.out, side=given.side)


if __name__ == "__main__":
    main()
