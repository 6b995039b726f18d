"""The options of the commands that open models: what they become, and that they reach every model."""

import argparse
import json
import re
import shutil
from pathlib import Path

import pytest
import toy
from fake_service import FakeService
from PIL import Image

import plushie_search as ps
from plushie_search import cli, demo, hub, plushbench
from plushie_search.cli import options
from plushie_search.cli.main import _parser

COLORS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "yellow": (220, 210, 20)}

#: The commands that open a model, with how many models they take.
OPENING = {
    "add": 2,
    "search": 2,
    "evaluate": 2,
    "reencode": 2,
    "plushbench": 2,
    "demo": 1,
    "models check": 1,
}


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    options.add_options(parser, several=True)
    return parser.parse_args(arguments)


def services(models, *given):
    flags = (part for one in given for part in ("--service", one))
    return [told["service"] for told in options.for_models(parsed(*flags), models)]


# What they become


def test_flags_become_the_options_of_an_encoder():
    nothing = {"threads": None, "device": "cpu", "precision": None, "max_batch": None, "accept_license": False}
    assert options.for_models(parsed(), ["a", "b"]) == [{**nothing, "service": None}] * 2
    assert options.for_model(parsed(), "a") == {**nothing, "service": None}
    some = parsed("--threads", "3", "--device", "cuda:0,1", "--precision", "fp16", "--max-batch", "8")
    told = {"threads": 3, "device": "cuda:0,1", "precision": "fp16", "max_batch": 8}
    assert options.for_model(some, "a") == {**nothing, **told, "service": None}
    assert options.for_model(parsed("--accept-license", "--service", "oip://h/m"), "a") == {
        **nothing,
        "accept_license": True,
        "service": "oip://h/m",
    }


@pytest.mark.parametrize(
    ("models", "given", "expected"),
    [
        ("a", "oip://h/m", ["oip://h/m"]),
        ("a", "a=oip://h/m", ["oip://h/m"]),
        ("a", "image=oip://h/i text=oip+grpc://h/t", [{"image": "oip://h/i", "text": "oip+grpc://h/t"}]),
        ("a", "text=https://h/v1/embeddings?model=m", [{"text": "https://h/v1/embeddings?model=m"}]),
        ("a b", "b=oip://h/m", [None, "oip://h/m"]),
        ("a b", "b=oip://h/2 a=https://h/post", ["https://h/post", "oip://h/2"]),
        ("a b c", "b=text=oip://h/t a=image=oip://h/i", [{"image": "oip://h/i"}, {"text": "oip://h/t"}, None]),
        ("ViT-B-32::openai x/y=z x/y", "x/y=z=oip://h/1 ViT-B-32::openai=oip://h/2", ["oip://h/2", "oip://h/1", None]),
        ("image text", "image=oip://h/1 text=text=oip://h/2", ["oip://h/1", {"text": "oip://h/2"}]),
        ("a a", "a=oip://h/m", ["oip://h/m", "oip://h/m"]),
        ("a b", "", [None, None]),
    ],
)
def test_services_belong_to_models(models, given, expected):
    assert services(models.split(), *given.split()) == expected


@pytest.mark.parametrize(
    ("models", "given", "message"),
    [
        ("a b", "oip://h/m", "--service oip://h/m: which of the models is it for? Give MODEL=URL with one of a, b"),
        ("a b", "text=oip://h/m", "which of the models is it for?"),
        ("a b", "c=oip://h/m", "--service c=oip://h/m: there is no model 'c' here, only a, b"),
        ("a b", "c=image=oip://h/m", "there is no model 'c' here, only a, b"),
        ("a", "c=oip://h/m", "there is no model 'c' here, only a"),
        ("a", "a=h:80/m", "--service a=h:80/m: this is no address; give one like oip://host:port/name"),
        ("a", "", "this is no address"),
        ("a", "oip://h/1 oip://h/2", "--service oip://h/2: model a has a service already"),
        ("a", "image=oip://h/1 oip://h/2", "has a service already; give one address for both towers"),
        ("a", "oip://h/1 a=text=oip://h/2", "has a service already"),
        ("a", "image=oip://h/1 image=oip://h/2", "has a service already"),
    ],
)
def test_services_of_nothing(models, given, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        services(models.split(), *(given.split() or [""]))


def test_a_model_is_not_opened_twice():
    with pytest.raises(ValueError, match="model a is given twice; leave one out"):
        options.open_models(parsed(), ["a", "b", "a"])


@pytest.mark.parametrize(("command", "models"), OPENING.items())
def test_every_command_that_opens_a_model_has_them_all(command, models, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command.split(), "--help"])
    assert stopped.value.code == 0
    shown = " ".join(capsys.readouterr().out.split())
    for flag in ("--threads", "--device", "--precision", "--max-batch", "--service", "--accept-license"):
        assert shown.count(f"{flag} ") == 2 - (flag == "--accept-license" and f"[{flag}]" in shown), flag
    assert ("MODEL=URL" in shown) == (models > 1)


@pytest.mark.parametrize(
    "command",
    [
        *("show c", "count c", "update c bear", "remove c bear", "thumbnail c bear --out x.jpg", "stats c"),
        *("backup c d", "verify c", "compact c"),
    ],
)
def test_a_command_that_computes_nothing_takes_them_silently(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([*command.split(), "--help"])
    shown = capsys.readouterr().out
    assert "--model" in shown
    assert "--device" not in shown
    assert "how models compute" not in shown
    given = _parser().parse_args([*command.split(), "--device", "cuda", "--threads", "3", "--service", "oip://h/m"])
    assert (given.device, given.threads, given.service) == ("cuda", 3, ["oip://h/m"])


# They reach every model


@pytest.fixture
def twins(tmp_path, toy_model, monkeypatch):
    """In the current folder: the models near/ and far/, whose networks are on the service only."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(toy_model, "near")
    manifest = json.loads((toy_model / "model.json").read_text())
    toy.write("far", **{key: manifest[key] for key in ("image", "text")}, name="far")
    for name, color in COLORS.items():
        for number in range(2):
            path = Path("items", name, f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (24, 24), tuple(min(255, value + number) for value in color)).save(path)
        path = Path("queries", name, "1.png")
        path.parent.mkdir(parents=True)
        Image.new("RGB", (24, 24), tuple(min(255, value + 12) for value in color)).save(path)
    networks = {name: Path("far", f"{name}.onnx").read_bytes() for name in ("image", "text")}
    for name in networks:
        Path("far", f"{name}.onnx").unlink()
    with FakeService(networks).running() as running:
        yield running


def of_far(running):
    return [part for name in ("image", "text") for part in ("--service", f"far={name}={running.url(name)}")]


def test_a_catalog_of_two_models_one_of_which_runs_elsewhere(twins, capsys):
    models = ["--model", "near", "--model", "far", *of_far(twins)]
    assert cli.main(["add", "toys", "items", *models]) == 0
    asked = len(twins.asked)
    assert asked > 0
    capsys.readouterr()
    query = ["search", "toys", "queries/blue/1.png", "--json", "--weight", "0.5", "--weight", "0.5"]
    assert cli.main([*query, *models]) == 0
    hits = json.loads(capsys.readouterr().out)
    assert hits[0]["item"] == "blue"
    assert len(twins.asked) > asked
    models = ["near", ps.open_encoder("far", service=twins.urls())]
    with ps.Engine("toys", model=models, create=False) as engine:
        found = engine.search_image("queries/blue/1.png", models={"toy": 0.5, "far": 0.5}).to_dicts()
    assert found == hits
    # The networks of `far` are not here.
    assert cli.main(["search", "toys", "queries/blue/1.png", "--model", "near", "--model", "far"]) == 2
    assert "image.onnx is missing" in capsys.readouterr().err


def test_models_are_compared_wherever_they_run(twins, capsys):
    compare = ["--compare", "near", "far", *of_far(twins), "--max-batch", "3"]
    assert cli.main(["evaluate", "items", "queries", *compare, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    models = {
        "near": ps.open_encoder("near", max_batch=3),
        "far": ps.open_encoder("far", service=twins.urls(), max_batch=3),
    }
    found = ps.compare_models(models, "items", "queries")
    assert data["models"] == ["near", "far"]
    assert data["differences"] == found.to_dict()["differences"]
    # The same model is not better elsewhere.
    assert {tuple(interval) for interval in found.differences[0].values()} == {(0.0, 0.0, 0.0)}
    assert ps.compare_models(["near", models["near"]], "items", "queries").models == ("near", "toy")


def test_the_catalog_of_a_comparison_may_need_its_service_too(twins, capsys):
    assert cli.main(["add", "toys", "items", "--model", "far", *of_far(twins)]) == 0
    compare = ["--compare", "near", "far", *of_far(twins), "--device", "cpu", "--max-batch", "2"]
    capsys.readouterr()
    assert cli.main(["evaluate", "toys", "queries", "--model", "far", *compare]) == 0
    assert capsys.readouterr().out.startswith("4 queries for 4 items, 95 % intervals\n")
    assert cli.main(["evaluate", "toys", "queries", "--model", "far", *compare, "--service", "other=oip://h/m"]) == 2
    assert "there is no model 'other' here, only " in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::plushie_search.UnreadableTextWarning")  # The toy model knows few words.
def test_plushbench_measures_models_wherever_they_run(twins, tmp_path, capsys):
    asked = ["--items", "6", "--queries", "6", "--splits", "clean,text-one", "--texts", "4", "--references", "1"]
    command = ["plushbench", "--model", "near", "far", *of_far(twins), *asked, "--threads", "2", "--json"]
    assert cli.main([*command, "--work", "work", "--max-batch", "4"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["models"] == ["near", "far"]
    assert all(row["values"][0] == row["values"][1] for row in data["figures"])
    configuration = plushbench.Configuration(items=6, queries=6, splits=("clean", "text-one"), texts=4, references=1)
    models = {
        "near": ps.open_encoder("near", threads=2, max_batch=4),
        "far": ps.open_encoder("far", threads=2, max_batch=4, service=twins.urls()),
    }
    run = plushbench.run(models, configuration, threads=2)
    assert json.loads(json.dumps(run.to_dict())) == data
    # What is computed otherwise does not go on with what was computed so.
    folders = {path.name for path in Path("work").iterdir() if path.is_dir()}
    assert len(folders) == 2
    assert cli.main([*command, "--work", "work"]) == 0
    assert len({path.name for path in Path("work").iterdir() if path.is_dir()} - folders) == 2


def test_the_demo_runs_by_a_service(twins, capsys):
    address = [part.replace("far=", "") for part in of_far(twins)]
    assert cli.main(["demo", "show", "--plushes", "8", "--model", "far", *address, "--max-batch", "4"]) == 0
    assert "added 8 items with 16 references" in capsys.readouterr().out
    assert sum(twins.rows()) > 16
    far = ps.open_encoder("far", service=twins.urls())
    with ps.Engine("show/toys.catalog", model=far, create=False) as engine:
        assert len(engine) == 8
    with pytest.raises(ps.ModelError, match=r"image\.onnx is missing"):
        demo.run(Path("show"), model="far", plushes=8)


def test_a_device_that_is_not_there_is_said_by_every_command(toy_model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "items").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "items" / "a.png")
    model = str(toy_model)
    commands = {
        "add toys items": ["--model", model],
        "evaluate items --leave-one-out": ["--compare", model, "plushie-mini"],
        "plushbench": ["--model", model],
        "demo show": ["--model", model],
        "models check": [model],
    }
    for command, rest in commands.items():
        assert cli.main([*command.split(), *rest, "--device", "gpu"]) == 2
        assert 'unknown device "gpu": give cpu, auto, cuda' in capsys.readouterr().err, command
        assert cli.main([*command.split(), *rest, "--precision", "bf16"]) == 2
        assert "precision bf16 is not for device cpu" in capsys.readouterr().err, command
    assert hub.open_encoder(toy_model).device == "cpu"
