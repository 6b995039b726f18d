"""Models of the package open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
from open_clip import tokenizer as kinds
from PIL import Image
from timm.utils.model import reparameterize_model
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor

from .original import ImagePart, Method, Original, TextPart

#: How open_clip's words for resizing are said in ``model.json``.
RESIZE = {"shortest": "crop", "squash": "squash", "longest": "letterbox"}

#: How a manifest says what open_clip does to texts, by its functions for that.
CLEAN = {
    "_clean_lower": ["ftfy", "html", "whitespace", "lowercase"],
    "_clean_whitespace": ["ftfy", "html", "whitespace"],
    "_clean_canonicalize": ["ftfy", "html", "punctuation", "whitespace", "lowercase"],
}

#: How timm's layers call the method that puts branches together.
MERGES = ("fuse", "reparameterize", "switch_to_deploy")

#: CLIP's pieces of a text, before they are split into tokens.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def load(name: str) -> Original:
    """A model as ``ARCHITECTURE/PRETRAINED``, where the latter may be a file, or as ``hf-hub:...``, ``local-dir:...``.

    Raises:
        ValueError: There is no such model, or it cannot be described.
    """
    given = name.startswith(("hf-hub:", "local-dir:"))
    architecture, pretrained = (name, "") if given else (*name.split("/", 1), "")[:2]
    if not given and not pretrained:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none is known"
        raise ValueError(
            f"open_clip model {architecture}: say which weights, {architecture}/WEIGHTS; there are: {tags}"
        )
    try:
        model, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=pretrained or None)
    except (RuntimeError, FileNotFoundError, KeyError) as error:
        raise ValueError(f"open_clip model {name} cannot be loaded: {error}") from error
    tokenizer = open_clip.get_tokenizer(architecture)

    def pixels(picture: Image.Image) -> Tensor:
        tensor: Tensor = transform(picture)[None]
        return tensor

    def tokens(text: str) -> tuple[Tensor, ...]:
        return (tokenizer([text]),)

    settings = open_clip.get_model_preprocess_cfg(model)
    image = ImagePart(
        network=Method(model, "encode_image"),
        preprocess=preprocess(settings),
        pixels=pixels,
        traced=_merged(model),
    )
    backend, pad_id = _tokenizer(tokenizer)
    text = TextPart(
        network=Method(model, "encode_text"),
        tokenizer=backend,
        settings={
            "clean": _clean(tokenizer),
            "max_length": tokenizer.context_length,
            "padding": "fixed",
            "pad_id": pad_id,
        },
        masked=False,
        tokens=tokens,
    )
    called = Path(name.removeprefix("local-dir:")).name if given else f"{architecture}::{Path(pretrained).stem}"
    return Original(name=called, image=image, text=text)


def _merged(model: Any) -> Method | None:
    """A tower for pictures, such as MobileCLIP's, that was trained with branches side by side, with their sums."""
    if any(hasattr(part, merge) for part in model.visual.modules() for merge in MERGES):
        return Method(reparameterize_model(model), "encode_image")
    return None


def preprocess(settings: dict[str, Any]) -> dict[str, Any]:
    """What open_clip does to a picture, as ``model.json`` says it.

    Raises:
        ValueError: A manifest cannot say it.
    """
    defaults = open_clip.transform.PreprocessCfg()
    size = settings.get("size", defaults.size)
    mode, filter = (settings.get(key, getattr(defaults, key)) for key in ("resize_mode", "interpolation"))
    if mode not in RESIZE or filter not in ("bicubic", "bilinear"):
        raise ValueError(f"pictures are resized by {mode!r} with {filter!r}, which a manifest cannot say")
    described: dict[str, Any] = {
        "resize": RESIZE[mode],
        "size": [size, size] if isinstance(size, int) else list(size),
        "filter": filter,
        "mean": list(settings.get("mean", defaults.mean)),
        "std": list(settings.get("std", defaults.std)),
    }
    if mode == "shortest":
        described["centre"] = "even"
    if mode == "longest":
        described["fill"] = [int(settings.get("fill_color", defaults.fill_color))] * 3
    return described


def _clean(tokenizer: Any) -> list[str]:
    name = getattr(getattr(tokenizer, "clean_fn", None), "__name__", "none")
    if name not in CLEAN:
        raise ValueError(
            f"the tokenizer {type(tokenizer).__name__} cleans texts by {name}, which a manifest cannot say"
        )
    return CLEAN[name]


def _tokenizer(tokenizer: Any) -> tuple[Tokenizer, int]:
    """The same as a file of the crate `tokenizers`, and the id of its padding."""
    if isinstance(tokenizer, kinds.SimpleTokenizer):
        return _bpe(tokenizer), 0
    inner = getattr(tokenizer, "tokenizer", None)
    backend = getattr(inner, "backend_tokenizer", None)
    if (
        inner is None
        or backend is None
        or getattr(tokenizer, "strip_sep_token", False)
        or getattr(tokenizer, "tokenizer_mode", None)
    ):
        raise ValueError(
            f"the tokenizer {type(tokenizer).__name__} of this model cannot be written as a tokenizer.json"
        )
    return backend, int(inner.pad_token_id or 0)


def _bpe(tokenizer: Any) -> Tokenizer:
    start, end = (
        next(text for text, id in tokenizer.encoder.items() if id == one) for one in tokenizer.all_special_ids[:2]
    )
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.get)
    made = Tokenizer(models.BPE(tokenizer.encoder, merges, end_of_word_suffix="</w>", unk_token=end))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    special = [AddedToken(text, normalized=False, special=True) for text in (start, end)]
    made.add_special_tokens(special)
    made.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(start, tokenizer.sot_token_id), (end, tokenizer.eot_token_id)]
    )
    return made
