"""Token ids and masks against the Python packages `tokenizers` and `transformers`, and texts that are refused."""

import gzip
import json

import numpy as np
import onnx
import pytest
import toy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from plushie_search import ModelError, _core

LENGTH = 24
CORPUS = [
    "A brown teddy bear with a red scarf",
    "a PINK rabbit, sitting; ears: long!",
    "粉色的兔子戴着红围巾",
    "粉紅色的兔子戴著紅色圍巾",
    "Ein Bär mit blauem Hut – très mignon, naïve façade",
    "bear_001.jpg 12.50€ #3 @home 100%",
    "emoji 🧸🐰👩‍👩‍👧 and ﬁ ligature ①②",
    "tabs\tand\nnew   lines\r\n  around  ",
    "Привет мир שלום עולם مرحبا",
    "n\u0303 combining, \u200bzero\u200dwidth, \ufeffbom, nul\0nul",
    "don't can't they've I'll it's",
    "supercalifragilisticexpialidocious " * 9,
    "兔" * 60,
    "x",
]


def byte_level():
    made = Tokenizer(models.BPE(unk_token=None))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return made, trainers.BpeTrainer(vocab_size=500, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=alphabet)


def word_pieces():
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    return made, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["<pad>", "<s>", "</s>", "[UNK]"])


def sentence_pieces():
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    return made, trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )


def trained(kind):
    """A tokenizer of a kind, trained on the corpus, which puts a text between <s> and </s>."""
    made, trainer = kind()
    trainer.show_progress = False
    made.train_from_iterator(CORPUS, trainer)
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return made


def show_tokens(directory, tokenizer, runtime, *, length=LENGTH, pad_id=0):
    """An encoder whose network shows what it is fed: a vector is 1, the ids and the mask, at some scale."""
    network = toy.model(
        [
            helper.make_node("Concat", ["input_ids", "attention_mask"], ["both"], axis=1),
            helper.make_node("Cast", ["both"], ["numbers"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["one", "numbers"], ["text_embeds"], axis=1),
        ],
        [(name, TensorProto.INT64, [1, length]) for name in ("input_ids", "attention_mask")],
        [("text_embeds", TensorProto.FLOAT, [1, 1 + 2 * length])],
        {"one": np.ones((1, 1), np.float32)},
    )
    directory.mkdir()
    tokenizer.save(str(directory / "tokenizer.json"))
    onnx.save(network, directory / "text.onnx")
    text = {**toy.manifest()["text"], "max_length": length, "padding": "fixed", "pad_id": pad_id}
    manifest = toy.manifest(dimension=1 + 2 * length, image=None, text=text)
    (directory / "model.json").write_text(json.dumps(manifest))
    encoder = _core.Encoder(directory, runtime=runtime, threads=1)

    def show(texts):
        vectors = encoder.encode_texts(texts).astype(np.float64)
        numbers = np.rint(vectors[:, 1:] / vectors[:, :1]).astype(int)
        return numbers[:, :length].tolist(), numbers[:, length:].tolist()

    return show


@pytest.mark.parametrize("kind", [byte_level, word_pieces, sentence_pieces])
def test_ids_match_the_package_tokenizers(kind, runtime, tmp_path):
    tokenizer = trained(kind)
    show = show_tokens(tmp_path / "model", tokenizer, runtime)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=0)
    texts = [*CORPUS, " ".join(f"unseen {number}" for number in range(30))]
    expected = tokenizer.encode_batch(texts)
    ids, masks = show(texts)
    assert ids == [encoding.ids for encoding in expected]
    assert masks == [encoding.attention_mask for encoding in expected]
    assert any(row[-1] == 2 for row in ids), "no text was long enough to be truncated"


def test_model_json_decides_on_length_and_padding(runtime, tmp_path):
    """Whatever the tokenizer file itself asks for."""
    tokenizer = trained(byte_level)
    show_plain = show_tokens(tmp_path / "plain", tokenizer, runtime)
    tokenizer.enable_truncation(5, direction="left")
    tokenizer.enable_padding(length=7, pad_id=1)
    assert show_tokens(tmp_path / "other", tokenizer, runtime)(CORPUS) == show_plain(CORPUS)


@pytest.mark.parametrize("pad_id", [0, 49407])
def test_ids_match_clip(assets, runtime, tmp_path, pad_id):
    """CLIP's tokenizer, built from its published merges, against transformers."""
    transformers = pytest.importorskip("transformers")
    with gzip.open(assets / "text" / "clip_bpe_vocab_16e6.txt.gz", "rt", encoding="utf-8") as lines:
        merges = [tuple(line.split()) for line in lines][1 : 49152 - 256 - 2 + 1]
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(code) for code in [*printable, *range(0x100, 0x100 + 256 - len(printable))]]
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), *("".join(merge) for merge in merges)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    clip = transformers.CLIPTokenizer(vocab={token: i for i, token in enumerate(vocabulary)}, merges=merges)
    show = show_tokens(tmp_path / "clip", clip.backend_tokenizer, runtime, length=77, pad_id=pad_id)
    lines = (assets / "text" / "clip_prompts.md").read_text(encoding="utf-8").splitlines()
    texts = CORPUS + [line for line in lines if line.strip()][:500]
    expected = clip(texts, truncation=True, max_length=77)["input_ids"]
    assert expected[0][0] == 49406
    assert expected[0][-1] == 49407
    ids, masks = show(texts)
    assert ids == [row + [pad_id] * (77 - len(row)) for row in expected]
    assert masks == [[1] * len(row) + [0] * (77 - len(row)) for row in expected]


@pytest.fixture(scope="module")
def show_pieces(runtime, tmp_path_factory):
    """WordPiece, and the encoder that shows its ids."""
    tokenizer = trained(word_pieces)
    show = show_tokens(tmp_path_factory.mktemp("pieces") / "model", tokenizer, runtime)
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH, pad_id=0)
    return tokenizer, show


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_any_text_is_encoded_or_refused_with_a_reason(show_pieces, text):
    tokenizer, show = show_pieces
    expected = tokenizer.encode(text)
    try:
        ids, _ = show([text])
    except ValueError:
        ids = [[1, 2] + [0] * (LENGTH - 2)]
    assert ids == [expected.ids]


@pytest.mark.parametrize("text", ["", "  ", "\t\n", "\u3000"])
def test_empty_texts(toy_encoder, text):
    with pytest.raises(ValueError, match="the text is empty: give at least one word"):
        toy_encoder.encode_texts(["a bear", text])


def test_texts_of_a_megabyte(toy_encoder):
    with pytest.raises(ValueError, match=r"^text of 1000000 characters: at most 100000$"):
        toy_encoder.encode_texts("bear" * 250_000)
    with pytest.raises(ValueError, match=r"^text of 333333 characters: at most 100000$"):
        toy_encoder.encode_texts("兔" * 333_333)
    np.testing.assert_array_equal(toy_encoder.encode_texts("兔 " * 50_000), toy_encoder.encode_texts("兔" * 9))


def test_texts_that_leave_nothing(toy_encoder):
    with pytest.raises(ValueError, match=r'text "\\0\\u\{1\}" has nothing that the model\'s tokenizer knows'):
        toy_encoder.encode_texts("\0\x01")


def test_unknown_words_are_encoded_as_unknown(toy_encoder):
    np.testing.assert_allclose(toy_encoder.encode_texts("xyzzy")[0], toy.words_vector(["[UNK]"]), atol=1e-6)


def test_a_tokenizer_with_nothing_known(toy_model, runtime, tmp_path):
    """Without [UNK] a word outside of the vocabulary is an error of the caller's, not a crash."""
    directory = toy.write(tmp_path / "model")
    tokenizer = toy.tokenizer()
    tokenizer.model = models.WordLevel({"bear": 8}, unk_token="[UNK]")
    tokenizer.post_processor = None
    tokenizer.save(str(directory / "tokenizer.json"))
    encoder = _core.Encoder(directory, runtime=runtime, threads=1)
    assert encoder.encode_texts("bear").shape == (1, toy.DIM)
    with pytest.raises(ValueError, match=r'text "wolf" cannot be tokenized: WordLevel error: Missing'):
        encoder.encode_texts("wolf")
    (directory / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelError, match=r"tokenizer.json: is not a tokenizer file of the crate `tokenizers`"):
        _core.Encoder(directory, runtime=runtime, threads=1)
