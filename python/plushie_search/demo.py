"""Plush toys as pictures, and the demo: make a collection, search it, show the answers as tables and as a page."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _core
from ._core import ArgumentError
from .encoders.protocol import Model, name_of
from .engine import Engine
from .hub import DEFAULT_MODEL
from .plush.pictures import Toy, write_plushes
from .results import Results
from .rows import ItemDraft
from .show.demo import Section, page
from .show.progress import ProgressBar

#: A file that says that a directory was made by the demo, which may then make it anew.
MARK = ".plushie-search-demo"
#: The first number of the views of queries, which differ from those of references.
ELSEWHERE = 10**9


@dataclass(frozen=True)
class Question:
    """A query of the demo, and the items that answer it."""

    title: str
    image: Path | None
    text: str | None
    right: frozenset[str]


@dataclass(frozen=True)
class Answer:
    """The hits of a question, and how long the search took in milliseconds."""

    question: Question
    hits: Results
    milliseconds: float


@dataclass(frozen=True)
class Demo:
    """A searched collection.

    Attributes:
        model: The name of the model that searched.
        fingerprint: The fingerprint of that model.
        items: How many plushes the catalog holds.
        references: How many pictures of them.
        figures: Sentences that say how often the right plush came first, over the whole collection.
        answers: The questions that the page shows, in its order.
    """

    model: str
    fingerprint: str
    items: int
    references: int
    figures: tuple[str, ...]
    answers: tuple[Answer, ...]


def run(
    directory: Path,
    *,
    model: Model = DEFAULT_MODEL,
    plushes: int = 60,
    seed: int = 1,
    threads: int | None = None,
) -> Demo:
    """Makes a collection of plushes in ``directory``, searches it, and writes a page with the answers.

    The page is ``directory/index.html``. ``model`` and ``threads`` are as for :class:`plushie_search.Engine`.

    Raises:
        ArgumentError: The directory holds something else than an earlier demo.
    """
    _make_room(directory)
    with Engine(directory / "toys.catalog", model=model, threads=threads) as engine:
        print(f"rendering {plushes} plush toys, two pictures each")
        pictures = directory / "plushes"
        seeds = range(seed, seed + plushes)
        toys = _with_bar(
            "rendering",
            lambda bar: write_plushes(pictures, seeds=seeds, views=2, side=320, threads=threads, progress=bar),
        )
        photos = _photos(directory / "photos", toys, threads)
        rows = [
            ItemDraft(
                toy["id"], [pictures / image for image in toy["images"]], toy["label"], toy["metadata"], toy["text"]
            )
            for toy in toys
        ]
        begin = time.perf_counter()
        report = _with_bar("adding", lambda bar: engine.add_items(rows, progress=bar))
        seconds = time.perf_counter() - begin
        print(f"added {report.items} items with {report.references} references in {seconds:.1f} s\n")

        answers = []
        for question in _questions(toys, photos):
            begin = time.perf_counter()
            (hits,) = _ask(engine, [question], 5)
            answers.append(Answer(question, hits, 1000 * (time.perf_counter() - begin)))
            print(f"{question.title}: {_asked(question)}")
            print(f"{str(hits).partition(chr(10))[2]}\n")
        demo = Demo(
            model=Path(name_of(model)).name,
            fingerprint=engine.stats()["fingerprint"],
            items=report.items,
            references=report.references,
            figures=_figures(engine, toys, photos),
            answers=tuple(answers),
        )
    print("\n".join(demo.figures))
    target = directory / "index.html"
    target.write_text(_page(demo), encoding="utf-8")
    print(f"the same with pictures: {target}")
    return demo


def _ask(engine: Engine, questions: Sequence[Question], k: int) -> list[Results]:
    """Returns the answers to questions that are all photos, or all sentences."""
    images = [question.image for question in questions if question.image is not None]
    if images:
        return engine.search_image(images, k=k)
    return engine.search_text([question.text for question in questions if question.text is not None], k=k)


def _with_bar(verb: str, work: Callable[[ProgressBar], Any]) -> Any:
    """Does the work with a progress bar, and clears the bar."""
    bar = ProgressBar(verb)
    try:
        return work(bar)
    finally:
        bar.close()


def _make_room(directory: Path) -> None:
    mark = directory / MARK
    if directory.exists() and any(directory.iterdir()) and not mark.exists():
        raise ArgumentError(f"{directory} holds something else than a demo: name a new directory")
    directory.mkdir(parents=True, exist_ok=True)
    mark.write_text("Made by `plushie-search demo`, which makes everything here anew when it runs again.\n")
    for old in ("plushes", "photos", "toys.catalog"):
        shutil.rmtree(directory / old, ignore_errors=True)


def _photos(directory: Path, toys: Sequence[Toy], threads: int | None) -> list[Path]:
    """Returns an everyday picture of each plush."""
    directory.mkdir()
    seeds = [toy["metadata"]["seed"] for toy in toys]
    paths = [directory / f"{toy['id']}.jpg" for toy in toys]
    views = [(ELSEWHERE + seed) % 2**63 for seed in seeds]
    pictures = _core.render_plushes(seeds, views, size=320, scene="everyday", threads=threads)
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(_core.thumbnail(picture, side=320))
    return paths


# Questions whose answers are known


SAY = {
    "en": ("a {color} {species}", "a {species} with a {color} {kind}"),
    "zh-Hans": ("{color}的{species}", "有{color}{kind}的{species}"),
    "zh-Hant": ("{color}的{species}", "有{color}{kind}的{species}"),
}


def _photo(toy: Toy, photo: Path) -> Question:
    return Question("A photo", photo, None, frozenset({toy["id"]}))


def _color(toys: Sequence[Toy], toy: Toy, language: str) -> Question:
    """Returns a question for a plush's color and kind; every plush that has both is right."""
    species, color = toy["label"], toy["metadata"]["color"]
    right = {other["id"] for other in toys if (other["label"], other["metadata"]["color"]) == (species, color)}
    return Question("A sentence", None, _say(language, species, color), frozenset(right))


def _dress(toys: Sequence[Toy], toy: Toy, language: str) -> Question:
    """Returns a question for a plush's kind and first accessory; every plush that has both is right."""
    species, worn = toy["label"], toy["metadata"]["wears"][0]
    right = {other["id"] for other in toys if other["label"] == species and worn in other["metadata"]["wears"]}
    return Question("A sentence", None, _say(language, species, *worn.split(" ")), frozenset(right))


def _say(language: str, species: str, color: str, kind: str = "") -> str:
    words = _core.plush_words()
    said = {"species": species, "color": color, "kind": kind}
    pattern = SAY[language][1 if kind else 0]
    text = pattern.format(**{name: words[name][value][language] for name, value in said.items() if value})
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def _questions(toys: Sequence[Toy], photos: Sequence[Path]) -> list[Question]:
    """Returns queries of every kind about this collection, with the right items: first English, then Chinese."""
    # A color and a kind say all there is to a plain plush, but little about one with patches that wears a hat.
    bare = [toy for toy in toys if not toy["metadata"]["wears"]] or list(toys)
    plain = [toy for toy in bare if toy["metadata"]["pattern"] == "plain"] or bare
    dressed = [toy for toy in toys if toy["metadata"]["wears"]]
    questions = []
    for end, place, one, two in ((0, 1, "en", "en"), (-1, 5, "zh-Hans", "zh-Hant")):
        number = len(toys) * place // 6
        questions += [_photo(toys[number], photos[number]), _color(toys, plain[end], one)]
        questions += [_dress(toys, toy, two) for toy in dressed[end:][:1]]
    return questions


#: The names of the languages of sentences in the figures.
LANGUAGES = {"en": "English", "zh-Hans": "simplified Chinese", "zh-Hant": "traditional Chinese"}


def _figures(engine: Engine, toys: Sequence[Toy], photos: Sequence[Path]) -> tuple[str, ...]:
    """Counts right plushes that come first: from a photo of each, and from each color and kind in each language."""

    def first(questions: Sequence[Question]) -> str:
        answers = zip(questions, _ask(engine, questions, 1), strict=True)
        found = sum(len(hits) > 0 and hits[0].item in question.right for question, hits in answers)
        return f"{found} of {len(questions)}"

    shots = [_photo(toy, photo) for toy, photo in zip(toys, photos, strict=True)]
    figures = [f"{first(shots)} plushes found first from a photo in other light and from another side"]
    for language, name in LANGUAGES.items():
        questions = {question.text: question for question in (_color(toys, toy, language) for toy in toys)}
        figures.append(f"{first(list(questions.values()))} found first from color and kind in {name}")
    return tuple(figures)


def _asked(question: Question) -> str:
    return str(question.image or question.text)


def _page(demo: Demo) -> str:
    return page(
        items=demo.items,
        references=demo.references,
        model=demo.model,
        figures=demo.figures,
        sections=[_section(answer) for answer in demo.answers],
    )


def _section(answer: Answer) -> Section:
    question = answer.question
    image = None if question.image is None else os.fspath(question.image)
    return Section(question.title, image, question.text, answer.hits, question.right, answer.milliseconds)
