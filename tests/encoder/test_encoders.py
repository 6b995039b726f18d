"""Encoders that are objects, named models, catalogs of vectors alone, and remembered pictures."""

import multiprocessing
import os
import signal
import threading
from io import BytesIO

import numpy as np
import pytest
import toy
from PIL import Image

import plushie_search as ps
from plushie_search import hub

COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (250, 240, 20), (20, 240, 250)]


class Mean:
    """Encodes a picture as the mean of its colors, and a text as its counts of three letters."""

    name, dim, fingerprint = "mean", 3, "mean of the colors, version 1"

    def __init__(self):
        self.calls, self.threads = [], set()

    def encode_images(self, images):
        self.calls.append(len(images))
        self.threads.add(threading.get_ident())
        for image in images:
            assert image.dtype == np.uint8
            assert image.shape[2] == 3
        return np.stack([image.reshape(-1, 3).mean(axis=0) for image in images])

    def encode_texts(self, texts):
        self.calls.append(list(texts))
        return [[text.count(letter) + 0.1 for letter in "rgb"] for text in texts]


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for number, color in enumerate(COLORS):
        Image.new("RGB", (10 + number, 20), color).save(tmp_path / f"{number}.png")
        paths.append(tmp_path / f"{number}.png")
    return paths


def filled(path, model, pictures, **options):
    engine = ps.Engine(path, model=model, **options)
    engine.add_images(pictures, ids=[f"item {number}" for number in range(len(pictures))])
    return engine


def test_any_object_encodes_pictures_and_texts(tmp_path, pictures):
    mean = Mean()
    with filled(tmp_path / "c", mean, pictures) as engine:
        assert engine.models == ("mean",)
        assert (engine.image_model, engine.text_model) == ("mean", "mean")
        for number, color in enumerate(COLORS):
            expected = toy.unit(np.array(color, dtype=np.float64))
            np.testing.assert_allclose(engine.vectors(f"item {number}")[0], expected, atol=1e-7)
        assert [hit.item for hit in engine.search_image(pictures[3], k=1)] == ["item 3"]
        assert [hit.item for hit in engine.search_text("gggg", k=1)] == ["item 1"]
        np.testing.assert_allclose(engine.encode_texts(["rr"])[0], toy.unit(np.array([2.1, 0.1, 0.1])), atol=1e-7)
        [told] = engine.stats()["models"]
        expected = {"name": "mean", "fingerprint": mean.fingerprint, "dimension": 3, "image": True, "text": True}
        assert {key: told[key] for key in expected} == expected
    with pytest.raises(ps.CatalogError, match="has vectors of"):
        ps.Engine(tmp_path / "c", model="plushie-mini")


def test_pictures_come_upright_and_in_color(tmp_path):
    image = Image.new("RGB", (4, 2), (255, 0, 0))
    exif = image.getexif()
    exif[0x112] = 6
    file = BytesIO()
    image.save(file, "PNG", exif=exif)
    seen = []

    class Shapes(Mean):
        def encode_images(self, images):
            seen.extend(image.shape for image in images)
            return super().encode_images(images)

    with ps.Engine(tmp_path / "c", model=Shapes()) as engine:
        engine.add("a", images=[file.getvalue(), Image.new("L", (5, 6), 128), np.zeros((3, 2, 4), np.float32)])
    assert sorted(seen) == [(3, 2, 3), (4, 2, 3), (6, 5, 3)]


def test_batches_are_no_larger_than_the_object_wants(tmp_path, pictures):
    mean = Mean()
    mean.batch, mean.image_batch = 3, 2
    with ps.Engine(tmp_path / "c", model=mean, threads=2) as engine:
        vectors = engine.encode_images(pictures * 2)
        np.testing.assert_allclose(vectors[:5], toy.unit(np.array(COLORS, dtype=np.float64)), atol=1e-7)
        np.testing.assert_array_equal(vectors[:5], vectors[5:])
        assert sorted(mean.calls) == [2] * 5
        mean.calls.clear()
        engine.encode_texts(["r", "g", "b", "rg"])
        assert sorted(map(len, mean.calls)) == [1, 3]


def test_one_thread_at_a_time_calls_the_object_unless_it_wants_more(tmp_path, pictures):
    class Busy(Mean):
        batch = 1

        def __init__(self, requests):
            super().__init__()
            self.requests, self.inside, self.most = requests, 0, 0
            self.together = threading.Barrier(requests, timeout=20)
            self.lock = threading.Lock()

        def encode_images(self, images):
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
            self.together.wait()
            with self.lock:
                self.inside -= 1
            return super().encode_images(images)

    for requests, count in [(1, 5), (3, 3)]:
        busy = Busy(requests)
        with ps.Engine(tmp_path / f"{requests}", model=busy) as engine:
            engine.encode_images(pictures[:count])
        assert busy.most == requests


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda images: np.ones((len(images), 4)),
            r"model mean: its vectors have the shape \(5, 4\), and not \(5, 3\)",
        ),
        (lambda images: np.ones((1, 3)), r"model mean: its vectors have the shape \(1, 3\), and not \(5, 3\)"),
        (lambda images: np.full((len(images), 3), np.nan), r"model mean: gave NaN, infinity or only zeros for picture"),
        (
            lambda images: np.zeros((len(images), 3)),
            r"model mean: gave NaN, infinity or only zeros for picture .*0\.png",
        ),
        (lambda images: "text", r'model "mean": encode_images: '),
        (lambda images: None, r'model "mean": encode_images: '),
        (lambda images: np.ones(3), r'model "mean": encode_images: shape \(3,\) is not \(n, dim\)'),
    ],
)
def test_wrong_vectors_are_refused_by_the_name_of_the_model(tmp_path, pictures, answer, message):
    mean = Mean()
    mean.encode_images = answer
    with ps.Engine(tmp_path / "c", model=mean) as engine:
        with pytest.raises((ps.ModelError, ValueError, TypeError), match=message):
            engine.add("a", images=pictures)
        assert len(engine) == 0


def test_exceptions_pass_through(tmp_path, pictures):
    class Full(Exception):
        pass

    def encode(images):
        raise Full("no memory")

    mean = Mean()
    mean.encode_images = encode
    with ps.Engine(tmp_path / "c", model=mean) as engine:
        for call in (
            lambda: engine.add("a", images=pictures[0]),
            lambda: engine.add_images(pictures * 5, ids=map(str, range(25))),
            lambda: engine.search_image(pictures[0]),
            lambda: engine.encode_images(pictures * 10),
        ):
            with pytest.raises(Full, match="no memory") as raised:
                call()
            assert "encode" in str(raised.traceback[-1])
        mean.encode_texts = lambda texts: {}[texts[0]]
        with pytest.raises(KeyError, match="words"):
            engine.search_text("words")


def test_a_refusal_of_an_object_spoils_no_other(tmp_path, pictures):
    class Refused(ValueError):
        refused = True

    class Picky(Mean):
        def encode_images(self, images):
            if len(images) > 2 or any(image[0, 0, 2] == 255 for image in images):
                raise Refused("I take two pictures that are not blue")
            return super().encode_images(images)

    picky = Picky()
    with ps.Engine(tmp_path / "c", model=picky) as engine:
        report = engine.add_images(pictures, ids=list("abcde"))
        assert (report.references, [name for name, _ in report.failed]) == (4, [str(pictures[2])])
        assert "I take two pictures that are not blue" in report.failed[0][1]
        with pytest.raises(Refused):
            engine.search_image(pictures[2])


def test_files_go_to_an_object_that_wants_them(tmp_path, pictures):
    class Files:
        name, dim, fingerprint = "files", 2, "f"

        def encode_files(self, files):
            assert {media for media, _ in files} == {"image/png"}
            return [[len(data), 1] for _, data in files]

    with ps.Engine(tmp_path / "c", model=Files()) as engine:
        found = engine.encode_images(pictures)
        with pytest.raises(ps.ModelError, match="files: has no text tower"):
            engine.search_text("a", words=False)
    sizes = np.array([[path.stat().st_size, 1] for path in pictures], dtype=np.float64)
    np.testing.assert_allclose(found, toy.unit(sizes), atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, "its name must not be empty"),
        ({"fingerprint": ""}, "its fingerprint must not be empty"),
        ({"dim": 0}, "its dim must be 1 to 65536"),
        ({"batch": 0}, "batch must be 1 to 65536"),
        ({"requests": 0}, "requests must be 1 to 64"),
    ],
)
def test_attributes_that_make_no_sense(tmp_path, change, message):
    mean = Mean()
    for name, value in change.items():
        setattr(mean, name, value)
    with pytest.raises(ValueError, match=message):
        ps.Engine(tmp_path / "c", model=mean)
    assert not (tmp_path / "c").exists()


def test_other_objects_are_no_encoders(tmp_path):
    class Nothing:
        name, dim, fingerprint = "nothing", 3, "n"

    for thing, message in [(3, "it has no method encode_images"), (Nothing(), "it has no method encode_images")]:
        with pytest.raises(TypeError, match=message):
            ps.Engine(tmp_path / "c", model=thing)
    Nothing.encode_images = Mean.encode_images
    del Nothing.fingerprint
    with pytest.raises(TypeError, match='it has no attribute "fingerprint"'):
        ps.Engine(tmp_path / "c", model=Nothing())


def test_ctrl_c_ends_a_long_encoding(tmp_path, pictures):
    begun = threading.Event()

    class Slow(Mean):
        batch = 1

        def encode_images(self, images):
            begun.set()
            threading.Event().wait(0.05)
            return super().encode_images(images)

    with ps.Engine(tmp_path / "c", model=Slow()) as engine:
        thread = threading.Thread(target=lambda: (begun.wait(20), os.kill(os.getpid(), signal.SIGINT)))
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            engine.encode_images(pictures * 100)
        thread.join()


class SentenceTransformer:
    """As the model of that name: one method for texts and PIL images."""

    def encode(self, things, batch_size=32, convert_to_numpy=True, normalize_embeddings=False):
        rows = [[len(thing), 1.0] if isinstance(thing, str) else [*thing.size] for thing in things]
        return np.array(rows, dtype=np.float16)


class Adapter:
    name, dim, fingerprint, batch = "clip-ViT-B-32", 2, "sentence-transformers/clip-ViT-B-32", 32

    def __init__(self, model):
        self.model = model

    def encode_images(self, images):
        return self.model.encode([Image.fromarray(image) for image in images])

    def encode_texts(self, texts):
        return self.model.encode(texts)


def test_a_model_of_sentence_transformers(tmp_path, pictures):
    with ps.Engine(tmp_path / "c", model=Adapter(SentenceTransformer())) as engine:
        expected = toy.unit(np.array([[10.0 + number, 20] for number in range(5)]))
        np.testing.assert_allclose(engine.encode_images(pictures), expected, atol=1e-3)
        np.testing.assert_allclose(engine.encode_texts(["abc"]), toy.unit(np.array([[3.0, 1]])), atol=1e-3)


def test_a_model_of_torch(tmp_path, pictures):
    torch = pytest.importorskip("torch")
    layer = torch.nn.Linear(3, 4, bias=False)

    class Torch:
        name, dim, fingerprint = "torch", 4, "t"

        @torch.no_grad()
        def encode_images(self, images):
            means = torch.stack([torch.from_numpy(image).float().mean(dim=(0, 1)) for image in images])
            return layer(means)

    with ps.Engine(tmp_path / "c", model=Torch()) as engine:
        found = engine.encode_images(pictures)
    expected = toy.unit(np.array(COLORS, dtype=np.float64) @ layer.weight.detach().numpy().T.astype(np.float64))
    np.testing.assert_allclose(found, expected, atol=1e-6)


# Names


def test_models_get_the_names_that_they_are_given(tmp_path, toy_model, toy_encoder, pictures):
    with filled(tmp_path / "c", {"colors": Mean(), "small": toy_model}, pictures, threads=2) as engine:
        assert engine.models == ("colors", "small")
        assert [model["name"] for model in engine.stats()["models"]] == ["colors", "small"]
        np.testing.assert_array_equal(engine.vectors("item 0", model="small"), toy_encoder.encode_images(pictures[:1]))
        assert engine.search_image(pictures[1], models={"colors": 0.5, "small": 0.5}, k=1)[0].item == "item 1"
        with pytest.raises(ValueError, match='no model "toy"'):
            engine.search_image(pictures[1], models="toy")
    # The fingerprint decides, not the name.
    with ps.Engine(tmp_path / "c", model=[toy_encoder, Mean()]) as engine:
        assert engine.models == ("toy", "mean")
        assert engine.search_image(pictures[1], models="mean", k=1)[0].item == "item 1"
        engine.add("again", images=pictures[0])
    with ps.Engine(tmp_path / "c", model={"small": Mean(), "colors": toy_encoder}) as engine:
        np.testing.assert_array_equal(engine.vectors("item 0", model="colors"), toy_encoder.encode_images(pictures[:1]))
    changed = Mean()
    changed.fingerprint = "another"
    with pytest.raises(ps.CatalogError, match='holds vectors of another version of model "colors"'):
        ps.Engine(tmp_path / "c", model={"colors": changed})


def test_an_empty_catalog_takes_new_names(tmp_path, toy_encoder, pictures):
    ps.Engine(tmp_path / "c", model={"a": Mean(), "b": toy_encoder}).close()
    ps.Engine(tmp_path / "c", model={"b": Mean()}).close()
    other = Mean()
    other.fingerprint = "another"
    for _ in range(2):
        with ps.Engine(tmp_path / "c", model={"b": Mean(), "a": other}) as engine:
            engine.add("x", images=pictures[1])
            np.testing.assert_array_equal(engine.vectors("x", model="a"), engine.vectors("x", model="b"))
            engine.remove("x")


def test_two_models_of_one_name_or_one_fingerprint(tmp_path, toy_model, toy_encoder):
    with pytest.raises(ValueError, match=r'two models are called "toy": .* name them, as model=\{"first": \.\.\.'):
        ps.Engine(tmp_path / "c", model=[toy_model, toy_encoder])
    with pytest.raises(ValueError, match='models "a" and "b" are the same, by their fingerprint'):
        ps.Engine(tmp_path / "c", model={"a": toy_model, "b": toy_encoder})
    with pytest.raises(ps.CatalogError, match="does not exist"):
        ps.Engine(tmp_path / "c", model=[])
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("ViT-B/32", "ViT-B-32::openai"),
        ("ViT-L/14", "ViT-L-14::openai"),
        ("RN50x64", "RN50x64::openai"),
        ("ResNet50", "resnet50"),
    ],
)
def test_aliases_of_the_registry(alias, name):
    assert hub.entry(alias) is hub.entry(name)
    assert alias not in ps.models()


# One encoder, several engines


def test_engines_share_the_encoder_that_they_are_given(tmp_path, toy_model, pictures):
    encoder = ps.open_encoder(toy_model, threads=2)
    with filled(tmp_path / "a", encoder, pictures) as one, filled(tmp_path / "b", encoder, pictures) as other:
        assert one.stats()["threads"] == other.stats()["threads"] == 2
        one.search_text("a bear")
        other.search_text("a bear")
        assert one.stats()["cache"]["texts"] == other.stats()["cache"]["texts"] == {"hits": 1, "misses": 1}


def test_an_encoder_that_went_through_a_fork_opens_itself_again(tmp_path, toy_model, pictures):
    encoder = ps.open_encoder(toy_model, threads=2)
    here = encoder.encode_images(pictures)
    engine = filled(tmp_path / "c", encoder, pictures)
    expected = [hit.score for hit in engine.search_image(pictures[0])]

    context = multiprocessing.get_context("fork")
    queue = context.Queue()

    def work():
        again = ps.Engine(tmp_path / "c", model=encoder)
        queue.put((encoder.encode_images(pictures), again.models, [h.score for h in engine.search_image(pictures[0])]))

    process = context.Process(target=work)
    process.start()
    vectors, models, scores = queue.get(timeout=60)
    process.join(20)
    assert process.exitcode == 0
    np.testing.assert_array_equal(vectors, here)
    assert (models, scores) == (("toy",), expected)
    engine.close()


def test_objects_are_used_as_they_are_after_a_fork(tmp_path, pictures):
    engine = filled(tmp_path / "c", Mean(), pictures)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=lambda: queue.put(engine.search_image(pictures[2], k=1)[0].item))
    process.start()
    assert queue.get(timeout=60) == "item 2"
    process.join(20)
    assert process.exitcode == 0
    engine.close()


# Vectors alone


def test_a_catalog_of_vectors_alone(tmp_path, pictures):
    draw = np.random.default_rng(3)
    vectors = toy.unit(draw.normal(size=(40, 16))).astype(np.float32)
    with ps.Engine(tmp_path / "c", dim=16, threads=2) as engine:
        engine.add_vectors([f"item {number}" for number in range(40)], vectors)
        assert (engine.models, engine.image_model, engine.text_model) == (("vectors",), None, None)
        assert [hit.item for hit in engine.search_vector(vectors[7], k=1)] == ["item 7"]
        for call in (lambda: engine.search_image(pictures[0]), lambda: engine.add("a", images=pictures[0])):
            with pytest.raises(ps.ModelError, match=r"encodes no pictures: .* open it with a model, or give vectors"):
                call()
        with pytest.raises(ps.ModelError, match=r"encodes no texts: .* open it with a model, or give vectors"):
            engine.search_text("a bear", words=False)
        assert engine.stats()["threads"] == 2
    with ps.Engine(tmp_path / "c", dim=16) as engine:
        assert len(engine) == 40
    with pytest.raises(ps.CatalogError, match="holds vectors of another version"):
        ps.Engine(tmp_path / "c", dim=17)
    with pytest.raises(ps.CatalogError, match="has vectors of"):
        ps.Engine(tmp_path / "c", model="plushie-mini")
    with pytest.raises(ValueError, match="dim 0: give 1 to 65536"):
        ps.Engine(tmp_path / "d", dim=0)
    with pytest.raises(ValueError, match="give one of them"):
        ps.Engine(tmp_path / "d", dim=16, model="plushie-mini")


# Remembered pictures


def test_a_picture_that_is_searched_for_again_runs_no_network(tmp_path, pictures):
    mean = Mean()
    with filled(tmp_path / "c", mean, pictures) as engine:
        assert engine.stats()["cache"] == {"images": {"hits": 0, "misses": 0}, "texts": {"hits": 0, "misses": 0}}
        first = engine.search_image(pictures[:3])
        calls = len(mean.calls)
        again = engine.search_image([pictures[2], pictures[0].read_bytes(), pictures[2]])
        assert len(mean.calls) == calls
        assert [hits.to_dicts() for hits in again] == [first[place].to_dicts() for place in (2, 0, 2)]
        assert engine.stats()["cache"]["images"] == {"hits": 3, "misses": 3}
        engine.search_hybrid(pictures[2], "g")
        assert mean.calls[calls:] == [["g"]]
        # A picture is known by its content.
        Image.new("RGB", (3, 3), (1, 2, 3)).save(pictures[2])
        engine.search_image([pictures[2], pictures[1]])
        assert mean.calls[calls + 1 :] == [1]


def test_remembered_vectors_are_the_same_bits(tmp_path, toy_model, pictures):
    plain, remembering = ps.open_encoder(toy_model, cache=0), ps.open_encoder(toy_model, cache=2)
    with filled(tmp_path / "c", plain, pictures) as one, ps.Engine(tmp_path / "c", model=remembering) as other:
        for _ in range(3):
            for picture in [*pictures, np.full((5, 6, 3), 77, np.uint8)]:
                assert other.search_image(picture).to_dicts() == one.search_image(picture).to_dicts()
        assert one.stats()["cache"]["images"] == {"hits": 0, "misses": 0}
        assert other.stats()["cache"]["images"] == {"hits": 0, "misses": 18}
        many = [pictures[0], pictures[0], pictures[4], pictures[0]]
        assert [r.to_dicts() for r in other.search_image(many)] == [r.to_dicts() for r in one.search_image(many)]
    with pytest.raises(ValueError, match="cache -1: give 0 or more"):
        ps.open_encoder(toy_model, cache=-1)


def test_a_bad_picture_among_queries_is_named_as_before(tmp_path, pictures):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    with filled(tmp_path / "c", Mean(), pictures) as engine:
        with pytest.raises(ps.PictureError, match=r"bad\.png"):
            engine.search_image([pictures[0], bad, tmp_path / "missing.png"])
        with pytest.raises(FileNotFoundError):
            engine.search_image([pictures[0], tmp_path / "missing.png", bad])
