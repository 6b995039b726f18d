"""A picture network that is fine-tuned: a backbone, a projection, and vectors of length 1."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ... import hub
from ..._core import ArgumentError, Encoder, ModelError
from ...paths import expanded
from .graph import Graph

#: The prefix of backbones of timm.
TIMM = "timm:"
#: The format of checkpoints that `save` writes.
FORMAT = 1
#: How pictures are prepared for backbones of timm, if these do not say it.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EmbeddingNet(nn.Module):
    """Pixels (n, 3, h, w), prepared as :attr:`preprocess` says, to unit vectors (n, dim).

    The backbone of a model directory begins with the vectors that it has, and the projection with the identity, so that
    training begins with the model as it is. With another ``dim`` it begins with random perpendicular rows.

    Args:
        backbone: A model that :func:`plushie_search.models` lists, or a model directory, whose picture network is
            convolutional; or ``"timm:NAME"``, such as ``"timm:resnet18"``, ``"timm:resnet50"``,
            ``"timm:mobilenetv3_large_100"`` or ``"timm:vit_small_patch16_224"``, which needs timm. The built-in model
            by default.
        dim: The dimension of the vectors; by default that of the backbone.
        pretrained: Whether a backbone of timm begins with its published weights, which are downloaded, or at random.
        side: The height and width of the pictures in pixels; by default those of the model, or 224.

    Raises:
        ArgumentError: There is no such model, ``dim`` or ``side`` is not above 0, or the backbone takes no pictures of
            that size.
        ModelError: The picture network has operators that training does not know, the model cannot be used, or weights
            cannot be downloaded.
        ImportError: timm is not installed.

    Attributes:
        preprocess: How pictures are prepared, as in a ``model.json``.
        dim: The dimension of the vectors.
        side: The height and width of the pictures in pixels.
    """

    def __init__(
        self,
        backbone: str | os.PathLike[str] = hub.DEFAULT_MODEL,
        *,
        dim: int | None = None,
        pretrained: bool = True,
        side: int | None = None,
    ) -> None:
        super().__init__()
        for option, number in (("dim", dim), ("side", side)):
            if number is not None and number < 1:
                raise ArgumentError(f"{option}={number}: give 1 or more")
        self.backbone_name = os.fspath(backbone)
        self.preprocess: dict[str, Any]
        self.license: str | None = None
        if self.backbone_name.startswith(TIMM):
            self.backbone, width = self._timm(pretrained=pretrained, side=side)
        else:
            self.backbone, width = self._directory()
        if side is not None:
            self.preprocess = {**self.preprocess, "size": [side, side]}
        self.side = int(self.preprocess["size"][0])
        self.dim = width if dim is None else dim
        self.project = nn.Linear(width, self.dim)
        with torch.no_grad():
            self.project.bias.zero_()
            if self.dim == width:
                nn.init.eye_(self.project.weight)
            else:
                nn.init.orthogonal_(self.project.weight)

    def _directory(self) -> tuple[nn.Module, int]:
        encoder: Encoder = hub.open_encoder(self.backbone_name, threads=1)
        manifest = json.loads(encoder.manifest)
        if "image" not in encoder.outputs or encoder.directory is None:
            raise ArgumentError(f"model {encoder.name} has no picture network to train: name another one")
        file, output = encoder.outputs["image"]
        self.preprocess = dict(manifest["image"]["preprocess"])
        self.license = manifest.get("license")
        return Graph(Path(encoder.directory) / file, output), encoder.dim

    def _timm(self, *, pretrained: bool, side: int | None) -> tuple[nn.Module, int]:
        try:
            import timm
        except ImportError as error:
            raise ImportError("backbones of timm need timm; install it with: pip install timm") from error
        name = self.backbone_name.removeprefix(TIMM)
        if not timm.is_model(name):
            raise ArgumentError(f"timm has no model {name!r}: timm.list_models() lists those that it has")
        try:
            network = _created(timm, name, pretrained=pretrained, side=side)
        except Exception as error:  # of whatever downloads
            if not pretrained:
                raise
            raise ModelError(
                f"backbone {self.backbone_name}: its published weights cannot be had ({error}): check the connection "
                "or the mirror that HF_ENDPOINT names, or begin at random with pretrained=False (--no-pretrained)"
            ) from error
        told = network.pretrained_cfg or {}
        length = side or told.get("input_size", (3, 224, 224))[-1]
        self.preprocess = {
            "resize": "squash",
            "size": [length, length],
            "filter": "bicubic",
            "mean": list(told.get("mean", MEAN)),
            "std": list(told.get("std", STD)),
            "fill": [255, 255, 255],
            "channels": "rgb",
        }
        self.license = told.get("license")
        try:
            with torch.no_grad():
                features = network.eval()(torch.zeros(1, 3, length, length))
        except (AssertionError, RuntimeError) as error:
            raise ArgumentError(
                f"backbone {self.backbone_name}: it takes no pictures of {length} x {length} pixels ({error}): give "
                "another side"
            ) from error
        return network.train(), features.flatten(1).shape[1]

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns unit vectors (n, dim) of prepared pixels (n, 3, h, w)."""
        vectors = self.project(self.backbone(pixels).flatten(1).float())
        # As functional.normalize, which becomes operators that no backbone may have.
        return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)

    def prepare(self, pixels: Tensor) -> Tensor:
        """Returns pixels 0 to 255 (n, 3, h, w) as the network takes them: float32, scaled, in its order of colors."""
        mean, std = (torch.tensor(self.preprocess[name], device=pixels.device) for name in ("mean", "std"))
        x = pixels.float() / 255.0
        if self.preprocess.get("channels", "rgb") == "bgr":
            x = x.flip(1)
        return (x - mean[:, None, None]) / std[:, None, None]

    def settings(self) -> dict[str, Any]:
        """Returns the arguments by which the same network is made again."""
        return {"backbone": self.backbone_name, "dim": self.dim, "side": self.side}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the weights as a file of PyTorch, whole or not at all; :meth:`load` reads it.

        Raises:
            OSError: The file cannot be written.
        """
        write({"format": FORMAT, "net": self.settings(), "weights": self.state_dict()}, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EmbeddingNet:
        """Reads a network that :meth:`save` or :meth:`TripletTrainer.save` has written.

        Raises:
            OSError: The file cannot be read.
            ArgumentError: It was written by something else, or is a directory.
        """
        kept = read(path)
        net = cls(**kept["net"], pretrained=False)
        net.load_state_dict(kept["weights"])
        return net


def _created(timm: Any, name: str, *, pretrained: bool, side: int | None) -> nn.Module:
    """Makes a network of timm for pictures of a size, which those with positions must know."""
    options = {"pretrained": pretrained, "num_classes": 0}
    network: nn.Module
    try:
        network = timm.create_model(name, **options, **({} if side is None else {"img_size": side}))
    except TypeError:
        # Those that take pictures of any size know no such option.
        network = timm.create_model(name, **options)
    return network


def write(state: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a checkpoint, whole or not at all."""
    file = Path(expanded(path))
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        torch.save(state, draft)
        os.replace(draft, file)
    finally:
        draft.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a checkpoint.

    Raises:
        OSError: The file cannot be read.
        ArgumentError: It was written by something else.
    """
    file = Path(expanded(path))
    try:
        kept = torch.load(file, map_location="cpu", weights_only=True)
    except IsADirectoryError as error:
        raise ArgumentError(
            f"{file} is a directory: name the file that save has written, or give EmbeddingNet a model directory"
        ) from error
    except OSError:
        raise
    except Exception as error:  # of zip files and pickles, which have errors of their own
        raise ArgumentError(f"{file} is no checkpoint of a training: name a file that save has written") from error
    if not isinstance(kept, dict) or kept.get("format") != FORMAT or "net" not in kept:
        raise ArgumentError(f"{file} is no checkpoint of a training: name a file that save has written")
    return kept
