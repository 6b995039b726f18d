"""Finds the best items of planned queries: asks Milvus for candidates, then fuses and groups them here."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..searcher import UnsupportedError
from .fuse import List, Moments, Spread, fuse, group, highest_unseen
from .plan import Part
from .schema import FIELDS, KEYS, Space
from .store import MOST, Row, Store

#: The candidates of each list that are looked at first, and by how many times more if that was too few.
FIRST, FURTHER = 256, 4
#: The references of which the mean and the covariance of vectors are computed: all of a catalog up to so many.
SAMPLE = 20_000
#: The digits of keys by which a sample is chosen. They begin with a digest of the item, so that items are whole.
DIGITS = 4


@dataclass(frozen=True, slots=True)
class Find:
    """The options of a look-up.

    Attributes:
        k: How many items.
        where: An expression of Milvus.
        fusion, rrf_k, aggregate, temperature, min_score: As in :class:`plushie_search.SearchOptions`.
        effort: Parameters of Milvus's index.
        vectors: Whether rows have their vectors.
    """

    k: int
    where: str = ""
    fusion: str = "weighted"
    rrf_k: float = 60.0
    aggregate: str = "max"
    temperature: float = 0.1
    min_score: float | None = None
    effort: Mapping[str, Any] = field(default_factory=dict)
    vectors: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """An item that was found: its best reference's row, its score, and the cosine of each model."""

    row: Row
    score: float
    scores: dict[str, float]


class Sample:
    """References that stand for all: their mean and covariance, and rows to calibrate with.

    It is read again after references have come or gone.
    """

    def __init__(self, store: Store) -> None:
        self._store, self._lock = store, threading.Lock()
        self._spreads: dict[str, tuple[int, Spread]] = {}

    def spread(self, space: Space, count: int) -> Spread:
        """Returns the mean and the covariance of vectors, while the collection has ``count`` references."""
        with self._lock:
            known = self._spreads.get(space.field)
            if known is None or known[0] != count:
                rows = [row[space.field] for row in self.rows([space.field], count)]
                known = self._spreads[space.field] = (count, Spread.of(np.array(rows, np.float32)))
            return known[1]

    def forget(self) -> None:
        """Forgets them after a change."""
        with self._lock:
            self._spreads.clear()

    def rows(self, fields: Sequence[str], count: int) -> list[Row]:
        """Returns the rows of whole items, about 20,000 references, or all if there are fewer."""
        share = SAMPLE / max(count, 1)
        digits = f"{int(share * 16**DIGITS):0{DIGITS}x}"
        where = "" if share >= 1 else f'pk < "{digits}"'
        return list(self._store.each(where, fields))


class Looking:
    """Answers planned queries.

    Args:
        store: The collection.
        spaces: The fields of the models by their names.
    """

    def __init__(self, store: Store, spaces: Mapping[str, Space]) -> None:
        self._store, self._spaces = store, spaces
        self.sample = Sample(store)

    def find(self, plans: Sequence[Sequence[Part]], find: Find) -> list[list[Found]]:
        """Returns the best items of each query, best first."""
        alone = [number for number, parts in enumerate(plans) if len(parts) == 1 and self._is_plain(find)]
        found: dict[int, list[Found]] = {}
        for model in {plans[number][0].model for number in alone}:
            own = [number for number in alone if plans[number][0].model == model]
            vectors = np.stack([plans[number][0].vector for number in own])
            found |= dict(zip(own, self._alone(model, vectors, find), strict=True))
        return [found[number] if number in found else self._fused(parts, find) for number, parts in enumerate(plans)]

    @staticmethod
    def _is_plain(find: Find) -> bool:
        return find.aggregate == "max" and find.fusion in ("weighted", "sum")

    def _alone(self, model: str, vectors: NDArray[np.float32], find: Find) -> list[list[Found]]:
        space = self._spaces[model]
        fields = [*FIELDS, space.field] if find.vectors else FIELDS
        answers: list[list[Found]] = [[] for _ in vectors]
        left, limit = list(range(len(vectors))), min(MOST, 2 * find.k + 8)
        while left:
            rows = self._store.search(space, vectors[left], limit, find.where, fields, find.effort)
            behind = []
            for number, hits in zip(left, rows, strict=True):
                answers[number] = self._grouped(model, hits, find)
                some = answers[number]
                # An item of the same score may follow that comes first by its age.
                is_open = len(some) < find.k or some[find.k - 1].score <= np.float32(hits[-1][0])
                if len(hits) == limit and limit < MOST and is_open and not _is_low(hits[-1][0], find):
                    behind.append(number)
            left, limit = behind, min(MOST, FURTHER * limit)
        return [some[: find.k] for some in answers]

    def _grouped(self, model: str, hits: Sequence[tuple[float, Row]], find: Find) -> list[Found]:
        # Milvus and an engine differ in the last digits, which would put one picture under two items in any order.
        kept = [(float(np.float32(score)), row) for score, row in hits if not _is_low(score, find)]
        kept.sort(key=lambda one: (-one[0], one[1]["since"], one[1]["added"]))
        best: dict[str, Found] = {}
        for score, row in kept:
            if row["item"] not in best:
                best[row["item"]] = Found(row, score, {model: score})
        return list(best.values())

    def _fused(self, parts: Sequence[Part], find: Find) -> list[Found]:
        total = self._store.count()
        whole = (not self._is_plain(find) and find.fusion != "dbsf") or find.aggregate != "max"
        if whole:
            self._check_whole(find, self._store.count(find.where) if find.where else total)
        limit = MOST if whole else min(MOST, max(FIRST, 4 * find.k))
        spaces = [self._spaces[part.model] for part in parts]
        moments = self._moments(parts, find, total)
        while True:
            hits = [
                self._store.search(space, part.vector[None], limit, find.where, KEYS, find.effort)[0]
                for part, space in zip(parts, spaces, strict=True)
            ]
            rows = {row["pk"]: row for some in hits for _, row in some}
            if not rows:
                return []
            keys = list(rows)
            scores = self._scores(parts, spaces, keys, hits)
            says = any(part.says for part in parts)
            lists = [
                List(own, part.weight, moment, not part.says and says)
                for own, part, moment in zip(scores, parts, moments, strict=True)
            ]
            since, added = (np.array([rows[key][name] for key in keys], np.int64) for name in ("since", "added"))
            order = np.empty(len(keys), np.int64)
            order[np.lexsort((added, since))] = np.arange(len(keys))
            fused = fuse(lists, find.fusion, find.rrf_k, order)
            items = [rows[key]["item"] for key in keys]
            best = group(fused, items, since, added, find.aggregate, find.temperature)
            ends = [some[-1][0] if len(some) == limit else None for some in hits]
            if whole or limit == MOST or any(end is None for end in ends):
                break
            bound = highest_unseen(lists, [end for end in ends if end is not None], find.fusion)
            if len(best) >= find.k and best[find.k - 1][1] > bound:
                break
            limit = min(MOST, FURTHER * limit)
        best = [one for one in best if find.min_score is None or one[1] >= find.min_score][: find.k]
        fields = [*FIELDS, *dict.fromkeys(space.field for space in spaces)] if find.vectors else FIELDS
        shown = {row["pk"]: row for row in self._store.rows("pk", [keys[place] for place, _ in best], fields)}
        return [
            Found(shown[keys[place]], score, self._cosines(parts, [float(own[place]) for own in scores]))
            for place, score in best
            if keys[place] in shown
        ]

    def _moments(self, parts: Sequence[Part], find: Find, total: int) -> list[Moments]:
        if find.fusion not in ("weighted", "dbsf"):
            return [Moments(0.0, 0.0, 0.0) for _ in parts]
        found = []
        for part in parts:
            space = self._spaces[part.model]
            first = self._store.search(space, part.vector[None], 1, "", ["pk"], find.effort)[0]
            highest = first[0][0] if first else 0.0
            found.append(self.sample.spread(space, total).moments(part.vector, highest))
        return found

    def _scores(
        self, parts: Sequence[Part], spaces: Sequence[Space], keys: Sequence[str], hits: Sequence[Any]
    ) -> list[NDArray[np.float64]]:
        """Returns the cosine of each candidate by each part; those that Milvus has not told are computed."""
        told = [{row["pk"]: score for score, row in some} for some in hits]
        for part, space, own in zip(parts, spaces, told, strict=True):
            if lacking := [key for key in keys if key not in own]:
                for row in self._store.rows("pk", lacking, ["pk", space.field]):
                    own[row["pk"]] = float(np.asarray(row[space.field], np.float32) @ part.vector)
        return [np.array([np.float32(own.get(key, -1.0)) for key in keys], np.float64) for own in told]

    @staticmethod
    def _cosines(parts: Sequence[Part], cosines: Sequence[float]) -> dict[str, float]:
        """Returns the cosine of each model: of pictures and texts the mean, as they count."""
        sums: dict[str, float] = {}
        weights: dict[str, float] = {}
        for part, cosine in zip(parts, cosines, strict=True):
            sums[part.model] = sums.get(part.model, 0.0) + part.weight * cosine
            weights[part.model] = weights.get(part.model, 0.0) + part.weight
        return {model: total / weights[model] for model, total in sums.items()}

    @staticmethod
    def _check_whole(find: Find, count: int) -> None:
        if count > MOST:
            option = f"fusion={find.fusion!r}" if find.aggregate == "max" else f"aggregate={find.aggregate!r}"
            raise UnsupportedError(
                f"{option} needs the scores of all references, and Milvus gives at most {MOST:,} of these {count:,}: "
                "narrow the search by where=, or leave the option out"
            )


def _is_low(score: float, find: Find) -> bool:
    return find.min_score is not None and bool(np.float32(score) < find.min_score)
