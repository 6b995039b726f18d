"""Small models of the real architectures with random weights, exported as their makers export them.

Each function writes a directory in the layout in which such a model is published, and gives the way from files and
texts to vectors that the makers' own code takes. They need torch and transformers, some open_clip.
"""

import json
import os
import shutil
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
import transformers
from corpus import CORPUS, ENTITIES
from PIL import Image
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
WIDTH = 32
DIM = 24
LAYERS = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@dataclass
class Family:
    """A model directory, and what its makers' code makes of pictures (files) and texts; no unit vectors yet."""

    directory: Any
    images: Any = None
    texts: Any = None


def lively(model):
    """Random weights large enough for pictures and texts to matter, the same in each run."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                fan_in = parameter[0].numel()
                scale = 1.0 if "embed" in name else 1.3 / fan_in**0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


class Outputs(torch.nn.Module):
    """A network of a function, whose modules go along."""

    def __init__(self, module, function):
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *inputs):
        return self.function(*inputs)


def export(path, module, function, inputs, outputs, *, free=None):
    """Exports a function of `module`; `inputs` are examples by name, `free` their axes of any size (all firsts)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    axes = free or {name: {0: "batch", **({1: "tokens"} if value.dim() == 2 else {})} for name, value in inputs.items()}
    torch.onnx.export(
        Outputs(module, function).eval(),
        tuple(inputs.values()),
        str(path),
        input_names=list(inputs),
        output_names=outputs,
        dynamic_axes=axes,
        opset_version=17,
        dynamo=False,
    )


def plain(output):
    """The tensor of what newer versions of transformers give as an object."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def settings(directory, **files):
    """Writes JSON files by their names without the ending."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = directory / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")


def read(path):
    """A picture, as everybody reads it."""
    return Image.open(path).convert("RGB")


def processed(processor):
    """From a file to pixels by an image processor of transformers."""
    return lambda path: processor(images=read(path), return_tensors="pt")["pixel_values"]


@torch.no_grad()
def each(function, things):
    """Rows of what a function gives for each thing by itself."""
    return np.concatenate([np.asarray(function(thing)).reshape(1, -1) for thing in things])


def pixels(side):
    return torch.zeros(1, 3, side, side)


def clip_tokenizer():
    """transformers' tokenizer of CLIP, with a small vocabulary."""
    trained = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trained.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=letters, end_of_word_suffix="</w>", show_progress=False
    )
    trained.train_from_iterator(CORPUS, trainer)
    merges = [tuple(merge) for merge in json.loads(trained.to_str())["model"]["merges"]]
    words = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges)]
    words = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=merges, model_max_length=77
    )


def piece_tokenizer(special, template, *, normalizer):
    """A Unigram tokenizer, as SentencePiece makes them; `special` are the first ids."""
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizer, pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    made.train_from_iterator([*CORPUS, *ENTITIES], trainer)
    made.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(token, i) for i, token in enumerate(special) if token in template]
    )
    return made


def clip(directory, *, text_width=WIDTH):
    """CLIP as transformers.js has it; TinyCLIP is the same with widths of its own."""
    tokenizer = clip_tokenizer()
    size = len(tokenizer)
    text = {**LAYERS, "hidden_size": text_width, "vocab_size": size, "eos_token_id": size - 1, "projection_dim": DIM}
    vision = {**LAYERS, "image_size": 56, "patch_size": 8, "projection_dim": DIM}
    model = lively(
        transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM))
    )
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56})
    model.config.save_pretrained(directory)
    processor.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    onnx = directory / "onnx"
    see, say = (lambda x: plain(model.get_image_features(x))), (lambda ids: plain(model.get_text_features(ids)))
    export(onnx / "vision_model.onnx", model, see, {"pixel_values": pixels(56)}, ["image_embeds"])
    export(onnx / "text_model.onnx", model, say, {"input_ids": torch.tensor([[1, 2, size - 1]])}, ["text_embeds"])

    def encode(text):
        return say(tokenizer(text, truncation=True, padding="max_length", return_tensors="pt")["input_ids"])

    look = processed(processor)
    return Family(directory, lambda paths: each(lambda path: see(look(path)), paths), lambda texts: each(encode, texts))


def siglip(directory, *, version=1):
    """SigLIP, whose tokenizer lowers with Python before anything else.

    Version 2 has the tokenizer of Gemma, whose published file does not say that texts are lower case.
    """
    lower = str.lower if version == 1 else str
    if version == 1:
        steps = [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""), ""),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
        backend = piece_tokenizer(["<unk>", "</s>"], "$A </s>", normalizer=normalizers.Sequence(steps))
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_object=backend, unk_token="<unk>", eos_token="</s>", pad_token="</s>", model_max_length=64
        )
        tokenizer.save_pretrained(directory)
    else:
        special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
        trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        spaces = normalizers.Replace(" ", "▁")
        trained.normalizer = normalizers.Sequence([normalizers.Lowercase(), spaces])
        trainer = trainers.BpeTrainer(
            vocab_size=600, special_tokens=[*special, *(f"<0x{i:02X}>" for i in range(256))], show_progress=False
        )
        trained.train_from_iterator(CORPUS, trainer)
        model = json.loads(trained.to_str())["model"]
        tokenizer = transformers.Siglip2Tokenizer(
            vocab=model["vocab"],
            merges=[tuple(merge) for merge in model["merges"]],
            padding_side="right",
            model_max_length=64,
        )
        backend = tokenizer.backend_tokenizer
        backend.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
        tokenizer.save_pretrained(directory)
        published = Tokenizer.from_str(backend.to_str())
        published.normalizer = spaces
        published.save(str(directory / "tokenizer.json"))
    config = transformers.SiglipConfig(
        text_config={**LAYERS, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": WIDTH},
        vision_config={**LAYERS, "image_size": 48, "patch_size": 8},
    )
    model = lively(transformers.SiglipModel(config))
    filter = {"resample": 3 if version == 1 else 2}
    processor = transformers.SiglipImageProcessor(size={"height": 48, "width": 48}, **filter)
    model.config.save_pretrained(directory)
    processor.save_pretrained(directory)
    onnx = directory / "onnx"
    see, say = (lambda x: plain(model.get_image_features(x))), (lambda ids: plain(model.get_text_features(ids)))
    export(onnx / "vision_model.onnx", model, see, {"pixel_values": pixels(48)}, ["pooler_output"])
    example = torch.ones(1, 64, dtype=torch.int64)
    export(onnx / "text_model.onnx", model, say, {"input_ids": example}, ["pooler_output"])
    options = {"padding": "max_length", "max_length": 64, "truncation": True, "return_tensors": "pt"}

    def encode(text):
        return say(tokenizer(lower(text), **options)["input_ids"])

    look = processed(processor)
    return Family(directory, lambda paths: each(lambda path: see(look(path)), paths), lambda texts: each(encode, texts))


def siglip2(directory):
    return siglip(directory, version=2)


def chinese_clip(directory):
    """Both towers in one network, pictures squashed, BERT's tokenizer."""
    letters = sorted({letter for text in CORPUS for letter in text.lower() if letter > " "})
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "bear", "teddy", "a", "##s", "##y", *letters]
    words = [*dict.fromkeys([*words, *(f"##{letter}" for letter in letters)])]
    tokenizer = transformers.BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=512)
    text = {**LAYERS, "vocab_size": len(words), "max_position_embeddings": 512, "hidden_act": "gelu"}
    vision = {**LAYERS, "image_size": 48, "patch_size": 8}
    config = transformers.ChineseCLIPConfig(text_config=text, vision_config=vision, projection_dim=DIM)
    model = lively(transformers.ChineseCLIPModel(config))
    processor = transformers.ChineseCLIPImageProcessor(size={"height": 48, "width": 48}, do_center_crop=False)
    config.save_pretrained(directory)
    processor.save_pretrained(directory)
    tokenizer.save_pretrained(directory)

    def both(ids, picture, mask):
        output = model(input_ids=ids, pixel_values=picture, attention_mask=mask)
        return output.logits_per_image, output.logits_per_text, output.text_embeds, output.image_embeds

    example = torch.tensor([[2, 6, 7, 3]])
    export(
        directory / "onnx" / "model.onnx",
        model,
        both,
        {"input_ids": example, "pixel_values": pixels(48), "attention_mask": torch.ones_like(example)},
        ["logits_per_image", "logits_per_text", "text_embeds", "image_embeds"],
        free={
            "input_ids": {0: "texts", 1: "tokens"},
            "attention_mask": {0: "texts", 1: "tokens"},
            "pixel_values": {0: "n"},
        },
    )
    look = processed(processor)

    def see(path):
        return plain(model.get_image_features(look(path)))

    options = {"truncation": True, "max_length": 52, "return_tensors": "pt"}

    def encode(text):
        return plain(model.get_text_features(**tokenizer(text, **options)))

    return Family(directory, lambda paths: each(see, paths), lambda texts: each(encode, texts))


def dinov2(directory):
    """Pictures alone; a vector for each patch, of which the first counts."""
    model = lively(transformers.Dinov2Model(transformers.Dinov2Config(**LAYERS, image_size=56, patch_size=14)))
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 64},
        crop_size={"height": 56, "width": 56},
        image_mean=IMAGENET_MEAN,
        image_std=IMAGENET_STD,
    )
    model.config.save_pretrained(directory)
    processor.save_pretrained(directory)

    def see(x):
        return model(x).last_hidden_state

    export(directory / "onnx" / "model.onnx", model, see, {"pixel_values": pixels(56)}, ["last_hidden_state"])
    look = processed(processor)
    return Family(directory, lambda paths: each(lambda path: see(look(path))[:, 0], paths))


def dinov3(directory):
    """Pictures alone, squashed."""
    model = lively(transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**LAYERS, image_size=64, patch_size=16)))
    processor = transformers.DINOv3ViTImageProcessor(size={"height": 64, "width": 64})
    model.config.save_pretrained(directory)
    processor.save_pretrained(directory)

    def see(x):
        return model(x).pooler_output

    def outputs(x):
        return (model(x).last_hidden_state, model(x).pooler_output)

    names = ["last_hidden_state", "pooler_output"]
    export(directory / "onnx" / "model.onnx", model, outputs, {"pixel_values": pixels(64)}, names)
    look = processed(processor)
    return Family(directory, lambda paths: each(lambda path: see(look(path)), paths))


def resnet50(directory):
    """The depths of ResNet-50, narrower; 7/8 of a picture are cut out, and ones are left for height and width."""
    config = transformers.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[3, 4, 6, 3])
    model = lively(transformers.ResNetModel(config)).train()
    with torch.no_grad():
        # Trained networks of this depth are smooth, random ones make a mountain of a grey level: weaken what each block
        # adds.
        for name, parameter in model.named_parameters():
            if name.endswith("layer.2.normalization.weight"):
                parameter.fill_(0.2)
        # Batch normalization has to know what is normal, or all pictures are alike: large patches of color.
        for seed in range(20):
            patches = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
            model(torch.nn.functional.interpolate(patches, size=112, mode="bicubic"))
    model.eval()
    processor = transformers.ConvNextImageProcessor(
        size={"shortest_edge": 112}, crop_pct=0.875, image_mean=IMAGENET_MEAN, image_std=IMAGENET_STD, resample=3
    )
    config.save_pretrained(directory)
    processor.save_pretrained(directory)

    def see(x):
        return model(x).pooler_output

    export(directory / "model.onnx", model, see, {"pixel_values": pixels(112)}, ["pooler_output"])
    look = processed(processor)
    return Family(directory, lambda paths: each(lambda path: see(look(path)), paths))


def jina_clip(directory):
    """One network of both towers, XLM-R's kind of tokenizer, and a vector whose beginning is a vector."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    backend = piece_tokenizer(special, "<s> $A </s>", normalizer=normalizers.NFKC())
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=8194
    )
    config = transformers.XLMRobertaConfig(
        **LAYERS, vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=130
    )
    text = lively(transformers.XLMRobertaModel(config, add_pooling_layer=False))
    vision = lively(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**LAYERS, image_size=64, patch_size=16)))
    tower = torch.nn.ModuleList([text, vision])

    def say(ids):
        mask = (ids != 1).long()
        states = text(input_ids=ids, attention_mask=mask).last_hidden_state
        return (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)

    def both(ids, picture):
        texts, pictures = say(ids), plain(vision(pixel_values=picture))
        lengths = [values / values.norm(dim=1, keepdim=True) for values in (texts, pictures)]
        return texts, pictures, *lengths

    names = ["text_embeddings", "image_embeddings", "l2norm_text_embeddings", "l2norm_image_embeddings"]
    export(
        directory / "onnx" / "model.onnx",
        tower,
        both,
        {"input_ids": torch.tensor([[0, 5, 2]]), "pixel_values": pixels(64)},
        names,
        free={"input_ids": {0: "texts", 1: "tokens"}, "pixel_values": {0: "pictures"}},
    )
    tokenizer.save_pretrained(directory)
    settings(
        directory,
        config={"model_type": "jina_clip", "text_config": {"embed_dim": WIDTH, "max_position_embeddings": 128}},
        preprocessor_config={
            "image_processor_type": "JinaCLIPImageProcessor",
            "size": 64,
            "resize_mode": "shortest",
            "interpolation": "bicubic",
            "fill_color": 0,
            "mean": CLIP_MEAN,
            "std": CLIP_STD,
        },
    )
    look = open_clip_transform(64)

    def encode(text):
        return say(tokenizer(text, truncation=True, max_length=128, return_tensors="pt")["input_ids"])

    def see(path):
        return plain(vision(pixel_values=look(path)))

    return Family(directory, lambda paths: each(see, paths), lambda texts: each(encode, texts))


def open_clip_transform(side, **changes):
    """From a file to pixels by open_clip's transform."""
    import open_clip

    transform = open_clip.image_transform(side, is_train=False, **changes)
    return lambda path: transform(read(path)).unsqueeze(0)


def open_clip_model(*, causal=True, side=56, trunk=None):
    """open_clip's CLIP, perhaps with a network of timm for pictures, and its vocabulary."""
    import open_clip

    vision = {"image_size": side, "layers": 2, "width": WIDTH, "head_width": 8, "patch_size": 8}
    if trunk is not None:
        vision = {"image_size": side, "timm_model_name": trunk, "timm_pool": "avg", "timm_proj": None}
    text = {"context_length": 77, "vocab_size": 49408, "width": WIDTH, "heads": 4, "layers": 2}
    kind = open_clip.CLIP if causal else open_clip.CustomTextCLIP
    model = lively(kind(embed_dim=DIM, vision_cfg=vision, text_cfg={**text, "no_causal_mask": not causal}))
    merges = open_clip.tokenizer.default_bpe()
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    return model, tokenizer, merges, text


def laion_immich(directory, *, causal=True, side=56, trunk=None, changes=None):
    """open_clip's models as immich exports them: int32 tokens, always 77."""
    model, tokenizer, merges, text = open_clip_model(causal=causal, side=side, trunk=trunk)
    changes = changes or {}
    preprocess = {
        "size": [side, side],
        "mode": "RGB",
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
        **changes,
    }
    settings(
        directory,
        config={"embed_dim": DIM, "vision_cfg": {}, "text_cfg": {**text, "no_causal_mask": not causal}},
        visual__preprocess_cfg=preprocess,
        textual__tokenizer_config={"pad_token": "<|endoftext|>"},
    )
    published_clip_tokenizer(merges).save(str(directory / "textual" / "tokenizer.json"))

    def say(ids):
        return model.encode_text(ids)

    export(directory / "visual" / "model.onnx", model, model.encode_image, {"image": pixels(side)}, ["embedding"])
    example = torch.ones(1, 77, dtype=torch.int32)
    export(directory / "textual" / "model.onnx", model, say, {"text": example}, ["embedding"], free={"text": {0: "n"}})
    options = {"interpolation": preprocess["interpolation"], "mean": preprocess["mean"], "std": preprocess["std"]}
    look = open_clip_transform(
        side, **{key: value if isinstance(value, str) else tuple(value) for key, value in options.items()}
    )
    see, encode = (lambda path: model.encode_image(look(path))), (lambda text: model.encode_text(tokenizer([text])))
    return Family(directory, lambda paths: each(see, paths), lambda texts: each(encode, texts))


def mobileclip(directory):
    """S0 with its FastViT: the text tower sees all tokens, padding too; pixels stay as they are."""
    plain_pixels = {"interpolation": "bilinear", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}
    return laion_immich(directory, causal=False, side=64, trunk="fastvit_mci0", changes=plain_pixels)


def mobileclip_hub(directory):
    """The same as transformers.js has it: it calls itself CLIP."""
    model, _, merges, _ = open_clip_model(causal=False)
    tokenizer = published_clip_tokenizer(merges)
    settings(
        directory,
        config={"model_type": "clip", "projection_dim": DIM},
        tokenizer_config={"pad_token": "<|endoftext|>", "model_max_length": 77},
        preprocessor_config={
            "image_processor_type": "CLIPFeatureExtractor",
            "size": {"shortest_edge": 56},
            "crop_size": {"height": 56, "width": 56},
            "resample": 2,
            "do_normalize": False,
        },
    )
    tokenizer.save(str(directory / "tokenizer.json"))
    onnx, example = directory / "onnx", torch.ones(1, 77, dtype=torch.int64)
    export(onnx / "vision_model.onnx", model, model.encode_image, {"pixel_values": pixels(56)}, ["image_embeds"])
    export(onnx / "text_model.onnx", model, model.encode_text, {"input_ids": example}, ["text_embeds"])
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}, resample=2, do_normalize=False
    )
    look = processed(processor)

    def see(path):
        return model.encode_image(look(path))

    tokenizer.enable_truncation(77)
    tokenizer.enable_padding(length=77, pad_id=0)

    def encode(text):
        return model.encode_text(torch.tensor([tokenizer.encode(text).ids]))

    return Family(directory, lambda paths: each(see, paths), lambda texts: each(encode, texts))


def clip_as_service(directory):
    """open_clip's networks, and nothing but the published vocabulary beside them."""
    model, tokenizer, merges, _ = open_clip_model()
    directory.mkdir(parents=True)
    shutil.copy(merges, directory)
    export(directory / "visual.onnx", model, model.encode_image, {"pixel_values": pixels(56)}, ["output"])
    example = torch.ones(1, 77, dtype=torch.int32)
    export(
        directory / "textual.onnx",
        model,
        model.encode_text,
        {"input_ids": example},
        ["output"],
        free={"input_ids": {0: "n"}},
    )
    look = open_clip_transform(56)
    see, encode = (lambda path: model.encode_image(look(path))), (lambda text: model.encode_text(tokenizer([text])))
    return Family(directory, lambda paths: each(see, paths), lambda texts: each(encode, texts))


def published_clip_tokenizer(merges):
    """The file of CLIP's tokenizer, from open_clip's copy of the vocabulary."""
    import open_clip

    simple = open_clip.tokenizer.SimpleTokenizer(merges)
    words = {
        token.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): i
        for token, i in simple.encoder.items()
    }
    pairs = sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)
    return transformers.CLIPTokenizer(vocab=words, merges=pairs).backend_tokenizer


def xlm_roberta_clip(directory):
    """M-CLIP as immich has it: XLM-R, the mean of its tokens and a projection, beside the settings of a CLIP."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    backend = piece_tokenizer(special, "<s> $A </s>", normalizer=normalizers.NFKC())
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", model_max_length=512
    )
    config = transformers.XLMRobertaConfig(
        **LAYERS, vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=100
    )
    text = lively(transformers.XLMRobertaModel(config, add_pooling_layer=False))
    projection = lively(torch.nn.Linear(WIDTH, DIM))
    tower = torch.nn.ModuleList([text, projection])

    def say(ids, mask):
        states = text(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (states * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        return projection(mean)

    model, _, _, clip_text = open_clip_model()
    export(directory / "visual" / "model.onnx", model, model.encode_image, {"image": pixels(56)}, ["embedding"])
    example = torch.tensor([[0, 5, 2]], dtype=torch.int32)
    inputs = {"input_ids": example, "attention_mask": torch.ones_like(example)}
    export(directory / "textual" / "model.onnx", tower, say, inputs, ["embedding"])
    tokenizer.save_pretrained(directory / "textual")
    settings(
        directory,
        config={"embed_dim": DIM, "vision_cfg": {}, "text_cfg": clip_text},
        visual__preprocess_cfg={"size": 56, "mean": CLIP_MEAN, "std": CLIP_STD, "interpolation": "bicubic"},
    )
    look = open_clip_transform(56)

    def encode(text):
        tokens = tokenizer(text, truncation=True, max_length=77, return_tensors="pt")
        return say(tokens["input_ids"], tokens["attention_mask"])

    return Family(
        directory,
        lambda paths: each(lambda path: model.encode_image(look(path)), paths),
        lambda texts: each(encode, texts),
    )
