"""The benchmark from end to end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core, metrics
from .._core import ArgumentError
from ..encoders.protocol import Model, name_of, named
from ..hub import as_encoder
from ..paths import expanded
from ..plush.facts import LANGUAGES
from . import photos
from .encoding import Encoder, Vectors, reads_texts
from .identities import REFERENCES, SPLITS, UNKNOWN, Identities
from .ranks import Ranks, best_of_first, save, stream
from .report import Figure, Question, Report, measured
from .texts import TEXT_KINDS, texts

FORMAT = 1
"""The version of checkpoints, and of the pictures and texts of a configuration."""
ASKED = 1000
"""The number of items that texts search."""
FALSE_REJECTS = 0.05
OPEN_SET = "unknown"
TEXT_SPLITS = {f"text-{kind}": kind for kind in TEXT_KINDS}
ALL_SPLITS = (*SPLITS, OPEN_SET, *TEXT_SPLITS)

Progress = Callable[[int, int, str], object]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The settings of a run; two runs with the same give the same figures.

    Attributes:
        items: Plushes in the catalog.
        references: The most reference pictures of each; every number from 1 to this is measured.
        seed: The seed that chooses the plushes.
        splits: Names of `ALL_SPLITS`.
        queries: Queries of each kind: that many items are drawn, the same for every kind.
        texts: Texts of each kind and language.
        unknown: Queries for plushes that are not in the catalog.
    """

    items: int = 1000
    references: int = len(REFERENCES)
    seed: int = 0
    splits: tuple[str, ...] = ALL_SPLITS
    queries: int = 2000
    texts: int = 300
    unknown: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.references <= len(REFERENCES):
            raise ArgumentError(f"{self.references} references: use 1 to {len(REFERENCES)}")
        strange = [split for split in self.splits if split not in ALL_SPLITS]
        if strange:
            raise ArgumentError(f"no split {strange[0]!r}: use some of {', '.join(ALL_SPLITS)}")
        if min(self.queries, self.texts) < 1 or not 0 <= self.unknown <= UNKNOWN:
            raise ArgumentError(f"queries and texts must be at least 1, and unknown from 0 to {UNKNOWN}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain values, with no more queries than items."""
        known = {"items": self.items, "references": self.references, "seed": self.seed, "splits": list(self.splits)}
        return known | {"queries": min(self.queries, self.items), "texts": self.texts, "unknown": self.unknown}


def run(
    models: Sequence[Model] | Mapping[str, Model],
    configuration: Configuration,
    *,
    threads: int | None = None,
    work: Path | None = None,
    grocery: Path | None = None,
    things: Sequence[Path] = (),
    emoji: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Measures models on the same pictures and texts.

    Args:
        models: Models as for :class:`plushie_search.Engine`, perhaps by the names that they get.
        configuration: The settings.
        threads: The most threads that render, and of models that are given by name; all cores by default.
        work: A folder for checkpoints: the next run with the same configuration resumes there.
        grocery, things, emoji: Folders of real photographs to measure as well; see `photos`.
        progress: Called with the pictures done, their total, and the name of the step.

    Raises:
        ArgumentError: There is no such model, or `work` holds another configuration.
        ModelError: A model cannot be used.
        OSError: A folder cannot be read or written.
    """
    if not models:
        raise ArgumentError("a benchmark needs a model")
    threads = threads or len(os.sched_getaffinity(0))
    opened = [
        (name_of(model) if name is None else name, as_encoder(model, threads=threads)) for name, model in named(models)
    ]
    if work is not None:
        work = Path(expanded(work))
        _claim(work, configuration)
    figures = []
    for place, (name, encoder) in enumerate(opened):
        told = _told(progress, Path(name).name, place, len(opened))
        folder = None if work is None else work / _identity(encoder)
        found = list(measure(encoder, configuration, threads=threads, work=folder, progress=told))
        if grocery is not None:
            found += photos.grocery(encoder, Path(expanded(grocery)))
        if things:
            found += photos.things(encoder, [Path(expanded(folder)) for folder in things])
        if emoji is not None:
            found += photos.emoji(encoder, Path(expanded(emoji)))
        figures.append({figure.question: figure for figure in found})
    return Report(tuple(name for name, _ in opened), configuration.to_dict(), tuple(figures))


def measure(
    encoder: Encoder,
    configuration: Configuration,
    *,
    threads: int = 1,
    work: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[Figure]:
    """Yields the figures of one model; see `run`."""
    identities = Identities(configuration.items, configuration.seed, threads)
    see = _Camera(encoder, configuration, progress)
    if see.pictures:
        yield from _picture_figures(see, identities, configuration, work)
    kinds = [(name, kind) for name, kind in TEXT_SPLITS.items() if name in configuration.splits]
    if kinds and reads_texts(encoder):
        count = min(ASKED, configuration.items)
        shown = see(identities.references(range(count), 0), "texts")
        attributes = identities.attributes(count)
        for name, kind in kinds:
            for language in LANGUAGES:
                asked = texts(attributes, kind, language, configuration.texts, seed=configuration.seed)
                if asked.written:
                    scores = encoder.encode_texts(list(asked.written)) @ shown.T
                    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
                    yield measured(
                        Question(name, "precision@5", language=language),
                        np.take_along_axis(asked.right, order, 1).sum(1) / 5,
                        groups=asked.facts,
                        chance=float(asked.right.mean()),
                    )


class _Camera:
    """Encodes pictures in batches, and reports progress."""

    def __init__(self, encoder: Encoder, configuration: Configuration, progress: Progress | None) -> None:
        self._encoder, self._progress, self._done = encoder, progress, 0
        chosen = [split for name, split in SPLITS.items() if name in configuration.splits]
        self.unknown = configuration.unknown if OPEN_SET in configuration.splits else 0
        if self.unknown and SPLITS["everyday"] not in chosen:
            chosen.append(SPLITS["everyday"])
        self.pictures = chosen
        items, asked = configuration.items, min(configuration.queries, configuration.items)
        views = configuration.references * (items + asked + asked * any(split.lookalikes for split in chosen))
        self._total = (len(chosen) * asked + self.unknown + views) if chosen else 0
        if set(TEXT_SPLITS) & set(configuration.splits):
            self._total += min(ASKED, items)

    def __call__(self, batches: Iterable[list[Any]], what: str) -> Vectors:
        parts = []
        for batch in batches:
            parts.append(self._encoder.encode_images(batch))
            self.passed(len(batch), what)
        return np.concatenate(parts)

    def passed(self, pictures: int, what: str) -> None:
        """Reports that more pictures are done."""
        self._done += pictures
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total, what)


@dataclass(frozen=True)
class _Queries:
    """All query pictures of a run: those of each split in turn, then the unknown ones."""

    items: NDArray[np.int64]
    vectors: Vectors
    own_scores: Vectors
    lookalikes: Vectors


def _picture_figures(
    see: _Camera, identities: Identities, configuration: Configuration, work: Path | None
) -> Iterator[Figure]:
    queries = _queries(see, identities, configuration, work)
    known, splits = len(queries.items), see.pictures
    own = np.concatenate([np.tile(queries.items, len(splits)), np.full(see.unknown, -1)]).astype(np.int64)
    ranks = Ranks(queries.vectors, own, queries.own_scores)
    references = range(configuration.references)

    def gallery(first: int, end: int) -> Vectors:
        return np.stack([see(identities.references(range(first, end), n), "catalog") for n in references], 1)

    checkpoint = None if work is None else work / "ranks.npz"
    if checkpoint is not None and checkpoint.exists():
        ranks.load(checkpoint)
        see.passed(ranks.passed * len(references), "catalog")
    stream(ranks, gallery, configuration.items, checkpoint=checkpoint)
    rows = {split.name: np.arange(known) + place * known for place, split in enumerate(splits)}
    for split in splits:
        if split.lookalikes:
            ranks.distract(queries.lookalikes, rows[split.name])
    asked = [split.name for split in splits if split.name in configuration.splits]
    tests = {name: rows[name] for name in asked}
    if len(asked) > 1:
        tests["mixed"] = np.concatenate(list(tests.values()))
    for name, places in tests.items():
        for number in references:
            found = metrics.Rankings.from_ranks(ranks.ranks()[number, places])
            for k in (1, 10):
                yield measured(
                    Question(name, f"hit@{k}", references=number + 1),
                    found.hit(k),
                    groups=own[places].tolist(),
                    chance=min(1.0, k / configuration.items),
                )
    if see.unknown:
        yield from _open_set(ranks.best[:, rows["everyday"]], ranks.best[:, own < 0])


def _open_set(known: Vectors, unknown: Vectors) -> Iterator[Figure]:
    """Measures how well the best score separates everyday pictures of the catalog's plushes from unknown ones."""
    for number, (inside, outside) in enumerate(zip(known, unknown, strict=True)):
        told = metrics.open_set(inside, outside, false_reject_rate=FALSE_REJECTS)
        count = len(inside) + len(outside)
        yield Figure(Question(OPEN_SET, "AUROC", references=number + 1), told.auroc, count, 0.5)
        accepts = Question(OPEN_SET, f"false accepts at {FALSE_REJECTS:.0%} false rejects", references=number + 1)
        yield Figure(accepts, told.false_accept_rate, count, None)


def _queries(see: _Camera, identities: Identities, configuration: Configuration, work: Path | None) -> _Queries:
    """Returns the queries, encoded or from an earlier run."""
    file = None if work is None else work / "queries.npz"
    if file is not None and file.exists():
        with np.load(file, allow_pickle=False) as kept:
            queries = _Queries(*(kept[name] for name in ("items", "vectors", "own_scores", "lookalikes")))
        pictures = (len(queries.items) + queries.lookalikes.shape[0]) * configuration.references
        see.passed(len(queries.vectors) + pictures, "queries")
        return queries
    count = min(configuration.queries, configuration.items)
    items = np.sort(np.random.default_rng([configuration.seed, 1]).permutation(configuration.items)[:count])
    chosen, references = items.tolist(), range(configuration.references)
    own = np.stack([see(identities.references(chosen, number), "queries") for number in references], 1)
    parts = [see(identities.queries(chosen, split), "queries") for split in see.pictures]
    scores = [best_of_first(part, own) for part in parts]
    if see.unknown:
        parts.append(see(identities.unknown(see.unknown), "queries"))
        scores.append(np.full((len(references), see.unknown), np.inf, np.float32))
    alike = np.zeros((0, *own.shape[1:]), np.float32)
    if any(split.lookalikes for split in see.pictures):
        alike = np.stack([see(identities.lookalikes(chosen, number), "look-alikes") for number in references], 1)
    queries = _Queries(items, np.concatenate(parts), np.concatenate(scores, 1), alike)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        save(file, **vars(queries))
    return queries


def _claim(work: Path, configuration: Configuration) -> None:
    """Marks the folder as that of this configuration, or checks the mark."""
    wanted = {"format": FORMAT, "version": _core.__version__, **configuration.to_dict()}
    file = work / "plushbench.json"
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        for name, value in wanted.items():
            if kept.get(name) != value:
                raise ArgumentError(
                    f"{work} was begun with {name} {kept.get(name)!r} and not {value!r}: "
                    "ask for the same again, or name another --work folder"
                )
        return
    work.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(wanted), encoding="utf-8")
    partial.replace(file)


def _identity(encoder: _core.Encoder) -> str:
    """Returns a digest of a model and its device: figures depend on both."""
    computes = sorted(encoder.outputs.items()), encoder.device, encoder.precision, encoder.max_batch
    return hashlib.sha256(json.dumps([encoder.fingerprint, *computes]).encode()).hexdigest()[:16]


def _told(progress: Progress | None, model: str, place: int, models: int) -> Progress | None:
    """Returns the callback of one model for the progress over all models."""
    if progress is None:
        return None
    return lambda done, total, what: progress(place * total + done, models * total, f"{model}: {what}")
