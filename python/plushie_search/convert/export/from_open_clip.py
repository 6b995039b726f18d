"""Loads models of the package open_clip."""

from __future__ import annotations

from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import tokenizer as kinds
from PIL import Image
from timm.utils.model import reparameterize_model
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional

from ..._core import ArgumentError
from .original import ImagePart, Method, Original, TextPart

#: The names in ``model.json`` of open_clip's kinds of resizing.
RESIZE = {"shortest": "crop", "squash": "squash", "longest": "letterbox"}

#: The names in ``model.json`` of open_clip's functions that clean texts.
CLEAN = {
    "_clean_lower": ["ftfy", "html", "whitespace", "lowercase"],
    "_clean_whitespace": ["ftfy", "html", "whitespace"],
    "_clean_canonicalize": ["ftfy", "html", "punctuation", "whitespace", "lowercase"],
}

#: The names of the methods of timm's layers that merge branches.
MERGES = ("fuse", "reparameterize", "switch_to_deploy")

#: CLIP's pieces of a text, before they are split into tokens.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def load(name: str) -> Original:
    """Loads a model by ``ARCHITECTURE/PRETRAINED`` (a name or file), ``hf-hub:...`` or ``local-dir:...``.

    Raises:
        ArgumentError: There is no such model, or a manifest cannot describe it.
    """
    given = name.startswith(("hf-hub:", "local-dir:"))
    architecture, pretrained = (name, "") if given else (*name.split("/", 1), "")[:2]
    if not given and architecture not in (known := open_clip.list_models()):
        alike = get_close_matches(architecture, known)
        hint = f"did you mean {' or '.join(alike)}? " if alike else ""
        raise ArgumentError(
            f"open_clip has no architecture {architecture}; {hint}open_clip.list_models() has their names"
        )
    if not given and not pretrained:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none is known"
        raise ArgumentError(
            f"open_clip model {architecture}: say which weights, {architecture}/WEIGHTS; there are: {tags}"
        )
    try:
        model, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=pretrained or None)
    except (RuntimeError, FileNotFoundError, KeyError) as error:
        raise ArgumentError(f"open_clip model {name} cannot be loaded: {error}") from error
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
    shorter = _causal(model, tokenizer)
    text = TextPart(
        network=Method(model, "encode_text"),
        traced=shorter,
        tokenizer=backend,
        settings={
            "clean": _clean(tokenizer),
            "max_length": tokenizer.context_length,
            "padding": "fixed" if shorter is None else "longest",
            "pad_id": pad_id,
        },
        masked=False,
        tokens=tokens,
    )
    called = Path(name.removeprefix("local-dir:")).name if given else f"{architecture}::{Path(pretrained).stem}"
    return Original(name=called, image=image, text=text)


class Attention(nn.Module):
    """Self-attention in steps whose shapes follow the text; PyTorch's own keeps the length of the trace."""

    def __init__(self, whole: nn.MultiheadAttention) -> None:
        super().__init__()
        self.whole = whole

    def forward(self, tokens: Tensor, *_: Tensor, attn_mask: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        """Returns the values that each token takes from others, and no weights."""
        rows, length, width = tokens.shape
        whole = self.whole
        parts = functional.linear(tokens, whole.in_proj_weight, whole.in_proj_bias)
        parts = parts.reshape(rows, length, 3, whole.num_heads, whole.head_dim).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts[0], parts[1], parts[2]
        scores = (queries * whole.head_dim**-0.5) @ keys.transpose(-2, -1) + attn_mask
        mixed = (scores.softmax(dim=-1) @ values).transpose(1, 2).reshape(rows, length, width)
        return whole.out_proj(mixed), None


class Causal(nn.Module):
    """A causal text tower: it is read at the end of the text, so it needs no padding.

    open_clip always pads to the longest text. Here positions and mask are as long as the text.
    """

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower: Any = tower
        self.transformer: Any = deepcopy(self.tower.transformer)
        for block in self.transformer.resblocks:
            block.attn = Attention(block.attn)
        self.eval()

    def forward(self, ids: Tensor) -> Tensor:
        """Returns the vectors of texts of equal length."""
        tower, length = self.tower, ids.shape[1]
        tokens = tower.token_embedding(ids) + tower.positional_embedding[:length]
        tokens = tower.ln_final(self.transformer(tokens, attn_mask=tower.attn_mask[:length, :length]))
        vectors: Tensor = tokens[torch.arange(len(ids)), ids.argmax(dim=1)]
        if isinstance(tower.text_projection, nn.Linear):
            vectors = tower.text_projection(vectors)
        elif tower.text_projection is not None:
            vectors = vectors @ tower.text_projection
        return vectors


def _causal(model: Any, tokenizer: Any) -> Causal | None:
    """Returns the text tower for texts of any length if it is causal and read at the end of the text."""
    if not isinstance(tokenizer, kinds.SimpleTokenizer):  # in which the token for the end has the highest id
        return None
    tower = getattr(model, "text", model)
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", ())
    plain = all(type(block.attn) is nn.MultiheadAttention and block.attn.batch_first for block in blocks)
    pool = getattr(tower, "pool_type", getattr(tower, "text_pool_type", None))
    masks_more = getattr(tower, "use_pad_mask", False) or getattr(tower, "cls_emb", None) is not None
    if pool != "argmax" or getattr(tower, "attn_mask", None) is None or masks_more or not (blocks and plain):
        return None
    return Causal(tower)


def _merged(model: Any) -> Method | None:
    """Returns a picture tower with merged branches if it was trained with parallel ones, such as MobileCLIP's."""
    if any(hasattr(part, merge) for part in model.visual.modules() for merge in MERGES):
        return Method(reparameterize_model(model), "encode_image")
    return None


def preprocess(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns the preprocessing of open_clip as ``model.json`` describes it.

    Raises:
        ArgumentError: A manifest cannot describe it.
    """
    defaults = open_clip.transform.PreprocessCfg()
    size = settings.get("size", defaults.size)
    mode, filter = (settings.get(key, getattr(defaults, key)) for key in ("resize_mode", "interpolation"))
    if mode not in RESIZE or filter not in ("bicubic", "bilinear"):
        raise ArgumentError(f"pictures are resized by {mode!r} with {filter!r}, which a manifest cannot describe")
    described: dict[str, Any] = {
        "resize": RESIZE[mode],
        "size": [size, size] if isinstance(size, int) else list(size),
        "filter": filter,
        "mean": list(settings.get("mean", defaults.mean)),
        "std": list(settings.get("std", defaults.std)),
    }
    if mode == "shortest":
        described["center"] = "even"
    if mode == "longest":
        described["fill"] = [int(settings.get("fill_color", defaults.fill_color))] * 3
    return described


def _clean(tokenizer: Any) -> list[str]:
    name = getattr(getattr(tokenizer, "clean_fn", None), "__name__", "none")
    if name not in CLEAN:
        raise ArgumentError(
            f"the tokenizer {type(tokenizer).__name__} cleans texts by {name}, which a manifest cannot describe"
        )
    return CLEAN[name]


def _tokenizer(tokenizer: Any) -> tuple[Tokenizer, int]:
    """Returns the tokenizer as one of the library `tokenizers`, and the id of its padding."""
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
        raise ArgumentError(
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
