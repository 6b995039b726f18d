"""Checks of models on devices and services."""

import json
import re
import shutil

import numpy as np
import pytest
import toy
from fake_embeddings import FakeEmbeddings
from fake_service import FakeService

import plushie_search as ps
from plushie_search import ModelError, Service, _core, hub
from plushie_search.cli import main
from plushie_search.hub import check

MINI = hub.BUILT_IN / "plushie-mini"


@pytest.fixture(scope="module")
def near():
    return hub.open_encoder("plushie-mini", threads=1)


@pytest.fixture
def service():
    with FakeService({name: str(MINI / f"{name}.onnx") for name in ("image", "text")}).running() as running:
        yield running


@pytest.fixture
def whole(near):
    with FakeEmbeddings(near, pictures="infinity").running() as running:
        yield running


def url(whole):
    return f"{whole.address}/v1/embeddings?model=mini&images=infinity"


def test_vectors_of_the_processor_are_compared_with_nothing():
    found = ps.check_model("plushie-mini")
    assert (found.device, found.provider, found.threads) == ("cpu", "CPUExecutionProvider", 1)
    assert found.runtime == str(hub.runtime_library())
    assert (found.precision, found.fallback, found.batches, found.agreement) == (None, None, {}, {})
    assert list(found.outputs) == list(found.milliseconds) == ["image", "text"]


def test_batches_are_compared_with_single_ones_and_timed(capsys):
    found = ps.check_model("plushie-mini", max_batch=4, threads=2)
    assert (found.batches, found.threads) == ({"image": 4, "text": 4}, 2)
    assert found.agreement == pytest.approx({"image": 1, "text": 1}, abs=1e-5)
    assert main(["models", "check", "plushie-mini", "--max-batch", "4", "--threads", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[2:21].rstrip(): line[23:] for line in lines[1:]}
    assert rows["device"].startswith("cpu, by the CPUExecutionProvider of /")
    assert rows["image tower"].endswith(" ms on 2 threads")
    assert rows["image batch"].startswith("4 together in ")
    assert rows["text agreement"].startswith("least cosine 1.00000")


def test_a_service_is_compared_with_the_networks_here(service, capsys):
    found = ps.check_model("plushie-mini", service=Service(service.urls(), batch=6))
    assert found.outputs["image"] == (service.url("image"), "image_embeds")
    assert found.agreement == pytest.approx({"image": 1, "text": 1}, abs=1e-5)
    assert found.batches == {"image": 6, "text": 6}
    assert (found.device, found.provider, found.runtime) == (None, None, None)
    # Of each tower eight went as six and two, and what is timed as a batch as one request: once, and then three times.
    assert service.rows().count(6) == 2 * (1 + 1 + 3)
    flags = [part for name in ("image", "text") for part in ("--service", f"{name}={service.url(name)}")]
    assert main(["models", "check", "plushie-mini", *flags]) == 0
    out = capsys.readouterr().out
    assert f"{service.url('text')}, output text_embeds; finite, of length 1; original unknown; " in out
    assert out.count("16 together in ") == 2
    assert out.count("least cosine 1.000000 of 8 with the networks on the processor") == 2
    assert "  device " not in out


def test_one_tower_here_and_one_elsewhere(service):
    found = ps.check_model("plushie-mini", service={"text": service.url("text")})
    assert found.outputs["image"] == ("image.onnx", "image_embeds")
    assert (found.device, set(found.agreement), found.batches) == ("cpu", {"text"}, {"text": 16})


def test_a_service_that_runs_another_model_is_named_with_the_cosine(service, capsys):
    service.alter = lambda output: output[:, ::-1].copy()
    assert main(["models", "check", "plushie-mini", "--service", f"image={service.url('image')}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert service.url("image") in line
    assert "has the cosine" in line
    assert "runs another model" in line


def test_a_service_that_is_right_about_the_probe_alone_is_found_out(service, near):
    right = near.encode_images(check.picture())[0]

    def alter(output):
        known = toy.unit(output) @ right > 0.999
        return np.where(known[:, None], output, output[:, ::-1])

    service.alter = alter
    with pytest.raises(ModelError, match=r"by oip://.*/image a vector of the image tower has the cosine -?0\.\d+ with"):
        ps.check_model("plushie-mini", service={"image": service.url("image")})


def test_networks_that_are_not_here_are_compared_with_the_original_if_it_is_known(service, near, tmp_path, capsys):
    directory = shutil.copytree(MINI, tmp_path / "mini")
    for name in ("image.onnx", "text.onnx"):
        (directory / name).unlink()
    flags = [part for name in ("image", "text") for part in ("--service", f"{name}={service.url(name)}")]
    assert main(["models", "check", str(directory), *flags]) == 0
    assert len(re.findall("agreement +unknown: neither the networks nor", capsys.readouterr().out)) == 2
    probe = {
        "image": near.encode_images(check.picture())[0].tolist(),
        "text": near.encode_texts(check.TEXT)[0].tolist(),
    }
    (directory / "probe.json").write_text(json.dumps(probe))
    found = ps.check_model(directory, service=service.urls())
    assert found.likeness == pytest.approx({"image": 1, "text": 1}, abs=1e-6)
    assert found.agreement == {}


def test_a_server_of_whole_pictures_is_told_the_cosines(whole, near, capsys):
    found = ps.check_model("plushie-mini", service=url(whole))
    assert found.agreement == pytest.approx({"image": 1, "text": 1}, abs=1e-5)
    assert found.batches == {"image": 16, "text": 16}
    assert (found.directory, found.device) == (str(MINI), None)
    # It may prepare pictures in its own way: that is told, and not refused.
    whole.alter = lambda vectors: toy.unit(vectors + 0.01).astype(np.float32)
    subjects = [_core.Plush(check.PLUSH + number).render(size=check.SIDE) for number in range(check.COMPARED)]
    expected = near.encode_images(subjects)
    least = float((expected * toy.unit(expected + 0.01)).sum(axis=1).min())
    assert 0.9 < least < 0.999
    assert main(["models", "check", "plushie-mini", "--service", url(whole)]) == 0
    out = capsys.readouterr().out
    [told] = re.findall(r"image agreement +least cosine (0\.\d+) of 8", out)
    assert float(told) == pytest.approx(least, abs=1e-4)
    assert "image verdict        below 0.999: another model, or the server prepares what it gets otherwise" in out


def test_a_server_whose_model_is_unknown_here_is_only_timed(whole, near, capsys):
    found = ps.check_model("my-clip", service=url(whole))
    assert (found.model, found.directory, found.dimension) == ("my-clip", None, near.dim)
    assert (found.agreement, found.likeness, set(found.milliseconds)) == ({}, {}, {"image", "text"})
    whole.alter = lambda vectors: vectors[:, :100].copy()
    assert main(["models", "check", "plushie-mini", "--service", url(whole)]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "plushie-mini has vectors of dimension 512, and those of the service have 100: it runs another model" in line
