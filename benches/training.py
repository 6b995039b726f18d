"""Measures fine-tuning: recall@1 before and after, for new photos of known items, and for items that come later.

    python benches/training.py PHOTOS [--backbone plushie-mini ...] [--epochs 5] [--threads 1] [--most 20]

PHOTOS has folders that are named for their item, at any depth: .../<item>/<picture>. A quarter of the items is never
learnt from: each of their photos is looked up among the others. Of the rest a fifth of the photos is held out, and
looked up among those that were learnt from. Of training, only the last epoch's weights are taken, so that no held-out
photo has chosen them. Prints the seconds of an epoch and the device, too. Needs the extra `train`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


def gathered(root: Path, most: int | None) -> list[tuple[str, Path]]:
    """Returns items and photos: at most so many of each item, and no item with fewer than four."""
    found: dict[str, list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in PICTURES:
            found.setdefault(path.parent.name, []).append(path)
    chance = np.random.default_rng(0)
    pairs = []
    for item, paths in sorted(found.items()):
        if len(paths) >= 4:
            pairs += [(item, paths[row]) for row in sorted(chance.permutation(len(paths))[:most].tolist())]
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--backbone", nargs="+", default=["plushie-mini"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--loss", default="triplet")
    parser.add_argument("--mining", default="batch-hard")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--most", type=int, help="photos of an item (all)")
    parser.add_argument("--side", type=int, help="pixels of the pictures' sides (those of the model)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if find_spec("torch") is None or find_spec("pytorch_metric_learning") is None:
        sys.exit("needs PyTorch: pip install '.[train]'")
    import torch

    from plushie_search.train import EmbeddingNet, Photos, TripletTrainer, Validation, get_dataloader

    torch.set_num_threads(options.threads)
    pairs = gathered(options.photos, options.most)
    names = sorted({item for item, _ in pairs})
    places = {item: place for place, item in enumerate(names)}
    everything = Photos(
        tuple(path for _, path in pairs), np.array([places[item] for item, _ in pairs], np.int64), tuple(names)
    )
    known, later = everything.split(0.25, by="item")
    learnt, new = known.split(0.2, by="photo")
    print(f"{len(learnt)} photos of {len(set(known.labels.tolist()))} items to learn from, {options.epochs} epochs, "
          f"{options.loss}")  # fmt: skip
    print("| backbone | new photos of known items | items that come later | seconds of an epoch |")
    print("| --- | --- | --- | --- |")
    for backbone in options.backbone:
        torch.manual_seed(0)
        net = EmbeddingNet(backbone, side=options.side)
        trainer = TripletTrainer(
            net, device=options.device, loss=options.loss, mining=options.mining, rate=options.rate
        )

        def recalls(net: EmbeddingNet, device: torch.device = trainer.device) -> list[float]:
            return [Validation(new, learnt).recall(net, device), Validation(later).recall(net, device)]

        before = recalls(trainer.net)
        history = trainer.train(options.epochs, get_dataloader(learnt, net, items=8, photos_each=4), patience=None)
        with tempfile.TemporaryDirectory() as folder:
            trainer.save(Path(folder) / "model.pt")
            after = recalls(EmbeddingNet.load(Path(folder) / "model.pt").to(trainer.device))
        cells = [f"{one:.3f} → {two:.3f}" for one, two in zip(before, after, strict=True)]
        seconds = np.median([row.seconds for row in history])
        print(f"| {backbone} | {' | '.join(cells)} | {seconds:.0f} ({trainer.device}) |", flush=True)


if __name__ == "__main__":
    main()
