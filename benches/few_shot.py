"""How often the right class is found from few example pictures, beside scikit-learn's classifiers of the same vectors.

    python benches/few_shot.py EXAMPLES QUERIES [--model plushie-mini] [--shots 1 3 5] [--draws 10]

Pictures stand in folders that are named for their class: EXAMPLES/.../<class>/<picture>. Each draw takes as many
examples of each class at random. Prints the mean share of right answers and its standard error over the draws, and the
mean log-loss of the probabilities.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from plushie_search.sklearn import PlushieClassifier, PlushieEmbedder

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
CLASSIFIERS = {
    "PlushieClassifier": PlushieClassifier(),
    "best example only": PlushieClassifier(prototype_weight=0),
    "prototype only": PlushieClassifier(prototype_weight=1),
    "NearestCentroid": NearestCentroid(),
    "KNeighborsClassifier(1)": KNeighborsClassifier(1),
    "LogisticRegression()": LogisticRegression(max_iter=1000),
    "LogisticRegression(C=10)": LogisticRegression(C=10, max_iter=1000),
}
#: Those whose probabilities are 0 and 1, or undefined for one example of each class.
WITHOUT_PROBABILITIES = (KNeighborsClassifier, NearestCentroid)


def encoded(folder: Path, model: str) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Returns the vectors and the classes of all pictures below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    return PlushieEmbedder(model).transform(paths), np.array([path.parent.name for path in paths])


def drawn(classes: NDArray[np.str_], shots: int, chance: np.random.Generator) -> NDArray[np.intp]:
    """Returns the places of so many pictures of each class, or of all that it has."""
    rows = [chance.permutation(np.flatnonzero(classes == one))[:shots] for one in np.unique(classes)]
    return np.concatenate(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--model", default="plushie-mini")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--draws", type=int, default=10)
    options = parser.parse_args()
    # One example of each of many classes looks like a regression to scikit-learn, and has no variance.
    warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
    warnings.filterwarnings("ignore", "invalid value encountered in divide", RuntimeWarning)
    X, y = encoded(options.examples, options.model)
    queries, truth = encoded(options.queries, options.model)
    kept = np.isin(truth, y)
    queries, truth = queries[kept], truth[kept]
    print(f"{len(truth)} queries, {len(np.unique(y))} classes, model {options.model}, {options.draws} draws")
    print("| examples of each class | " + " | ".join(f"{one}: right | log-loss" for one in options.shots) + " |")
    print("| --- |" + " --- | --- |" * len(options.shots))
    for name, classifier in CLASSIFIERS.items():
        cells = []
        for shots in options.shots:
            right, losses = [], []
            for draw in range(options.draws):
                rows = drawn(y, shots, np.random.default_rng(draw))
                model = classifier.fit(X[rows], y[rows])
                right.append(model.score(queries, truth))
                if not isinstance(model, WITHOUT_PROBABILITIES):
                    losses.append(log_loss(truth, model.predict_proba(queries), labels=model.classes_))
            error = np.std(right) / np.sqrt(max(1, options.draws - 1))
            cells += [f"{np.mean(right):.3f} ± {error:.3f}", f"{np.mean(losses):.2f}" if losses else "-"]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
