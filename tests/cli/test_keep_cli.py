"""The commands that look after a catalog: count, show, update, remove, thumbnail, backup, verify, compact."""

import json
import sqlite3
from pathlib import Path

import pytest
from PIL import Image

import plushie_search as ps
from plushie_search.cli import main


def shown(catalog: list[str], capsys: pytest.CaptureFixture[str], *ids: str) -> list[dict]:
    capsys.readouterr()
    assert main(["show", *catalog, *ids, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_count(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", *catalog]) == 0
    assert main(["count", *catalog, "--where", "id=red", "--json"]) == 0
    assert capsys.readouterr().out == '4\n{"items": 1}\n'


def test_show_takes_several_ids(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert [item["id"] for item in shown(catalog, capsys, "yellow", "blue")] == ["yellow", "blue"]
    assert main(["show", *catalog, "yellow", "blue"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line[:1].strip()] == ["yellow", "blue"]
    assert main(["show", *catalog, "yellow", "pink", "gray"]) == 2
    assert capsys.readouterr().err == 'plushie-search: no item "pink" in this catalog\n'


def test_update_changes_the_given_fields(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--label", "bear", "--text", "a red bear", "--metadata", '{"price": 3, "tags": ["x"]}']
    assert main(["update", *catalog, "red", *given]) == 0
    assert capsys.readouterr().out == "label, text, metadata of red changed\n"
    [item] = shown(catalog, capsys, "red")
    assert (item["label"], item["text"], item["metadata"]) == ("bear", "a red bear", {"price": 3, "tags": ["x"]})
    assert main(["update", *catalog, "red", "--clear", "text", "--clear", "metadata", "--label", "fox", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["label"], printed["text"], printed["metadata"]) == ("fox", None, {})
    assert shown(catalog, capsys, "red") == [printed]
    assert main(["update", *catalog, "red", "--text", ""]) == 0
    assert shown(catalog, capsys, "red")[0]["label"] == "fox"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("update CATALOG red", "give --label, --text, --metadata or --clear"),
        ("update CATALOG red --label x --clear label", "--label and --clear label contradict each other"),
        ("update CATALOG pink --label x", "pink"),
        ("remove CATALOG", "remove needs an ID or --where"),
        ("remove CATALOG red --where label=x", "remove needs an ID or --where, and not both"),
        ("remove CATALOG red blue --reference 1.png", "--reference removes a picture of one item"),
        ("remove CATALOG --reference 1.png", "--reference removes a picture of one item"),
        ("remove CATALOG red --reference 3.png", "3.png"),
        ("remove CATALOG --where {}", "fits every item"),
        ("thumbnail CATALOG pink --out x.jpg", "pink"),
        ("thumbnail CATALOG red --reference 3.png --out x.jpg", "3.png"),
        ("backup CATALOG CATALOG", "toys.catalog"),
        ("search CATALOG --item red --text x", "--item is a search of its own"),
        ("search CATALOG --item pink", "pink"),
    ],
)
def test_an_error_changes_nothing(
    arguments: str, message: str, catalog: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown(catalog, capsys)
    words = [catalog[0] if word == "CATALOG" else word for word in arguments.split()]
    assert main([*words, *catalog[1:]]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("plushie-search: ")
    assert message in line
    assert shown(catalog, capsys) == before


def test_remove_by_a_filter(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["update", *catalog, "red", "--label", "bear"]) == 0
    assert main(["remove", *catalog, "--where", "label=bear"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 item removed"
    assert main(["remove", *catalog, "--where", '{"id": {"$in": ["blue", "green"]}}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": 2}
    assert [item["id"] for item in shown(catalog, capsys)] == ["yellow"]


def test_remove_a_picture_of_an_item(
    catalog: list[str], photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(photos)
    assert main(["remove", *catalog, "red", "--reference", "red/1.png"]) == 0
    assert capsys.readouterr().out == "1 reference of red removed, 1 left\n"
    [item] = shown(catalog, capsys, "red")
    assert [reference["name"] for reference in item["references"]] == [str(photos / "red" / "2.png")]
    digest = item["references"][0]["digest"]
    assert main(["remove", *catalog, "red", "--reference", digest, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": digest, "item": "red", "left": 0}
    assert [item["id"] for item in shown(catalog, capsys)] == ["blue", "green", "yellow"]
    assert main(["remove", *catalog, "blue", "--reference", "blue/1.png"]) == 0
    assert main(["remove", *catalog, "blue", "--reference", "blue/2.png"]) == 0
    assert capsys.readouterr().out.endswith(
        "1 reference of blue removed, the item is removed, for it was the last one\n"
    )


def test_thumbnails_are_written(
    catalog: list[str], photos: Path, tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, second = tmp_path / "red.jpg", str(photos / "red" / "2.png")
    assert main(["thumbnail", *catalog, "red", "--reference", second, "--out", str(out)]) == 0
    relative = tmp_path / "relative.jpg"
    monkeypatch.chdir(photos / "red")
    assert main(["thumbnail", *catalog, "red", "--reference", "2.png", "--out", str(relative)]) == 0
    assert relative.read_bytes() == out.read_bytes()
    with ps.Engine(catalog[0], model=toy_model) as engine:
        assert out.read_bytes() == engine.thumbnail("red", second)
        assert out.read_bytes() != engine.thumbnail("red")
        engine.add_vectors(["bare"], engine.vectors("red")[:1])
    with Image.open(out) as picture:
        assert (picture.format, picture.size) == ("JPEG", (40, 32))
    assert main(["thumbnail", *catalog, "red", "--out", str(out)]) == 0
    with Image.open(out) as picture:
        assert picture.size == (40, 31)
    assert main(["thumbnail", *catalog, "bare", "--out", str(tmp_path / "bare.jpg")]) == 2
    assert not (tmp_path / "bare.jpg").exists()


def test_backup_is_a_catalog_of_its_own(catalog: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = str(tmp_path / "copy.catalog")
    before = shown(catalog, capsys)
    assert main(["backup", *catalog, copy]) == 0
    assert capsys.readouterr().out == f"4 items copied to {copy}\n"
    assert main(["remove", *catalog, "red"]) == 0
    assert shown([copy, *catalog[1:]], capsys) == before


def test_verify_lists_damage(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *catalog]) == 0
    assert main(["verify", *catalog, "--json"]) == 0
    assert capsys.readouterr().out == "the catalog is sound\n[]\n"
    with sqlite3.connect(f"{catalog[0]}/catalog.sqlite") as store:
        store.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE rowid = 1")
    store.close()
    assert main(["verify", *catalog, "--json"]) == 1
    [problem] = json.loads(capsys.readouterr().out)
    assert problem["item"] == "blue"
    assert problem["reference"].endswith("blue/1.png")
    assert main(["verify", *catalog]) == 1
    assert capsys.readouterr().out == f"blue: {problem['reference']}: {problem['problem']}\n1 problem\n"


def test_compact_gives_space_back(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for color in ("red", "green", "blue"):
        main(["update", *catalog, color, "--text", "x" * 50_000])
    main(["remove", *catalog, "red", "green", "blue"])
    capsys.readouterr()
    assert main(["compact", *catalog, "--json"]) == 0
    sizes = json.loads(capsys.readouterr().out)
    assert sizes["bytes"] < sizes["bytes_before"]
    assert main(["compact", *catalog]) == 0
    assert capsys.readouterr().out == f"{sizes['bytes']:,} bytes before, {sizes['bytes']:,} now\n"
    assert [item["id"] for item in shown(catalog, capsys)] == ["yellow"]


def test_search_like_an_item_and_by_other_rules(
    catalog: list[str], photos: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["add", *catalog, "--id", "red", str(photos / "yellow" / "1.png")])
    capsys.readouterr()
    with ps.Engine(catalog[0], model=toy_model) as engine:
        for given, expected in [
            (["--item", "red"], engine.search(ps.Query(item="red"))),
            (["--item", "red", "--aggregate", "mean"], engine.search(ps.Query(item="red"), aggregate="mean")),
            (["--text", "red", "--aggregate", "softmax"], engine.search_text("red", aggregate="softmax")),
            (["--text", "red", "--fusion", "rrf"], engine.search_text("red", fusion="rrf")),
        ]:
            assert main(["search", *catalog, *given, "--json"]) == 0
            assert json.loads(capsys.readouterr().out) == expected.to_dicts()
        assert "red" not in [hit.item for hit in engine.search(ps.Query(item="red"))]
        means = {hit.item: hit.score for hit in engine.search_text("red", aggregate="mean")}
        assert means["red"] != {hit.item: hit.score for hit in engine.search_text("red")}["red"]
    assert main(["search", *catalog, "--item", "red"]) == 0
    assert capsys.readouterr().out.startswith("3 hits for item 'red'\n")
    for name, given in (("--nprobe", "-1"), ("--ef-search", "-3")):
        with pytest.raises(SystemExit):
            main(["search", *catalog, "--item", "red", name, given])
        assert f"argument {name}: needs 1 or more, not {given}" in capsys.readouterr().err


def test_restore_and_salvage_are_commands(
    catalog: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup, saved = str(tmp_path / "backup"), str(tmp_path / "saved")
    before = shown(catalog, capsys)
    assert main(["backup", *catalog, backup]) == 0
    assert main(["remove", *catalog, "red"]) == 0
    capsys.readouterr()
    assert main(["restore", backup, catalog[0]]) == 2
    assert "holds a catalog already" in capsys.readouterr().err
    assert main(["restore", backup, catalog[0], "--overwrite"]) == 0
    out = capsys.readouterr().out
    assert out == f"4 items restored to {catalog[0]}\nthe catalog that was there is in {catalog[0]}.replaced\n"
    assert shown(catalog, capsys) == before
    assert main(["salvage", catalog[0], saved]) == 0
    assert capsys.readouterr().out == f"4 items with 8 references saved to {saved}\n"
    assert shown([saved, *catalog[1:]], capsys) == before
    with sqlite3.connect(f"{backup}/catalog.sqlite") as store:
        store.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE rowid = 1")
    store.close()
    assert main(["salvage", backup, str(tmp_path / "less"), "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert (printed["items"], printed["references"], len(printed["lost"])) == (4, 7, 1)


def test_verify_repairs_what_can_be(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(f"{catalog[0]}/catalog.sqlite") as store:
        store.execute("UPDATE vectors SET vector = zeroblob(length(vector)) WHERE rowid = 1")
    store.close()
    assert main(["verify", *catalog, "--repair"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("repaired: blue: ")
    assert lines[-1] == "the catalog is sound"
    assert main(["verify", *catalog, "--repair", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"problems": [], "remarks": [], "repaired": []}
