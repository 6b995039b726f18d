"""Fine-tuning: against ONNX Runtime and numpy, and whole runs of a tiny network that are cut and go on."""

from __future__ import annotations

import csv
import json
import os
import signal

import numpy as np
import pytest
import toy

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("pytorch_metric_learning", reason="training needs the extra `train`")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402
from PIL import Image  # noqa: E402

import plushie_search as ps  # noqa: E402
from plushie_search import cli, hub  # noqa: E402
from plushie_search.train import EmbeddingNet, Photos, TripletTrainer, Validation, get_dataloader  # noqa: E402
from plushie_search.train.tune.graph import Graph  # noqa: E402
from plushie_search.train.tune.losses import LOSSES, MetricLoss  # noqa: E402
from plushie_search.train.tune.photos import Batches  # noqa: E402
from plushie_search.train.tune.validation import recall_at_1  # noqa: E402

SIDE = 16


def network(nodes, weights, *, size, side=SIDE):
    """Returns an ONNX network of pixels that gives so many numbers."""
    pixels = [("pixel_values", TensorProto.FLOAT, ["n", 3, side, side])]
    vectors = [("vectors", TensorProto.FLOAT, ["n", size])]
    return toy.model(nodes, pixels, vectors, weights, opset=17, ir_version=8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The directory of a convolutional network of 8 numbers, with random weights."""
    chance = np.random.default_rng(3)
    weights = {
        "w1": chance.normal(size=(8, 3, 3, 3)).astype(np.float32) / 4,
        "b1": np.zeros(8, np.float32),
        "w2": chance.normal(size=(8, 8, 1, 1)).astype(np.float32) / 3,
        "w3": chance.normal(size=(8, 8)).astype(np.float32) / 3,
        "b3": chance.normal(size=8).astype(np.float32) / 10,
    }
    nodes = [
        helper.make_node("Conv", ["pixel_values", "w1", "b1"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["d"]),
        helper.make_node("Flatten", ["d"], ["e"]),
        helper.make_node("Gemm", ["e", "w3", "b3"], ["vectors"], transB=1),
    ]
    folder = tmp_path_factory.mktemp("models") / "tiny"
    folder.mkdir()
    onnx.save(network(nodes, weights, size=8), folder / "image.onnx")
    image = {"file": "image.onnx", "output": "vectors", "preprocess": {**toy.PREPROCESS, "size": [SIDE, SIDE]}}
    told = toy.manifest(name="tiny", dimension=8, image=image, text=None, languages=None)
    (folder / "model.json").write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight items with six photos each, which differ by their hue; light differs far more within an item."""
    root = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(0)
    for item in range(8):
        (root / f"item-{item}").mkdir()
        hue = np.array([np.cos(item * np.pi / 4), np.sin(item * np.pi / 4), 0]) * 25
        for photo in range(6):
            pixels = 128 + hue + chance.uniform(-80, 80) + chance.normal(0, 5, (20, 24, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(root / f"item-{item}" / f"{photo}.png")
    return root


# The network


def test_the_built_in_network_has_the_same_vectors_in_pytorch():
    net = EmbeddingNet().eval()
    encoder = ps.open_encoder(hub.DEFAULT_MODEL, threads=1)
    views = [ps._core.Plush(seed).render(size=200) for seed in range(2)]
    with torch.no_grad():
        found = net(torch.from_numpy(encoder.preprocess_images(views))).numpy()
    np.testing.assert_allclose(found, encoder.encode_images(views), atol=1e-5)


def test_the_built_in_network_is_trained_again_after_its_export(tmp_path):
    net = EmbeddingNet()
    again = EmbeddingNet(TripletTrainer(net, device="cpu").export(tmp_path / "first").directory)
    pixels = torch.rand(2, 3, net.side, net.side)
    with torch.no_grad():
        np.testing.assert_allclose(again.eval()(pixels).numpy(), net.eval()(pixels).numpy(), atol=1e-4)
    TripletTrainer(again, device="cpu").export(tmp_path / "second")


def test_operators_compute_as_onnx_runtime_does(tmp_path):
    chance = np.random.default_rng(1)
    weights = {
        "w": chance.normal(size=(6, 3, 3, 3)).astype(np.float32),
        "deep": chance.normal(size=(6, 1, 5, 5)).astype(np.float32),
        "scale": chance.uniform(0.5, 2, 6).astype(np.float32),
        "shift": chance.normal(size=6).astype(np.float32),
        "mean": chance.normal(size=6).astype(np.float32),
        "var": chance.uniform(0.5, 2, 6).astype(np.float32),
        "low": np.float32(-1),
        "high": np.float32(2),
        "shape": np.array([0, 6], np.int64),
        "m": chance.normal(size=(24, 5)).astype(np.float32),
        "power": np.float32(2),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["pixel_values", "w"], ["a"], auto_pad="SAME_UPPER", strides=[2, 2]),
        node("BatchNormalization", ["a", "scale", "shift", "mean", "var"], ["b"], epsilon=1e-3),
        node("HardSwish", ["b"], ["c"]),
        node("Conv", ["c", "deep"], ["d"], auto_pad="SAME_LOWER", group=6, strides=[2, 2]),
        node("Clip", ["d", "low", "high"], ["e"]),
        node("MaxPool", ["c"], ["f"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Add", ["e", "f"], ["g"]),
        node("Sigmoid", ["g"], ["h"]),
        node("Mul", ["g", "h"], ["i"]),
        node("GlobalAveragePool", ["i"], ["j"]),
        node("Reshape", ["j", "shape"], ["k"]),
        node("GlobalMaxPool", ["g"], ["l"]),
        node("Flatten", ["l"], ["o"]),
        node("ReduceMean", ["i"], ["p"], axes=[2, 3], keepdims=0),
        node("Softmax", ["p"], ["q"], axis=1),
        node("HardSigmoid", ["o"], ["r"]),
        node("Concat", ["k", "o", "q", "r"], ["s"], axis=1),
        node("LpNormalization", ["s"], ["t"], axis=1),
        node("MatMul", ["t", "m"], ["u"]),
        node("Pow", ["u", "power"], ["v"]),
        node("Tanh", ["v"], ["w_"]),
        node("Sub", ["w_", "low"], ["x"]),
        node("Div", ["x", "high"], ["vectors"]),
    ]
    onnx.save(network(nodes, weights, size=5, side=15), tmp_path / "net.onnx")
    x = chance.normal(size=(2, 3, 15, 15)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(tmp_path / "net.onnx").run(None, {"pixel_values": x})
    graph = Graph(tmp_path / "net.onnx")
    np.testing.assert_allclose(graph(torch.from_numpy(x)).detach().numpy(), wanted, atol=1e-5)
    assert {tuple(one.shape) for one in graph.parameters()} >= {(6, 3, 3, 3), (24, 5)}


def test_what_cannot_be_trained_is_named(tmp_path, toy_model):
    onnx.save(network([helper.make_node("Erf", ["pixel_values"], ["vectors"])], {}, size=3), tmp_path / "net.onnx")
    with pytest.raises(ps.ModelError, match="training knows no operator Erf: take a convolutional network"):
        Graph(tmp_path / "net.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\x01\x02 no network")
    with pytest.raises(ps.ModelError, match="is no ONNX network"):
        Graph(tmp_path / "bad.onnx")
    with pytest.raises(ps.ArgumentError, match="dim=0: give 1 or more"):
        EmbeddingNet(toy_model, dim=0)


def test_a_projection_begins_with_the_model_or_perpendicular(tiny):
    same, less = EmbeddingNet(tiny), EmbeddingNet(tiny, dim=5)
    x = torch.rand(3, 3, SIDE, SIDE)
    encoder = ps.open_encoder(tiny, threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    prepared = same.prepare(torch.from_numpy(pixels.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(prepared.numpy(), encoder.preprocess_images(list(pixels)), atol=1e-5)
    np.testing.assert_allclose(same(prepared).detach().numpy(), encoder.encode_images(list(pixels)), atol=1e-5)
    assert less(x).shape == (3, 5)
    torch.testing.assert_close(less(x).norm(dim=1), torch.ones(3))
    torch.testing.assert_close(less.project.weight @ less.project.weight.T, torch.eye(5), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "side", "dim"),
    [
        ("resnet18", 64, 512),
        ("mobilenetv3_large_100", 64, 1280),
        ("vit_tiny_patch16_224", 64, 192),
        ("vit_tiny_patch16_224", None, 192),
    ],
)
def test_backbones_of_timm_are_trained_and_exported(folder, tmp_path, name, side, dim):
    pytest.importorskip("timm")
    net = EmbeddingNet(f"timm:{name}", pretrained=False, side=side)
    assert (net.dim, net.side) == (dim, side or 224)
    learner = TripletTrainer(net, device="cpu", rate=1e-4)
    photos = Photos.of_folder(folder).take(range(12))
    learner.train(1, get_dataloader(photos, net, items=2, photos_each=2))
    written = learner.export(tmp_path / "made")
    assert ps.open_encoder(written.directory, threads=1).dim == dim
    learner.save(tmp_path / "model.pt")
    assert EmbeddingNet.load(tmp_path / "model.pt").settings() == net.settings()


def test_backbones_of_timm_that_cannot_be_had_are_refused(monkeypatch):
    timm = pytest.importorskip("timm")
    with pytest.raises(ps.ArgumentError, match=r"takes no pictures of 8 x 8 pixels .*: give another side"):
        EmbeddingNet("timm:vit_tiny_patch16_224", pretrained=False, side=8)
    with pytest.raises(ps.ArgumentError, match="timm has no model 'vgg1'"):
        EmbeddingNet("timm:vgg1", pretrained=False)

    def away(*given, pretrained, **options):
        raise OSError("no such host")

    monkeypatch.setattr(timm, "create_model", away)
    with pytest.raises(ps.ModelError, match=r"^backbone timm:resnet18: .* \(no such host\): .*pretrained=False"):
        EmbeddingNet("timm:resnet18")


# Photos


def test_batches_have_k_photos_of_p_items(folder):
    labels = np.repeat(np.arange(7), [2, 3, 4, 8, 1, 5, 12])
    batches = Batches(labels, items=3, photos=4, seed=5)
    first = list(batches)
    assert len(first) == len(batches)
    for rows in first:
        counts = np.bincount(labels[rows], minlength=7)
        assert sorted(counts[counts > 0].tolist()) == [4, 4, 4]
        assert counts[4] == 0  # its only photo has no other one to be like
    assert set(np.concatenate(first)) == set(range(len(labels))) - {17}
    assert list(batches) == first
    batches.epoch = 1
    other = list(batches)
    assert other != first
    batches.first = 2
    assert list(batches) == other[2:]
    with pytest.raises(ps.ArgumentError, match="give 2 or more of both"):
        Batches(labels, items=1, photos=4)


def test_photos_are_split_by_photos_or_items(folder):
    photos = Photos.of_folder(folder)
    assert (len(photos), photos.items) == (48, tuple(f"item-{item}" for item in range(8)))
    learnt, held = photos.split(0.3, by="photo", seed=1)
    assert np.bincount(held.labels).tolist() == [2] * 8
    assert set(learnt.paths) | set(held.paths) == set(photos.paths)
    assert len(learnt) + len(held) == 48
    learnt, held = photos.split(0.25, by="item")
    assert set(learnt.labels) | set(held.labels) == set(range(8))
    assert (len(set(held.labels)), set(learnt.labels) & set(held.labels)) == (2, set())
    assert photos.take([3, 1, 2]).digest() == photos.take([1, 2, 3]).digest() != photos.take([1, 2, 4]).digest()
    with pytest.raises(ps.ArgumentError, match="give a number between 0 and 1"):
        photos.split(1.0)
    with pytest.raises(ps.ArgumentError, match="fewer than two items have two photos each"):
        Photos.of_folder(folder / "item-0")


def test_pictures_of_a_loader_are_the_photos(folder):
    loader = get_dataloader(folder, side=20, items=3, photos_each=2)
    pictures, labels = next(iter(loader))
    assert (pictures.shape, pictures.dtype, labels.shape) == ((6, 3, 23, 23), torch.uint8, (6,))
    photos = Photos.of_folder(folder)
    for picture, label in zip(pictures, labels, strict=True):
        means = [
            np.asarray(Image.open(path)).mean((0, 1))
            for path in photos.take(np.flatnonzero(photos.labels == int(label))).paths
        ]
        assert min(np.abs(mean - picture.float().mean((1, 2)).numpy()).max() for mean in means) < 1


# Losses and figures


def unit(chance, count, dim=6):
    rows = chance.normal(size=(count, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("mining", ["batch-hard", "semi-hard", "all"])
def test_triplets_are_those_that_the_mining_names(mining):
    chance, margin = np.random.default_rng(2), 0.4
    vectors, labels = unit(chance, 12), np.repeat(np.arange(4), 3)
    apart = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    same = labels[:, None] == labels
    losses = []
    for a in range(12):
        positives = [p for p in range(12) if same[a, p] and p != a]
        negatives = [n for n in range(12) if not same[a, n]]
        if mining == "batch-hard":
            pairs = [(max(apart[a, p] for p in positives), min(apart[a, n] for n in negatives))]
        else:
            pairs = [(apart[a, p], apart[a, n]) for p in positives for n in negatives]
        if mining == "semi-hard":
            pairs = [(p, n) for p, n in pairs if p < n <= p + margin]
        losses += [max(0.0, p - n + margin) for p, n in pairs]
    wanted = np.mean([one for one in losses if one > 0])
    lesson = MetricLoss("triplet", margin=margin, mining=mining, classes=4, dim=6)
    assert float(lesson(torch.from_numpy(vectors), torch.from_numpy(labels))) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_fall_if_items_come_together(loss):
    chance = np.random.default_rng(0)
    labels = torch.arange(4).repeat_interleave(3)
    torch.manual_seed(0)
    lesson = MetricLoss(loss, margin=0.3, mining="all", classes=4, dim=32)
    centers = torch.eye(32)[labels]
    if loss == "proxy-anchor":
        centers = torch.nn.functional.normalize(lesson._loss.proxies.detach())[labels]
    with torch.no_grad():
        together, apart = (float(lesson(one, labels)) for one in (centers, torch.from_numpy(unit(chance, 12, 32))))
    assert together < apart


@pytest.mark.parametrize(
    ("options", "message"),
    [({"loss": "hinge"}, "loss 'hinge'"), ({"mining": "easy"}, "mining 'easy'"), ({"margin": 0}, "margin 0")],
)
def test_unknown_losses_are_refused(tiny, options, message):
    with pytest.raises(ps.ArgumentError, match=message):
        TripletTrainer(EmbeddingNet(tiny), device="cpu", **options)


def test_recall_counts_the_nearest_photo():
    chance = np.random.default_rng(4)
    vectors, labels = unit(chance, 30), chance.integers(0, 8, 30)
    labels[0] = 99  # nothing else is of its item
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    known = [row for row in range(30) if (labels == labels[row]).sum() > 1]
    wanted = np.mean([labels[cosines[row].argmax()] == labels[row] for row in known])
    found = recall_at_1(torch.from_numpy(vectors), torch.from_numpy(labels))
    assert found == pytest.approx(wanted)
    others, owners = unit(chance, 20), chance.integers(0, 8, 20)
    known = [row for row in range(30) if (owners == labels[row]).any()]
    wanted = np.mean([owners[(vectors @ others.T)[row].argmax()] == labels[row] for row in known])
    given = [torch.from_numpy(one) for one in (vectors, labels, others, owners)]
    assert recall_at_1(*given) == pytest.approx(wanted)


# Runs


def trainer(tiny, **options):
    torch.manual_seed(0)
    given = {"rate": 0.02, "strength": 0.2, "mirror": False, "ema": 0.5, **options}
    return TripletTrainer(EmbeddingNet(tiny), device="cpu", **given)


def loader(folder, photos=None):
    photos = Photos.of_folder(folder) if photos is None else photos
    return get_dataloader(photos, side=SIDE, items=4, photos_each=3, seed=1)


def test_training_finds_more_and_exports_the_same_vectors(tiny, folder, tmp_path):
    photos, held = Photos.of_folder(folder).split(0.3)
    learner = trainer(tiny, rate=0.1, strength=0.0)
    validation = Validation(held, photos)
    history = learner.train(12, loader(folder, photos), validation=validation, patience=None, logs=tmp_path / "logs")
    assert learner.best > learner.before + 0.2
    assert learner.best == max(row.recall for row in history)
    with (tmp_path / "logs" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13))
    assert float(rows[3]["recall"]) == history[3].recall
    written = learner.export(tmp_path / "mine", description="eight hues")
    again = EmbeddingNet(written.directory).eval()
    assert len(list(again.backbone.parameters())) == len(list(learner.net.parameters()))
    pixels = torch.rand(3, 3, SIDE, SIDE)
    with torch.no_grad():
        kept = EmbeddingNet(tiny).eval()
        kept.load_state_dict(learner.weights())
        np.testing.assert_allclose(again(pixels).numpy(), kept(pixels).numpy(), atol=1e-5)
    encoder = ps.open_encoder(written.directory, threads=1)
    assert (encoder.name, encoder.dim, written.difference <= 1e-4) == ("mine", 8, True)
    vectors = [torch.from_numpy(encoder.encode_images(list(one.paths))) for one in (held, photos)]
    found = recall_at_1(vectors[0], torch.from_numpy(held.labels), vectors[1], torch.from_numpy(photos.labels))
    assert found == pytest.approx(learner.best)
    card = (tmp_path / "mine" / "README.md").read_text()
    assert photos.digest() in card
    assert f"| before | | {learner.before:.3f} | |" in card
    assert "Apache-2.0" in card
    with pytest.raises(FileExistsError, match="mine exists already"):
        learner.export(tmp_path / "mine")
    learner.save(tmp_path / "model.pt")
    again = EmbeddingNet.load(tmp_path / "model.pt").eval()
    with torch.no_grad():
        same = again(torch.from_numpy(encoder.preprocess_images(list(held.paths))))
    np.testing.assert_allclose(same.numpy(), vectors[0].numpy(), atol=1e-4)


def test_training_that_gains_nothing_ends_early_and_keeps_the_model(tiny, folder, tmp_path):
    photos = Photos.of_folder(folder)
    learner = trainer(tiny)
    learner.options["rate"] = 1e-9
    learner.train(20, loader(folder), validation=Validation(photos), patience=2)
    assert len(learner.history) == 2
    written = learner.export(tmp_path / "same")
    before, after = (
        ps.open_encoder(one, threads=1).encode_images(list(photos.paths)) for one in (tiny, written.directory)
    )
    np.testing.assert_allclose(after, before, atol=1e-4)


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_that_is_cut_goes_on_to_the_same_weights(tiny, folder, tmp_path):
    whole = trainer(tiny)
    whole.train(3, loader(folder))
    checkpoint = tmp_path / "checkpoint.pt"

    def stop(done, total, told):
        if done == 6:  # in the second epoch
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer(tiny).train(3, loader(folder), checkpoint=checkpoint, logs=tmp_path, progress=stop)
    assert signal.getsignal(signal.SIGINT) is before
    again = trainer(tiny)
    again.train(3, loader(folder), checkpoint=checkpoint, logs=tmp_path)
    assert same(again.weights(), whole.weights())
    assert [row.epoch for row in again.history] == [1, 2, 3]
    assert [row.loss for row in again.history] == [row.loss for row in whole.history]
    assert again.history[1].seconds > 0
    assert again.resumed == 1
    assert (tmp_path / "log.csv").read_text().count("\n") == 4
    finished = trainer(tiny)
    finished.train(3, loader(folder), checkpoint=checkpoint)
    assert same(finished.weights(), whole.weights())
    assert finished.resumed == 3
    photos = Photos.of_folder(folder)
    others = [
        ({"margin": 0.5}, loader(folder), None, "options"),
        ({}, loader(folder, photos.take(range(40))), None, "photos"),
        ({}, get_dataloader(folder, side=SIDE, items=4, photos_each=2, seed=1), None, "batches"),
        ({}, loader(folder), Validation(photos), "held-out photos"),
    ]
    for options, batches, validation, other in others:
        with pytest.raises(ps.ArgumentError, match=f"is the checkpoint of another training, with other {other}: name"):
            trainer(tiny, **options).train(3, batches, validation=validation, checkpoint=checkpoint)
    with pytest.raises(ps.ArgumentError, match="is a directory"):
        EmbeddingNet.load(folder)
    with pytest.raises(ps.ArgumentError, match="is no checkpoint of a training"):
        EmbeddingNet.load(folder / "item-0" / "0.png")


def test_batches_of_ones_own_are_taken_as_they_are(tiny):
    chance = torch.Generator().manual_seed(0)
    own = [(torch.randn(6, 3, SIDE, SIDE, generator=chance), torch.tensor([0, 0, 1, 1, 2, 2])) for _ in range(3)]
    learner = trainer(tiny)
    start = {name: one.clone() for name, one in learner.net.state_dict().items()}
    (row,) = learner.train(1, own)
    assert row.loss > 0
    for wrong, message in ((iter(own), "only once"), ([], "has no batches"), (None, "needs"), ("photos", "needs")):
        with pytest.raises(ps.ArgumentError, match=message):
            trainer(tiny).train(1, wrong)
    assert not same(learner.weights(), start)


def test_the_command_trains_goes_on_and_writes_a_model(tiny, folder, tmp_path, capsys):
    out = tmp_path / "mine"
    given = ["train", str(folder), "--out", str(out), "--backbone", str(tiny), "--device", "cpu", "--items", "4"]
    given += ["--each", "3", "--rate", "0.02", "--threads", "1", "--epochs", "2", "--by", "item"]
    assert cli.main(given) == 0
    printed = capsys.readouterr()
    assert "recall@1 of held-out photos: " in printed.out
    assert "training on cpu: 36 photos of 8 items" in printed.err
    assert (tmp_path / "mine.training" / "checkpoint.pt").exists()
    with ps.Engine(tmp_path / "catalog", model=out) as engine:
        engine.add_folder(folder)
        assert len(engine) == 8
    assert cli.main(given) == 2
    assert "mine exists already; give --out a directory that does not" in capsys.readouterr().err
    out.rename(tmp_path / "first")
    assert cli.main(given) == 0
    assert "went on after 2 epochs of" in capsys.readouterr().err
    assert cli.main([*given[:2], "--out", str(tmp_path / "x"), "--validate", "1.5"]) == 2
    assert "--validate 1.5: give a share" in capsys.readouterr().err
