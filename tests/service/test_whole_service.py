"""Servers that take pictures and texts themselves, with real vectors of the built-in model."""

import numpy as np
import pytest
from fake_embeddings import FakeEmbeddings
from fake_service import body, closes, half, status
from PIL import Image

import plushie_search as ps
from plushie_search import ModelError, Service, _core, hub

TEXTS = ["a brown bear", "a pink rabbit with a hat", "粉色兔子", "a toy"]


@pytest.fixture(scope="module")
def near():
    return hub.open_encoder("plushie-mini", threads=2)


@pytest.fixture(scope="module")
def pictures():
    return [_core.Plush(seed).render(size=160) for seed in range(12)]


@pytest.fixture
def service(near):
    with FakeEmbeddings(near, pictures="infinity").running() as running:
        yield running


def url(service):
    if service.pictures == "blob":
        return f"{service.address}/post"
    images = f"&images={service.pictures}" if service.pictures else ""
    return f"{service.address}/v1/embeddings?model=mini{images}"


def there(service, **options):
    return hub.open_encoder("plushie-mini", threads=2, service=Service(url(service), **{"timeout": 20.0, **options}))


@pytest.mark.parametrize("kind", ["infinity", "jina", "vllm", "blob"])
def test_vectors_are_those_that_the_server_gives(near, pictures, kind):
    with FakeEmbeddings(near, pictures=kind).running() as service:
        far = there(service, batch=5, requests=1)
        name = "clip-as-service" if kind == "blob" else "mini"
        assert (far.name, far.dim) == (name, near.dim)
        assert far.outputs == {"image": (url(service), "embedding"), "text": (url(service), "embedding")}
        service.asked.clear()
        np.testing.assert_allclose(far.encode_images(pictures), near.encode_images(pictures), rtol=0, atol=1e-6)
        assert len(service.asked) == (12 if kind == "vllm" else 3)
        service.asked.clear()
        np.testing.assert_allclose(far.encode_texts(TEXTS * 2), near.encode_texts(TEXTS * 2), rtol=0, atol=1e-6)
        assert len(service.asked) == 1  # the same text is asked once
        service.coded = True
        np.testing.assert_allclose(far.encode_texts("a cat"), near.encode_texts("a cat"), rtol=0, atol=1e-6)


def test_a_missing_tower_of_a_server_is_told(near, pictures):
    with FakeEmbeddings(near).running() as service:
        far = there(service)
        assert list(far.outputs) == ["text"]
        with pytest.raises(ModelError, match="has no image tower: it encodes texts only"):
            far.encode_images(pictures[0])
        # Asked for pictures, it refuses them.
        far = hub.open_encoder("plushie-mini", service=f"{url(service)}&images=infinity")
        assert list(far.outputs) == ["text"]
        with pytest.raises(ModelError, match='status 404, "the model does not exist"'):
            hub.open_encoder("plushie-mini", service=f"{service.address}/v1/embeddings?model=other")


def test_a_model_is_known_by_the_server_s_name(service):
    far, again = there(service), there(service)
    named = hub.open_encoder("my-clip", service=url(service))
    assert far.fingerprint == again.fingerprint == named.fingerprint
    assert (far.name, named.name) == ("mini", "my-clip")


@pytest.mark.parametrize("option", [{"device": "cuda"}, {"precision": "fp16"}, {"max_batch": 8}])
def test_decisions_of_a_server_are_no_options(service, option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} .*a service that runs a whole model decides that"):
        hub.open_encoder("mini", service=url(service), **option)


def test_files_go_as_they_are_and_the_rest_as_png(service, near, tmp_path):
    far = there(service)
    picture = Image.fromarray(_core.Plush(3).render(size=160))
    picture.save(tmp_path / "a.jpg", quality=85)
    rotated = picture.getexif()
    rotated[0x0112] = 6
    picture.save(tmp_path / "b.jpg", exif=rotated)
    picture.convert("RGBA").save(tmp_path / "c.png")
    service.asked.clear()
    vectors = far.encode_images([tmp_path / "a.jpg", tmp_path / "b.jpg", tmp_path / "c.png"])
    sent = [part.partition(";")[0] for asked, _ in service.asked for part in asked["input"]]
    assert sent == ["data:image/jpeg", "data:image/png", "data:image/png"]
    upright = near.encode_images([tmp_path / name for name in ("a.jpg", "b.jpg", "c.png")])
    np.testing.assert_array_less(0.999, (vectors * upright).sum(axis=1))


def test_one_bad_picture_spoils_no_other(service, pictures, tmp_path):
    damaged = tmp_path / "damaged.png"
    Image.fromarray(pictures[0]).save(damaged)
    damaged.write_bytes(damaged.read_bytes()[:400])
    rows = [ps.ItemDraft(f"i{i}", [picture]) for i, picture in enumerate(pictures)]
    rows.insert(4, ps.ItemDraft("damaged", [damaged]))
    rows.insert(6, ps.ItemDraft("none", [b"no picture"]))
    with ps.Engine(tmp_path / "c", model=ps.open_encoder("plushie-mini", service=url(service))) as engine:
        report = engine.add_items(rows)
        assert report.items == 12
        reasons = dict(report.failed)
        assert len(reasons) == 2
        assert "cannot open" in reasons[str(damaged)]
        assert engine.search_image(pictures[5], k=1)[0].item == "i5"


def test_a_catalog_refuses_a_server_whose_model_was_exchanged(service, pictures, tmp_path):
    with ps.Engine(tmp_path / "c", model=ps.open_encoder("plushie-mini", service=url(service))) as engine:
        engine.add("a", images=pictures[0])
    with ps.Engine(
        tmp_path / "c", model=ps.open_encoder("plushie-mini", service=url(service))
    ) as engine:  # still the same
        assert len(engine) == 1
    service.alter = lambda vectors: vectors[:, ::-1].copy()
    with pytest.raises(ModelError) as refused:
        ps.Engine(tmp_path / "c", model=ps.open_encoder("plushie-mini", service=url(service)))
    message = str(refused.value)
    assert f"service {url(service)}: it runs another model than when this catalog was filled" in message
    assert "has the cosine" in message
    assert "add everything to a new catalog" in message
    # A new catalog does not mind, and another length is another model.
    ps.Engine(tmp_path / "other", model=ps.open_encoder("plushie-mini", service=url(service))).close()
    service.alter = lambda vectors: vectors[:, :128].copy()
    with pytest.raises(ps.CatalogError, match="another version of model"):
        ps.Engine(tmp_path / "c", model=ps.open_encoder("plushie-mini", service=url(service)))


def test_networks_elsewhere_that_were_exchanged_are_refused_by_the_catalog(tmp_path):
    """Nothing here tells what the networks were but what they gave when the catalog was filled."""
    import toy
    from fake_service import FakeService

    directory = toy.write(tmp_path / "toy", text=None)
    (directory / "image.onnx").unlink()
    red = np.full((5, 5, 3), (250, 10, 10), np.uint8)
    networks = {"image": toy.image_tower().SerializeToString()}
    with (
        FakeService(networks).running() as right,
        ps.Engine(tmp_path / "c", model=ps.open_encoder(directory, service=right.url("image"))) as engine,
    ):
        engine.add("red", images=red)
    networks = {"image": toy.image_tower(weights=toy.IMAGE_WEIGHTS[::-1].copy()).SerializeToString()}
    filled = pytest.raises(ModelError, match="it runs another model than when this catalog was filled")
    with FakeService(networks).running() as wrong, filled:
        ps.Engine(tmp_path / "c", model=ps.open_encoder(directory, service=wrong.url("image")))


@pytest.mark.parametrize("faults", [[status(503)], [status(429, Retry_After="0")], [closes], [half]])
def test_failures_that_pass_are_tried_again(service, near, faults):
    far = there(service)
    service.faults = list(faults)
    np.testing.assert_allclose(far.encode_texts("a bear"), near.encode_texts("a bear"), rtol=0, atol=1e-6)
    assert service.faults == []


@pytest.mark.parametrize(
    ("sent", "because"),
    [
        (b"<html>", "cannot be read"),
        (b'{"data": []}', "0 vectors for 1"),
        (b'{"data": [{"embedding": [1, 2]}]}', "2 numbers, where others have 256"),
        (b'{"data": [{"embedding": null}]}', "cannot be read"),
        (b'{"data": [{"embedding": "AAA="}]}', "cannot be read|whole FP32"),
        (b'{"data": [{"embedding": ' + str([0.0] * 256).encode() + b"}]}", "NaN, infinity or only zeros"),
        (b'{"data": [{"embedding": ' + str([1e300] * 256).encode() + b"}]}", "NaN, infinity or only zeros"),
        (b" " * (3 << 20), "more than"),
    ],
)
def test_answers_that_are_no_vectors_are_refused(service, sent, because):
    far = there(service)
    service.faults = [body(sent)] * 2
    with pytest.raises(ModelError, match=because):
        far.encode_texts("a bear")


def test_a_token_is_sent_and_never_shown(service, monkeypatch):
    monkeypatch.setenv("PLUSHIE_ENCODER_TOKEN", "sk-secret-123")
    far = there(service)
    assert {headers["Authorization"] for _, headers in service.asked} == {"Bearer sk-secret-123"}
    service.faults = [status(401, "who is sk-secret-123")]
    with pytest.raises(ModelError, match=r"who is \*\*\*") as refused:
        far.encode_texts("a bear")
    assert "secret" not in str(refused.value)


def test_one_address_serves_both_towers(service):
    for places in (
        {"text": url(service), "image": f"{service.address}/post"},
        {"image": "oip://h/m", "text": "http://h/post"},
    ):
        with pytest.raises(ValueError, match="has one address for both"):
            hub.open_encoder("plushie-mini", service=places)
    far = hub.open_encoder("plushie-mini", service={"text": url(service)})
    assert list(far.outputs) == ["text"]
