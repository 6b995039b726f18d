"""Scores pictures by the examples and the names of classes, and learns by leaving examples out what scores mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

#: The most examples that are left out in turn, and pictures that are compared at a time.
SAMPLE, TOGETHER = 1000, 256

#: The shares of the best example in the score of a class, beside that of the mean of all, and those of the examples
#: beside the name: of each the one that is right most surely is chosen.
BESTS, WEIGHTS = (0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)

#: How sharply scores, in standard deviations of those of wrong classes, become probabilities: those that are tried, and
#: the one that is taken if no example can be left out; measured, as the two below, by `benches/classify.py`.
SHARPNESSES, USUAL = tuple(np.geomspace(0.1, 30, 24)), 2.0

#: How far a single example lifts the score of its class above those of wrong ones, in their standard deviations.
STRENGTH = 1.5

#: The standard deviation of scores of wrong classes if there is none to tell it.
SPREAD = 0.1

#: How much larger the loss of all examples together may be for a lower sharpness.
SLACK = 0.5

#: The strength of the pull to 0 in the logistic regression.
RIDGE = 1e-2


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of classes, in the order of the classes, and in each class in the order of the items.

    Attributes:
        vectors: Unit vectors: float32 of shape (n, dim).
        classes: The number of each example's class: int64 of shape (n,).
        items: The number of each example's item.
        count: The number of classes, of which some may have no example.
    """

    vectors: NDArray[np.float32]
    classes: NDArray[np.int64]
    items: NDArray[np.int64]
    count: int

    def counts(self) -> NDArray[np.int64]:
        """Returns the number of examples of each class."""
        return np.bincount(self.classes, minlength=self.count)

    def sums(self) -> Array:
        """Returns the sum of the vectors of each class: shape (classes, dim)."""
        sums = np.zeros((self.count, self.vectors.shape[1]))
        np.add.at(sums, self.classes, self.vectors)
        return sums

    def scores(
        self, queries: NDArray[np.float32], hidden: list[NDArray[np.int64]] | None = None
    ) -> tuple[Array, Array]:
        """Returns for each query and class the cosine with the best example, and with the mean of all examples.

        Args:
            queries: Unit vectors of shape (m, dim).
            hidden: The rows of examples that each query is not compared with, all of them of one class.

        Returns:
            Two arrays of shape (m, classes), with -inf where a class has no example.
        """
        best = np.full((len(queries), self.count), -np.inf)
        mean = np.full((len(queries), self.count), -np.inf)
        sums, counts = self.sums(), self.counts()
        filled = np.flatnonzero(counts)
        if not len(filled):
            return best, mean
        starts = (np.cumsum(counts) - counts)[filled]
        centers = _unit(sums[filled])
        for start in range(0, len(queries), TOGETHER):
            part = slice(start, min(start + TOGETHER, len(queries)))
            cosines = queries[part] @ self.vectors.T
            mean[part, filled] = queries[part] @ centers.T
            for place, rows in enumerate([] if hidden is None else hidden[part]):
                cosines[place, rows] = -np.inf
                own = int(self.classes[rows[0]])
                left = counts[own] - len(rows)
                center = _unit(sums[own] - self.vectors[rows].sum(axis=0, dtype=np.float64))
                mean[start + place, own] = queries[start + place] @ center if left else -np.inf
            best[part, filled] = np.maximum.reduceat(cosines, starts, axis=1)
        return best, mean


@dataclass(frozen=True, slots=True)
class Fit:
    """What was learned.

    Attributes:
        best: The share of the best example in the score of a class.
        image: Mean and standard deviation of the scores of examples of wrong classes.
        text: The same of the names of wrong classes.
        weight: The share of the examples in a class that has both.
        sharpness: How sharply scores become probabilities.
        known: The factors of the best score and its lead, and a constant: the logit that one of the classes is right.
            None if it could not be learned.
    """

    best: float
    image: tuple[float, float]
    text: tuple[float, float]
    weight: float
    sharpness: float
    known: tuple[float, float, float] | None

    def blended(self, best: Array, mean: Array, text: Array) -> Array:
        """Returns the scores of shape (m, classes), in standard deviations; -inf where a class has none."""
        examples = (_mixed(best, mean, self.best) - self.image[0]) / self.image[1]
        names = (text - self.text[0]) / self.text[1]
        seen, read = np.isfinite(examples), np.isfinite(names)
        both = self.weight * np.where(seen, examples, 0) + (1 - self.weight) * np.where(read, names, 0)
        return np.where(seen & read, both, np.where(seen, examples, names))

    def shares(self, scores: Array) -> tuple[Array, Array]:
        """Returns the probabilities of shape (m, classes), and that of none of the classes of shape (m,)."""
        inside = softmax(scores * self.sharpness)
        if self.known is None:
            return inside, np.zeros(len(scores))
        of_best, of_lead, constant = self.known
        first, lead = _leads(scores)
        known = 1 / (1 + np.exp(-(of_best * first + of_lead * lead + constant).clip(-60, 60)))
        return inside * known[:, None], 1 - known


def learn(examples: Examples, text: Array | None, given: Array, weight: float | None) -> Fit:
    """Learns from examples that are left out in turn, each with its whole item if its class has others.

    Args:
        examples: The examples.
        text: For each example and class the cosine with the name, of shape (n, classes), -inf where it cannot be read;
            None if names do not count.
        given: Cosines of pictures with the names: they stand for wrong classes if there is no example.
        weight: The share of the examples beside the names; None learns it.
    """
    count = len(examples.vectors)
    rows = np.unique(np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(np.int64))
    best, mean = examples.scores(examples.vectors[rows], [_left_out(examples, row) for row in rows.tolist()])
    names = np.full(best.shape, -np.inf) if text is None else text[rows]
    right = np.arange(examples.count) == examples.classes[rows][:, None]
    tested = np.isfinite((names if weight == 0 else best)[right])

    def of_share(share: float) -> Fit:
        image = _spread(_mixed(best, mean, share)[~right])
        read = names[~right] if np.isfinite(names[~right]).any() else given
        spread = _spread(read)
        start = 1.0 if text is None else _usual_weight(names[right], spread) if weight is None else weight
        return Fit(share, image, spread, start, USUAL, None)

    def loss(fit: Fit) -> float:
        return _sharpness(fit.blended(best, mean, names)[tested], right[tested])[0]

    if not tested.any():
        return of_share(0.5)
    fit = min(map(of_share, BESTS), key=lambda one: loss(replace(one, weight=1.0 if weight is None else weight)))
    if text is not None and weight is None:
        fit = min((replace(fit, weight=one) for one in WEIGHTS), key=loss)
    scores = fit.blended(best, mean, names)
    _, sharpness = _sharpness(scores[tested], right[tested])
    return replace(fit, sharpness=sharpness, known=_known(scores[tested], np.where(right, -np.inf, scores)))


def softmax(scores: Array) -> Array:
    """Returns probabilities of shape (m, classes); a score of -inf has none."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    found: Array = powers / powers.sum(axis=1, keepdims=True)
    return found


def _left_out(examples: Examples, row: int) -> NDArray[np.int64]:
    """Returns the rows of an example's item, or the row itself if its class has no other item."""
    same_class = examples.classes == examples.classes[row]
    same_item = same_class & (examples.items == examples.items[row])
    return np.flatnonzero(same_item) if same_item.sum() < same_class.sum() else np.array([row])


def _usual_weight(own: Array, spread: tuple[float, float]) -> float:
    """Returns the share of examples that cannot be left out beside names whose strength they tell.

    Independent scores of one spread are weighed by how far they lift the right class (Fisher's discriminant), by the
    square of that here, since the strength of the examples is but a usual one.

    Args:
        own: The cosines of examples with the names of their own classes.
        spread: Mean and standard deviation of those with other names.
    """
    read = own[np.isfinite(own)]
    strength = max(0.0, float((read.mean() - spread[0]) / spread[1])) if len(read) else 0.0
    return STRENGTH**2 / (STRENGTH**2 + strength**2)


def _mixed(best: Array, mean: Array, share: float) -> Array:
    """Returns the scores of classes by their examples; -inf where there is none."""
    there = np.isfinite(best)
    return np.where(there, share * np.where(there, best, 0) + (1 - share) * np.where(there, mean, 0), -np.inf)


def _spread(scores: Array) -> tuple[float, float]:
    """Returns the mean and the standard deviation of the scores that there are."""
    scores = scores[np.isfinite(scores)]
    if len(scores) < 2:
        return 0.0, SPREAD
    return float(scores.mean()), max(float(scores.std()), 1e-3)


def _sharpness(scores: Array, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the least loss of the probabilities of the right classes, which count alike, and the sharpness.

    It is the lowest whose loss is hardly larger: if all examples are right, any higher one has a lower loss.
    """
    sizes = right.sum(axis=0)
    weights = 1 / sizes[np.argmax(right, axis=1)]
    losses = [
        float(np.average(-np.log(softmax(scores * sharpness)[right].clip(1e-12)), weights=weights))
        for sharpness in SHARPNESSES
    ]
    least = min(losses)
    enough = next(place for place, loss in enumerate(losses) if loss <= least + SLACK / len(scores))
    return least, float(SHARPNESSES[enough])


def _leads(scores: Array) -> tuple[Array, Array]:
    """Returns the best score of each row, and its lead over the next one; 0 if there is no other."""
    if scores.shape[1] < 2:
        return scores[:, 0], np.zeros(len(scores))
    two = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
    there = np.isfinite(two[:, 0])
    return two[:, 1], np.where(there, two[:, 1] - np.where(there, two[:, 0], 0), 0.0)


def _known(inside: Array, outside: Array) -> tuple[float, float, float] | None:
    """Learns to tell scores of pictures of the classes from those of others, which are as likely (logistic regression).

    The lead does not count where others have no second class: it would give them away.
    """
    outside = outside[np.isfinite(outside).any(axis=1)]
    if not len(outside):
        return None
    has_lead = bool((np.isfinite(outside).sum(axis=1) > 1).all())
    columns = [np.concatenate(pair) for pair in zip(_leads(inside), _leads(outside), strict=True)]
    features = np.stack(columns if has_lead else columns[:1], axis=1)
    middle, scale = features.mean(axis=0), features.std(axis=0).clip(1e-6)
    design = np.concatenate([(features - middle) / scale, np.ones((len(features), 1))], axis=1)
    target = np.arange(len(design)) < len(inside)
    weights = np.where(target, 0.5 / len(inside), 0.5 / len(outside))
    pull = np.diag([RIDGE] * features.shape[1] + [0.0])
    factors = np.zeros(design.shape[1])
    for _ in range(30):
        likely = 1 / (1 + np.exp(-(design @ factors).clip(-60, 60)))
        slope = design.T @ (weights * (likely - target)) + pull @ factors
        curve = (design * (weights * likely * (1 - likely))[:, None]).T @ design + pull + 1e-9 * np.eye(len(factors))
        factors = factors - np.linalg.solve(curve, slope)
    raw = factors[:-1] / scale
    constant = float(factors[-1] - raw @ middle)
    return float(raw[0]), float(raw[1]) if has_lead else 0.0, constant


def _unit(rows: Array) -> Array:
    """Returns rows, or one, at length 1."""
    found: Array = rows / np.linalg.norm(rows, axis=-1, keepdims=True).clip(1e-12)
    return found
