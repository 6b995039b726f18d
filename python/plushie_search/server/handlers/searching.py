"""The routes of searches."""

from __future__ import annotations

import base64
import binascii
import re
import time
from collections.abc import Callable
from typing import Any

from ..._core import Crop
from ...query import Query, hybrid
from ...results import Results
from ..call import Call
from ..coding import check_keys, parse_json, parse_object
from ..errors import bad
from ..service import Service

#: The keys of a search and of a query.
OPTIONS = (
    "k",
    "cursor",
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
PARTS = ("text", "line", "image", "crop", "item", "vector", "weights")

#: The kinds of parts that have weights.
KINDS = ("text", "image", "item", "vector")

#: The most queries in a request, parts in a query, and characters of a text.
MAX_QUERIES, MAX_PIECES, MAX_TEXT = 64, 32, 10_000

#: The beginning of a picture in base64 as browsers write it.
DATA_URL = re.compile(r"data:image/[\w.+-]+;base64,")


def search(service: Service, call: Call) -> dict[str, Any]:
    """Answers one query or several."""
    began = time.perf_counter()
    given, queries, single, echo = read(call, OPTIONS)
    options, notices = _options(call, given)
    service.metrics.batches.observe(len(queries))
    found = call.catalog.engine.search(queries, **options)
    answers: list[Results] = list(found)
    call.stages |= answers[0].seconds
    lists = [_hits(call, results) for results in answers]
    notices += list(dict.fromkeys(warning for results in answers for warning in results.warnings))
    return {
        "success": True,
        "took_ms": round((time.perf_counter() - began) * 1000, 3),
        "query": {**(echo[0] if single else {"queries": echo}), "k": options["k"]},
        "notices": notices,
        "cursor": answers[0].cursor if single else None,
        "results": lists[0] if single else lists,
    }


def seed_image(service: Service, call: Call) -> dict[str, Any]:
    """Answers the picture of a form, in the form of ``/api/search/image``."""
    given = _fields(call)
    return _seed(call, Query(image=_picture(call, given)), given)


def seed_text(service: Service, call: Call) -> dict[str, Any]:
    """Answers the text of a JSON body, in the form of ``/api/search/text``."""
    given = call.json()
    text = given.pop("query", None)
    return _seed(call, Query(text=_text(text, "query")), given, description=text)


def seed_hybrid(service: Service, call: Call) -> dict[str, Any]:
    """Answers the picture and the text of a form; if one of them is missing, the other by itself."""
    given = _fields(call)
    text, weight = given.pop("text", ""), number(given.pop("image_weight", 0.6), "image_weight")
    if not 0 <= weight <= 1:
        raise bad(f"image_weight {weight:g}: give a number from 0 to 1")
    picture = _picture(call, given) if call.form().pictures() else None
    if picture is not None and text.strip():
        return _seed(call, hybrid(picture, _text(text, "text"), weight), given, description=text)
    if picture is not None:
        return _seed(call, Query(image=picture), given, notice="there is no text: searched by the picture alone")
    if text.strip():
        notice = "there is no picture: searched by the text alone"
        return _seed(call, Query(text=_text(text, "text")), given, description=text, notice=notice)
    raise bad("a hybrid search needs a picture (field image), a text (field text), or both")


def _seed(
    call: Call, query: Query, given: dict[str, Any], *, description: str | None = None, notice: str | None = None
) -> dict[str, Any]:
    given = {("models" if key in ("engine", "model") else key): value for key, value in given.items()}
    options, notices = _options(call, given)
    results = call.catalog.engine.search(query, **options)
    call.stages |= results.seconds
    hits = _hits(call, results)
    if description is not None:
        hits = [{**hit, "description": description} for hit in hits]
    notices = [*([notice] if notice else ()), *notices, *results.warnings]
    return {"success": True, "results": hits, **({"notice": "; ".join(notices)} if notices else {})}


def _fields(call: Call) -> dict[str, Any]:
    """Returns the fields of a form; one for a picture is empty if no file was chosen."""
    fields: dict[str, Any] = dict(call.form().fields)
    if fields.pop("image", ""):
        raise bad("the field image is a text: send the picture as a file")
    return fields


def _picture(call: Call, given: dict[str, Any]) -> bytes | Crop:
    """Returns the only picture of a form, and takes its box out of the fields."""
    pictures = call.form().pictures()
    if len(pictures) != 1:
        raise bad(f"{len(pictures)} pictures in the field image: send one")
    return cropped([pictures[0].data], given.pop("crop", None), "crop")[0]


def _hits(call: Call, results: Results) -> list[dict[str, Any]]:
    catalog, prefix = call.catalog, call.prefix
    least = catalog.settings.similarity_threshold
    hits = [catalog.hit(hit, prefix) for hit in results]
    return hits if least is None else [hit for hit in hits if hit["similarity"] >= least]


def read(call: Call, options: tuple[str, ...]) -> tuple[dict[str, Any], list[Query], bool, list[dict[str, Any]]]:
    """Returns the options, the queries, whether there is one alone, and the queries without pictures for the answer.

    Raises:
        Problem: There is another key than those of a query and the names of ``options``, or a query makes no sense.
    """
    if call.is_picture:
        given = dict(call.query)
        images = cropped([call.body], given.pop("crop", None), "crop")
        check_keys(given, options, "the address")
        return given, [Query(image=images)], True, [{"image": 1}]
    if call.is_form:
        given = _fields(call)
        one = parse_object(given.pop("query"), "the field query") if "query" in given else {}
        for key in ("text", "line", "item", "crop"):
            if key in given:
                one[key] = given.pop(key)
        check_keys(given, options, "the form")
        check_keys(one, (*PARTS, *options), "query")
        given = {**{key: one.pop(key) for key in options if key in one}, **given}
        query, echo = _query(one, "query", [upload.data for upload in call.form().pictures()])
        return given, [query], True, [echo]
    given = call.json()
    if "queries" in given:
        check_keys(given, ("queries", *options), "the body")
        queries = given.pop("queries")
        if not isinstance(queries, list) or not 1 <= len(queries) <= MAX_QUERIES:
            raise bad(f"queries: give a list of 1 to {MAX_QUERIES}")
        read = [_query(one, f"queries.{number}", []) for number, one in enumerate(queries)]
        return given, [query for query, _ in read], False, [echo for _, echo in read]
    if "query" in given:
        check_keys(given, ("query", *options), "the body")
        query, echo = _query(given.pop("query"), "query", [])
        return given, [query], True, [echo]
    check_keys(given, (*PARTS, *options), "the body")
    query, echo = _query({key: given.pop(key) for key in PARTS if key in given}, "the body", [])
    return given, [query], True, [echo]


def _query(given: Any, where: str, pictures: list[bytes]) -> tuple[Query, dict[str, Any]]:
    """Returns a query, and the same without its pictures and vectors."""
    if isinstance(given, str):
        given = {"text": given}
    if not isinstance(given, dict):
        raise bad(f'{where}: give an object such as {{"text": "a brown bear"}}')
    check_keys(given, PARTS, where)
    weights = given.get("weights") or {}
    if not isinstance(weights, dict):
        raise bad(f'{where}.weights: give an object such as {{"image": 0.6, "text": 0.4}}')
    check_keys(weights, KINDS, f"{where}.weights")
    of = {key: number(weight, f"{where}.weights.{key}") for key, weight in weights.items()}
    images: list[tuple[Any, float]] = [(picture, 1.0) for picture in pictures]
    images += _pairs(given.get("image"), f"{where}.image", base64_picture)
    parts = cropped([picture for picture, _ in images], given.get("crop"), f"{where}.crop")
    images = [(part, weight) for part, (_, weight) in zip(parts, images, strict=True)]
    texts = _pairs(given.get("text"), f"{where}.text", _text)
    items = _pairs(given.get("item"), f"{where}.item", _text)
    if "line" in given:
        line = Query.parse(_text(given["line"], f"{where}.line"), files=False)._row()
        texts, items = texts + line[1], items + line[2]
    vector = given.get("vector")
    if not (images or texts or items or vector):
        raise bad(f"{where} is empty: give text, line, image, item or vector")
    query = Query(
        image=_weighed(images, of.get("image")),
        text=_weighed(texts, of.get("text")),
        item=_weighed(items, of.get("item")),
        vector=None if vector is None else _vector(vector, f"{where}.vector"),
    )
    echo = {key: given[key] for key in ("text", "line", "crop", "item", "weights") if given.get(key)}
    if images:
        echo["image"] = len(images)
    if vector is not None:
        echo["vector"] = True
    return query, echo


def cropped(pictures: list[bytes], boxes: Any, name: str) -> list[bytes | Crop]:
    """Returns pictures, as the parts that their boxes name.

    Args:
        pictures: The pictures.
        boxes: A box ``[left, top, right, bottom]`` for the only picture, a list with one or null for each, or None for
            whole pictures. A text is JSON, or four numbers with commas.
        name: The name of the boxes in errors.

    Raises:
        Problem: There are more or fewer boxes, or one is none.
        ArgumentError: A box is empty or goes beyond the picture.
    """
    if isinstance(boxes, str) and boxes:
        boxes = parse_json(boxes if "[" in boxes else f"[{boxes}]", name)
    if boxes is None or boxes == "":
        return list(pictures)
    several = boxes if isinstance(boxes, list) and not any(map(_is_number, boxes)) else [boxes]
    if len(several) != len(pictures):
        raise bad(f"{name}: {len(several)} boxes for {len(pictures)} pictures: give one for each, or null")
    for box in several:
        if box is not None and not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise bad(f"{name}: a box is a list [left, top, right, bottom] of numbers from 0 to 1")
    return [whole if box is None else Crop(whole, box) for whole, box in zip(pictures, several, strict=True)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _pairs(value: Any, name: str, read: Callable[[Any, str], Any]) -> list[tuple[Any, float]]:
    """Returns things with their weights: one thing, or a list of things and of pairs of a thing and a number."""
    values = [] if value is None else value if isinstance(value, list) else [value]
    if len(values) > MAX_PIECES:
        raise bad(f"{name} has {len(values)} parts: give {MAX_PIECES} at most")
    pairs = [one if isinstance(one, list) and len(one) == 2 else (one, 1.0) for one in values]
    return [(read(thing, name), number(weight, f"{name}, weight")) for thing, weight in pairs]


def _weighed(pairs: list[tuple[Any, float]], weight: float | None) -> list[tuple[Any, float]] | None:
    """Returns things that share the weight of their kind, if it has one, without those that count for nothing."""
    share = 1.0 if weight is None else weight / max(1, len(pairs))
    return [(thing, own * share) for thing, own in pairs if own * share] or None


def _options(call: Call, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the options of a search, and notices about those that were changed.

    Values of forms and addresses are texts: numbers, and JSON for filters.
    """
    check_keys(given, OPTIONS, "the search")
    options, notices = which(call, given)
    options["nprobe"] = call.catalog.settings.faiss.nprobe
    options["models"] = call.catalog.models(decoded(given.get("models"), "models"))
    if given.get("cursor") not in (None, ""):
        options["after"] = _text(given["cursor"], "cursor")
    exclude = given.get("exclude")
    if exclude not in (None, "", []):
        options["exclude"] = [_text(id, "exclude") for id in (exclude if isinstance(exclude, list) else [exclude])]
    for key in ("min_score", "mmr", "rrf_k", "temperature", "k_factor"):
        if given.get(key) not in (None, ""):
            options[key] = number(given[key], key)
    for key in ("nprobe", "ef_search"):
        if given.get(key) not in (None, ""):
            options[key] = _whole(given[key], key)
            if options[key] < 1:
                raise bad(f"{key} {options[key]}: give 1 or more")
    for key, known in (("fusion", ("weighted", "sum", "rrf", "dbsf")), ("aggregate", ("max", "mean", "softmax"))):
        if given.get(key) not in (None, ""):
            if given[key] not in known:
                raise bad(f"{key}: choose {', '.join(known)}")
            options[key] = given[key]
    if given.get("query_crops") not in (None, ""):
        options["query_crops"] = flag(given["query_crops"], "query_crops")
    if given.get("expand") not in (None, ""):
        options["expand"] = expansion(given["expand"])
    if given.get("words") not in (None, ""):
        options["words"] = _words(given["words"])
    return options, notices


def which(call: Call, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Returns the options ``k`` and ``where``, and a notice if ``k`` was changed.

    Raises:
        Problem: They make no sense.
    """
    limits = call.catalog.settings.search
    notices = []
    k = _whole(given.get("k", limits.default_k), "k")
    if k < 1:
        raise bad(f"k {k}: give 1 or more")
    if k > limits.max_k:
        notices.append(f"k {k} is more than {limits.max_k}: {limits.max_k} hits at most are returned")
        k = limits.max_k
    options: dict[str, Any] = {"k": k}
    where = decoded(given.get("where"), "where", always=True)
    if where:
        if not isinstance(where, dict):
            raise bad('where: give an object such as {"label": "bear"}')
        options["where"] = where
    return options, notices


def expansion(value: Any) -> bool | list[str]:
    """Returns whether texts are looked up by phrases around them, or the templates of these.

    A text is true, false, or a list in JSON.

    Raises:
        Problem: It is none of these.
    """
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower()) if "[" not in value else parse_json(value, "expand")
    if isinstance(value, bool):
        return value
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PIECES:
        raise bad(f'expand: give true, false, or a list of 1 to {MAX_PIECES} templates such as ["a photo of {{}}"]')
    return [_text(template, "expand") for template in value]


def flag(value: Any, name: str) -> bool:
    """Returns a truth value; a text is true or false.

    Raises:
        Problem: It is neither.
    """
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower())
    if not isinstance(value, bool):
        raise bad(f"{name}: give true or false")
    return value


def _words(value: Any) -> bool | list[str]:
    """Returns whether words count, or the fields to look into; a text is true, false, or names with commas."""
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value.split(","))
    if isinstance(value, bool):
        return value
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_PIECES:
        raise bad(f'words: give true, false, or a list of 1 to {MAX_PIECES} fields such as ["label", "text"]')
    return [_text(name, "words").strip() for name in value]


def decoded(value: Any, name: str, *, always: bool = False) -> Any:
    """Returns the value that a text of JSON holds, and any other as it is."""
    if isinstance(value, str) and value and (always or value.lstrip().startswith("{")):
        return parse_json(value, name)
    return value or None


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise bad(f"{name} is empty or no text: give a text")
    if len(value) > MAX_TEXT:
        raise bad(f"{name} has {len(value)} characters: give {MAX_TEXT} at most")
    return value


def base64_picture(value: Any, name: str) -> bytes:
    """Returns the picture file that a text holds in base64.

    Raises:
        Problem: It is no base64.
    """
    if not isinstance(value, str):
        raise bad(f"{name}: give a picture file in base64")
    try:
        return base64.b64decode(DATA_URL.sub("", value, count=1), validate=True)
    except (binascii.Error, ValueError):
        raise bad(f"{name} is no base64: give a picture file in base64; addresses are not opened") from None


def _vector(value: Any, name: str) -> Any:
    """Returns a vector, or one of each of several models by name."""
    if isinstance(value, dict) and value:
        return {model: _vector(one, f"{name}.{model}") for model, one in value.items() if not isinstance(one, dict)}
    if not isinstance(value, list) or not 1 <= len(value) <= 65_536:
        raise bad(f"{name}: give a list of numbers, or one for each of several models by name")
    return [number(one, name) for one in value]


def number(value: Any, name: str) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise bad(f"{name} {value[:20]!r}: give a number") from None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        raise bad(f"{name}: give a number")
    return float(value)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 10**9:
        raise bad(f"{name}: give a whole number")
    return value
