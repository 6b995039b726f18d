"""Training: the towers against ONNX Runtime and numpy, and a whole run of a few seconds."""

import dataclasses
import json
import random

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("pytorch_metric_learning", reason="training needs the extra `train`")

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402
from PIL import Image  # noqa: E402

from plushie_search import _core  # noqa: E402
from plushie_search.hub import runtime_library  # noqa: E402
from plushie_search.plush import facts  # noqa: E402
from plushie_search.train import (  # noqa: E402
    course,
    export,
    finish,
    language,
    lessons,
    mini,
    nuisance,
    plushes,
    tokenizer,
    world,
)
from plushie_search.train.augment import augment, spoil  # noqa: E402
from plushie_search.train.language import Language  # noqa: E402
from plushie_search.train.towers import DIMENSION, ImageTower, TextTower, pixels  # noqa: E402
from plushie_search.train.words import Book  # noqa: E402


@pytest.fixture(scope="module")
def towers():
    torch.manual_seed(0)
    return ImageTower(), TextTower(50)


@pytest.fixture(scope="module")
def exported(towers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    image, text = towers
    export.write_image(image, folder / "image.onnx", side=64)
    export.write_text(text, folder / "text.onnx")
    for name in ("image.onnx", "text.onnx"):
        export.halve(folder / name)
    export.write_manifest(folder, dimension=DIMENSION, side=64, version="0", text=True)
    return folder


def test_the_files_compute_the_same_as_the_towers(towers, exported):
    image, text = towers
    x = torch.rand(3, 3, 64, 64) * 2 - 1
    ids = torch.randint(3, 50, (4, 6))
    mask = torch.ones_like(ids)
    mask[2:, 4:] = 0
    with torch.no_grad():
        expected = image.eval()(x).numpy(), text.eval()(ids, mask).numpy()
    seen = onnxruntime.InferenceSession(exported / "image.onnx").run(None, {"pixel_values": x.numpy()})[0]
    read = onnxruntime.InferenceSession(exported / "text.onnx").run(
        None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    )[0]
    for ours, theirs in zip((seen, read), expected, strict=True):
        cosines = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
        assert cosines.min() > 0.9999  # weights are kept in 16 bits
    assert "Pad" not in {node.op_type for node in onnx.load(exported / "image.onnx").graph.node}


def test_a_tower_starts_from_the_weights_of_another(towers, exported, tmp_path):
    other = ImageTower()
    assert other.start_from(exported / "image.onnx")
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.nn.functional.cosine_similarity(other(x), towers[0](x)).min() > 0.9999
    with pytest.raises(ValueError, match="not those of MobileNetV2"):
        other.start_from(exported / "text.onnx")


def test_the_first_features_are_those_of_mobilenet(assets):
    backbone = assets / "models" / "mobilenet_v2.onnx"
    tower = ImageTower()
    assert not tower.start_from(backbone)
    x = torch.rand(2, 3, 224, 224) * 2 - 1
    expected = onnxruntime.InferenceSession(backbone).run(["features"], {"pixel_values": x.numpy()})[0]
    with torch.no_grad():
        np.testing.assert_allclose(tower.pool(x)[:, :1280].numpy(), expected, atol=1e-4)


def test_the_projection_starts_from_principal_directions():
    rng = np.random.default_rng(0)
    pooled = rng.normal(size=(600, 2752)) * np.linspace(0.1, 3.0, 2752) + rng.normal(size=2752)
    tower = ImageTower()
    tower.project_principal(torch.from_numpy(pooled).float())
    with torch.no_grad():
        ours = tower.project(torch.from_numpy(pooled).float()).numpy()
    features = pooled[:, :1280] - pooled[:, :1280].mean(0)
    _, values, directions = np.linalg.svd(features / np.sqrt(len(features)), full_matrices=False)
    expected = features @ directions[:DIMENSION].T / np.sqrt(values[:DIMENSION])
    expected /= np.linalg.norm(expected, axis=1).mean()
    np.testing.assert_allclose(ours @ ours.T, expected @ expected.T, atol=2e-3)


def test_the_first_layers_rest():
    tower = ImageTower()
    tower.rest(4)
    learning = [name for name, one in tower.named_parameters() if one.requires_grad]
    assert {name.split(".")[1] for name in learning if name.startswith("fine")} == {str(n) for n in range(4, 14)}


def test_some_of_the_start_is_kept():
    image = ImageTower()
    start = {name: one.clone() for name, one in image.state_dict().items()}
    with torch.no_grad():
        for one in image.parameters():
            one.mul_(3.0)
    course.keep_some(image, start, 0.25)
    kept = image.state_dict()
    inner = "fine.0.weights.weight"
    torch.testing.assert_close(kept[inner], start[inner] * (0.75 * 3.0 + 0.25))
    torch.testing.assert_close(kept["project.weight"], start["project.weight"] * 3.0)


def test_augmenting_depends_on_the_dice_alone_and_keeps_the_subject():
    chance = np.random.default_rng(0)
    pictures = torch.from_numpy(chance.integers(0, 256, (6, 3, 40, 40), dtype=np.uint8))
    smooth = torch.nn.functional.avg_pool2d(pictures.float(), 9, 1, 4).byte()
    one = augment(smooth, 32, torch.Generator().manual_seed(1))
    same = augment(smooth, 32, torch.Generator().manual_seed(1))
    other = augment(smooth, 32, torch.Generator().manual_seed(2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert one.min() >= 0
    assert one.max() <= 255
    calm = augment(smooth, 40, torch.Generator().manual_seed(1), strength=0.0)
    assert (calm - smooth.float()).abs().mean() < 12


def test_a_share_of_the_pictures_is_spoilt():
    chance = np.random.default_rng(0)
    pictures = chance.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8)
    assert np.array_equal(spoil(pictures, 0.0, chance), pictures)
    spoilt = spoil(pictures, 0.5, np.random.default_rng(1))
    changed = (spoilt != pictures).any((1, 2, 3))
    expected = np.random.default_rng(1).random(20) < 0.5
    assert np.array_equal(changed, expected)


def test_texts_are_pulled_to_all_that_they_are_true_of():
    texts = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    gallery = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    holds = torch.tensor([[True, False, True], [False, True, False], [False, False, False]])
    logits = np.array([[1.0, 0.0, 0.6], [0.0, 1.0, 0.8]]) / finish.TEMPERATURE
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    expected = -((logs[0, 0] + logs[0, 2]) / 2 + logs[1, 1]) / 2
    assert float(finish._find(texts, gallery, holds)) == pytest.approx(expected, rel=1e-5)


def unit(chance, *shape):
    rows = chance.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.mark.parametrize("texts", [[["a bear"], ["a bear", "toy"], []], [[], [], []]])
@pytest.mark.parametrize("kinds", [True, False])
def test_words_are_learnt_from_few_photos_or_none(monkeypatch, texts, kinds):
    chance = np.random.default_rng(0)
    words = tokenizer.train(["a bear", "toy"] * 20, vocabulary=50)
    words.enable_padding()
    words.enable_truncation(8)
    attributes = plushes.attributes(16)
    about = finish.Lessons(
        attributes,
        facts.table(facts.facts_of(one) for one in attributes),
        unit(chance, 32, 2, 12),
        unit(chance, 3, 12),
        texts,
        Language(Book(), [(["bear"], ["熊"]), (["toy"], ["玩具"])]),
        kinds=(["bear", "toy"], unit(chance, 2, 4)) if kinds else None,
        part=slice(4, 8),
    )
    monkeypatch.setattr(finish, "TEXTS", 8)
    reader = finish._Reader(TextTower(words.get_vocab_size(), 12), words, about)
    losses = reader.losses(np.random.default_rng(0), random.Random(0), 1)
    assert len(losses) == 2 + any(texts) + kinds
    assert all(loss.item() > 0 for loss in losses)


def test_kinds_are_learnt():
    """A tower that gives words the vectors of their kinds, and finds the photos of them, has the least loss."""
    chance = np.random.default_rng(0)
    kinds = np.eye(3, dtype=np.float32)
    about = finish.Lessons(
        [], np.zeros((0, 1), bool), unit(chance, 1, 1, 5), np.eye(3, 5, 1, dtype=np.float32), [[]] * 3, None
    )
    about = dataclasses.replace(about, kinds=(["bear", "toy", "cup"], kinds), part=slice(1, 4))
    reader = reader_of(TextTower, ["bear", "toy", "cup"])
    reader.about, reader.photo_vectors = about, torch.from_numpy(about.photos)
    places = {"bear": 0, "toy": 1, "cup": 2}

    def loss(shift):
        def read(texts):
            said = [next(place for word, place in places.items() if word in text) for text in texts]
            return torch.from_numpy(np.eye(3, 5, 1, dtype=np.float32)[(np.array(said) + shift) % 3])

        reader.read = read
        return float(reader.kinds(np.random.default_rng(0), random.Random(0)))

    assert loss(0) == pytest.approx(0.0, abs=1e-5)
    assert loss(1) > 1.0


def reader_of(text, texts, language=None):
    """Returns a reader without pictures, with a tokenizer of these texts."""
    reader = finish._Reader.__new__(finish._Reader)
    reader.tokens = tokenizer.train(texts * 20, vocabulary=80)
    reader.tokens.enable_padding()
    reader.tokens.enable_truncation(48)
    reader.text = text(reader.tokens.get_vocab_size())
    nothing = np.zeros((0, 1), np.float32)
    reader.about = finish.Lessons([], nothing > 0, nothing[:, None], nothing, [], language)
    reader.said, reader.chinese = [], {}
    return reader


def test_words_are_taught_by_turns():
    unit = np.eye(2, 5, dtype=np.float32)
    pairs = [(["bear"], ["熊"]), (["toy"], ["玩具"])]
    language = Language(Book(), pairs, ([["bear"], ["toy"]], unit), (["bear", "toy"], unit))
    reader = reader_of(TextTower, ["a bear", "toy"], language)
    reader.plushes = lambda chance, dice: torch.zeros(())
    dice = np.random.default_rng(0), random.Random(0)
    with torch.no_grad():
        turns = [float(reader.losses(*dice, step)[1]) for step in range(3)]
    assert turns[0] > 0
    # To each word only the other one is left to compare with, as in the other models: all agree.
    assert turns[1:] == pytest.approx([0.0, 0.0], abs=1e-5)


def test_texts_read_together_and_alone_have_the_same_vectors():
    texts = ["toy", "a brown bear with a red scarf and a hat", "bear", "a hat", "red", "a scarf with a bear"]
    torch.manual_seed(3)
    reader = reader_of(TextTower, texts)
    reader.text.eval()
    with torch.no_grad():
        together = reader.read(texts)
        alone = torch.cat([reader.read([one]) for one in texts])
        encoded = reader.tokens.encode_batch(texts)
        ids, mask = ([getattr(one, name) for one in encoded] for name in ("ids", "attention_mask"))
        plainly = reader.text(torch.tensor(ids), torch.tensor(mask))
    for others in (alone, plainly):
        assert torch.nn.functional.cosine_similarity(together, others).min() > 0.999


def test_geometry_is_zero_when_cosines_agree():
    chance = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize(torch.randn(8, 5, generator=chance))
    assert float(lessons.geometry(3.0 * unit, unit)) == pytest.approx(0.0, abs=1e-5)
    assert float(lessons.geometry(unit.flip(0), unit)) > 0.1


def test_pixels_are_those_of_the_model(exported):
    manifest = json.loads((exported / "model.json").read_text())
    prepared = manifest["image"]["preprocess"]
    level = torch.tensor([0.0, 127.0, 255.0])
    expected = (level / 255 - prepared["mean"][0]) / prepared["std"][0]
    torch.testing.assert_close(pixels(level), expected)


def backbone(side):
    """Returns a tiny frozen backbone: features, and probabilities of 6 classes."""
    chance = np.random.default_rng(5)
    weights = [
        numpy_helper.from_array(chance.normal(size=shape).astype(np.float32) / 4, name)
        for name, shape in (("filters", (300, 3, 8, 8)), ("head", (300, 6)))
    ]
    nodes = [
        helper.make_node("Conv", ["pixel_values", "filters"], ["map"], strides=[8, 8]),
        helper.make_node("Tanh", ["map"], ["cut"]),
        helper.make_node("ReduceMean", ["cut"], ["features"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["features", "head"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["output"], axis=1),
    ]
    shapes = {"pixel_values": ["n", 3, side, side], "features": ["n", 300], "output": ["n", 6]}
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "backbone", values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_composed_network_joins_backbone_kinds_and_plush_tower(towers, tmp_path):
    chance = np.random.default_rng(1)
    image, _ = towers
    export.write_image(image, tmp_path / "plush.onnx", side=96)
    seen = chance.normal(size=(900, 2, 300)).astype(np.float32)
    axes = world.find_axes(seen, seen[:500], chance.normal(size=(6, 40)).astype(np.float32))
    made = world.combine(backbone(96), onnx.load(tmp_path / "plush.onnx"), axes, 2.5)
    onnx.save(made, tmp_path / "image.onnx")
    x = (chance.random((3, 3, 96, 96)) * 2 - 1).astype(np.float32)
    found = onnxruntime.InferenceSession(tmp_path / "image.onnx").run(None, {"pixel_values": x})[0]
    onnx.save(backbone(96), tmp_path / "backbone.onnx")
    features, chances = onnxruntime.InferenceSession(tmp_path / "backbone.onnx").run(None, {"pixel_values": x})
    with torch.no_grad():
        plush = image.eval()(torch.from_numpy(x)).numpy()
    kinds = chances**world.SHARPNESS @ axes.kinds
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    parts = [(features - axes.middle) @ axes.looks, kinds, plush / 2.5]
    expected = np.concatenate([share**0.5 * part for share, part in zip(world.SHARES, parts, strict=True)], 1)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    other = ImageTower()
    assert other.start_from(tmp_path / "image.onnx")
    torch.testing.assert_close(other.state_dict(), image.state_dict())


def test_axes_shrink_what_views_differ_in_and_keep_the_cosines_of_kinds():
    chance = np.random.default_rng(2)
    things = chance.normal(size=(4000, 1, 250)).astype(np.float32)
    apart = np.zeros((1, 1, 250), np.float32)
    apart[..., :50] = 3.0  # views differ in these features, and things in all alike
    classes = chance.normal(size=(30, 50)).astype(np.float32) + 2.0
    photos, toys = (rows + apart * chance.normal(size=(len(rows), 4, 250)) for rows in (things, things[:900]))
    axes = world.find_axes(photos.astype(np.float32), toys.astype(np.float32), classes)
    strength = np.linalg.norm(axes.looks, axis=1)
    assert strength[:50].max() < 0.6 * strength[50:].min()

    def near(rows):
        looks = (rows - axes.middle) @ axes.looks
        looks /= np.linalg.norm(looks, axis=1, keepdims=True)
        return (looks[:100] @ looks[100:].T).argmax(1)

    views = np.concatenate([photos[:100, 1], photos[:100, 2]])
    assert (near(views) == np.arange(100)).mean() > 0.95
    spread = classes - classes.mean(0)
    spread /= np.linalg.norm(spread, axis=1, keepdims=True)
    np.testing.assert_allclose(axes.kinds @ axes.kinds.T, spread @ spread.T, atol=1e-4)
    np.testing.assert_allclose(axes.kinds_of(classes), axes.kinds, atol=1e-4)


def test_a_run_learns_resumes_and_writes_a_model(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plushes, "CHUNK", 8)
    monkeypatch.setattr(mini.hub, "resolve", lambda name: mini.hub.Located(exported, None))
    monkeypatch.setattr(finish, "TEXTS", 8)
    given = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--pairs", "8", "--side", "64"]
    given += ["--batch", "16", "--word-steps", "6"]
    mini.main([*given, "--steps", "4"])
    first = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    mini.main([*given, "--steps", "8"])
    second = torch.load(tmp_path / "work" / "checkpoint.pt", weights_only=True)
    assert (first["step"], second["step"]) == (4, 8)
    resting = "image.fine.0.weights.weight"
    learning = "image.coarse.4.weights.weight"
    assert torch.equal(first["parts"][resting], second["parts"][resting])
    assert not torch.equal(first["parts"][learning], second["parts"][learning])
    encoder = _core.Encoder(tmp_path / "out", runtime=runtime_library(), threads=1)
    picture = _core.Plush(1).render(size=64)
    vectors = np.concatenate([encoder.encode_images([picture]), encoder.encode_texts(["a bear"])])
    assert vectors.shape == (2, DIMENSION)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    with pytest.raises(SystemExit):
        mini.main([*given, "--photos", "x"])
    assert "--photos needs --backbone" in capsys.readouterr().err


def test_a_run_with_a_frozen_backbone_writes_a_model(exported, tmp_path, monkeypatch):
    """The whole course with everything that can be given, on a handful of photos and words."""
    monkeypatch.setattr(plushes, "CHUNK", 8)
    monkeypatch.setattr(nuisance, "PLUSHES", 30)
    monkeypatch.setattr(finish, "TEXTS", 8)
    chance = np.random.default_rng(0)
    source = tmp_path / "photos" / "varied" / "some"
    source.mkdir(parents=True)
    rows = ["file,label,caption"]
    for number in range(60):
        picture = chance.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        Image.fromarray(picture).resize((70, 60)).save(source / f"{number}.png")
        rows.append(f"{number}.png,{'bear' if number % 2 else 'cup'},")
    (source / "labels.csv").write_text("\n".join(rows))
    onnx.save(backbone(224), tmp_path / "teacher.onnx")
    onnx.save(backbone(96), tmp_path / "world.onnx")
    (tmp_path / "teacher.labels.txt").write_text("bear\ncup\ndog, puppy\ncat\nfrog\nfox\n")
    vectors = {}

    def read(folder, texts):
        for text in texts:
            vectors.setdefault(text, chance.normal(size=20).astype(np.float32))
        return np.stack([vectors[text] for text in texts])

    monkeypatch.setattr(language.sentences, "read", read)
    given = ["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work"), "--pairs", "8", "--side", "64"]
    given += ["--steps", "0", "--start", str(exported / "image.onnx"), "--word-steps", "4"]
    given += ["--photos", str(tmp_path / "photos"), "--backbone", str(tmp_path / "teacher.onnx")]
    mini.main([*given, "--world", str(tmp_path / "world.onnx"), "--sentences", str(tmp_path)])
    encoder = _core.Encoder(tmp_path / "out", runtime=runtime_library(), threads=1)
    picture = _core.Plush(1).render(size=96)
    vectors = np.concatenate([encoder.encode_images([picture]), encoder.encode_texts(["a bear", "一只熊"])])
    assert vectors.shape == (3, encoder.dim)
    assert encoder.dim > DIMENSION
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "out" / "image.onnx")
    middle = session.run(None, {"pixel_values": np.zeros((1, 3, 96, 96), np.float32)})[0]
    gray = np.full((96, 96, 3), 127, np.uint8)  # the zero of the network's pixels
    np.testing.assert_allclose(encoder.encode_images([gray]), middle / np.linalg.norm(middle), atol=1e-4)
