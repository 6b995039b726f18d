"""The built-in model's networks on a real server, KServe's, over HTTP and gRPC."""

import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from fake_service import FakeService

import plushie_search as ps
from plushie_search import ModelError, Service, _core, hub

pytest.importorskip("kserve", reason="needs the package kserve: pip install --group kserve")
grpc = pytest.importorskip("grpc")

EXAMPLE = Path(__file__).parents[2] / "examples" / "kserve_server.py"
TEXTS = ["a brown bear", "a pink rabbit with a hat", "粉色兔子", "a toy"]
TEXTS += [f"a bear of {number} pieces" for number in range(20)]


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """The ports for HTTP and gRPC of the server of the example in the documentation."""
    http, grpc = free_port(), free_port()
    log = tmp_path_factory.mktemp("kserve") / "log"
    command = [sys.executable, str(EXAMPLE), str(hub.BUILT_IN / "plushie-mini")]
    command += ["--http_port", str(http), "--grpc_port", str(grpc)]
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{http}/v2/health/ready", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield {"oip": http, "oip+grpc": grpc}
        finally:
            process.kill()


def urls(ports, scheme):
    return {tower: f"{scheme}://127.0.0.1:{ports[scheme]}/{tower}" for tower in ("image", "text")}


@pytest.fixture(scope="module")
def pictures():
    return [_core.Plush(seed).render(size=120 + seed) for seed in range(40)]


@pytest.mark.parametrize("scheme", ["oip", "oip+grpc"])
def test_vectors_are_those_of_the_networks_here(ports, scheme, pictures):
    near = hub.open_encoder("plushie-mini", threads=2)
    far = hub.open_encoder("plushie-mini", threads=2, service=urls(ports, scheme))
    assert far.fingerprint == near.fingerprint
    np.testing.assert_allclose(far.encode_images(pictures), near.encode_images(pictures), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(far.encode_images(pictures[3]), near.encode_images(pictures[3]))
    np.testing.assert_allclose(far.encode_texts(TEXTS), near.encode_texts(TEXTS), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(far.encode_texts("a cat"), near.encode_texts("a cat"))


@pytest.mark.parametrize("scheme", ["oip", "oip+grpc"])
def test_a_catalog_is_filled_and_searched(ports, scheme, pictures, tmp_path):
    service = Service(urls(ports, scheme), batch=8)
    with ps.Engine(tmp_path / "c", model=ps.open_encoder("plushie-mini", service=service)) as far:
        far.add_images(pictures, ids=[f"plush {i}" for i in range(40)])
        found = far.search_image(pictures[7], k=3)
        assert found[0].item == "plush 7"
        by_text = far.search_text("a pink rabbit", k=5)
    with ps.Engine(tmp_path / "c") as near:
        again = near.search_text("a pink rabbit", k=5)
        assert [hit.item for hit in again] == [hit.item for hit in by_text]


@pytest.mark.parametrize(("scheme", "status"), [("oip", "404"), ("oip+grpc", r"5 \(not found\)")])
def test_a_model_that_is_not_there_is_named(ports, scheme, status):
    with pytest.raises(ModelError, match=f"/nothing: answered with the status {status}, .* is it loaded there"):
        hub.open_encoder("plushie-mini", service=f"{scheme}://127.0.0.1:{ports[scheme]}/nothing")


def test_servers_of_other_protocols_are_told(ports):
    swapped = {"oip": ports["oip+grpc"], "oip+grpc": ports["oip"]}
    for scheme, port in swapped.items():
        service = Service(f"{scheme}://127.0.0.1:{port}/image", retries=0)
        with pytest.raises(ModelError, match=f"service {scheme.replace('+', '.')}://.*gave up after 1 attempt"):
            hub.open_encoder("plushie-mini", service=service)


def test_grpc_calls_go_on_from_many_threads(ports, pictures):
    far = hub.open_encoder("plushie-mini", threads=2, service=Service(urls(ports, "oip+grpc"), batch=2, requests=8))
    near = hub.open_encoder("plushie-mini", threads=2)
    np.testing.assert_allclose(far.encode_images(pictures * 3), near.encode_images(pictures * 3), rtol=0, atol=1e-6)


class Doubtful(grpc.GenericRpcHandler):
    """Hands calls on to the real server, unless it has a failure to answer with."""

    def __init__(self, target):
        self.channel, self.faults, self.metadata = grpc.insecure_channel(target), [], []

    def service(self, call):
        def handle(request, context):
            self.metadata.append(dict(context.invocation_metadata()))
            if self.faults:
                self.faults.pop(0)(context)
            return self.channel.unary_unary(call.method)(request, timeout=20)

        return grpc.unary_unary_rpc_method_handler(handle)


def aborts(status, message):
    return lambda context: context.abort(status, message)


@contextmanager
def doubtful(ports, credentials=None):
    """A server between us and the real one, and its port."""
    handler = Doubtful(f"127.0.0.1:{ports['oip+grpc']}")
    server = grpc.server(ThreadPoolExecutor(8), handlers=[handler])
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield handler, port
    finally:
        server.stop(0).wait()
        handler.channel.close()


def test_grpc_calls_that_fail_in_passing_are_made_again(ports):
    near = hub.open_encoder("plushie-mini", threads=2)
    with doubtful(ports) as (server, port):
        far = hub.open_encoder("plushie-mini", threads=2, service={"text": f"oip+grpc://127.0.0.1:{port}/text"})
        server.faults = [
            aborts(grpc.StatusCode.UNAVAILABLE, "loading"),
            aborts(grpc.StatusCode.RESOURCE_EXHAUSTED, "queue is full"),
            aborts(grpc.StatusCode.DEADLINE_EXCEEDED, "slow"),
        ]
        np.testing.assert_array_equal(far.encode_texts("a bear"), near.encode_texts("a bear"))
        assert server.faults == []
        for status, said in [
            (grpc.StatusCode.INVALID_ARGUMENT, r"status 3 \(invalid argument\), \"bad 兔\""),
            (grpc.StatusCode.INTERNAL, r"status 13 \(internal\)"),
            (grpc.StatusCode.UNAUTHENTICATED, r"status 16 .* PLUSHIE_ENCODER_TOKEN"),
        ]:
            server.faults = [aborts(status, "bad\r\n\x1b 兔")]
            with pytest.raises(ModelError, match=said):
                far.encode_texts("a cat")
            assert server.faults == []


def test_grpc_calls_end_in_time_and_send_the_token(ports, monkeypatch):
    monkeypatch.setenv("PLUSHIE_ENCODER_TOKEN", "sk-secret-123")
    with doubtful(ports) as (server, port):
        url = f"oip+grpc://127.0.0.1:{port}/text"
        far = hub.open_encoder("plushie-mini", threads=2, service=Service({"text": url}, timeout=3.0))
        assert {found["authorization"] for found in server.metadata} == {"Bearer sk-secret-123"}
        held = threading.Event()
        server.faults = [lambda context: held.wait(60)]
        # The server, which is told how long it has, and we find at the same moment that it is late.
        with pytest.raises(ModelError, match=r"in time|deadline exceeded") as late:
            far.encode_texts("a cat")
        held.set()
        assert "A larger timeout or a smaller batch helps" in str(late.value)
        server.faults = [aborts(grpc.StatusCode.PERMISSION_DENIED, "not you, sk-secret-123")]
        with pytest.raises(ModelError, match=r"not you, \*\*\*") as refused:
            far.encode_texts("a cat")
        assert "secret" not in str(late.value) + str(refused.value)


def test_a_grpc_server_that_comes_back_is_found_again(ports):
    near = hub.open_encoder("plushie-mini", threads=2)
    handler = Doubtful(f"127.0.0.1:{ports['oip+grpc']}")
    first = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    port = first.add_insecure_port("127.0.0.1:0")
    first.start()
    service = Service({"text": f"oip+grpc://127.0.0.1:{port}/text"}, retries=0)
    far = hub.open_encoder("plushie-mini", threads=2, service=service)
    first.stop(0).wait()
    with pytest.raises(ModelError, match="cannot be reached"):
        far.encode_texts("a bear")
    second = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    assert second.add_insecure_port(f"127.0.0.1:{port}") == port
    second.start()
    np.testing.assert_array_equal(far.encode_texts("a bear"), near.encode_texts("a bear"))
    second.stop(0).wait()
    third = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    assert third.add_insecure_port(f"127.0.0.1:{port}") == port
    third.start()
    # The connection that was kept is of no use any more, which costs no retry.
    np.testing.assert_array_equal(far.encode_texts("a cat"), near.encode_texts("a cat"))
    third.stop(0).wait()
    handler.channel.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """The files of a certificate for this machine, signed by itself, and of its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


def test_tls_over_grpc(ports, certificate, monkeypatch):
    cert, key = certificate
    near = hub.open_encoder("plushie-mini", threads=2)
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    with doubtful(ports, credentials) as (_, port):
        service = {"text": f"oips+grpc://localhost:{port}/text"}
        with pytest.raises(ModelError, match=r"certificate.*SSL_CERT_FILE"):
            hub.open_encoder("plushie-mini", threads=2, service=service)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        far = hub.open_encoder("plushie-mini", threads=2, service=service)
        np.testing.assert_array_equal(far.encode_texts("a bear"), near.encode_texts("a bear"))


def test_tls_over_http(certificate, monkeypatch):
    cert, key = certificate
    near = hub.open_encoder("plushie-mini", threads=2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    network = str(hub.BUILT_IN / "plushie-mini" / "text.onnx")
    with FakeService({"text": network}).running(context) as service:
        url = {"text": f"oips://localhost:{service.address.rpartition(':')[2]}/text"}
        with pytest.raises(ModelError, match=r"certificate.*SSL_CERT_FILE"):
            hub.open_encoder("plushie-mini", threads=2, service=url)
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        far = hub.open_encoder("plushie-mini", threads=2, service=url)
        np.testing.assert_allclose(far.encode_texts("a bear"), near.encode_texts("a bear"), rtol=0, atol=1e-6)
