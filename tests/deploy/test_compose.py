"""The compose files: their form, and that everything they name exists."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dockerfile
import pytest
import yaml

from plushie_search import server
from plushie_search.cli.main import _parser

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
FILES = sorted(DEPLOY.glob("compose*.yaml"))
#: The files that are used together.
TOGETHER = (
    ("compose.yaml",),
    ("compose.services.yaml",),
    ("compose.yaml", "compose.gpu.yaml"),
    ("compose.yaml", "compose.monitoring.yaml"),
    ("compose.services.yaml", "compose.monitoring.yaml"),
)


def read(*names: str) -> dict[str, Any]:
    """Returns files as one: keys of later ones are added, and those that are there are replaced."""

    def merged(low: Any, high: Any) -> Any:
        if isinstance(low, dict) and isinstance(high, dict):
            return {key: merged(low.get(key), high.get(key, low.get(key))) for key in low | high}
        return low if high is None else high

    whole: dict[str, Any] = {}
    for name in names:
        whole = merged(whole, yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8")))
    return whole


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_valid(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_file_is_used() -> None:
    assert {name for names in TOGETHER for name in names} == {path.name for path in FILES}


@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
def test_what_is_named_exists(names: tuple[str, ...]) -> None:
    whole = read(*names)
    services = whole["services"]
    ports = []
    for service in services.values():
        assert set(service["networks"]) <= set(whole["networks"])
        assert set(service.get("depends_on", [])) <= set(services)
        for volume in service.get("volumes", []):
            source, target, *_ = volume.split(":")
            assert target.startswith("/")
            if source == "./secrets":  # the operator's
                continue
            found = (DEPLOY / source).exists() if source.startswith("./") else source in whole["volumes"]
            assert found, volume
        if build := service.get("build"):
            assert (DEPLOY / build["context"]).resolve() == DEPLOY.parent
            _, stages = dockerfile.read(DEPLOY / build["context"] / build["dockerfile"])
            assert build["target"] in [stage.name for stage in stages]
        else:
            assert re.fullmatch(r"\S+:[\w.-]*\d[\w.-]*", service["image"]), "a version"
        ports += [port.rpartition(":")[0].rpartition(":")[2] for port in service.get("ports", [])]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("names", TOGETHER, ids="+".join)
def test_services_have_no_rights(names: tuple[str, ...]) -> None:
    for name, service in read(*names)["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "grafana", name
        assert "privileged" not in service


def test_only_the_gateway_is_reached_from_outside() -> None:
    whole = read("compose.services.yaml", "compose.monitoring.yaml")
    assert whole["networks"]["back"] == {"internal": True}
    for name, service in whole["services"].items():
        outside = [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        assert bool(outside) is (name == "gateway")
        if name in ("search", "encoder", "page"):
            assert service["networks"] == ["back"]


@pytest.mark.parametrize("names", TOGETHER[:2], ids="+".join)
def test_commands_and_configurations_are_understood(names: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    _, stages = dockerfile.read(DEPLOY / "Dockerfile")
    command = next(step.value for stage in stages for step in stage.steps if step.name == "CMD")
    for name, service in read(*names)["services"].items():
        if name not in ("search", "encoder"):
            continue
        options = _parser().parse_args(service.get("command", command))
        assert options.host == "0.0.0.0"
        assert bool(options.create_keys) is (name == "search")
        assert bool(options.insecure) is bool(options.encoder_only) is (name == "encoder")
        with monkeypatch.context() as patched:
            for key, value in service.get("environment", {}).items():
                assert key.startswith("PLUSHIE_")
                patched.setenv(key, value)
            settings = server.load()
        if "compose.services.yaml" in names:
            assert settings.server.proxies == "*"
        if settings.clip is not None:
            encoder = read(*names)["services"]["encoder"]
            assert settings.clip.service is not None
            assert settings.clip.service.startswith(f"http://{encoder['hostname']}:8082/v1/embeddings?")
            assert settings.clip.model_name in encoder["command"]
