"""A catalog knows the models that it was filled with, and opens with them by default."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import plushie_search as ps
from plushie_search.cli.main import main

PICTURE = np.full((8, 8, 3), 200, np.uint8)


@pytest.fixture
def catalog(toy_model: Path, tmp_path: Path) -> Path:
    """A catalog that was filled with a copy of the toy model."""
    shutil.copytree(toy_model, tmp_path / "models" / "toy")
    with ps.Engine(tmp_path / "catalog", model=tmp_path / "models" / "toy") as engine:
        engine.add("bear", images=PICTURE, label="toy")
    return tmp_path / "catalog"


def test_it_opens_with_its_model(catalog: Path) -> None:
    with ps.Engine(catalog) as engine:
        assert engine.models == ("toy",)
        assert engine.search_image(PICTURE)[0].score == pytest.approx(1, abs=1e-5)
    with ps.Engine(catalog, read_only=True) as engine:
        assert engine.search_image(PICTURE)[0].item == "bear"


def test_a_new_one_opens_with_the_built_in_model(tmp_path: Path) -> None:
    for _ in range(2):
        with ps.Engine(tmp_path / "new") as engine:
            assert engine.models == ("plushie-mini",)


def test_it_opens_with_several_by_their_names(toy_model: Path, tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", model={"one": toy_model, "two": ps.open_encoder("plushie-mini")}) as engine:
        engine.add("bear", images=PICTURE)
    with ps.Engine(tmp_path / "c") as engine:
        assert engine.models == ("one", "two")
        assert engine.search_image(PICTURE, models="two", k=1)[0].item == "bear"


def test_a_model_that_is_gone_is_told(catalog: Path, tmp_path: Path) -> None:
    (tmp_path / "models").rename(tmp_path / "moved")
    with pytest.raises(ps.ModelError, match=r"filled with model 'toy' from .*models/toy, which is not there any more"):
        ps.Engine(catalog)
    with ps.Engine(catalog, model=tmp_path / "moved" / "toy") as engine:
        assert engine.search_image(PICTURE)[0].item == "bear"
    with ps.Engine(catalog) as engine:
        assert engine.search_image(PICTURE)[0].item == "bear", "its new place is known from then on"


def test_an_encoder_of_ones_own_has_to_be_given(tmp_path: Path) -> None:
    class Mean:
        name, dim, fingerprint = "mean", 3, "1"

        def encode_images(self, images: list[np.ndarray]) -> np.ndarray:
            return np.stack([1 + image.mean((0, 1)) for image in images])

    with ps.Engine(tmp_path / "c", model=Mean()) as engine:
        engine.add("bear", images=PICTURE)
    with pytest.raises(ps.ModelError, match="filled with model 'mean', and it is not known where that lies"):
        ps.Engine(tmp_path / "c")


def test_vectors_alone_need_no_dimension_again(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c", dim=3) as engine:
        engine.add_vectors(["a"], [[0, 3, 4]])
    with ps.Engine(tmp_path / "c") as engine:
        assert engine.search_vector([0, 3, 4])[0].score == pytest.approx(1)


def test_without_models_items_are_looked_at_and_removed(catalog: Path, tmp_path: Path) -> None:
    vector = ps.Engine(catalog).vectors("bear")[0]
    shutil.rmtree(tmp_path / "models")
    with ps.Engine(catalog, model=[]) as engine:
        assert (len(engine), engine.get("bear").label, engine.count({"label": "toy"})) == (1, "toy", 1)
        stats = engine.stats()
        assert (stats["items"], stats["model"], stats["dimension"]) == (1, "toy", len(vector))
        assert engine.search_vector(vector)[0].item == "bear"
        assert engine.search(ps.Query(item="bear")) == ps.Results([])
        with pytest.raises(ps.ModelError, match="open it with a model"):
            engine.search_image(PICTURE)
        assert [hit.item for hit in engine.search_text("bear")] == ["bear"]  # by the item's own words
        with pytest.raises(ps.ModelError):
            engine.search_text("bear", words=False)
        engine.remove("bear")
        assert len(engine) == 0
    with ps.Engine(catalog, model=[]) as engine:
        assert (len(engine), engine.models, engine.stats()["model"]) == (0, (), None)
        with pytest.raises(ps.ArgumentError, match="opened without a model"):
            engine.search_image(PICTURE)


def test_commands_that_compute_nothing_open_none(
    catalog: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(catalog), "--text", "bear", "-k", "1"]) == 0
    assert "bear" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "models")
    for command in (
        ["stats", str(catalog), "--json"],
        ["show", str(catalog), "--json"],
        ["show", str(catalog), "bear"],
    ):
        assert main(command) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[0])["model"] == "toy"
    assert main(["remove", str(catalog), "bear"]) == 0
    assert main(["search", str(catalog), "--text", "bear"]) == 0  # a catalog without references is like a new one


def test_catalogs_of_before_open_by_the_names_of_models(tmp_path: Path) -> None:
    with ps.Engine(tmp_path / "c") as engine:
        engine.add("bear", images=PICTURE)
    with sqlite3.connect(tmp_path / "c" / "catalog.sqlite") as other:
        other.execute("DELETE FROM settings")
    other.close()
    with ps.Engine(tmp_path / "c") as engine:
        assert engine.search_image(PICTURE)[0].item == "bear"
