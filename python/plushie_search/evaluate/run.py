"""Evaluates a catalog with queries for known items."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .. import _core, metrics
from .._core import ArgumentError
from ..paths import expanded
from ..query import By
from ..results import Results
from ..searcher import Progress, Searcher
from .certainty import Certainty, certainty
from .result import Evaluation, Outcome, UnknownQuery

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._core import _Image as ImageLike

#: The queries of a batch, and the stored vectors of one.
BATCH, VECTORS = 64, 256
#: The number of items that mAP and MRR look at, at least.
DEPTH = 100
#: The least cosine of a near-duplicate of a picture in the catalog: float32 is off by less.
SAME = 1 - 2e-6

Relevant: TypeAlias = "str | Collection[str]"
"""The item that is relevant to a query, or several."""
Pictures: TypeAlias = "str | os.PathLike[str] | Sequence[tuple[ImageLike, Relevant]]"
Texts: TypeAlias = "Sequence[tuple[str, Relevant]]"
Unknown: TypeAlias = "str | os.PathLike[str] | Sequence[ImageLike]"
#: Item, cosine, reference and probability.
_Found: TypeAlias = tuple[str, float, str, float | None]
NOTHING = (None, None, None, None)
#: The share of unknown queries that `identify` is meant to take for an item by default.
TARGET = 0.01

Missing: TypeAlias = Literal["error", "skip"]
"""Treatment of queries for items that are not in the catalog."""
MISSING: tuple[Missing, ...] = ("error", "skip")
_Kind: TypeAlias = Literal["picture", "text", "reference"]


@dataclass(frozen=True)
class _Question:
    name: str
    subject: Any
    items: frozenset[str]


@dataclass
class _Judge:
    """The outcomes of all batches."""

    k: int
    depth: int
    outcomes: list[Outcome] = field(default_factory=list)
    columns: dict[str, list[NDArray[np.float64]]] = field(default_factory=dict)
    subjects: dict[int, Any] = field(default_factory=dict)
    near_duplicates: int = 0

    def add(self, questions: Sequence[_Question], lists: Sequence[Sequence[_Found]], kind: _Kind) -> None:
        lists = [found[: self.depth] for found in lists]
        rankings = metrics.Rankings([[item for item, *_ in found] for found in lists], [q.items for q in questions])
        for name, column in _figures(rankings, self.k).items():
            self.columns.setdefault(name, []).append(column)
        for question, found, rank in zip(questions, lists, rankings.ranks.tolist(), strict=True):
            _, score, reference, _ = found[rank - 1] if rank else NOTHING
            wrong, wrong_score, wrong_reference, _ = next(
                (hit for hit in found if hit[0] not in question.items), NOTHING
            )
            if rank != 1:
                self.subjects[len(self.outcomes)] = None if kind == "text" else question.subject
            self.near_duplicates += kind == "picture" and bool(found) and found[0][1] >= SAME
            items = tuple(sorted(question.items))
            likely = found[0][3] if found else None
            self.outcomes.append(
                Outcome(
                    question.name, items, rank or None, score, reference, wrong, wrong_score, wrong_reference, likely
                )
            )


def _figures(rankings: metrics.Rankings, k: int) -> dict[str, NDArray[np.float64]]:
    return {
        "hit@1": rankings.hit(1),
        f"hit@{k}": rankings.hit(k),
        f"precision@{k}": rankings.precision(k),
        f"recall@{k}": rankings.recall(k),
        f"nDCG@{k}": rankings.ndcg(k),
        "mAP": rankings.average_precision(),
        "MRR": rankings.reciprocal_rank(),
    }


def evaluate(
    engine: Searcher,
    queries: Pictures | None = None,
    *,
    texts: Texts | None = None,
    unknown: Unknown | None = None,
    k: int = 10,
    depth: int | None = None,
    where: Mapping[str, Any] | None = None,
    models: By | None = None,
    missing: Missing = "error",
    false_reject_rate: float = 0.05,
    rounds: int = metrics.ROUNDS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluates a catalog; see :meth:`plushie_search.Engine.evaluate`."""
    if k < 1:
        raise ArgumentError("k must be at least 1")
    for name in [models] if isinstance(models, str) else models or ():
        if name not in engine.models:
            raise ArgumentError(f"{engine.path} is not open with a model {name!r}, but with {', '.join(engine.models)}")
    how = {"where": where, "models": models}
    judge = _Judge(k, max(k, DEPTH) if depth is None else depth)
    if judge.depth < k:
        raise ArgumentError(f"depth must be at least k, which is {k}, and not {depth}")
    pictures = [] if queries is None else _pictures(queries)
    words = [_Question(text, text, _relevant(items)) for text, items in texts or ()]
    unknown_queries = [] if unknown is None else _unknown_queries(unknown)
    left_out = _leave_one_out(engine, where) if queries is None and texts is None else []
    weights = models if isinstance(models, Mapping) else {models or engine.models[0]: 1.0}

    if missing not in MISSING:
        raise ArgumentError(f"missing {missing!r}: give one of {', '.join(map(repr, MISSING))}")
    skipped: list[str] = []
    if missing == "skip":
        present = {item for question in (*pictures, *words) for item in question.items if item in engine}
        asked = [*pictures, *words]
        pictures, words = _only(pictures, present), _only(words, present)
        skipped = [question.name for question in asked if not question.items & present]
    else:
        _check(engine, [*pictures, *words])
    if where is not None:
        fitting = {item.id for item in engine.iterate(where)}
        pictures, words = _only(pictures, fitting), _only(words, fitting)
    total = len(pictures) + len(words) + len(unknown_queries) + sum(len(names) for _, names in left_out)
    done = 0
    failed: list[tuple[str, str]] = []
    found: list[UnknownQuery] = []
    # Verdicts are of pictures alone.
    verdicts = _Verdicts(engine, where, models) if unknown_queries and not (words or left_out) else None

    def told(batch: Sequence[Any], name: str) -> None:
        nonlocal done
        if progress is not None:
            progress(done, total, name)
        done += len(batch)

    for questions in _batches(pictures):
        told(questions, questions[0].name)
        answers = list(_answers(engine.search_image, questions, judge.depth, how, failed))
        judge.add([question for question, _ in answers], [hits for _, hits in answers], "picture")
        if verdicts is not None:
            verdicts.add_known([question for question, _ in answers])
    unread: list[str] = []
    for questions in _batches(words):
        told(questions, questions[0].name)
        with warnings.catch_warnings():
            # One warning for all texts follows.
            warnings.simplefilter("ignore", _core.UnreadableTextWarning)
            results = engine.search_text(
                [question.subject for question in questions], k=judge.depth, where=where, models=models
            )
        unread += [question.name for question, hits in zip(questions, results, strict=True) if hits.warnings]
        judge.add(questions, list(map(_rows, results)), "text")
    for part in _parts(left_out):
        told([name for _, names in part for name in names], part[0][0])
        questions, lists = _without_themselves(engine, part, judge.depth, where, weights)
        judge.add(questions, lists, "reference")
    for questions in _batches(unknown_queries):
        told(questions, questions[0].name)
        asked_for = list(_answers(engine.search_image, questions, 1, how, failed))
        for question, hits in asked_for:
            best = hits[0] if hits else (None, -1.0, None, None)
            found.append(UnknownQuery(question.name, *best))
        if verdicts is not None:
            verdicts.add_unknown([question for question, _ in asked_for])
    if progress is not None:
        progress(total, total, "")

    if unread:
        model_name = _asked(engine, models, image=False, text=True)
        warnings.warn(
            f"{len(unread)} of {len(words)} texts have no word that {model_name} knows, the first is {unread[0]!r}: "
            "their answers mean nothing; leave them out, or name a model that reads their language",
            _core.UnreadableTextWarning,
            stacklevel=3,
        )
    if not judge.outcomes:
        reason = f": {failed[0][1]}" if failed else f": {skipped[0]} is for no item of it" if skipped else ""
        raise ArgumentError(f"there is no query to evaluate {engine.path} with{reason}")
    learned = engine.stats().get("learned_weights") if pictures or unknown_queries else None
    if models is None and learned and learned["used"] and not words:
        models = learned["weights"]
    models = _asked(engine, models, image=bool(pictures or left_out or unknown_queries), text=bool(words))
    return _evaluation(
        engine,
        judge,
        found,
        verdicts,
        failed,
        skipped,
        model=models or "",
        false_reject_rate=false_reject_rate,
        rounds=rounds,
        seed=seed,
    )


def _asked(engine: Searcher, model: By | None, *, image: bool, text: bool) -> str | None:
    """Returns the names of the models that look up pictures and texts."""
    if model:
        return model if isinstance(model, str) else " + ".join(model)
    used = ((engine.image_model, image), (engine.text_model, text))
    return " + ".join(dict.fromkeys(name for name, asked in used if asked and name is not None)) or None


def _evaluation(
    engine: Searcher,
    judge: _Judge,
    unknown: list[UnknownQuery],
    verdicts: _Verdicts | None,
    failed: list[tuple[str, str]],
    skipped: list[str],
    *,
    model: str,
    false_reject_rate: float,
    rounds: int,
    seed: int,
) -> Evaluation:
    values = {name: np.concatenate(columns) for name, columns in judge.columns.items()}
    groups = [outcome.items for outcome in judge.outcomes]
    figures = {name: metrics.mean(column, groups=groups, rounds=rounds, seed=seed) for name, column in values.items()}
    open_set = None
    if unknown:
        open_set = metrics.open_set(
            [max(outcome.score or -1.0, outcome.wrong_score or -1.0) for outcome in judge.outcomes],
            [query.score for query in unknown],
            false_reject_rate=false_reject_rate,
            groups=groups,
            rounds=rounds,
            seed=seed,
        )
        figures |= {"AUROC": open_set.auroc, "false accepts": open_set.false_accept_rate}
    certain, rates = None if verdicts is None else verdicts.certainty(), {}
    if certain is not None and verdicts is not None:
        rates = verdicts.rates(rounds, seed)
    figures |= rates
    return Evaluation(
        catalog=engine.path,
        model=model,
        metrics=figures,
        k=judge.k,
        depth=judge.depth,
        items=len(set(groups)),
        outcomes=tuple(_with_reference(engine, outcome) for outcome in judge.outcomes),
        confusions=tuple(
            metrics.confusions(
                [" | ".join(outcome.items) for outcome in judge.outcomes],
                [None if outcome.rank == 1 else outcome.wrong for outcome in judge.outcomes],
            )
        ),
        unknown=tuple(unknown),
        open_set=open_set,
        certainty=certain,
        failed=tuple(failed),
        skipped=tuple(skipped),
        near_duplicates=judge.near_duplicates,
        _values=values,
        _subjects=judge.subjects,
    )


class _Verdicts:
    """The verdicts of :meth:`plushie_search.Engine.identify` on the queries of an evaluation."""

    def __init__(self, engine: Searcher, where: Mapping[str, Any] | None, models: By | None) -> None:
        self._engine = engine
        self._how: dict[str, Any] = {"where": where, "models": models}
        #: The threshold of these verdicts.
        self._threshold: float | None = None
        #: The probability of the first hit, whether that is right, and whether it is taken for a match.
        self._known: list[tuple[float, bool, bool]] = []
        self._groups: list[tuple[str, ...]] = []
        self._unknown: list[tuple[float, bool]] = []

    def add_known(self, questions: Sequence[_Question]) -> None:
        """Asks for pictures of items of the catalog."""
        for question, (probability, item, accepted) in zip(questions, self._asked(questions), strict=True):
            self._known.append((probability, item in question.items, accepted))
            self._groups.append(tuple(sorted(question.items)))

    def add_unknown(self, questions: Sequence[_Question]) -> None:
        """Asks for pictures of other things."""
        self._unknown += [(probability, accepted) for probability, _, accepted in self._asked(questions)]

    def _asked(self, questions: Sequence[_Question]) -> list[tuple[float, str | None, bool]]:
        found = self._engine.identify([question.subject for question in questions], k=1, **self._how)
        self._threshold = found[0].threshold if found else self._threshold
        return [
            (one.probability or 0.0, one.hits[0].item if one.hits else None, one.verdict != "unknown") for one in found
        ]

    def rates(self, rounds: int, seed: int) -> dict[str, metrics.Interval]:
        """Returns FPIR and FNIR."""
        missed = [not (right and accepted) for _, right, accepted in self._known]
        return {
            "FPIR": metrics.mean([accepted for _, accepted in self._unknown], rounds=rounds, seed=seed),
            "FNIR": metrics.mean(missed, groups=self._groups, rounds=rounds, seed=seed),
        }

    def certainty(self) -> Certainty | None:
        """Returns how far probabilities can be trusted; None if there are no known or no unknown queries."""
        if self._threshold is None or not self._known or not self._unknown:
            return None
        return certainty(
            [(probability, right) for probability, right, _ in self._known],
            [probability for probability, _ in self._unknown],
            threshold=self._threshold,
            target=TARGET,
            accepted=float(np.mean([accepted for _, accepted in self._unknown])),
            items=self._engine.stats()["items"],
        )


def _with_reference(engine: Searcher, outcome: Outcome) -> Outcome:
    """Returns the outcome with a reference to show: the item's first one if it was not found."""
    if outcome.rank is not None or outcome.items[0] not in engine:
        return outcome
    references = engine.get(outcome.items[0]).references
    return replace(outcome, reference=references[0].name if references else None)


# Queries


def _pictures(queries: Pictures) -> list[_Question]:
    if isinstance(queries, (str, os.PathLike)):
        folder = _core.folder_items(expanded(queries))
        return [_Question(str(path), path, frozenset([item])) for item, paths in folder for path in paths]
    return [_Question(_name(image, number), image, _relevant(items)) for number, (image, items) in enumerate(queries)]


def _unknown_queries(unknown: Unknown) -> list[_Question]:
    if isinstance(unknown, (str, os.PathLike)):
        paths = [path for _, paths in _core.folder_items(expanded(unknown)) for path in paths]
        return [_Question(str(path), path, frozenset()) for path in paths]
    return [_Question(_name(image, number), image, frozenset()) for number, image in enumerate(unknown)]


def _name(image: Any, number: int) -> str:
    return str(os.fspath(image)) if isinstance(image, (str, os.PathLike)) else f"image {number}"


def _relevant(items: Relevant) -> frozenset[str]:
    found = frozenset([items] if isinstance(items, str) else items)
    if not found:
        raise ArgumentError("a query without a right item: leave it out, or give its picture as unknown=")
    return found


def _check(engine: Searcher, questions: Sequence[_Question]) -> None:
    absent = sorted(item for item in {item for question in questions for item in question.items} if item not in engine)
    if absent:
        names = ", ".join(map(repr, absent[:5])) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        raise ArgumentError(
            f"there are queries for items that are not in the catalog {engine.path}: {names}; "
            "name them as its items are named, give their pictures as unknown, or leave them out by missing='skip'"
        )


def _only(questions: Sequence[_Question], items: Collection[str]) -> list[_Question]:
    """Returns the questions with their items among ``items``, without questions that have none."""
    kept = (_Question(q.name, q.subject, q.items.intersection(items)) for q in questions)
    return [question for question in kept if question.items]


def _batches(questions: Sequence[_Question]) -> Iterator[Sequence[_Question]]:
    for start in range(0, len(questions), BATCH):
        yield questions[start : start + BATCH]


def _answers(
    search: Callable[..., list[Results]],
    questions: Sequence[_Question],
    k: int,
    how: Mapping[str, Any],
    failed: list[tuple[str, str]],
) -> Iterator[tuple[_Question, list[_Found]]]:
    """Yields each question with its hits; one that fails is reported in ``failed`` and the others are asked again."""
    try:
        answers = search([question.subject for question in questions], k=k, **how)
    except (_core.PictureError, OSError) as error:
        if len(questions) == 1:
            failed.append((questions[0].name, str(error)))
            return
        half = len(questions) // 2
        for part in (questions[:half], questions[half:]):
            yield from _answers(search, part, k, how, failed)
        return
    yield from zip(questions, map(_rows, answers), strict=True)


def _rows(results: Results) -> list[_Found]:
    return [(hit.item, hit.score, hit.reference, hit.probability) for hit in results]


# Leave one out


def _leave_one_out(engine: Searcher, where: Mapping[str, Any] | None) -> list[tuple[str, list[str]]]:
    """Returns the items with two references or more, each with the names of all."""
    items = ((item.id, [reference.name for reference in item.references]) for item in engine.iterate(where))
    found = [(id, names) for id, names in items if len(names) > 1]
    if not found:
        raise ArgumentError(
            f"no item of {engine.path} has two references, so none can be left out: give queries to evaluate it with"
        )
    return found


def _parts(items: Sequence[tuple[str, list[str]]]) -> Iterator[list[tuple[str, list[str]]]]:
    part: list[tuple[str, list[str]]] = []
    for item in items:
        part.append(item)
        if sum(len(names) for _, names in part) >= VECTORS:
            yield part
            part = []
    if part:
        yield part


def _without_themselves(
    engine: Searcher,
    items: Sequence[tuple[str, list[str]]],
    depth: int,
    where: Mapping[str, Any] | None,
    weights: Mapping[str, float],
) -> tuple[list[_Question], list[list[_Found]]]:
    """Returns each reference as a query, with its hits as if the reference were not stored.

    Its own item would come first by the reference itself, so the item's rank is computed from its other references. An
    item of the same score comes before it.
    """
    questions: list[_Question] = []
    own: list[_Found] = []
    vectors: dict[str, list[NDArray[np.float32]]] = {model: [] for model in weights}
    for item, names in items:
        cosines = np.zeros((len(names), len(names)), np.float32)
        for model, weight in weights.items():
            stored = engine.vectors(item, model=model)
            cosines += weight / sum(weights.values()) * (stored @ stored.T)
            vectors[model].append(stored)
        np.fill_diagonal(cosines, -np.inf)
        for name, others in zip(names, cosines, strict=True):
            best = int(others.argmax())
            questions.append(_Question(name, name, frozenset([item])))
            own.append((item, float(others[best]), names[best], None))
    together = {model: np.concatenate(rows) for model, rows in vectors.items()}
    answers = engine.search_vector(together, k=depth + 1, where=where, models=weights)
    lists = []
    for (item, score, reference, _), results in zip(own, answers, strict=True):
        rest = [hit for hit in _rows(results) if hit[0] != item]  # type: ignore[arg-type]
        place = sum(hit[1] >= score for hit in rest)
        lists.append([*rest[:place], (item, score, reference, None), *rest[place:]])
    return questions, lists
