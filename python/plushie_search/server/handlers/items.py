"""The routes of items: list, read, add, change, remove, and undo."""

from __future__ import annotations

import re
from typing import Any

from ...results import Item
from ..call import Answer, Call
from ..catalog import base_name, etag
from ..coding import check_keys, dump, parse_object
from ..errors import Problem, bad
from ..forms import Upload
from ..service import Service

#: The most items of a page, and characters of ``q``.
MAX_LIMIT, MAX_Q = 500, 200

DIGEST = re.compile(r"[0-9a-f]{64}")


def list_items(service: Service, call: Call) -> dict[str, Any]:
    """Returns a page of items, in the order in which they were added."""
    query, engine = call.query, call.catalog.engine
    check_keys(query, ("limit", "after", "where", "q"), "the address")
    limit, after = _whole(query, "limit", 50), _whole(query, "after", 0)
    if not 1 <= limit <= MAX_LIMIT:
        raise bad(f"limit {limit}: give a number from 1 to {MAX_LIMIT}")
    where = parse_object(query["where"], "where") if query.get("where") else None
    if text := query.get("q", "").strip():
        if len(text) > MAX_Q:
            raise bad(f"q has {len(text)} characters: give {MAX_Q} at most")
        spelled = {text, text.lower(), text.capitalize(), text.upper()}
        named = {"$or": [{key: {"$contains": one}} for key in ("id", "label") for one in sorted(spelled)]}
        where = {"$and": [where, named]} if where else named
    items, after_last = engine.page(after, limit=limit, where=where)
    return {
        "items": [call.catalog.item(item, call.prefix) for item in items],
        "next": None if after_last is None else str(after_last),
        "total": engine.count(where),
    }


def get_item(service: Service, call: Call) -> Answer:
    """Returns an item."""
    return _answer(call, call.catalog.engine.get(call.path["id"]))


def get_vectors(service: Service, call: Call) -> dict[str, Any]:
    """Returns the unit vectors of an item's references, in their order."""
    check_keys(call.query, ("model",), "the address")
    name = call.catalog.models(call.query.get("model"))
    if not isinstance(name, (str, type(None))):
        raise bad("model: name one model")
    vectors = call.catalog.engine.vectors(call.path["id"], model=name)
    return {"model": name or call.catalog.engine.models[0], "vectors": vectors.tolist()}


def add_item(service: Service, call: Call) -> Answer:
    """Adds an item with its pictures, or pictures to an item that is there."""
    form = call.form()
    check_keys(form.fields, ("id", "label", "text", "metadata"), "the form")
    if not form.fields.get("id", "").strip():
        raise bad("the form has no field id: give the item's id")
    metadata = parse_object(form.fields["metadata"], "metadata") if form.fields.get("metadata") else None
    return _add(
        call,
        form.fields["id"],
        label=form.fields.get("label") or None,
        text=form.fields.get("text") or None,
        metadata=metadata,
    )


def add_references(service: Service, call: Call) -> Answer:
    """Adds pictures to an item that is there."""
    call.catalog.engine.get(call.path["id"])
    return _add(call, call.path["id"])


def _add(call: Call, id: str, **values: Any) -> Answer:
    uploads = call.form().pictures() if call.is_form else []
    data, names = [upload.data for upload in uploads], [upload_name(upload) for upload in uploads]
    if call.is_picture:
        data, names = [call.body], ["picture"]
    engine = call.catalog.engine
    with call.catalog.lock:
        is_new = id not in engine
        if not data:
            raise bad("there is no picture: send files in the field image")
        added = engine.add(id, images=data, names=names, **values)
        item = engine.get(id)
    body = {
        "added": added.references,
        "duplicates": added.duplicates,
        "notes": [note for _, note in added.notes],
        "item": call.catalog.item(item, call.prefix),
    }
    return Answer(dump(body), 201 if is_new else 200, headers={"ETag": f'"{etag(item)}"'})


def change_item(service: Service, call: Call) -> Answer:
    """Changes label, text or metadata of an item; null clears one."""
    given, engine = call.json(), call.catalog.engine
    check_keys(given, ("label", "text", "metadata"), "the body")
    for key in ("label", "text"):
        if not isinstance(given.get(key), (str, type(None))):
            raise bad(f"{key}: give a text or null")
    if not isinstance(given.get("metadata"), (dict, type(None))):
        raise bad("metadata: give an object or null")
    with call.catalog.lock:
        _check_match(call, engine.get(call.path["id"]))
        engine.update(call.path["id"], **given)
        return _answer(call, engine.get(call.path["id"]))


def remove_item(service: Service, call: Call) -> dict[str, Any]:
    """Removes an item; ``undo`` brings it back within a minute."""
    engine, id = call.catalog.engine, call.path["id"]
    with call.catalog.lock:
        item = engine.get(id)
        _check_match(call, item)
        undo = service.undo.keep(call.catalog, item)
        return {"removed": engine.remove(id), "undo": undo}


def restore_item(service: Service, call: Call) -> Answer:
    """Brings a removed item back."""
    given = call.json()
    check_keys(given, ("undo",), "the body")
    with call.catalog.lock:
        service.undo.restore(call.catalog, call.path["id"], given.get("undo"))
        return _answer(call, call.catalog.engine.get(call.path["id"]))


def remove_reference(service: Service, call: Call) -> dict[str, Any]:
    """Removes a picture of an item, and the item with its last one."""
    digest = call.path["digest"]
    if not DIGEST.fullmatch(digest):
        raise Problem(404, "unknown_item", "the item has no reference of that digest: give 64 hexadecimal digits")
    with call.catalog.lock:
        return {"left": call.catalog.engine.remove_reference(call.path["id"], digest)}


def list_labels(service: Service, call: Call) -> list[dict[str, Any]]:
    """Returns the labels with their numbers of items, the 200 most frequent first."""
    return call.catalog.sample()[0][:200]


def list_keys(service: Service, call: Call) -> list[str]:
    """Returns the keys of metadata, at most 200."""
    return call.catalog.sample()[1][:200]


def upload_name(upload: Upload) -> str:
    """Returns the name that the reference of an uploaded picture gets: its file name without folders."""
    printable = "".join(one for one in base_name(upload.name) if one.isprintable())
    return printable[-200:] or "picture"


def _answer(call: Call, item: Item) -> Answer:
    tag = f'"{etag(item)}"'
    if call.method == "GET" and call.headers.get("if-none-match") == tag:
        return Answer(b"", 304, headers={"ETag": tag})
    return Answer(dump(call.catalog.item(item, call.prefix)), headers={"ETag": tag})


def _check_match(call: Call, item: Item) -> None:
    """Refuses a change of an item that has changed since the client has read it.

    Raises:
        Problem: It has.
    """
    given = call.headers.get("if-match")
    if given is None or given.strip() == "*":
        return
    tags = {one.strip().removeprefix("W/").strip('"') for one in given.split(",")}
    if etag(item) not in tags:
        raise Problem(412, "changed", "the item has changed since it was read: read it again")


def _whole(query: Any, name: str, default: int) -> int:
    text = query.get(name) or str(default)
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise bad(f"{name} {text[:20]!r}: give a whole number")
    return int(text)
