"""Prometheus, its alerts and the dashboard of Grafana, beside the metrics of a server."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from http_server import fastapi_client, listening, png
from prometheus_client.parser import text_string_to_metric_families

import plushie_search as ps
from plushie_search import server
from plushie_search.server.auth import hash_key
from plushie_search.server.routes import routes

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/dashboards/plushie-search.json").read_text(encoding="utf-8"))
ALERTS = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text(encoding="utf-8"))
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text(encoding="utf-8"))
#: Labels that Prometheus adds.
ADDED = {"service", "instance", "job"}


def panels() -> Iterator[tuple[str, str]]:
    """Yields the title and the expression of each query of the dashboard."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def rules() -> Iterator[tuple[str, str]]:
    """Yields the name and the expression of each alert."""
    for group in ALERTS["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


@pytest.fixture(scope="module")
def samples(toy_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, str]]]:
    """The labels of each sample that a server tells after a search, by the sample's name."""
    found: dict[str, list[dict[str, str]]] = {}
    with ps.Engine(tmp_path_factory.mktemp("metrics") / "catalog", model=toy_model) as engine:
        engine.add("bear", images=png((9, 9, 9)))
        with fastapi_client(engine) as client:
            for _ in range(2):
                assert client.post("/api/v1/search", json={"text": "teddy"}).status_code == 200
            text = client.get("/metrics").text
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


@pytest.mark.parametrize(("title", "expression"), [*panels(), *rules()])
def test_a_server_tells_what_is_asked(title: str, expression: str, samples: dict[str, list[dict[str, str]]]) -> None:
    names = set(re.findall(r"\bplushie_\w+", expression))
    assert names <= set(samples)
    assert names or "up{" in expression
    labels = {label for name in names for one in samples[name] for label in one} | ADDED
    for clause in re.findall(r"\b(?:by|without|on) \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", clause)) <= labels
    for name, matchers in re.findall(r"\b(plushie_\w+)\{([^}]*)\}", expression):
        wanted = re.findall(r'(\w+)(=~|!~|=)"([^"]*)"', matchers)
        assert {label for label, _, _ in wanted} <= labels
        # Some sample has the values that are asked for, other than those of failures.
        fixed = {label: value for label, how, value in wanted if how == "="}
        assert "status" in fixed or any(fixed.items() <= one.items() for one in samples[name]), (name, fixed)


def test_a_name_that_no_server_has_is_seen(samples: dict[str, list[dict[str, str]]]) -> None:
    with pytest.raises(AssertionError):
        test_a_server_tells_what_is_asked("", "rate(plushie_request_total[5m])", samples)
    with pytest.raises(AssertionError):
        test_a_server_tells_what_is_asked("", "sum by (path) (rate(plushie_requests_total[5m]))", samples)
    with pytest.raises(AssertionError):
        test_a_server_tells_what_is_asked("", 'plushie_stage_seconds_count{stage="decode"}', samples)


def test_routes_that_are_left_out_exist() -> None:
    text = " ".join(expression for _, expression in [*panels(), *rules()])
    existing = {route.name for _, route in routes()}
    for names in set(re.findall(r'route!~"GET /\(([^)]*)\)"', text)):
        assert {f"GET /{name}" for name in names.split("|")} <= existing


def test_panels_lie_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_files_name_each_other() -> None:
    services = yaml.safe_load((DEPLOY / "compose.services.yaml").read_text(encoding="utf-8"))["services"]
    monitoring = yaml.safe_load((DEPLOY / "compose.monitoring.yaml").read_text(encoding="utf-8"))["services"]
    (job,) = PROMETHEUS["scrape_configs"]
    assert set(job["dns_sd_configs"][0]["names"]) <= set(services)
    volumes = dict(volume.split(":")[:2] for one in monitoring.values() for volume in one["volumes"])
    assert job["authorization"]["credentials_file"].startswith(volumes["./secrets"])
    assert all((DEPLOY / "prometheus" / name).exists() for name in PROMETHEUS["rule_files"])
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"].startswith("http://prometheus:")
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "plushie-search.yaml").read_text())["providers"]
    assert provider["options"]["path"] == volumes["./grafana/dashboards"]


def promtool(*arguments: str, cwd: Path) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("needs promtool, which Debian's package prometheus has")
    done = subprocess.run([tool, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_its_files_and_alerts_fire_when_they_should() -> None:
    promtool("check", "config", "--syntax-only", "prometheus.yml", cwd=DEPLOY / "prometheus")
    promtool("check", "rules", "alerts.yml", cwd=DEPLOY / "prometheus")
    promtool("test", "rules", "alerts_test.yml", cwd=DEPLOY / "prometheus")
    tested = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text(encoding="utf-8"))["tests"]
    fired = {one["alertname"] for test in tested for one in test["alert_rule_test"] if one["exp_alerts"]}
    assert fired == {name for name, _ in rules()}


def test_prometheus_understands_the_dashboard(tmp_path: Path) -> None:
    def plain(expression: str) -> str:
        return expression.replace("$__rate_interval", "5m").replace("$service", ".*").replace("$instance", ".*")

    recorded: list[dict[str, Any]] = [
        {"record": f"panel:{number}", "expr": plain(expression)} for number, (_, expression) in enumerate(panels())
    ]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    promtool("check", "rules", "rules.yml", cwd=tmp_path)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def test_each_panel_shows_something(toy_model: Path, tmp_path: Path) -> None:
    if shutil.which("prometheus") is None:
        pytest.skip("needs prometheus")
    key = "plushie_test"
    settings = server.load(auth={"read_keys": [hash_key(key)]})
    (tmp_path / "metrics.key").write_text(key)
    (tmp_path / "alerts.yml").write_text((DEPLOY / "prometheus/alerts.yml").read_text())
    with ps.Engine(tmp_path / "catalog", model=toy_model) as engine:
        engine.add("bear", images=png((9, 9, 9)))
        with listening(server.create_app(engine, settings=settings)) as url:
            config = yaml.safe_load(json.dumps(PROMETHEUS))
            (job,) = config["scrape_configs"]
            del job["dns_sd_configs"], job["relabel_configs"]
            job["static_configs"] = [{"targets": [url.removeprefix("http://")], "labels": {"service": "search"}}]
            job["authorization"]["credentials_file"] = str(tmp_path / "metrics.key")
            config["global"]["scrape_interval"] = "500ms"
            (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
            port = free_port()
            command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
            command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            try:
                missing = dict(panels())
                end = time.monotonic() + 30
                while missing:
                    assert time.monotonic() < end, missing
                    search = {"text": f"teddy {len(missing)}"}
                    httpx.post(f"{url}/api/v1/search", json=search, headers={"X-API-Key": key}).raise_for_status()
                    time.sleep(0.5)
                    missing = {title: one for title, one in missing.items() if not shown(port, one)}
                assert shown(port, 'up{job="plushie"}') == ["1"]
            finally:
                process.terminate()
                process.wait(20)


def shown(port: int, expression: str) -> list[str]:
    """Returns the values of an expression, without those that are no numbers."""
    query = expression.replace("$__rate_interval", "5s").replace("$service", ".*").replace("$instance", ".*")
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}).json()
    except httpx.TransportError:
        return []
    if answer.get("status") != "success":
        return []
    values = [one["value"][1] for one in answer["data"]["result"]]
    return [value for value in values if value != "NaN"]
