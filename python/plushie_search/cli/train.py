"""The command `plushie-search train`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from .._core import ArgumentError
from ..hub import DEFAULT_MODEL
from ..paths import expanded
from ..show.progress import shown
from .common import DONE, Commands, say
from .options import positive


def add_command(commands: Commands) -> None:
    """Adds the command."""
    train = commands.add("train", run, "fine-tune a model on photos of your own items")
    train.add_argument("photos", metavar="PHOTOS", help="a folder of <item>/<picture>")
    train.add_argument("--out", required=True, metavar="DIRECTORY", help="the model directory to make")
    train.add_argument("--backbone", default=DEFAULT_MODEL, metavar="MODEL", help="a model, or timm:NAME (%(default)s)")
    train.add_argument("--epochs", type=positive, default=10, metavar="N", help="epochs in all (%(default)s)")
    train.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (%(default)s)")
    train.add_argument(
        "--loss",
        default="triplet",
        choices=("triplet", "multi-similarity", "proxy-anchor", "infonce", "circle"),
        help="the loss (%(default)s)",
    )
    train.add_argument(
        "--mining", default="batch-hard", choices=("batch-hard", "semi-hard", "all"), help="of triplets (%(default)s)"
    )
    train.add_argument("--margin", type=float, default=0.2, help="of triplets (%(default)s)")
    train.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (%(default)s)")
    train.add_argument("--items", type=positive, default=16, metavar="P", help="items of a batch (%(default)s)")
    train.add_argument("--each", type=positive, default=4, metavar="K", help="photos of each (%(default)s)")
    train.add_argument(
        "--validate",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="the share that is held out to find the best epoch; 0 for none (%(default)s)",
    )
    train.add_argument("--by", default="photo", choices=("photo", "item"), help="of photos or items (%(default)s)")
    train.add_argument("--patience", type=positive, default=3, metavar="N", help="epochs without gain (%(default)s)")
    train.add_argument("--no-pretrained", action="store_true", help="begin a backbone of timm at random")
    train.add_argument("--dim", type=positive, metavar="N", help="dimension of the vectors (that of the model)")
    train.add_argument("--side", type=positive, metavar="N", help="pixels of the pictures' sides (those of the model)")
    train.add_argument("--name", help="the new model's name (that of the directory)")
    train.add_argument("--license", help="the new model's license (that of the model)")
    train.add_argument(
        "--work", metavar="FOLDER", help="checkpoint, log.csv and TensorBoard's files (DIRECTORY.training)"
    )
    train.add_argument("--threads", type=positive, metavar="N", help="the most threads to use (all cores)")
    train.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")


def run(options: argparse.Namespace) -> int:
    """Runs the command and returns the exit status."""
    out = Path(expanded(options.out))
    if out.exists():
        raise FileExistsError(f"{out} exists already; give --out a directory that does not")
    if not 0 <= options.validate < 1:
        raise ArgumentError(f"--validate {options.validate:g}: give a share from 0 to below 1")
    try:
        import torch

        from ..train.tune.net import EmbeddingNet
        from ..train.tune.photos import Photos, get_dataloader
        from ..train.tune.trainer import TripletTrainer
        from ..train.tune.validation import Validation
    except ImportError as error:
        raise ImportError(
            f"plushie-search train needs {error.name}; install it with: pip install 'plushie_search[train]'"
        ) from error
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    photos = Photos.of_folder(options.photos)
    validation = None
    if options.validate:
        photos, held = photos.split(options.validate, by=options.by, seed=options.seed)
        validation = Validation(held, photos if options.by == "photo" else None)
    torch.manual_seed(options.seed)
    trainer = TripletTrainer(
        EmbeddingNet(options.backbone, dim=options.dim, pretrained=not options.no_pretrained, side=options.side),
        device=options.device,
        margin=options.margin,
        mining=options.mining,
        loss=options.loss,
        rate=options.rate,
        seed=options.seed,
    )
    work = out.with_name(f"{out.name}.training") if options.work is None else Path(expanded(options.work))
    say(f"training on {trainer.device}: {len(photos)} photos of {len(photos.items)} items; Ctrl-C keeps what is done")
    loader = get_dataloader(photos, trainer.net, items=options.items, photos_each=options.each, seed=options.seed)
    with shown(None, "training") as told:
        trainer.train(
            options.epochs,
            loader,
            validation=validation,
            patience=options.patience,
            checkpoint=work / "checkpoint.pt",
            logs=work,
            progress=told,
        )
    if trainer.resumed:
        more = len(trainer.history) - trainer.resumed
        say(f"went on after {trainer.resumed} epochs of {work / 'checkpoint.pt'}: {more} more")
    written = trainer.export(out, name=options.name, license=options.license)
    if not math.isnan(trainer.best):
        print(f"recall@1 of held-out photos: {trainer.before:.3f} before, {trainer.best:.3f} after")
    print(f"{written.directory}: vectors differ by at most {written.difference:.1e} from PyTorch's")
    print(f"next: plushie-search add my.catalog {options.photos} --model {options.out}")
    return DONE
