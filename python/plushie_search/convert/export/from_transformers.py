"""Loads CLIP, SigLIP, Chinese CLIP and DINO models of the package transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

from ..._core import ArgumentError
from .original import ImagePart, Method, Original, TextPart

#: Filters by their numbers in Pillow.
FILTERS = {2: "bilinear", 3: "bicubic"}

#: The kinds of models with two towers, and whether the text tower takes a mask.
TWO_TOWERS = {"clip": False, "siglip": False, "chinese_clip": True}

#: The kinds of models for pictures only; their vector is that of the class token.
PICTURES_ONLY = ("dinov2", "dinov2_with_registers", "dinov3_vit")

#: The length that SigLIP pads all texts to.
SIGLIP_LENGTH = 64


def load(name: str) -> Original:
    """Loads a model by its name on the hub, or by its directory.

    Raises:
        ArgumentError: There is no such model, it is of another kind, or a manifest cannot describe its processor.
    """
    if Path(name).is_absolute() and not Path(name).is_dir():
        raise ArgumentError(f"transformers model {name}: no such directory")
    with _loading(name):
        kind = AutoConfig.from_pretrained(name).model_type
    if kind not in TWO_TOWERS and kind not in PICTURES_ONLY:
        known = ", ".join((*TWO_TOWERS, *PICTURES_ONLY))
        raise ArgumentError(f"transformers model {name} is of the kind {kind}; these can be exported: {known}")
    with _loading(name):
        model = AutoModel.from_pretrained(name, attn_implementation="eager").eval()
        processor = AutoImageProcessor.from_pretrained(name)

    def pixels(picture: Image.Image) -> Tensor:
        tensor: Tensor = processor(images=picture, return_tensors="pt")["pixel_values"]
        return tensor

    method = "forward" if kind in PICTURES_ONLY else "get_image_features"
    image = ImagePart(network=Method(model, method, "pixel_values"), preprocess=preprocess(processor), pixels=pixels)
    text = None if kind in PICTURES_ONLY else _text(name, kind, model)
    return Original(name=Path(name).name, image=image, text=text)


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Raises ArgumentError with the name of the model if the package cannot load it."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        raise ArgumentError(
            f"transformers model {name} cannot be loaded: {' '.join(str(error).split())} Give the name of a model on "
            "the hub, or a directory with its config.json, weights, preprocessor and tokenizer"
        ) from error


def preprocess(processor: Any) -> dict[str, Any]:
    """Returns the preprocessing of an image processor as ``model.json`` describes it.

    Raises:
        ArgumentError: A manifest cannot describe it.
    """
    size, crop = dict(processor.size or {}), dict(getattr(processor, "crop_size", None) or {})
    cropping = bool(getattr(processor, "do_center_crop", False))
    if not processor.do_resize or processor.resample not in FILTERS:
        raise ArgumentError(f"image processor {type(processor).__name__}: neither bilinear nor bicubic resizing")
    described: dict[str, Any]
    if "height" in size and not cropping:
        described = {"resize": "squash", "size": [size["height"], size["width"]]}
    elif "shortest_edge" in size and cropping and crop:
        described = {"resize": "crop", "size": [crop["height"], crop["width"]]}
        if size["shortest_edge"] != max(described["size"]):
            described["resize_to"] = size["shortest_edge"]
    else:
        raise ArgumentError(
            f"image processor {type(processor).__name__}: resizing to {size} and cropping to {crop or None}"
        )
    scale = (processor.rescale_factor if processor.do_rescale else 1.0) * 255
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ([0.0] * 3, [1.0] * 3)
    described["filter"] = FILTERS[int(processor.resample)]
    return {**described, "mean": [float(m) / scale for m in mean], "std": [float(s) / scale for s in std]}


def _text(name: str, kind: str, model: Any) -> TextPart:
    with _loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ArgumentError(f"transformers model {name}: its tokenizer has no tokenizer.json")
    masked, siglip = TWO_TOWERS[kind], kind == "siglip"
    config = model.config.text_config
    length = min(getattr(config, "max_position_embeddings", 512), tokenizer.model_max_length)
    length = min(length, SIGLIP_LENGTH) if siglip else length
    # A mask that is made inside the network may keep the length that it had in the trace.
    fixed = siglip or masked
    padding = {"padding": "max_length"} if fixed else {}

    def tokens(text: str) -> tuple[Tensor, ...]:
        encoded = tokenizer(text, return_tensors="pt", truncation=True, max_length=length, **padding)
        return tuple(encoded[key] for key in (("input_ids", "attention_mask") if masked else ("input_ids",)))

    names = ("input_ids", "attention_mask") if masked else ("input_ids",)
    settings = {
        "max_length": length,
        "padding": "fixed" if fixed else "longest",
        "pad_id": tokenizer.pad_token_id or 0,
    }
    return TextPart(
        network=Method(model, "get_text_features", *names),
        tokenizer=backend,
        settings=settings,
        masked=masked,
        tokens=tokens,
    )
