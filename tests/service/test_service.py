"""Networks that run on a server: the same vectors, and whatever a server can do wrong."""

import hashlib
import json
import os
import socket
import threading
import time
import warnings
from contextlib import suppress

import fake_service
import numpy as np
import onnx
import pytest
import toy
from fake_service import FakeService, answer, body, closes, half, status
from onnx import helper

import plushie_search as ps
from plushie_search import ModelError, Service, _core, cli, hub

PICTURES = [np.full((9, 7, 3), (seed * 23 % 256, seed * 57 % 256, seed * 101 % 256), np.uint8) for seed in range(40)]
TEXTS = ["a teddy bear", "pink rabbit", "the brown bear with the red scarf", "粉色兔子", "a", "红围巾", "a pink bear"]


@pytest.fixture
def directory(tmp_path):
    return toy.write(tmp_path / "toy")


@pytest.fixture
def service():
    networks = {"image": toy.image_tower(), "text": toy.text_tower()}
    with FakeService({name: made.SerializeToString() for name, made in networks.items()}).running() as running:
        yield running


def there(directory, service, *, model=None, **options):
    url = options.pop("url", None) or service.urls()
    return hub.open_encoder(model or directory, threads=2, service=Service(url, **{"timeout": 20.0, **options}))


def forget(service):
    service.asked.clear()


@pytest.mark.parametrize("refusal", [None, 400, 415, 500])
def test_vectors_are_those_of_the_networks_here(directory, service, refusal):
    service.binary, service.refusal = refusal is None, refusal
    near, far = hub.open_encoder(directory, threads=2), there(directory, service)
    assert far.fingerprint == near.fingerprint
    assert far.outputs == {
        "image": (service.url("image"), "image_embeds"),
        "text": (service.url("text"), "text_embeds"),
    }
    np.testing.assert_allclose(far.encode_images(PICTURES), near.encode_images(PICTURES), rtol=0, atol=1e-6)
    np.testing.assert_allclose(far.encode_texts(TEXTS), near.encode_texts(TEXTS), rtol=0, atol=1e-6)
    assert far.encode_images([]).shape == (0, toy.DIM)
    np.testing.assert_allclose(far.encode_images(PICTURES[3])[0], near.encode_images(PICTURES[3])[0], atol=1e-6)


def test_pictures_go_in_batches_and_texts_of_one_length_together(directory, service):
    far = there(directory, service, batch=16, requests=1)
    far.encode_images(PICTURES[:2])  # finds out that they may
    forget(service)
    far.encode_images(PICTURES)
    assert service.rows() == [16, 16, 8]
    far.encode_texts(["a", "the"])
    forget(service)
    far.encode_texts(["a bear", "the bear", "red bear", "bear", "a bear"])
    assert sorted(service.rows()) == [1, 3]
    assert not any("x" in feed for _, _, feed in service.asked)
    forget(service)
    far.encode_texts(["a bear", "bear"])  # remembered
    assert service.asked == []


def test_several_requests_are_under_way_at_a_time(directory, service):
    far = there(directory, service, batch=1, requests=3)
    far.encode_images(PICTURES[:2])
    at_once = threading.Barrier(3, timeout=20)

    def together(output):
        at_once.wait()
        return output

    service.alter = together
    far.encode_images(PICTURES[:3])


def test_one_network_may_have_both_towers(tmp_path):
    text = onnx.compose.add_prefix(toy.text_tower(), prefix="t_")
    both = onnx.compose.merge_models(toy.image_tower(), text, io_map=[])
    manifest = toy.manifest()
    manifest["image"].update(file="both.onnx", output="image_embeds")
    manifest["text"].update(file="both.onnx", output="t_text_embeds")
    directory = toy.write(tmp_path / "toy", **{tower: manifest[tower] for tower in ("image", "text")})
    onnx.save(both, directory / "both.onnx")
    near = hub.open_encoder(directory, threads=2)
    with FakeService({"both": both.SerializeToString()}).running() as service:
        far = hub.open_encoder(directory, threads=2, service=service.url("both"))
        np.testing.assert_allclose(far.encode_images(PICTURES[:3]), near.encode_images(PICTURES[:3]), atol=1e-6)
        np.testing.assert_allclose(far.encode_texts(TEXTS[:3]), near.encode_texts(TEXTS[:3]), atol=1e-6)


def test_a_tower_that_the_server_lacks_runs_here_if_it_is_here(directory, service):
    far = hub.open_encoder(directory, threads=2, service=service.url("image"))
    assert far.outputs["text"] == ("text.onnx", "text_embeds")
    np.testing.assert_allclose(far.encode_texts("teddy")[0], toy.words_vector(["teddy"]), atol=1e-6)
    (directory / "text.onnx").unlink()
    far = hub.open_encoder(directory, threads=2, service=service.url("image"))
    assert list(far.outputs) == ["image"]
    with pytest.raises(ModelError, match="its text network is neither here nor on the service: copy it here"):
        far.encode_texts("teddy")
    with pytest.raises(ModelError, match="its model takes no pictures that this model has"):
        there(directory, service, url={"image": service.url("text")})


def test_networks_need_not_be_here(directory, service):
    whole = hub.open_encoder(directory, threads=2)
    digests = {
        name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in ("image.onnx", "text.onnx")
    }
    for name in digests:
        (directory / name).unlink()
    with pytest.raises(ModelError, match=r"image\.onnx is missing"):
        hub.open_encoder(directory, threads=2)
    far = there(directory, service)
    assert far.fingerprint != whole.fingerprint
    np.testing.assert_allclose(far.encode_images(PICTURES), whole.encode_images(PICTURES), atol=1e-6)
    # With their digests, a catalog may be opened with them and without them alike.
    (directory / "probe.json").write_text(json.dumps({"sha256": digests}))
    assert there(directory, service).fingerprint == whole.fingerprint
    (directory / "probe.json").write_text('{"sha256": {"image.onnx": "12"}}')
    with pytest.raises(ModelError, match="64 lowercase hexadecimal digits"):
        there(directory, service)


def test_weights_beside_a_network_count_as_they_do_here(directory, service):
    network = onnx.load(directory / "image.onnx")
    onnx.save(
        network, directory / "image.onnx", save_as_external_data=True, location="image.onnx_data", size_threshold=50
    )
    whole = hub.open_encoder(directory, threads=2)
    files = ("image.onnx", "image.onnx_data", "text.onnx")
    digests = {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in files}
    for name in files:
        (directory / name).unlink()
    (directory / "probe.json").write_text(json.dumps({"sha256": digests}))
    assert there(directory, service).fingerprint == whole.fingerprint


def test_another_model_is_refused(directory, service, tmp_path):
    other = toy.write(tmp_path / "other")
    onnx.save(toy.image_tower(weights=toy.IMAGE_WEIGHTS[::-1].copy()), other / "image.onnx")
    with pytest.raises(ModelError) as refused:
        there(other, service)
    message = str(refused.value)
    assert message.startswith(f"model toy: service {service.url('image')}: its vector of the image ")
    assert "has the cosine" in message
    assert "runs another model" in message
    # By the vectors of the original, when the networks are not here.
    near = hub.open_encoder(directory, threads=2)
    image, text = (
        near.encode_images(_core.Plush(7).render(size=320))[0],
        near.encode_texts("a brown teddy bear with a red scarf")[0],
    )
    for name in ("image.onnx", "text.onnx"):
        (directory / name).unlink()
    right = {"image": image.tolist(), "text": text.tolist()}
    (directory / "probe.json").write_text(json.dumps(right))
    there(directory, service)
    (directory / "probe.json").write_text(json.dumps({**right, "text": text[::-1].tolist()}))
    with pytest.raises(ModelError, match="its vector of the text that tells models apart"):
        there(directory, service)


def test_a_server_is_asked_once_despite_local_tries(directory):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"oip://127.0.0.1:{server.getsockname()[1]}/image"
        calls = []

        def hangs_up():
            while True:
                with suppress(OSError):
                    connection, _ = server.accept()
                    calls.append(connection.recv(1 << 16).split(b" ")[1])
                    connection.close()
                if calls[-1:] == [b"/stop"]:
                    return

        thread = threading.Thread(target=hangs_up)
        thread.start()
        try:
            for device, precision in (("cpu", None), ("auto", None), ("auto", "fp16")):
                calls.clear()
                with pytest.raises(ModelError, match="gave up after 1 attempt"):
                    hub.open_encoder(
                        directory, device=device, precision=precision, service=Service({"image": url}, retries=0)
                    )
                assert len(calls) == 1
        finally:
            with socket.create_connection(server.getsockname()) as last:
                last.sendall(b"GET /stop HTTP/1.1")
            thread.join()


def test_where_nothing_runs_here_auto_has_nothing_to_warn_of(directory, service):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        far = hub.open_encoder(directory, threads=2, device="auto", service=service.urls())
    assert (far.device, far.fallback) == ("cpu", None)
    np.testing.assert_allclose(far.encode_texts("teddy")[0], toy.words_vector(["teddy"]), atol=1e-6)


def test_a_catalog_is_filled_and_searched_by_a_service(directory, service, tmp_path):
    with ps.Engine(tmp_path / "far", model=ps.open_encoder(directory, service=service.urls())) as far:
        far.add("red", images=np.full((5, 5, 3), (250, 10, 10), np.uint8), text="red")
        far.add("green", images=np.full((5, 5, 3), (10, 250, 10), np.uint8))
        [first] = far.search_image(np.full((6, 6, 3), (240, 20, 15), np.uint8), k=1)
        assert first.item == "red"
        by_text = far.search_text("pink rabbit", k=2)
    # The same catalog with the networks here.
    with ps.Engine(tmp_path / "far", model=directory) as near:
        again = near.search_text("pink rabbit", k=2)
        assert [hit.item for hit in again] == [hit.item for hit in by_text]
        np.testing.assert_allclose([hit.score for hit in again], [hit.score for hit in by_text], atol=1e-6)


def test_the_command_line_takes_an_address(directory, service, tmp_path, capsys):
    folder = tmp_path / "photos"
    (folder / "bear").mkdir(parents=True)
    from PIL import Image

    Image.fromarray(PICTURES[3]).save(folder / "bear" / "1.png")
    network = service.url("image")
    catalog = [str(tmp_path / "c"), "--model", str(directory), "--service", network]
    assert cli.main(["add", *catalog[:1], str(folder), *catalog[1:]]) == 0
    assert cli.main(["search", *catalog, "--text", "bear", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])[0]["item"] == "bear"


def test_one_bad_picture_spoils_no_other(directory, service, tmp_path):
    with ps.Engine(tmp_path / "c", model=ps.open_encoder(directory, service=service.urls())) as engine:
        rows = [ps.ItemDraft(f"i{i}", [picture]) for i, picture in enumerate(PICTURES[:20])]
        rows.insert(7, ps.ItemDraft("bad", [b"no picture"]))
        # The mean color has a vector without a direction.
        nowhere = np.uint8(np.round(np.array(toy.PREPROCESS["mean"]) * 255))
        service.alter = lambda output: np.where(np.abs(output).max(axis=1, keepdims=True) < 0.05, np.nan, output)
        rows.insert(9, ps.ItemDraft("nowhere", [np.full((5, 5, 3), nowhere, np.uint8)]))
        report = engine.add_items(rows)
        assert report.items == 20
        assert len(report.failed) == 2
        assert any("gave NaN, infinity or only zeros for picture" in reason for _, reason in report.failed)


def test_requests_that_are_too_large_become_smaller(directory, service):
    far = there(directory, service, batch=16, requests=1)
    far.encode_images(PICTURES[:2])
    service.limit = 4
    near = hub.open_encoder(directory, threads=2)
    np.testing.assert_allclose(far.encode_images(PICTURES), near.encode_images(PICTURES), atol=1e-6)
    forget(service)
    far.encode_images(PICTURES)
    assert service.rows() == [4] * 10


def test_networks_whose_rows_touch_each_other_get_one_at_a_time(tmp_path):
    """Each row is divided by the largest number of the batch: as if they shared the scale of a quantized network."""
    tower = toy.image_tower()
    tower.graph.output[0].name = "coarse"
    nodes = [
        helper.make_node("Abs", ["image_embeds"], ["sizes"]),
        helper.make_node("ReduceMax", ["sizes"], ["largest"], keepdims=0),
        helper.make_node("Constant", [], ["steps"], value_float=20.0),
        helper.make_node("Div", ["largest", "steps"], ["step"]),
        helper.make_node("Div", ["image_embeds", "step"], ["scaled"]),
        helper.make_node("Round", ["scaled"], ["coarse"]),
    ]
    tower.graph.node.extend(nodes)
    directory = toy.write(tmp_path / "toy", text=None)
    onnx.save(tower, directory / "image.onnx")
    near = hub.open_encoder(directory, threads=2)
    with FakeService({"image": tower.SerializeToString()}).running() as service:
        far = there(directory, service)
        np.testing.assert_array_equal(far.encode_images(PICTURES), near.encode_images(PICTURES))


def test_a_network_for_one_picture_gets_one_at_a_time(tmp_path):
    tower = toy.image_tower(shape=(1, 3, toy.SIDE, toy.SIDE))
    directory = toy.write(tmp_path / "toy", text=None)
    onnx.save(tower, directory / "image.onnx")
    with FakeService({"image": tower.SerializeToString()}).running() as service:
        far = there(directory, service)
        far.encode_images(PICTURES[:5])
        assert set(service.rows()) == {1}


@pytest.mark.parametrize("kind", [np.float16])
def test_networks_of_half_precision_are_fed_halves(tmp_path, kind):
    tower = toy.image_tower(floats=kind)
    directory = toy.write(tmp_path / "toy", text=None)
    onnx.save(tower, directory / "image.onnx")
    near = hub.open_encoder(directory, threads=2)
    with FakeService({"image": tower.SerializeToString()}).running() as service:
        far = there(directory, service)
        np.testing.assert_allclose(far.encode_images(PICTURES), near.encode_images(PICTURES), atol=1e-3)
        assert service.asked[-1][2]["pixel_values"].dtype == np.float16


# Failures


@pytest.mark.parametrize(
    "faults",
    [
        [status(503)],
        [status(429, Retry_After="0")],
        [status(502), status(504), status(408)],
        [closes],
        [half],
        [closes, half, status(503)],
    ],
)
def test_failures_that_pass_are_tried_again(directory, service, faults):
    far = there(directory, service)
    forget(service)
    service.faults = list(faults)
    np.testing.assert_allclose(far.encode_texts("teddy")[0], toy.words_vector(["teddy"]), atol=1e-6)
    assert len(service.asked) == len(faults) + 1


def test_a_server_says_how_long_to_wait(directory, service):
    far = there(directory, service)
    service.faults = [status(429, Retry_After="1")]
    start = time.monotonic()
    far.encode_texts("teddy")
    assert time.monotonic() - start >= 1
    service.faults = [status(503, "loading", Retry_After="3600")]
    start = time.monotonic()
    with pytest.raises(ModelError, match=r'status 503, "loading" \(gave up after 1 attempt, .* of 20s\)'):
        far.encode_texts("red")
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 413, 422, 500, 501])
def test_failures_that_do_not_pass_are_not(directory, service, code):
    far = there(directory, service)
    forget(service)
    service.binary = False
    service.forever = status(code, "so it is")
    with pytest.raises(ModelError) as refused:
        far.encode_texts("teddy")
    assert f'service {service.url("text")}: answered with the status {code}, "so it is"' in str(refused.value)
    assert len(service.asked) <= 2  # a refusal of the binary form is followed by JSON


def test_a_call_always_ends(directory, service):
    far = there(directory, service, timeout=2.0)
    release = threading.Event()
    service.forever = lambda handler: release.wait(60)
    with pytest.raises(ModelError, match="gave no \\(whole\\) answer in time"):
        far.encode_texts("teddy")
    release.set()

    def drip(handler):
        """Sends a little, for ever."""
        handler.send_response(200)
        handler.end_headers()
        for _ in range(6000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.01)
        whole.set()

    whole = threading.Event()
    service.forever = drip
    with pytest.raises(ModelError, match="in time"):
        far.encode_texts("teddy")
    assert not whole.is_set()


def test_retries_end(directory, service):
    far = there(directory, service, retries=1)
    forget(service)
    service.forever = status(503)
    with pytest.raises(ModelError, match="gave up after 2 attempts"):
        far.encode_texts("teddy")
    assert len(service.asked) == 2


def test_without_an_answer_the_message_has_a_cure(directory, service):
    with pytest.raises(ModelError, match=r"service oip://127.0.0.1:1/m: cannot be reached: .*is it running"):
        there(directory, service, url="oip://127.0.0.1:1/m", retries=0)
    with pytest.raises(ModelError, match="is the model's name right, and is it loaded there"):
        there(directory, service, url=service.url("nothing"))


VECTOR = [1.0] * toy.DIM


def output(data=VECTOR, shape=(1, toy.DIM), name="text_embeds", **more):
    return json.dumps({"outputs": [{"name": name, "datatype": "FP32", "shape": shape, "data": data, **more}]}).encode()


@pytest.mark.parametrize(
    ("sent", "because"),
    [
        (b"<html>hello</html>", "cannot be read"),
        (b"", "cannot be read"),
        (b'{"outputs": []}', 'no output "text_embeds"'),
        (output(name="else"), 'no output "text_embeds"'),
        (output(shape=(2, toy.DIM)), "6 numbers"),
        (output([VECTOR, VECTOR], (2, toy.DIM)), r"shape \[2, 6\]"),
        (output([[1.0] * 5], (1, 5)), "5 numbers"),
        (output([None] * toy.DIM), "null is no number"),
        (output([0.0] * toy.DIM), "NaN, infinity or only zeros"),
        (output(["x"] * toy.DIM), "cannot be read"),
        (output().replace(b"1.0", b"1e39"), "NaN, infinity or only zeros"),
        (output().replace(b"1.0", b"NaN"), "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b" " * (12 << 20), "more than"),
    ],
)
@pytest.mark.usefixtures("no_collection")
def test_answers_that_are_no_vectors_are_refused(directory, service, sent, because):
    far = there(directory, service)
    service.forever = body(sent)
    with pytest.raises(ModelError, match=because):
        far.encode_texts("teddy")


def test_headers_that_lie_are_refused(directory, service):
    far = there(directory, service)
    for length in ("5000", "-1", "99999999999999999999", "x", "3"):
        service.forever = lambda handler, length=length: answer(
            handler, 200, b'{"outputs": []}', {"Inference-Header-Content-Length": length}
        )
        with pytest.raises(ModelError, match="cannot be read"):
            far.encode_texts("teddy")


def test_an_outage_ends_a_long_import_and_stored_items_are_kept(directory, service, tmp_path):
    rows = [ps.ItemDraft(f"i{i}", [picture]) for i, picture in enumerate(PICTURES)]
    with ps.Engine(
        tmp_path / "c", model=ps.open_encoder(directory, service=Service(service.urls(), retries=0))
    ) as engine:
        engine.add_items(rows[:5])
        service.forever = status(503, "down for maintenance")
        with pytest.raises(ModelError, match="down for maintenance"):
            engine.add_items(rows)
        assert len(engine) == 5
        service.forever = None
        assert engine.add_items(rows).items == 35


def test_a_token_is_sent_and_never_shown(directory, service, monkeypatch):
    monkeypatch.setenv("PLUSHIE_ENCODER_TOKEN", "sk-secret-123")
    far = there(directory, service)
    assert {headers["Authorization"] for _, headers, _ in service.asked} == {"Bearer sk-secret-123"}
    assert "secret" not in repr(far) + repr(Service(service.url("image")))
    service.forever = status(401, "bad token sk-secret-123\r\n\x1b[31m" + "x" * 1000)
    with pytest.raises(ModelError) as refused:
        far.encode_texts("teddy")
    assert 'status 401, "bad token *** [31m' in str(refused.value)
    assert "give a token that it accepts in PLUSHIE_ENCODER_TOKEN" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert len(str(refused.value)) < 600
    monkeypatch.setenv("PLUSHIE_ENCODER_TOKEN", "two words")
    with pytest.raises(ValueError, match="PLUSHIE_ENCODER_TOKEN is set, but is no token") as refused:
        there(directory, service)
    assert "words" not in str(refused.value)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(directory, service, monkeypatch, code):
    monkeypatch.setenv("PLUSHIE_ENCODER_TOKEN", "sk-secret-123")
    far = there(directory, service)
    with FakeService({}).running() as elsewhere:
        elsewhere.forever = status(200)
        service.forever = status(code, Location=f"http://{elsewhere.address}/v2/models/text/infer")
        with pytest.raises(ModelError, match=f"status {code}, .*it points to .*no redirect is followed"):
            far.encode_texts("teddy")
        assert elsewhere.asked == []


def test_settings_that_make_no_sense_are_refused(directory, service):
    for options in ({"timeout": 0.0}, {"timeout": float("nan")}, {"timeout": -1.0}, {"timeout": 1e9}):
        with pytest.raises(ValueError, match="timeout of a service must be more than 0 s, and at most a day"):
            there(directory, service, **options)
    for options, because in [
        ({"batch": 0}, "batch of a service must be 1 to 1024, but is 0"),
        ({"batch": -1}, "batch of a service must be 1 to 1024, but is -1"),
        ({"requests": 0}, "requests of a service must be 1 to 64, but is 0"),
        ({"retries": 101}, "retries of a service must be 0 to 100, but is 101"),
        ({"retries": -1}, "retries of a service must be 0 to 100, but is -1"),
    ]:
        with pytest.raises(ValueError, match=because):
            there(directory, service, **options)
    for url in ("localhost:80", "oip://", "ftp://a/b", "oip://a/b?c", "oip://user:hunter2@host/m"):
        with pytest.raises(ValueError, match="address of a service") as refused:
            there(directory, service, url=url)
        assert "hunter2" not in str(refused.value)
    with pytest.raises(ValueError, match="image"):
        Service({"sound": "oip://a/b"})
    with pytest.raises(ValueError, match="nothing"):
        Service({})


def test_a_model_that_does_not_declare_its_inputs_is_refused(directory, service, monkeypatch):
    monkeypatch.setattr(fake_service.FakeService, "describe", lambda self, handler: answer(handler, 200, {"name": "m"}))
    with pytest.raises(ModelError, match="does not say what its model takes and gives"):
        there(directory, service)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_encoder_opens_itself_again_after_a_fork(directory, service):
    far = there(directory, service)
    expected = far.encode_texts("teddy")
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if np.array_equal(far.encode_texts("teddy"), expected) else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
