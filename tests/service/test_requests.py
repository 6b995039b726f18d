"""Addresses, tokens, retries and messages of services, each by itself; test_service.py has whole servers."""

import base64
import json
import struct
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import plushie_search as ps
from plushie_search import ModelError, Service, encoders
from plushie_search.encoders import embeddings, messages, oip_grpc, oip_http, request, tensors
from plushie_search.encoders.address import TOKEN, Address
from plushie_search.encoders.request import ServiceError

# Addresses


def test_addresses_of_tensors_are_read():
    plain = Address.parse("oip://localhost:8080/plushie-image")
    assert (plain.protocol, plain.model, plain.version) == ("oip", "plushie-image", None)
    assert plain.url("/v2/models/x") == "http://localhost:8080/v2/models/x"
    assert (plain.is_local, plain.tls) == (True, False)
    version = Address.parse("oips://models.example/serving/a/v2/models/clip/versions/3")
    assert (version.model, version.version, version.port) == ("clip", "3", 443)
    assert version.url("/v2") == "https://models.example:443/serving/a/v2"
    grpc = Address.parse("oip+grpc://[::1]:8001/clip")
    assert (grpc.protocol, grpc.host, grpc.port, grpc.is_local) == ("oip+grpc", "[::1]", 8001, True)
    assert str(grpc) == "oip+grpc://[::1]:8001/clip"


def test_addresses_of_whole_models_are_read():
    openai = Address.parse("https://api.example/v1/embeddings?model=jina%2Fclip-v2&images=jina")
    assert (openai.protocol, openai.model, openai.pictures) == ("embeddings", "jina/clip-v2", "jina")
    assert openai.url() == "https://api.example:443/v1/embeddings"
    post = Address.parse("http://10.0.0.7:51000/post")
    assert (post.protocol, post.is_whole, post.is_local) == ("post", True, False)
    clip = Address.parse("grpc://0.0.0.0:51000")
    assert (clip.protocol, clip.is_whole, clip.port, clip.tls) == ("jina", True, 51000, False)
    assert Address.parse("grpcs://demo.example/").tls


@pytest.mark.parametrize(
    ("bad", "because"),
    [
        ("localhost:8080/clip", "it must be oip://"),
        ("ftp://host/clip", "unknown scheme"),
        ("oip://host:8080", "names no model"),
        ("oip://host:0/clip", "port"),
        ("oip://host:99999/clip", "port"),
        ("oip://host:/clip", "port"),
        ("oip:///clip", "host"),
        ("oip://ho st/clip", "host"),
        ("oip://[::1/clip", "host"),
        ("oip://host/a/b", "/model"),
        ("oip://host/../clip", "path"),
        ("oip://host//clip", "path"),
        ("oip://host/clip?x=1", "query"),
        ("oip+grpc://host/a/v2/models/b", "gRPC"),
        ("grpc://host/path", "gRPC has no path"),
        ("http://host/v1/embeddings", "needs a model"),
        ("http://host/v1/embeddings?model=%ff", "printable"),
        ("http://host/v1/embeddings?model=a&api_key=hunter2", TOKEN),
        ("http://host/v1/embeddings?model=a&images=yes", "infinity, jina or vllm"),
        ("http://host/post?model=a", "/post has no query"),
        ("http://host/else", "/post"),
        ("http://me:hunter2@host/v1/embeddings?model=a", TOKEN),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused_without_repeating_secrets(bad, because):
    with pytest.raises(ValueError, match=r"^address of a service: ") as refused:
        Address.parse(bad)
    assert because in str(refused.value)
    assert "hunter2" not in str(refused.value)


@given(st.from_regex(r"(oips?|oip\+grpc|grpcs?|https?)://[a-z\[\]:@%0-9.]{0,12}/?[ -~é/?=&%]{0,30}|.{0,40}"))
def test_any_text_is_an_address_or_refused(text):
    try:
        address = Address.parse(text)
    except ValueError:
        return
    assert Address.parse(str(address)) == address


# Tokens


def test_a_token_goes_without_tls_to_this_machine_only(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    far = "oip://models.example:8080/m"
    for tower, url in (("image", far), ("text", "http://models.example/post"), ("text", "grpc://10.0.0.9:51000")):
        with pytest.raises(ValueError, match="would be sent without TLS to another machine") as refused:
            Service({tower: url}, token="sk-1")
        assert "sk-1" not in str(refused.value)
    Service(far, token="sk-1", token_without_tls=True)
    Service(far)
    for url in ("oips://models.example/m", "oip://127.0.0.1:1/m", "oip://localhost:1/m", "oip+grpc://[::1]:1/m"):
        assert Service(url, token="sk-1").token_for("image") == "sk-1"
    monkeypatch.setenv(TOKEN, "sk-2")
    with pytest.raises(ValueError, match="would be sent without TLS"):
        ps.open_encoder("plushie-mini", service=far)
    assert Service(far, token="").token_for("image") is None


def test_each_tower_may_have_a_token(monkeypatch):
    monkeypatch.setenv(TOKEN, "sk-other")
    urls = {"image": "oips://a.example/m", "text": "oips://b.example/m"}
    service = Service(urls, token={"image": "sk-a"})
    assert (service.token_for("image"), service.token_for("text")) == ("sk-a", None)
    assert "sk-a" not in repr(service)
    assert {Service(urls).token_for(tower) for tower in urls} == {"sk-other"}
    with pytest.raises(ValueError, match="the token of the service is no token") as refused:
        Service(urls, token="two words")
    assert "words" not in str(refused.value).partition("must be")[0]


# Retries


def persisted(failures, **options):
    """Returns the outcome of work that fails so before it succeeds, and the number of tries."""
    calls = []

    def work(left):
        calls.append(left)
        if len(calls) <= len(failures):
            raise failures[len(calls) - 1]
        return "done"

    try:
        return request.persist(Service("oip://h/m", **options), "oip://h/m", work), len(calls)
    except ServiceError as error:
        return error, len(calls)


def test_only_failures_that_pass_are_tried_again(monkeypatch, caplog):
    waits = []
    monkeypatch.setattr(request.time, "sleep", waits.append)
    passing = ServiceError("busy", passing=True)
    with caplog.at_level("WARNING", "plushie_search"):
        assert persisted([passing] * 3) == ("done", 4)
    assert [record.getMessage() for record in caplog.records] == [
        f"trying service oip://h/m again in {wait:.1f} s: busy" for wait in waits
    ]
    assert all(low <= wait <= 2 * low for low, wait in zip((0.1, 0.2, 0.4), waits, strict=True))
    for lasting in (ServiceError("no", refused=True), ServiceError("no", answered=True), ServiceError("no")):
        error, tries = persisted([lasting])
        assert (str(error), tries, error.refused) == ("service oip://h/m: no", 1, lasting.refused)
    error, tries = persisted([passing] * 9, retries=2)
    assert tries == 3
    assert "busy (gave up after 3 attempts, " in str(error)
    error, tries = persisted([passing, ServiceError("no", refused=True)])
    assert (tries, error.refused) == (2, False)


def test_a_stale_connection_costs_no_retry(monkeypatch):
    monkeypatch.setattr(request.time, "sleep", lambda wait: None)
    stale = ServiceError("ended", stale=True)
    assert persisted([stale], retries=0) == ("done", 2)
    error, tries = persisted([stale, stale], retries=0)
    assert (isinstance(error, ServiceError), tries) == (True, 2)


def test_no_wait_is_longer_than_the_time_that_is_left(monkeypatch):
    waits = []
    monkeypatch.setattr(request.time, "sleep", waits.append)
    error, _ = persisted([ServiceError("busy", passing=True, after=60.0)], timeout=5.0)
    assert (waits, " of 5s)" in str(error)) == ([], True)
    assert persisted([ServiceError("busy", passing=True, after=2.0)], timeout=5.0) == ("done", 2)
    assert waits == [2.0]


def test_waits_grow_to_a_limit():
    assert [request.backoff(failures, 1.0) for failures in (0, 1, 2, 9, 99)] == [0.2, 0.4, 0.8, 8.0, 8.0]
    assert request.backoff(0, 0.0) == 0.1


@pytest.mark.usefixtures("no_collection")
def test_messages_of_a_server_are_shown_short_and_on_one_line():
    assert request.words("a\r\n\x1b[31mb\tc") == "a [31mb c"
    assert request.words("é" * 400) == "é" * 300 + "..."
    assert request.words("bad key sk-1!", "sk-1") == "bad key ***!"
    for body in (b'{"error": "no"}', b'{"error": {"message": "no"}}', b'{"detail": "no"}', b'{"message": "no"}', b"no"):
        assert request.message(body) == "no"
    assert request.message(b'{"detail": [1]}') == "[1]"
    assert request.message(b"\xff") == "\ufffd"
    assert request.message(b"[" * 100_000) == "[" * 100_000


def test_statuses_that_pass_are_known():
    assert all(request.judged(status, "", 3.0).passing for status in (408, 429, 502, 503, 504))
    assert request.judged(503, "", 3.0).after == 3.0
    refused = request.judged(422, "", None)
    assert (refused.passing, refused.refused, refused.answered) == (False, True, True)
    failed = request.judged(500, "", None)
    assert (failed.passing, failed.refused, failed.answered) == (False, False, True)
    said = str(request.judged(401, "who are you", None))
    assert said == f'answered with the status 401, "who are you"; give a token that it accepts in {TOKEN}'


# Tensors and messages


def test_numbers_are_the_same_in_both_forms():
    numbers = np.array([0.1, -1.5, 3e-30, np.finfo(np.float32).max], np.float32)
    np.testing.assert_array_equal(tensors.floats("FP32", bytes(tensors.little_endian(numbers))), numbers)
    np.testing.assert_array_equal(tensors.flat(json.loads(json.dumps(numbers.tolist()))), numbers)
    assert bytes(tensors.little_endian(np.array([1, -1])))[:9] == bytes([1, 0, 0, 0, 0, 0, 0, 0, 255])


def test_outputs_of_other_floats_are_read():
    assert tensors.floats("FP16", b"\x00\x3c").tolist() == [1.0]
    assert tensors.floats("BF16", b"\x80\x3f").tolist() == [1.0]
    assert tensors.floats("FP64", struct.pack("<d", 0.5)).tolist() == [0.5]
    for datatype, data in (("FP32", bytes(5)), ("BYTES", bytes(4))):
        with pytest.raises(ServiceError):
            tensors.floats(datatype, data)


def test_lists_may_be_nested_and_hold_nothing_but_numbers():
    assert tensors.flat([[1, 2.5], [[-3]], []]).tolist() == [1.0, 2.5, -3.0]
    assert tensors.flat([[1, 2], [3, 4]]).tolist() == [1.0, 2.0, 3.0, 4.0]
    assert np.isinf(tensors.flat([1e39])).all()
    for bad in ([None], ["1"], [[1, 2], ["x"]], [True], [{}]):
        with pytest.raises(ServiceError):
            tensors.flat(bad)


def test_a_shape_must_fit_its_numbers():
    numbers = np.zeros(6, np.float32)
    assert tensors.shaped("out", [2, 3], numbers).shape == (2, 3)
    for shape in ([2, 2], [-1, 6], [2**62, 2**62, 6]):
        with pytest.raises(ServiceError, match="6 numbers for the output"):
            tensors.shaped("out", shape, numbers)


def test_requests_are_as_the_protocol_says():
    inputs = {"pixels": np.array([[0.5, -1]], np.float32), "ids": np.array([[7]])}
    [body], length = oip_http.request(inputs, "out", binary=False)
    assert length is None
    assert body == (
        b'{"id":"plushie_search","inputs":[{"name":"pixels","shape":[1,2],"datatype":"FP32","data":[0.5,-1.0]},'
        b'{"name":"ids","shape":[1,1],"datatype":"INT64","data":[7]}],'
        b'"outputs":[{"name":"out","parameters":{"binary_data":false}}]}'
    )
    (head, *rest), length = oip_http.request(inputs, "out", binary=True)
    assert length == len(head)
    assert [one["parameters"] for one in json.loads(head)["inputs"]] == [{"binary_data_size": 8}] * 2
    assert b"".join(rest) == bytes([0, 0, 0, 0x3F, 0, 0, 0x80, 0xBF, 7, 0, 0, 0, 0, 0, 0, 0])


def test_answers_over_grpc_of_both_forms_are_read():
    kinds = messages.oip()
    plain = {"name": "out", "datatype": "FP32", "shape": [1, 2]}
    raw = struct.pack("<2f", 1, -2)
    other = {"name": "other", "datatype": "FP32", "shape": [1, 1]}
    made = kinds["ModelInferResponse"](outputs=[other, plain], raw_output_contents=[raw[:4], raw])
    assert oip_grpc.read(made.SerializeToString(), "out").tolist() == [[1, -2]]
    made = kinds["ModelInferResponse"](outputs=[{**plain, "contents": {"fp32_contents": [1, -2]}}])
    assert oip_grpc.read(made.SerializeToString(), "out").tolist() == [[1, -2]]
    for bad, because in [
        (kinds["ModelInferResponse"](outputs=[plain]), "has no contents"),
        (kinds["ModelInferResponse"](outputs=[other]), "there is no output"),
        (kinds["ModelInferResponse"](outputs=[plain], raw_output_contents=[raw, raw]), "2 raw contents for 1"),
        (kinds["ModelInferResponse"](outputs=[plain], raw_output_contents=[raw[:4]]), "1 numbers"),
    ]:
        with pytest.raises(ServiceError, match=because):
            oip_grpc.read(bad.SerializeToString(), "out")
    with pytest.raises(ServiceError, match="cannot be read"):
        oip_grpc.read(b"\xff\xff", "out")


def test_contents_that_follow_a_message_belong_to_it():
    kinds = messages.oip()
    for size in (0, 1, 127, 128, 70_000):
        data = bytes(size)
        field = messages.OIP["ModelInferRequest"]["raw_input_contents"][0]
        parts = messages.repeated_bytes(field, [memoryview(data), memoryview(b"x")])
        whole = b"".join([kinds["ModelInferRequest"](model_name="m").SerializeToString(), *parts])
        found = kinds["ModelInferRequest"].FromString(whole)
        assert (found.model_name, list(found.raw_input_contents)) == ("m", [data, b"x"])


def test_embeddings_are_put_in_order_and_read_in_any_form():
    plain = b'{"data": [{"index": 1, "embedding": [3, 4.5]}, {"index": 0, "embedding": [1, 2]}]}'
    assert np.stack(embeddings.read(plain, 2)).tolist() == [[1, 2], [3, 4.5]]
    docs = b'{"data": {"docs": [{"embedding": [[1, 2]]}, {"embedding": [3, 4.5], "text": "a"}]}}'
    assert np.stack(embeddings.read(docs, 2)).tolist() == [[1, 2], [3, 4.5]]
    coded = json.dumps({"data": [{"embedding": base64.b64encode(struct.pack("<f", 1.5)).decode()}]})
    assert np.stack(embeddings.read(coded.encode(), 1)).tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("answer", "because"),
    [
        ('{"data": []}', "0 vectors for 2"),
        ('{"data": [{"index": 1, "embedding": [1]}, {"index": 1, "embedding": [2]}]}', "index"),
        ('{"data": [{"index": 9, "embedding": [1]}, {"index": 1, "embedding": [2]}]}', "index"),
        ('{"data": [{"embedding": "?"}, {"embedding": [1]}]}', "cannot be read"),
        ('{"data": [{"embedding": [null]}, {"embedding": [1]}]}', "cannot be read"),
        ('{"data": [{"embedding": 1}, {"embedding": [1]}]}', "cannot be read"),
        ('{"data": [1, 2]}', "cannot be read"),
        ('{"error": "no"}', "cannot be read"),
        ("[", "cannot be read"),
    ],
)
def test_embeddings_that_lie_are_refused(answer, because):
    with pytest.raises(ModelError, match=because):
        embeddings.read(answer.encode(), 2)


# Packages that have to be installed


@pytest.mark.parametrize(
    ("package", "url"),
    [
        ("httpx", "oip://127.0.0.1:1/m"),
        ("httpx", "http://127.0.0.1:1/post"),
        ("grpc", "oip+grpc://127.0.0.1:1/m"),
        ("google.protobuf", "grpc://127.0.0.1:1"),
    ],
)
def test_a_library_that_is_missing_is_named(monkeypatch, package, url):
    for module in ("http", "grpc_calls", "messages", "oip_http", "oip_grpc", "embeddings", "clip_as_service"):
        monkeypatch.delitem(sys.modules, f"plushie_search.encoders.{module}", raising=False)
        monkeypatch.delattr(encoders, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError, match=rf"calling a service needs {package}.*pip install 'plushie_search\[service\]'"
    ):
        ps.open_encoder("plushie-mini", service=url)
