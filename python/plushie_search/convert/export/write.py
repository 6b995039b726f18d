"""Exports a PyTorch model to a model directory, and compares both before the directory appears."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import torch
from PIL import Image
from torch import Tensor, nn

from ... import _core, hub
from ..._core import ArgumentError, ModelError
from ...encoders.probe import TEXT, picture
from ...hub import cache
from ...hub.check import ALIKE as ALIKE_IN_FP16
from ...hub.check import PROBE, TEXTS, pictures
from ...paths import expanded
from ..graph.files import save
from ..graph.fp16 import SUFFIX
from ..graph.fp16 import write as write_fp16
from ..graph.simplify import simplified
from .original import ImagePart, Original

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The least cosine between the vectors of the directory and those of the original.
ALIKE = 0.9999

#: The largest mean difference between the pixels that both towers are given, of 256 levels. Another resampling filter
#: changes a sharp picture by 5 and more.
SAME_PIXELS = 1.5

OPSET = 17


def export(
    source: str,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    license: str | None = None,
    languages: Sequence[str] = (),
    fp16: bool = False,
) -> dict[str, float]:
    """Writes a model directory, and returns for each tower the least cosine between its vectors and the original's.

    Args:
        source: ``open_clip:ARCHITECTURE/PRETRAINED`` (or ``open_clip:hf-hub:...``, ``open_clip:local-dir:...``), or
            ``transformers:NAME``, where a directory may stand for a name.
        out: The directory to make; it must not exist.
        name: The model's name; by default that of its source.
        license: The model's license.
        languages: The languages of its texts, as BCP 47 tags.
        fp16: Whether to write fp16 networks, too, for ``precision="fp16"``; their cosines are in the result as
            ``"image_fp16"`` and ``"text_fp16"``.

    Raises:
        ArgumentError: There is no such model, or it is of a kind that cannot be exported.
        FileExistsError: ``out`` exists.
        ModelError: The directory would give other vectors than the original; nothing is written.
        ImportError: A package of the extra ``export`` is missing.
    """
    target = Path(expanded(out))
    if target.exists():
        raise FileExistsError(f"{target} exists: give a directory that does not, or remove it")
    original = load(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}-{os.getpid()}")
    draft.mkdir()
    try:
        _write(original, draft, name or original.name, license, list(languages))
        likeness = _compare(original, draft)
        if fp16:
            for network in sorted(draft.glob("*.onnx")):
                write_fp16(network, network.with_stem(network.stem + SUFFIX))
            likeness |= _compare(original, draft, fp16=True)
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return likeness


def load(source: str) -> Original:
    """Returns the PyTorch model that a source names.

    Raises:
        ArgumentError: The source has another form.
    """
    kind, _, name = source.partition(":")
    if kind == "open_clip" and name:
        from .from_open_clip import load as load_open_clip

        return load_open_clip(name)
    if kind == "transformers" and name:
        from .from_transformers import load as load_transformers

        return load_transformers(name)
    raise ArgumentError(f"{source!r} is neither open_clip:ARCHITECTURE/PRETRAINED nor transformers:NAME")


def _write(original: Original, out: Path, name: str, license: str | None, languages: list[str]) -> None:
    probe: dict[str, list[float]] = {}
    manifest: dict[str, Any] = {"format": 1, "name": name, "version": "1", "license": license, "languages": languages}
    if original.image is not None:
        pixels = original.image.pixels(Image.fromarray(picture()))
        _trace(
            original.image.traced or original.image.network,
            {"pixel_values": pixels},
            "image_embeds",
            out / "image.onnx",
        )
        preprocess = original.image.preprocess
        manifest["image"] = {"file": "image.onnx", "output": "image_embeds", "preprocess": preprocess}
        probe["image"] = original.image_vector(Image.fromarray(picture())).tolist()
    if original.text is not None:
        part = original.text
        inputs = dict(zip(("input_ids", "attention_mask"), part.tokens(TEXT), strict=False))
        network = part.traced or part.network
        _trace(network, inputs, "text_embeds", out / "text.onnx", fixed=part.settings["padding"] == "fixed")
        part.tokenizer.save(str(out / "tokenizer.json"))
        manifest["text"] = {
            "file": "text.onnx",
            "output": "text_embeds",
            "tokenizer": "tokenizer.json",
            **part.settings,
        }
        probe["text"] = original.text_vector(TEXT).tolist()
    manifest["dimension"] = len(next(iter(probe.values())))
    (out / hub.MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    # By these the directory is known where its networks run on a server and are not kept beside it.
    digests = {path.name: cache.sha256(path) for path in sorted(out.glob("*.onnx*"))}
    (out / PROBE).write_text(json.dumps({**probe, "sha256": digests}) + "\n", encoding="utf-8")


def _trace(network: nn.Module, inputs: dict[str, Tensor], output: str, file: Path, *, fixed: bool = True) -> None:
    axes: dict[str, dict[int, str]] = {key: {0: "batch"} for key in (*inputs, output)}
    if not fixed:
        for key in inputs:
            axes[key][1] = "length"
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused attention has no ONNX
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # of constants in the trace; the vectors are compared
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            str(file),
            input_names=list(inputs),
            output_names=[output],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
    torch.backends.mha.set_fastpath_enabled(fast)
    model = onnx.load(file)
    # Weights of a large network come as a file each.
    for scattered in [path for path in file.parent.iterdir() if path.suffix not in (".onnx", ".json", ".onnx_data")]:
        scattered.unlink()
    feeds = {name: tensor.numpy() for name, tensor in inputs.items()}
    save(simplified(model, output, file.parent, feeds), file)


def sharp() -> NDArray[np.uint8]:
    """Returns a picture of fine detail, shape (720, 960, 3): smooth ones look the same through any filter."""
    rows, columns = np.mgrid[:720, :960]
    rings = 127.5 + 127.5 * np.sin((rows**2 + columns**2) / 900)
    squares = 255 * ((rows // 5 + columns // 7) % 2)
    noise = np.random.default_rng(7).integers(0, 256, rows.shape)
    return np.stack([rings, squares, noise], axis=-1).astype(np.uint8)


def _compare_pixels(name: str, part: ImagePart, views: Sequence[Image.Image]) -> None:
    settings: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in part.preprocess.items()}
    levels = 255 * np.array(settings["std"])[:, None, None]
    for view in views:
        ours = _core.preprocess(view, **settings)
        difference = float((np.abs(ours - part.pixels(view)[0].numpy()) * levels).mean())
        if difference > SAME_PIXELS:
            raise ModelError(
                f"model {name}: a picture of {view.width} x {view.height} is prepared otherwise than by the original: "
                f"its pixels differ by {difference:.1f} of 256 levels on average, so nothing was written; it has "
                "preprocessing that a manifest cannot say"
            )


def _compare(original: Original, directory: Path, *, fp16: bool = False) -> dict[str, float]:
    precision, ending, alike = ("fp16", SUFFIX, ALIKE_IN_FP16) if fp16 else (None, "", ALIKE)
    encoder = _core.Encoder(directory, runtime=hub.runtime_library(), threads=1, precision=precision)
    likeness: dict[str, float] = {}
    if original.image is not None:
        views: list[Any] = [Image.fromarray(pixels) for pixels in (*pictures(), sharp())]
        if not fp16:
            _compare_pixels(original.name, original.image, views)
        wanted = np.stack([original.image_vector(one).numpy() for one in views])
        likeness[f"image{ending}"] = float((encoder.encode_images(views) * wanted).sum(axis=1).min())
    if original.text is not None:
        wanted = np.stack([original.text_vector(text).numpy() for text in TEXTS])
        likeness[f"text{ending}"] = float((encoder.encode_texts(list(TEXTS)) * wanted).sum(axis=1).min())
    for tower, least in likeness.items():
        if not least >= alike:
            why = (
                "its numbers may be too great for 16 bits: export it without fp16"
                if fp16
                else "it may need other packages, or preprocessing that a manifest cannot say"
            )
            raise ModelError(
                f"model {original.name}: the exported {tower} tower has only the cosine {least:.4f} with the original, "
                f"so nothing was written; {why}"
            )
    return likeness
