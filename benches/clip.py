"""CLIP ViT-B/32 from file to vector on one thread, in 32 and in 8 bits, beside what others make of the same weights.

    python benches/clip.py WORK [--rounds N] [--pictures FOLDER]

The architecture is the real one; the weights are random, which changes no time. Measured are JPEG files of 500 x 375
and of 12 megapixels, one by one and many in one call, and texts that end after their last token beside texts padded to
77 tokens; against transformers and open_clip on torch, and against Pillow with ONNX Runtime, as fastembed has it; also
against fastembed itself and sentence-transformers where they are installed. All by turns, in processor time, medians.

The models are made once in the directory WORK (1.5 GB), which takes the extras `export` and `quantize`. Ranges for 8
bits are found on FOLDER, or else on drawn plush toys.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from encode import TEXTS
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, CLIPConfig, CLIPImageProcessor, CLIPModel
from transformers.utils.logging import disable_progress_bar

from plushie_search import _core, hub, quantize_model
from plushie_search.convert.export.write import export
from plushie_search.plush.pictures import write_plushes
from preprocess import photograph, pillow

#: Width, height, and the quality that makes a file as dense as a camera's.
SIZES = {"500 x 375": (500, 375, 85), "12 MP": (4000, 3000, 93)}

#: How many pictures are in the longer list.
MANY = 32

#: What one contestant does with a list of paths of pictures: vectors; or with a text: a vector.
Encode = Callable[[Any], Any]


def original(work: Path) -> Path:
    """CLIP ViT-B/32 as transformers keeps it."""
    folder = work / "clip"
    if not folder.is_dir():
        made = Path(tempfile.mkdtemp(dir=work))
        torch.manual_seed(0)
        CLIPModel(CLIPConfig(vision_config={"patch_size": 32})).save_pretrained(made)
        CLIPImageProcessor().save_pretrained(made)
        words = open_clip.tokenizer.SimpleTokenizer()
        names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
        vocabulary = {names.get(word, word): id for word, id in words.encoder.items()}
        (made / "vocab.json").write_text(json.dumps(vocabulary))
        merges = sorted(words.bpe_ranks, key=words.bpe_ranks.get)
        (made / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges), ""]))
        special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
        settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
        (made / "tokenizer_config.json").write_text(json.dumps({**settings, "unk_token": "<|endoftext|>"}))
        made.rename(folder)
    return folder


def models(work: Path, pictures: Path | None) -> tuple[Path, Path]:
    """Our directories: in 32 and in 8 bits."""
    clip, full, small = original(work), work / "fp32", work / "int8"
    if not full.is_dir():
        export(f"transformers:{clip}", full)
    if not small.is_dir():
        if pictures is None:
            pictures = work / "plushes"
            write_plushes(pictures, seeds=range(64), threads=1)
        print(quantize_model(full, small, pictures=pictures, sample=32, held_out=32, threads=1))
    return full, small


def ours(directory: Path, **text: Any) -> _core.Encoder:
    """An encoder on one thread, perhaps with other settings for texts."""
    manifest = json.loads((directory / hub.MANIFEST).read_text())
    manifest["text"].update(text)
    runtime = hub.runtime_library()
    return _core.Encoder(directory, runtime=runtime, threads=1, manifest=json.dumps(manifest))


def rgb(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def with_transformers(clip: Path) -> tuple[Encode, Encode]:
    model = CLIPModel.from_pretrained(clip).eval()
    processor, tokenizer = AutoImageProcessor.from_pretrained(clip), AutoTokenizer.from_pretrained(clip)

    def vectors(found: Any) -> Any:
        found = getattr(found, "pooler_output", found)
        return torch.nn.functional.normalize(found).numpy()

    @torch.inference_mode()
    def pictures(paths: list[Path]) -> Any:
        pixels = processor(images=[rgb(path) for path in paths], return_tensors="pt")["pixel_values"]
        return vectors(model.get_image_features(pixel_values=pixels))

    @torch.inference_mode()
    def text(words: str) -> Any:
        return vectors(model.get_text_features(**tokenizer(words, return_tensors="pt", truncation=True)))[0]

    return pictures, text


def with_open_clip() -> tuple[Encode, Encode]:
    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32")
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    model.eval()

    @torch.inference_mode()
    def pictures(paths: list[Path]) -> Any:
        return model.encode_image(torch.stack([transform(rgb(path)) for path in paths]), normalize=True).numpy()

    @torch.inference_mode()
    def text(words: str) -> Any:
        return model.encode_text(tokenizer([words]), normalize=True).numpy()[0]

    return pictures, text


def with_onnxruntime(directory: Path) -> Encode:
    """Pillow and ONNX Runtime, which is what fastembed and most services are made of."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(directory / "image.onnx", options)

    def pictures(paths: list[Path]) -> Any:
        [vectors] = session.run(["image_embeds"], {"pixel_values": np.stack([pillow(path) for path in paths])})
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return pictures


def with_fastembed(work: Path, clip: Path, directory: Path) -> Encode:
    from fastembed import ImageEmbedding

    folder = work / "fastembed"
    if not folder.is_dir():
        folder.mkdir()
        shutil.copy(clip / "preprocessor_config.json", folder)
        os.link(directory / "image.onnx", folder / "model.onnx")
    model = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=str(folder), threads=1)
    return lambda paths: list(model.embed([str(path) for path in paths]))


def with_sentence_transformers(clip: Path) -> tuple[Encode, Encode]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(clip), device="cpu")

    def pictures(paths: list[Path]) -> Any:
        return model.encode([rgb(path) for path in paths], normalize_embeddings=True, show_progress_bar=False)

    return pictures, lambda words: model.encode(words, normalize_embeddings=True, show_progress_bar=False)


def medians(contestants: dict[str, Callable[[int], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of processor time that each takes, by turns; each is given the number of the round."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 2):
        for name, work in contestants.items():
            start = time.process_time()
            work(number)
            if number >= 2:
                taken[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(times) for name, times in taken.items()}


def show(what: str, times: dict[str, float], mine: list[str]) -> None:
    """A table, and how many times as fast as the best of the others ours are."""
    best = min((time for name, time in times.items() if name not in mine), default=None)
    print(f"\n{what}")
    for name, milliseconds in times.items():
        ratio = f"   {best / milliseconds:5.2f} times the best of the others" if best and name in mine else ""
        print(f"  {name:36}{milliseconds:9.2f} ms{ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a directory that keeps the models")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pictures", type=Path, help="a folder of pictures to find ranges on")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable()
    disable_progress_bar()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    clip = original(options.work)
    full, small = models(options.work, options.pictures)
    fp32, int8, padded = ours(full), ours(small), ours(full, padding="fixed")
    transformers_picture, transformers_text = with_transformers(clip)
    open_clip_picture, open_clip_text = with_open_clip()
    pictures: dict[str, Encode] = {
        "ours, fp32": fp32.encode_images,
        "ours, int8": int8.encode_images,
        "Pillow + ONNX Runtime": with_onnxruntime(full),
        "transformers + torch": transformers_picture,
        "open_clip + torch": open_clip_picture,
    }
    texts: dict[str, Encode] = {
        "ours, to the last token": fp32.encode_texts,
        "ours, padded to 77": padded.encode_texts,
        "transformers + torch": transformers_text,
        "open_clip + torch (77)": open_clip_text,
    }
    if importlib.util.find_spec("fastembed"):
        pictures["fastembed"] = with_fastembed(options.work, clip, full)
    if importlib.util.find_spec("sentence_transformers"):
        name = "sentence-transformers + torch"
        pictures[name], texts[name] = with_sentence_transformers(clip)

    with tempfile.TemporaryDirectory() as folder:
        for seed, (what, (width, height, quality)) in enumerate(SIZES.items()):
            path = Path(folder) / f"{seed}.jpg"
            photograph(width, height, seed).save(path, quality=quality)
            calls = {name: lambda _, encode=encode, path=path: encode([path]) for name, encode in pictures.items()}
            show(f"A JPEG file of {what} to a vector", medians(calls, options.rounds), list(calls)[:2])
            [reference] = pictures["transformers + torch"]([path])
            alike = {name: float(pictures[name]([path])[0] @ reference) for name in list(pictures)[:3]}
            print("  cosine with transformers: " + ", ".join(f"{name} {value:.5f}" for name, value in alike.items()))
        what, (width, height, quality) = next(iter(SIZES.items()))
        paths = [Path(folder) / f"many-{seed}.jpg" for seed in range(MANY)]
        for seed, path in enumerate(paths):
            photograph(width, height, seed).save(path, quality=quality)
        calls = {name: lambda _, encode=encode: encode(paths) for name, encode in pictures.items()}
        times = {name: time / MANY for name, time in medians(calls, max(options.rounds // 4, 1)).items()}
        show(f"{MANY} JPEG files of {what} in one call, each", times, list(calls)[:2])
    for words in TEXTS:
        # A text that was read before would come from memory.
        calls = {name: lambda n, encode=encode, w=words: encode(f"{w} {n}") for name, encode in texts.items()}
        times = medians(calls, options.rounds)
        cut, whole = list(times)[:2]
        show(f"The text {words!r} to a vector", times, [cut, whole])
        print(f"  {times[whole] / times[cut]:.2f} times as fast as padded")
        [one], [other] = (encoder.encode_texts([words]) for encoder in (fp32, padded))
        print(f"  the greatest difference that padding makes to a vector: {np.abs(one - other).max():.1e}")


if __name__ == "__main__":
    main()
