"""Offers scikit-learn a transformer of pictures or texts into vectors, and a classifier by few examples.

Both hold names, numbers and arrays; a model is opened when it is first needed, and left out of pickles and clones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._core import ArgumentError, Encoder
from .hub import DEFAULT_MODEL, open_encoder
from .query import listed

try:
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp
    from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
    from sklearn.preprocessing import normalize
    from sklearn.utils import gen_batches
    from sklearn.utils.extmath import softmax
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "plushie_search.sklearn needs scikit-learn from 1.6 on; install it with: pip install 'plushie_search[sklearn]'"
    ) from error

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ._core import _Image as ImageLike

__all__ = ["PlushieClassifier", "PlushieEmbedder"]

#: The temperature if it cannot be fitted; the best is lower for plush toys, and higher for groceries.
TEMPERATURE = 1 / 20

#: The lowest and the highest temperature that fitting gives.
TEMPERATURES = (1e-3, 1e1)

#: The most examples that are left out in turn to fit the temperature.
MOST_LEFT_OUT = 2048

#: The most cosines that are held at a time.
MOST_COSINES = 1 << 22


class PlushieEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Encodes pictures or texts into unit vectors, one row for each; a transformer that needs no fitting.

    The model is opened when it is first needed. Pickles and clones hold its name and open it again.

    Args:
        model: A model's name, as :func:`plushie_search.models` lists them, or its directory.
        kind: ``"image"`` encodes pictures, ``"text"`` texts.
        threads: The most threads that compute; all cores by default.
        device: What computes, as :func:`plushie_search.open_encoder` explains.
        precision: The numbers to compute in: ``"fp32"``, ``"fp16"`` or ``"bf16"``; those of the model by default.
        max_batch: The most pictures, or texts of one length, that go through the model together, as
            :func:`plushie_search.open_encoder` explains.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        kind: Literal["image", "text"] = "image",
        threads: int | None = None,
        device: str = "cpu",
        precision: str | None = None,
        max_batch: int | None = None,
    ) -> None:
        self.model = model
        self.kind = kind
        self.threads = threads
        self.device = device
        self.precision = precision
        self.max_batch = max_batch

    def fit(self, X: object = None, y: object = None) -> PlushieEmbedder:
        """Checks the parameters, and learns nothing.

        Args:
            X: Ignored.
            y: Ignored.

        Raises:
            ArgumentError: ``kind`` is neither ``"image"`` nor ``"text"``, or ``model`` is no name and no directory.
        """
        if self.kind not in ("image", "text"):
            raise ArgumentError(f"kind {self.kind!r}: give 'image' or 'text'")
        if not isinstance(self.model, (str, os.PathLike)):
            raise ArgumentError(
                f"model is of type {type(self.model).__name__}: give the name of a model or a directory"
            )
        return self

    def transform(self, X: Sequence[ImageLike] | Sequence[str] | ArrayLike) -> NDArray[np.float32]:
        """Encodes pictures, or texts if ``kind`` is ``"text"``.

        Args:
            X: A list, a tuple, a column of a table, or an array of shape (n,), of paths, files' bytes, PIL images, and
                arrays as :meth:`plushie_search.Encoder.encode_images` takes them; an array of shape (n, height, width,
                channels); or a list or column of texts.

        Returns:
            float32 of shape (n, dimension of the model), rows of length 1; a table after ``set_output``.

        Raises:
            ArgumentError: A parameter makes no sense, ``X`` is no list of pictures or texts, or a text is empty.
            PictureError: A picture cannot be read; the message names the first one.
            FileError: A file cannot be read.
            ModelError: The model cannot be used, or has no side for pictures or texts.
            TypeError: A member of ``X`` is no picture or no text.
        """
        things = _things(X)
        if things is None:
            wanted = "pictures" if self.kind == "image" else "texts"
            raise ArgumentError(f"X is {_described(X)}: give a list of {wanted}")
        encoder = self.fit()._encoder()
        return encoder.encode_images(things) if self.kind == "image" else encoder.encode_texts(things)

    def _encoder(self) -> Encoder:
        """Returns the encoder of these parameters, opened at most once."""
        asked = self.get_params()
        opened: tuple[dict[str, Any], Encoder] | None = self.__dict__.get("_opened")
        if opened is None or opened[0] != asked:
            options = {name: value for name, value in asked.items() if name not in ("model", "kind")}
            self._opened = opened = (asked, open_encoder(self.model, cache=0, **options))
        return opened[1]

    @property
    def _n_features_out(self) -> int:
        return self.fit()._encoder().dim

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name != "_opened"}

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


class PlushieClassifier(ClassifierMixin, BaseEstimator):
    """Classifies vectors, or pictures, by few examples of each class.

    Vectors are scaled to length 1. The score of a class weighs two cosines of the vector: with the best of the class's
    examples, and with the class's prototype, which is the mean of its examples scaled to length 1. Probabilities are
    the softmax of scores / temperature. The temperature has the least log-loss of examples that are classified by all
    others (leave-one-out), with the targets (n + 1) / (n + 2) for n examples instead of 1 (Platt 1999), so that few
    examples give no certainty. If no class has two examples, it is 1/20.

    Args:
        embedder: A transformer that needs no fitting and encodes pictures, if those are given instead of vectors;
            ``PlushieEmbedder()`` by default.
        prototype_weight: How much the prototype counts, 0 to 1; the best example counts for the rest. 0.5 by default.

    Attributes:
        classes_: The classes, sorted; shape (classes,).
        vectors_: The examples' vectors, sorted by class, of length 1 (or 0 if they were all zeros); shape (n, d).
        targets_: The places in ``classes_`` of the examples; shape (n,).
        prototypes_: The classes' prototypes, all zeros for a class without examples; shape (classes, d).
        temperature_: The temperature of the probabilities.
        embedder_: The clone of the embedder that encodes pictures.
        n_features_in_: The dimension d of the vectors.
    """

    classes_: NDArray[Any]
    vectors_: NDArray[np.floating[Any]]
    targets_: NDArray[np.intp]
    prototypes_: NDArray[np.floating[Any]]
    temperature_: float
    embedder_: Any
    _sums: NDArray[np.floating[Any]]

    def __init__(self, embedder: Any = None, *, prototype_weight: float = 0.5) -> None:
        self.embedder = embedder
        self.prototype_weight = prototype_weight

    def fit(self, X: Any, y: ArrayLike) -> PlushieClassifier:
        """Learns classes from examples; what was learned before is forgotten.

        Args:
            X: Vectors of shape (n, d), float32 or float64; or n pictures, as :meth:`PlushieEmbedder.transform` takes
                them.
            y: The n labels, all strings or all numbers.

        Raises:
            ValueError: There are no examples, the numbers of examples and labels differ, a number is NaN or infinite,
                or labels cannot be told apart as classes.
            ArgumentError: ``prototype_weight`` is not between 0 and 1.
        """
        return self._learn(X, y, None, first=True)

    def partial_fit(self, X: Any, y: ArrayLike, classes: ArrayLike | None = None) -> PlushieClassifier:
        """Learns from more examples, of known or new classes.

        Learning in parts gives the same classifier as learning from all examples at once, in that order.

        Args:
            X: As in :meth:`fit`, with the same d as before.
            y: As in :meth:`fit`.
            classes: Further labels that may come; a class without examples has the lowest score, -1.

        Raises:
            ValueError: As in :meth:`fit`, or the vectors have another dimension than before, or labels are strings
                where they were numbers.
            ArgumentError: ``prototype_weight`` is not between 0 and 1.
        """
        return self._learn(X, y, classes, first=not hasattr(self, "classes_"))

    def decision_function(self, X: Any) -> NDArray[np.floating[Any]]:
        """Returns the scores of the classes, -1 to 1; of two classes, how much the second scores above the first.

        Args:
            X: Vectors of shape (n, d), or n pictures.

        Returns:
            Shape (n, classes) in the order of ``classes_``, or (n,) if there are two classes; float32 if the examples
            and ``X`` are.

        Raises:
            ValueError: The vectors have another dimension than the examples, or a number is NaN or infinite.
            sklearn.exceptions.NotFittedError: There are no examples.
        """
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Returns the probabilities of the classes; arguments and errors are those of :meth:`decision_function`.

        Returns:
            float64 of shape (n, classes) in the order of ``classes_``; rows sum to 1.
        """
        scores = self._scores(X).astype(np.float64)
        probabilities: NDArray[np.float64] = softmax(scores / self.temperature_, copy=False)
        return probabilities

    def predict(self, X: Any) -> NDArray[Any]:
        """Returns the class with the highest score, the first of equal ones.

        Arguments and errors are those of :meth:`decision_function`.

        Returns:
            Shape (n,), of the labels' dtype.
        """
        scores = self._scores(X)
        labels: NDArray[Any] = self.classes_[scores.argmax(axis=1)]
        return labels

    def _learn(self, X: Any, y: ArrayLike, classes: ArrayLike | None, *, first: bool) -> PlushieClassifier:
        """Adds examples to what was learned, or starts anew if ``first``."""
        weight = self.prototype_weight
        if not isinstance(weight, Real) or not 0 <= float(weight) <= 1:
            raise ArgumentError(f"prototype_weight must be between 0 and 1, got {weight!r}")
        embedder = self.embedder_ if not first else PlushieEmbedder() if self.embedder is None else clone(self.embedder)
        X, y = self._validated(embedder, X, reset=first, y=y)
        labels = _labels(y, *([] if classes is None else [classes]), *([] if first else [self.classes_]))
        units, targets = normalize(X), np.searchsorted(labels, y)
        if first:
            self.embedder_ = embedder
        else:
            units = np.concatenate([self.vectors_, units])
            targets = np.concatenate([np.searchsorted(labels, self.classes_)[self.targets_], targets])
        self.classes_ = labels
        order = np.argsort(targets, kind="stable")
        self.vectors_, self.targets_ = units[order], targets[order]
        self._sums = np.zeros((len(self.classes_), units.shape[1]), units.dtype)
        np.add.at(self._sums, self.targets_, self.vectors_)
        self.prototypes_ = normalize(self._sums)
        self.temperature_ = self._fitted_temperature()
        return self

    def _validated(self, embedder: Any, X: Any, **options: Any) -> Any:
        """Returns X, encoded if it holds pictures, as scikit-learn has checked it; with y if that is among the options.

        Raises:
            ValueError: As in :meth:`fit` and :meth:`decision_function`.
        """
        things = _things(X)
        X = X if things is None else np.asarray(embedder.transform(things))
        return validate_data(self, X, dtype=[np.float64, np.float32], **options)

    def _scores(self, X: Any) -> NDArray[np.floating[Any]]:
        """Returns the scores, of shape (n, classes)."""
        check_is_fitted(self)
        units = normalize(self._validated(self.embedder_, X, reset=False))
        return self._scored(units)

    def _scored(self, units: NDArray[Any], left_out: NDArray[np.intp] | None = None) -> NDArray[np.floating[Any]]:
        """Returns the scores of unit vectors, each with the example at its place in ``left_out`` hidden, if given."""
        present, starts = np.unique(self.targets_, return_index=True)
        scores = np.full((len(units), len(self.classes_)), -1, np.result_type(units, self.vectors_))
        for rows in gen_batches(len(units), max(1, MOST_COSINES // len(self.vectors_))):
            cosines = units[rows] @ self.vectors_.T
            centers = units[rows] @ self.prototypes_[present].T
            if left_out is not None:
                hidden, each = left_out[rows], np.arange(len(cosines))
                cosines[each, hidden] = -1
                own = self.targets_[hidden]
                rest = normalize(self._sums[own] - self.vectors_[hidden])
                centers[each, np.searchsorted(present, own)] = np.einsum("nd,nd->n", units[rows], rest)
            best = np.maximum.reduceat(cosines, starts, axis=1)
            scores[rows, present] = (1 - self.prototype_weight) * best + self.prototype_weight * centers
        return scores

    def _fitted_temperature(self) -> float:
        """Returns the temperature that fits the scores of examples by all others."""
        counts = np.bincount(self.targets_)
        usable = np.flatnonzero(counts[self.targets_] > 1)
        present = np.unique(self.targets_)
        if len(usable) == 0 or len(present) < 2:
            return TEMPERATURE
        if len(usable) > MOST_LEFT_OUT:
            usable = usable[np.linspace(0, len(usable) - 1, MOST_LEFT_OUT).astype(np.intp)]
        scores = self._scored(self.vectors_[usable], usable)[:, present].astype(np.float64)
        right = np.searchsorted(present, self.targets_[usable])
        wanted = np.full(scores.shape, 1 / (len(usable) + 2) / (len(present) - 1))
        wanted[np.arange(len(right)), right] = 1 - 1 / (len(usable) + 2)
        aimed = (wanted * scores).sum(axis=1)

        def loss(logarithm: float) -> float:
            sharpness = np.exp(-logarithm)
            return float(np.mean(logsumexp(sharpness * scores, axis=1) - sharpness * aimed))

        low, high = np.log(TEMPERATURES)
        return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def _things(X: Any) -> list[Any] | None:
    """Returns pictures or texts as a list; None of anything else, such as vectors."""
    X = listed(X)
    if isinstance(X, np.ndarray) and (X.ndim == 4 or (X.ndim == 1 and X.dtype.kind in "OTU")):
        return list(X)
    if not isinstance(X, (list, tuple)):
        return None
    first = X[0] if X else ""
    is_row = isinstance(first, (list, tuple, Real)) or getattr(first, "ndim", 2) < 2
    return list(X) if isinstance(first, str) or not is_row else None


def _labels(*columns: Any) -> NDArray[Any]:
    """Returns all labels, sorted and each once.

    Raises:
        ValueError: They are not all strings or all numbers, or fractions, which are no classes.
    """
    arrays = [np.asarray(column) for column in columns]
    kinds = {type(label) for column in arrays for label in column.tolist()}
    if not (all(issubclass(kind, str) for kind in kinds) or all(issubclass(kind, Real) for kind in kinds)):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ArgumentError(f"the labels are of the types {names}: give strings only, or numbers only")
    for column in arrays:
        # Of whole numbers it would warn that classes with few examples look like a regression.
        if column.dtype.kind == "f":
            check_classification_targets(column)
    return np.unique(np.concatenate(arrays))


def _described(X: Any) -> str:
    """Returns the shape of an array or table, or the type of anything else."""
    if hasattr(X, "shape"):
        return f"of shape {X.shape}"
    of = f" of {type(X[0]).__name__}" if isinstance(X, (list, tuple)) else ""
    return f"a {type(X).__name__}{of}"
