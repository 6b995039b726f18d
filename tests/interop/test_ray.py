"""Encoding with Ray, on a cluster of two nodes of this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps
from plushie_search.interop.ray import encode, on_ray
from plushie_search.interop.shards import encode_folder, here

ray = pytest.importorskip("ray")
pytest.importorskip("pyarrow")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    yield
    ray.shutdown()
    cluster.shutdown()


def test_a_cluster_that_is_not_there_leaves_nothing_behind() -> None:
    """It comes first: once there is a cluster, none is looked for."""
    with pytest.raises(ConnectionError, match=r"no cluster of Ray answers at nowhere://host: .*correct the address"):
        on_ray("plushie-mini", workers=1, how={}, address="nowhere://host")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray") / "photos"
    random = np.random.default_rng(0)
    for number in range(60):
        (folder / f"item {number}").mkdir(parents=True)
        pixels = random.integers(0, 256, size=(12, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"item {number}" / "a.png")
    (folder / "item 5" / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


def vectors_of(out: Path) -> dict[str, Any]:
    import pyarrow.parquet

    rows = [row for path in out.glob("*.parquet") for row in pyarrow.parquet.read_table(path).to_pylist()]
    assert len({row["reference"] for row in rows}) == len(rows)
    return {row["reference"]: row["vector"] for row in rows}


def workers() -> list[int]:
    """The processes in which actors encode, by the names that Ray gives them."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if file.read_bytes().startswith(b"ray::Worker"):
                found.append(int(file.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_worker_that_is_killed_loses_and_doubles_nothing(
    cluster: None, photos: Path, toy_model: Path, tmp_path: Path
) -> None:
    encoder = ps.open_encoder(toy_model)
    told = (encoder.name, encoder.fingerprint, encoder.dim)
    wanted = tmp_path / "here"
    encode_folder(photos, wanted, model=told, run=here(encoder), shard=5)
    killed: list[int] = []

    def kill() -> None:
        """Kills a process that encodes, once one does."""
        while not killed:
            for pid in workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            time.sleep(0.05)

    thread = threading.Thread(target=kill)
    thread.start()
    out = tmp_path / "out"
    run = on_ray(str(toy_model), workers=2, how={"device": "cpu"})
    report = encode_folder(photos, out, model=told, run=run, shard=5)
    thread.join()
    assert len(killed) == 1
    assert (report.pictures, report.shards, [Path(path).name for path, _ in report.failed]) == (60, 13, ["bad.jpg"])
    assert vectors_of(out) == vectors_of(wanted)
    again = encode_folder(photos, out, model=told, run=run, shard=5)
    assert (again.pictures, again.shards, again.kept) == (60, 0, 13)


def test_a_dataset_of_ray_gets_vectors(cluster: None, photos: Path, toy_model: Path) -> None:
    paths = sorted(photos.rglob("*.png"))[:6]
    items = [{"name": str(path), "picture": path.read_bytes()} for path in paths]
    items.append({"name": "bad", "picture": b"no picture"})
    done = encode(ray.data.from_items(items), model=str(toy_model), column="picture", batch=3)
    rows = {row["name"]: row for row in done.take_all()}
    encoder = ps.open_encoder(toy_model)
    for path in paths:
        assert np.array_equal(rows[str(path)]["vector"], encoder.encode_images([path])[0])
        assert rows[str(path)]["error"] == ""
    assert (rows["bad"]["error"] != "", rows["bad"]["vector"].any()) == (True, False)
