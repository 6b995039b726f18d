"""Recall@1 of held-out photos."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .net import EmbeddingNet
from .photos import Photos, in_order


@dataclass(frozen=True)
class Validation:
    """Photos that are looked up, and those that they are looked up in.

    Attributes:
        queries: The photos that are looked up.
        references: The photos among which they are looked up; None for the queries themselves, each without itself.
    """

    queries: Photos
    references: Photos | None = None

    def recall(self, net: EmbeddingNet, device: torch.device) -> float:
        """Returns the share of the queries whose nearest photo is of the same item.

        Queries of items that have no other photo among the references are left out.
        """
        vectors, labels = encode(net, self.queries, device)
        if self.references is None:
            return recall_at_1(vectors, labels)
        others, owners = encode(net, self.references, device)
        return recall_at_1(vectors, labels, others, owners)


@torch.no_grad()
def encode(net: EmbeddingNet, photos: Photos, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the unit vectors of photos (n, dim) and the places of their items (n,), on the CPU."""
    was = net.training
    net.eval()
    parts = [(net(net.prepare(some.to(device))).cpu(), labels) for some, labels in in_order(photos, net)]
    net.train(was)
    return torch.cat([vectors for vectors, _ in parts]), torch.cat([labels for _, labels in parts])


def recall_at_1(
    vectors: Tensor, labels: Tensor, references: Tensor | None = None, owners: Tensor | None = None
) -> float:
    """Returns the share of unit vectors (n, dim) whose nearest reference (m, dim) has the same label; NaN of none.

    Without references each vector is looked up among the others. Vectors whose label no reference has do not count.
    """
    cosines = vectors @ (vectors if references is None else references).T
    held = labels if owners is None else owners
    same = labels[:, None] == held[None, :]
    if references is None:
        cosines.fill_diagonal_(-2.0)
        same.fill_diagonal_(False)
    known = same.any(1)
    if not known.any():
        return float("nan")
    nearest = cosines.argmax(1)
    return float((held[nearest] == labels)[known].float().mean())
