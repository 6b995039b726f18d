"""Writes texts about plushes for training: some facts of a plush in everyday language."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from ..plush.facts import HATS, Fact, Language, facts_of
from . import words


def choose(
    attributes: Mapping[str, Any], chance: random.Random, *, most: int = 4, negations: float = 0.0
) -> list[Fact]:
    """Draws one to `most` facts of a plush, conspicuous ones more often.

    With the probability `negations` one thing that it does not wear is added.
    """
    facts: list[tuple[float, Fact]] = [(3.0, ("species", attributes["species"])), (2.5, ("color", attributes["color"]))]
    for worn in attributes["accessories"]:
        kind = "any_hat" if worn["kind"] in HATS and chance.random() < 0.3 else worn["kind"]
        full = chance.random() < 0.65
        facts.append((2.0, ("wears", kind, worn["color"]) if full else ("wears", kind)))
    if attributes["second_color"] is not None:
        facts += [(0.7, ("pattern", attributes["pattern"])), (0.6, ("second_color", attributes["second_color"]))]
    else:
        facts.append((0.1, ("pattern", "plain")))
    facts.append((0.2, ("pose", attributes["pose"])))
    facts.append((0.25 if attributes["fur"] != "short" else 0.05, ("fur", attributes["fur"])))
    count = min(len(facts), chance.choices(range(1, most + 1), [4.0, 5.0, 4.0, *[2.0] * (most - 3)][:most])[0])
    order = sorted(facts, key=lambda weighed: chance.random() ** (1.0 / weighed[0]), reverse=True)
    chosen = [fact for _, fact in order[:count]]
    if chance.random() < negations:
        lacking = sorted(fact for fact in facts_of(attributes) if fact[0] == "lacks" and fact[1] not in HATS)
        chosen.append(chance.choice(lacking))
    return chosen


def text(facts: Sequence[Fact], language: Language, chance: random.Random, *, book: words.Book = words.PLAIN) -> str:
    """Returns a text that names these facts in a language: a sentence, a phrase, or words in any order."""
    said = _Said(facts)
    if language == "en":
        return _mistype(_english(said, book, chance), chance)
    written = _chinese(said, book, chance)
    return words.traditional(written) if language == "zh-Hant" else written


class _Said:
    """Facts by their attributes."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        about = {fact[0]: fact[1] for fact in facts if fact[0] not in ("wears", "lacks")}
        self.species, self.color = about.get("species"), about.get("color")
        self.pattern, self.second = about.get("pattern"), about.get("second_color")
        self.pose, self.fur = about.get("pose"), about.get("fur")
        self.worn = [(fact[1], fact[2] if len(fact) > 2 else None) for fact in facts if fact[0] == "wears"]
        self.lacking = [fact[1] for fact in facts if fact[0] == "lacks"]


def _thing(kind: str, language: words.Written, book: words.Book, chance: random.Random) -> str:
    """Returns the word for a worn thing; a plain "hat" is not the name of one kind of hat."""
    if kind == "any_hat":
        return "hat" if language == "en" else "帽子"
    while True:
        word = book.call(words.ACCESSORIES, kind, language, chance)
        if word not in ("帽子", "帽") and (kind, word) != ("beanie", "hat"):
            return word


def _article(word: str) -> str:
    return ("an " if word[:1] in "aeiou" else "a ") + word


def _english(said: _Said, book: words.Book, chance: random.Random) -> str:
    color = book.call(words.COLORS, said.color, "en", chance) if said.color else ""
    second = book.call(words.COLORS, said.second, "en", chance) if said.second else ""
    noun = book.call(words.SPECIES, said.species, "en", chance) if said.species else ""
    toy = chance.choice(["plush", "toy", "stuffed animal", "soft toy", "plushie", "cuddly toy", "stuffed toy"])
    worn = []
    for kind, shade in said.worn:
        thing = _thing(kind, "en", book, chance)
        worn.append(f"{book.call(words.COLORS, shade, 'en', chance)} {thing}" if shade else thing)
    lacking = [_without(_thing(kind, "en", book, chance), chance) for kind in said.lacking]
    before, after = [], []
    if said.fur:
        fur = book.call(words.FURS, said.fur, "en", chance)
        before.append(fur)
    if said.pose:
        before.append(book.call(words.POSES, said.pose, "en", chance))
    if said.pattern == "plain":
        before.append(book.call(words.PATTERNS, "plain", "en", chance))
    elif said.pattern:
        adjective = words.PATTERN_ADJECTIVES.get(said.pattern)
        mark = book.call(words.PATTERNS, said.pattern, "en", chance)
        if adjective and not second and chance.random() < 0.6:
            before.append(chance.choice(adjective[0].split("|")))
        elif second:
            after.append(f"{second} {mark}")
        else:
            after.append(chance.choice(["", "", "contrasting ", "different "]) + mark)
    elif second:
        color = f"{color} and {second}" if color else ""
        if not color:
            after.append(f"{second} " + chance.choice(["markings", "parts", "details"]))
    if color:
        before.append(color)
    style = chance.random()
    if style < 0.25:
        parts = [*before, *([noun] if noun else []), *worn, *after, *lacking]
        chance.shuffle(parts)
        return chance.choice([" ", " ", ", ", " "]).join(parts)
    head = " ".join(before + ([noun] if noun else []))
    if not noun:
        head = f"{head} {chance.choice(['one', toy, toy, toy])}".strip() if head or chance.random() < 0.5 else ""
    elif chance.random() < 0.35:
        head = f"{head} {toy}" if chance.random() < 0.8 else f"{toy} {head}"
    if head and chance.random() < 0.45:
        head = _article(head)
    carried = _list(
        [_article(one) if chance.random() < 0.6 and "glass" not in one and "spec" not in one else one for one in worn]
    )
    sentence = head
    marks = _list(after)
    if marks:
        sentence = f"{sentence} with {'' if marks[-1] == 's' else 'a '}{marks}".strip()
    if carried:
        joined = chance.choice([" with ", " with ", " wearing ", " in ", " that wears ", " that has ", ", ", " and "])
        if not sentence:
            joined = chance.choice(["", "", "with ", "wearing ", "someone with "])
        elif marks and joined == " with ":
            joined = " and "
        sentence += joined + carried
    start = ["", "", "", "", "", "", "a photo of ", "find ", "i want ", "looking for ", "my ", "the ", "show me "]
    sentence = " ".join([sentence, *lacking]).strip()
    opening = chance.choice(start)
    if opening in ("my ", "the "):
        sentence = sentence.removeprefix("an ").removeprefix("a ")
    return opening + sentence


def _list(things: list[str]) -> str:
    return things[0] if len(things) == 1 else ", ".join(things[:-1]) + " and " + things[-1] if things else ""


def _without(thing: str, chance: random.Random) -> str:
    """Returns the English phrase for a thing that is not worn."""
    if chance.random() < 0.4:
        return f"no {thing}"
    put = chance.choice(["without", "without", "not wearing", "but not"])
    return f"{put} {thing if 'glass' in thing or 'spec' in thing else _article(thing)}"


def _chinese(said: _Said, book: words.Book, chance: random.Random) -> str:
    def color_of(value: str) -> str:
        return book.call(words.COLORS, value, "zh", chance)

    noun = book.call(words.SPECIES, said.species, "zh", chance) if said.species else ""
    toy = chance.choice(["毛绒玩具", "玩偶", "公仔", "娃娃", "玩具", "布偶", "毛绒公仔"])
    worn, verbs = [], []
    for kind, shade in said.worn:
        thing = _thing(kind, "zh", book, chance)
        between = chance.choice(["", "", "", "的"])
        worn.append(f"{color_of(shade)}{between}{thing}" if shade else thing)
        verbs.append(chance.choice(words.VERBS.get(kind, words.VERBS[""]).split("|")))
    lacking = [
        chance.choice(["没有", "没有", "不带", "没", "无"]) + _thing(kind, "zh", book, chance) for kind in said.lacking
    ]
    before, after = [], []
    if said.pose:
        before.append(book.call(words.POSES, said.pose, "zh", chance))
    if said.pattern and said.pattern != "plain":
        mark = book.call(words.PATTERNS, said.pattern, "zh", chance)
        adjective = words.PATTERN_ADJECTIVES.get(said.pattern)
        if adjective and not said.second and chance.random() < 0.5:
            before.append(chance.choice(adjective[1].split("|")))
        else:
            after.append(f"{color_of(said.second)}{mark}" if said.second else mark)
    elif said.second:
        after.append(f"{color_of(said.second)}" + chance.choice(["花纹", "部分", "装饰"]))
    if said.pattern == "plain":
        before.append(book.call(words.PATTERNS, "plain", "zh", chance))
    if said.color:
        color = color_of(said.color)
        before.append(color + ("的" if chance.random() < 0.4 else ""))
    if said.fur:
        before.append(book.call(words.FURS, said.fur, "zh", chance))
    style = chance.random()
    if style < 0.25:
        parts = [*before, *([noun] if noun else []), *worn, *after, *lacking]
        chance.shuffle(parts)
        return chance.choice([" ", "，", "", " "]).join(parts)
    carried = "".join(
        (verb if position == 0 or chance.random() < 0.3 else chance.choice(["和", "、"])) + one
        for position, (verb, one) in enumerate(zip(verbs, worn, strict=True))
    )
    head = "".join(before) + noun
    if not noun:
        head += toy if before or chance.random() < 0.5 else ""
    elif chance.random() < 0.3:
        head += toy
    marks = "和".join(after)
    count = chance.choice(["", "", "", "一只", "一个", "这只"])
    unsaid = "，".join(lacking)
    if not head:
        phrase = carried + marks if chance.random() < 0.6 else (carried + "的" if carried else f"有{marks}的")
        return f"{phrase}，{unsaid}" if unsaid and (carried or marks) else unsaid or phrase
    if carried and chance.random() < 0.65:
        phrase = f"{count}{carried}的{head}"
    elif carried:
        phrase = f"{count}{head}{chance.choice(['，', '', ' '])}{carried}"
    else:
        phrase = count + head
    if marks:
        phrase = (
            f"有{marks}的{phrase}" if chance.random() < 0.4 else f"{phrase}{chance.choice(['，有', '有', '带'])}{marks}"
        )
    if unsaid:
        phrase = f"{unsaid}的{phrase}" if chance.random() < 0.5 else f"{phrase}，{unsaid}"
    return chance.choice(["", "", "", "", "", "找", "我想要", "请给我", "一张照片："]) + phrase


def _mistype(written: str, chance: random.Random) -> str:
    """Returns the text with capitals, full stops and typing errors at random."""
    if chance.random() < 0.06 and len(written) > 8:
        place = chance.randrange(2, len(written) - 2)
        written = written[:place] + written[place + 1 :]
    if chance.random() < 0.15:
        written += chance.choice([".", "!", "?", " ."])
    return written
