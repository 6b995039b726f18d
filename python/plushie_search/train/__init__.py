"""Trains networks: :class:`TripletTrainer` on photos of one's own, mini.py the built-in model.

Needs the extra ``train``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tune.net import EmbeddingNet
    from .tune.photos import Photos, get_dataloader
    from .tune.trainer import TripletTrainer
    from .tune.validation import Validation

__all__ = ["EmbeddingNet", "Photos", "TripletTrainer", "Validation", "get_dataloader"]


def __getattr__(name: str) -> Any:
    # The training of the built-in model's words needs no PyTorch.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from .tune import net, photos, trainer, validation
    except ImportError as error:
        raise ImportError(
            f"plushie_search.train needs {error.name}; install it with: pip install 'plushie_search[train]'"
        ) from error
    for module in (net, photos, trainer, validation):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)
