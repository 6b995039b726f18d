"""The losses of pytorch-metric-learning by their names, and which triplets of a batch count."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytorch_metric_learning import losses, miners
from torch import Tensor, nn

from ..._core import ArgumentError

Loss: TypeAlias = Literal["triplet", "multi-similarity", "proxy-anchor", "infonce", "circle"]
Mining: TypeAlias = Literal["batch-hard", "semi-hard", "all"]

LOSSES: tuple[Loss, ...] = ("triplet", "multi-similarity", "proxy-anchor", "infonce", "circle")
MININGS: tuple[Mining, ...] = ("batch-hard", "semi-hard", "all")


class MetricLoss(nn.Module):
    """A loss of unit vectors and labels.

    Args:
        loss: ``"triplet"`` (the mean of max(0, d(a, p) - d(a, n) + margin) over triplets above 0, with Euclidean
            distances of unit vectors), ``"multi-similarity"`` (Wang et al. 2019), ``"proxy-anchor"`` (Kim et al. 2020),
            ``"infonce"`` (with the temperature 0.07) or ``"circle"`` (Sun et al. 2020).
        margin: That of triplets.
        mining: The triplets that count: ``"batch-hard"``, for each photo its farthest of the same item and its nearest
            of another one; ``"semi-hard"``, those whose negative is farther than the positive, by less than the margin;
            ``"all"``. Of ``"triplet"`` alone; other losses weigh all pairs of a batch.
        classes: The number of items, for ``"proxy-anchor"``, which learns a proxy of each.
        dim: The dimension of the vectors, for the same.

    Raises:
        ArgumentError: There is no such loss or mining, or the margin is not above 0.
    """

    def __init__(self, loss: Loss, *, margin: float, mining: Mining, classes: int, dim: int) -> None:
        super().__init__()
        check(loss, margin, mining)
        self._miner = None
        if loss == "triplet":
            self._loss: nn.Module = losses.TripletMarginLoss(margin=margin)
            if mining == "batch-hard":
                self._miner = miners.BatchHardMiner()
            elif mining == "semi-hard":
                self._miner = miners.TripletMarginMiner(margin=margin, type_of_triplets="semihard")
        elif loss == "multi-similarity":
            self._loss = losses.MultiSimilarityLoss()
        elif loss == "proxy-anchor":
            self._loss = losses.ProxyAnchorLoss(num_classes=classes, embedding_size=dim)
        elif loss == "infonce":
            self._loss = losses.NTXentLoss(temperature=0.07)
        else:
            self._loss = losses.CircleLoss()

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """Returns the loss of vectors (n, dim) of items `labels` (n,)."""
        triplets = None if self._miner is None else self._miner(vectors, labels)
        loss: Tensor = self._loss(vectors, labels, triplets)
        return loss


def check(loss: str, margin: float, mining: str) -> None:
    """Checks options.

    Raises:
        ArgumentError: There is no such loss or mining, or the margin is not above 0.
    """
    if loss not in LOSSES:
        raise ArgumentError(f"loss {loss!r}: give one of {', '.join(LOSSES)}")
    if mining not in MININGS:
        raise ArgumentError(f"mining {mining!r}: give one of {', '.join(MININGS)}")
    if not margin > 0:
        raise ArgumentError(f"margin {margin}: give a number above 0")
