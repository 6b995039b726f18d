"""clip-as-service over gRPC: a server of its protocol here, and Jina's own with clip-as-service's own client."""

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import toy
from jina_server import DIM, vector

import plushie_search as ps
from plushie_search import ModelError, Service, _core
from plushie_search.encoders import messages

grpc = pytest.importorskip("grpc")

SERVER = Path(__file__).parent.parent / "jina_server.py"
TEXTS = ["a", "a bear", "a pink rabbit"]


class FakeClip(grpc.GenericRpcHandler):
    """Answers as clip-as-service does, unless it has a failure to answer with."""

    def __init__(self):
        self.faults, self.sizes, self.alter = [], [], lambda answer: answer
        self.lock = threading.Lock()

    def service(self, call):
        assert call.method == "/jina.JinaRPC/Call"
        kinds = messages.jina()

        def answer(requests, context):
            for sent in requests:
                request = kinds["DataRequestProto"].FromString(sent)
                assert request.header.exec_endpoint == "/"
                docs = request.data.docs.docs
                with self.lock:
                    self.sizes.append(len(docs))
                    fault = self.faults.pop(0) if self.faults else None
                if fault is not None:
                    fault(context)
                for doc in docs:
                    found = vector(len(doc.blob) or len(doc.text)).astype("<f4")
                    dense = {"buffer": found.tobytes(), "shape": [DIM], "dtype": "<f4"}
                    doc.ClearField("blob")
                    doc.embedding.CopyFrom(kinds["NdArrayProto"](dense=dense))
                docs.reverse()
                yield self.alter(request).SerializeToString()

        return grpc.stream_stream_rpc_method_handler(answer)


@contextmanager
def running():
    handler = FakeClip()
    server = grpc.server(ThreadPoolExecutor(8), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield handler, f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


def aborts(status, message):
    return lambda context: context.abort(status, message)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def expected(lengths):
    return toy.unit(np.stack([vector(length) for length in lengths]).astype(np.float64))


def test_texts_and_pictures_are_encoded(tmp_path):
    pictures = [_core.Plush(seed).render(size=32 + seed) for seed in range(7)]
    lengths = [len(_core.picture_file(picture)[1]) for picture in pictures]
    with running() as (server, url):
        encoder = ps.open_encoder("plushie-mini", service=Service(url, batch=3, requests=1))
        assert (encoder.name, encoder.dim) == ("clip-as-service", DIM)
        assert encoder.outputs == {"image": (url, "embedding"), "text": (url, "embedding")}
        server.sizes.clear()
        np.testing.assert_allclose(encoder.encode_images(pictures), expected(lengths), atol=1e-6)
        assert sorted(server.sizes) == [1, 3, 3]
        np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected(map(len, TEXTS)), atol=1e-6)
        with ps.Engine(tmp_path / "c", model=encoder) as engine:
            engine.add_images(pictures, ids=list("abcdefg"))
            assert engine.search_image(pictures[4], k=1)[0].item == "e"


def test_failures_that_pass_are_tried_again():
    with running() as (server, url):
        encoder = ps.open_encoder("my-clip", service=url)
        server.faults = [aborts(grpc.StatusCode.UNAVAILABLE, "loading"), aborts(grpc.StatusCode.ABORTED, "no")]
        with pytest.raises(ModelError, match=r"model my-clip: service grpc://.*status 10 \(aborted\), \"no\""):
            encoder.encode_texts("a cat")
        assert server.faults == []
        np.testing.assert_allclose(encoder.encode_texts("a cat"), expected([5]), atol=1e-6)


def strange_ids(request):
    request.data.docs.docs[0].id = "another"
    return request


def fewer(request):
    del request.data.docs.docs[0]
    return request


def failed(request):
    request.header.status.code, request.header.status.description = 1, "cannot\nencode"
    return request


def texts_for_numbers(request):
    request.data.docs.docs[0].embedding.dense.dtype = "<U4"
    return request


def shorter(request):
    dense = request.data.docs.docs[0].embedding.dense
    dense.buffer = dense.buffer[:8]
    return request


@pytest.mark.parametrize(
    ("alter", "because"),
    [
        (strange_ids, "3 documents for 3, or others"),
        (fewer, "2 documents for 3"),
        (failed, 'failed, "cannot encode"'),
        (texts_for_numbers, "cannot be read: a vector of <U4"),
        (shorter, "a vector of 2 numbers, where others have 16"),
    ],
)
def test_answers_that_are_no_vectors_are_refused(alter, because):
    with running() as (server, url):
        encoder = ps.open_encoder("plushie-mini", service=url)
        server.alter = alter
        with pytest.raises(ModelError, match=because):
            encoder.encode_texts(TEXTS)


def test_a_server_of_jina_and_the_client_of_clip_as_service():
    pytest.importorskip("jina", reason="needs the package clip-client: pip install clip-client")
    client = pytest.importorskip("clip_client")
    port = free_port()
    with subprocess.Popen([sys.executable, str(SERVER), "grpc", str(port)], stdout=subprocess.PIPE) as process:
        try:
            assert any(line == b"ready\n" for line in process.stdout)
            url = f"grpc://127.0.0.1:{port}"
            encoder = ps.open_encoder("plushie-mini", service=url)
            theirs = client.Client(url).encode(TEXTS)
            np.testing.assert_allclose(encoder.encode_texts(TEXTS), toy.unit(theirs), atol=1e-6)
            with pytest.raises(ModelError, match=r"failed, .*I refuse that"):
                encoder.encode_texts("refuse this")
        finally:
            process.terminate()
