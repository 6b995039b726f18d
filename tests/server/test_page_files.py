"""The files of the web page, without a browser: one set of keys, no HTML from text, no foreign addresses, small."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

import plushie_search

pytest_plugins = ["browsing"]

PAGE = Path(plushie_search.__file__).parent / "server" / "page"
SCRIPTS = sorted(PAGE.glob("*.js"))
LANGUAGES = ["en", "zh-TW", "zh-CN"]


def texts(language: str) -> dict[str, str]:
    return json.loads((PAGE / f"{language}.json").read_text(encoding="utf-8"))


def test_all_languages_have_the_same_keys() -> None:
    # Only English has a form of its own for one.
    english = {key for key in texts("en") if not key.endswith(".one")}
    for language in LANGUAGES[1:]:
        assert set(texts(language)) == english


def test_all_languages_fill_in_the_same_values() -> None:
    for language in LANGUAGES[1:]:
        for key, text in texts(language).items():
            assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", texts("en")[key])), key


def test_each_key_is_used_and_each_used_key_exists() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    strings = set(re.findall(r'"([\w.-]+)"', code))
    made = {f"{begin}{end}" for begin in re.findall(r"\bt\(`([\w.]+)\$\{", code) for end in strings | {"offline"}}
    keys = {key for key in texts("en") if not key.endswith(".one")}
    assert keys - strings - made == set()
    asked = set(re.findall(r'\bt\(\s*"([\w.]+)"', code))
    assert asked - keys == set()


def test_chinese_texts_are_of_their_own_script() -> None:
    # The commonest characters that only one of both scripts has.
    traditional, simplified = (
        set("圖檔個這來時會對說開關請貼選類筆資連線據復儲訊鍵張"),
        set("图档个这来时会对说开关请贴选类笔资连线据复储讯键张"),
    )
    assert not {letter for text in texts("zh-TW").values() for letter in text} & (simplified - traditional)
    assert not {letter for text in texts("zh-CN").values() for letter in text} & (traditional - simplified)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_make_no_html_of_text(path: Path) -> None:
    code = path.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function|setAttribute\(.style", code
    )
    assert len(code.splitlines()) <= 450


def test_no_file_names_another_server() -> None:
    allowed = {"http://www.w3.org/2000/svg"}
    for path in PAGE.iterdir():
        assert set(re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8"))) <= allowed, path.name


def test_the_html_has_no_code_and_no_style() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html)


def test_all_scripts_are_fetched_at_once() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r'(?:modulepreload" href|src)="static/(.+?\.js)"', html)) == [
        path.name for path in SCRIPTS
    ]


def test_imports_and_addresses_lead_to_files() -> None:
    for path in SCRIPTS:
        for name in re.findall(r'from "\./([\w-]+\.js)"', path.read_text(encoding="utf-8")):
            assert (PAGE / name).is_file(), f"{path.name} imports {name}"
    for name in re.findall(r'(?:src|href)="static/([^"]+)"', (PAGE / "index.html").read_text(encoding="utf-8")):
        assert (PAGE / name).is_file()
    icons = set(re.findall(r'<symbol id="(\w+)"', (PAGE / "icons.svg").read_text(encoding="utf-8")))
    code = "\n".join(path.read_text(encoding="utf-8") for path in SCRIPTS)
    assert set(re.findall(r'\bicon\("(\w+)"\)|\biconButton\("(\w+)"', code)) <= {
        (a, b) for a in icons | {""} for b in icons | {""}
    }


def test_the_page_is_small() -> None:
    files = [path for path in PAGE.iterdir() if path.suffix != ".json" or path.stem == "zh-TW"]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= 60_000


def test_files_travel_packed_and_are_asked_for_once(tiny: Any) -> None:
    url = f"{tiny.url}static/main.js"
    content = (PAGE / "main.js").read_bytes()
    plain = httpx.get(url, headers={"Accept-Encoding": "identity"})
    packed = httpx.get(url, headers={"Accept-Encoding": "gzip"})
    assert plain.content == packed.content == content
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(content) / 2
    assert httpx.get(url, headers={"If-None-Match": plain.headers["etag"]}).status_code == 304
