"""The contents that a catalog must have, as a dictionary, and random changes of both."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

import plushie_search as ps

DIM = 8
LABELS = ["bear", "cat", "兔子", "fox", None]

#: An item: label, text, metadata, and the seed of the vector of each reference by its name.
Item = dict[str, Any]
Change = dict[str, Any]


@functools.lru_cache(1 << 17)
def vector(seed: int) -> NDArray[np.float32]:
    """The unit vector that a seed stands for."""
    row = np.random.Generator(np.random.PCG64(seed)).standard_normal(DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


def digest(name: str, seed: int) -> str:
    """The digest that a reference is added with: it tells the vector, too."""
    return hashlib.sha256(f"{name}/{seed}".encode()).hexdigest()


class World:
    """The contents of a catalog.

    Attributes:
        items: The items by their ids.
        number: The number of the next new name or vector.
    """

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.number = 0

    def copy(self) -> World:
        return copy.deepcopy(self)

    @property
    def references(self) -> int:
        return sum(len(item["vectors"]) for item in self.items.values())

    def new(self) -> int:
        self.number += 1
        return self.number

    # Changes

    def grow(self, count: int) -> Change:
        """Returns the addition of new items, each with one reference."""
        return self._add([f"i{self.new()}" for _ in range(count)], random.Random(self.number))

    def change(self, rng: random.Random, limit: int) -> Change:
        """Returns a change that can be made now; it must be made, or the numbers of names are lost."""
        ids, kinds = list(self.items), ["add", "more", "again", "update", "remove", "reference", "where", "compact"]
        weights = [40, 12, 8, 18, 12, 8, 1, 1]
        if self.references > limit:
            weights = [5, 2, 8, 18, 60, 20, 20, 1]
        kind = rng.choices(kinds, weights)[0] if ids else "add"
        if kind == "add":
            return self._add([f"i{self.new()}" for _ in range(rng.randint(1, 12))], rng)
        if kind == "more":
            return self._add(rng.choices(ids, k=rng.randint(1, 6)), rng)
        if kind == "again":
            id = rng.choice(ids)
            name = rng.choice(list(self.items[id]["vectors"]))
            # The same vector, which changes nothing, or another one in its place.
            seed = self.items[id]["vectors"][name] if rng.random() < 0.3 else self.new()
            return {"do": "add", "rows": [[id, name, seed, None, None, None]]}
        if kind == "update":
            fields = rng.sample(["label", "text", "metadata"], rng.randint(1, 3))
            return {"do": "update", "id": rng.choice(ids), "fields": {key: self._field(key, rng) for key in fields}}
        if kind == "remove":
            return {"do": "remove", "ids": rng.sample(ids, min(len(ids), rng.randint(1, 8)))}
        if kind == "reference":
            id = rng.choice(ids)
            return {"do": "reference", "id": id, "name": rng.choice(list(self.items[id]["vectors"]))}
        if kind == "where":
            return {"do": "where", "label": rng.choice(LABELS[:-1]), "n": rng.randint(0, 9)}
        return {"do": "compact"}

    def _field(self, key: str, rng: random.Random) -> Any:
        if key == "label":
            return rng.choice(LABELS)
        if key == "text":
            return rng.choice([None, f"a soft toy {rng.randint(0, 99)}", "红色的熊"])
        return rng.choice([{}, {"n": rng.randint(0, 9)}, {"n": rng.randint(0, 9), "tags": ["a", "é"], "名": None}])

    def _add(self, ids: list[str], rng: random.Random) -> Change:
        rows = []
        for id in ids:
            given = [self._field(key, rng) if rng.random() < 0.5 else None for key in ("label", "text", "metadata")]
            for _ in range(rng.choice([1, 1, 1, 2, 3])):
                rows.append([id, f"r{self.new()}", self.new(), *given])
        return {"do": "add", "rows": rows}

    def apply(self, change: Change) -> None:
        """Makes a change here."""
        kind = change["do"]
        if kind == "add":
            for id, name, seed, *given in change["rows"]:
                item = self.items.setdefault(id, {"label": None, "text": None, "metadata": {}, "vectors": {}})
                # A replaced reference is a new one, behind the others.
                if item["vectors"].get(name) != seed:
                    item["vectors"].pop(name, None)
                    item["vectors"][name] = seed
                item.update({k: v for k, v in zip(("label", "text", "metadata"), given, strict=True) if v is not None})
        elif kind == "update":
            self.items[change["id"]].update(change["fields"])
        elif kind == "remove":
            for id in change["ids"]:
                del self.items[id]
        elif kind == "reference":
            item = self.items[change["id"]]
            del item["vectors"][change["name"]]
            if not item["vectors"]:
                del self.items[change["id"]]
        elif kind == "where":
            for id in [id for id, item in self.items.items() if _fits(item, change)]:
                del self.items[id]

    # Comparing

    def state(self) -> dict[str, Any]:
        """Everything but the numbers of the vectors, which the digests stand for."""
        return {
            id: (item["label"], item["text"], item["metadata"], [(n, digest(n, s)) for n, s in item["vectors"].items()])
            for id, item in self.items.items()
        }

    def mark(self) -> str:
        return mark(self.state())

    def check(self, engine: ps.Engine, rng: random.Random, *, searches: int = 3) -> None:
        """Compares all of a catalog with this: items, vectors, and the best of some searches."""
        found = state(engine)
        if found != (wanted := self.state()):
            gone, strange = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
            other = [id for id in wanted.keys() & found.keys() if wanted[id] != found[id]]
            raise AssertionError(
                f"lost items {gone[:5]} ({len(gone)}), phantom items {strange[:5]} ({len(strange)}), other content "
                f"{[(wanted[id], found[id]) for id in other[:2]]} ({len(other)})"
            )
        for id, item in self.items.items():
            rows = np.stack([vector(seed) for seed in item["vectors"].values()])
            assert np.abs(engine.vectors(id) - rows).max() < 1e-6, f"{id} has other vectors"
        self.check_searches(engine, rng, searches)

    def nearest(self, query: NDArray[np.float32], label: str | None = None) -> dict[str, float]:
        """The score of each item, of those with a label if one is given: that of its best reference."""
        items = {id: item for id, item in self.items.items() if label in (None, item["label"])}
        if not items:
            return {}
        scores = np.stack([vector(seed) for item in items.values() for seed in item["vectors"].values()]) @ query
        starts = np.cumsum([0, *(len(item["vectors"]) for item in items.values())])[:-1]
        return dict(zip(items, np.maximum.reduceat(scores, starts).tolist(), strict=True))

    def check_searches(self, engine: ps.Engine, rng: random.Random, count: int, *, filtered: bool = False) -> None:
        """Compares searches for the nearest with a scan of all vectors."""
        for _ in range(count):
            label = rng.choice(LABELS[:-1]) if filtered else None
            query = vector(rng.randrange(2**16))
            found = engine.search_vector(query, k=3, where=None if label is None else {"label": label})
            best = self.nearest(query, label)
            wanted = sorted(best.values(), reverse=True)[:3]
            assert np.allclose([hit.score for hit in found], wanted, atol=1e-5), (list(found), wanted)
            for hit in found:
                assert abs(best[hit.item] - hit.score) < 1e-5, f"{hit.item} has {best[hit.item]}, found {hit.score}"


def _fits(item: Item, change: Change) -> bool:
    return item["label"] == change["label"] and item["metadata"].get("n") == change["n"]


def make(engine: ps.Engine, change: Change) -> None:
    """Makes a change in a catalog."""
    kind = change["do"]
    if kind == "add":
        ids, names, seeds, labels, texts, metadata = zip(*change["rows"], strict=True)
        engine.add_vectors(
            ids,
            np.stack([vector(seed) for seed in seeds]),
            references=names,
            digests=[digest(name, seed) for name, seed in zip(names, seeds, strict=True)],
            labels=labels,
            texts=texts,
            metadata=metadata,
        )
    elif kind == "update":
        engine.update(change["id"], **change["fields"])
    elif kind == "remove":
        engine.remove(change["ids"])
    elif kind == "reference":
        engine.remove_reference(change["id"], change["name"])
    elif kind == "where":
        engine.remove(where={"label": change["label"], "n": change["n"]})
    else:
        engine.compact()


def state(engine: ps.Engine) -> dict[str, Any]:
    """Everything that a catalog has but the numbers of its vectors."""
    return {
        item.id: (item.label, item.text, dict(item.metadata), [(one.name, one.digest) for one in item.references])
        for item in engine.items()
    }


def mark(found: dict[str, Any]) -> str:
    """A number that two states share if they are the same."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()
