"""Models so small that their vectors can be computed by hand: the tests' stand-ins for real ones."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

DIM = 6
SIDE = 8
MAX_LENGTH = 8
WORDS = ["[PAD]", "[BOS]", "[EOS]", "[UNK]", "a", "the", "teddy", "bear", "rabbit", "pink", "brown", "with", "red"]
WORDS += ["scarf", *"粉色兔子熊紅围巾"]
PAD, BOS, EOS, UNK = range(4)

_random = np.random.default_rng(5)
#: The pixels' means, channel by channel, times this is a picture's vector (before it is scaled to length 1).
IMAGE_WEIGHTS = _random.normal(size=(3, DIM)).astype(np.float32)
#: The mean of the words' rows, times TEXT_WEIGHTS, is a text's vector.
EMBEDDING = _random.normal(size=(len(WORDS), DIM)).astype(np.float32)
TEXT_WEIGHTS = _random.normal(size=(DIM, DIM)).astype(np.float32)

PREPROCESS = {
    "resize": "squash",
    "size": [SIDE, SIDE],
    "filter": "bilinear",
    "mean": [0.5, 0.4, 0.3],
    "std": [0.25, 0.5, 1.0],
    "fill": [255, 255, 255],
    "channels": "rgb",
}


def manifest(**changes):
    """The toy model's model.json, with changes; a tower that is None is left out."""
    whole = {
        "format": 1,
        "name": "toy",
        "version": "1",
        "dimension": DIM,
        "license": "Apache-2.0",
        "description": "for tests",
        "languages": ["en", "zh-Hans"],
        "image": {"file": "image.onnx", "output": None, "preprocess": PREPROCESS},
        "text": {
            "file": "text.onnx",
            "output": None,
            "tokenizer": "tokenizer.json",
            "max_length": MAX_LENGTH,
            "padding": "longest",
            "pad_id": PAD,
        },
    }
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def write(directory, **changes):
    """Writes the toy model into a directory, with changes to model.json."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.json").write_text(json.dumps(manifest(**changes)), encoding="utf-8")
    onnx.save(image_tower(), directory / "image.onnx")
    onnx.save(text_tower(), directory / "text.onnx")
    tokenizer().save(str(directory / "tokenizer.json"))
    return directory


def model(nodes, inputs, outputs, weights, *, opset=18, ir_version=9):
    """An ONNX model from nodes; `inputs` and `outputs` are (name, element type, shape)."""
    values = [[helper.make_tensor_value_info(*value) for value in values] for values in (inputs, outputs)]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "toy", *values, tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    onnx.checker.check_model(made)
    return made


def image_tower(*, shape=("batch", 3, SIDE, SIDE), axes=(2, 3), weights=IMAGE_WEIGHTS, floats=np.float32):
    """Mean over the pixels of each channel, times weights."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(floats))
    return model(
        [
            helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["image_embeds"]),
        ],
        [("pixel_values", element, shape)],
        [("image_embeds", element, ["batch", weights.shape[1]])],
        {"axes": np.array(axes), "weights": weights.astype(floats)},
    )


def text_tower(*, ids=np.int64, columns="tokens", embedding=EMBEDDING):
    """Mean over the embeddings of the tokens that are not masked, times weights."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(ids))
    return model(
        [
            helper.make_node("Gather", ["embedding", "input_ids"], ["embedded"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
            helper.make_node("Mul", ["embedded", "column"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "tokens_axis"], ["sums"], keepdims=0),
            helper.make_node("ReduceSum", ["mask", "tokens_axis"], ["counts"], keepdims=1),
            helper.make_node("Div", ["sums", "counts"], ["means"]),
            helper.make_node("MatMul", ["means", "weights"], ["text_embeds"]),
        ],
        [("input_ids", element, ["batch", columns]), ("attention_mask", element, ["batch", columns])],
        [("text_embeds", TensorProto.FLOAT, ["batch", DIM])],
        {"embedding": embedding, "weights": TEXT_WEIGHTS, "last": np.array([2]), "tokens_axis": np.array([1])},
    )


def tokenizer():
    """Whole words and single Chinese characters."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", BOS), ("[EOS]", EOS)]
    )
    return made


def unit(rows):
    """Rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def color_vector(rgb):
    """The vector of a picture that is all one color, computed by hand."""
    mean, std = np.array(PREPROCESS["mean"]), np.array(PREPROCESS["std"])
    return unit((np.array(rgb) / 255 - mean) / std @ IMAGE_WEIGHTS)


def words_vector(words):
    """The vector of the tokens between the first and the last, computed by hand."""
    ids = [BOS, *(WORDS.index(word) for word in words), EOS]
    return unit(EMBEDDING[ids].mean(axis=0) @ TEXT_WEIGHTS)
