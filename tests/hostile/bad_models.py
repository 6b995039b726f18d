"""Model directories whose networks, tokenizers or settings are damaged, lie, never end or reach out of the directory."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import toy
from harness import Case, Place
from mutate import mutate
from onnx import TensorProto, helper, numpy_helper

import plushie_search as ps

PICTURE = np.zeros((8, 8, 3), np.uint8)


class Directory:
    """A copy of the toy model that is made anew for each case."""

    def __init__(self, place: Place) -> None:
        self.model, self.path = place.model, place.folder / "model"

    def __call__(self, change: Callable[[Path], object]) -> Callable[[], object]:
        def work() -> None:
            shutil.rmtree(self.path, ignore_errors=True)
            shutil.copytree(self.model, self.path)
            change(self.path)
            encoder = ps.open_encoder(str(self.path), threads=1, cache=0)
            encoder.encode_images([PICTURE])
            encoder.encode_texts(["a pink rabbit"])

        return work


def writes(name: str, data: bytes | str) -> Callable[[Path], object]:
    """Returns a change that writes a file of the directory."""
    return lambda path: (path / name).write_bytes(data if isinstance(data, bytes) else data.encode())


def saves(name: str, model: onnx.ModelProto) -> Callable[[Path], object]:
    """Returns a change that writes a network."""
    return writes(name, model.SerializeToString())


def network(
    nodes: list[Any], weights: dict[str, Any], *, shape: Any = ("batch", 3, 8, 8), **how: Any
) -> onnx.ModelProto:
    """Returns a network for pictures, unchecked."""
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "bad", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", how.get("opset", 18)), *how.get("opsets", ())]
    return helper.make_model(graph, opset_imports=opsets, ir_version=how.get("ir", 9))


def external(location: str, offset: int | None = None, length: int | None = None) -> onnx.ModelProto:
    """Returns the toy's network with its weights in another file."""
    made = toy.image_tower()
    tensor = made.graph.initializer[1]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    return made


def networks() -> Iterator[tuple[str, Callable[[Path], object]]]:
    for location in ("../../../etc/passwd", "/etc/passwd", "/dev/zero", "/proc/self/environ", "", ".", "..", "no-such-file", "model.json", "a\0b",
                     "x" * 5000, "./././model.json", "sub/../../other", "file:///etc/passwd", "\\\\server\\x", "*/_ORT_MEM_ADDR_/*"):  # fmt: skip
        yield f"weights in {location[:30]!r}", saves("image.onnx", external(location))
    for offset, length in ((-1, 72), (0, 1 << 62), (1 << 62, 72), (0, 0), (0, -1), (1, 3), ("x", "y")):
        change = saves("image.onnx", external("weights.bin", offset, length))
        yield (
            f"weights at {offset} of {length}",
            lambda path, change=change: (writes("weights.bin", bytes(72))(path), change(path)),
        )

    def linked(path: Path) -> None:
        (path / "weights.bin").symlink_to("/etc/passwd")
        saves("image.onnx", external("weights.bin"))(path)

    yield "weights in a link to elsewhere", linked
    node = helper.make_node
    mean = [
        node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
        node("MatMul", ["means", "weights"], ["image_embeds"]),
    ]
    given = {"axes": np.array([2, 3]), "weights": toy.IMAGE_WEIGHTS}
    yield (
        "an operator of another domain",
        saves(
            "image.onnx",
            network(
                [node("Evil", ["pixel_values"], ["image_embeds"], domain="com.evil")],
                {},
                opsets=[helper.make_opsetid("com.evil", 1)],
            ),
        ),
    )
    yield (
        "an unknown operator",
        saves("image.onnx", network([node("NoSuchOperator", ["pixel_values"], ["image_embeds"])], {})),
    )
    yield (
        "an operator of Python",
        saves(
            "image.onnx",
            network(
                [node("PyOp", ["pixel_values"], ["image_embeds"], domain="ai.onnx.contrib")],
                {},
                opsets=[helper.make_opsetid("ai.onnx.contrib", 1)],
            ),
        ),
    )
    yield "no nodes", saves("image.onnx", network([], {}))
    yield "an input that is not there", saves("image.onnx", network(mean, {}))
    yield (
        "nodes in a circle",
        saves("image.onnx", network([node("Add", ["b", "pixel_values"], ["a"]), node("Add", ["a", "a"], ["b"])], {})),
    )
    yield "opset 9999", saves("image.onnx", network(mean, given, opset=9999))
    yield "opset 1", saves("image.onnx", network(mean, given, opset=1))
    yield "version 9999", saves("image.onnx", network(mean, given, ir=9999))
    for shape in (
        (),
        ("b",),
        (1, 3, 8),
        ("b", 1, 8, 8),
        ("b", 3, 9, 9),
        ("b", 3, 0, 8),
        ("b", 3, 1 << 40, 8),
        ("b", -3, 8, 8),
        (7, 3, 8, 8),
        ("b",) * 9,
    ):
        yield f"an input of {shape}", saves("image.onnx", network(mean, given, shape=shape))
    for name, values in {
        "of five numbers": np.ones((3, 5), np.float32),
        "of a million numbers": np.ones((3, 1_000_000), np.float32),
        "of no numbers": np.ones((3, 0), np.float32),
        "NaN": np.full((3, toy.DIM), np.nan, np.float32),
        "infinite": np.full((3, toy.DIM), np.inf, np.float32),
        "zero": np.zeros((3, toy.DIM), np.float32),
        "integers": np.ones((3, toy.DIM), np.int64),
        "of 4 rows": np.ones((4, toy.DIM), np.float32),
    }.items():
        yield f"vectors that are {name}", saves("image.onnx", network(mean, {**given, "weights": values}))
    yield (
        "vectors at random",
        saves("image.onnx", network([node("RandomNormal", [], ["image_embeds"], shape=[1, toy.DIM])], {})),
    )
    for side in (100_000, 1 << 30, 1 << 40):
        grown = [
            node("ConstantOfShape", ["shape"], ["large"]),
            node("ReduceSum", ["large"], ["sum"], keepdims=0),
            *mean[:1],
            node("MatMul", ["means", "weights"], ["small"]),
            node("Add", ["small", "sum"], ["image_embeds"]),
        ]
        yield (
            f"a tensor of {side} x {side}",
            saves("image.onnx", network(grown, {**given, "shape": np.array([side, side])})),
        )
    tiles = [
        *mean[:1],
        node("MatMul", ["means", "weights"], ["small"]),
        node("Tile", ["small", "often"], ["large"]),
        node("ReduceMax", ["large", "columns"], ["image_embeds"]),
    ]
    yield (
        "a tensor repeated 10^12 times",
        saves("image.onnx", network(tiles, {**given, "often": np.array([10**6, 10**6]), "columns": np.array([1])})),
    )
    made = toy.image_tower()
    made.graph.initializer[1].dims[:] = [1 << 31, 1 << 31]
    yield "weights of 2^62 numbers", saves("image.onnx", made)
    made = toy.image_tower()
    made.graph.initializer[1].dims[:] = [-3, -6]
    yield "weights of a negative size", saves("image.onnx", made)
    made = toy.image_tower()
    made.graph.initializer[1].raw_data = b"123"
    yield "weights of 3 bytes", saves("image.onnx", made)
    made = toy.image_tower()
    made.graph.initializer[1].data_type = 99
    yield "weights of type 99", saves("image.onnx", made)
    deep = helper.make_graph([], "g", [], [])
    for _ in range(25):
        deep = helper.make_graph(
            [node("If", ["c"], ["o"], then_branch=deep, else_branch=helper.make_graph([], "e", [], []))], "g", [], []
        )
    yield (
        "graphs 25 deep",
        saves("image.onnx", helper.make_model(deep, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)),
    )
    yield (
        "5,000 nodes",
        saves(
            "image.onnx",
            network(
                [node("Identity", ["pixel_values" if n == 0 else f"x{n}"], [f"x{n + 1}"]) for n in range(5000)]
                + [node("ReduceMean", ["x5000", "axes"], ["means"], keepdims=0), mean[1]],
                given,
            ),
        ),
    )
    whole = toy.image_tower().SerializeToString()
    for part in range(8):
        yield f"a network cut at {part}/8", writes("image.onnx", whole[: len(whole) * part // 8])
    chance = random.Random("networks")
    for number in range(40):
        yield f"a network damaged {number}", writes("image.onnx", mutate(whole, chance, [whole]))
    text = toy.text_tower().SerializeToString()
    for number in range(20):
        yield f"a network for texts damaged {number}", writes("text.onnx", mutate(text, chance, [text]))
    for name, data in {
        "nothing": b"",
        "zeros": bytes(1000),
        "a pickle": b"\x80\x04cposix\nsystem\n.",
        "html": b"<html>",
        "a zip": b"PK\x03\x04" + bytes(99),
    }.items():
        for file in ("image.onnx", "tokenizer.json", "model.json"):
            yield f"{name} as {file}", writes(file, data)
    for file in ("image.onnx", "text.onnx", "tokenizer.json", "model.json"):
        for target in ("/dev/zero", "/dev/null", "/etc/passwd", ".", "no-such-file"):
            yield (
                f"{file} as a link to {target}",
                lambda path, file=file, target=target: (
                    (path / file).unlink(),
                    (path / file).symlink_to(target),
                ),
            )


def tokenizers() -> Iterator[tuple[str, Callable[[Path], object]]]:
    whole = json.loads(toy.tokenizer().to_str())

    def changed(**parts: Any) -> Callable[[Path], object]:
        return writes("tokenizer.json", json.dumps({**whole, **parts}))

    yield "deep JSON", writes("tokenizer.json", '{"a":' * 5000 + "1" + "}" * 5000)
    yield "lists 200,000 deep", writes("tokenizer.json", "[" * 200_000)
    yield "a list", writes("tokenizer.json", "[]")
    yield "bytes that are no text", writes("tokenizer.json", b'{"version": "\xff\xfe"}')
    for key in whole:
        for value in (None, 3, "x", [], {}, {"type": "NoSuchThing"}, {"type": "Sequence", "normalizers": []}):
            yield f"a tokenizer whose {key} is {value}", changed(**{key: value})
    for pattern in (
        "(a+)+$",
        "(?<=a)(b|c)*",
        "(" * 2000,
        "[",
        "\\",
        "(x{0,30}){0,30}",
        "a{1,100000}",
        "(?R)",
        "\\p{Nope}",
        "",
    ):
        replace = {"type": "Replace", "pattern": {"Regex": pattern}, "content": "x"}
        split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        yield f"the pattern {pattern[:20]!r} to replace", changed(normalizer=replace)
        yield f"the pattern {pattern[:20]!r} to split", changed(pre_tokenizer=split)
    grows = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
    yield "texts that grow", changed(normalizer={"type": "Sequence", "normalizers": [grows] * 4})
    yield (
        "texts that grow by bytes",
        changed(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}
                ]
                * 40,
            }
        ),
    )
    yield (
        "a padding of 2^40",
        changed(
            padding={
                "strategy": {"Fixed": 1 << 40},
                "direction": "Right",
                "pad_to_multiple_of": None,
                "pad_id": 0,
                "pad_type_id": 0,
                "pad_token": "x",
            }
        ),
    )
    yield "texts that become empty", changed(normalizer={"type": "Replace", "pattern": {"Regex": ".*"}, "content": ""})
    nested: Any = whole["normalizer"]
    for _ in range(100):
        nested = {"type": "Sequence", "normalizers": [nested]}
    yield "steps 100 deep", changed(normalizer=nested)
    vocabulary = whole["model"]["vocab"]
    for name, made in {
        "no words": {},
        "ids beyond the network": {word: n + 1_000_000 for word, n in vocabulary.items()},
        "ids of 32 bits": {word: 0xFFFFFFFF - n for word, n in vocabulary.items()},
        "ids beyond 32 bits": {word: n + (1 << 40) for word, n in vocabulary.items()},
        "negative ids": {word: -n for word, n in vocabulary.items()},
        "one id for all": dict.fromkeys(vocabulary, 3),
        "texts as ids": {word: str(n) for word, n in vocabulary.items()},
        "a list": list(vocabulary),
    }.items():
        yield f"a vocabulary of {name}", changed(model={**whole["model"], "vocab": made})
    for kind in ("BPE", "WordPiece", "Unigram", "NoSuchModel"):
        yield f"a model of type {kind}", changed(model={**whole["model"], "type": kind})
        yield f"an empty model of type {kind}", changed(model={"type": kind})
    yield (
        "merges of unknown words",
        changed(model={"type": "BPE", "vocab": vocabulary, "merges": ["no such", "a b c", ""]}),
    )
    yield "a unigram of NaN", changed(model={"type": "Unigram", "vocab": [["a", -1e308], ["b", 1e308]], "unk_id": 9})
    text = json.dumps(whole).encode()
    chance = random.Random("tokenizers")
    for number in range(50):
        yield f"a tokenizer damaged {number}", writes("tokenizer.json", mutate(text, chance, [text]))


def manifests() -> Iterator[tuple[str, Callable[[Path], object]]]:
    whole = toy.manifest()
    bad = (
        None,
        -1,
        0,
        1.5,
        10**30,
        True,
        "",
        "x" * 100_000,
        "\0",
        "../../../etc/passwd",
        "/etc/passwd",
        [],
        {},
        [None],
        "\x1b[2J",
    )
    places: list[tuple[str, ...]] = [(key,) for key in whole]
    places += [("image", key) for key in whole["image"]] + [("text", key) for key in whole["text"]]
    places += [("image", "preprocess", key) for key in toy.PREPROCESS]
    for place in places:
        for value in bad:
            made = json.loads(json.dumps(whole))
            inner = made
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            yield f"a model whose {'.'.join(place)} is {str(value)[:30]!r}", writes("model.json", json.dumps(made))
    for size in ([1 << 20, 1 << 20], [65535, 65535], [0, 8], [8], [8, 8, 8], [1, 1], ["8", "8"]):
        made = toy.manifest(image={**whole["image"], "preprocess": {**toy.PREPROCESS, "size": size}})
        yield f"a model of pictures of {size}", writes("model.json", json.dumps(made))
    yield "a manifest of deep JSON", writes("model.json", '{"a":' * 5000 + "1" + "}" * 5000)
    yield "a manifest with each key twice", writes("model.json", json.dumps(whole)[:-1] + "," + json.dumps(whole)[1:])
    yield "a manifest with a mark", writes("model.json", b"\xef\xbb\xbf" + json.dumps(whole).encode())
    yield "a manifest in UTF-16", writes("model.json", json.dumps(whole).encode("utf-16"))
    text = json.dumps(whole).encode()
    chance = random.Random("manifests")
    for number in range(50):
        yield f"a manifest damaged {number}", writes("model.json", mutate(text, chance, [text]))


def cases(place: Place) -> Iterator[Case]:
    """Yields each bad model, as a directory to open and to encode with."""
    directory = Directory(place)
    for some in (networks, tokenizers, manifests):
        for name, change in some():
            yield name, directory(change)
