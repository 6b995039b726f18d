"""Fine-tunes a network on batches of photos of items, and keeps the weights that find held-out photos best."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ... import hub
from ..._core import ArgumentError
from ...log import logger
from ..augment import augment
from .export import Written, write_model
from .logs import Logs
from .losses import Loss, MetricLoss, Mining, check
from .net import FORMAT, EmbeddingNet, read, write
from .photos import Batches, Photos
from .stopping import Stopping
from .validation import Validation

#: How often a run writes its checkpoint within an epoch, in seconds.
CHECKPOINT_SECONDS = 120.0
#: The share of the rate with which a backbone learns that has learnt before.
BACKBONE_SHARE = 0.1

Progress = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Epoch:
    """The figures of an epoch.

    Attributes:
        epoch: Its number, from 1.
        loss: The mean loss of its batches.
        recall: Recall@1 of the held-out photos after it; NaN without them.
        best: The best recall so far, that of the untrained network included.
        rate: The learning rate of the projection at its end.
        seconds: How long it took, without the validation.
    """

    epoch: int
    loss: float
    recall: float
    best: float
    rate: float
    seconds: float


class TripletTrainer:
    """Fine-tunes an :class:`EmbeddingNet` on photos of items.

    Args:
        net: The network; by default that of the built-in model.
        device: ``"auto"``, the first NVIDIA GPU, or Apple's, or the processor; or a device of PyTorch.
        margin: That of triplets, of Euclidean distances between unit vectors.
        mining: The triplets that count: ``"batch-hard"``, ``"semi-hard"`` or ``"all"``; see :class:`MetricLoss`.
        loss: ``"triplet"``, ``"multi-similarity"``, ``"proxy-anchor"``, ``"infonce"`` or ``"circle"``.
        rate: The highest learning rate, of the projection and of what is new; backbones learn with a tenth of it.
        weight_decay: That of AdamW.
        ema: How slowly the mean of the weights follows them (exponential moving average), from 0 to below 1; that mean
            is validated and exported. 0 takes the weights as they are.
        amp: Whether to compute in 16 bits where that is safe (automatic mixed precision); by default on GPUs.
        strength: How much pictures are changed: their crop, light, blur, and what covers them; from 0 to 1.
        mirror: Whether half of the pictures are mirrored.
        seed: Of everything random.

    Attributes:
        net: The network with the weights of the last step.
        history: The figures of each epoch.
        resumed: How many of these epochs were in the checkpoint.

    Raises:
        ArgumentError: An option makes no sense, or there is no such device.
    """

    def __init__(
        self,
        net: EmbeddingNet | None = None,
        *,
        device: str = "auto",
        margin: float = 0.2,
        mining: Mining = "batch-hard",
        loss: Loss = "triplet",
        rate: float = 1e-3,
        weight_decay: float = 1e-4,
        ema: float = 0.9,
        amp: bool | None = None,
        strength: float = 0.7,
        mirror: bool = True,
        seed: int = 0,
    ) -> None:
        check(loss, margin, mining)
        if not rate > 0 or not 0 <= ema < 1 or not 0 <= strength <= 1:
            raise ArgumentError("rate is above 0, ema from 0 to below 1, strength from 0 to 1")
        self.device = _device(device)
        self.net = (EmbeddingNet(hub.DEFAULT_MODEL) if net is None else net).to(self.device)
        self.options = {
            "margin": margin,
            "mining": mining,
            "loss": loss,
            "rate": rate,
            "weight_decay": weight_decay,
            "ema": ema,
            "strength": strength,
            "mirror": mirror,
            "seed": seed,
        }
        self.amp = self.device.type == "cuda" if amp is None else amp
        self.history: list[Epoch] = []
        self.resumed = 0
        #: The recall of the network before training, and the best one; NaN without validation.
        self.before = self.best = math.nan
        self._mean = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(ema), use_buffers=True)
        self._best: dict[str, Tensor] | None = None
        self._photos: Photos | None = None
        self._data: dict[str, Any] = {}
        self._step = 0
        self._done = 0
        #: The losses of the epoch that is not over, and the seconds that it took before this run.
        self._losses: list[float] = []
        self._spent = 0.0

    def train(
        self,
        epochs: int = 10,
        train_loader: Iterable[tuple[Tensor, Tensor]] | None = None,
        *,
        validation: Validation | None = None,
        patience: int | None = 3,
        checkpoint: str | os.PathLike[str] | None = None,
        logs: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> list[Epoch]:
        """Trains for some epochs, or goes on where the checkpoint was written.

        Ctrl-C ends it between two batches, after the checkpoint is written. A run that was cut and goes on has the
        weights of one that was not, on the processor to the last bit.

        Args:
            epochs: How many in all; a checkpoint that has as many is only read.
            train_loader: Batches of pictures and the places of their items, of :func:`get_dataloader`, or another
                iterable of tensors. Pictures of uint8 are changed at random and prepared; those of float32 are taken as
                they are.
            validation: Held-out photos: the weights that find them best are kept. Without them the last ones are.
            patience: After so many epochs without a better recall, training ends; None never ends it early.
            checkpoint: The file by which the run goes on. It is written every two minutes and after each epoch.
            logs: The folder of ``log.csv``, and of scalars for TensorBoard if that is installed.
            progress: Called with (batches done, batches in all, the figures of the last epoch as text).

        Returns:
            The figures of each epoch, as :attr:`history`.

        Raises:
            ArgumentError: There is no loader, it has no batches or can be read only once, or the checkpoint is of
                another network, other options, other photos or other batches.
            PictureError: A photo cannot be decoded.
            KeyboardInterrupt: Ctrl-C was pressed.
        """
        if train_loader is None or isinstance(train_loader, (str, bytes, os.PathLike)):
            raise ArgumentError("train needs train_loader=get_dataloader(folder)")
        if iter(train_loader) is train_loader:
            raise ArgumentError("train_loader can be read only once, and each epoch reads it: give a list of batches")
        if epochs < 1 or (patience is not None and patience < 1):
            raise ArgumentError("give 1 or more epochs, and patience 1 or more or None")
        loader: Any = train_loader
        self._photos = getattr(getattr(loader, "dataset", None), "photos", None)
        if self._photos is not None:
            classes = len(self._photos.items)
        else:
            classes = 1 + max((int(labels.max()) for _, labels in loader), default=-1)
        if classes == 0:
            raise ArgumentError("train_loader has no batches: give at least one")
        self._data = _data(loader, self._photos, validation)
        lesson = MetricLoss(
            self.options["loss"],  # type: ignore[arg-type]
            margin=self.options["margin"],  # type: ignore[arg-type]
            mining=self.options["mining"],  # type: ignore[arg-type]
            classes=classes,
            dim=self.net.dim,
        ).to(self.device)
        optimizer = self._optimizer(lesson)
        first = (
            self._resume(checkpoint, lesson, optimizer) if checkpoint is not None and os.path.exists(checkpoint) else 0
        )
        if validation is not None and math.isnan(self.before):
            self.before = self.best = self._recall(validation)
            self._best = _copied(self._mean.module)
            logger.info("before training: recall@1 %.3f", self.before)
        journal = None if logs is None else Logs(logs, first=self._done)
        self.resumed = self._done
        total = len(loader) if hasattr(loader, "__len__") else 0
        try:
            with Stopping() as stopping:
                while self._done < epochs and not self._is_over(patience):
                    row = self._epoch(
                        loader, first, epochs, total, lesson, optimizer, validation, checkpoint, stopping, progress
                    )
                    first = 0
                    if journal is not None:
                        journal.add(asdict(row))
                    self._keep(checkpoint, lesson, optimizer, 0)
        finally:
            if journal is not None:
                journal.close()
        return self.history

    def _epoch(
        self,
        loader: Any,
        first: int,
        epochs: int,
        total: int,
        lesson: MetricLoss,
        optimizer: torch.optim.Optimizer,
        validation: Validation | None,
        checkpoint: str | os.PathLike[str] | None,
        stopping: Stopping,
        progress: Progress | None,
    ) -> Epoch:
        """Trains for the rest of an epoch behind the first batches, and validates."""
        self.net.train()
        lesson.train()
        sampler: Any = getattr(loader, "batch_sampler", None)
        skip = first
        if hasattr(sampler, "first"):
            sampler.epoch, sampler.first, skip = self._done, first, 0
        began = saved = time.monotonic()
        told = "" if not self.history else f"recall@1 {self.history[-1].recall:.3f}"
        for number, (pictures, labels) in enumerate(loader, 0 if skip else first):
            if number < skip:
                continue
            self._schedule(optimizer, self._done + number / max(total, 1), epochs)
            self._losses.append(self._learn(pictures, labels, lesson, optimizer, number))
            if progress is not None:
                progress(self._done * total + number + 1, epochs * total, told)
            now = time.monotonic()
            if stopping.asked or now - saved > CHECKPOINT_SECONDS:
                self._keep(checkpoint, lesson, optimizer, number + 1, self._spent + now - began)
                saved = now
            if stopping.asked:
                raise KeyboardInterrupt
        seconds = self._spent + time.monotonic() - began
        losses, self._losses, self._spent = self._losses, [], 0.0
        self._done += 1
        recall = math.nan if validation is None else self._recall(validation)
        if validation is not None and recall > self.best:
            self.best = recall
            self._best = _copied(self._mean.module)
        loss = sum(losses) / len(losses) if losses else math.nan
        row = Epoch(self._done, loss, recall, self.best, optimizer.param_groups[-1]["lr"], seconds)
        logger.info("epoch %d of %d: loss %.4f, recall@1 %.3f, %.0f s", row.epoch, epochs, loss, recall, seconds)
        self.history.append(row)
        return row

    def _learn(
        self, pictures: Tensor, labels: Tensor, lesson: MetricLoss, optimizer: torch.optim.Optimizer, number: int
    ) -> float:
        """Learns from one batch, and returns its loss."""
        optimizer.zero_grad(set_to_none=True)
        pixels = self._see(pictures, number).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            vectors = self.net(pixels)
        loss = lesson(vectors.float(), labels.to(self.device))
        loss.backward()
        parts = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        nn.utils.clip_grad_norm_(parts, 5.0)
        optimizer.step()
        self._mean.update_parameters(self.net)
        self._step += 1
        return float(loss.detach())

    def _see(self, pictures: Tensor, number: int) -> Tensor:
        """Returns pictures as the network takes them, changed at random if they are uint8."""
        if pictures.dtype != torch.uint8:
            return pictures
        seed = int(self.options["seed"]) * 1_000_003 + self._done * 10_007 + number  # type: ignore[call-overload]
        dice = torch.Generator().manual_seed(seed)
        rough = augment(
            pictures,
            self.net.side,
            dice,
            mirror=bool(self.options["mirror"]),
            strength=float(self.options["strength"]),  # type: ignore[arg-type]
        )
        return self.net.prepare(rough)

    def _optimizer(self, lesson: MetricLoss) -> torch.optim.Optimizer:
        rate, decay = self.options["rate"], self.options["weight_decay"]
        young = [*self.net.project.parameters(), *lesson.parameters()]
        mature = [one for one in self.net.backbone.parameters() if one.requires_grad]
        groups = [{"params": young, "share": 1.0}]
        groups = ([{"params": mature, "share": BACKBONE_SHARE}] if mature else []) + groups
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)  # type: ignore[arg-type]

    def _schedule(self, optimizer: torch.optim.Optimizer, done: float, epochs: int) -> None:
        """Sets the rates: they rise for 20 steps, and fall as a cosine over the epochs."""
        rise = min(1.0, (self._step + 1) / 20)
        for group in optimizer.param_groups:
            rate = float(self.options["rate"]) * group["share"] * rise  # type: ignore[arg-type]
            group["lr"] = rate * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * min(1.0, done / epochs))))

    def _recall(self, validation: Validation) -> float:
        mean = self._mean.module
        assert isinstance(mean, EmbeddingNet)
        return validation.recall(mean, self.device)

    def _is_over(self, patience: int | None) -> bool:
        if patience is None or len(self.history) < patience or math.isnan(self.best):
            return False
        best = max((self.before, 0), *((row.recall, row.epoch) for row in self.history), key=lambda pair: pair[0])
        return self._done - best[1] >= patience

    # Keeping

    def _keep(
        self,
        checkpoint: str | os.PathLike[str] | None,
        lesson: MetricLoss,
        optimizer: torch.optim.Optimizer,
        number: int,
        seconds: float = 0.0,
    ) -> None:
        """Writes the checkpoint of a run that goes on behind the first batches of an epoch, which took so long."""
        if checkpoint is None:
            return
        run = {
            "last": self.net.state_dict(),
            "mean": self._mean.state_dict(),
            "lesson": lesson.state_dict(),
            "optimizer": optimizer.state_dict(),
            "first": number,
            "losses": self._losses,
            "seconds": seconds,
            "data": self._data,
        }
        write({**self._state(), "run": run}, checkpoint)

    def _state(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "net": self.net.settings(),
            "weights": self.weights(),
            "options": self.options,
            "history": [asdict(row) for row in self.history],
            "before": self.before,
            "best": self.best,
            "kept": self._best,
            "step": self._step,
            "done": self._done,
        }

    def _resume(self, checkpoint: str | os.PathLike[str], lesson: MetricLoss, optimizer: torch.optim.Optimizer) -> int:
        """Takes everything from a checkpoint, and returns the number of batches that its epoch has done."""
        kept = read(checkpoint)
        run = kept.get("run", {})
        here = {"network": self.net.settings(), "options": self.options, **self._data}
        there = {"network": kept["net"], "options": kept.get("options"), **run.get("data", {})}
        other = [name for name in here if here[name] != there.get(name)]
        if other or not run:
            raise ArgumentError(
                f"{os.fspath(checkpoint)} is the checkpoint of another training"
                + (f", with other {' and '.join(other)}" if other else "")
                + ": name another file, or remove it to begin again"
            )
        self.net.load_state_dict(run["last"])
        self._mean.load_state_dict(run["mean"])
        lesson.load_state_dict(run["lesson"])
        optimizer.load_state_dict(run["optimizer"])
        self.history = [Epoch(**row) for row in kept["history"]]
        self.before, self.best, self._best = kept["before"], kept["best"], kept["kept"]
        self._step, self._done = kept["step"], kept["done"]
        self._losses, self._spent = list(run["losses"]), run["seconds"]
        return int(run["first"])

    def weights(self) -> dict[str, Tensor]:
        """Returns the weights that :meth:`save` and :meth:`export` write.

        With validation they are the best ones, which may be those before training; without it, the last mean.
        """
        return self._best if self._best is not None else _copied(self._mean.module)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the best weights, options and figures as a file of PyTorch; :meth:`EmbeddingNet.load` reads it.

        Raises:
            OSError: The file cannot be written.
        """
        write(self._state(), path)

    def export(
        self,
        out: str | os.PathLike[str],
        *,
        name: str | None = None,
        license: str | None = None,
        description: str | None = None,
    ) -> Written:
        """Writes a model directory, by which catalogs are made and evaluated.

        Args:
            out: The directory. It must not exist; it appears only if it is complete.
            name: The model's name; that of the directory by default.
            license: The license of the weights; by default that of the backbone.
            description: A line for ``model.json``.

        Returns:
            The directory, and how far its vectors differ from those of PyTorch.

        Raises:
            FileExistsError: ``out`` exists.
            ModelError: The vectors differ by more than 1e-4; nothing is written.
            OSError: The directory cannot be written.
        """
        net = EmbeddingNet(**self.net.settings(), pretrained=False)
        net.load_state_dict(self.weights())
        return write_model(
            net,
            out,
            name=name,
            license=license,
            description=description,
            photos=self._photos,
            digest=self._data.get("photos"),
            options=self.options,
            history=[asdict(row) for row in self.history],
            before=self.before,
        )


def _data(loader: Any, photos: Photos | None, validation: Validation | None) -> dict[str, Any]:
    """Returns what a training learns from and is validated by, by names that an error may have."""
    sampler = getattr(loader, "batch_sampler", None)
    held = [] if validation is None else [validation.queries, validation.references]
    return {
        "photos": None if photos is None else photos.digest(),
        # Those that it learns from are mostly the references, too: to read all of them takes a while.
        "held-out photos": [some.digest() for some in held if some is not None and some is not photos],
        "batches": sampler.settings() if isinstance(sampler, Batches) else None,
    }


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach().cpu().clone() for name, one in module.state_dict().items()}


def _device(name: Literal["auto"] | str) -> torch.device:
    """Returns a device of PyTorch.

    Raises:
        ArgumentError: It is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ArgumentError(f"device {name!r}: PyTorch cannot use it ({error}); give 'auto' or 'cpu'") from error
    return device
