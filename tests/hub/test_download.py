"""Models of the registry: from a hub into its cache and from there into an engine, and all that can go wrong."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import fake_hub
import numpy as np
import onnx
import pytest
import toy
from fake_service import FakeService

import plushie_search as ps
from plushie_search import ModelError, hub
from plushie_search.cli import main
from plushie_search.hub import cache, pins

pytest.importorskip("huggingface_hub", reason="downloads take huggingface_hub")


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """No setting or file of the machine counts."""
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "PLUSHIE_")) and name != "PLUSHIE_ASSETS":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.fixture
def server(toy_model, tmp_path, monkeypatch):
    """A hub that has the toy model, as published models lie there."""
    source = tmp_path / "source"
    (source / "onnx").mkdir(parents=True)
    for name in ("image.onnx", "text.onnx"):
        shutil.copy(toy_model / name, source / "onnx" / name)
    shutil.copy(toy_model / "tokenizer.json", source)
    with fake_hub.running(source) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


@pytest.fixture
def publish(server, tmp_path, monkeypatch):
    """Writes a registry with the toy model as the entry `published`, with changes."""

    def write(*, pinned=True, **changes):
        image = {**toy.manifest()["image"], "file": "onnx/image.onnx"}
        text = {**toy.manifest()["text"], "file": "onnx/text.onnx"}
        digests = {
            path: hashlib.sha256(content).hexdigest() if pinned else None for path, content in server.files.items()
        }
        entry = {
            "description": "a toy",
            "good_at": "tests",
            "license": "MIT",
            "license_url": "https://example.org/license",
            "dimension": toy.DIM,
            "languages": ["en"],
            "repository": server.repository,
            "revision": server.commit if pinned else None,
            "files": {path: {"bytes": len(server.files[path]), "sha256": digest} for path, digest in digests.items()},
            "manifest": {"image": image, "text": text},
            **changes,
        }
        path = tmp_path / f"registry-{len(list(tmp_path.glob('registry-*')))}.json"
        path.write_text(json.dumps({"format": 1, "models": {"published": entry}}))
        monkeypatch.setenv("PLUSHIE_REGISTRY", str(path))

    return write


def blobs(server):
    """Returns the files of the hub's cache by name."""
    return {path.name: path.read_bytes() for path in (cache.repository_folder(server.repository) / "blobs").iterdir()}


def test_an_engine_downloads_its_model_once(publish, server, tmp_path):
    publish()
    with ps.Engine(tmp_path / "toys", model="published") as engine:
        vector = engine.encode_texts(["a pink rabbit"])
        np.testing.assert_allclose(vector[0], toy.words_vector(["a", "pink", "rabbit"]), atol=1e-6)
    assert blobs(server) == {server.name_of(path): content for path, content in server.files.items()}
    asked = len(server.log)
    with ps.Engine(tmp_path / "toys", model="published") as engine:
        np.testing.assert_array_equal(engine.encode_texts(["a pink rabbit"]), vector)
    assert len(server.log) == asked


def test_weights_beside_a_network_are_found_through_the_links_of_the_cache(publish, server, toy_encoder, tmp_path):
    external = {"save_as_external_data": True, "all_tensors_to_one_file": True, "size_threshold": 50}
    onnx.save(toy.image_tower(), tmp_path / "image.onnx", location="image.onnx_data", **external)
    for name in ("image.onnx", "image.onnx_data"):
        server.files[f"onnx/{name}"] = (tmp_path / name).read_bytes()
    publish()
    directory = ps.pull_model("published")
    assert (directory / "onnx/image.onnx_data").is_symlink()
    red = np.full((9, 9, 3), (250, 20, 30), np.uint8)
    vector = hub.open_encoder("published", threads=1).encode_images(red)
    np.testing.assert_allclose(vector, toy_encoder.encode_images(red), atol=1e-6)


def test_the_same_files_have_the_same_fingerprint_wherever_they_lie(publish, toy_model, toy_encoder):
    publish()
    encoder = hub.open_encoder("published", threads=1)
    assert encoder.fingerprint == toy_encoder.fingerprint
    assert encoder.outputs == {"image": ("onnx/image.onnx", "image_embeds"), "text": ("onnx/text.onnx", "text_embeds")}
    assert (encoder.name, encoder.dim) == ("published", toy.DIM)


def test_the_cache_is_where_the_package_of_the_hub_has_it(publish, server):
    from huggingface_hub import try_to_load_from_cache

    publish()
    directory = ps.pull_model("published")
    for path, content in server.files.items():
        found = try_to_load_from_cache(server.repository, path, cache_dir=cache.folder(), revision=server.commit)
        assert Path(found) == directory / path
        assert Path(found).read_bytes() == content


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"XDG_CACHE_HOME": "/a"},
        {"HF_HOME": "/b", "XDG_CACHE_HOME": "/a"},
        {"HF_HOME": "~/b"},
        {"HUGGINGFACE_HUB_CACHE": "/c", "HF_HOME": "/b"},
        {"HF_HUB_CACHE": "/d", "HUGGINGFACE_HUB_CACHE": "/c"},
        {"HF_HUB_OFFLINE": "yes"},
        {"TRANSFORMERS_OFFLINE": "True"},
        {"HF_HUB_OFFLINE": "0"},
    ],
)
def test_settings_mean_the_same_as_to_the_package_of_the_hub(settings, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [str(cache.folder()), str(cache.offline())] == told


@pytest.fixture
def hasty(monkeypatch):
    """The package of the hub keeps small parts and does not wait before it tries again."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)


def test_a_transfer_that_breaks_off_goes_on_where_it_was(publish, server, hasty, caplog):
    publish()
    server.cuts["onnx/image.onnx"] = [100]
    with caplog.at_level("INFO", "plushie_search"):
        ps.pull_model("published")
    told = [record.getMessage() for record in caplog.records if record.name == "plushie_search"]
    assert f"downloaded onnx/image.onnx of maker/toy: {len(server.files['onnx/image.onnx'])} bytes" in told
    assert [part for path, part in server.asked("GET") if path == "onnx/image.onnx" and part] == ["bytes=100-"] * 2
    assert blobs(server)[server.name_of("onnx/image.onnx")] == server.files["onnx/image.onnx"]


def test_an_interrupted_download_goes_on_in_the_next_run(publish, server, hasty, caplog):
    publish()
    server.cuts["onnx/image.onnx"] = [100, *[0] * 20]
    with pytest.raises(
        ModelError, match=r"published: onnx/image.onnx of maker/toy cannot be downloaded from .* resumes the download"
    ):
        ps.pull_model("published")
    told = [record.getMessage() for record in caplog.records if record.name == "plushie_search"]
    assert sum(text.startswith("trying onnx/image.onnx of maker/toy again from byte 100: ") for text in told) == 1
    half = f"{server.name_of('onnx/image.onnx')}.plushie.incomplete"
    assert blobs(server)[half] == server.files["onnx/image.onnx"][:100]
    server.cuts.clear()
    server.log.clear()
    directory = ps.pull_model("published")
    assert [part for path, part in server.asked("GET") if path == "onnx/image.onnx"] == ["bytes=100-"] * 2
    assert (directory / "onnx/image.onnx").read_bytes() == server.files["onnx/image.onnx"]
    assert half not in blobs(server)


@pytest.mark.parametrize("path", ["onnx/image.onnx", "tokenizer.json"])
@pytest.mark.parametrize("pinned", [True, False])
def test_wrong_bytes_are_not_kept(publish, server, path, pinned):
    publish(pinned=pinned)
    right = server.files[path]
    server.forged[path] = right[:-1] + b"x"
    with pytest.raises(ModelError, match=rf"{path} of maker/toy should have the digest .* do not use them"):
        ps.pull_model("published")
    assert server.name_of(path) not in blobs(server)
    assert not any(name.endswith("incomplete") for name in blobs(server))
    server.forged.clear()
    assert (ps.pull_model("published") / path).read_bytes() == right


def test_a_hub_with_other_bytes_than_those_pinned_is_not_asked_for_them(publish, server):
    publish()
    wanted = server.name_of("onnx/text.onnx")
    server.files["onnx/text.onnx"] += b"x"
    with pytest.raises(ModelError, match=rf"onnx/text.onnx .* should have the digest {wanted}, but has"):
        ps.pull_model("published")
    assert "onnx/text.onnx" not in dict(server.asked("GET"))


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (
            401,
            "GatedRepo",
            "needs your consent to its terms: agree on http://.*/maker/toy, .* HF_TOKEN",
        ),
        (401, "RepoNotFound", "does not exist or needs an access token"),
        (404, "RevisionNotFound", "has no revision 5f5f.*; update plushie_search"),
        (404, "EntryNotFound", "is not in the repository"),
        (403, "", "answered with the status 403"),
    ],
)
def test_refusals_of_a_hub(publish, server, status, code, message):
    publish()
    server.refusals["tokenizer.json"] = (status, code)
    with pytest.raises(ModelError, match=rf"published: tokenizer.json of maker/toy .*{message}"):
        ps.pull_model("published")


def test_an_access_token_is_given_to_the_hub_and_not_to_its_store(publish, server, monkeypatch):
    seen = []
    answer = fake_hub._Handler._answer
    monkeypatch.setattr(
        fake_hub._Handler,
        "_answer",
        lambda self, *, body: seen.append((self.path, self.headers.get("authorization"))) or answer(self, body=body),
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    publish()
    ps.pull_model("published")
    assert {token for path, token in seen if "/resolve/" in path} == {"Bearer hf_secret"}


def test_no_hub(publish, monkeypatch):
    publish()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ModelError, match=r"cannot be downloaded from http://127.0.0.1:9 .*check the network, or name a mirror"
    ):
        ps.pull_model("published")


def test_a_disk_that_takes_no_more(publish, server, tmp_path):
    publish()
    code = (
        "import resource, signal, sys, plushie_search\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "plushie_search.pull_model('published')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    message = done.stderr.splitlines()[-1]
    assert f"cannot be stored in {cache.folder()}" in message
    assert message.endswith("make room, or name another place by HF_HOME. The next try resumes the download")
    # It is no use to ask again for what cannot be stored.
    assert len(server.asked("GET")) == len(set(server.asked("GET")))
    ps.pull_model("published")
    assert blobs(server) == {server.name_of(path): content for path, content in server.files.items()}


def test_a_cache_that_is_closed_to_this_user(publish, server, tmp_path, monkeypatch, capsys):
    publish()

    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", closed)
    with pytest.raises(ModelError, match=r"published: the cache .* cannot be read: .*Permission denied.*HF_HOME"):
        ps.pull_model("published")
    assert main(["models", "list"]) == 0
    assert re.search(r"^published +6 .*MIT", capsys.readouterr().out, re.MULTILINE)


def test_two_programs_download_one_model_at_once(publish, server):
    publish()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "plushie_search", "models", "pull", "published"]
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(program.communicate()[1], program.returncode) for program in running]
    assert ends == [("", 0)] * 3
    assert blobs(server) == {server.name_of(path): content for path, content in server.files.items()}
    stored = [path for path in server.asked("GET") if path == ("onnx/image.onnx", None)]
    assert 1 <= len(stored) <= 2  # the hub's redirection and the bytes themselves, once: the others wait


def test_where_no_hub_is_named_the_public_one_is_asked():
    """In a process in which nothing else has loaded the package's parts; a dead proxy keeps it from going out."""
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    code = "import plushie_search; plushie_search.pull_model('dinov2-small')"
    run = subprocess.run([sys.executable, "-c", code], env={**os.environ, **proxies}, capture_output=True, text=True)
    message = r"ModelError: model dinov2-small: .* cannot be downloaded from https://[^ ]+ .*check the network"
    assert re.search(message, run.stderr), run.stderr


def test_something_else_than_a_hub(publish, server, monkeypatch):
    publish()
    monkeypatch.setattr(type(server), "name_of", lambda self, path: "weak")
    with pytest.raises(ModelError, match=r"does not say of which commit it is .* correct HF_ENDPOINT"):
        ps.pull_model("published")


def test_offline_means_no_call_at_all(publish, server, monkeypatch):
    publish()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"published is not .* HF_HUB_OFFLINE forbids downloads; unset that, or run"):
        ps.pull_model("published")
    assert server.log == []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    directory = ps.pull_model("published")
    server.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert ps.pull_model("published") == directory
    assert hub.open_encoder("published", threads=1).dim == toy.DIM
    assert server.log == []


@pytest.mark.parametrize("missing", [True, False])
def test_without_the_package_of_the_hub(publish, missing, monkeypatch):
    publish()
    if not missing:
        directory = ps.pull_model("published")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    if missing:
        with pytest.raises(ImportError, match=r"needs huggingface_hub; install: pip install 'plushie_search\[hub\]'"):
            ps.pull_model("published")
    else:
        assert ps.pull_model("published") == directory


def test_the_first_download_pins_the_files_that_the_registry_does_not(publish, server):
    publish(pinned=False)
    first = ps.pull_model("published")
    known = pins.read("published")
    assert known.revision == server.commit
    assert known.sha256 == {path: hashlib.sha256(content).hexdigest() for path, content in server.files.items()}
    server.commit = "ab" * 20
    server.files["tokenizer.json"] += b" "
    assert ps.pull_model("published") == first
    shutil.rmtree(cache.folder())
    with pytest.raises(ModelError, match="has no revision"):
        ps.pull_model("published")


def test_offline_an_unpinned_model_is_the_last_download_of_others(publish, server, monkeypatch):
    from huggingface_hub import hf_hub_download

    publish(pinned=False)
    for path in server.files:
        hf_hub_download(server.repository, path, cache_dir=cache.folder(), endpoint=server.endpoint)
    server.log.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert hub.open_encoder("published", threads=1).dim == toy.DIM
    assert server.log == []
    assert pins.read("published").revision == server.commit


@pytest.mark.parametrize("pinned", [True, False])
def test_files_that_others_have_put_into_the_cache_are_verified(publish, server, pinned):
    publish(pinned=pinned)
    directory = ps.pull_model("published")
    blob = (directory / "onnx/text.onnx").resolve()
    blob.write_bytes(server.files["onnx/text.onnx"] + b"x")
    with pytest.raises(
        ModelError, match=rf"{blob} should have the digest .* Delete it and run: plushie-search models pull"
    ):
        hub.resolve("published")
    pins.path_of("published").unlink()
    if pinned:
        with pytest.raises(ModelError, match="Delete it"):
            hub.resolve("published")
    blob.unlink()
    ps.pull_model("published")
    assert blob.read_bytes() == server.files["onnx/text.onnx"]


def test_a_check_reads_files_again_that_seem_unchanged(publish, server):
    publish()
    blob = (ps.pull_model("published") / "onnx/text.onnx").resolve()
    facts = blob.stat()
    content = bytearray(server.files["onnx/text.onnx"])
    content[-1] ^= 1
    blob.write_bytes(content)
    os.utime(blob, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    ps.pull_model("published")
    with pytest.raises(ModelError, match="damaged"):
        ps.check_model("published")


def test_damaged_pins_have_a_cure(publish):
    publish()
    ps.pull_model("published")
    for damage in ("{", "[]", '{"sha256": 1}', '{"other": 1}'):
        pins.path_of("published").write_text(damage)
        with pytest.raises(ModelError, match=r"published.json, which pins model published, .*; delete it"):
            ps.pull_model("published")


def test_a_license_that_asks_for_consent(publish, server, monkeypatch, capsys):
    publish(license="Toy-Research", consent="for research only")
    refused = (
        "model published is under the license Toy-Research: for research only. Read it at https://example.org/license; "
        "if your use is within it, say so once: plushie-search models pull published --accept-license, or "
        "accept_license=True in Python, or PLUSHIE_ACCEPT_LICENSE=Toy-Research in the environment"
    )
    with pytest.raises(ModelError) as error:
        ps.pull_model("published")
    assert str(error.value) == refused
    assert main(["models", "pull", "published"]) == 2
    assert capsys.readouterr().err == f"plushie-search: {refused}\n"
    assert server.log == []
    for word in ("another", "toy-research, another", "published"):
        monkeypatch.setenv("PLUSHIE_ACCEPT_LICENSE", word)
        if word == "another":
            with pytest.raises(ModelError, match="Toy-Research"):
                ps.pull_model("published")
        else:
            ps.pull_model("published")
            pins.path_of("published").unlink()
    monkeypatch.delenv("PLUSHIE_ACCEPT_LICENSE")
    with pytest.raises(ModelError, match="Toy-Research"):
        hub.resolve("published")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shutil.rmtree(cache.folder())
    assert main(["models", "pull", "published", "--accept-license"]) == 2
    monkeypatch.delenv("HF_HUB_OFFLINE")
    hub.resolve("published")
    publish(license="Toy-Research-2", consent="for research only, and on Mondays")
    with pytest.raises(ModelError, match="Toy-Research-2: for research only, and on Mondays"):
        hub.resolve("published")
    hub.resolve("published", accept_license=True)


def test_an_unpublished_model_says_how_to_make_it(publish):
    publish(repository=None, files={}, revision=None, export="transformers:maker/toy", manifest={})
    with pytest.raises(
        ModelError, match=r"make it, .*: plushie-search models export transformers:maker/toy published$"
    ):
        ps.pull_model("published")


def test_the_commands(publish, server, toy_model, capsys):
    publish(pinned=False)
    assert main(["models", "show", "published"]) == 0
    out = capsys.readouterr().out
    assert "revision of the first download, which pins it" in out
    assert "no, get it by: plushie-search models pull published" in out
    assert main(["models", "pull", "published", "plushie-mini"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("published: ")
    assert out[0].endswith("verified")
    assert out[1] == "plushie-mini is built in"
    assert main(["models", "show", "published", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["here"], facts["pinned"], facts["dimension"]) == (True, False, toy.DIM)
    assert facts["pinned_by_first_use"]["revision"] == server.commit
    assert main(["models", "check", "published", "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["outputs"]["text"] == ["onnx/text.onnx", "text_embeds"]
    assert set(checked["milliseconds"]) == {"image", "text"}
    assert checked["likeness"] == {}
    assert main(["models"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("published "))
    assert row.split()[1] == str(toy.DIM)
    assert " yes " in row


def test_a_check_of_a_service_downloads_no_network(publish, server, toy_model):
    text = toy.words_vector(["a", "brown", "teddy", "bear", "with", "a"])  # as long as the model reads
    publish(probe={"text": list(map(float, text))})
    networks = {name: str(toy_model / f"{name}.onnx") for name in ("image", "text")}
    with FakeService(networks).running() as service:
        found = ps.check_model("published", service=service.urls())
        assert found.likeness == pytest.approx({"text": 1}, abs=1e-6)
        assert (found.agreement, found.batches) == ({}, {"image": 16, "text": 16})
        assert list(blobs(server)) == [server.name_of("tokenizer.json")]
        ps.pull_model("published")
        assert ps.check_model("published", service=service.urls()).agreement == pytest.approx({"image": 1, "text": 1})


def test_a_check_compares_with_the_original(publish, toy_model, tmp_path, capsys):
    text = toy.words_vector(["a", "brown", "teddy", "bear", "with", "a"])  # as long as the model reads
    publish(probe={"text": [float(2 * number) for number in text]})
    assert ps.check_model("published").likeness["text"] == pytest.approx(1, abs=1e-6)
    other = [float(number) for number in np.roll(text, 1)]
    publish(probe={"text": other})
    with pytest.raises(ModelError, match=r"text tower's vector has the cosine .* its manifest or a file is wrong"):
        ps.check_model("published")
    directory = shutil.copytree(toy_model, tmp_path / "copy")
    (directory / "probe.json").write_text(json.dumps({"text": list(map(float, text))}))
    assert main(["models", "check", str(directory)]) == 0
    assert "cosine 1.000000 with the original" in capsys.readouterr().out
    for damage, reason in (("{", "cannot be read"), ("[]", "must be"), ('{"text": [1]}', "is not of dimension 6")):
        (directory / "probe.json").write_text(damage)
        with pytest.raises(ModelError, match=reason):
            ps.check_model(directory)
