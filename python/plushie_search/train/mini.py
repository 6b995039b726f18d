"""Train `plushie-mini`: a picture network and a text tower into one space.

    python -m plushie_search.train.mini --out my-model

renders its own plushes, learns from them and writes a model directory. It resumes if it was stopped. The plush tower
starts from the built-in model's, or from a MobileNetV2 1.0 given as `--backbone`; with `--photos` it learns that
backbone's features of real photos, and equal vectors for regions of one photo. With `--world`, `--photos` and
`--sentences` a frozen backbone stands beside it (see world.py). `--names`, `--wordnet`, `--emoji-names` and
`--sentences` add words beyond captions.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .. import hub
from ..plush import facts
from . import export, galleries, names, nuisance, plushes, world
from .course import KEPT, Course, Settings, keep_some, teach
from .finish import Lessons, finish
from .language import Language, gather, tokens
from .photos import Photos, prepare
from .towers import DIMENSION, ImageTower, TextTower

VERSION = "4"
BACKGROUND = ["background"]
"""The class that some backbones have for nothing."""


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "plushie_search" / "train"
    parser.add_argument("--out", type=Path, required=True, help="the model directory to write")
    parser.add_argument("--work", type=Path, default=cache, help="pictures and checkpoint are kept here (%(default)s)")
    parser.add_argument("--pairs", type=int, default=6000, help="pairs of look-alike plushes to render (%(default)s)")
    parser.add_argument(
        "--steps", type=int, default=3000, help="steps of the plush tower; 0 keeps its start (%(default)s)"
    )
    parser.add_argument("--backbone", type=Path, help="MobileNetV2 1.0 as ONNX with outputs `features` and `output`")
    parser.add_argument("--start", type=Path, help="image.onnx to start from (--backbone, or the built-in model's)")
    parser.add_argument("--photos", type=Path, help="a folder of real photos; needs --backbone")
    parser.add_argument("--without", nargs="*", default=[], help="sources in PHOTOS/varied that training must not see")
    parser.add_argument(
        "--world", type=Path, help="a frozen backbone as lite.py writes it; needs --photos, --sentences"
    )
    parser.add_argument("--names", type=Path, help="a folder of text vectors of names, see train/names.py")
    parser.add_argument("--wordnet", type=Path, help="the folder of WordNet's data.noun, index.noun ...")
    parser.add_argument("--emoji-names", type=Path, help="the folder `annotations` of Unicode's CLDR")
    parser.add_argument("--sentences", type=Path, help="a sentence encoder as transformers reads it")
    parser.add_argument("--word-steps", type=int, default=5000, help="steps of the text tower, last (%(default)s)")
    parser.add_argument("--batch", type=int, default=96, help="views in a batch, a multiple of 4 (%(default)s)")
    parser.add_argument("--side", type=int, default=160, help="pixels of the plush tower's pictures (%(default)s)")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (%(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of everything random (%(default)s)")
    parser.add_argument("--fresh", action="store_true", help="begin again instead of going on from the checkpoint")
    given = parser.parse_args(arguments)
    if given.photos and not given.backbone:
        parser.error("--photos needs --backbone, which says what is in them")
    if given.world and not (given.photos and given.sentences):
        parser.error("--world needs --photos, which it is projected by, and --sentences, which name its classes")
    if given.batch % 4 or given.batch < 8:
        parser.error(f"--batch must be a multiple of 4 from 8 on, not {given.batch}")
    if given.side % 32 or not 64 <= given.side <= plushes.SIDE:
        parser.error(f"--side must be a multiple of 32 from 64 to {plushes.SIDE}, not {given.side}")
    given.work.mkdir(parents=True, exist_ok=True)
    _train(given)


def _train(given: argparse.Namespace) -> None:
    torch.set_num_threads(given.threads)
    real, classes = None, []
    if given.photos:
        labels = given.backbone.with_suffix(".labels.txt")
        classes = names.classes(labels) if labels.exists() else []
        real = prepare(given.photos, given.backbone, classes, given.work, without=given.without, threads=given.threads)
    texts = [one for row in real.rows for one in real.texts[row]] if real else []
    language = gather(
        given.work,
        texts=texts,
        emoji_names=given.emoji_names,
        clip_names=given.names,
        wordnet=given.wordnet,
        encoder=given.sentences,
        classes=[one for one in classes if one != BACKGROUND],
    )
    attributes = plushes.attributes(given.pairs)
    vocabulary = tokens(given.work, attributes, texts, language)
    image, learnt = _learn_plushes(given, real, language, vocabulary)
    given.out.mkdir(parents=True, exist_ok=True)
    axes = _write_image(given, image, real, language)
    encoder = hub.open_encoder(given.out, threads=given.threads)
    paths = [real.paths[row] for row in real.rows] if real else []
    about = Lessons(
        attributes,
        facts.table(facts.facts_of(one) for one in attributes),
        galleries.of_plushes(encoder, given.pairs, given.work, threads=given.threads),
        galleries.of_photos(encoder, paths, given.work),
        [real.texts[row] for row in real.rows] if real else [],
        language,
        kinds=(language.kinds[0], axes.kinds_of(language.kinds[1])) if axes and language.kinds else None,
        part=axes.part if axes else None,
    )
    text = TextTower(vocabulary.get_vocab_size(), encoder.dim)
    if learnt:
        text.start_from(learnt)
    checkpoint = given.work / f"words-{encoder.fingerprint[:16]}-{given.word_steps}.pt"
    if given.fresh:
        checkpoint.unlink(missing_ok=True)
    finish(text, vocabulary, about, checkpoint, steps=given.word_steps, seed=given.seed)
    export.write_text(text, given.out / "text.onnx")
    export.halve(given.out / "text.onnx")
    shutil.copyfile(given.work / "tokenizer.json", given.out / "tokenizer.json")
    _describe(given, encoder.dim, text=True)


def _learn_plushes(
    given: argparse.Namespace, real: Photos | None, language: Language, vocabulary: Tokenizer
) -> tuple[ImageTower, TextTower | None]:
    """Returns the plush tower, and the text tower that learnt with it."""
    start = given.start or given.backbone or hub.resolve(hub.DEFAULT_MODEL).directory / "image.onnx"
    if not given.steps:
        image = ImageTower()
        image.start_from(start)
        return image, None
    settings = Settings(
        pairs=given.pairs,
        steps=given.steps,
        batch=given.batch,
        side=given.side,
        rate=given.rate,
        threads=given.threads,
        device=given.device,
        seed=given.seed,
    )
    checkpoint = given.work / "checkpoint.pt"
    if given.fresh:
        checkpoint.unlink(missing_ok=True)
    torch.set_num_threads(1)  # each of the threads computes a batch of its own
    course = Course(settings, given.work, start, real, language.book, vocabulary)
    learnt = teach(course, checkpoint)
    torch.set_num_threads(given.threads)
    image, text = learnt["image"].cpu(), learnt["text"].cpu()
    keep_some(image, course.start, KEPT)
    return image, text


def _write_image(
    given: argparse.Namespace, image: ImageTower, real: Photos | None, language: Language
) -> world.Axes | None:
    """Writes the picture network; returns its axes if it has the frozen backbone."""
    file = given.out / "image.onnx"
    axes = None
    if given.world:
        assert real is not None
        assert language.classes is not None
        backbone = onnx.load(given.world)
        # A little larger than what it was trained on, in which crops show things larger than whole pictures do.
        export.write_image(image, file, side=backbone.graph.input[0].type.tensor_type.shape.dim[2].dim_value)
        axes = world.find_axes(*_views(given, real), language.classes)
        some = np.sort(np.random.default_rng(given.seed).choice(real.rows, min(1000, len(real.rows)), replace=False))
        vectors = world.see(file, (real.pictures[row, 0] for row in some), threads=given.threads)
        length = float(np.linalg.norm(vectors, axis=1).mean())
        onnx.save(world.combine(backbone, onnx.load(file), axes, length), file)
    else:
        export.write_image(image, file, side=given.side)
    export.halve(file)
    dimension = axes.dimension if axes else DIMENSION
    _describe(given, dimension, text=False)
    return axes


def _views(given: argparse.Namespace, real: Photos) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the backbone's features of views of photos and of plushes, `(n, views, features)` each, computed once."""
    told = hashlib.sha256(given.world.read_bytes() + real.rows.tobytes()).hexdigest()
    kept = given.work / f"views-{told[:16]}.npz"
    if not kept.exists():
        photos = world.see(given.world, nuisance.of_photos(real, given.seed), threads=given.threads)
        toys = world.see(given.world, nuisance.of_plushes(given.seed), threads=given.threads)
        np.savez(
            kept,
            photos=photos.reshape(-1, nuisance.OF_PHOTOS, photos.shape[-1]),
            plushes=toys.reshape(-1, len(nuisance.SCENES), toys.shape[-1]),
        )
    with np.load(kept, allow_pickle=False) as file:
        return file["photos"], file["plushes"]


def _describe(given: argparse.Namespace, dimension: int, *, text: bool) -> None:
    file = onnx.load(given.out / "image.onnx", load_external_data=False)
    side = file.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    export.write_manifest(given.out, dimension=dimension, side=side, version=VERSION, text=text)


if __name__ == "__main__":
    main()
