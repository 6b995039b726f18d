"""Models by name or path, and the ONNX Runtime library of the installed package."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import plushie_search
from plushie_search import ModelError, _core, hub


def test_models_are_found_by_path(toy_model, monkeypatch):
    assert hub.resolve(toy_model) == (toy_model, None)
    assert hub.resolve(str(toy_model)) == (toy_model, None)
    monkeypatch.chdir(toy_model.parent)
    assert hub.resolve("toy").directory.samefile(toy_model)


def test_built_in_models_are_found_by_name_before_directories(toy_model, monkeypatch, tmp_path):
    shutil.copytree(toy_model, tmp_path / "built-in" / "toy")
    (tmp_path / "built-in" / "no-model").mkdir()
    monkeypatch.setattr(hub.names, "BUILT_IN", tmp_path / "built-in")
    monkeypatch.chdir(toy_model.parent)
    assert hub.built_in_models() == ["toy"]
    assert hub.resolve("toy").directory == tmp_path / "built-in" / "toy"
    with pytest.raises(
        ValueError, match=r"unknown model 'bear'; give the path of a model directory, the built-in model toy,"
    ):
        hub.resolve("bear")
    with pytest.raises(ValueError, match=r"unknown model 'toi'; did you mean toy\? Otherwise give the path"):
        hub.resolve("toi")


def test_a_directory_of_something_else_is_no_model(tmp_path):
    assert hub.resolve(tmp_path) == (tmp_path, None)
    with pytest.raises(
        ModelError, match=rf"^model {re.escape(str(tmp_path))}: model.json is missing; a model is a dir"
    ):
        hub.open_encoder(tmp_path, threads=1)


@pytest.mark.parametrize("model", ["", "x" * 5000])
def test_impossible_directories_are_no_models(model):
    with pytest.raises(ValueError, match=r"unknown model ''|^model 'x+' cannot be opened as a directory.*too long"):
        hub.resolve(model)


def test_the_runtime_is_found_without_importing_it(runtime):
    assert runtime.name.startswith("libonnxruntime.so")
    code = "import sys; from plushie_search import hub; hub.runtime_library(); print('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_missing_runtime_names_the_package(monkeypatch):
    monkeypatch.setattr(hub.runtime, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"not installed; install it with: pip install .*'onnxruntime>=1.23'"):
        hub.runtime_library()


def test_an_old_runtime_names_the_package(monkeypatch):
    monkeypatch.setattr(hub.runtime, "version", lambda name: "1.9.0")
    with pytest.raises(ImportError, match=r"onnxruntime 1.9.0 is too old; update it with: pip install"):
        hub.runtime_library()


def test_a_runtime_without_a_library(monkeypatch, tmp_path):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(hub.runtime, "find_spec", lambda name: Spec)
    with pytest.raises(ImportError, match=r"no ONNX Runtime library in .*; install one with: pip install"):
        hub.runtime_library()
    (tmp_path / "capi").mkdir()
    for name in ("libonnxruntime.so.1.9.2", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so"):
        (tmp_path / "capi" / name).touch()
    assert hub.runtime_library().name == "libonnxruntime.so.1.31.1"
    for platform, name in (("darwin", "libonnxruntime.1.31.1.dylib"), ("win32", "onnxruntime.dll")):
        monkeypatch.setattr(hub.runtime.sys, "platform", platform)
        with pytest.raises(ImportError, match=r"no ONNX Runtime library"):
            hub.runtime_library()
        (tmp_path / "capi" / name).touch()
        assert hub.runtime_library().name == name


def in_new_process(code, *arguments):
    """Returns the output of Python code in a process of its own."""
    code = f"import sys; from plushie_search import ModelError, _core, hub\n{code}"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


LOAD = """
for library in sys.argv[1:]:
    try:
        _core.load_runtime(library)
        print("loaded")
    except ModelError as error:
        print(error)
"""


def test_loading_a_runtime_twice_does_nothing_more(runtime, tmp_path):
    (tmp_path / "link.so").symlink_to(runtime)
    assert in_new_process(LOAD, runtime, runtime, tmp_path / "link.so") == "loaded\n" * 3


def test_only_one_runtime_in_a_process(runtime, tmp_path):
    shutil.copy(runtime, tmp_path / "other.so")
    loaded, refused = in_new_process(LOAD, runtime, tmp_path / "other.so").splitlines()
    assert loaded == "loaded"
    assert refused.endswith(f"other.so: this process already runs {runtime.resolve()}; start another process")


def test_other_libraries_are_no_runtimes(runtime, tmp_path):
    (tmp_path / "text.so").write_text("no library")
    libraries = [tmp_path / "missing.so", tmp_path / "text.so", tmp_path, _core.__file__, runtime]
    *errors, loaded = in_new_process(LOAD, *libraries).splitlines()
    assert loaded == "loaded"
    for error, reason in zip(
        errors, ["No such file", "cannot be loaded", "is not a file", "is a library, but not ONNX Runtime"], strict=True
    ):
        assert reason in error
        assert error.endswith("install a current one with: pip install --upgrade onnxruntime")


def test_an_encoder_needs_a_runtime(toy_model):
    with pytest.raises(ModelError, match=r"missing\.so: No such file"):
        _core.Encoder(toy_model, runtime="/missing.so", threads=1)


def test_the_python_package_of_the_runtime_may_be_imported_too(toy_model, runtime):
    code = """
import onnxruntime
encoder = _core.Encoder(sys.argv[1], runtime=hub.runtime_library(), threads=1)
print(onnxruntime.InferenceSession(sys.argv[1] + "/image.onnx").get_outputs()[0].name, encoder.encode_texts("a").shape)
"""
    assert in_new_process(code, toy_model) == "image_embeds (1, 6)\n"


def test_vectors_without_a_catalog(toy_model, tmp_path):
    encoder = plushie_search.open_encoder(toy_model, threads=1)
    assert isinstance(encoder, plushie_search.Encoder)
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    with plushie_search.Engine(tmp_path / "catalog", model=toy_model) as engine:
        np.testing.assert_array_equal(encoder.encode_images([red]), engine.encode_images([red]))
        np.testing.assert_array_equal(encoder.encode_texts(["a bear"]), engine.encode_texts(["a bear"]))


@pytest.mark.parametrize("options", [{"threads": -1}, {"threads": 0}, {"max_batch": -1}, {"max_batch": 1025}])
def test_numbers_out_of_range(toy_model, options):
    with pytest.raises(ValueError, match=r"-?\d+.*: give 1 to 1024"):
        plushie_search.open_encoder(toy_model, **options)


def test_the_runtime_does_not_report_to_its_makers(toy_model, tmp_path):
    # It would not in continuous integration anyway, so nothing of the environment is left.
    environment = {"HOME": str(tmp_path), "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "import sys, plushie_search as ps; ps.open_encoder(sys.argv[1]).encode_texts('a bear')"
    subprocess.run([sys.executable, "-c", code, str(toy_model)], env=environment, check=True)
    # Where it reports, it keeps an identifier of the machine and what it has not sent yet.
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_reports_to_the_makers_can_be_allowed():
    code = "import os, plushie_search; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = [{**environment, "ORT_DISABLE_TELEMETRY": "0"}, environment]
    told[1].pop("ORT_DISABLE_TELEMETRY", None)
    ran = [subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True) for env in told]
    assert [done.stdout for done in ran] == [b"0\n", b"1\n"]
