"""Tiny PyTorch models with random weights become model directories that give the same vectors."""

import hashlib
import json
import re
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import toy
from PIL import Image

from plushie_search import ModelError, _core, check_model, hub
from plushie_search.cli import main

torch = pytest.importorskip("torch", reason="exports take torch")
open_clip = pytest.importorskip("open_clip", reason="exports take open_clip")
transformers = pytest.importorskip("transformers", reason="exports take transformers")

from plushie_search.convert.export import write  # noqa: E402
from plushie_search.convert.graph import files  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

SIDE = 32
TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": SIDE, "patch_size": 8}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(3)
    torch.set_num_threads(1)


def clip_words(directory):
    """CLIP's own vocabulary, as files of transformers."""
    bpe = open_clip.tokenizer.SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(text, text): id for text, id in bpe.encoder.items()}
    merges = sorted(bpe.bpe_ranks, key=bpe.bpe_ranks.get)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.json").write_text(json.dumps(vocabulary))
    (directory / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges), ""]))
    return transformers.CLIPTokenizer.from_pretrained(directory)


def toy_words():
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=toy.tokenizer(), pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    )


def clip(directory):
    text = {**TOWER, "vocab_size": 49408, "max_position_embeddings": 77, "eos_token_id": 49407, "bos_token_id": 49406}
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return transformers.CLIPModel(config), clip_words(directory), processor


def siglip(directory):
    text = {**TOWER, "vocab_size": len(toy.WORDS), "max_position_embeddings": 64, "projection_size": 32}
    config = transformers.SiglipConfig(text_config=text, vision_config=VISION)
    processor = transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}, resample=2)
    return transformers.SiglipModel(config), toy_words(), processor


def chinese_clip(directory):
    text = {**TOWER, "vocab_size": len(toy.WORDS), "max_position_embeddings": 52}
    config = transformers.ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=24)
    processor = transformers.ChineseCLIPImageProcessor(size={"height": SIDE, "width": SIDE}, do_center_crop=False)
    return transformers.ChineseCLIPModel(config), toy_words(), processor


def dinov2(directory):
    config = transformers.Dinov2Config(**{**VISION, "image_size": 40})
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 36}, crop_size={"height": SIDE, "width": SIDE}, image_mean=[0.485, 0.456, 0.406]
    )
    return transformers.Dinov2Model(config), None, processor


def dinov3(directory):
    config = transformers.DINOv3ViTConfig(**VISION, num_register_tokens=4)
    return (
        transformers.DINOv3ViTModel(config),
        None,
        transformers.DINOv3ViTImageProcessor(size={"height": SIDE, "width": SIDE}),
    )


def vectors(answer):
    """Unit vectors of an answer of transformers 4 or 5."""
    rows = answer if isinstance(answer, torch.Tensor) else answer.pooler_output
    return toy.unit(rows.detach().double().numpy())


@pytest.mark.parametrize("make", [clip, siglip, chinese_clip, dinov2, dinov3])
def test_transformers(make, tmp_path, runtime):
    directory = tmp_path / "tiny"
    model, tokenizer, processor = make(directory)
    model.eval().save_pretrained(directory)
    processor.save_pretrained(directory)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)
    out = tmp_path / "out"
    likeness = write.export(f"transformers:{directory}", out, license="MIT", languages=["en"])
    assert min(likeness.values()) >= 0.9999
    encoder = _core.Encoder(out, runtime=runtime, threads=1)
    assert encoder.name == "tiny"
    views = [Image.fromarray(_core.Plush(seed).render(size=90)).crop((0, 0, 60 + 10 * seed, 80)) for seed in range(3)]
    pixels = processor(images=views, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        answer = model.get_image_features(pixel_values=pixels) if tokenizer else model(pixel_values=pixels)
        assert (encoder.encode_images(views) * vectors(answer)).sum(axis=1).min() >= 0.9999
        if tokenizer is not None:
            for text in ("a pink rabbit", "粉色 bear", "the teddy with a red scarf " * 30):
                padding = {"padding": "max_length", "max_length": 64} if make is siglip else {"max_length": 77}
                padding = {"max_length": 52} if make is chinese_clip else padding
                tokens = tokenizer(text, return_tensors="pt", truncation=True, **padding)
                kept = ("input_ids", "attention_mask") if make is chinese_clip else ("input_ids",)
                answer = model.get_text_features(**{key: tokens[key] for key in kept})
                assert (encoder.encode_texts(text) * vectors(answer)).sum() >= 0.9999


@pytest.fixture
def tiny_open_clip(tmp_path):
    """Makes the directory of a tiny open_clip model."""

    def make(preprocess=None, *, text=None, **changes):
        directory = tmp_path / "tiny-open-clip"
        directory.mkdir(exist_ok=True)
        vision = {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
        text = text or {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
        config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, **changes}
        whole = {"model_cfg": config, "preprocess_cfg": preprocess or {}}
        (directory / "open_clip_config.json").write_text(json.dumps(whole))
        model = open_clip.create_model(f"local-dir:{directory}", load_weights=False, pretrained_text=False)
        torch.save(model.state_dict(), directory / "open_clip_pytorch_model.bin")
        return directory

    return make


@pytest.mark.parametrize(
    "preprocess",
    [
        {},
        {"resize_mode": "squash", "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.5] * 3},
        {"resize_mode": "longest", "fill_color": 128},
    ],
)
def test_open_clip(preprocess, tiny_open_clip, tmp_path, runtime):
    directory = tiny_open_clip(preprocess, quick_gelu=True)
    assert min(write.export(f"open_clip:local-dir:{directory}", tmp_path / "out").values()) >= 0.9999
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{directory}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{directory}")
    encoder = _core.Encoder(tmp_path / "out", runtime=runtime, threads=1)
    views = [Image.fromarray(_core.Plush(seed).render(size=90)).crop((0, 0, 60 + 11 * seed, 80)) for seed in range(3)]
    texts = ["A pink rabbit's ears, 2 of 10!", "粉色的兔子", "naïve café ☕", "ﬁne &amp;amp; dandy  “Bär”", "x" * 300]
    with torch.inference_mode():
        wanted = vectors(model.eval().encode_image(torch.stack([transform(view) for view in views])))
        assert (encoder.encode_images(views) * wanted).sum(axis=1).min() >= 0.9999
        wanted = vectors(model.encode_text(tokenizer(texts)))
        np.testing.assert_allclose(encoder.encode_texts(texts), wanted, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"custom_text": True}, {"text_cfg": {"no_causal_mask": True}}])
def test_texts_that_need_no_padding_get_none(changes, tiny_open_clip, tmp_path, runtime):
    words = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    text = {**words, **changes.get("text_cfg", {})}
    directory = tiny_open_clip(text=text, custom_text=bool(changes))
    write.export(f"open_clip:local-dir:{directory}", tmp_path / "out")
    free = "no_causal_mask" not in text
    assert json.loads((tmp_path / "out" / "model.json").read_text())["text"]["padding"] == (
        "longest" if free else "fixed"
    )
    network = onnxruntime.InferenceSession(tmp_path / "out" / "text.onnx")
    model = open_clip.create_model(f"local-dir:{directory}").eval()
    texts = ["toy", "a brown bear with a red scarf", "x" * 300, "toy " * 74, "toy " * 75, "toy " * 100]
    encoded = _core.Encoder(tmp_path / "out", runtime=runtime, threads=1).encode_texts(texts)
    for ids, vector in zip(open_clip.get_tokenizer("ViT-B-32")(texts), encoded, strict=True):
        with torch.inference_mode():
            wanted = vectors(model.encode_text(ids[None]))[0]
        np.testing.assert_allclose(vector, wanted, atol=1e-5)
        if free:
            end = int(ids.argmax()) + 1
            [found] = network.run(None, {"input_ids": ids[None, :end].numpy()})
            np.testing.assert_allclose(found[0] / np.linalg.norm(found[0]), wanted, atol=1e-5)


def siglip_text(words):
    """As SigLIP in open_clip: texts are cleaned of punctuation, the network looks at its padding."""
    tower = {
        "context_length": 12,
        "vocab_size": len(toy.WORDS),
        "width": 32,
        "heads": 2,
        "layers": 2,
        "proj_bias": True,
    }
    return {
        **tower,
        "no_causal_mask": True,
        "pool_type": "last",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        **words,
    }


def roberta_text(words):
    """As XLM-RoBERTa in open_clip: a text tower of transformers."""
    config = {**TOWER, "vocab_size": len(toy.WORDS), "pad_token_id": 0, "max_position_embeddings": 90}
    transformers.XLMRobertaConfig(**config).save_pretrained(words["hf_tokenizer_name"])
    name = words["hf_tokenizer_name"]
    return {"hf_model_name": name, "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler", **words}


@pytest.mark.parametrize("kind", [siglip_text, roberta_text])
def test_open_clip_with_text_towers_of_others(kind, tiny_open_clip, tmp_path, runtime):
    toy_words().save_pretrained(tmp_path / "tiny-open-clip")
    text = kind({"hf_tokenizer_name": str(tmp_path / "words")})
    directory = tiny_open_clip(text=text, custom_text=True)
    assert min(write.export(f"open_clip:local-dir:{directory}", tmp_path / "out").values()) >= 0.9999
    model = open_clip.create_model(f"local-dir:{directory}").eval()
    texts = ["A pink_rabbit, with: the RED scarf!", "粉色的兔子", "the teddy bear " * 40]
    with torch.inference_mode():
        wanted = vectors(model.encode_text(open_clip.get_tokenizer(f"local-dir:{directory}")(texts)))
    encoder = _core.Encoder(tmp_path / "out", runtime=runtime, threads=1)
    np.testing.assert_allclose(encoder.encode_texts(texts), wanted, atol=1e-4)


def test_an_export_has_the_vectors_of_its_original_for_later_checks(tiny_open_clip, tmp_path, capsys):
    directory, out = tiny_open_clip(), tmp_path / "out"
    assert (
        main(
            ["models", "export", f"open_clip:local-dir:{directory}", str(out), "--license", "MIT", "--languages", "en"]
        )
        == 0
    )
    told = rf"{out}: least cosine with the original: image (1\.0000|0\.9999)\d\d, text 1\.000000\n"
    assert re.fullmatch(told, capsys.readouterr().out)
    assert min(check_model(out).likeness.values()) >= 0.9999
    manifest = json.loads((out / "model.json").read_text())
    assert (manifest["name"], manifest["license"], manifest["languages"]) == ("tiny-open-clip", "MIT", ["en"])
    manifest["image"]["preprocess"]["mean"] = [0.0, 0.0, 0.0]
    (out / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match="image tower's vector has the cosine"):
        check_model(out)


def test_after_the_last_attention_only_the_token_that_is_read_is_computed(tiny_open_clip, tmp_path):
    """The vectors are compared with the original's by the exporter; here, that there is less to compute."""
    write.export(f"open_clip:local-dir:{tiny_open_clip()}", tmp_path / "out")
    graph = onnx.load(tmp_path / "out" / "image.onnx").graph
    choices = [node for node in graph.node if node.op_type == "Gather" and node.output[0].endswith("/token")]
    assert choices
    last = max(place for place, node in enumerate(graph.node) if node.op_type == "Softmax")
    position = {node.output[0]: place for place, node in enumerate(graph.node)}
    assert all(position[choice.output[0]] < len(graph.node) - 6 for choice in choices)
    assert any(position[choice.output[0]] > last for choice in choices)


def test_branches_of_training_are_put_together(tiny_open_clip, tmp_path):
    """Each branch beside a convolution is a convolution and a sum of its own; the exporter compares the vectors."""
    tower = {"image_size": 64, "timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": None}
    directory = tiny_open_clip(vision_cfg=tower, custom_text=True)
    assert write.export(f"open_clip:local-dir:{directory}", tmp_path / "out")["image"] >= 0.9999
    model = open_clip.create_model(f"local-dir:{directory}")
    trained = sum(isinstance(part, torch.nn.Conv2d) for part in model.visual.modules())
    written = sum(node.op_type == "Conv" for node in onnx.load(tmp_path / "out" / "image.onnx").graph.node)
    assert written < 0.9 * trained


@pytest.mark.parametrize("make", [clip, siglip, dinov2])
def test_networks_of_16_bits_of_transformers(make, tmp_path, runtime):
    directory, out = tmp_path / "tiny", tmp_path / "out"
    model, tokenizer, processor = make(directory)
    model.eval().save_pretrained(directory)
    processor.save_pretrained(directory)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)
    likeness = write.export(f"transformers:{directory}", out, fp16=True)
    assert min(likeness.values()) >= 0.999
    assert_fp16(out, runtime, {tower.removesuffix("_fp16") for tower in likeness})


@pytest.mark.parametrize(
    "tower",
    [
        {},
        {"layers": [1, 1, 1, 1], "width": 16, "image_size": 64},
        {"image_size": 64, "timm_model_name": "fastvit_mci0", "timm_pool": "avg", "timm_proj": None},
    ],
)
def test_networks_of_16_bits_of_open_clip(tower, tiny_open_clip, tmp_path, runtime):
    """Vision transformers, which turn their pictures; ResNets, MobileCLIP."""
    changes = {"vision_cfg": tower, "custom_text": True} if tower else {}
    out, source = tmp_path / "out", f"open_clip:local-dir:{tiny_open_clip(**changes)}"
    assert main(["models", "export", source, str(out), "--fp16"]) == 0
    assert_fp16(out, runtime, {"image", "text"})


def assert_fp16(out, runtime, towers):
    """The networks of 16 bits are half as large and give nearly the vectors of the others."""
    for tower in towers:
        whole, half = out / f"{tower}.onnx", out / f"{tower}_fp16.onnx"
        assert half.stat().st_size < 0.65 * whole.stat().st_size
        onnx.checker.check_model(onnx.load(half), full_check=True)
    whole = _core.Encoder(out, runtime=runtime, threads=1)
    half = _core.Encoder(out, runtime=runtime, threads=1, precision="fp16")
    assert half.fingerprint == whole.fingerprint
    assert {file for file, _ in half.outputs.values()} == {f"{tower}_fp16.onnx" for tower in towers}
    pictures = [_core.Plush(seed).render(size=90) for seed in range(5)]
    vectors, expected = half.encode_images(pictures), whole.encode_images(pictures)
    assert not np.array_equal(vectors, expected)
    assert (vectors * expected).sum(axis=1).min() >= 0.999
    if "text" in towers:
        texts = ["a toy", "a pink rabbit with a scarf", "粉色的兔子", "teddy " * 90]
        vectors, expected = half.encode_texts(texts), whole.encode_texts(texts)
        assert not np.array_equal(vectors, expected)
        assert (vectors * expected).sum(axis=1).min() >= 0.999


def test_large_weights_of_16_bits(tiny_open_clip, tmp_path, monkeypatch, runtime):
    source = f"open_clip:local-dir:{tiny_open_clip()}"
    monkeypatch.setattr(files, "WHOLE", 1000)
    write.export(source, tmp_path / "out", fp16=True)
    for tower in ("image", "text"):
        whole, half = (tmp_path / "out" / f"{tower}{ending}.onnx_data" for ending in ("", "_fp16"))
        assert half.stat().st_size < 0.6 * whole.stat().st_size
    encoder = _core.Encoder(tmp_path / "out", runtime=runtime, threads=1, precision="fp16")
    assert encoder.outputs["text"][0] == "text_fp16.onnx"


def test_large_weights_lie_beside_the_network(tiny_open_clip, tmp_path, monkeypatch):
    directory = tiny_open_clip()
    small = write.export(f"open_clip:local-dir:{directory}", tmp_path / "small")
    monkeypatch.setattr(files, "WHOLE", 1000)
    assert write.export(f"open_clip:local-dir:{directory}", tmp_path / "large") == pytest.approx(small)
    assert {path.name for path in (tmp_path / "large").iterdir()} == {
        "image.onnx",
        "image.onnx_data",
        "text.onnx",
        "text.onnx_data",
        "model.json",
        "probe.json",
        "tokenizer.json",
    }
    # Where the networks run on a server, these stand for them.
    digests = json.loads((tmp_path / "large" / "probe.json").read_text(encoding="utf-8"))["sha256"]
    assert digests == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "large").glob("*.onnx*")
    }


@pytest.mark.parametrize("wrong", [{"mean": [0.0, 0.0, 0.0]}, {"filter": "bilinear"}, {"resize": "squash"}])
def test_an_export_with_other_pixels_is_not_written(wrong, tiny_open_clip, tmp_path, monkeypatch):
    from plushie_search.convert.export import from_open_clip

    right = from_open_clip.preprocess
    monkeypatch.setattr(from_open_clip, "preprocess", lambda settings: {**right(settings), **wrong})
    with pytest.raises(ModelError, match=r"prepared otherwise .* of 256 levels on average, so nothing was written"):
        write.export(f"open_clip:local-dir:{tiny_open_clip()}", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-open-clip"]


def test_an_export_with_other_vectors_is_not_written(tiny_open_clip, tmp_path, monkeypatch):
    write_right = write._write

    def write_wrong(original, out, name, license, languages):
        write_right(original, out, name, license, languages)
        manifest = json.loads((out / "model.json").read_text())
        manifest["text"]["max_length"] = 3
        (out / "model.json").write_text(json.dumps(manifest))

    monkeypatch.setattr(write, "_write", write_wrong)
    with pytest.raises(ModelError, match=r"exported text tower has only the cosine .* so nothing was written"):
        write.export(f"open_clip:local-dir:{tiny_open_clip()}", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-open-clip"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("ViT-B-32", "neither open_clip:ARCHITECTURE/PRETRAINED nor transformers:NAME"),
        ("open_clip:ViT-B-32", "say which weights, ViT-B-32/WEIGHTS; there are: openai"),
        ("open_clip:no-such/openai", "open_clip has no architecture no-such; open_clip.list_models() has their names"),
        ("open_clip:ViT-B-23", "open_clip has no architecture ViT-B-23; did you mean ViT-B-32"),
        ("open_clip:ViT-B-32/no-such", "open_clip model ViT-B-32/no-such cannot be loaded: "),
        ("transformers:DIRECTORY/..", "cannot be loaded: Unrecognized model in "),
        ("transformers:DIRECTORY", "is of the kind bert; these can be exported: clip, "),
    ],
)
def test_unsupported_models_are_not_exported(source, reason, tmp_path, capsys):
    (tmp_path / "bert").mkdir()
    transformers.BertConfig(**TOWER).save_pretrained(tmp_path / "bert")
    assert main(["models", "export", source.replace("DIRECTORY", str(tmp_path / "bert")), str(tmp_path / "out")]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_export_replaces_nothing(tmp_path):
    with pytest.raises(FileExistsError, match="give a directory that does not"):
        write.export("open_clip:ViT-B-32/openai", tmp_path)


def test_without_torch_it_names_the_package(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "plushie_search.convert.export.write", None)
    assert main(["models", "export", "open_clip:ViT-B-32/openai", str(tmp_path / "out")]) == 2
    assert "install them with: pip install 'plushie_search[export]'" in capsys.readouterr().err


def test_the_names_of_the_registry_that_have_to_be_made_are_sources():
    from plushie_search.hub.registry import entries

    made = [entry.export for entry in entries().values() if entry.export]
    assert made
    assert all(source.split(":")[0] in ("open_clip", "transformers") for source in made)
    assert hub.DEFAULT_MODEL not in made
