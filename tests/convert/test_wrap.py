"""ONNX networks for pictures as model directories."""

import json
import sys

import numpy as np
import onnx
import pytest
import toy

from plushie_search import _core
from plushie_search.cli import main

HOW = ["--size", str(toy.SIDE), "--mean", "0.5", "0.4", "0.3", "--std", "0.25", "0.5", "1.0"]


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "plain.onnx"
    onnx.save(toy.image_tower(), path)
    return path


def test_a_plain_network_becomes_a_model(network, runtime, toy_encoder, tmp_path, capsys):
    out = tmp_path / "made"
    assert main(["models", "wrap", str(network), str(out), *HOW, "--license", "MIT"]) == 0
    assert capsys.readouterr().out == f"{out}: {toy.DIM} numbers in a vector, from output image_embeds\n"
    made = _core.Encoder(out, runtime=runtime, threads=1)
    picture = _core.Plush(5).render(size=64)
    np.testing.assert_array_equal(made.encode_images(picture), toy_encoder.encode_images(picture))
    assert (made.name, json.loads(made.manifest)["license"]) == ("made", "MIT")
    assert main(["models", "wrap", str(network), str(out), *HOW]) == 2
    assert "made exists already" in capsys.readouterr().err


def test_a_network_with_weights_beside_it(runtime, toy_encoder, tmp_path):
    path = tmp_path / "elsewhere" / "plain.onnx"
    path.parent.mkdir()
    onnx.save(toy.image_tower(), path, save_as_external_data=True, location="weights", size_threshold=60)
    assert (path.parent / "weights").stat().st_size > 32
    assert main(["models", "wrap", str(path), str(tmp_path / "made"), *HOW]) == 0
    path.parent.rename(tmp_path / "gone")
    made = _core.Encoder(tmp_path / "made", runtime=runtime, threads=1)
    picture = _core.Plush(5).render(size=64)
    np.testing.assert_array_equal(made.encode_images(picture), toy_encoder.encode_images(picture))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--output", "none"], "has no output 'none': use one of image_embeds"),
        (["--mean", "0.5", "0.5"], "mean and std take one number, or three"),
    ],
)
def test_nothing_is_made_of_an_unusable_network(changes, message, network, tmp_path, capsys):
    assert main(["models", "wrap", str(network), str(tmp_path / "made"), *HOW, *changes]) == 2
    assert message in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path != network]


def test_a_network_that_takes_no_pictures(tmp_path, capsys):
    onnx.save(toy.text_tower(), tmp_path / "text.onnx")
    assert main(["models", "wrap", str(tmp_path / "text.onnx"), str(tmp_path / "made")]) == 2
    assert "model made: " in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_show_a_file(network, toy_model, tmp_path, capsys):
    assert main(["models", "show", str(network)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == str(network)
    assert shown[2].split(maxsplit=2) == ["input", "pixel_values", f"(batch, 3, {toy.SIDE}, {toy.SIDE})"]
    assert shown[3].split(maxsplit=2) == ["output", "image_embeds", f"(batch, {toy.DIM})"]
    assert shown[-1].endswith(f"  plushie-search models wrap {network} DIRECTORY")
    assert main(["models", "show", str(network), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["bytes"] == network.stat().st_size
    assert list(facts["outputs"]) == ["image_embeds"]
    assert main(["models", "show", str(toy_model / "model.json")]) == 0
    assert capsys.readouterr().out.startswith("toy\n")


@pytest.mark.parametrize("content", [b"", b"notes", b"\xff" * 100])
def test_a_file_of_something_else(content, tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert main(["models", "show", str(path)]) == 2
    assert f"{path} is no ONNX network: " in capsys.readouterr().err


def test_without_onnx_it_names_the_package(network, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "plushie_search.convert.wrap", None)
    monkeypatch.delattr("plushie_search.convert.wrap", raising=False)
    assert main(["models", "wrap", str(network), str(tmp_path / "made"), *HOW]) == 2
    assert "install it with: pip install 'plushie_search[quantize]'" in capsys.readouterr().err
