"""The short form: `ImageSearchEngine`, `print_results` and `python -m plushie_search.image_search`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import plushie_search as ps


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("milvus_lite")
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, color in (("red.png", (210, 20, 20)), ("more/blue.png", (20, 20, 210)), ("green.png", (20, 200, 20))):
        Image.new("RGB", (40, 30), color).save(folder / name)
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    monkeypatch.chdir(tmp_path)
    return folder


def test_it_stores_and_finds_pictures(photos: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from plushie_search import ImageSearchEngine, print_results

    with ImageSearchEngine(mode="local", model_name=str(toy_model), collection_name="toys") as engine:
        report = engine.index_directory(photos, descriptions={"red.png": "a red one"})
        assert (report.items, report.references, [Path(name).name for name, _ in report.failed]) == (3, 3, ["bad.jpg"])
        stats = engine.get_stats()
        assert (stats["mode"], stats["total_images"], stats["model"]) == ("local", 3, "toy")
        found = engine.search("teddy", top_k=2)
        encoder = ps.open_encoder(toy_model)
        paths = [str(path) for path in (photos / "red.png", photos / "more" / "blue.png", photos / "green.png")]
        cosines = encoder.encode_images(paths) @ encoder.encode_texts("teddy")[0]
        order = np.argsort(-cosines)[:2]
        assert [hit.item for hit in found] == [paths[place] for place in order]
        assert [hit.score for hit in found] == pytest.approx(cosines[order].tolist(), abs=1e-5)
        assert next(hit for hit in engine.search("bear", top_k=3) if hit.item == paths[0]).text == "a red one"
        both = engine.search_batch(["teddy", "rabbit"], top_k=1)
        print_results(both)
        out = capsys.readouterr().out
        assert "'teddy'" in out
        assert "'rabbit'" in out
        assert engine.index_images([paths[0]], descriptions=["again"]).duplicates == 1
        with pytest.raises(ps.ArgumentError, match="1 images but 2 descriptions"):
            engine.index_images([paths[0]], descriptions=["a", "b"])
    with pytest.raises(ps.ArgumentError, match="service"):
        ImageSearchEngine(mode="remote")  # type: ignore[arg-type]


def test_its_command_line(photos: Path, toy_model: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "plushie_search.image_search", "--model-name", str(toy_model), *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    done = run("--mode", "index", "--encode-mode", "local", "--image-dir", str(photos))
    assert (done.returncode, "3 new items" in done.stdout, "bad.jpg" in done.stderr) == (1, True, True), done.stderr
    done = run("--mode", "search", "--query", "teddy", "--top-k", "2")
    assert (done.returncode, "2 hits for 'teddy'" in done.stdout) == (0, True), done.stderr
    done = run("--mode", "search")
    assert (done.returncode, "needs --query" in done.stderr) == (2, True)
    done = run("--mode", "search", "--query", "x", "--encode-mode", "service", "--clip-server", "grpc://127.0.0.1:1")
    assert done.returncode == 2
    assert "127.0.0.1" in done.stderr
