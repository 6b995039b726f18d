"""Texts that a model cannot read are told, and characters without a shape change nothing."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import toy
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.models import WordLevel

import plushie_search as ps
from plushie_search import cli

KNOWN = "bear"


@pytest.fixture
def engine(toy_model: Path, tmp_path: Path) -> Iterator[ps.Engine]:
    with ps.Engine(tmp_path / "catalog", model=toy_model, threads=1) as engine:
        engine.add_vectors(["a", "b"], np.eye(2, engine.stats()["dimension"]))
        yield engine


def test_a_text_of_unknown_words_is_told(engine: ps.Engine) -> None:
    with pytest.warns(ps.UnreadableTextWarning, match="knows no word of 'くま', so the hits") as record:
        results = engine.search_text("くま")
    assert record[0].filename == __file__
    [model] = engine.models
    assert results.warnings == (f"{model} knows no word of 'くま', so the hits do not depend on it",)
    assert repr(results).splitlines()[1] == f"warning: {results.warnings[0]}"
    with pytest.warns(ps.UnreadableTextWarning, match="'くま', and of 1 more") as record:
        answers = engine.search_text(["くま", KNOWN, "мишка!", "くま"])
    assert (len(record), [len(results.warnings) for results in answers]) == (1, [1, 0, 1, 1])


def test_every_way_to_give_a_text_tells(engine: ps.Engine) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    for search in (
        lambda: engine.search_hybrid(picture, "くま"),
        lambda: engine.search(ps.Query(image=picture, text=[("くま", 1.0), (KNOWN, 0.5)])),
        lambda: engine.search_text("くま", models={engine.models[0]: 1}),
    ):
        with pytest.warns(ps.UnreadableTextWarning):
            assert len(search().warnings) == 1
    with pytest.warns(ps.UnreadableTextWarning, match='knows no word of text "くま": ') as record:
        engine.encode_texts(["くま", KNOWN])
    assert record[0].filename == __file__


def test_an_encoder_tells(toy_encoder: ps.Encoder) -> None:
    with pytest.warns(ps.UnreadableTextWarning, match='text "くま", and of 1 more') as record:
        vectors = toy_encoder.encode_texts(["くま", "мишка", KNOWN])
    assert record[0].filename == __file__
    assert (vectors[0] == vectors[1]).all()
    assert not (vectors[0] == vectors[2]).all()


def test_texts_with_a_word_that_is_known_are_not_told(engine: ps.Engine) -> None:
    assert engine.search_text(f"くま {KNOWN}").warnings == ()
    assert engine.search_text([KNOWN, f"{KNOWN}!"])[1].warnings == ()


def test_evaluation_tells_once(engine: ps.Engine) -> None:
    texts = [(f"くま{number}", "a") for number in range(300)]
    with pytest.warns(ps.UnreadableTextWarning, match="300 of 301 texts have no word") as record:
        engine.evaluate(texts=[*texts, (KNOWN, "b")])
    assert len(record) == 1


def test_the_built_in_model_tells(tmp_path: Path) -> None:
    encoder = ps.open_encoder("plushie-mini", threads=1)
    for text in ("ぬいぐるみ", "곰 인형", "плюшевый мишка", "🧸"):
        with pytest.warns(ps.UnreadableTextWarning):
            encoder.encode_texts([text])
    encoder.encode_texts(["a brown bear", "棕色的小熊"])


def test_the_command_tells_once(toy_model: Path, engine: ps.Engine, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["search", engine.path, "--model", str(toy_model), "--text", "くま"]
    assert cli.main(command) == 0
    out, err = capsys.readouterr()
    assert (out.count("knows no word of"), err) == (1, "")
    assert cli.main([*command, "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 2
    assert err.startswith("plushie-search: warning: ")
    assert err.count("\n") == 1


def test_characters_without_a_shape_change_nothing(engine: ps.Engine) -> None:
    plain = engine.search_text(f"{KNOWN} {KNOWN}")
    tagged = f"{KNOWN[:2]}\U000e0041{KNOWN[2:]}\U000e007f {KNOWN}\U000e0001"
    for text in (tagged, f"\ufeff{KNOWN}\u200b {KNOWN}", f"{KNOWN[:1]}\u00ad{KNOWN[1:]} \u200f{KNOWN}\u2060"):
        assert engine.search_text(text) == plain
        assert (engine.encode_texts([text]) == engine.encode_texts([f"{KNOWN} {KNOWN}"])).all()
    with pytest.raises(ValueError, match="the text is empty"):
        engine.search_text("\u200b")


@pytest.mark.parametrize("form", [np.array, pd.Series, lambda texts: np.array(texts, object), tuple])
def test_texts_come_in_columns(engine: ps.Engine, toy_encoder: ps.Encoder, form: Any) -> None:
    texts = [KNOWN, f"{KNOWN} {KNOWN}"]
    assert (engine.encode_texts(form(texts)) == engine.encode_texts(texts)).all()
    assert (toy_encoder.encode_texts(form(texts)) == toy_encoder.encode_texts(texts)).all()
    assert engine.search_text(form(texts)) == engine.search_text(texts)
    assert [results.query for results in engine.search_text(form(texts))] == texts
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 2
    assert engine.search_hybrid(pictures, form(texts)) == engine.search_hybrid(pictures, texts)
    with pytest.raises(TypeError, match="text 1 is of type int, not a str"):
        engine.encode_texts(form([KNOWN, 3]) if form is not np.array else [KNOWN, 3])  # type: ignore[list-item]


def test_bytes_are_always_known(toy_model: Path, tmp_path: Path, runtime: Path) -> None:
    """A vocabulary of bytes has no unknown words."""
    made = Tokenizer(models.BPE({byte: number for number, byte in enumerate("a!()ãģ")}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder = other(toy_model, tmp_path, made, runtime)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode_texts(["!", "(!)", "く"])


def other(toy_model: Path, tmp_path: Path, tokenizer: Tokenizer, runtime: Path) -> ps.Encoder:
    """The toy model with a tokenizer of which it has the vectors of the first tokens."""
    directory = shutil.copytree(toy_model, tmp_path / "other")
    tokenizer.save(str(directory / "tokenizer.json"))
    return ps.Encoder(directory, runtime=runtime, threads=1)


def test_an_expression_that_gives_up_is_an_error_of_the_model(toy_model: Path, tmp_path: Path, runtime: Path) -> None:
    from tokenizers import Regex

    made = Tokenizer(WordLevel({word: number for number, word in enumerate(toy.WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    encoder = other(toy_model, tmp_path, made, runtime)
    with pytest.raises(ps.ModelError, match=r"tokenizer\.json cannot tokenize text \"aaaa.*take too long"):
        encoder.encode_texts(["a" * 60 + "!"])


def test_a_tokenizer_of_gigabytes_is_refused(toy_model: Path, tmp_path: Path, runtime: Path) -> None:
    directory = shutil.copytree(toy_model, tmp_path / "other")
    with open(directory / "tokenizer.json", "r+b") as file:
        file.truncate(2**30)
    with pytest.raises(ps.ModelError, match=r"tokenizer\.json has 1073741824 bytes, and a tokenizer at most 268435456"):
        ps.Encoder(directory, runtime=runtime, threads=1)
