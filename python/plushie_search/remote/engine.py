"""`RemoteEngine`: a catalog on a server, with the methods of an engine."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlsplit

import httpx
import numpy as np

from .. import _core
from .._core import ArgumentError, CatalogError, Hit, PictureError, UnknownItemError
from ..identification import Identification
from ..query import Query, hybrid, pictured
from ..results import Batch, Item, Items, ReencodeReport, Reference, Results, asked, reference_key
from .answers import classification_of, duplicates_of, likeness_of, review_of
from .coding import base64_of, coded, crop_of, error_of, file_of, hit_of, item_of, name_of, path_of, seconds_of
from .explaining import explain, inspect

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from typing_extensions import Unpack

    from .._core import _Image as ImageLike
    from .._core import _Texts as TextsLike
    from ..answers.duplicates import Duplicates
    from ..answers.explain.explanation import Explanation, Method
    from ..answers.explain.sentences import Language
    from ..answers.inspect.inspection import Inspection, Inspections
    from ..answers.likeness import Likeness
    from ..answers.review import Review
    from ..query import By, SearchOptions, Text, Where
    from ..searcher import Progress

#: The statuses after which a request is sent again, and the most bytes of queries in one body.
AGAIN, MOST = frozenset({429, 503}), 900_000

#: How often the state of a job is asked for, in seconds.
POLL = 0.2

#: The options of searches that a server knows.
OPTIONS = (
    "k",
    "after",
    "where",
    "min_score",
    "exclude",
    "mmr",
    "models",
    "fusion",
    "rrf_k",
    "aggregate",
    "temperature",
    "query_crops",
    "expand",
    "words",
    "nprobe",
    "ef_search",
    "k_factor",
)


class RemoteEngine:
    """A catalog that ``plushie-search serve`` has, with the methods of :class:`plushie_search.Engine`.

    Any number of threads may use it. A server that is busy is asked again, for as long as ``timeout``.

    Args:
        url: The server's address, such as ``"http://localhost:8082"``.
        key: The key, if the server needs one.
        catalog: The catalog's name; the server's first one by default.
        timeout: How long a call may take, in seconds.

    Raises:
        ArgumentError: The address cannot be understood, or there is no such catalog.
        CatalogError: The server does not answer, or refuses the key.
    """

    def __init__(self, url: str, *, key: str | None = None, catalog: str | None = None, timeout: float = 30.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ArgumentError(f"{url!r} is no address: give one like http://localhost:8082")
        self._url, self._timeout = url.rstrip("/"), timeout
        self._base = "/api/v1" if catalog is None else f"/api/v1/catalogs/{quote(catalog, safe='')}"
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client = httpx.Client(base_url=self._url, headers=headers, timeout=timeout)
        try:
            self._introduce()
        except BaseException:
            self.close()
            raise

    def _introduce(self) -> None:
        """Notes the names of the models."""
        stats = self.stats()
        self._models = tuple(stats["models"])
        self._sees: str | None = stats["image_model"]
        self._reads: str | None = stats["text_model"]

    # Items

    def stats(self) -> dict[str, Any]:
        """Returns what the server tells of the catalog: counts, models, limits, and whether it may be changed."""
        stats: dict[str, Any] = self._json("GET", "/stats")
        return stats

    @property
    def path(self) -> str:
        """The catalog's address."""
        return f"{self._url}{self._base}"

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return self._models

    @property
    def image_model(self) -> str | None:
        """The name of the model that looks up pictures by default; None if none sees any."""
        return self._sees

    @property
    def text_model(self) -> str | None:
        """The name of the model that looks up texts by default; None if none reads any."""
        return self._reads

    def __len__(self) -> int:
        return self.count()

    def __contains__(self, id: object, /) -> bool:
        try:
            self.get(id)  # type: ignore[arg-type]
        except (UnknownItemError, TypeError):
            return False
        return True

    def __iter__(self) -> Iterator[Item]:
        return self.iterate()

    def get(self, id: Text, /) -> Item:
        """Returns the item of that id.

        Raises:
            KeyError: There is no such item.
        """
        return item_of(self._json("GET", path_of(id)))

    def count(self, where: Where | None = None) -> int:
        """Returns how many items fit a filter, all of them by default."""
        return int(self._page(None, 1, where)["total"])

    def iterate(self, where: Where | None = None, /, *, batch: int = 200) -> Iterator[Item]:
        """Yields the items that fit, in the order in which they were added, ``batch`` of them in a request."""
        after = None
        while True:
            page = self._page(after, batch, where)
            yield from map(item_of, page["items"])
            if (after := page["next"]) is None:
                return

    def page(self, after: int = 0, *, limit: int = 100, where: Where | None = None) -> tuple[Items, int | None]:
        """Returns a page of the items, and the place where the next one begins; see ``Engine.page``."""
        page = self._page(str(after), limit, where)
        return Items(map(item_of, page["items"])), None if page["next"] is None else int(page["next"])

    def _page(self, after: str | None, limit: int, where: Where | None) -> dict[str, Any]:
        params = {"limit": str(limit), "after": after or "0"}
        if where:
            params["where"] = json.dumps(where)
        found: dict[str, Any] = self._json("GET", "/items", params=params)
        return found

    def vectors(self, id: Text, /, *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of an item's references: float32 (n, dim), of the first model or the one named."""
        params = {} if model is None else {"model": model}
        return np.asarray(self._json("GET", f"{path_of(id)}/vectors", params=params)["vectors"], np.float32)

    def thumbnail(self, item: Text, reference: str | Reference | None = None) -> bytes | None:
        """Returns a small copy of a reference, the item's first one by default, as a JPEG file; None if there is none.

        Raises:
            KeyError: There is no such item, or it has no such reference.
        """
        wanted = reference.key if isinstance(reference, Reference) else reference
        for one in self._json("GET", path_of(item))["references"]:
            key = reference_key(one["digest"], one.get("view"))
            if wanted is None or wanted in (one["name"], one["digest"], key):
                answer = self._send("GET", one["thumbnail"], absolute=True, missing=True)
                return None if answer is None else answer.content
        raise UnknownItemError(f"item {str(item)!r} has no reference {wanted!r}")

    # Changes

    def add(
        self,
        id: Text,
        *,
        images: ImageLike | Sequence[ImageLike] = (),
        names: str | Sequence[str | None] | None = None,
        label: Text | None = None,
        metadata: Mapping[str, Any] | None = None,
        text: Text | None = None,
    ) -> int:
        """Adds an item, or pictures to an item that is there, and returns how many of them are new.

        Args:
            id: The item's id.
            images: One picture or a sequence of them.
            names: The names of their references, one for each picture; by default those of the files.
            label, metadata, text: Replace what is stored; None keeps it, by default.

        Raises:
            PictureError: A picture cannot be used.
            ArgumentError: The id is empty or too long, or there is no picture.
        """
        pictures = list(images) if isinstance(images, (list, tuple)) else [images]
        given = [names] if isinstance(names, str) else list(names or [None] * len(pictures))
        if len(given) != len(pictures):
            raise ArgumentError(f"{len(pictures)} images but {len(given)} names: give one for each image")
        files = [
            ("image", (name or name_of(picture), file_of(picture)))
            for picture, name in zip(pictures, given, strict=True)
        ]
        fields = {
            "id": id,
            "label": label,
            "text": text,
            "metadata": None if metadata is None else json.dumps(metadata),
        }
        data = {name: str(value) for name, value in fields.items() if value is not None}
        return int(self._json("POST", "/items", files=files, data=data)["added"])

    def update(
        self,
        id: Text,
        *,
        label: Text | EllipsisType | None = ...,
        metadata: Mapping[str, Any] | EllipsisType | None = ...,
        text: Text | EllipsisType | None = ...,
    ) -> None:
        """Changes what is given; None clears it, what is left out stays.

        Raises:
            KeyError: There is no such item.
        """
        given = {"label": label, "metadata": metadata, "text": text}
        self._json("PATCH", path_of(id), json={key: value for key, value in given.items() if value is not ...})

    def remove(self, ids: Text | Iterable[Text]) -> int:
        """Removes items with their references, one after another, and returns how many.

        Raises:
            KeyError: There is no such item.
        """
        several = [ids] if isinstance(ids, str) or not isinstance(ids, Iterable) else ids
        return sum(int(self._json("DELETE", path_of(id))["removed"]) for id in several)

    def remove_reference(self, id: Text, reference: str | Reference) -> int:
        """Removes one reference of an item, by its name or digest, and returns how many the item has left.

        Raises:
            KeyError: There is no such item, or it has no such reference.
        """
        wanted = reference.digest if isinstance(reference, Reference) else reference
        held = next((one.digest for one in self.get(id).references if wanted in (one.name, one.digest)), None)
        if held is None:
            raise UnknownItemError(f"item {str(id)!r} has no reference {wanted!r}")
        return int(self._json("DELETE", f"{path_of(id)}/references/{held}")["left"])

    # Searches

    def search_image(self, image: ImageLike | Sequence[ImageLike], /, **options: Unpack[SearchOptions]) -> Any:
        """Returns the items that look most like a picture; a list of pictures gives a list of results."""
        images, single = _core.each_image(image)
        return self._search([Query(image=one) for one in images], list(images), single, options)

    def search_text(self, text: str | TextsLike, /, **options: Unpack[SearchOptions]) -> Any:
        """Returns the items that fit a text best; a list of texts gives a list of results."""
        texts, single = _core.each_text(text)
        return self._search([Query(text=one) for one in texts], list(texts), single, options)

    def search_hybrid(
        self, image: ImageLike, text: str, *, image_weight: float = 0.5, **options: Unpack[SearchOptions]
    ) -> Results:
        """Returns the items that look like a picture and fit a text."""
        query = hybrid(image, text, image_weight)
        found: Results = self._search([query], [query], True, options)
        return found

    def search_vector(self, vector: ArrayLike | Mapping[str, ArrayLike], /, **options: Unpack[SearchOptions]) -> Any:
        """Returns the items nearest to a vector, (dim,), or (n, dim) for a list of results; or a dict by model."""
        named = vector if isinstance(vector, Mapping) else {"": vector}
        rows = {name: _core.each_vector(array, "vector") for name, array in named.items()}
        single = all(single for _, single in rows.values())
        count = max((len(array) for array, _ in rows.values()), default=0)
        queries = [
            Query(vector=rows[""][0][n] if "" in rows else {name: array[n] for name, (array, _) in rows.items()})
            for n in range(count)
        ]
        return self._search(queries, ["vector"] * count, single, options)

    def search(self, query: Query | Sequence[Query], /, **options: Unpack[SearchOptions]) -> Any:
        """Returns the items nearest to a query of several weighted parts; a list of queries gives a list of results."""
        queries = [query] if isinstance(query, Query) else list(query)
        return self._search(queries, queries, isinstance(query, Query), options)

    def identify(
        self,
        image: ImageLike | Query | Sequence[ImageLike | Query],
        *,
        target_fpr: float = 0.01,
        prior: float = 0.5,
        k: int = 5,
        where: Where | None = None,
        models: By | None = None,
        query_crops: bool = False,
    ) -> Any:
        """Says which item a picture shows, or that it shows none; a list gives a list. See ``Engine.identify``."""
        pictures, single = pictured(image)
        given = {"target_fpr": target_fpr, "prior": prior, "k": k, "where": where, "models": models}
        given["query_crops"] = query_crops or None
        options = {key: value for key, value in given.items() if value is not None}
        found = [self._identify(one, options) for one in pictures]
        return found[0] if single else found

    def _identify(self, image: ImageLike | Query, options: Mapping[str, Any]) -> Identification:
        query = image if isinstance(image, Query) else Query(image=image)
        one = coded(query)
        how = _form(query, options) if len(json.dumps(one)) > MOST else {"json": {"query": one, **options}}
        answer = self._json("POST", "/identify", **how)
        hits = [hit_of(hit) for hit in answer["results"]]
        model = asked(hits, self._asked(options))
        results = Results(hits, query=image, model=model, warnings=answer["notices"], thumbnails=self.thumbnail)
        figures = {name: answer[name] for name in ("verdict", "item", "probability", "margin", "strength", "threshold")}
        return Identification(plausible=tuple(answer["plausible"]), hits=results, **figures)

    def _search(self, queries: Sequence[Query], shown: Sequence[Any], single: bool, options: SearchOptions) -> Any:
        given = {
            key: value for key, value in options.items() if value is not None and (value is not False or key == "words")
        }
        if unknown := next((key for key in given if key not in OPTIONS), None):
            raise ArgumentError(f"a search on a server has no option {unknown}: search with an Engine")
        if (after := given.pop("after", None)) is not None:
            if len(queries) != 1:
                raise ArgumentError(f"after goes on with one query, and there are {len(queries)}: search for each")
            given["cursor"] = after
        if (exclude := given.get("exclude")) is not None:
            several = exclude if isinstance(exclude, (list, tuple, set, frozenset)) else [exclude]
            given["exclude"] = [str(id) for id in several]
        answers: list[tuple[list[Hit], str | None, list[str]]] = []
        waiting: list[Any] = []
        size = 0
        for query in queries:
            one = coded(query)
            length = len(json.dumps(one))
            if waiting and (size + length > MOST or len(waiting) == 64):
                answers += self._ask(waiting, given)
                waiting, size = [], 0
            if length > MOST:
                answers += self._ask_form(query, given)
            else:
                waiting.append(one)
                size += length
        if waiting:
            answers += self._ask(waiting, given)
        results = [
            Results(
                hits,
                query=one,
                model=asked(hits, self._asked(options)),
                cursor=cursor if len(queries) == 1 else None,
                warnings=notices,
                thumbnails=self.thumbnail,
            )
            for (hits, cursor, notices), one in zip(answers, shown, strict=True)
        ]
        return results[0] if single else Batch(results)

    def _asked(self, options: Mapping[str, Any]) -> str | None:
        models = options.get("models") or self._models[0]
        return " + ".join(models) if isinstance(models, Mapping) else models

    def _ask(self, queries: list[Any], options: Mapping[str, Any]) -> list[tuple[list[Hit], str | None, list[str]]]:
        # The answer to one query has a cursor.
        body = {"query": queries[0]} if len(queries) == 1 else {"queries": queries}
        return _answers(self._json("POST", "/search", json={**body, **options}), single=len(queries) == 1)

    def _ask_form(self, query: Query, options: Mapping[str, Any]) -> list[tuple[list[Hit], str | None, list[str]]]:
        return _answers(self._json("POST", "/search", **_form(query, options)), single=True)

    # Answers

    def classify(
        self,
        image: ImageLike | Sequence[ImageLike],
        labels: Sequence[str] | None = None,
        *,
        by: Literal["auto", "images", "texts"] = "auto",
        where: Where | None = None,
        expand: bool | Sequence[str] = True,
    ) -> Any:
        """Tells which class a picture is of; a list of pictures gives a list. See ``Engine.classify``."""
        images, single = _core.each_image(image)
        given = {"labels": None if labels is None else list(labels), "by": by, "where": where, "expand": expand}
        data = {key: one if isinstance(one, str) else json.dumps(one) for key, one in given.items() if one is not None}
        answers = []
        for start in range(0, len(images), 64):
            some = images[start : start + 64]
            files = [("image", (name_of(one), file_of(one))) for one in some]
            crop = {key: json.dumps(boxes) for key, boxes in crop_of(some).items()}
            found = self._json("POST", "/classify", files=files, data={**data, **crop})["results"]
            answers += [classification_of(one) for one in (found if isinstance(found, list) else [found])]
        return answers[0] if single else answers

    def compare(
        self,
        a: ImageLike,
        b: ImageLike | None = None,
        *,
        item: Text | None = None,
        threshold: float = 0.9,
        models: By | None = None,
    ) -> Likeness:
        """Tells how like a picture is to another one, or to an item's best reference. See ``Engine.compare``."""
        if (b is None) == (item is None):
            raise ArgumentError("compare takes a second picture or an item: give one of them")
        pictures = [a] if b is None else [a, b]
        files = [("image", (name_of(one), file_of(one))) for one in pictures]
        crop = {key: json.dumps(boxes) for key, boxes in crop_of(pictures).items()}
        data = {"threshold": f"{threshold:.9f}", **crop}
        if item is not None:
            data["item"] = str(item)
        if models is not None:
            data["models"] = models if isinstance(models, str) else json.dumps(models)
        return likeness_of(self._json("POST", "/compare", files=files, data=data))

    def explain(
        self,
        query: ImageLike | Query,
        hit: Hit | Text,
        reference: str | Reference | None = None,
        *,
        method: Method = "windows",
        detail: Literal[1, 2] = 1,
        sides: Literal["both", "query"] = "both",
        language: Language = "en",
    ) -> Explanation:
        """Explains why an item matches a picture, a text, or both. See ``Engine.explain``."""
        name = reference.key if isinstance(reference, Reference) else reference
        options: dict[str, Any] = {"method": method, "detail": detail, "sides": sides, "language": language}
        return explain(self._json, self.thumbnail, query, hit, name, **options)

    def inspect(
        self,
        photo: ImageLike | Sequence[ImageLike],
        item: Text,
        *,
        threshold: float = 0.9,
        alarm_rate: float = 0.05,
        camera: Literal["fixed", "free"] = "fixed",
    ) -> Inspection | Inspections:
        """Inspects a photo, or a list of at most 64, beside the references of an item. See ``Engine.inspect``."""
        photos, single = _core.each_image(photo)
        numbers = {"threshold": f"{threshold:.9f}", "alarm_rate": f"{alarm_rate:.9f}"}
        found = inspect(self._json, photos, item, **numbers, camera=camera)
        if single and found.failed:
            raise PictureError(found.failed[0][1])
        return found[0] if single else found

    def duplicates(self, *, where: Where | None = None, near: float = 0.98, limit: int = 100) -> Duplicates:
        """Finds references that are the same or nearly so, in four classes. See ``Engine.duplicates``."""
        params = {"near": f"{near:.9f}", "limit": str(limit), **({"where": json.dumps(where)} if where else {})}
        return duplicates_of(self._json("GET", "/duplicates", params=params), self.thumbnail)

    def review(self, *, where: Where | None = None, margin: float = 0.05, limit: int = 100) -> Review:
        """Lists the items that need attention, the most urgent first. See ``Engine.review``."""
        params = {"margin": f"{margin:.9f}", "limit": str(limit), **({"where": json.dumps(where)} if where else {})}
        return review_of(self._json("GET", "/review", params=params))

    def confirm(self, image: ImageLike, item: Text, *, name: str | None = None) -> int:
        """Adds a picture as a reference of the item that it shows, and returns how many references are new.

        Raises:
            KeyError: There is no such item.
            PictureError: The picture cannot be used.
        """
        files = [("image", (name or name_of(image), file_of(image)))]
        return int(self._json("POST", f"{path_of(item)}/references", files=files)["added"])

    # Vectors

    def encode_images(self, images: Sequence[ImageLike], *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of pictures: float32 (n, dim)."""
        inputs = [{"image": base64_of(image), **crop_of([image])} for image in images]
        return self._encode(inputs, model or self._sees)

    def encode_texts(self, texts: TextsLike, *, model: str | None = None) -> NDArray[np.float32]:
        """Returns the unit vectors of texts: float32 (n, dim)."""
        return self._encode([{"text": text} for text in _core.each_text(texts)[0]], model or self._reads)

    def _encode(self, inputs: list[Any], model: str | None) -> NDArray[np.float32]:
        body = {"model": model, "input": inputs, "encoding_format": "base64"}
        rows = self._json("POST", "/v1/embeddings", absolute=True, json=body)["data"]
        return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])

    # Keeping

    def add_model(self, model: str, *, progress: Progress | None = None) -> ReencodeReport:
        """Gives the catalog a further model, and waits until the server has encoded all references with it.

        The catalog can be used meanwhile. If the wait is interrupted, such as by Ctrl-C, the server stops, too; the
        next call goes on there. See ``Engine.add_model``.

        Args:
            model: A name that ``plushie-search models list`` shows on the server.
            progress: Called with (references done, references in all or None, "").

        Raises:
            ArgumentError: The server knows no such model.
            CatalogError: The model cannot be added, or the catalog cannot be changed.
        """
        job = self._json("POST", "/jobs/add-model", json={"model": model})["job"]
        path = f"/jobs/{job['id']}"
        try:
            while job["state"] in ("queued", "running"):
                if progress is not None:
                    progress(job["done"], job["total"], "")
                time.sleep(POLL)
                job = self._json("GET", path)
        except BaseException:
            self._send("DELETE", path, missing=True)
            raise
        if job["state"] != "done":
            raise CatalogError(f"server {self._url}: {job.get('detail') or 'the job was cancelled'}")
        self._introduce()
        return ReencodeReport(**{**job["report"], "models": tuple(job["report"]["models"])})

    # Requests

    def _json(self, method: str, path: str, **how: Any) -> Any:
        answer = self._send(method, path, **how)
        assert answer is not None
        return answer.json()

    def _send(
        self, method: str, path: str, *, absolute: bool = False, missing: bool = False, **how: Any
    ) -> httpx.Response | None:
        """Sends a request, again if the server is busy; returns None for a picture that is not there."""
        url = path if absolute else f"{self._base}{path}"
        end = time.monotonic() + self._timeout
        while True:
            try:
                answer = self._client.request(method, url, **how)
            except httpx.TimeoutException:
                raise CatalogError(f"server {self._url} gave no answer in {self._timeout:g} seconds") from None
            except httpx.HTTPError as error:
                raise CatalogError(f"server {self._url} does not answer: {error}") from None
            wait = seconds_of(answer.headers.get("Retry-After"))
            if answer.status_code not in AGAIN or time.monotonic() + wait > end:
                break
            time.sleep(wait)
        if answer.is_success:
            return answer
        if missing and answer.status_code in (404, 410):
            return None
        raise error_of(answer, self._url)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __enter__(self) -> RemoteEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<RemoteEngine {self.path} model={', '.join(self._models)}>"


def _form(query: Query, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a form with the pictures of a large query as files, which all have one weight."""
    images, _, _, _ = query._row()
    weights = {weight for _, weight in images}
    if len(weights) > 1:
        raise ArgumentError("large pictures with different weights: make the pictures smaller, below 600 kB together")
    rest = coded(Query(text=query.text, item=query.item, vector=query.vector))
    rest["weights"] = {"image": sum(weight for _, weight in images)}
    rest |= crop_of([image for image, _ in images])
    files = [("image", (f"{number}", file_of(image))) for number, (image, _) in enumerate(images)]
    return {"files": files, "data": {"query": json.dumps({**rest, **options})}}


def _answers(answer: Mapping[str, Any], *, single: bool) -> list[tuple[list[Hit], str | None, list[str]]]:
    """Returns the hits of each query, the cursor behind them, and notices."""
    lists = [answer["results"]] if single else answer["results"]
    return [([hit_of(hit) for hit in hits], answer["cursor"], answer["notices"]) for hits in lists]
