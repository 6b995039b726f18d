"""Networks of 16 bits beside those of 32: what is left as it is, what is refused, and whether they open."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import toy
from layouts import combined_network, hub_layout, immich_layout
from onnx import TensorProto, helper, numpy_helper

from plushie_search import ModelError, convert_to_fp16, hub
from plushie_search.cli import main
from plushie_search.convert.graph import files
from plushie_search.convert.graph.fp16 import in_fp16

node = helper.make_node


def network(nodes, weights, *, shape=("rows", 4), out=(), opset=17):
    """From x, floats of 32 bits, to y."""
    return toy.model(nodes, [("x", TensorProto.FLOAT, shape)], [("y", TensorProto.FLOAT, out)], weights, opset=opset)


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    element = np.float16 if session.get_inputs()[0].type == "tensor(float16)" else np.float32
    [y] = session.run(None, {"x": x.astype(element)})
    return y


def types(model):
    return {value.name: value.data_type for value in model.graph.initializer}


def both(model, x):
    """Returns the outputs in 32 bits and in 16."""
    whole = run(model, x)
    small = in_fp16(files.copied(model))
    onnx.checker.check_model(small, full_check=True)
    half = run(small, x)
    assert (whole.dtype, half.dtype) == (np.float32, np.float16)
    return whole, half, small


X = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)


def test_weights_and_values_are_converted():
    weights = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)
    nodes = [
        node("Constant", [], ["two"], value_float=2.0),
        node("Constant", [], ["shifts"], value_floats=[0.5, 1.5, 2.5, 3.5, 4.5]),
        node("Constant", [], ["more"], value=numpy_helper.from_array(np.float32([[0.25]]))),
        node("MatMul", ["x", "w"], ["a"]),
        node("Mul", ["a", "two"], ["b"]),
        node("Add", ["b", "shifts"], ["c"]),
        node("Add", ["c", "more"], ["d"]),
        node("Shape", ["d"], ["size"]),
        node("ConstantOfShape", ["size"], ["zeros"]),
        node("Cast", ["size"], ["counts"], to=TensorProto.FLOAT),
        node("ReduceProd", ["counts"], ["count"], keepdims=0),
        node("Add", ["d", "zeros"], ["e"]),
        node("Div", ["e", "count"], ["y"]),
    ]
    whole, half, small = both(network(nodes, {"w": weights}, out=("rows", 5)), X)
    expected = (X @ weights * 2 + [0.5, 1.5, 2.5, 3.5, 4.5] + 0.25) / 15
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    np.testing.assert_allclose(half, expected, rtol=4e-3, atol=1e-3)
    assert types(small) == {"w": TensorProto.FLOAT16}
    assert small.ByteSize() < network(nodes, {"w": weights}, out=("rows", 5)).ByteSize()


def test_operators_of_32_bits_alone_stay_so():
    """A count and a scale that 16 bits cannot tell from others would give another shape."""
    nodes = [
        node("Range", ["zero", "end", "step"], ["steps"]),
        node("Shape", ["steps"], ["count"]),
        node("Cast", ["count"], ["counted"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["x", "front"], ["pictures"]),
        node("Resize", ["pictures", "", "scales"], ["large"], mode="nearest"),
        node("DynamicQuantizeLinear", ["large"], ["levels", "scale", "middle"]),
        node("DequantizeLinear", ["levels", "scale", "middle"], ["near"]),
        node("ReduceMax", ["near"], ["most"], keepdims=0),
        node("Add", ["counted", "most"], ["z"]),
        node("Add", ["z", "end"], ["y"]),
    ]
    constants = {"zero": np.float32(0), "step": np.float32(1.0001), "end": np.float32(1000), "front": np.array([0, 1])}
    constants["scales"] = np.float32([1, 1, 1000.1, 500.3])
    whole, half, small = both(network(nodes, constants, out=(1,)), X)
    assert abs(whole[0] - (1000 + 1000 + X.max())) < 0.05
    np.testing.assert_allclose(half, whole, atol=1)
    kinds = types(small)
    assert {kinds[name] for name in ("zero", "step", "scales")} == {TensorProto.FLOAT}
    assert kinds["end"] == TensorProto.FLOAT16
    # One cast for what two operators read in 32 bits, and none for what no operator does.
    casts = [each.input[0] for each in small.graph.node if each.op_type == "Cast"]
    assert sorted(casts) == sorted(["count", "end", "steps/32", "large", "scale/32", "scale", "near/32"])


def test_branches_are_converted_with_the_tensors_they_read_outside():
    def branch(name, operator):
        value = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        weights = numpy_helper.from_array(np.float32([1, 2, 3, 4]), f"{name}_w")
        return helper.make_graph([node(operator, ["x", f"{name}_w"], [f"{name}_y"])], name, [], [value], [weights])

    nodes = [
        node("ReduceSum", ["x"], ["sum"], keepdims=0),
        node("Greater", ["sum", "limit"], ["many"]),
        node("If", ["many"], ["y"], then_branch=branch("then", "Mul"), else_branch=branch("else", "Add")),
    ]
    model = network(nodes, {"limit": np.float32(0)}, out=("rows", 4))
    for x, expected in ((abs(X), abs(X) * [1, 2, 3, 4]), (-abs(X), [1, 2, 3, 4] - abs(X))):
        whole, half, _ = both(model, x)
        np.testing.assert_allclose(whole, expected, rtol=1e-6)
        np.testing.assert_allclose(half, expected, rtol=2e-3, atol=2e-3)


def test_numbers_that_16_bits_do_not_have():
    """A mask stays finite, infinity infinite, and a divisor is not zero."""
    values = np.float32([-3.4e38, 1e6, -np.inf, np.inf, 1e-12, -1e-12, 0, -0.0, 1 / 3])
    model = network([node("Identity", ["w"], ["y"])], {"w": values}, out=(9,))
    small = numpy_helper.to_array(in_fp16(model).graph.initializer[0])
    limit, least = np.finfo(np.float16).max, np.finfo(np.float16).smallest_subnormal
    expected = np.float16([-limit, limit, -np.inf, np.inf, least, -least, 0, -0.0, 1 / 3])
    assert small.tobytes() == expected.tobytes()


def test_networks_that_cannot_be_converted():
    with pytest.raises(ValueError, match="no floats of 32 bits"):
        in_fp16(toy.image_tower(floats=np.float16))
    model = network([node("Relu", ["x"], ["g"]), node("Neg", ["g"], ["y"])], {}, out=("rows", 4))
    model.graph.node[0].op_type, model.graph.node[0].domain = "Gelu", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    with pytest.raises(ValueError, match="ONNX does not define whether Gelu computes in fp16"):
        in_fp16(model)
    model.functions.append(onnx.FunctionProto(name="f"))
    with pytest.raises(ValueError, match="functions of its own"):
        in_fp16(model)


# Models


def turned_tower():
    """Its pictures go through a layer channels first, as they do in open_clip's vision transformers."""
    draw = np.random.default_rng(4)
    return toy.model(
        [
            node("Reshape", ["pixel_values", "rows"], ["flat"]),
            node("Transpose", ["flat"], ["turned"], perm=[1, 0, 2]),
            node("MatMul", ["turned", "w"], ["layer"]),
            node("Transpose", ["layer"], ["back"], perm=[1, 0, 2]),
            node("Reshape", ["back", "row"], ["row_of"]),
            node("MatMul", ["row_of", "v"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, toy.SIDE, toy.SIDE])],
        [("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])],
        {
            "rows": np.array([0, 3, -1]),
            "row": np.array([0, -1]),
            "w": draw.normal(size=(toy.SIDE**2, 20)).astype(np.float32),
            "v": draw.normal(size=(60, toy.DIM)).astype(np.float32),
        },
        opset=17,
    )


@pytest.fixture
def turned(tmp_path):
    """A model of 32 bits, and a text tower that is exact in 16."""
    directory = toy.write(tmp_path / "model")
    onnx.save(turned_tower(), directory / "image.onnx")
    return directory


def noise(count):
    return list(np.random.default_rng(0).integers(0, 256, (count, 20, 30, 3), dtype=np.uint8))


def test_a_directory_gets_networks_of_16_bits(turned, capsys):
    before = {path.name: path.read_bytes() for path in turned.iterdir()}
    whole = hub.open_encoder(turned, threads=1)
    with pytest.raises(ModelError, match="make it with plushie-search models fp16"):
        hub.open_encoder(turned, precision="fp16")
    assert main(["models", "fp16", str(turned), "--json"]) == 0
    likeness = json.loads(capsys.readouterr().out)["likeness"]
    assert likeness.keys() == {"image", "text"}
    assert min(likeness.values()) > 0.99999
    assert {path.name for path in turned.iterdir()} == {*before, "image_fp16.onnx", "text_fp16.onnx"}
    assert all((turned / name).read_bytes() == content for name, content in before.items())
    half = hub.open_encoder(turned, threads=1, precision="fp16")
    assert half.fingerprint == whole.fingerprint
    assert {file for file, _ in half.outputs.values()} == {"image_fp16.onnx", "text_fp16.onnx"}
    vectors, expected = half.encode_images(noise(9)), whole.encode_images(noise(9))
    assert not np.array_equal(vectors, expected)
    assert (vectors * expected).sum(axis=1).min() > 0.9999
    assert (half.encode_texts("a pink rabbit") * toy.words_vector(["a", "pink", "rabbit"])).sum() > 0.99999
    with pytest.raises(FileExistsError, match=r"image_fp16\.onnx exists already; remove it"):
        convert_to_fp16(turned)


def test_a_copy_with_networks_of_16_bits(turned, tmp_path, monkeypatch):
    """With weights beside the networks, license and probe."""
    monkeypatch.setattr(files, "WHOLE", 100)
    files.save(onnx.load(turned / "image.onnx"), turned / "image.onnx")
    assert (turned / "image.onnx_data").exists()
    for name in ("LICENSE", "LICENCE.txt"):
        (turned / name).write_text("do what you like")
    (turned / "probe.json").write_text("{}")
    (turned / "other").mkdir()
    before = {path.name: path.read_bytes() for path in turned.iterdir() if path.is_file()}
    assert main(["models", "fp16", str(turned), str(tmp_path / "copy")]) == 0
    copy = {path.name: path.read_bytes() for path in (tmp_path / "copy").iterdir()}
    assert copy.keys() - before.keys() == {"image_fp16.onnx", "image_fp16.onnx_data", "text_fp16.onnx"}
    assert all(copy[name] == content for name, content in before.items() if name != "model.json")
    assert len(copy["image_fp16.onnx_data"]) < 0.6 * len(copy["image.onnx_data"])
    assert not list(turned.glob("*_fp16*"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    whole = hub.open_encoder(turned, threads=1)
    half = hub.open_encoder(tmp_path / "copy", threads=1, precision="fp16")
    assert half.fingerprint == whole.fingerprint
    assert (half.encode_images(noise(3)) * whole.encode_images(noise(3))).sum(axis=1).min() > 0.9999
    with pytest.raises(FileExistsError, match="exists already; give the name of a directory that does not"):
        convert_to_fp16(turned, tmp_path / "copy")


def together(directory):
    names = {"onnx__vision_model_dot_onnx": None, "onnx__text_model_dot_onnx": None}
    return hub_layout(directory, "chinese_clip", **names, onnx__model_dot_onnx=combined_network())


@pytest.mark.parametrize(
    ("arrange", "networks"),
    [
        (hub_layout, {"image": "onnx/vision_model_fp16.onnx", "text": "onnx/text_model_fp16.onnx"}),
        (immich_layout, {"image": "visual/model_fp16.onnx", "text": "textual/model_fp16.onnx"}),
        (together, {"image": "onnx/model_fp16.onnx", "text": "onnx/model_fp16.onnx"}),
    ],
)
def test_directories_of_others(arrange, networks, tmp_path):
    """They are read by their files; the copy has a manifest instead and is the same model."""
    directory = arrange(tmp_path / "model")
    whole = hub.open_encoder(directory)
    convert_to_fp16(directory, tmp_path / "copy")
    assert not list(directory.rglob("*_fp16*"))
    convert_to_fp16(directory)
    for made in (directory, tmp_path / "copy"):
        half = hub.open_encoder(made, precision="fp16")
        assert {side: file for side, (file, _) in half.outputs.items()} == networks
        assert half.fingerprint == whole.fingerprint == hub.open_encoder(made).fingerprint
        assert (half.encode_images(noise(3)) * whole.encode_images(noise(3))).sum(axis=1).min() > 0.9999
        assert (half.encode_texts("a pink rabbit") * whole.encode_texts("a pink rabbit")).sum() > 0.9999


def test_a_shared_model_is_only_copied(turned, tmp_path):
    with pytest.raises(ValueError, match="files of model plushie-mini are shared with others: give a directory"):
        convert_to_fp16(hub.DEFAULT_MODEL)
    linked = tmp_path / "snapshot"
    linked.mkdir()
    for path in turned.iterdir():
        (linked / path.name).symlink_to(path)
    with pytest.raises(ValueError, match="shared with others"):
        convert_to_fp16(linked)
    convert_to_fp16(linked, tmp_path / "own")
    assert not any(path.is_symlink() for path in (tmp_path / "own").iterdir())
    assert len(list(linked.iterdir())) == len(list(turned.iterdir()))


def too_great():
    return toy.image_tower(weights=toy.IMAGE_WEIGHTS * np.float32([1e6, 1e5, 1e5, 1e4, 1e5, 1e6]))


def unknown():
    model = toy.image_tower()
    model.graph.node.append(node("Gelu", ["image_embeds"], ["gelu"], domain="com.microsoft"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (too_great, r"run in fp16, so nothing was written|only the cosine .* so nothing was written"),
        (unknown, r"image\.onnx cannot be converted to fp16: ONNX does not define whether Gelu computes"),
    ],
)
def test_a_model_that_would_be_another_is_left_alone(make, reason, tmp_path):
    directory = toy.write(tmp_path / "model")
    onnx.save(make(), directory / "image.onnx")
    before = {path: hashlib.sha256(path.read_bytes()).digest() for path in directory.iterdir()}
    for out in (None, tmp_path / "copy"):
        with pytest.raises(ModelError, match=reason):
            convert_to_fp16(directory, out)
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in directory.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_model_of_fewer_bits_is_not_converted(tmp_path):
    directory = toy.write(tmp_path / "model", precision="int8")
    with pytest.raises(ModelError, match="computes in int8: convert the one that it was made of"):
        convert_to_fp16(directory)


def test_the_built_in_model_in_16_bits(tmp_path):
    likeness = convert_to_fp16(hub.DEFAULT_MODEL, tmp_path / "mini")
    assert min(likeness.values()) >= 0.999
    # Its projection of the frozen features enlarges what rounding changes in them.
    with pytest.raises(ModelError, match=r"precision fp16: vectors of pictures would differ .* 0\.99\d+, and"):
        hub.open_encoder(tmp_path / "mini", precision="fp16")


def test_without_onnx_it_names_the_package(turned, monkeypatch):
    monkeypatch.setitem(sys.modules, "plushie_search.convert.graph.fp16", None)
    with pytest.raises(ImportError, match=r"pip install 'plushie_search\[quantize\]'"):
        convert_to_fp16(turned)
    assert not Path(turned / "image_fp16.onnx").exists()
