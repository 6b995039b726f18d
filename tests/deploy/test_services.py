"""The search service and the encoder of compose.services.yaml, each in a container, as that file starts them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from containers import Container, Image, wait
from http_server import png

DEPLOY = Path(__file__).parent.parent.parent / "deploy"

ASK = """
import httpx, json, sys
key, picture = sys.argv[1:]
headers = {"X-API-Key": key, "X-Forwarded-For": "192.0.2.7"}
client = httpx.Client(base_url="http://127.0.0.1:8082", headers=headers, timeout=30)
for n in range(3):
    added = client.post("/api/v1/items", data={"id": f"item-{n}"}, files={"image": open(f"/data/{n}.png", "rb")})
    assert added.status_code == 201, added.text
picture = {"content": open(picture, "rb").read(), "headers": {"Content-Type": "image/png"}}
found = [client.post("/api/v1/search?k=1", **picture), client.post("/api/v1/search", json={"text": "a red bear"})]
print(json.dumps([answer.json()["results"] for answer in found]))
"""


def started(
    image: Image, folder: Path, name: str, service: dict[str, Any], beside: Container | None = None
) -> Container:
    """Starts a service as its user."""
    user = int(service["user"].partition(":")[0])
    data = folder / f"{name}-data"
    data.mkdir()
    for n, color in enumerate(((200, 30, 30), (30, 200, 30), (30, 30, 200))):
        (data / f"{n}.png").write_bytes(png(color))
    data.chmod(0o777)
    return Container(
        image,
        folder / name,
        data,
        *service.get("command", []),
        user=user,
        env=service.get("environment"),
        host=service.get("hostname", name),
        beside=beside,
    )


def test_the_search_service_encodes_by_the_encoder(image: Image, tmp_path: Path) -> None:
    services = yaml.safe_load((DEPLOY / "compose.services.yaml").read_text(encoding="utf-8"))["services"]
    with started(image, tmp_path, "encoder", services["encoder"]) as encoder:
        wait(encoder, encoder.is_healthy)
        with started(image, tmp_path, "search", services["search"], beside=encoder) as search:
            wait(search, search.is_healthy)
            _, write = re.findall(r"plushie_[\w-]{32}", search.log())
            done = search.run("/opt/plushie/bin/python", "-c", ASK, write, "/data/1.png")
            assert done.returncode == 0, done.stderr + search.log()
            pictures, texts = json.loads(done.stdout)
            assert pictures[0]["item"] == "item-1"
            assert pictures[0]["score"] > 0.999
            assert len(texts) == 3
            # The gateway is believed about the address of a client.
            wait(search, lambda: '"client": "192.0.2.7"' in search.log(), 10)
        asked = [line for line in encoder.log().splitlines() if '"path": "/v1/embeddings", "status": 200' in line]
        assert len(asked) >= 5
        assert all('"client": "10.9.0.2"' in line for line in asked)
        assert "plushie_" not in encoder.log().replace("plushie_search", "")
