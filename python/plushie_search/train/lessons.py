"""Computes the losses of one batch of real photos or of rendered plushes."""

from __future__ import annotations

import torch
from pytorch_metric_learning.losses import SupConLoss
from torch import Tensor, nn
from torch.nn import functional

from ..plush import facts as sayable
from .towers import DIMENSION


class PhotoLesson(nn.Module):
    """The loss of real photos: the teacher's features, and equal vectors for two regions of one photo."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.teacher_head = nn.Linear(DIMENSION, features)
        self.contrast = SupConLoss(temperature=0.1)

    def forward(self, vectors: Tensor, teacher: Tensor, photos: Tensor) -> Tensor:
        """Returns the loss of vectors given the teacher's features; rows of equal `photos` are regions of one photo."""
        copied = 1.0 - functional.cosine_similarity(self.teacher_head(vectors), teacher).mean()
        same: Tensor = self.contrast(vectors, photos)
        return 4.0 * copied + 2.0 * geometry(vectors, teacher) + 0.3 * same


def geometry(vectors: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """Returns the divergence of the cosines within the batch from the teacher's, each row taken as a distribution."""
    unit = functional.normalize(vectors)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    ours = (unit @ unit.T / temperature).masked_fill(itself, -1e4).log_softmax(1)
    theirs = (teacher @ teacher.T / temperature).masked_fill(itself, -1e4).softmax(1)
    return functional.kl_div(ours, theirs, reduction="batchmean")


class PlushLesson(nn.Module):
    """The loss of rendered plushes: near vectors for views and texts of one plush, and readable facts."""

    def __init__(self) -> None:
        super().__init__()
        self.contrast = SupConLoss(temperature=0.07)
        self.words = SupConLoss(temperature=0.07)
        self.facts = nn.Linear(DIMENSION, len(sayable.FACTS))
        self.choices = [sayable.columns(name) for name in ("species", "color", "pattern", "second_color", "fur")]
        self.worn, self.worn_colors = sayable.columns("wears", 2), sayable.columns("wears", 3)

    def forward(
        self, images: Tensor, plushes: Tensor, clear: Tensor, facts: Tensor, texts: Tensor, holds: Tensor
    ) -> Tensor:
        """Returns the loss of vectors of views and texts.

        View i shows plush `plushes[i]`, wholly if `clear[i]`, with the facts `facts[i]`; text t is true of it if
        `holds[t, i]`.
        """
        seen = images[clear]
        holds = holds[:, clear]
        loss: Tensor = self.contrast(images, plushes)
        loss = loss + 1.5 * self._match(texts, seen, holds) + 0.5 * self._match(seen, texts, holds.T)
        return loss + 1.5 * self._read(self.facts(seen), facts[clear])

    def _read(self, guess: Tensor, truth: Tensor) -> Tensor:
        """Returns the loss of reading facts off the vectors: attributes, accessories, and their colors."""
        loss = guess.new_zeros(())
        for columns in self.choices:
            told = truth[:, columns].any(1)
            loss = loss + functional.cross_entropy(guess[told, columns], truth[told, columns].argmax(1))
        worn = truth[:, self.worn]
        loss = (
            loss
            + functional.binary_cross_entropy_with_logits(guess[:, self.worn], worn, reduction="none").sum(1).mean()
        )
        colored = worn > 0
        shape = (len(truth), colored.shape[1], -1)
        return loss + functional.cross_entropy(
            guess[:, self.worn_colors].reshape(shape)[colored],
            truth[:, self.worn_colors].reshape(shape)[colored].argmax(1),
        )

    def _match(self, anchors: Tensor, others: Tensor, holds: Tensor) -> Tensor:
        useful = (holds.any(1) & ~holds.all(1))[:, None]
        pairs = (*torch.nonzero(holds & useful, as_tuple=True), *torch.nonzero(~holds & useful, as_tuple=True))
        loss: Tensor = self.words(anchors, indices_tuple=pairs, ref_emb=others)
        return loss
