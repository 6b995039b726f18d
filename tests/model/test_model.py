"""Model directories: what is refused and why, and what a fingerprint depends on."""

import json
import os
import shutil

import numpy as np
import onnx
import pytest
import toy

from plushie_search import Engine, ModelError, _core

#: A record of a quantization that could be.
QUANTIZED = {
    "from": "0" * 64,
    "method": "mse",
    "pictures": 40,
    "held_out": 20,
    "overlap_at_10": 0.95,
    "cosine_mean": 0.99,
    "cosine_min": 0.9,
    "milliseconds": [3.0, 1.0],
}


@pytest.fixture
def directory(toy_model, tmp_path):
    """A copy of the toy model to break."""
    return shutil.copytree(toy_model, tmp_path / "copy")


@pytest.fixture
def open_model(runtime):
    """Opens a model directory."""
    return lambda directory: _core.Encoder(directory, runtime=runtime, threads=1)


def rewrite(directory, **changes):
    """Changes keys of model.json; `tower__key` changes one of a tower."""
    manifest = toy.manifest()
    for key, value in changes.items():
        place, _, inner = key.partition("__")
        if inner:
            manifest[place][inner] = value
        else:
            manifest[place] = value
    (directory / "model.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "model.json: format 2 is not 1, the one this version of plushie_search reads; update it"),
        ({"format": "1"}, "model.json: invalid type: string"),
        ({"name": " "}, 'model.json: name " " must be 1 to 200 bytes of plain text'),
        ({"version": "1\n2"}, "must be 1 to 200 bytes of plain text"),
        ({"dimension": 0}, "dimension must be 1 to 65536"),
        ({"dimension": -1}, "model.json: dimension: invalid value: integer `-1`, expected a whole number"),
        ({"color": "red"}, "model.json: unknown field `color`"),
        ({"precision": "int4"}, "model.json: precision: unknown variant `int4`"),
        ({"quantized": {}}, "model.json: quantized: missing field `from`"),
        ({"quantized": QUANTIZED | {"from": "x"}}, "impossible values; write it with `plushie-search models quantize`"),
        ({"quantized": QUANTIZED | {"overlap_at_10": 1.1}}, "quantized has impossible values"),
        ({"quantized": QUANTIZED | {"cosine_min": -2}}, "quantized has impossible values"),
        ({"quantized": QUANTIZED | {"milliseconds": [1, -1]}}, "quantized has impossible values"),
        ({"image": None, "text": None}, "image and text are both missing: a model needs one of them"),
        ({"image__depth": 3}, "model.json: image: unknown field `depth`"),
        ({"image__file": "../image.onnx"}, r'names the file "\.\./image.onnx": it must be a path inside the model'),
        ({"image__file": "/etc/passwd"}, 'names the file "/etc/passwd": it must be a path inside the model'),
        ({"image__file": "C:\\image.onnx"}, "it must be a path inside the model"),
        ({"image__file": ""}, 'names the file "": it must be a path inside the model'),
        (
            {"image__file": "vision.onnx"},
            "vision.onnx is missing; copy the whole model directory, or correct model.json",
        ),
        ({"image__pool": "max"}, "unknown variant `max`"),
        ({"image__preprocess": {}}, "model.json: image.preprocess: missing field `resize`"),
        ({"text__tokenizer": "tokens/../../t.json"}, "it must be a path inside the model"),
        ({"text__max_length": 0}, "text.max_length must be 1 to 8192"),
        ({"text__max_length": 2}, "tokenizer.json: adds 2 tokens to each text, but text.max_length is 2"),
        ({"text__padding": "left"}, "text.padding: unknown variant `left`"),
        ({"dimension": 10**30}, "model.json: dimension: invalid type: floating point"),
        ({"languages": "en"}, "model.json: languages: invalid type: string .*, expected a list"),
        ({"prompts": {"en": ["{}", "a toy"]}}, r'prompts.en: "a toy" must have \{\} once, in the place of a name'),
        ({"prompts": {"zh": ["{}和{}"]}}, r'prompts.zh: "\{\}和\{\}" must have \{\} once'),
        (
            {"image__preprocess": toy.PREPROCESS | {"std": [1, 2]}},
            "image.preprocess.std: invalid length 2, expected a list",
        ),
        ({"text__pad_id": -1}, "model.json: text.pad_id: invalid value"),
    ],
)
def test_wrong_manifests(directory, open_model, changes, message):
    rewrite(directory, **changes)
    with pytest.raises(ModelError, match=message):
        open_model(directory)


def test_errors_name_the_directory_or_the_model(directory, open_model):
    (directory / "model.json").write_text("{")
    with pytest.raises(ModelError, match=rf"^model {directory}: model.json: EOF while parsing .* line 1"):
        open_model(directory)
    (directory / "model.json").unlink()
    with pytest.raises(ModelError, match=rf"^model {directory}: model.json is missing; image.onnx and text.onnx need"):
        open_model(directory)
    for network in ("image.onnx", "text.onnx"):
        (directory / network).unlink()
    with pytest.raises(ModelError, match=rf"^model {directory}: model.json is missing; a model is a directory with"):
        open_model(directory)
    with pytest.raises(
        ModelError, match=r"/no such place: no such directory; a model is a directory with a model.json"
    ):
        open_model(directory.parent / "no such place")


@pytest.mark.parametrize("text", ["[]", "null", "3", "[1, null, null]"])
def test_a_manifest_is_an_object(directory, open_model, text):
    (directory / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r'model.json: it must be an object: {"format": 1, ...}'):
        open_model(directory)


@pytest.mark.parametrize("file", ["image.onnx", "tokenizer.json", "model.json"])
def test_other_things_than_files_are_not_called_missing(directory, open_model, file):
    (directory / file).unlink()
    (directory / file).symlink_to(file)
    with pytest.raises(ModelError, match=f"{file} cannot be read: Too many levels of symbolic links"):
        open_model(directory)
    (directory / file).unlink()
    os.mkfifo(directory / file)  # reading it would not end
    with pytest.raises(
        ModelError, match=f"{file} (is a directory or a device, not a file|cannot be read: it is not a regular file)"
    ):
        open_model(directory)


@pytest.mark.parametrize("file", ["image.onnx", "tokenizer.json", "model.json", "."])
def test_files_that_are_closed_to_this_user(directory, open_model, file):
    (directory / file).chmod(0)
    if os.access(directory / "model.json", os.R_OK) and os.access(directory / file, os.R_OK):
        pytest.skip("the superuser may read everything")
    with pytest.raises(ModelError, match=r"cannot be read: Permission denied"):
        open_model(directory)


@pytest.mark.parametrize("file", ["image.onnx", "text.onnx", "tokenizer.json"])
def test_missing_and_damaged_files(directory, open_model, file):
    whole = (directory / file).read_bytes()
    (directory / file).write_bytes(np.random.default_rng(0).bytes(1000))
    with pytest.raises(ModelError, match=rf"{file}:? is (not an ONNX file, or is cut short|not a tokenizer file)"):
        open_model(directory)
    (directory / file).write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(ModelError, match=rf"{file}:? is (not an ONNX file, or is cut short|not a tokenizer file)"):
        open_model(directory)
    (directory / file).write_bytes(b"")
    with pytest.raises(ModelError, match=rf"{file}:? is (not an ONNX file, or is cut short|not a tokenizer file)"):
        open_model(directory)
    (directory / file).unlink()
    with pytest.raises(ModelError, match=f"{file} is missing; copy the whole model directory"):
        open_model(directory)


def test_git_lfs_pointers_are_recognized(directory, open_model):
    (directory / "image.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ModelError, match=r"image.onnx is a Git LFS pointer, not the file itself; run: git lfs pull"):
        open_model(directory)


def test_a_copy_has_the_same_fingerprint(toy_encoder, directory, open_model):
    assert open_model(directory).fingerprint == toy_encoder.fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"license": "MIT"},
        {"description": "other"},
        {"languages": ["fr"]},
        {"name": "other"},
        {"version": "2"},
        {"prompts": {"en": ["a {}"]}},
    ],
)
def test_words_about_a_model_do_not_change_its_fingerprint(toy_encoder, directory, open_model, changes):
    rewrite(directory, **changes)
    assert open_model(directory).fingerprint == toy_encoder.fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"image__output": "image_embeds"},
        {"image__pool": "cls"},
        *(
            {"image__preprocess": {**toy.PREPROCESS, key: value}}
            for key, value in [
                ("resize", "crop"),
                ("filter", "bicubic"),
                ("mean", [0.5, 0.4, 0.31]),
                ("std", [0.25, 0.5, 1.5]),
                ("fill", [0, 0, 0]),
                ("channels", "bgr"),
            ]
        ),
        {"text__output": "text_embeds"},
        {"text__pool": "mean"},
        {"text__max_length": 9},
        {"text__padding": "fixed"},
        {"text__pad_id": 1},
    ],
)
def test_settings_that_change_vectors_change_the_fingerprint(toy_encoder, directory, open_model, changes):
    rewrite(directory, **changes)
    assert open_model(directory).fingerprint != toy_encoder.fingerprint


@pytest.mark.parametrize("file", ["image.onnx", "text.onnx"])
def test_weights_change_the_fingerprint(toy_encoder, directory, open_model, file):
    network = onnx.load(directory / file)
    weights = next(tensor for tensor in network.graph.initializer if tensor.name == "weights")
    weights.raw_data = weights.raw_data[:-1] + bytes([weights.raw_data[-1] ^ 1])
    onnx.save(network, directory / file)
    assert open_model(directory).fingerprint != toy_encoder.fingerprint


def test_the_tokenizer_changes_the_fingerprint(toy_encoder, directory, open_model):
    path = directory / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("scarf", "shawl"), encoding="utf-8")
    assert open_model(directory).fingerprint != toy_encoder.fingerprint


def test_weights_in_other_files(directory, open_model, toy_encoder):
    onnx.save_model(
        toy.image_tower(),
        directory / "image.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=100,
    )
    apart = open_model(directory)
    np.testing.assert_array_equal(apart.encode_texts("a bear"), toy_encoder.encode_texts("a bear"))
    weights = bytearray((directory / "weights.bin").read_bytes())
    weights[-1] ^= 1
    (directory / "weights.bin").write_bytes(weights)
    assert open_model(directory).fingerprint not in (apart.fingerprint, toy_encoder.fingerprint)
    (directory / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"weights.bin is missing; image.onnx keeps weights in it"):
        open_model(directory)


def test_weights_that_are_cut_short(directory, open_model):
    external = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 50}
    onnx.save(toy.image_tower(), directory / "image.onnx", **external)
    (directory / "weights.bin").write_bytes((directory / "weights.bin").read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"image.onnx: .*copy the whole model directory again"):
        open_model(directory)


def test_weights_outside_of_the_directory(directory, open_model):
    network = toy.image_tower()
    onnx.save_model(
        network, directory / "image.onnx", save_as_external_data=True, location="weights.bin", size_threshold=100
    )
    outside = (directory / "image.onnx").read_bytes().replace(b"weights.bin", b"../eigh.bin")
    (directory / "image.onnx").write_bytes(outside)
    with pytest.raises(ModelError, match=r'image.onnx has weights in "\.\./eigh.bin": it must be a path inside'):
        open_model(directory)


def test_a_manifest_from_outside(toy_model, toy_encoder, directory, runtime, tmp_path):
    """The directory needs none then, an unfit one of its own does not matter, and nothing is written."""
    outside = json.dumps(toy.manifest(name="elsewhere"))
    (directory / "model.json").write_text("{}")
    before = sorted(directory.iterdir())
    made = _core.Encoder(directory, runtime=runtime, threads=1, manifest=outside)
    assert (made.name, made.fingerprint) == ("elsewhere", toy_encoder.fingerprint)
    np.testing.assert_array_equal(made.encode_texts("a bear"), toy_encoder.encode_texts("a bear"))
    (directory / "model.json").unlink()
    assert _core.Encoder(directory, runtime=runtime, threads=1, manifest=outside).fingerprint == made.fingerprint
    assert sorted([*directory.iterdir(), directory / "model.json"]) == before
    catalog = str(tmp_path / "toys.catalog")
    engine = Engine(catalog, model=made)
    np.testing.assert_array_equal(engine.encode_texts("a bear"), toy_encoder.encode_texts("a bear"))
    engine.close()
    Engine(catalog, model=toy_encoder).close()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", r"the manifest: EOF while parsing"),
        ({"format": 2}, r"the manifest: format 2 is not 1"),
        ({"text": None, "image": {**toy.manifest()["image"], "file": "a.onnx"}}, r"a.onnx is missing; .*correct the m"),
        ({"image": {**toy.manifest()["image"], "file": "../a.onnx"}}, r'the manifest names the file "\.\./a.onnx"'),
    ],
)
def test_wrong_manifests_from_outside(directory, runtime, manifest, message):
    text = manifest if isinstance(manifest, str) else json.dumps(toy.manifest(**manifest))
    with pytest.raises(ModelError, match=message):
        _core.Encoder(directory, runtime=runtime, threads=1, manifest=text)
    with pytest.raises(ModelError, match=r"nowhere: no such directory; it must hold the files that the manifest names"):
        _core.Encoder(directory / "nowhere", runtime=runtime, threads=1, manifest=text)
