"""A catalog that is served: its engine, its engines' names for clients, and how hits and items look in answers."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from typing import Any

from .._core import Hit
from ..engine import Engine
from ..results import Item
from .auth import Guard
from .coding import dump, segment
from .errors import Problem, bad
from .settings import Settings

#: References whose items are remembered, so that a picture is found by its digest alone.
REMEMBERED = 100_000

#: The most items that are looked at for labels and keys, and for how many seconds what was found is kept.
SAMPLED, KEPT = 20_000, 10.0

#: The name of all models together.
BOTH = "both"


class Catalog:
    """A catalog that is served.

    Args:
        name: The name by which paths call it.
        engine: The open catalog.
        settings: The configuration.
        guard: Signs the addresses of pictures.
    """

    def __init__(self, name: str, engine: Engine, settings: Settings, guard: Guard) -> None:
        self.name, self.engine = name, engine
        self.settings, self._guard = settings, guard
        #: Held by changes that look at an item first.
        self.lock = threading.Lock()
        self._items: OrderedDict[str, str] = OrderedDict()
        self._items_lock = threading.Lock()
        self._sample: tuple[float, list[dict[str, Any]], list[str]] | None = None
        self.name_engines()

    def name_engines(self) -> None:
        """Gives the engine's models the names by which clients choose them; again after it has got another one."""
        engine = self.engine
        weights = self.settings.search.fusion_weights.model_dump()
        #: What the engines' names of the page and of the seed mean.
        engines: dict[str, Any] = {model: model for model in engine.models}
        if engine.text_model is not None:
            engines.setdefault("clip", engine.text_model)
        if len(engine.models) > 1:
            second = next((model for model in engine.models if model != engine.text_model), None)
            if second is not None:
                engines.setdefault("resnet", second)
            engines[BOTH] = {model: weights.get(model, 1.0) for model in engine.models}
        self.engines = engines

    def models(self, given: Any) -> Any:
        """Returns the models of a search by a name that a client knows, or by weights.

        Raises:
            Problem: There is no such model.
        """
        if given is None or given == "":
            return None
        if isinstance(given, str):
            if given not in self.engines:
                raise bad(f"this catalog has no engine {given[:40]!r}: choose {', '.join(self.engines)}")
            return self.engines[given]
        if isinstance(given, dict) and given and all(_is_number(weight) for weight in given.values()):
            chosen = {}
            for name, weight in given.items():
                model = self.models(name)
                if not isinstance(model, str):
                    raise bad(f"models: {name!r} has no weight of its own: name the models")
                chosen[model] = float(weight)
            return chosen
        raise bad('models: give a name, or weights such as {"clip": 0.6, "resnet": 0.4}')

    # Answers

    def hit(self, hit: Hit, prefix: str) -> dict[str, Any]:
        """Returns a hit as a dict for JSON; ``prefix`` is the path of the catalog's routes."""
        thumbnail, picture = self.pictures(hit.item, hit.digest, prefix, hit.view)
        mesh = hit.digest if hit.view is not None else None
        return {
            "rank": hit.rank,
            "item": hit.item,
            "class_name": hit.item,
            "label": hit.label,
            "text": hit.text,
            "metadata": hit.metadata,
            "score": hit.score,
            "similarity": hit.similarity,
            "probability": hit.probability,
            "matched": list(hit.matched),
            "reference": {"name": base_name(hit.reference), "digest": hit.digest, "view": hit.view},
            "scores": hit.scores,
            "thumbnail": thumbnail,
            "picture": picture,
            "turntable": self.turntable(hit.item, mesh, prefix),
        }

    def item(self, item: Item, prefix: str) -> dict[str, Any]:
        """Returns an item as a dict for JSON; ``prefix`` is the path of the catalog's routes."""
        references = []
        for reference in item.references:
            digest, view = reference.digest, reference.view
            thumbnail, picture = self.pictures(item.id, digest, prefix, view)
            name = base_name(reference.name)
            row = {"name": name, "digest": digest, "view": view, "thumbnail": thumbnail, "picture": picture}
            references.append(row)
        mesh = next((reference.digest for reference in item.references if reference.view is not None), None)
        return {
            "id": item.id,
            "label": item.label,
            "text": item.text,
            "metadata": item.metadata,
            "etag": etag(item),
            "references": references,
            "turntable": self.turntable(item.id, mesh, prefix),
        }

    def pictures(self, item: str, digest: str, prefix: str, view: str | None = None) -> tuple[str, str]:
        """Returns the addresses of a reference's thumbnail and picture, and remembers its item."""
        if digest not in self._items:
            with self._items_lock:
                self._items[digest] = item
                if len(self._items) > REMEMBERED:
                    self._items.popitem(last=False)
        shown = "" if view is None else f"&view={segment(view)}"
        end = f"?item={segment(item)}{shown}{self._guard.sign(f'{self.name}/{digest}', item)}"
        return f"{prefix}/media/{digest}/thumbnail{end}", f"{prefix}/media/{digest}/view{end}"

    def turntable(self, item: str, digest: str | None, prefix: str) -> str | None:
        """Returns the address of the strip of pictures of a mesh; None of None, no mesh."""
        if digest is None:
            return None
        end = f"?item={segment(item)}{self._guard.sign(f'{self.name}/{digest}', item)}"
        return f"{prefix}/media/{digest}/turntable{end}"

    def item_of(self, digest: str) -> str | None:
        """Returns an item that has a reference of this digest, if an answer has named it or the first items have it."""
        if (known := self._items.get(digest)) is not None:
            return known
        for number, item in enumerate(self.engine.iterate()):
            if number >= SAMPLED:
                return None
            if any(reference.digest == digest for reference in item.references):
                return item.id
        return None

    def sample(self) -> tuple[list[dict[str, Any]], list[str]]:
        """Returns the labels with their numbers of items, most frequent first, and the keys of metadata.

        The first 20,000 items are looked at.
        """
        now = time.monotonic()
        held = self._sample
        if held is None or now - held[0] > KEPT:
            labels: dict[str, int] = {}
            keys: dict[str, None] = {}
            for number, item in enumerate(self.engine.iterate()):
                if number >= SAMPLED:
                    break
                if item.label is not None:
                    labels[item.label] = labels.get(item.label, 0) + 1
                keys |= dict.fromkeys(item.metadata)
            ranked = sorted(labels.items(), key=lambda pair: (-pair[1], pair[0]))
            held = now, [{"label": label, "items": count} for label, count in ranked], list(keys)
            self._sample = held
        return held[1], held[2]

    def stats(self, *, writable: bool) -> dict[str, Any]:
        """Returns what the page needs to know of the catalog."""
        stats, search = self.engine.stats(), self.settings.search
        return {
            "name": self.name,
            "models": list(self.engine.models),
            "image_model": self.engine.image_model,
            "text_model": self.engine.text_model,
            "items": stats["items"],
            "references": stats["references"],
            "read_only": self.settings.server.read_only,
            "writable": writable,
            "languages": stats.get("languages") or [],
            "max_k": search.max_k,
            "default_k": search.default_k,
            "engines": list(self.engines),
            "dimension": stats.get("dimension"),
            "threads": stats.get("threads"),
            "calibration": stats.get("calibration", []),
            "learned_weights": stats.get("learned_weights"),
            "index": stats["index"],
            "approximate": stats["approximate"],
        }


def base_name(name: str) -> str:
    """Returns the last part of a path, of any system."""
    return name.rpartition("/")[2].rpartition("\\")[2]


def etag(item: Item) -> str:
    """Returns a mark that differs if anything that is stored about an item does."""
    return hashlib.sha256(dump(item.to_dict())).hexdigest()[:20]


def check_writable(catalog: Catalog) -> None:
    """Refuses a change of a catalog that is served for reading only.

    Raises:
        Problem: It is.
    """
    if catalog.settings.server.read_only:
        raise Problem(403, "read_only", "this server changes nothing: start it without --read-only")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
