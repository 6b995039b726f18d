"""The command identify: what it prints, and its exit status."""

import json
import shutil
from pathlib import Path

import pytest
from http_server import framed

import plushie_search
from plushie_search.cli import main
from plushie_search.query import Query


def test_each_photo_has_a_sentence(
    catalog: list[str], photos: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(photos / color / "1.png") for color in ("red", "blue")]
    assert main(["identify", *catalog, *named]) == 0
    lines = capsys.readouterr().out.splitlines()
    with plushie_search.Engine(catalog[0], model=toy_model) as engine:
        assert lines == [f"{photo}: {engine.identify(photo)}" for photo in named]
    assert "It is " in lines[0]


def test_as_json_it_equals_the_api(
    catalog: list[str], photos: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(photos / "red" / "1.png"), str(photos / "red" / "2.png")]
    how = ["--target-fpr", "0.2", "--prior", "0.9", "-k", "2", "--where", "id!=blue", "--json"]
    options = {"target_fpr": 0.2, "prior": 0.9, "k": 2, "where": {"id": {"$ne": "blue"}}}
    with plushie_search.Engine(catalog[0], model=toy_model) as engine:
        each = [{"photos": [photo], **engine.identify(photo, **options).to_dict()} for photo in named]
        together = {"photos": named, **engine.identify(Query(image=named), **options).to_dict()}
    assert main(["identify", *catalog, *named, *how]) == 0
    assert json.loads(capsys.readouterr().out) == each
    assert main(["identify", *catalog, *named, "--together", *how]) == 0
    assert json.loads(capsys.readouterr().out) == [together]


def test_the_middles_of_photos_count_if_they_are_asked_for(
    catalog: list[str], tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "framed.png"
    photo.write_bytes(framed((201, 31, 29), (20, 20, 240)))
    for command in ("identify", "search"):
        scores = []
        for crops in (True, False):
            with plushie_search.Engine(catalog[0], model=toy_model) as engine:
                ask = engine.identify if command == "identify" else engine.search_image
                found = ask(photo, query_crops=crops)
                scores.append([hit.score for hit in getattr(found, "hits", found)])
            assert main([command, *catalog, str(photo), "--json", *(["--query-crops"] if crops else [])]) == 0
            told = json.loads(capsys.readouterr().out)
            hits = told[0]["hits"] if command == "identify" else told
            assert [hit["score"] for hit in hits] == pytest.approx(scores[-1], abs=1e-6)
        assert scores[0] != pytest.approx(scores[1], abs=1e-3)


def test_a_photo_that_cannot_be_read_is_told_and_the_others_are_identified(
    catalog: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert main(["identify", *catalog, str(tmp_path / "bad.png"), str(photos / "red" / "1.png")]) == 1
    out, err = capsys.readouterr()
    assert out.startswith(f"{photos / 'red' / '1.png'}: It is ")
    assert "bad.png" in err
    assert main(["identify", *catalog, str(tmp_path / "none.png")]) == 2
    assert "none.png" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1", "2", "x"])
def test_a_share_beyond_its_limits_is_refused(
    catalog: list[str], share: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["identify", *catalog, "a.png", "--target-fpr", share])
    assert "--target-fpr" in capsys.readouterr().err


def test_what_scores_mean_is_learned_and_stored(
    catalog: list[str], toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *catalog]) == 0
    line = capsys.readouterr().out
    assert line.startswith("pictures by toy: a match reaches ")
    assert main(["calibrate", *catalog, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    with plushie_search.Engine(catalog[0], model=toy_model) as engine:
        [row] = engine.stats()["calibration"]
    assert row.pop("adapted") is False
    assert told == {**row, "learned": None}
    assert f"{row['threshold']:.3f}" in line
    assert main(["calibrate", *catalog, "--weight", "1", "--weight", "2"]) == 2
    assert "--weight stands once for each --model" in capsys.readouterr().err


def test_labeled_photos_are_taken_from_folders(
    catalog: list[str], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = {folder.name: len(list(folder.iterdir())) for folder in photos.iterdir()}
    others = tmp_path / "others"
    shutil.copytree(photos / sorted(items)[0], others / "strangers")
    assert main(["calibrate", *catalog, str(photos), "--unknown", str(others), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["queries"] == sum(items.values()) + items[sorted(items)[0]]
    assert main(["calibrate", *catalog, str(others)]) == 2
    assert "'strangers' is not in the catalog" in capsys.readouterr().err


def test_an_option_has_no_abbreviations(catalog: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["search", *catalog, "--image", str(photos / "red" / "1.png")])
    assert "unrecognized arguments: --image" in capsys.readouterr().err
