"""Model directories as others arrange them: what is found out, what is refused, and the vectors."""

import json
import shutil
from contextlib import suppress

import numpy as np
import onnx
import pytest
import toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layouts import SETTINGS, arrange, combined_network, hub_layout, immich_layout
from onnx import TensorProto, helper
from PIL import Image

from plushie_search import ModelError, _core, hub

COLOR = (200, 90, 40)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """A picture of one color."""
    path = tmp_path_factory.mktemp("pictures") / "plain.png"
    Image.new("RGB", (30, 20), COLOR).save(path)
    return path


@pytest.fixture
def opened(runtime):
    """Opens a model directory."""
    return lambda directory, manifest=None: _core.Encoder(directory, runtime=runtime, threads=1, manifest=manifest)


def found(encoder, side):
    """Returns the encoder's findings about a tower."""
    return json.loads(encoder.manifest)[side]


def check_vectors(encoder, picture):
    """Against those computed by hand."""
    np.testing.assert_allclose(encoder.encode_images(picture)[0], toy.color_vector(COLOR), atol=1e-6)
    words = ["pink", "rabbit"]
    np.testing.assert_allclose(encoder.encode_texts("PINK rabbit")[0], toy.words_vector(words), atol=1e-6)


def test_the_layout_of_the_hub(tmp_path, opened, picture):
    encoder = opened(hub_layout(tmp_path / "clip-tiny"))
    assert (encoder.name, encoder.dim) == ("clip-tiny", toy.DIM)
    check_vectors(encoder, picture)
    text = found(encoder, "text")
    assert (text["file"], text["output"], text["padding"]) == ("onnx/text_model.onnx", "text_embeds", "longest")
    assert found(encoder, "image")["file"] == "onnx/vision_model.onnx"


def test_processors_of_newer_versions(tmp_path, opened, picture):
    """They are written into one file with the rest of what prepares inputs."""
    plain = opened(hub_layout(tmp_path / "m"))
    changes = {"preprocessor_config_dot_json": None, "processor_config_dot_json": {"image_processor": SETTINGS}}
    encoder = opened(hub_layout(tmp_path / "m", **changes))
    assert encoder.manifest == plain.manifest


def test_the_findings_are_a_manifest(tmp_path, opened):
    """Saved as model.json it describes the same model, and nothing was written before."""
    directory = hub_layout(tmp_path / "clip-tiny")
    before = sorted(directory.rglob("*"))
    encoder = opened(directory)
    assert sorted(directory.rglob("*")) == before
    (directory / "model.json").write_text(encoder.manifest)
    again = opened(directory)
    assert (again.fingerprint, again.manifest) == (encoder.fingerprint, encoder.manifest)
    assert opened(directory, encoder.manifest).fingerprint == encoder.fingerprint


def test_a_snapshot_of_the_hub(tmp_path, opened, picture):
    """Its files are links into a store of blobs, weights outside of the network, too; its repository names it."""
    directory = hub_layout(tmp_path / "models--maker--clip-tiny" / "snapshots" / "0af3")
    apart = {"save_as_external_data": True, "location": "vision_model.onnx_data", "size_threshold": 50}
    onnx.save_model(toy.image_tower(), directory / "onnx" / "vision_model.onnx", **apart)
    blobs = directory.parents[1] / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for path in directory.rglob("*") if path.is_file())):
        (blobs / str(number)).write_bytes(path.read_bytes())
        path.unlink()
        path.symlink_to(blobs / str(number))
    encoder = opened(directory)
    assert repr(encoder).startswith('Encoder("clip-tiny", version="0af3"')
    check_vectors(encoder, picture)


def test_layouts_are_opened_by_path(tmp_path, monkeypatch, picture):
    directory = hub_layout(tmp_path / "clip-tiny")
    assert hub.resolve(directory) == (directory, None)
    monkeypatch.chdir(tmp_path)
    check_vectors(hub.open_encoder("clip-tiny", threads=1), picture)


def test_full_precision_is_preferred_unless_told(tmp_path, opened, picture):
    other = toy.image_tower(weights=-toy.IMAGE_WEIGHTS)
    directory = hub_layout(tmp_path / "m", onnx__vision_model_fp16_dot_onnx=other)
    plain = opened(directory)
    check_vectors(plain, picture)
    told = opened(
        directory, json.dumps({"format": 1, "layout": "hub", "image": {"file": "onnx/vision_model_fp16.onnx"}})
    )
    np.testing.assert_allclose(told.encode_images(picture), -plain.encode_images(picture), atol=1e-6)
    with pytest.raises(ModelError, match=r'no ONNX network of the variant "q8": neither onnx/vision_model.onnx and'):
        opened(directory, json.dumps({"format": 1, "layout": "hub", "variant": "q8"}))
    with pytest.raises(ModelError, match=r'variant "best" is none of \["fp32", "fp16"'):
        opened(directory, json.dumps({"format": 1, "layout": "hub", "variant": "best"}))
    (directory / "onnx" / "text_model_fp16.onnx").write_bytes((directory / "onnx" / "text_model.onnx").read_bytes())
    both = opened(directory, json.dumps({"format": 1, "layout": "hub", "variant": "fp16"}))
    assert [found(both, side)["file"] for side in ("image", "text")] == [
        "onnx/vision_model_fp16.onnx",
        "onnx/text_model_fp16.onnx",
    ]


def test_a_manifest_overrides_the_findings(tmp_path, opened):
    directory = hub_layout(tmp_path / "m")
    over = {
        "format": 1,
        "layout": "hub",
        "name": "mine",
        "text": {"max_length": 5},
        "image": {"preprocess": {"filter": "bicubic"}},
    }
    (directory / "model.json").write_text(json.dumps(over))
    encoder = opened(directory)
    assert (encoder.name, found(encoder, "text")["max_length"]) == ("mine", 5)
    assert found(encoder, "image")["preprocess"]["filter"] == "bicubic"
    assert found(opened(directory, json.dumps({"format": 1, "layout": "hub", "text": None})), "text") is None
    for wrong in ("../image.onnx", "/etc/passwd"):
        manifest = json.dumps({"format": 1, "layout": "hub", "image": {"file": wrong}})
        with pytest.raises(ModelError, match=r"it must be a path inside the model directory"):
            opened(directory, manifest)
    with pytest.raises(ModelError, match="unknown variant `attic`"):
        opened(directory, json.dumps({"format": 1, "layout": "attic"}))
    with pytest.raises(ModelError, match='variant "fp16" goes with layout "hub" only'):
        opened(directory, json.dumps({**toy.manifest(), "variant": "fp16"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer_dot_json": None}, r"tokenizer.json is missing; download it too, or save it with Python"),
        ({"preprocessor_config_dot_json": None}, r"preprocessor_config.json is missing; download it too"),
        (
            {"preprocessor_config_dot_json": {**SETTINGS, "resample": 1}},
            r"preprocessor_config.json: resample 1 \(lanczos\)",
        ),
        (
            {"onnx__vision_model_dot_onnx": None, "onnx__text_model_dot_onnx": None},
            r"there is no ONNX network: neither onnx/vision_model.onnx .*optimum-cli export onnx",
        ),
        (
            {"onnx__vision_model_dot_onnx": None, "onnx__text_model_dot_onnx": None, "model_dot_safetensors": {}},
            r"only weights of PyTorch; make .* by: plushie-search models export transformers:/.*/m NEW_DIRECTORY$",
        ),
        ({"onnx__vision_model_dot_onnx": toy.text_tower()}, r"onnx/vision_model.onnx has no input for pixels"),
        ({"onnx__text_model_dot_onnx": toy.image_tower()}, r"onnx/text_model.onnx has no input for tokens"),
        ({"onnx__text_model_dot_onnx": {}}, r"onnx/text_model.onnx is not an ONNX file, or is cut short"),
        ({"tokenizer_dot_json": {}}, r"tokenizer.json: missing field `model`"),
    ],
)
def test_missing_parts_in_the_layout_of_the_hub(tmp_path, opened, changes, message):
    directory = hub_layout(tmp_path / "m", **changes)
    with pytest.raises(ModelError, match=message):
        opened(directory)


def renamed(network, output):
    """A network with another name for its output."""
    made = onnx.ModelProto()
    made.CopyFrom(network)
    made.graph.node[-1].output[0] = made.graph.output[0].name = output
    return made


def test_towers_without_projection_are_refused(tmp_path, opened):
    """Their vectors would have the right length now and then, and mean nothing to the other tower."""
    directory = hub_layout(tmp_path / "m", onnx__vision_model_dot_onnx=renamed(toy.image_tower(), "pooler_output"))
    with pytest.raises(
        ModelError, match=r'has the outputs \["pooler_output"\] but not "image_embeds": it was exported'
    ):
        opened(directory)


def test_siglip_pads_always_lowers_and_has_no_mask(tmp_path, opened, picture):
    networks = {
        "onnx__vision_model_dot_onnx": renamed(toy.image_tower(), "pooler_output"),
        "onnx__text_model_dot_onnx": renamed(toy.text_tower(), "pooler_output"),
    }
    config = {"model_type": "siglip", "text_config": {"max_position_embeddings": 6}}
    encoder = opened(hub_layout(tmp_path / "m", config_dot_json=config, **networks))
    text = found(encoder, "text")
    assert (text["padding"], text["max_length"], text["mask"], text["clean"]) == ("fixed", 6, "all", ["lowercase"])
    gemma = {"pad_token": "[PAD]", "tokenizer_class": "GemmaTokenizer"}
    other = opened(hub_layout(tmp_path / "m", config_dot_json=config, tokenizer_config_dot_json=gemma, **networks))
    assert found(other, "text")["clean"] == ["lowercase-letters"]
    ids = [toy.BOS, toy.WORDS.index("red"), toy.EOS, toy.PAD, toy.PAD, toy.PAD]
    expected = toy.unit(toy.EMBEDDING[ids].mean(axis=0) @ toy.TEXT_WEIGHTS)
    np.testing.assert_allclose(encoder.encode_texts("RED")[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocessor_config_dot_json": {**SETTINGS, "do_normalize": False}},
        {"config_dot_json": {"model_type": "clip", "projection_dim": toy.DIM}},
    ],
)
def test_mobileclip_is_padded_with_0(tmp_path, opened, changes):
    """It calls itself CLIP, but each token sees all others; it is not described as transformers' CLIP is."""
    text = found(opened(hub_layout(tmp_path / "m", **changes)), "text")
    assert (text["padding"], text["pad_id"], text["mask"]) == ("fixed", 0, "all")


def test_networks_that_end_in_a_classifier_are_refused(tmp_path, opened):
    files = {
        "onnx__vision_model_dot_onnx": None,
        "onnx__text_model_dot_onnx": None,
        "onnx__model_dot_onnx": renamed(toy.image_tower(), "logits"),
    }
    with pytest.raises(ModelError, match=r'"resnet" has the outputs \["logits"\], .*export the network without its cl'):
        opened(hub_layout(tmp_path / "m", "resnet", **files))


def test_chinese_clip_was_trained_with_52_tokens(tmp_path, opened):
    config = {"model_type": "chinese_clip", "text_config": {"max_position_embeddings": 512}}
    text = found(opened(hub_layout(tmp_path / "m", config_dot_json=config)), "text")
    assert (text["padding"], text["max_length"]) == ("longest", 52)


def tokens_of_pictures():
    """A network that gives a vector for each of two patches: the picture's, and a constant one."""
    return toy.model(
        [
            helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["vector"]),
            helper.make_node("Unsqueeze", ["vector", "one"], ["first"]),
            helper.make_node("Concat", ["first", "rest"], ["last_hidden_state"], axis=1),
        ],
        [("pixel_values", TensorProto.FLOAT, [1, 3, toy.SIDE, toy.SIDE])],
        [("last_hidden_state", TensorProto.FLOAT, [1, 2, toy.DIM])],
        {
            "axes": np.array([2, 3]),
            "weights": toy.IMAGE_WEIGHTS,
            "one": np.array([1]),
            "rest": np.ones((1, 1, toy.DIM), np.float32),
        },
    )


@pytest.mark.parametrize(("model_type", "known"), [("dinov2", True), ("dinov3_vit", True), ("sam", False)])
def test_models_for_pictures_alone(tmp_path, opened, picture, model_type, known):
    files = {
        "onnx__vision_model_dot_onnx": None,
        "onnx__text_model_dot_onnx": None,
        "onnx__model_dot_onnx": tokens_of_pictures(),
    }
    directory = hub_layout(tmp_path / "m", model_type, **files)
    if not known:
        with pytest.raises(ModelError, match=r'type "sam" has the outputs \["last_hidden_state"\], of which none'):
            opened(directory)
        return
    encoder = opened(directory)
    assert (found(encoder, "image")["pool"], found(encoder, "text")) == ("cls", None)
    np.testing.assert_allclose(encoder.encode_images(picture)[0], toy.color_vector(COLOR), atol=1e-6)
    with pytest.raises(ModelError, match="has no text tower: it encodes pictures only"):
        encoder.encode_texts("bear")


def test_a_convolutional_network_leaves_ones_behind(tmp_path, opened, picture):
    network = toy.model(
        [
            helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["vector"]),
            helper.make_node("Unsqueeze", ["vector", "axes"], ["pooler_output"]),
        ],
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, toy.SIDE, toy.SIDE])],
        [("pooler_output", TensorProto.FLOAT, ["batch", toy.DIM, 1, 1])],
        {"axes": np.array([2, 3]), "weights": toy.IMAGE_WEIGHTS},
    )
    files = {"onnx__vision_model_dot_onnx": None, "onnx__text_model_dot_onnx": None, "model_dot_onnx": network}
    encoder = opened(hub_layout(tmp_path / "m", "resnet", **files))
    assert encoder.dim == toy.DIM
    np.testing.assert_allclose(encoder.encode_images(picture)[0], toy.color_vector(COLOR), atol=1e-6)


@pytest.mark.parametrize("needs_picture", [False, True])
def test_one_network_for_both(tmp_path, opened, picture, needs_picture):
    """Whether it can do without the other side or not."""
    files = {
        "onnx__vision_model_dot_onnx": None,
        "onnx__text_model_dot_onnx": None,
        "onnx__model_dot_onnx": combined_network(needs_picture=needs_picture),
    }
    encoder = opened(hub_layout(tmp_path / "m", "chinese_clip", **files))
    assert found(encoder, "image")["file"] == found(encoder, "text")["file"] == "onnx/model.onnx"
    check_vectors(encoder, picture)


def test_a_matryoshka_is_cut_and_scaled_again(toy_model, opened, picture):
    manifest = toy.manifest(dimension=4, matryoshka=True)
    encoder = opened(toy_model, json.dumps(manifest))
    expected = toy.unit(toy.color_vector(COLOR)[:4])
    np.testing.assert_allclose(encoder.encode_images(picture)[0], expected, atol=1e-6)
    np.testing.assert_allclose(encoder.encode_texts("red")[0], toy.unit(toy.words_vector(["red"])[:4]), atol=1e-6)
    assert encoder.fingerprint != opened(toy_model).fingerprint
    with pytest.raises(ModelError, match=r'gives 6 numbers, but .* or say "matryoshka": true where the first numbers'):
        opened(toy_model, json.dumps(toy.manifest(dimension=4)))
    with pytest.raises(ModelError, match=r'gives 6 numbers, but model.json says "dimension": 7'):
        opened(toy_model, json.dumps(toy.manifest(dimension=7, matryoshka=True)))


def test_immich(tmp_path, opened, picture):
    encoder = opened(immich_layout(tmp_path / "m"))
    check_vectors(encoder, picture)
    text = found(encoder, "text")
    assert (text["padding"], text["pad_id"], text["clean"]) == ("fixed", toy.PAD, ["ftfy", "html", "whitespace"])


@pytest.mark.parametrize(
    ("config", "clean"),
    [
        (
            {"hf_tokenizer_name": "t", "tokenizer_kwargs": {"clean": "canonicalize"}},
            "ftfy html punctuation lowercase whitespace",
        ),
        ({"hf_tokenizer_name": "t", "tokenizer_kwargs": {"clean": "lower"}}, "ftfy html whitespace lowercase"),
        # M-CLIP: the settings are those of the CLIP for its pictures, but the tokenizer is another, and cased.
        ({}, ""),
    ],
)
def test_immich_has_the_cleaning_of_open_clip(tmp_path, opened, config, clean):
    directory = arrange(immich_layout(tmp_path / "m"), {"config.json": {"embed_dim": toy.DIM, "text_cfg": config}})
    text = found(opened(directory), "text")
    assert (text["clean"], text["max_length"]) == (clean.split(), toy.MAX_LENGTH)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"visual/preprocess_cfg.json": None}, r"visual/preprocess_cfg.json is missing"),
        ({"textual/tokenizer.json": None}, r"textual/tokenizer.json is missing"),
        ({"textual/tokenizer_config.json": {"pad_token": "?"}}, r"does not say which token texts are padded with"),
        (
            {"visual/preprocess_cfg.json": {"size": 8, "resize_mode": "wide"}},
            r'preprocess_cfg.json: resize_mode "wide"',
        ),
        (
            {"config.json": {"text_cfg": {"hf_tokenizer_name": "t", "tokenizer_kwargs": {"strip_sep_token": True}}}},
            "strip_sep",
        ),
    ],
)
def test_missing_parts_in_the_layout_of_immich(tmp_path, opened, files, message):
    with pytest.raises(ModelError, match=message):
        opened(arrange(immich_layout(tmp_path / "m"), files))


def test_half_of_immich(tmp_path, opened, picture):
    directory = immich_layout(tmp_path / "m")
    shutil.rmtree(directory / "textual")
    np.testing.assert_allclose(opened(directory).encode_images(picture)[0], toy.color_vector(COLOR), atol=1e-6)


def test_clip_as_service(tmp_path, opened):
    """It has no settings; the tokenizer lies elsewhere, and the name of the directory tells the size."""
    files = {"visual.onnx": toy.image_tower(shape=["b", 3, "h", "w"]), "textual.onnx": toy.text_tower()}
    directory = arrange(tmp_path / "RN50x4-openai", files)
    with pytest.raises(ModelError, match=r"the tokenizer is missing, .*: copy bpe_simple_vocab_16e6.txt.gz \(from"):
        opened(directory)
    toy.tokenizer().save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text('{"pad_token": "[PAD]"}')
    image = found(opened(directory), "image")["preprocess"]
    assert (image["size"], image["resize"], image["center"], image["filter"]) == ([288, 288], "crop", "even", "bicubic")
    assert image["mean"] == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    directory = directory.rename(tmp_path / "mine")
    with pytest.raises(ModelError, match=r'visual.onnx takes pictures of any size, .*"layout": "clip-as-service"'):
        opened(directory)
    over = {"format": 1, "layout": "clip-as-service", "image": {"preprocess": {"size": [64, 64]}}}
    assert found(opened(directory, json.dumps(over)), "image")["preprocess"]["size"] == [64, 64]
    onnx.save(toy.image_tower(), directory / "visual.onnx")
    assert found(opened(directory), "image")["preprocess"]["size"] == [toy.SIDE, toy.SIDE]


def test_a_plain_pair_with_a_few_settings(tmp_path, opened, toy_model, picture):
    """Names, versions, files and the dimension may be left out."""
    directory = shutil.copytree(toy_model, tmp_path / "pair")
    settings = {
        "format": 1,
        "image": {"preprocess": toy.PREPROCESS},
        "text": {"max_length": toy.MAX_LENGTH, "padding": "longest"},
    }
    (directory / "model.json").write_text(json.dumps(settings))
    encoder = opened(directory)
    assert (encoder.name, encoder.dim) == ("pair", toy.DIM)
    check_vectors(encoder, picture)
    assert encoder.fingerprint == opened(toy_model).fingerprint
    silent = toy.image_tower()
    silent.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(silent, directory / "image.onnx")
    (directory / "model.json").write_text(json.dumps({**settings, "text": None}))
    with pytest.raises(ModelError, match="dimension is missing, and the networks do not declare it"):
        opened(directory)


def test_a_directory_of_something_else(tmp_path, opened):
    with pytest.raises(
        ModelError, match=r"model.json is missing; a model is a directory with .* \(visual.onnx, textual"
    ):
        opened(tmp_path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 2**70)
    | st.floats()
    | st.sampled_from(["", "clip", "8", "[PAD]", "left"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["height", "width", "x"]), inner),
    max_leaves=6,
)
PLACES = [
    *(("config.json", key) for key in ("model_type", "projection_dim", "text_config", "hidden_sizes", "hidden_size")),
    *(
        ("preprocessor_config.json", key)
        for key in (*SETTINGS, "do_resize", "crop_size", "do_center_crop", "rescale_factor")
    ),
    *(("preprocessor_config.json", key) for key in ("resize_mode", "interpolation", "mean", "fill_color", "crop_pct")),
    *(("tokenizer_config.json", key) for key in ("pad_token", "padding_side", "model_max_length", "tokenizer_class")),
    *(("tokenizer.json", key) for key in ("added_tokens", "model", "padding")),
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=3))
def test_random_settings(tmp_path_factory, opened, changes):
    """They are of use, or refused with a reason."""
    directory = hub_layout(tmp_path_factory.mktemp("any") / "m")
    for (name, key), value in changes:
        content = json.loads((directory / name).read_text())
        content[key] = value
        (directory / name).write_text(json.dumps(content))
    with suppress(ModelError):
        opened(directory).encode_texts("bear")
