"""Devices, numbers and batches: what is refused and why, and vectors that do not depend on them."""

import ctypes
import inspect
import os
import re
import subprocess
import sys
import threading
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import onnx
import pytest
import toy
from onnx import TensorProto, helper
from PIL import Image

from plushie_search import Engine, ModelError, PictureError, _core, check_model, cli, compare_models, hub
from plushie_search.hub import cuda as _cuda


def has(package):
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


needs_openvino = pytest.mark.skipif(not has("onnxruntime-openvino"), reason="onnxruntime-openvino is not installed")


@pytest.fixture
def model(tmp_path):
    """The toy model, with networks in which rows could meet, and with changes."""

    def make(**changes):
        directory = toy.write(tmp_path / "model", **changes)
        onnx.save(convolution(), directory / "image.onnx")
        return directory

    return make


def convolution(*, seed=1, floats=np.float32):
    draw = np.random.default_rng(seed)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(floats))
    return toy.model(
        [
            helper.make_node("Conv", ["pixel_values", "filters"], ["filtered"]),
            helper.make_node("Relu", ["filtered"], ["active"]),
            helper.make_node("Flatten", ["active"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["image_embeds"]),
        ],
        [("pixel_values", element, ["batch", 3, toy.SIDE, toy.SIDE])],
        [("image_embeds", element, ["batch", toy.DIM])],
        {
            "filters": draw.normal(size=(16, 3, 3, 3)).astype(floats),
            "weights": draw.normal(size=(16 * (toy.SIDE - 2) ** 2, toy.DIM)).astype(floats),
        },
    )


def noise(count, seed=0):
    return list(np.random.default_rng(seed).integers(0, 256, (count, 30, 20, 3), dtype=np.uint8))


def texts(count):
    words = toy.WORDS[4:]
    draw = np.random.default_rng(3)
    return [" ".join(draw.choice(words, 1 + number % 5)) + f" {words[number % len(words)]}" for number in range(count)]


# What is refused


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cuda:0,0", "openvino:'", ""])
def test_an_unknown_device(toy_model, device):
    with pytest.raises(ValueError, match=r"unknown device .*: give cpu, auto, cuda, cuda:1, cuda:0,1, tensorrt"):
        hub.open_encoder(toy_model, device=device)


def test_numbers_that_a_device_does_not_have(toy_model):
    with pytest.raises(ValueError, match=r"unknown precision .int8.: give fp32, fp16 or bf16"):
        hub.open_encoder(toy_model, precision="int8")
    with pytest.raises(ValueError, match=r"^precision bf16 is not for device cpu: it is for openvino and tensorrt"):
        hub.open_encoder(toy_model, precision="bf16")


@pytest.mark.parametrize("rows", [0, 1025])
def test_batches_of_no_sense(toy_model, rows):
    with pytest.raises(ValueError, match=f"^max_batch {rows}: give 1 to 1024$"):
        hub.open_encoder(toy_model, max_batch=rows)


@pytest.mark.skipif(has("onnxruntime-gpu"), reason="this ONNX Runtime may have the provider")
@pytest.mark.parametrize(
    ("device", "provider", "package"),
    [
        ("cuda:1", "CUDAExecutionProvider", r"onnxruntime-gpu\[cuda,cudnn\]"),
        ("tensorrt", "TensorrtExecutionProvider", r"onnxruntime-gpu\[cuda,cudnn\]"),
    ],
)
def test_a_runtime_without_the_provider_names_the_package(toy_model, device, provider, package):
    with pytest.raises(ModelError, match=rf"device {device}.* has no {provider}; .*pip install '{package}', which"):
        hub.open_encoder(toy_model, device=device)


@pytest.mark.skipif(has("onnxruntime-openvino"), reason="onnxruntime-openvino is installed")
def test_a_runtime_without_openvino_names_the_package(toy_model):
    with pytest.raises(ModelError, match=r"has no OpenVINOExecutionProvider; .*pip install 'onnxruntime-openvino'"):
        hub.open_encoder(toy_model, device="openvino")


@pytest.mark.skipif(not has("onnxruntime-gpu"), reason="onnxruntime-gpu is not installed")
@pytest.mark.skipif(has_driver(), reason="there is an NVIDIA driver")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_without_a_driver_the_missing_library_is_named(toy_model, device):
    with pytest.raises(
        ModelError, match=rf"cannot be opened on {device}:0: .*(is missing; (pip|install)|no NVIDIA driver)"
    ):
        hub.open_encoder(toy_model, device=device)


@pytest.mark.skipif(has_driver(), reason="there is an NVIDIA driver")
def test_auto_falls_back_with_one_warning_that_says_why(toy_model, toy_encoder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        encoder = hub.open_encoder(toy_model, device="auto", precision="fp16")
    [warning] = caught
    assert warning.category is RuntimeWarning
    assert str(warning.message).startswith(
        ("device auto computes on cpu: ONNX Runtime: device cuda:0: ", "device auto computes on cpu: model toy: ")
    )
    assert "onnxruntime-gpu" in str(warning.message) or "NVIDIA" in str(warning.message)
    assert (encoder.device, encoder.precision, encoder.max_batch) == ("cpu", None, None)
    assert encoder.fallback in str(warning.message)
    assert toy_encoder.fallback is None
    np.testing.assert_array_equal(encoder.encode_images(noise(3)), toy_encoder.encode_images(noise(3)))


@pytest.mark.skipif(has_driver(), reason="there is an NVIDIA driver")
def test_the_warning_names_the_line_that_asked(toy_model, tmp_path):
    """However deep in the package the model is opened."""

    def opens_an_engine():
        Engine(tmp_path / "catalog", model=hub.open_encoder(toy_model, device="auto")).close()

    def opens_an_encoder():
        hub.open_encoder(toy_model, device="auto")

    def checks():
        check_model(toy_model, device="auto")

    def compares():
        path = tmp_path / "items" / "red"
        path.mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (9, 9), (200, 10 * number, 0)).save(path / f"{number}.png")
        compare_models([hub.open_encoder(toy_model, device="auto"), toy_model], path.parent)

    for opens in (opens_an_engine, opens_an_encoder, checks, compares):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            opens()
        first = opens.__code__.co_firstlineno
        lines = range(first, first + len(inspect.getsource(opens).splitlines()))
        assert {warning.filename for warning in caught} == {__file__}, opens.__name__
        assert all(warning.lineno in lines for warning in caught), opens.__name__


@pytest.mark.skipif(has_driver(), reason="there is an NVIDIA driver")
@pytest.mark.filterwarnings("default")
def test_the_command_line_says_it_as_it_says_everything(toy_model, capsys):
    assert cli.main(["models", "check", str(toy_model), "--device", "auto"]) == 0
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert re.match("plushie-search: warning: device auto computes on cpu: (ONNX Runtime: device|model toy:) ", line)
    reason = line.partition("computes on cpu: ")[2]
    assert f"fallback             {reason}\n" in out


def test_auto_does_not_hide_errors_of_the_model(tmp_path):
    directory = toy.write(tmp_path / "model", dimension=7)
    with pytest.raises(ModelError, match="gives 6 numbers"):
        hub.open_encoder(directory, device="auto")


# Networks of 16 bits


def test_networks_of_16_bits_beside_the_others(model):
    directory = model()
    full = hub.open_encoder(directory)
    with pytest.raises(ModelError, match=r"precision fp16: there is no network of 16 bits beside its own \(image_fp16"):
        hub.open_encoder(directory, precision="fp16")
    onnx.save(convolution(floats=np.float16), directory / "image_fp16.onnx")
    half = hub.open_encoder(directory, precision="fp16")
    assert half.outputs["image"] == ("image_fp16.onnx", "image_embeds")
    assert (half.fingerprint, half.precision) == (full.fingerprint, "fp16")
    vectors, expected = half.encode_images(noise(20)), full.encode_images(noise(20))
    assert not np.array_equal(vectors, expected)
    assert (vectors * expected).sum(axis=1).min() > 0.99999
    np.testing.assert_array_equal(half.encode_texts("a bear"), full.encode_texts("a bear"))


def test_networks_of_16_bits_that_belong_to_another_model(model):
    directory = model()
    onnx.save(convolution(floats=np.float16, seed=2), directory / "image_fp16.onnx")
    with pytest.raises(ModelError, match=r"^model toy: precision fp16: vectors of pictures would differ"):
        hub.open_encoder(directory, precision="fp16")
    (directory / "image_fp16.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"image_fp16\.onnx is not an ONNX file"):
        hub.open_encoder(directory, precision="fp16")


def test_a_network_of_16_bits_keeps_no_weights_elsewhere(model, tmp_path):
    directory = model()
    network = convolution(floats=np.float16)
    tensor = network.graph.initializer[0]
    (tmp_path / "outside").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../outside")
    (directory / "image_fp16.onnx").write_bytes(network.SerializeToString())
    with pytest.raises(ModelError, match=r"image_fp16\.onnx has weights in \"../outside\""):
        hub.open_encoder(directory, precision="fp16")


def chain(kind, directory):
    """Pixels that are transposed, cast to 32 bits, and multiplied, as the processor does with 16 bits by itself."""
    draw = np.random.default_rng(4)
    weights = {"w": draw.normal(size=(toy.SIDE**2, 5)), "v": draw.normal(size=(15, toy.DIM))}
    model = toy.model(
        [
            helper.make_node("Reshape", ["pixel_values", "rows"], ["flat"]),
            helper.make_node("Cast", ["flat"], ["short"], to=kind),
            helper.make_node("Transpose", ["short"], ["turned"], perm=[1, 0, 2]),
            helper.make_node("Cast", ["turned"], ["long"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["long", "w"], ["layer"]),
            helper.make_node("Transpose", ["layer"], ["back"], perm=[1, 0, 2]),
            helper.make_node("Reshape", ["back", "row"], ["row_of"]),
            helper.make_node("MatMul", ["row_of", "v"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, toy.SIDE, toy.SIDE])],
        [("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])],
        {"rows": np.array([0, 3, -1]), "row": np.array([0, -1])}
        | {name: value.astype(np.float32) for name, value in weights.items()},
        opset=17,
    )
    onnx.save(model, directory / "image.onnx")
    return weights


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT64, TensorProto.DOUBLE])
def test_casts_of_transposed_tensors_do_not_crash_the_runtime(kind, tmp_path):
    """Some versions of ONNX Runtime do by themselves, so that this is tried in a process of its own."""
    directory = toy.write(tmp_path / "model", text=None)
    weights = chain(kind, directory)
    color = np.array([200, 90, 30])
    code = (
        "import sys, numpy as np; from plushie_search import hub\n"
        "encoder = hub.open_encoder(sys.argv[1], threads=1)\n"
        f"print(*encoder.encode_images(np.full((8, 8, 3), {color.tolist()}, np.uint8))[0])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    values = (color / 255 - toy.PREPROCESS["mean"]) / toy.PREPROCESS["std"]
    values = values.astype(np.int64) if kind == TensorProto.INT64 else values
    expected = toy.unit((np.repeat(values[:, None], toy.SIDE**2, 1) @ weights["w"]).reshape(-1) @ weights["v"])
    assert np.array(done.stdout.split(), float) @ expected > 0.9999


def test_a_network_in_numbers_that_the_processor_does_not_compute_in(tmp_path):
    """bfloat16 has no operators there, and ONNX Runtime does not convert it as it does the other 16 bits."""
    directory = toy.write(tmp_path / "model")
    weights = helper.make_tensor("weights", TensorProto.BFLOAT16, (3, toy.DIM), toy.IMAGE_WEIGHTS.flatten())
    network = toy.image_tower()
    product = network.graph.node[1]
    product.input[0], product.output[0] = "short", "product"
    network.graph.node.insert(1, helper.make_node("Cast", ["means"], ["short"], to=TensorProto.BFLOAT16))
    network.graph.node.append(helper.make_node("Cast", ["product"], ["image_embeds"], to=TensorProto.FLOAT))
    network.graph.initializer.remove(next(tensor for tensor in network.graph.initializer if tensor.name == "weights"))
    network.graph.initializer.append(weights)
    onnx.save(network, directory / "image.onnx")
    with pytest.raises(ModelError, match=r"16 bits, use its files of 32 bits or a GPU"):
        hub.open_encoder(directory)


# Batches, by the same way that GPUs use


@pytest.mark.parametrize(("rows", "threads"), [(2, 1), (5, 1), (8, 3), (64, 2)])
def test_pictures_in_batches_get_the_vectors_that_each_gets_alone(model, rows, threads):
    directory = model()
    alone = hub.open_encoder(directory, threads=threads, max_batch=1)
    batched = hub.open_encoder(directory, threads=threads, max_batch=rows)
    assert (alone.max_batch, batched.max_batch) == (1, rows)
    for count in (0, 1, rows - 1, rows, rows + 1, 3 * rows + 2):
        pictures = noise(count, seed=count)
        np.testing.assert_allclose(batched.encode_images(pictures), alone.encode_images(pictures), atol=1e-5)


@pytest.mark.parametrize("padding", ["longest", "fixed"])
@pytest.mark.parametrize("rows", [2, 7, 64])
def test_texts_in_batches_get_the_vectors_that_each_gets_alone(model, rows, padding):
    directory = model(text={**toy.manifest()["text"], "padding": padding})
    alone = hub.open_encoder(directory, threads=2, max_batch=1)
    batched = hub.open_encoder(directory, threads=2, max_batch=rows)
    np.testing.assert_allclose(batched.encode_texts(texts(50)), alone.encode_texts(texts(50)), atol=1e-5)
    np.testing.assert_allclose(batched.encode_texts("a bear"), [toy.words_vector(["a", "bear"])], atol=1e-6)


def test_a_bad_picture_in_a_batch_spoils_no_other(model, tmp_path):
    directory = model()
    pictures = [Image.fromarray(pixels) for pixels in noise(23)]
    expected = hub.open_encoder(directory).encode_images(pictures)
    paths = []
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    for bad in (0, 9, 22):
        paths[bad].write_bytes(b"no picture")
    encoder = hub.open_encoder(directory, threads=2, max_batch=8)
    with pytest.raises(PictureError, match=r"0\.png"):
        encoder.encode_images(paths)
    with Engine(tmp_path / "catalog", model=hub.open_encoder(directory, threads=2, max_batch=8)) as engine:
        report = engine.add_images(paths, ids=[str(number) for number in range(len(paths))])
        assert sorted(name.rpartition("/")[2] for name, _ in report.failed) == ["0.png", "22.png", "9.png"]
        for number in set(range(23)) - {0, 9, 22}:
            [hit] = engine.search_vector(expected[number], k=1)
            assert (hit.item, round(hit.score, 4)) == (str(number), 1.0)


def test_a_picture_that_the_network_cannot_do_is_named(tmp_path):
    """A network that divides by the picture's brightness: a black one gives no vector."""
    network = toy.model(
        [
            helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
            helper.make_node("ReduceSum", ["means", "last"], ["sums"], keepdims=1),
            helper.make_node("Div", ["means", "sums"], ["shares"]),
            helper.make_node("MatMul", ["shares", "weights"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, toy.SIDE, toy.SIDE])],
        [("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])],
        {"axes": np.array([2, 3]), "last": np.array([1]), "weights": toy.IMAGE_WEIGHTS},
    )
    plain = {**toy.PREPROCESS, "mean": [0, 0, 0], "std": [1, 1, 1]}
    directory = toy.write(tmp_path / "model", image={**toy.manifest()["image"], "preprocess": plain})
    onnx.save(network, directory / "image.onnx")
    encoder = hub.open_encoder(directory, threads=1, max_batch=8)
    pictures = noise(10)
    assert np.isfinite(encoder.encode_images(pictures)).all()
    Image.new("RGB", (20, 20)).save(tmp_path / "black.png")
    with pytest.raises(ModelError, match=r"gave NaN.* for picture .*black\.png"):
        encoder.encode_images([*pictures, tmp_path / "black.png"])


def test_a_network_that_shares_a_scale_is_given_pictures_one_by_one(tmp_path):
    network = toy.model(
        [
            helper.make_node("Flatten", ["pixel_values"], ["pixels"]),
            helper.make_node("DynamicQuantizeLinear", ["pixels"], ["quantized", "scale", "zero"]),
            helper.make_node("DequantizeLinear", ["quantized", "scale", "zero"], ["rough"]),
            helper.make_node("MatMul", ["rough", "weights"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, toy.SIDE, toy.SIDE])],
        [("image_embeds", TensorProto.FLOAT, ["batch", toy.DIM])],
        {"weights": np.random.default_rng(0).normal(size=(3 * toy.SIDE**2, toy.DIM)).astype(np.float32)},
    )
    directory = toy.write(tmp_path / "model")
    onnx.save(network, directory / "image.onnx")
    pictures = [(pixels // (1 + number % 7)).astype(np.uint8) for number, pixels in enumerate(noise(40))]
    alone = hub.open_encoder(directory, max_batch=1).encode_images(pictures)
    np.testing.assert_array_equal(hub.open_encoder(directory, max_batch=16).encode_images(pictures), alone)


def test_networks_of_one_row_are_given_pictures_one_by_one(tmp_path):
    directory = toy.write(tmp_path / "model")
    onnx.save(toy.image_tower(shape=(1, 3, toy.SIDE, toy.SIDE)), directory / "image.onnx")
    alone = hub.open_encoder(directory, max_batch=1).encode_images(noise(10))
    np.testing.assert_array_equal(hub.open_encoder(directory, max_batch=4).encode_images(noise(10)), alone)


def test_many_threads_send_batches_at_once(model):
    encoder = hub.open_encoder(model(), threads=2, max_batch=8)
    pictures, lines = noise(40), texts(40)
    expected = encoder.encode_images(pictures), encoder.encode_texts(lines)
    wrong = []

    def work():
        for _ in range(5):
            if not np.allclose(encoder.encode_images(pictures), expected[0], atol=1e-5):
                wrong.append("pictures")
            if not np.allclose(encoder.encode_texts(lines), expected[1], atol=1e-5):
                wrong.append("texts")

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_catalog_does_not_depend_on_batches_and_says_how_it_computes(model, tmp_path):
    directory = model()
    with Engine(tmp_path / "catalog", model=hub.open_encoder(directory, max_batch=8)) as engine:
        engine.add_images(noise(20), ids=[str(number) for number in range(20)])
        stats = engine.stats()
        assert (stats["device"], stats["precision"]) == ("cpu", None)
    with Engine(tmp_path / "catalog", model=directory) as engine:
        [hit] = engine.search_image(noise(20)[7], k=1)
        assert hit.item == "7"
        assert hit.score == pytest.approx(1, abs=1e-5)


# OpenVINO


@needs_openvino
@pytest.mark.parametrize("precision", [None, "fp32"])
@pytest.mark.parametrize("rows", [None, 4])
def test_openvino_gives_the_vectors_of_the_processor(precision, rows):
    here = hub.open_encoder("plushie-mini", threads=2)
    there = openvino("plushie-mini", precision=precision, max_batch=rows)
    assert (there.device, there.precision, there.fingerprint) == ("openvino:CPU", precision, here.fingerprint)
    pictures = _core.render_plushes(range(6), range(6), size=160)
    for one, other in (
        (here.encode_images(pictures), there.encode_images(pictures)),
        (here.encode_texts(lines := ["a brown bear", "粉色兔子", "red scarf"]), there.encode_texts(lines)),
    ):
        assert (one * other).sum(axis=1).min() > 0.99999


@needs_openvino
def test_bf16_where_it_changes_little(model):
    if "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no bf16")
    here, there = hub.open_encoder(model()), openvino(model(), precision="bf16")
    assert (there.precision, there.fingerprint) == ("bf16", here.fingerprint)
    one, other = here.encode_images(noise(20)), there.encode_images(noise(20))
    assert not np.array_equal(one, other)
    assert (one * other).sum(axis=1).min() > 0.999
    with pytest.raises(ModelError, match=r"precision bf16: vectors of pictures would differ .*cosine 0\.9.* leave"):
        openvino("plushie-mini", precision="bf16")


@needs_openvino
def test_threads_share_openvino(toy_model, toy_encoder):
    encoder = openvino(toy_model)
    expected = toy_encoder.encode_images(noise(30))
    wrong = []

    def work(seed):
        order = np.random.default_rng(seed).permutation(30)
        if not np.allclose(encoder.encode_images([noise(30)[i] for i in order]), expected[order], atol=1e-5):
            wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@needs_openvino
def test_a_device_that_openvino_does_not_have(toy_model):
    with pytest.raises(ModelError, match=r"cannot be opened on openvino:NPU; if there is no NPU for OpenVINO here"):
        openvino(toy_model, device="openvino:NPU")


def openvino(model, *, device="openvino", **options):
    """The runtimes of a process are one: where several packages are installed, another may be open already."""
    try:
        return hub.open_encoder(model, threads=2, device=device, **options)
    except ModelError as error:
        if "this process already runs" in str(error):
            pytest.skip("another ONNX Runtime is open")
        raise


# Which runtime, and what it needs


def test_the_runtime_of_the_package_for_the_device_is_taken(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    installed = {"onnxruntime": "1.31.1", "onnxruntime-openvino": "1.24.1"}

    def installed_version(name):
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(hub.runtime, "find_spec", lambda name: Spec)
    monkeypatch.setattr(hub.runtime, "version", installed_version)
    (tmp_path / "capi").mkdir()
    for name in ("libonnxruntime.so.1.24.1", "libonnxruntime.so.1.31.1"):
        (tmp_path / "capi" / name).touch()
    chosen = {device: hub.runtime_library(device).suffixes for device in ("cpu", "openvino:GPU", "auto", "cuda:1")}
    newest, other = [".so", ".1", ".31", ".1"], [".so", ".1", ".24", ".1"]
    assert chosen == {"cpu": newest, "openvino:GPU": other, "auto": newest, "cuda:1": newest}
    # Its library is gone: the next installation has overwritten or removed it.
    installed["onnxruntime-openvino"] = "1.25.0"
    assert hub.runtime_library("openvino").suffixes == newest
    installed["onnxruntime-gpu"] = "1.20.0"
    with pytest.raises(ImportError, match=r"onnxruntime-gpu 1\.20\.0 is too old; .* 'onnxruntime-gpu>=1"):
        hub.runtime_library("cuda")


@pytest.mark.parametrize(
    ("cuda", "expected"),
    [
        ("13.0", ["cu13/lib/libcudart.so.13", "cu13/lib/libcublasLt.so.13", "cudnn/lib/libcudnn.so.9"]),
        ("12.8", ["cuda_runtime/lib/libcudart.so.12", "cublas/lib/libcublasLt.so.12", "cudnn/lib/libcudnn.so.9"]),
        (None, []),
    ],
)
def test_libraries_of_the_right_cuda_are_opened_in_the_order_of_their_needs(tmp_path, monkeypatch, cuda, expected):
    capi = tmp_path / "onnxruntime" / "capi"
    capi.mkdir(parents=True)
    said = "package_name = 'onnxruntime-gpu'\n" + (f"cuda_version = '{cuda}'\n" if cuda else "")
    (capi / "build_and_package_info.py").write_text(said)
    for name in (
        *("cu13/lib/libcublasLt.so.13", "cu13/lib/libcudart.so.13", "cudnn/lib/libcudnn.so.9"),
        *("cuda_runtime/lib/libcudart.so.12", "cublas/lib/libcublasLt.so.12"),
    ):
        (tmp_path / "nvidia" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "nvidia" / name).touch()
    # Empty files are no libraries: each is tried, none is opened.
    assert _cuda.preload(capi) == []
    tried = []
    monkeypatch.setattr(_cuda.ctypes, "CDLL", tried.append)
    opened = _cuda.preload(capi)
    assert tried == [str(path) for path in opened]
    assert [os.path.relpath(path, tmp_path / "nvidia") for path in opened] == expected
    # The same libraries in another folder of packages.
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "nvidia").rename(other / "nvidia")
    assert _cuda.preload(capi) == []
    monkeypatch.syspath_prepend(str(other))
    assert [os.path.relpath(path, other / "nvidia") for path in _cuda.preload(capi)] == expected
