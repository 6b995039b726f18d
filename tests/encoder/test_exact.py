"""From picture files and texts to vectors: ours against the code of each model's makers, on small random models."""

import functools
import json

import numpy as np
import pytest
import toy
from corpus import CORPUS, ENTITIES
from PIL import Image

from plushie_search import _core

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")

#: How a model is made, by its name, and whether open_clip makes it.
FAMILIES = {
    "clip": False,
    "tinyclip": False,
    "laion_immich": True,
    "clip_as_service": True,
    "siglip": False,
    "siglip2": False,
    "chinese_clip": False,
    "jina_clip": True,
    "xlm_roberta_clip": True,
    "mobileclip": True,
    "mobileclip_hub": True,
    "dinov2": False,
    "dinov3": False,
    "resnet50": False,
}
#: Sides that leave an odd number of rows or columns to cut off, among others.
SIZES = [(320, 240), (241, 320), (233, 199), (64, 300), (300, 61), (57, 57), (41, 30)]


@pytest.fixture(scope="module")
def made(tmp_path_factory, runtime):
    """Makes a family once: what its makers' code does, and our encoder."""

    @functools.cache
    def make(name):
        if FAMILIES[name]:
            pytest.importorskip("open_clip")
        import families

        families.torch.manual_seed(0)
        builder = getattr(families, name, None) or functools.partial(families.clip, text_width=20)
        family = builder(tmp_path_factory.mktemp("families") / name)
        return family, _core.Encoder(family.directory, runtime=runtime, threads=1)

    return make


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures with details of all sizes."""
    folder = tmp_path_factory.mktemp("photos")
    chance = np.random.default_rng(2)
    for number, (width, height) in enumerate(SIZES):
        rough = chance.integers(0, 256, size=(7, 9, 3), dtype=np.uint8)
        fine = chance.normal(0, 12, size=(height, width, 3))
        picture = np.asarray(Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)) + fine
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    large = np.asarray(Image.open(folder / "0.png").resize((1602, 1203), Image.Resampling.BICUBIC))
    Image.fromarray(large).save(folder / "large.jpg", quality=92)
    Image.fromarray(large[:, :1100]).save(folder / "tall.jpg", quality=92, subsampling=0)
    return folder


def cosines(ours, theirs):
    """The cosine of each of our vectors with theirs."""
    return (ours * toy.unit(theirs.astype(np.float64))).sum(axis=1)


def check_apart(vectors):
    """Vectors of different things must differ, or agreeing on them would mean nothing."""
    between = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert between.max() < 0.999


@pytest.mark.parametrize("name", FAMILIES)
def test_png(made, photos, name):
    family, encoder = made(name)
    paths = sorted(photos.glob("*.png"))
    ours = encoder.encode_images(paths)
    assert cosines(ours, family.images(paths)).min() >= 0.9999
    check_apart(ours)


@pytest.mark.parametrize("name", FAMILIES)
def test_jpeg_decoded_smaller(made, photos, name):
    family, encoder = made(name)
    paths = sorted(photos.glob("*.jpg"))
    assert cosines(encoder.encode_images(paths), family.images(paths)).min() >= 0.999


@pytest.mark.parametrize("name", FAMILIES)
def test_texts(made, name):
    family, encoder = made(name)
    if family.texts is None:
        with pytest.raises(_core.ModelError, match="has no text tower: it encodes pictures only"):
            encoder.encode_texts("bear")
        return
    texts = [*CORPUS, *ENTITIES]
    ours = encoder.encode_texts(texts)
    values = cosines(ours, family.texts(texts))
    assert values.min() >= 0.9999, texts[int(values.argmin())]
    check_apart(ours[:6])


def test_the_beginning_of_jinas_vectors(made, photos, runtime):
    """Cut and scaled again, as its makers do it."""
    family, encoder = made("jina_clip")
    shorter = json.dumps({**json.loads(encoder.manifest), "dimension": 16, "matryoshka": True})
    cut = _core.Encoder(family.directory, runtime=runtime, threads=1, manifest=shorter)
    paths = sorted(photos.glob("*.png"))
    assert cosines(cut.encode_images(paths), family.images(paths)[:, :16]).min() >= 0.9999
    assert cosines(cut.encode_texts(CORPUS), family.texts(CORPUS)[:, :16]).min() >= 0.9999


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mobileclip_hub", {"pad_id": 49407}),
        ("siglip", {"pad_id": 0}),
        ("siglip2", {"clean": []}),
        ("laion_immich", {"clean": []}),
    ],
)
def test_settings_of_texts_matter(made, runtime, name, keys):
    """With others the vectors would be others, and the tests above would show it."""
    family, encoder = made(name)
    manifest = json.loads(encoder.manifest)
    manifest["text"] |= keys
    other = _core.Encoder(family.directory, runtime=runtime, threads=1, manifest=json.dumps(manifest))
    text = "The “BEAR” &amp; a pink rabbit"
    assert cosines(other.encode_texts(text), family.texts([text])).max() < 0.9999


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("laion_immich", {"center": "down"}),
        ("clip", {"center": "even"}),
        ("siglip2", {"filter": "bicubic"}),
        ("chinese_clip", {"resize": "crop"}),
        ("dinov2", {"resize_to": None}),
    ],
)
def test_settings_of_pictures_matter(made, photos, runtime, name, keys):
    family, encoder = made(name)
    manifest = json.loads(encoder.manifest)
    manifest["image"]["preprocess"] |= keys
    other = _core.Encoder(family.directory, runtime=runtime, threads=1, manifest=json.dumps(manifest))
    paths = sorted(photos.glob("*.png"))
    assert cosines(other.encode_images(paths), family.images(paths)).min() < 0.9999
