"""Vectors against hand computation, whatever shares the batch, and networks that are not what model.json says."""

import json
import multiprocessing
import os
import shutil
import signal
import threading

import numpy as np
import onnx
import pytest
import toy
from onnx import TensorProto, helper
from PIL import Image

from plushie_search import Engine, ModelError, PictureError, _core, hub

COLORS = [(255, 0, 0), (12, 200, 99), (0, 0, 255), (255, 255, 255), (90, 60, 30)]
TEXTS = {
    "a pink rabbit": ["a", "pink", "rabbit"],
    "The TEDDY bear": ["the", "teddy", "bear"],
    "粉色兔子": [*"粉色兔子"],
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of one color each, of various sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, color in enumerate(COLORS):
        Image.new("RGB", (10 + 7 * i, 40 - 5 * i), color).save(folder / f"{i}.png")
    return [folder / f"{i}.png" for i in range(len(COLORS))]


@pytest.fixture
def encoder(runtime, tmp_path):
    """Makes an encoder of the toy model with another manifest, or with other networks."""

    def make(*, image_network=None, text_network=None, threads=2, **changes):
        directory = toy.write(tmp_path / "model", **changes)
        for name, network in (("image", image_network), ("text", text_network)):
            if network is not None:
                onnx.save(network, directory / f"{name}.onnx")
        return _core.Encoder(directory, runtime=runtime, threads=threads)

    return make


def image(**changes):
    """The manifest's image tower, with changes."""
    return {**toy.manifest()["image"], **changes}


def text(**changes):
    """The manifest's text tower, with changes."""
    return {**toy.manifest()["text"], **changes}


def test_an_encoder_describes_itself(toy_encoder):
    assert (toy_encoder.name, toy_encoder.dim, toy_encoder.threads) == ("toy", toy.DIM, 2)
    assert len(toy_encoder.fingerprint) == 64
    assert repr(toy_encoder) == 'Encoder("toy", version="1", dim=6, threads=2)'


def test_images_match_hand_computation(toy_encoder, pictures):
    vectors = toy_encoder.encode_images(pictures)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(COLORS), toy.DIM)
    np.testing.assert_allclose(vectors, [toy.color_vector(color) for color in COLORS], atol=1e-6)


def test_a_picture_of_two_halves_is_the_mean_of_its_halves(toy_encoder, tmp_path):
    picture = Image.new("RGB", (toy.SIDE, toy.SIDE), (200, 0, 0))
    picture.paste((0, 100, 40), (0, 0, toy.SIDE, toy.SIDE // 2))
    picture.save(tmp_path / "halves.png")
    [vector] = toy_encoder.encode_images([tmp_path / "halves.png"])
    np.testing.assert_allclose(vector, toy.color_vector((100, 50, 20)), atol=1e-6)


def test_texts_match_hand_computation(toy_encoder):
    vectors = toy_encoder.encode_texts(list(TEXTS))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [toy.words_vector(words) for words in TEXTS.values()], atol=1e-6)


def test_a_text_or_picture_by_itself_is_a_batch_of_one(toy_encoder, pictures):
    np.testing.assert_array_equal(toy_encoder.encode_texts("a bear"), toy_encoder.encode_texts(["a bear"]))
    np.testing.assert_array_equal(toy_encoder.encode_images(pictures[0]), toy_encoder.encode_images(pictures[:1]))
    assert toy_encoder.encode_texts([]).shape == (0, toy.DIM)
    assert toy_encoder.encode_images([]).shape == (0, toy.DIM)


@pytest.mark.parametrize("padding", ["longest", "fixed"])
def test_padding_does_not_change_a_masked_model(encoder, padding):
    columns = toy.MAX_LENGTH if padding == "fixed" else "tokens"
    padded = encoder(text_network=toy.text_tower(columns=columns), text=text(padding=padding))
    vectors = padded.encode_texts([*TEXTS, "bear"])
    expected = [toy.words_vector(words) for words in [*TEXTS.values(), ["bear"]]]
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_long_texts_lose_their_tail_but_keep_the_end_token(toy_encoder):
    words = ["red", "scarf", "with", "brown", "bear", "pink", "rabbit", "teddy", "the"]
    kept = toy.MAX_LENGTH - 2
    np.testing.assert_allclose(toy_encoder.encode_texts(" ".join(words))[0], toy.words_vector(words[:kept]), atol=1e-6)


def test_vectors_do_not_depend_on_the_batch(encoder, pictures):
    """A quantized network shares one scale in a batch; alone or in any company, the bits must be the same."""
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
    made = encoder(image_network=network)
    alone = np.concatenate([made.encode_images([picture]) for picture in pictures])
    for size in [*range(2, 40), 70]:
        chosen = np.random.default_rng(size).integers(len(pictures), size=size)
        np.testing.assert_array_equal(made.encode_images([pictures[i] for i in chosen]), alone[chosen])


def convolution(shape=("batch", 3, toy.SIDE, toy.SIDE)):
    """A network that can do several pictures at once."""
    draw = np.random.default_rng(1)
    return toy.model(
        [
            helper.make_node("Conv", ["pixel_values", "filters"], ["filtered"]),
            helper.make_node("Relu", ["filtered"], ["active"]),
            helper.make_node("Flatten", ["active"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["image_embeds"]),
        ],
        [("pixel_values", TensorProto.FLOAT, shape)],
        [("image_embeds", TensorProto.FLOAT, [shape[0], toy.DIM])],
        {
            "filters": draw.normal(size=(16, 3, 3, 3)).astype(np.float32),
            "weights": draw.normal(size=(16 * (toy.SIDE - 2) ** 2, toy.DIM)).astype(np.float32),
        },
    )


@pytest.mark.parametrize("shape", [("batch", 3, toy.SIDE, toy.SIDE), (1, 3, toy.SIDE, toy.SIDE)])
def test_many_pictures_have_the_vectors_that_each_has_alone(encoder, pictures, shape):
    made = encoder(image_network=convolution(shape))
    alone = np.concatenate([made.encode_images([picture]) for picture in pictures])
    for size in (32, 33, 71):
        chosen = np.random.default_rng(size).integers(len(pictures), size=size)
        np.testing.assert_array_equal(made.encode_images([pictures[i] for i in chosen]), alone[chosen])


def test_a_damaged_picture_among_many_is_named_and_spoils_no_other(encoder, pictures, runtime, tmp_path):
    made = encoder(image_network=convolution())
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"damaged\.png"):
        made.encode_images([*pictures * 8, tmp_path / "damaged.png"])
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        Image.new("RGB", (8, 8), (6 * number, 90, 255 - 6 * number)).save(folder / f"{number}.png")
    (folder / "10.png").write_bytes(b"no picture")
    engine = Engine(tmp_path / "catalog", model=made)
    report = engine.add_folder(folder)
    assert (report.items, report.references, len(report.failed)) == (39, 39, 1)
    for number in (9, 11, 39):
        expected = made.encode_images([folder / f"{number}.png"])
        np.testing.assert_array_equal(engine.vectors(str(number)), expected)


def test_texts_do_not_depend_on_the_batch(toy_model, runtime):
    texts = [" ".join(np.random.default_rng(i).choice(toy.WORDS[4:], size=1 + i % 9)) for i in range(60)]

    def fresh():
        return _core.Encoder(toy_model, runtime=runtime, threads=2)

    together = fresh().encode_texts(texts)
    one_by_one = fresh()
    np.testing.assert_array_equal(together, np.concatenate([one_by_one.encode_texts(text) for text in texts]))
    np.testing.assert_array_equal(together, fresh().encode_texts(texts[::-1])[::-1])


def test_repeated_texts_are_remembered(toy_encoder):
    texts = ["a bear", "a rabbit", "a bear", "a bear"]
    first = toy_encoder.encode_texts(texts)
    np.testing.assert_array_equal(first[[0, 0]], first[[2, 3]])
    np.testing.assert_array_equal(first, toy_encoder.encode_texts(texts))
    # More texts than are remembered push the first ones out, and they come back the same.
    toy_encoder.encode_texts([f"bear {number}" for number in range(5000)])
    np.testing.assert_array_equal(first, toy_encoder.encode_texts(texts))


def test_int32_ids_and_fixed_shapes(encoder):
    made = encoder(
        image_network=toy.image_tower(shape=[1, 3, toy.SIDE, toy.SIDE]),
        text_network=toy.text_tower(ids=np.int32, columns=7),
        text=text(padding="fixed", max_length=7),
    )
    np.testing.assert_allclose(made.encode_texts("red scarf")[0], toy.words_vector(["red", "scarf"]), atol=1e-6)


def test_half_precision_networks(encoder, pictures):
    made = encoder(image_network=toy.image_tower(floats=np.float16))
    np.testing.assert_allclose(made.encode_images(pictures), [toy.color_vector(color) for color in COLORS], atol=5e-3)


def test_outputs_found_by_name_or_chosen(encoder, pictures):
    network = toy.image_tower()
    network.graph.node.append(helper.make_node("Neg", ["image_embeds"], ["other"]))
    network.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["batch", toy.DIM]))
    found = encoder(image_network=network).encode_images(pictures)
    chosen = encoder(image_network=network, image=image(output="other")).encode_images(pictures)
    np.testing.assert_array_equal(chosen, -found)
    with pytest.raises(ModelError, match=r'image.onnx: has no output "nope"; it has \["image_embeds", "other"\]'):
        encoder(image_network=network, image=image(output="nope"))
    network.graph.output[0].name = network.graph.node[1].output[0] = network.graph.node[2].input[0] = "mine"
    with pytest.raises(ModelError, match=r'outputs \["mine", "other"\]; say in model.json which one'):
        encoder(image_network=network)


def tokens_tower():
    """A vector for each token: its embedding."""
    return toy.model(
        [helper.make_node("Gather", ["embedding", "input_ids"], ["last_hidden_state"])],
        [("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [("last_hidden_state", TensorProto.FLOAT, ["batch", "tokens", toy.DIM])],
        {"embedding": toy.EMBEDDING},
    )


@pytest.mark.parametrize("padding", ["longest", "fixed"])
@pytest.mark.parametrize(("pool", "rows"), [("cls", slice(0, 1)), ("mean", slice(None))])
def test_tokens_become_one_vector_as_told(encoder, pool, rows, padding):
    made = encoder(text_network=tokens_tower(), text=text(pool=pool, padding=padding))
    ids = [toy.BOS, toy.WORDS.index("red"), toy.WORDS.index("scarf"), toy.EOS]
    expected = toy.unit(toy.EMBEDDING[ids][rows].mean(axis=0))
    np.testing.assert_allclose(made.encode_texts("red scarf")[0], expected, atol=1e-6)


def test_tokens_without_a_pool_are_refused(encoder):
    with pytest.raises(ModelError, match=r'"last_hidden_state" has the shape .* "pool": "cls" or "mean"'):
        encoder(text_network=tokens_tower())


def test_optional_inputs_of_text_networks(encoder):
    """token_type_ids are zeros and position_ids count: a vector of both shows it."""
    network = toy.model(
        [
            helper.make_node("Add", ["input_ids", "token_type_ids"], ["ids"]),
            helper.make_node("Gather", ["embedding", "ids"], ["words"]),
            helper.make_node("Gather", ["places", "position_ids"], ["where"]),
            helper.make_node("Add", ["words", "where"], ["sum"]),
            helper.make_node("ReduceMean", ["sum", "axis"], ["sentence_embedding"], keepdims=0),
        ],
        [(name, TensorProto.INT64, ["batch", "tokens"]) for name in ("input_ids", "token_type_ids", "position_ids")],
        [("sentence_embedding", TensorProto.FLOAT, ["batch", toy.DIM])],
        {"embedding": toy.EMBEDDING, "places": toy.EMBEDDING[::-1].copy(), "axis": np.array([1])},
    )
    ids = [toy.BOS, toy.WORDS.index("red"), toy.EOS]
    expected = toy.unit((toy.EMBEDDING[ids] + toy.EMBEDDING[::-1][:3]).mean(axis=0))
    np.testing.assert_allclose(encoder(text_network=network).encode_texts("red")[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dimension": 5}, r'image.onnx: output "image_embeds" gives 6 numbers, but model.json says "dimension": 5'),
        (
            {"image_network": toy.image_tower(shape=["b", 3, 9, 9])},
            r'input "pixel_values" has the shape \[\?, 3, 9, 9\]',
        ),
        (
            {"image_network": toy.image_tower(shape=["b", 8, 8, 3], axes=[1, 2])},
            r"image.onnx: .* pixels as \[batch, 3, height, width\]",
        ),
        ({"image_network": toy.text_tower()}, r'image.onnx: input "input_ids" takes .*; .* takes float32 or float16'),
        ({"text_network": toy.image_tower()}, r'text.onnx: input "pixel_values" takes .*; .* takes int64 or int32'),
        ({"text_network": toy.text_tower(columns=5)}, r'text.onnx: input "input_ids" has the shape \[\?, 5\].*"fixed"'),
    ],
)
def test_networks_that_model_json_does_not_fit(encoder, changes, message):
    with pytest.raises(ModelError, match=message):
        encoder(**changes)


def test_a_network_of_two_pictures_is_refused(encoder):
    network = toy.model(
        [helper.make_node("Add", ["left", "right"], ["image_embeds"])],
        [(name, TensorProto.FLOAT, ["b", 3, toy.SIDE, toy.SIDE]) for name in ("left", "right")],
        [("image_embeds", TensorProto.FLOAT, ["b", 3, toy.SIDE, toy.SIDE])],
        {},
    )
    with pytest.raises(ModelError, match=r'takes the inputs \["left", "right"\]; a tower takes one input, the pixels'):
        encoder(image_network=network)


def test_networks_newer_than_the_runtime(encoder):
    network = toy.image_tower()
    network.ir_version = 999
    with pytest.raises(
        ModelError, match=r"image.onnx: is not a network that .* can run: .*999.*; it may be too old: pip"
    ):
        encoder(image_network=network)


def test_networks_with_operators_of_their_own(encoder):
    ports = (
        [("pixel_values", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [("image_embeds", TensorProto.FLOAT, ["batch", 6])],
    )
    ports = [[helper.make_tensor_value_info(*port) for port in side] for side in ports]
    node = helper.make_node("Frob", ["pixel_values"], ["image_embeds"], domain="com.example")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.example", 1)]
    made = helper.make_model(helper.make_graph([node], "g", *ports), opset_imports=opsets, ir_version=9)
    with pytest.raises(ModelError, match=r"image.onnx: .*com.example:Frob.*; its operators are not all those of ONNX"):
        encoder(image_network=made)


@pytest.mark.parametrize(
    ("ids", "pixels"),
    [
        (["batch", 10**15], ["batch", 3, 8, 8]),
        (["batch", 2**62], ["batch", 3, 8, 8]),
        (["batch", "tokens"], [2**40, 3, 2**40, 8]),
        (["batch", "tokens"], ["batch", 3, 2**20, 2**20]),
    ],
)
def test_a_network_for_both_that_wants_more_than_there_is(toy_model, tmp_path, runtime, ids, pixels):
    """The input of the unused side has to fit into memory."""
    weights = {"axes": np.array([2, 3]), "last": np.array([1]), "a": toy.IMAGE_WEIGHTS, "b": toy.EMBEDDING}
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "a"], ["image_embeds"]),
        helper.make_node("Gather", ["b", "input_ids"], ["embedded"]),
        helper.make_node("ReduceMean", ["embedded", "last"], ["text_embeds"], keepdims=0),
    ]
    inputs = [("pixel_values", TensorProto.FLOAT, pixels), ("input_ids", TensorProto.INT64, ids)]
    outputs = [(name, TensorProto.FLOAT, ["batch", toy.DIM]) for name in ("image_embeds", "text_embeds")]
    directory = shutil.copytree(toy_model, tmp_path / "model")
    onnx.save(toy.model(nodes, inputs, outputs, weights), directory / "both.onnx")
    towers = {side: toy.manifest()[side] | {"file": "both.onnx"} for side in ("image", "text")}
    (directory / "model.json").write_text(json.dumps(toy.manifest(**towers)))
    with pytest.raises(
        ModelError, match=r"both.onnx: input .* takes .* numbers even when it is not asked for|does not fit"
    ):
        _core.Encoder(directory, runtime=runtime, threads=1)


def test_a_dimension_found_only_when_running(encoder, pictures):
    network = toy.model(
        [
            helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["embeds"]),
            helper.make_node("ReduceSum", ["embeds"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["limits", "sum"], ["kept"]),
            helper.make_node("Compress", ["embeds", "kept"], ["image_embeds"], axis=1),
        ],
        [("pixel_values", TensorProto.FLOAT, ["b", 3, toy.SIDE, toy.SIDE])],
        [("image_embeds", TensorProto.FLOAT, ["b", "kept"])],
        {
            "axes": np.array([2, 3]),
            "weights": toy.IMAGE_WEIGHTS,
            "limits": np.float32([1e9, 1e9, 1e9, 1e9, -1e9, -1e9]),
        },
    )
    made = encoder(image_network=network)
    with pytest.raises(ModelError, match=r'image.onnx: output "image_embeds" gives 4 numbers, but .* "dimension": 6'):
        made.encode_images(pictures)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_vectors_that_point_nowhere(encoder, pictures, value):
    made = encoder(image_network=toy.image_tower(weights=np.full_like(toy.IMAGE_WEIGHTS, value)))
    with pytest.raises(ModelError, match=r"image.onnx: gave NaN, infinity or only zeros for picture .*0.png"):
        made.encode_images(pictures)


def test_ids_beyond_the_embedding(encoder):
    """Found when the model is opened, not by the first text that has such an id."""
    highest = len(toy.WORDS) - 1
    for size in (4, highest):
        with pytest.raises(
            ModelError,
            match=rf"model toy: tokenizer.json gives ids up to {highest}, which text.onnx does not know: they",
        ):
            encoder(text_network=toy.text_tower(embedding=toy.EMBEDDING[:size]))
    with pytest.raises(ModelError, match=r"gives ids up to 99, which text.onnx does not know: .* text.pad_id is wrong"):
        encoder(text=text(padding="fixed", pad_id=99), text_network=toy.text_tower(columns=toy.MAX_LENGTH))


def test_half_a_model(encoder, pictures):
    pictures_only = encoder(text=None)
    with pytest.raises(ModelError, match="model toy: has no text tower: it encodes pictures only"):
        pictures_only.encode_texts("bear")
    texts_only = encoder(image=None)
    with pytest.raises(ModelError, match="model toy: has no image tower: it encodes texts only"):
        texts_only.encode_images(pictures)
    np.testing.assert_allclose(texts_only.encode_texts("red")[0], toy.words_vector(["red"]), atol=1e-6)


def test_the_first_bad_picture_is_named(toy_encoder, pictures, tmp_path):
    for name in ("first.jpg", "second.jpg"):
        (tmp_path / name).write_text("no picture")
    with pytest.raises(PictureError, match=r"first\.jpg"):
        toy_encoder.encode_images([*pictures, tmp_path / "first.jpg", pictures[0], tmp_path / "second.jpg"])
    with pytest.raises(FileNotFoundError, match=r"missing\.jpg"):
        toy_encoder.encode_images([tmp_path / "missing.jpg"])
    # The encoder is as good as before.
    np.testing.assert_allclose(toy_encoder.encode_images(pictures)[0], toy.color_vector(COLORS[0]), atol=1e-6)


@pytest.mark.parametrize("threads", [0, 1025])
def test_thread_counts(encoder, threads):
    with pytest.raises(ValueError, match=f"{threads} threads: give 1 to 1024"):
        encoder(threads=threads)


def test_an_encoder_starts_no_more_threads_than_told(encoder, pictures):
    def started():
        before = threads()
        made = encoder(threads=3)
        made.encode_images(pictures * 20)
        made.encode_texts([f"bear {number}" for number in range(50)])
        return len(threads() - before)

    # Threads of other tests may end meanwhile, and one that waits for something may begin.
    assert min(started() for _ in range(3)) == 3


def threads():
    return set(os.listdir("/proc/self/task"))


def test_many_threads_share_an_encoder(toy_encoder, pictures):
    images, texts = toy_encoder.encode_images(pictures), toy_encoder.encode_texts(list(TEXTS))
    wrong = []

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(pictures))
        for _ in range(20):
            if not np.array_equal(toy_encoder.encode_images([pictures[i] for i in order]), images[order]):
                wrong.append(seed)
            if not np.array_equal(toy_encoder.encode_texts(list(TEXTS)), texts):
                wrong.append(seed)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_threads_that_run_one_network_at_once_get_the_bits_that_each_gets_alone(encoder):
    made = encoder(image_network=convolution(), threads=8)
    noise = np.random.default_rng(2).integers(0, 256, (64, 40, 30, 3), dtype=np.uint8)
    alone = np.concatenate([made.encode_images(picture) for picture in noise])
    results = {}

    def work(seed):
        order = np.random.default_rng(seed).permutation(len(noise))
        results[seed] = order, np.concatenate([made.encode_images(noise[i]) for i in order])

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(results) == 8
    for order, vectors in results.values():
        np.testing.assert_array_equal(vectors, alone[order])


def slow_tower():
    """A network that works for a good while on one picture: many products of large matrices."""
    size, products = 512, 60
    nodes = [helper.make_node("MatMul", ["square", "square"], ["product0"])]
    nodes += [helper.make_node("MatMul", [f"product{i}", "square"], [f"product{i + 1}"]) for i in range(products)]
    nodes += [
        helper.make_node("ReduceMean", ["pixel_values", "axes"], ["means"], keepdims=0),
        # Reading the means first keeps the products from being computed once when the network is loaded.
        helper.make_node("ReduceSum", ["means"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["plain", "sum"], ["square"]),
        helper.make_node("ReduceSum", [f"product{products}"], ["total"], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["embeds"]),
        helper.make_node("Mul", ["total", "zero"], ["nothing"]),
        helper.make_node("Add", ["embeds", "nothing"], ["image_embeds"]),
    ]
    return toy.model(
        nodes[products + 1 : products + 4] + nodes[: products + 1] + nodes[products + 4 :],
        [("pixel_values", TensorProto.FLOAT, ["b", 3, toy.SIDE, toy.SIDE])],
        [("image_embeds", TensorProto.FLOAT, ["b", toy.DIM])],
        {
            "axes": np.array([2, 3]),
            "plain": np.eye(size, dtype=np.float32) / 1000,
            "weights": toy.IMAGE_WEIGHTS,
            "zero": np.float32(0),
        },
    )


def test_python_goes_on_while_a_network_runs(encoder, pictures):
    """While one thread encodes, another counts: it could not if the first one kept the GIL."""
    made = encoder(image_network=slow_tower(), threads=1)
    done = threading.Event()

    def encode():
        made.encode_images(pictures[:2])
        done.set()

    worker = threading.Thread(target=encode)
    worker.start()
    count = 0
    while not done.wait(0.001):
        count += 1
    worker.join()
    # A thread that was kept waiting would see the work already done, or nearly so.
    assert count > 10


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_ctrl_c_ends_a_long_list(toy_encoder, tmp_path, kind):
    Image.effect_noise((2000, 1500), 60).convert("RGB").save(tmp_path / "large.jpg")
    encode = getattr(toy_encoder, f"encode_{kind}")
    things = [tmp_path / "large.jpg"] * 3000 if kind == "images" else [f"bear {number}" for number in range(300_000)]
    expected = encode(things[:1])
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            encode(things)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    np.testing.assert_array_equal(encode(things[:1]), expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_opens_the_encoder_again(toy_encoder):
    expected = toy_encoder.encode_texts("a bear")
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    child = context.Process(target=lambda: answer.put(toy_encoder.encode_texts("a bear")))
    child.start()
    np.testing.assert_array_equal(answer.get(timeout=60), expected)
    child.join()
    assert child.exitcode == 0


# Without networks


def test_pictures_and_texts_are_prepared_without_networks(toy_model, toy_encoder, pictures, tmp_path):
    directory = shutil.copytree(toy_model, tmp_path / "toy")
    bare = {"with": hub.open_encoder(directory, threads=2, networks=False)}
    for name in ("image.onnx", "text.onnx"):
        (directory / name).unlink()
    bare["without"] = hub.open_encoder(directory, threads=2, networks=False)
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in toy.PREPROCESS.items()}
    expected = _core.preprocess(pictures, **options)
    for encoder in (toy_encoder, *bare.values()):
        found = encoder.preprocess_images(pictures)
        assert (found.dtype, found.shape) == (np.float32, (len(COLORS), 3, toy.SIDE, toy.SIDE))
        np.testing.assert_array_equal(found, expected)
        tokens = encoder.tokenize(["a bear", "a pink rabbit"])
        words = [[toy.WORDS.index(word) for word in text.split()] for text in ("a bear", "a pink rabbit")]
        ids = [[toy.BOS, *words[0], toy.EOS, toy.PAD], [toy.BOS, *words[1], toy.EOS]]
        np.testing.assert_array_equal(tokens["input_ids"], ids)
        np.testing.assert_array_equal(tokens["attention_mask"], [[1, 1, 1, 1, 0], [1] * 5])
    assert bare["with"].fingerprint == toy_encoder.fingerprint
    for encode in (lambda: bare["with"].encode_images(pictures), lambda: bare["with"].encode_texts("a bear")):
        with pytest.raises(ModelError, match="network is neither here nor on the service"):
            encode()
    with pytest.raises(ValueError, match="text"):
        toy_encoder.tokenize("")
    with pytest.raises(PictureError):
        toy_encoder.preprocess_images([b"no picture"])
