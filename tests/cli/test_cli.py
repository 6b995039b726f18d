"""The command line, from the terminal's point of view: what it prints, and its exit status."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import plushie_search
from plushie_search.cli import main
from plushie_search.cli.main import _parser
from plushie_search.show.progress import ProgressBar


def test_adding_again_adds_nothing(catalog: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", *catalog, str(photos), "--json"]) == 0
    report = {"items": 0, "references": 0, "duplicates": 8, "failed": [], "renamed": 0, "replaced": 0, "moved": 0}
    report |= {"removed": 0, "notes": []}
    assert json.loads(capsys.readouterr().out) == report


def test_search_by_picture(catalog: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = str(photos / "blue" / "1.png")
    assert main(["search", *catalog, image, "-k", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 hits for ")
    assert lines[1].split() == ["#", "item", "score", "label", "reference"]
    assert lines[2].split()[:3] == ["1", "blue", "1.000"]
    assert len(lines) == 4


def test_search_as_json_equals_the_api(
    catalog: list[str], photos: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(photos / "red" / "2.png")
    with plushie_search.Engine(catalog[0], model=toy_model) as engine:
        expected = {
            (image, None): engine.search_image(image, k=3),
            (None, "粉色 bear"): engine.search_text("粉色 bear", k=3),
            (image, "bear"): engine.search_hybrid(image, "bear", image_weight=0.3, k=3),
        }
    for (picture, text), hits in expected.items():
        query = [] if picture is None else [picture]
        query += [] if text is None else ["--text", text, "--image-weight", "0.3"]
        assert main(["search", *catalog, *query, "-k", "3", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == hits.to_dicts()


def test_filters(catalog: list[str], tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "prices.csv"
    table.write_text("id,image,label,text,price\nred,photos/red/1.png,bear,a red bear,5\nblue,photos/blue/1.png,,,30\n")
    assert main(["add", *catalog, str(table)]) == 0
    capsys.readouterr()
    image = str(photos / "red" / "1.png")
    for where, found in [
        ('{"label": "bear"}', ["red"]),
        ('{"price": {"$lt": 40}}', ["red", "blue"]),
        ('{"price": {"$gt": 10}}', ["blue"]),
    ]:
        assert main(["search", *catalog, image, "--where", where, "--json"]) == 0
        assert {hit["item"] for hit in json.loads(capsys.readouterr().out)} == set(found)
    assert main(["search", *catalog, image, "--min-score", "0.9999", "--json"]) == 0
    assert [hit["item"] for hit in json.loads(capsys.readouterr().out)] == ["red"]
    assert main(["show", *catalog, "red"]) == 0
    assert capsys.readouterr().out.startswith("red\n  label: bear\n  text: a red bear\n  price: 5\n  reference: ")


def test_show_lists_items(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", *catalog, "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["item", "label", "references", "text"]
    assert [line.split() for line in lines[1:]] == [["blue", "2"], ["green", "2"]]
    assert main(["show", *catalog, "red", "--json"]) == 0
    [item] = json.loads(capsys.readouterr().out)
    assert item["id"] == "red"
    assert [set(reference) for reference in item["references"]] == [{"name", "digest", "view"}] * 2


def test_remove(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", *catalog, "red", "pink"]) == 1
    out, err = capsys.readouterr()
    assert out == "1 item removed\n"
    assert err == "plushie-search: no item 'pink' in this catalog\n"
    assert main(["show", *catalog, "--json"]) == 0
    assert [item["id"] for item in json.loads(capsys.readouterr().out)] == ["blue", "green", "yellow"]


def test_stats(catalog: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", *catalog, "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert (stats["items"], stats["references"]) == (4, 8)
    assert main(["stats", *catalog]) == 0
    assert re.search(r"^items +4$", capsys.readouterr().out, re.MULTILINE)


def test_bad_pictures_are_listed_and_stop_nothing(
    catalog: list[str], photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "red" / "3.jpg").write_text("not a picture")
    (photos / "pink").mkdir()
    Image.new("RGB", (9, 9), (250, 160, 180)).save(photos / "pink" / "1.png")
    assert main(["add", *catalog, str(photos)]) == 1
    out, err = capsys.readouterr()
    assert out == "1 new item, 1 new reference, 8 there already, 1 failed; 5 items in the catalog\n"
    [line] = err.splitlines()
    assert line.startswith("plushie-search: picture ")
    assert line.count(str(photos / "red" / "3.jpg")) == 1


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("search CATALOG", "search needs an IMAGE, a --text, or both"),
        ("search CATALOG gone.jpg", "no picture 'gone.jpg'; give words by --text, or parts by --query"),
        ("search CATALOG --text ''", "text"),
        ('search CATALOG --text x --where {"price":{"$foo":1}}', "$foo"),
        ("show CATALOG pink", "pink"),
        ("show gone.catalog", "gone.catalog"),
        ("add CATALOG gone", "gone"),
        ("add CATALOG empty", "no pictures in empty"),
        ("add CATALOG notes.txt", "notes.txt"),
        ("stats notes.txt", "notes.txt"),
    ],
)
def test_an_error_is_one_line(
    command: str,
    message: str,
    catalog: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    arguments = [part.strip("'") for part in command.split(" ")]
    model = [] if arguments[0] == "plush" else catalog[1:]
    assert main([catalog[0] if part == "CATALOG" else part for part in arguments] + model) == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("plushie-search: ")
    assert message in line
    assert not (tmp_path / "gone.catalog").exists()


@pytest.mark.parametrize(
    "command",
    [
        "",
        "find x",
        "search x --text y --where {",
        "search x --text y --where 3",
        "search x --text y -k 0",
        "plush --count 0",
        "plush --seed -1",
    ],
)
def test_wrong_usage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(command.split())
    assert exit.value.code == 2
    assert "usage: plushie-search" in capsys.readouterr().err


def test_version_and_module(capfd: pytest.CaptureFixture[str]) -> None:
    for flag in ("--version", "-V"):
        assert subprocess.run([sys.executable, "-m", "plushie_search", flag]).returncode == 0
        assert capfd.readouterr().out == f"plushie-search {plushie_search.__version__}\n"


def test_a_reader_that_has_seen_enough_is_no_error(catalog: list[str]) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "plushie_search", "show", *catalog], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.close()
    error = command.stderr.read()
    command.stderr.close()
    assert (command.wait(), error) == (0, b"")


def test_closed_streams_are_no_error(catalog: list[str]) -> None:
    show = [sys.executable, "-m", "plushie_search", "show", *catalog]
    for closed in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(["bash", "-c", f'"$@" {closed}', "bash", *show], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert (done.stdout != "") == (closed == "2>&-")


def test_output_that_cannot_be_written_is_an_error(catalog: list[str]) -> None:
    with open("/dev/full", "w") as full:
        show = [sys.executable, "-m", "plushie_search", "show", *catalog]
        done = subprocess.run(show, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "plushie-search: [Errno 28] No space left on device\n")


@pytest.mark.parametrize(
    ("command", "usage", "message"),
    [
        ("search x --txt bear", "search", "unrecognized arguments: --txt bear; did you mean --text?"),
        ("remove x y --thread-count=3", "remove", "unrecognized arguments: --thread-count=3"),
        ("models list --jsn", "models list", "unrecognized arguments: --jsn; did you mean --json?"),
        ("models check", "models check", "the following arguments are required: NAME"),
    ],
)
def test_wrong_usage_of_a_command_shows_its_own(
    command: str, usage: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit:
        main(command.split())
    assert exit.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith(f"usage: plushie-search {usage} [-h]")
    assert err.endswith(f"plushie-search {usage}: error: {message}\n")


def test_k_is_one_option_everywhere() -> None:
    for command in ("search c --text bear", "evaluate c q"):
        for flag in ("-k 3", "--k 3", "-k3", "--k=3"):
            assert _parser().parse_args([*command.split(), *flag.split()]).k == 3
        with pytest.raises(SystemExit):
            _parser().parse_args([*command.split(), "-k", "0"])


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("plushie-search ev", ["evaluate"]),
        ("plushie-search search --im", ["--image-weight"]),
        ("plushie-search models q", ["quantize"]),
        ("plushie-search models quantize --held", ["--held-out"]),
        ("plushie-search models show --a", []),
        ("plushie-search show --li", ["--limit"]),
        ("plushie-search completion ", ["-h", "--help", "bash", "zsh", "fish"]),
    ],
)
def test_bash_completes(typed: str, offered: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = f"""{capsys.readouterr().out}
        IFS=' ' read -ra COMP_WORDS <<<"$1"
        [[ $1 == *' ' ]] && COMP_WORDS+=('')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _plushie_search
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script, "bash", typed], capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered
    assert done.stderr == ""


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_completion_scripts_can_be_read(shell: str, check: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("evaluate", "--held-out", "plushbench"))
    if shutil.which(shell) is not None:
        subprocess.run([shell, check], input=script, text=True, check=True)


def test_plushes_are_written_with_their_captions(
    tmp_path: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "plushes"
    assert main(f"plush --seed 7 --count 3 --views 2 --size 64 --out {out}".split()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"3 plushes in {out}, described in plushes.jsonl"
    described = [json.loads(line) for line in (out / "plushes.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [plush["metadata"]["seed"] for plush in described] == [7, 8, 9]
    for plush in described:
        assert plush["label"] in plush["text"]
        for image in plush["images"]:
            with Image.open(out / image) as picture:
                assert (picture.format, picture.size) == ("JPEG", (64, 64))
    catalog = [str(tmp_path / "x.catalog"), "--model", str(toy_model)]
    assert main(["add", *catalog, str(out / "plushes.jsonl")]) == 0
    assert main(["add", *catalog, str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 new items, 6 new references; 3 items in the catalog",
        "0 new items, 0 new references, 6 there already; 3 items in the catalog",
    ]


def test_hits_are_shown_in_the_browser(
    catalog: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or bool(opened[1:]))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    search = ["search", *catalog, "--text", "red"]
    page = tmp_path / "hits.html"
    assert main([*search, "--html", str(page)]) == 0
    assert "hits for" in page.read_text(encoding="utf-8")
    assert opened == []
    assert main([*search, "--html", str(page), "--open"]) == 0
    assert opened == [page.as_uri()]
    assert f"no browser was found; open {page} in one" in capsys.readouterr().err
    assert main([*search, "--open", "--json"]) == 0
    made = Path(opened[1].removeprefix("file://"))
    assert made.parent == tmp_path
    assert made.read_text(encoding="utf-8") == page.read_text(encoding="utf-8")
    assert json.loads(capsys.readouterr().out)[0]["rank"] == 1
    assert main([*search, "--html", str(tmp_path / "no" / "hits.html")]) == 2


def test_ctrl_c_stops_between_batches_and_running_again_continues(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient(ProgressBar):
        """Presses Ctrl-C as soon as something is stored."""

        def __call__(self, done: int, total: int, name: str) -> None:
            super().__call__(done, total, name)
            if done > 0:
                signal.raise_signal(signal.SIGINT)

    photos = tmp_path / "many"
    photos.mkdir()
    for number in range(200):
        Image.new("RGB", (20, 20), (number, 99, 0)).save(photos / f"{number:03}.png")
    catalog = [str(tmp_path / "x.catalog"), "--model", str(toy_model)]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules["plushie_search.cli.add"], "ProgressBar", Impatient)
            assert main(["add", *catalog, str(photos)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capsys.readouterr()
    assert out == ""
    said = re.fullmatch(
        r"plushie-search: interrupted with (\d+) items in the catalog: run it again to continue there\n", err
    )
    assert said is not None
    stored = int(said[1])
    assert 0 < stored < 200
    assert main(["add", *catalog, str(photos), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "items": 200 - stored,
        "references": 200 - stored,
        "notes": [],
        "duplicates": stored,
        "failed": [],
        "renamed": 0,
        "replaced": 0,
        "moved": 0,
        "removed": 0,
    }
