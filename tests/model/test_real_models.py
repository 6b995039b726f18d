"""Published networks, where a developer has them: vectors against onnxruntime's own on the same pixels and tokens."""

import json

import numpy as np
import onnxruntime
import pytest
import toy
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from plushie_search import _core

MOBILENET = {"resize": "squash", "size": (224, 224), "mean": (127 / 255,) * 3, "std": (1 / (255 * 0.0078431),) * 3}
SQUEEZENET = {
    "resize": "crop",
    "size": (224, 224),
    "mean": (104 / 255, 117 / 255, 123 / 255),
    "std": (1 / 255,) * 3,
    "channels": "bgr",
}
MIRA = {"resize": "letterbox", "size": (80, 80), "mean": (0.0,) * 3, "std": (1.0,) * 3, "fill": (0, 0, 0)}


@pytest.fixture(scope="module")
def photos(assets):
    """Eight photos of groceries."""
    return sorted((assets / "photos" / "grocery" / "iconic-images-and-descriptions").rglob("*.jpg"))[:8]


@pytest.fixture
def encoder(assets, runtime, tmp_path):
    """Makes an encoder of published networks."""

    def make(dimension, **towers):
        for tower in towers.values():
            file = assets / "models" / tower["file"]
            tower["file"] = file.name
            (tmp_path / file.name).symlink_to(file)
        manifest = toy.manifest(**{"image": None, "text": None, "dimension": dimension, **towers})
        (tmp_path / "model.json").write_text(json.dumps(manifest))
        return _core.Encoder(tmp_path, runtime=runtime, threads=2)

    return make


def expected(file, output, feeds):
    """Unit vectors by onnxruntime, one run for each row."""
    session = onnxruntime.InferenceSession(file)
    rows = [session.run([output], {name: rows[i : i + 1] for name, rows in feeds.items()})[0] for i in range(8)]
    return toy.unit(np.concatenate(rows).reshape(8, -1).astype(np.float32))


@pytest.mark.parametrize(
    ("file", "input_name", "output", "dimension", "preprocess", "tolerance"),
    [
        ("mobilenet_v2.onnx", "pixel_values", "features", 1280, MOBILENET, 1e-6),
        ("mira/mira_image.onnx", "pixel_values", "image_embeds", 128, MIRA, 1e-6),
        ("squeezenet_fp16.onnx", "data_0", "softmaxout_1", 1000, SQUEEZENET, 1e-3),
    ],
)
def test_image_networks(encoder, assets, photos, file, input_name, output, dimension, preprocess, tolerance):
    made = encoder(dimension, image={"file": file, "output": output, "preprocess": preprocess})
    vectors = made.encode_images(photos)
    pixels = _core.preprocess(photos, **preprocess)
    if "fp16" in file:
        pixels = pixels.astype(np.float16)
    reference = expected(assets / "models" / file, output, {input_name: pixels})
    np.testing.assert_allclose(vectors, reference, atol=tolerance)
    assert (vectors * reference).sum(axis=1).min() >= 0.9999
    np.testing.assert_array_equal(vectors, np.concatenate([made.encode_images(photo) for photo in photos]))


def bytes_tokenizer():
    """Ids are the bytes of the text between 2 and 3."""
    letters = [chr(code) for code in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]]
    hidden = [code for code in range(256) if chr(code) not in letters]
    names = {code: chr(code) for code in range(256)} | {code: chr(0x100 + i) for i, code in enumerate(hidden)}
    made = Tokenizer(models.BPE({name: code for code, name in names.items()}, []))
    made.normalizer, made.pre_tokenizer = normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = processors.TemplateProcessing(
        single="S $A E".replace("S", names[2]).replace("E", names[3]), special_tokens=[(names[2], 2), (names[3], 3)]
    )
    return made


def test_a_text_network(encoder, assets, tmp_path):
    bytes_tokenizer().save(str(tmp_path / "tokenizer.json"))
    text = {"file": "mira/mira_text.onnx", "tokenizer": "tokenizer.json", "max_length": 32, "padding": "fixed"}
    texts = ["a teddy bear", "red scarf", "x", "a brown dog on grass", "Bär", "兔子", "two cats", "a " * 40]
    ids, mask = np.zeros((8, 32), np.int64), np.zeros((8, 32), np.int64)
    for row, words in enumerate(texts):
        raw = [2, *words.encode()[:30], 3]
        ids[row, : len(raw)], mask[row, : len(raw)] = raw, 1
    reference = expected(
        assets / "models" / "mira" / "mira_text.onnx", "text_embeds", {"input_ids": ids, "attention_mask": mask}
    )
    np.testing.assert_allclose(encoder(128, text=text).encode_texts(texts), reference, atol=1e-6)
