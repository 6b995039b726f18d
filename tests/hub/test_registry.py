"""The entries of the registry: what they promise, and that each manifest opens networks like the published."""

import json
import re
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import pytest
import toy
from onnx import TensorProto, helper

import plushie_search as ps
from plushie_search import ModelError, _core, hub
from plushie_search.cli import main
from plushie_search.hub.registry import REGISTRY, entries

ENTRIES = {name: entry for name, entry in entries().items() if entry.repository is not None}

#: Entries whose revision and digests are all in the registry, so that the first download is verified too.
PINNED = {
    "ViT-B-32::openai",
    "chinese-clip-vit-base-patch16",
    "dinov2-base",
    "dinov2-small",
    "dinov3-small",
    "mobileclip-s0",
    "mobileclip-s1",
    "siglip-base-patch16-224",
    "siglip2-base-patch16-224",
}


def test_the_models_that_were_asked_for_are_there():
    wanted = """
        plushie-mini ViT-B-32::openai ViT-B-16::openai ViT-L-14::openai ViT-L-14-336::openai RN50x64::openai
        ViT-B-32::laion2b_e16 ViT-B-32::laion2b-s34b siglip2-base-patch16-224 chinese-clip-vit-base-patch16 jina-clip-v2
        xlm-roberta-base-ViT-B-32 mobileclip-s0 mobileclip-s1 mobileclip-s2 mobileclip-b TinyCLIP-ViT-8M-16-Text-3M
        TinyCLIP-ViT-39M-16-Text-19M dinov2-small dinov2-base dinov3-small resnet50
    """
    assert set(wanted.split()) <= set(ps.models())
    assert ps.models()[0] == hub.DEFAULT_MODEL


def test_pins_are_told():
    assert {name for name, entry in ENTRIES.items() if entry.pinned} == PINNED


def test_licenses_that_restrict_ask_for_consent():
    asking = {entry.license for entry in entries().values() if entry.consent}
    assert asking == {"Apple-AMLR", "CC-BY-NC-4.0", "DINOv3"}
    assert {entry.license for entry in entries().values()} - asking == {"Apache-2.0", "MIT"}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_a_manifest_names_only_files_that_are_downloaded(entry):
    towers = [entry.manifest[tower] for tower in ("image", "text") if tower in entry.manifest]
    named = {tower[key] for tower in towers for key in ("file", "tokenizer") if key in tower}
    assert named <= {file.path for file in entry.files}
    beside = {file.path for file in entry.files} - named
    assert all(path.endswith(".onnx_data") and path.removesuffix("_data") in named for path in beside)
    assert ("text" in entry.manifest) == bool(entry.languages)
    assert entry.size is not None


def published(entry):
    """Small networks that take and give what the published ones do, and the weights of their towers.

    A picture's vector is the mean of each channel times weights; a text's is the mean of its tokens' rows.
    """
    random = np.random.default_rng(len(entry.name))
    image, text = entry.manifest["image"], entry.manifest.get("text")
    together = text is not None and image["file"] == text["file"]
    immich = image["file"].startswith("visual/")
    names = ("image", "text", "embedding", "embedding") if immich else ("pixel_values", "input_ids", None, None)
    pixels, ids, image_output, text_output = names
    image_output = image.get("output") or image_output or "features"
    height, width = image["preprocess"]["size"]
    weights = random.normal(size=(3, entry.dimension)).astype(np.float32)
    rows = random.normal(size=(len(toy.WORDS), entry.dimension)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", [pixels, "area"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["vectors"]),
    ]
    if image.get("pool"):  # the first of two tokens
        nodes.append(helper.make_node("Unsqueeze", ["vectors", "one"], ["first"]))
        nodes.append(helper.make_node("Concat", ["first", "first"], [image_output], axis=1))
        shape = ["batch", 2, entry.dimension]
    else:
        nodes.append(helper.make_node("Identity", ["vectors"], [image_output]))
        shape = ["batch", entry.dimension]
    inputs = [(pixels, TensorProto.FLOAT, ["batch", 3, height, width])]
    outputs = [(image_output, TensorProto.FLOAT, shape)]
    constants = {"area": np.array([2, 3]), "weights": weights, "one": np.array([1])}
    networks = {}
    if not together:
        networks[image["file"]] = toy.model(nodes, inputs, outputs, constants)
        nodes, inputs, outputs, constants = [], [], [], {}
    if text is not None:
        text_output = text.get("output") or text_output
        nodes += [
            helper.make_node("Gather", ["rows", ids], ["embedded"]),
            helper.make_node("ReduceMean", ["embedded", "tokens"], [text_output], keepdims=0),
        ]
        columns = text["max_length"] if text["padding"] == "fixed" else "length"
        inputs.append((ids, TensorProto.INT32 if immich else TensorProto.INT64, ["batch", columns]))
        outputs.append((text_output, TensorProto.FLOAT, ["batch", entry.dimension]))
        networks[text["file"]] = toy.model(nodes, inputs, outputs, {**constants, "rows": rows, "tokens": np.array([1])})
    return networks, weights, rows


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_a_manifest_opens_networks_like_the_published(entry, tmp_path, runtime):
    networks, weights, rows = published(entry)
    for file in entry.files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.path in networks:
            onnx.save(networks[file.path], path)
        elif PurePosixPath(file.path).name == "tokenizer.json":
            toy.tokenizer().save(str(path))
    encoder = _core.Encoder(tmp_path, runtime=runtime, threads=1, manifest=entry.manifest_at("0" * 40))
    assert (encoder.name, encoder.dim) == (entry.name, entry.dimension)
    preprocess = entry.manifest["image"]["preprocess"]
    color = np.array([200, 30, 90])
    pixels = (color / 255 - preprocess["mean"]) / preprocess["std"]
    [vector] = encoder.encode_images(np.full((50, 60, 3), color, np.uint8))
    np.testing.assert_allclose(vector, toy.unit(pixels @ weights), atol=1e-4)
    if text := entry.manifest.get("text"):
        ids = [toy.BOS, *map(toy.WORDS.index, ["pink", "rabbit"]), toy.EOS]
        if text["padding"] == "fixed":
            ids += [text["pad_id"]] * (text["max_length"] - len(ids))
        [vector] = encoder.encode_texts("pink rabbit")
        np.testing.assert_allclose(vector, toy.unit(rows[ids].mean(axis=0)), atol=1e-4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dimension": "512"}, "dimension must be a whole number of at least 1, not '512'"),
        ({"dimension": True}, "dimension must be a whole number of at least 1, not True"),
        ({"about_bytes": -5}, "about_bytes must be a whole number of at least 1, not -5"),
        ({"license": None}, "license must be a str, not None"),
        ({"repository": "a/b/c"}, "repository 'a/b/c' is not of the form owner/name"),
        ({"repository": "../b"}, "is not of the form owner/name"),
        ({"revision": "main"}, "revision 'main' is no commit of 40 hexadecimal digits"),
        ({"files": {"../secret": {}}}, "file '../secret' must be a path inside the repository"),
        ({"files": {"/etc/passwd": {}}}, "file '/etc/passwd' must be a path inside the repository"),
        ({"files": {"a": {"sha256": "abc"}}}, "file 'a': sha256 must be 64 hexadecimal digits, or null"),
        ({"files": {}}, "it needs a repository with files, or an export"),
        ({"color": "pink"}, "'color' is no key of an entry"),
    ],
)
def test_a_registry_of_ones_own_that_is_wrong(change, reason, tmp_path, monkeypatch):
    whole = json.loads(REGISTRY.read_text(encoding="utf-8"))
    entry = {**whole["models"]["resnet50"], **change}
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"format": 1, "models": {"mine": entry}}))
    monkeypatch.setenv("PLUSHIE_REGISTRY", str(own))
    with pytest.raises(ValueError, match=r"registry .*own\.json, model 'mine': ") as error:
        ps.models()
    assert reason in str(error.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2, "models": {}}', '{"format": 1, "models": []}'])
def test_other_files_are_no_registries(text, tmp_path, monkeypatch):
    own = tmp_path / "own.json"
    own.write_text(text)
    monkeypatch.setenv("PLUSHIE_REGISTRY", str(own))
    with pytest.raises(ValueError, match=r"registry .*own\.json"):
        ps.models()
    monkeypatch.setenv("PLUSHIE_REGISTRY", str(tmp_path / "gone.json"))
    with pytest.raises(ValueError, match=r"gone\.json cannot be read"):
        ps.models()


def test_the_registry_in_the_documentation(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```json\n(.*?)^```$", page.partition("## A registry of your own")[2], re.M | re.S)
    (tmp_path / "own.json").write_text(example)
    monkeypatch.setenv("PLUSHIE_REGISTRY", str(tmp_path / "own.json"))
    entry = entries()["our-clip"]
    assert (entry.consent, entry.dimension, entry.pinned) == ("no commercial use", 512, False)
    assert main(["models", "list"]) == 0
    assert re.search(r"^our-clip +512 .*CC-BY-NC-4.0 \* +en\n  The things that", capsys.readouterr().out, re.M)
    # The manifest is one that the core takes: what is missing are the files.
    with pytest.raises(ModelError, match=r"image\.onnx is missing"):
        _core.Encoder(tmp_path, runtime=hub.runtime_library(), manifest=entry.manifest_at("0" * 40))


def test_a_name_that_is_nearly_right(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"unknown model 'vit-b-32::OpenAI'; did you mean ViT-B-32::openai"):
        ps.Engine(tmp_path / "toys", model="vit-b-32::OpenAI")
    assert not (tmp_path / "toys").exists()
    assert main(["models", "show", "dinov2"]) == 2
    assert "did you mean dinov2-" in capsys.readouterr().err


def test_the_list_shows_every_model_and_license(capsys):
    assert main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1:2]] == ps.models()
    assert max(map(len, lines)) <= 100
    assert sum("first to try" in line for line in lines) == 1
    assert re.fullmatch(r"plushie-mini +512 +\d+ MB +built in +Apache-2.0 +en, zh-Hans, zh-Hant", lines[1])
    assert lines[-1] == "* asks for consent, once: --accept-license"
    for name, entry in entries().items():
        assert entry.license in next(line for line in lines if line.startswith(f"{name} "))
    assert main(["models", "list", "--json"]) == 0
    facts = {fact["name"]: fact for fact in json.loads(capsys.readouterr().out)}
    assert list(facts) == ps.models()
    assert facts["dinov2-small"]["files"][0]["sha256"].startswith("f22797ea")
    assert facts["plushie-mini"]["dimension"] == 512


def test_show_says_all_about_the_built_in_model_too(capsys):
    assert main(["models", "show", "plushie-mini"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


def test_show_describes_a_directory(toy_model, capsys):
    assert main(["models", "show", str(toy_model)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("toy\n")
    assert re.search(r"fingerprint +[0-9a-f]{64}", shown)
    assert re.search(rf"dimension +{toy.DIM}\b", shown)
    assert re.search(r"text padding +longest", shown)


def test_check_of_the_built_in_model(capsys):
    assert main(["models", "check", "plushie-mini"]) == 0
    out = capsys.readouterr().out
    assert "image.onnx, output image_embeds; finite, of length 1; original unknown; " in out
    encoder = hub.open_encoder("plushie-mini", threads=1)
    assert encoder.fingerprint in out
    assert main(["models", "check", "gone"]) == 2
