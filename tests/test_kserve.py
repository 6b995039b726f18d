"""The built-in model's networks on a real server, KServe's, over HTTP and gRPC."""

import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import plushie_search as ps
from plushie_search import ModelError, Service, _core, hub

pytest.importorskip("kserve", reason="needs the package kserve: pip install --group kserve")

EXAMPLE = Path(__file__).parent.parent / "examples" / "kserve_server.py"
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
    far = hub.open_encoder("plushie-mini", threads=2, encoder=urls(ports, scheme))
    assert far.fingerprint == near.fingerprint
    np.testing.assert_allclose(far.encode_images(pictures), near.encode_images(pictures), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(far.encode_images(pictures[3]), near.encode_images(pictures[3]))
    np.testing.assert_allclose(far.encode_texts(TEXTS), near.encode_texts(TEXTS), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(far.encode_texts("a cat"), near.encode_texts("a cat"))


@pytest.mark.parametrize("scheme", ["oip", "oip+grpc"])
def test_a_catalog_is_filled_and_searched(ports, scheme, pictures, tmp_path):
    service = Service(urls(ports, scheme), batch=8)
    with ps.Engine(tmp_path / "c", encoder=service) as far:
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
        hub.open_encoder("plushie-mini", encoder=f"{scheme}://127.0.0.1:{ports[scheme]}/nothing")


def test_what_speaks_another_protocol_is_told(ports):
    swapped = {"oip": ports["oip+grpc"], "oip+grpc": ports["oip"]}
    for scheme, port in swapped.items():
        service = Service(f"{scheme}://127.0.0.1:{port}/image", retries=0)
        with pytest.raises(ModelError, match=f"service {scheme.replace('+', '.')}://.*gave up after 1 attempt"):
            hub.open_encoder("plushie-mini", encoder=service)


def test_grpc_calls_go_on_from_many_threads(ports, pictures):
    far = hub.open_encoder("plushie-mini", threads=2, encoder=Service(urls(ports, "oip+grpc"), batch=2, requests=8))
    near = hub.open_encoder("plushie-mini", threads=2)
    np.testing.assert_allclose(far.encode_images(pictures * 3), near.encode_images(pictures * 3), rtol=0, atol=1e-6)
