"""A sub-word tokenizer for English and Chinese, learnt from captions and words."""

from __future__ import annotations

import string
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import NFKC, BertNormalizer, Sequence
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer

from . import words

PAD, UNKNOWN, START = 0, 1, 2


def train(texts: Iterable[str], *, vocabulary: int = 16000) -> Tokenizer:
    """Trains a tokenizer: ignores width, case and accents; Chinese characters are tokens, rare words become letters."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = Sequence(
        [NFKC(), BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)]
    )
    tokenizer.pre_tokenizer = BertPreTokenizer()
    plain = string.ascii_lowercase + string.digits
    trainer = WordPieceTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=["[PAD]", "[UNK]", "[START]", *(f"##{letter}" for letter in plain)],
        initial_alphabet=sorted({*plain, *words.characters()}),
        limit_alphabet=2000,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(single="[START] $A", special_tokens=[("[START]", START)])
    return tokenizer


def load(path: Path) -> Tokenizer:
    """Returns a saved tokenizer, which pads each batch to its longest text."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_padding(pad_id=PAD, pad_token="[PAD]")
    return tokenizer
