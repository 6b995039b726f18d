"""Models in 8 bits: against arithmetic by hand and the original, independent of batch-mates, whole or not there."""

import hashlib
import json
import random
import sys
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import toy
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from plushie_search import ModelError, _core, quantize_model
from plushie_search.cli import main
from plushie_search.convert.graph import files
from plushie_search.convert.quantize import integers, loss
from plushie_search.convert.quantize import plan as planning
from plushie_search.convert.quantize.ranges import LEVELS, TAIL, Histogram

PICTURES = 44
WIDTH = 16


def weights(*shape):
    """Weights whose outputs have very different sizes, as those of real layers have."""
    values = np.random.default_rng(sum(shape)).normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return (values * np.linspace(0.1, 3, shape[0]).reshape(-1, *[1] * (len(shape) - 1))).astype(np.float32)


def convolutions(*, shape=("batch", 3, toy.SIDE, toy.SIDE)):
    """A first layer, two branches that are added, with activations that the runtime fuses, and a projection."""
    node = helper.make_node
    return toy.model(
        [
            node("Conv", ["pixel_values", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
            node("Relu", ["c1"], ["r1"]),
            node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1], group=WIDTH),
            node("Clip", ["c2", "zero", "six"], ["r2"]),
            node("Conv", ["r2", "w3", "b3"], ["c3"]),
            node("Conv", ["r2", "w4"], ["c4"]),
            node("Add", ["c3", "c4"], ["sum"]),
            node("GlobalAveragePool", ["sum"], ["pooled"]),
            node("Flatten", ["pooled"], ["flat"]),
            node("MatMul", ["flat", "projection"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, shape)],
        [("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])],
        {
            "w1": weights(WIDTH, 3, 3, 3),
            "b1": weights(WIDTH),
            "w2": weights(WIDTH, 1, 3, 3),
            "b2": weights(WIDTH),
            "w3": weights(WIDTH, WIDTH, 1, 1),
            "b3": weights(WIDTH),
            "w4": weights(WIDTH, WIDTH, 1, 1),
            "zero": np.float32(0),
            "six": np.float32(6),
            "projection": weights(toy.DIM, WIDTH).T.copy(),
        },
    )


def patches(*, shape=("batch", 3, toy.SIDE, toy.SIDE)):
    """Patches, a residual block with LayerNormalization, their mean, and a projection; two outputs."""
    node = helper.make_node
    return toy.model(
        [
            node("Conv", ["pixel_values", "w1"], ["c1"], strides=[4, 4]),
            node("Reshape", ["c1", "columns"], ["tokens_last"]),
            node("Transpose", ["tokens_last"], ["tokens"], perm=[0, 2, 1]),
            node("LayerNormalization", ["tokens", "gain", "shift"], ["normal"]),
            node("MatMul", ["normal", "w2"], ["m2"]),
            node("Add", ["m2", "b2"], ["a2"]),
            node("Sigmoid", ["a2"], ["gate"]),
            node("Mul", ["a2", "gate"], ["active"]),
            node("MatMul", ["active", "w3"], ["m3"]),
            node("Add", ["m3", "b3"], ["a3"]),
            node("Add", ["a3", "tokens"], ["last_hidden_state"]),
            node("ReduceMean", ["last_hidden_state", "one"], ["mean"], keepdims=0),
            node("MatMul", ["mean", "projection"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, shape)],
        [
            ("image_embeds", TensorProto.FLOAT, [shape[0], toy.DIM]),
            ("last_hidden_state", TensorProto.FLOAT, [shape[0], 4, WIDTH]),
        ],
        {
            "w1": weights(WIDTH, 3, 4, 4),
            "columns": np.array([0, WIDTH, -1]),
            "gain": weights(WIDTH) + 2,
            "shift": weights(WIDTH),
            "w2": weights(2 * WIDTH, WIDTH).T.copy(),
            "b2": weights(2 * WIDTH),
            "w3": weights(WIDTH, 2 * WIDTH).T.copy(),
            "b3": weights(WIDTH),
            "one": np.array([1]),
            "projection": weights(toy.DIM, WIDTH).T.copy(),
        },
    )


NETWORKS = {
    "convolutions": convolutions,
    "patches": patches,
    "patches one by one": lambda: patches(shape=(1, 3, toy.SIDE, toy.SIDE)),
}


def write(directory, made):
    """A toy model with this picture tower."""
    toy.write(directory)
    onnx.save(made, directory / "image.onnx")
    (directory / "LICENSE").write_text("free")
    return directory


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of random blobs in two folders, and one that is damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(3)
    for number in range(PICTURES):
        place = folder / f"item-{number % 5}"
        place.mkdir(exist_ok=True)
        small = Image.fromarray(draw.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        small.resize((20, 24)).save(place / f"{number}.png")
    (folder / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    return folder


@pytest.fixture(scope="module", params=NETWORKS)
def quantized(request, pictures, tmp_path_factory):
    """A model, what quantizing it gave, and the new model's directory."""
    folder = tmp_path_factory.mktemp("models")
    source = write(folder / "source", NETWORKS[request.param]())
    made = quantize_model(source, folder / "new", pictures=pictures, sample=25, held_out=20, seed=4, threads=1)
    return source, made, folder / "new"


def digests(directory):
    """Returns the digest of each file of a directory."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def open_model(directory, runtime):
    """An encoder."""
    return _core.Encoder(directory, runtime=runtime, threads=1)


def readable(pictures):
    """The paths of the pictures that can be read, in the order that the seed 4 gives them."""
    paths = [path for _, paths in _core.folder_items(pictures) for path in paths]
    random.Random(4).shuffle(paths)
    return [path for path in paths if path.name != "damaged.png"]


def test_vectors_are_near_the_originals(quantized, pictures, runtime):
    source, _, new = quantized
    paths = readable(pictures)
    before, after = (open_model(directory, runtime).encode_images(paths) for directory in (source, new))
    assert not np.array_equal(before, after)
    assert (before * after).sum(axis=1).min() > 0.995


def test_texts_stay_as_they_were(quantized, runtime):
    source, _, new = quantized
    before, after = (open_model(directory, runtime).encode_texts("a red scarf") for directory in (source, new))
    np.testing.assert_array_equal(before, after)


def test_the_loss_is_measured_on_held_out_pictures(quantized, pictures, runtime):
    source, made, new = quantized
    paths = readable(pictures)
    held_out = paths[-made.held_out :]
    assert made.held_out == 20
    assert made.pictures == len(paths) - 20
    before, after = (open_model(directory, runtime).encode_images(held_out) for directory in (source, new))
    cosines = (before * after).sum(axis=1)
    assert made.cosine_mean == pytest.approx(cosines.mean(), abs=1e-5)
    assert made.cosine_min == pytest.approx(cosines.min(), abs=1e-5)
    same = 0
    for row in range(20):
        near = [
            sorted(set(range(20)) - {row}, key=lambda other, row=row, rows=rows: -rows[row] @ rows[other])[:10]
            for rows in (before, after)
        ]
        same += len(set(near[0]) & set(near[1]))
    assert made.overlap_at_10 == pytest.approx(same / 200, abs=1e-4)


def test_the_measurements_are_in_the_manifest(quantized, runtime):
    source, made, new = quantized
    manifest = json.loads((new / "model.json").read_text())
    assert manifest["name"] == "toy-int8"
    assert manifest["precision"] == "int8"
    assert manifest["quantized"] == {
        "from": open_model(source, runtime).fingerprint,
        "method": made.method,
        "pictures": made.pictures,
        "held_out": made.held_out,
        "overlap_at_10": made.overlap_at_10,
        "cosine_mean": made.cosine_mean,
        "cosine_min": made.cosine_min,
        "milliseconds": list(made.milliseconds),
    }
    assert made.fingerprint == open_model(new, runtime).fingerprint != manifest["quantized"]["from"]
    assert (new / "LICENSE").read_text() == "free"
    [(name, reason)] = made.failed
    assert name.endswith("damaged.png")
    assert "damaged.png" in reason


def test_the_record_changes_no_fingerprint(quantized, runtime):
    _, made, new = quantized
    manifest = json.loads((new / "model.json").read_text())
    del manifest["quantized"], manifest["precision"]
    plain = _core.Encoder(new, runtime=runtime, threads=1, manifest=json.dumps(manifest))
    assert plain.fingerprint == made.fingerprint


def test_weights_have_8_bits_and_a_scale_for_each_output(quantized):
    source, _, new = quantized
    original = {v.name: numpy_helper.to_array(v) for v in onnx.load(source / "image.onnx").graph.initializer}
    graph = onnx.load(new / "image.int8.onnx").graph
    onnx.checker.check_model(onnx.load(new / "image.int8.onnx"))
    constants = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    pairs = [node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] in constants]
    layers = [node for node in pairs if constants[node.input[0]].dtype == np.int8]
    names = ["w2", "w3", "w4"] if "w4" in original else ["w2", "w3"]
    assert len(layers) == len(names)
    for node, name in zip(layers, names, strict=True):
        integers, scale, zero = (constants[part] for part in node.input)
        [axis] = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
        assert not zero.any()
        others = tuple(number for number in range(integers.ndim) if number != axis)
        whole = original[name]
        expected = np.abs(whole).max(axis=others) / 127
        np.testing.assert_allclose(scale, expected, rtol=1e-6)
        shape = [-1 if number == axis else 1 for number in range(whole.ndim)]
        assert np.abs(integers * scale.reshape(shape) - whole).max() <= expected.max() / 2 + 1e-6
    for name in ("w1", "projection"):
        np.testing.assert_array_equal(constants[name], original[name])


@pytest.mark.parametrize("kind", ["convolutions", "patches"])
def test_the_runtime_computes_with_integers(kind, pictures, tmp_path):
    quantize_model(write(tmp_path / "a", NETWORKS[kind]()), tmp_path / "b", pictures=pictures, sample=20, threads=1)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(tmp_path / "b" / "image.int8.onnx", options)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    if kind == "convolutions":
        assert kinds.count("QLinearConv") == 3
        assert kinds.count("Conv") == kinds.count("QLinearAdd") == 1
        assert not {"Relu", "Clip"} & set(kinds) - {"Relu"}
    else:
        assert kinds.count("MatMulIntegerToFloat") + kinds.count("QGemm") == 2


@pytest.mark.parametrize("kind", ["convolutions", "patches"])
def test_a_vector_does_not_depend_on_its_batch(kind, pictures, runtime, tmp_path):
    quantize_model(write(tmp_path / "a", NETWORKS[kind]()), tmp_path / "b", pictures=pictures, sample=20, threads=1)
    paths = readable(pictures)[:9]
    encoder = open_model(tmp_path / "b", runtime)
    np.testing.assert_array_equal(
        encoder.encode_images(paths), np.concatenate([encoder.encode_images(path) for path in paths])
    )
    preprocess = {key: tuple(v) if isinstance(v, list) else v for key, v in toy.PREPROCESS.items()}
    pixels = _core.preprocess(paths, **preprocess)
    pixels[1:] *= 3  # batch-mates beyond all ranges
    session = onnxruntime.InferenceSession(tmp_path / "b" / "image.int8.onnx")
    together = session.run(["image_embeds"], {"pixel_values": pixels})[0]
    alone = session.run(["image_embeds"], {"pixel_values": pixels[:1]})[0]
    np.testing.assert_allclose(together[:1], alone, rtol=1e-6)


def test_a_layer_against_arithmetic_by_hand():
    draw = np.random.default_rng(0)
    first, second, third = (draw.normal(size=(4, 4)).astype(np.float32) for _ in range(3))
    nodes = [helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]) for i in range(3)]
    made = toy.model(
        nodes,
        [("x0", TensorProto.FLOAT, ["rows", 4])],
        [("x3", TensorProto.FLOAT, ["rows", 4])],
        {"w0": first, "w1": second, "w2": third},
    )
    plan = planning.plan(made, {"x2"})
    assert plan.tensors == ["x1"]
    low, high = -1.5, 3.0
    eight = integers.quantized(made, plan, {"x1": integers.activation(low, high)}, bits=7)
    rows = draw.normal(size=(5, 4)).astype(np.float32)
    [[result]] = [onnxruntime.InferenceSession(eight.SerializeToString()).run(["x3"], {"x0": rows})]
    step = (high - low) / 255
    zero = np.rint(-low / step)
    inside = (np.clip(np.rint(rows @ first / step) + zero, 0, 255) - zero) * step
    scale = np.abs(second).max(axis=0) / 63
    np.testing.assert_allclose(result, inside @ (np.rint(second / scale) * scale) @ third, rtol=1e-4, atol=1e-4)


def test_the_mean_error_of_rounded_weights_is_taken_off_the_bias():
    draw = np.random.default_rng(0)
    layer, more = draw.normal(size=(8, 4)).astype(np.float32), np.eye(4, dtype=np.float32)
    made = toy.model(
        [
            helper.make_node("MatMul", ["x0", "w0"], ["x1"]),
            helper.make_node("MatMul", ["x1", "w1"], ["x2"]),
            helper.make_node("Add", ["x2", "bias"], ["x3"]),
            helper.make_node("MatMul", ["x3", "w2"], ["x4"]),
        ],
        [("x0", TensorProto.FLOAT, ["rows", 8])],
        [("x4", TensorProto.FLOAT, ["rows", 4])],
        {"w0": np.eye(8, dtype=np.float32), "w1": layer, "bias": np.ones(4, np.float32), "w2": more},
    )
    means = draw.normal(size=8) + 5
    plan = planning.plan(made, {"x3"})
    eight = integers.quantized(made, plan, {"x1": integers.activation(-1, 8, means)})
    constants = {value.name: numpy_helper.to_array(value) for value in eight.graph.initializer}
    scale = np.abs(layer).max(axis=0) / 127
    added = means @ (np.rint(layer / scale) * scale - layer)
    np.testing.assert_allclose(constants["x3/bias"], 1 - added, atol=1e-5)
    assert np.abs(added).max() > 0.01

    convolution = toy.model(
        [
            helper.make_node("Conv", ["x0", "w0"], ["x1"]),
            helper.make_node("Conv", ["x1", "w1"], ["x2"], group=2),
            helper.make_node("Conv", ["x2", "w2"], ["x3"]),
        ],
        [("x0", TensorProto.FLOAT, ["batch", 4, 3, 3])],
        [("x3", TensorProto.FLOAT, ["batch", 6, 3, 3])],
        {"w0": weights(4, 4, 1, 1), "w1": weights(6, 2, 1, 1), "w2": weights(6, 6, 1, 1)},
    )
    plan = planning.plan(convolution)
    assert plan.channels == {"x1": 1, "x2": 1}
    known = {name: integers.activation(-0.5, 0.5, means[:4] if name == "x1" else None) for name in plan.tensors}
    constants = {
        value.name: numpy_helper.to_array(value)
        for value in integers.quantized(convolution, plan, known).graph.initializer
    }
    layer = weights(6, 2, 1, 1)[:, :, 0, 0]
    scale = np.abs(layer).max(axis=1, keepdims=True) / 127
    error = np.rint(layer / scale) * scale - layer
    added = [error[out] @ means[:2] if out < 3 else error[out] @ means[2:4] for out in range(6)]
    bias = constants["x2/bias/integers"] * constants["x2/bias/scale"]
    np.testing.assert_allclose(bias, -np.array(added), atol=1e-4)


def test_tiny_weights_leave_a_large_bias_room():
    zeros = np.zeros((4, 4), np.float32)
    zeros[0, 0] = 1e-20
    made = toy.model(
        [
            helper.make_node("Gemm", ["x0", "w0"], ["x1"]),
            helper.make_node("Gemm", ["x1", "w1", "bias"], ["x2"]),
            helper.make_node("Gemm", ["x2", "w0"], ["x3"]),
        ],
        [("x0", TensorProto.FLOAT, ["rows", 4])],
        [("x3", TensorProto.FLOAT, ["rows", 4])],
        {"w0": np.eye(4, dtype=np.float32), "w1": zeros, "bias": np.array([1, -2, 3, 0], np.float32)},
    )
    eight = integers.quantized(made, planning.plan(made, {"x2"}), {"x1": integers.activation(-1, 1)})
    rows = np.ones((1, 4), np.float32)
    [result] = onnxruntime.InferenceSession(eight.SerializeToString()).run(["x3"], {"x0": rows})
    np.testing.assert_allclose(result, [[1, -2, 3, 0]], atol=1e-5)


def test_only_nodes_that_the_output_needs_are_kept(tmp_path):
    onnx.save(patches(), tmp_path / "image.onnx")
    pixels = np.ones((1, 3, toy.SIDE, toy.SIDE), np.float32)
    whole = planning.layered(tmp_path / "image.onnx", "last_hidden_state", tmp_path, pixels)
    assert [value.name for value in whole.graph.output] == ["last_hidden_state"]
    assert "projection" not in {name for node in whole.graph.node for name in node.input}
    # The last layer works on each patch: it is no projection, and becomes 8 bits.
    assert len(planning.plan(whole).layers) == 2


def test_a_large_network_keeps_its_weights_in_a_file_beside_it(tmp_path, monkeypatch, pictures, runtime):
    source = write(tmp_path / "source", patches())
    small = quantize_model(source, tmp_path / "small", pictures=pictures, sample=20, threads=1)
    onnx.save(patches(), source / "image.onnx", save_as_external_data=True, location="weights", size_threshold=100)
    onnx.save(toy.text_tower(), source / "text.onnx", save_as_external_data=True, location="words", size_threshold=100)
    monkeypatch.setattr(files, "WHOLE", 100)
    large = quantize_model(source, tmp_path / "large", pictures=pictures, sample=20, threads=1)
    assert (tmp_path / "large" / "image.int8.onnx_data").is_file()
    assert large.overlap_at_10 == small.overlap_at_10
    one, other = (open_model(tmp_path / name, runtime) for name in ("small", "large"))
    picture = readable(pictures)[0]
    np.testing.assert_array_equal(one.encode_images(picture), other.encode_images(picture))
    np.testing.assert_array_equal(one.encode_texts("a bear"), other.encode_texts("a bear"))


def test_the_original_is_not_touched_and_an_interrupted_run_leaves_nothing(tmp_path, pictures):
    source = write(tmp_path / "source", patches())
    before = digests(source)

    seen = []
    quantize_model(source, tmp_path / "a", pictures=pictures, sample=20, threads=1, progress=lambda *x: seen.append(x))
    assert digests(source) == before
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert seen[-1][0] <= seen[-1][1]
    whats = list(dict.fromkeys(what for _, _, what in seen))
    assert len(whats) == 8

    def interrupt(stage, _done, _total, what):
        if what == stage:
            raise KeyboardInterrupt

    for stage in whats:
        progress = partial(interrupt, stage)
        with pytest.raises(KeyboardInterrupt):
            quantize_model(source, tmp_path / "b", pictures=pictures, sample=20, threads=1, progress=progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "source"]
    assert digests(source) == before


def test_layers_that_cannot_be_quantized_stay(tmp_path, pictures):
    source = write(tmp_path / "source", patches())
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match="out exists already"):
        quantize_model(source, out, pictures=pictures)
    out.unlink()

    def appear(_done, _total, what):
        if what == "timing" and not out.exists():
            out.mkdir()
            (out / "mine").write_text("mine")

    with pytest.raises(FileExistsError, match="out has appeared meanwhile"):
        quantize_model(source, out, pictures=pictures, sample=20, threads=1, progress=appear)
    assert sorted(path.name for path in tmp_path.rglob("*") if "source" not in str(path)) == ["mine", "out"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_bits": 9}, "weights of 9 bits: give 7 or 8"),
        ({"sample": 3}, "3 pictures for ranges, 500 held out: give at least 20 of each"),
        ({"held_out": 0}, "give at least 20 of each"),
        ({"model": "no-such-model"}, "unknown model 'no-such-model'"),
    ],
)
def test_bad_options(tmp_path, pictures, options, message):
    source = write(tmp_path / "source", patches())
    with pytest.raises(ValueError, match=message):
        quantize_model(**{"model": source, "out": tmp_path / "out", "pictures": pictures, **options})


def test_too_few_pictures(tmp_path, toy_model):
    for number in range(45):
        (tmp_path / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"0 pictures in .* can be used; quantizing needs at least 40"):
        quantize_model(toy_model, tmp_path / "out", pictures=tmp_path)
    for number in range(40):
        (tmp_path / f"{number}.png").unlink()
    with pytest.raises(ValueError, match=r"5 pictures in .* can be used"):
        quantize_model(toy_model, tmp_path / "out", pictures=tmp_path)


def test_networks_that_cannot_be_quantized(tmp_path, toy_model, pictures, quantized):
    out = tmp_path / "out"
    with pytest.raises(ModelError, match=r"model toy: image.onnx: it has no layers with weights between the first and"):
        quantize_model(toy_model, out, pictures=pictures)
    with pytest.raises(ModelError, match=r"image.int8.onnx: it is quantized already; take the fp32 file"):
        quantize_model(quantized[2], out, pictures=pictures)
    half = toy.write(tmp_path / "half")
    onnx.save(toy.image_tower(floats=np.float16), half / "image.onnx")
    with pytest.raises(ModelError, match="it takes fp16 inputs; take the fp32 file"):
        quantize_model(half, out, pictures=pictures)
    with pytest.raises(ModelError, match="has no image tower to quantize: it encodes texts only"):
        quantize_model(toy.write(tmp_path / "texts", image=None), out, pictures=pictures)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".", "out"))]


def test_the_missing_is_named(tmp_path, toy_model, pictures, monkeypatch):
    for module in ("make", "plan", "integers"):
        monkeypatch.delitem(sys.modules, f"plushie_search.convert.quantize.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"install it with: pip install 'plushie_search\[quantize\]'"):
        quantize_model(toy_model, tmp_path / "out", pictures=pictures)


def test_the_command(tmp_path, pictures, capsys):
    source = write(tmp_path / "source", convolutions())
    command = ["models", "quantize", str(source), str(tmp_path / "new"), "--pictures", str(pictures), "--sample", "30"]
    assert main([*command, "--name", "small"]) == 0
    shown = capsys.readouterr().out
    assert f"{tmp_path / 'new'}: 8 bits, in ranges from 2" in shown
    assert "of the ten nearest are the same" in shown
    assert "damaged.png" in shown
    assert json.loads((tmp_path / "new" / "model.json").read_text())["name"] == "small"
    assert main(command) == 2
    assert "new exists already" in capsys.readouterr().err
    command[3] = str(tmp_path / "other")
    assert main([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["directory"] == str(tmp_path / "other")
    assert facts["pictures"] + facts["held_out"] == PICTURES


@pytest.mark.parametrize("size", [1e-3, 1.0, 300.0])
def test_a_histogram_grows_with_its_values(size):
    draw = np.random.default_rng(1)
    values = (draw.normal(size=200_000) * size).astype(np.float32)
    values[:5] = [40 * size] * 5
    seen = Histogram()
    for part in np.array_split(np.sort(values), 7):
        seen.add(part.reshape(-1, 1))
    np.testing.assert_allclose(seen.means, [values.mean()], atol=0.01 * size)
    assert seen.everything() == (values.min(), values.max())
    low, high = seen.most()
    expected = np.quantile(values, [TAIL / 2, 1 - TAIL / 2])
    np.testing.assert_allclose([low, high], expected, atol=0.05 * size)
    assert high < 6 * size


def test_ranges_reach_zero_but_not_beyond():
    seen = Histogram()
    seen.add(np.array([2, 3, 4], np.float32))
    assert seen.everything() == (0.0, 4.0)
    assert seen.most()[0] == 0.0
    assert seen.closest()[0] == 0.0
    constant = Histogram()
    constant.add(np.zeros(3, np.float32))
    assert constant.everything() == constant.most() == constant.closest() == (0.0, 0.0)
    with pytest.raises(ValueError, match="has values that are NaN or infinite"):
        seen.add(np.array([np.nan], np.float32))


def test_the_closest_range_has_the_least_error():
    draw = np.random.default_rng(2)
    values = draw.standard_t(3, size=100_000).astype(np.float32)
    seen = Histogram()
    seen.add(values)

    def error(low, high):
        step = (high - low) / (LEVELS - 1)
        return ((np.clip(np.rint((values - low) / step), 0, LEVELS - 1) * step + low - values) ** 2).mean()

    found = error(*seen.closest())
    assert found < 0.9 * error(*seen.everything())
    assert found < 1.02 * min(error(-end, end) for end in np.linspace(5, 210, 83))


def test_neighbors_are_compared_without_themselves(monkeypatch):
    monkeypatch.setattr(loss, "BLOCK", 5)
    before = toy.unit(np.random.default_rng(0).normal(size=(12, 3))).astype(np.float32)
    assert loss.overlap(before, before) == 1
    # Of eleven others ten are nearest: the one that is left out decides.
    left_out = [np.argmin(np.where(np.arange(12) == row, 9, before @ before[row])) for row in range(12)]
    after = before[::-1].copy()
    other = [np.argmin(np.where(np.arange(12) == row, 9, after @ after[row])) for row in range(12)]
    expected = np.mean([1.0 if one == two else 0.9 for one, two in zip(left_out, other, strict=True)])
    assert loss.overlap(before, after) == pytest.approx(expected)
