"""Gathers knowledge of words for training: translations, names, vectors of words, and captions of plushes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from .. import _core
from ..plush import facts as truth
from . import captions, dictionary, names, nouns, sentences, tokenizer, words
from .towers import MAX_LENGTH

NEGATIONS = 0.15
"""The share of captions that deny something."""
PHOTO = "a photo of a {}"
"""The form of words whose vectors tell kinds of things; a sentence encoder reads a bare word as a topic."""
LONGEST = 3
"""The most words of a kind of thing."""
SHOWN = 4000
"""The number of plushes whose captions the tokenizer learns from."""


@dataclass(frozen=True)
class Language:
    """Knowledge of words.

    Attributes:
        book: The words of captions.
        translations: English and Chinese words for one thing each.
        names: Synonyms of names, and the unit vectors that CLIP gives them; None if there are none.
        sentences: Words and phrases, and a sentence encoder's unit vectors of them; None if there is none.
        kinds: Words for things, and a sentence encoder's vectors of photos of them; None if there is none.
        classes: The same encoder's vectors of a backbone's classes, shape (classes, width).
    """

    book: words.Book
    translations: Sequence[tuple[Sequence[str], Sequence[str]]]
    names: tuple[Sequence[Sequence[str]], NDArray[np.float32]] | None = None
    sentences: tuple[Sequence[str], NDArray[np.float32]] | None = None
    kinds: tuple[Sequence[str], NDArray[np.float32]] | None = None
    classes: NDArray[np.float32] | None = None


def gather(
    work: Path,
    *,
    texts: Iterable[str],
    emoji_names: Path | None = None,
    clip_names: Path | None = None,
    wordnet: Path | None = None,
    encoder: Path | None = None,
    classes: Sequence[Sequence[str]] = (),
) -> Language:
    """Reads dictionaries, and encodes words with a sentence encoder, once.

    Args:
        work: The folder that keeps the vectors.
        texts: The texts about photos.
        emoji_names: The folder `annotations` of Unicode's CLDR.
        clip_names: The folder of CLIP's vectors of names, see names.py.
        wordnet: The folder of WordNet.
        encoder: The folder of a sentence encoder, see sentences.py.
        classes: The synonyms of each of a backbone's classes.
    """
    translations = list(nouns.translations())
    if emoji_names:
        translations += dictionary.emoji_names(emoji_names)
    known = names.read(clip_names) if clip_names else None
    book_of = dictionary.WordNet(wordnet) if wordnet else None
    book = words.Book(book_of.more()) if book_of else words.PLAIN
    if not encoder:
        return Language(book, translations, known)
    things = {word for english, _ in translations for word in english}
    things |= set(book_of.common()) if book_of else set()
    things |= {word for synonyms in known[0] for word in synonyms} if known else set()
    named = {word for synonyms in classes for word in synonyms}
    things |= set(texts) | named
    read = sentences.prepare(encoder, sorted(things | set(book.further())), work / "sentences.npz")
    short = sorted(named | {word for word in things if 0 < len(word.split()) <= LONGEST})
    _, shown = sentences.prepare(encoder, [PHOTO.format(word) for word in short], work / "kinds.npz")
    place = {word: at for at, word in enumerate(short)}
    of_classes = [shown[[place[word] for word in one]].mean(0) for one in classes]
    return Language(book, translations, known, read, (short, shown), np.array(of_classes) if of_classes else None)


def tokens(work: Path, attributes: Sequence[Mapping[str, Any]], texts: Iterable[str], language: Language) -> Tokenizer:
    """Returns the tokenizer of the texts that training may meet, trained once."""
    file = work / "tokenizer.json"
    if not file.exists():
        tokenizer.train(_every_way(attributes, texts, language)).save(str(file))
    loaded = tokenizer.load(file)
    loaded.enable_truncation(MAX_LENGTH)
    return loaded


def _every_way(attributes: Sequence[Mapping[str, Any]], texts: Iterable[str], language: Language) -> Iterator[str]:
    """Yields texts as the model will meet them, common words often."""
    dice = random.Random(0)
    yield from texts
    for synonyms in language.names[0] if language.names else ():
        yield from (word for word in synonyms for _ in range(3))
    for text in language.sentences[0] if language.sentences else ():
        yield from (text,) * 2
    for english, chinese in language.translations:
        for word in (*english, *chinese, *map(words.traditional, chinese)):
            yield from (word,) * 10
    for one in attributes[:SHOWN]:
        for spoken in truth.LANGUAGES:
            yield _core.Plush.with_attributes(0, dict(one)).caption(spoken)
            for _ in range(8):
                facts = captions.choose(one, dice, negations=NEGATIONS)
                yield captions.text(facts, spoken, dice, book=language.book)
