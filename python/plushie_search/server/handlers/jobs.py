"""The routes of jobs: add many pictures or a model, evaluate, and follow how far they are."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from ... import hub
from ...rows import ItemDraft, count_images
from ..call import JSON, Answer, Call, unsupported
from ..catalog import base_name, check_writable
from ..coding import check_keys, dump, parse_object
from ..errors import Problem, bad
from ..jobs import ENDED, Job
from ..service import Service
from .items import upload_name
from .searching import MAX_PIECES, base64_picture

#: The most failures that a job lists.
MAX_FAILURES = 1000

#: How often, in seconds, a stream of events says that it is alive.
PING = 15.0


def add(service: Service, call: Call) -> Answer:
    """Starts a job that adds the pictures of a folder, or items as lines of JSON."""
    check_writable(call.catalog)
    if call.is_form:
        items = list(_of_files(call))
    elif call.media_type in ("application/x-ndjson", "application/jsonl", JSON):
        items = [_of_line(line, number) for number, line in enumerate(call.body.splitlines(), 1) if line.strip()]
    else:
        raise unsupported(call.media_type, "multipart/form-data", "application/x-ndjson")
    if not items:
        raise bad("there is nothing to add: send pictures in the field image, named FOLDER/FILE")
    pictures = count_images(items)
    engine = call.catalog.engine

    def work(job: Job) -> dict[str, Any]:
        def rows() -> Iterator[ItemDraft]:
            for item in items:
                if job.cancelled:
                    return
                yield item

        report = engine.add_items(rows(), total=pictures, progress=job.progress)
        job.state["failures"] = [list(pair) for pair in report.failed[:MAX_FAILURES]]
        if not job.cancelled:
            job.state["done"] = pictures
        return {key: value for key, value in report.to_dict().items() if key != "failed"}

    return Answer(dump({"job": service.jobs.start("add", call.catalog.name, pictures, work)}), 202)


def _of_files(call: Call) -> Iterator[ItemDraft]:
    """Yields an item for each folder of an upload; a file without a folder is an item named by the file."""
    folders: dict[str, tuple[list[bytes], list[str]]] = {}
    for upload in call.form().pictures():
        parts = [part for part in re.split(r"[/\\]", upload.name) if part not in ("", ".", "..")]
        id = "/".join(parts[:-1]) or (parts or ["picture"])[-1].rpartition(".")[0] or base_name(upload.name)
        images, names = folders.setdefault(id, ([], []))
        images.append(upload.data)
        names.append(upload_name(upload))
    for id, (images, names) in folders.items():
        yield ItemDraft(id, images, names=names)


def _of_line(line: bytes, number: int) -> ItemDraft:
    """Returns the item of a line of JSON: ``{"id": ..., "images": [base64], "label": ...}``."""
    where = f"line {number}"
    row = parse_object(line, where)
    check_keys(row, ("id", "images", "names", "label", "text", "metadata"), where)
    images, names = row.get("images") or [], row.get("names")
    if not isinstance(images, list) or len(images) > MAX_PIECES:
        raise bad(f"{where}: images is a list of at most {MAX_PIECES} pictures in base64")
    if names is not None and (not isinstance(names, list) or len(names) != len(images)):
        raise bad(f"{where}: names is a list with a name for each picture")
    for key, kind in (("id", str), ("label", str), ("text", str), ("metadata", dict)):
        if not isinstance(row.get(key), (kind, type(None))) or (key == "id" and not row.get(key)):
            raise bad(f"{where}: {key} is {'an object' if kind is dict else 'a text'}")
    data = [base64_picture(one, f"{where}, images") for one in images]
    given = [base_name(str(name)) for name in names] if names else ["picture"] * len(data)
    return ItemDraft(row["id"], data, row.get("label"), row.get("metadata"), row.get("text"), given)


def evaluate(service: Service, call: Call) -> Answer:
    """Starts a job that measures how often items are found, by leaving references out or by pairs of text and item."""
    given, engine = call.json(), call.catalog.engine
    check_keys(given, ("texts", "k", "where", "models", "missing", "seed"), "the body")
    texts = given.pop("texts", None)
    if texts is not None:
        if not isinstance(texts, list) or not all(
            isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, str) for one in pair) for pair in texts
        ):
            raise bad('texts: give pairs of a text and an item, [["a brown bear", "bear-001"]]')
        given["texts"] = [(text, item) for text, item in texts]
    if "models" in given:
        given["models"] = call.catalog.models(given["models"])
    for key in ("k", "seed"):
        if key in given and (not isinstance(given[key], int) or not 1 <= given[key] <= 10_000):
            raise bad(f"{key}: give a whole number from 1 to 10000")
    if given.get("missing", "error") not in ("error", "skip"):
        raise bad("missing: choose error or skip")

    def work(job: Job) -> dict[str, Any]:
        return engine.evaluate(**given, progress=stopping(job)).to_dict()

    return Answer(dump({"job": service.jobs.start("evaluate", call.catalog.name, None, work)}), 202)


def add_model(service: Service, call: Call) -> Answer:
    """Starts a job that gives the catalog a further model, while the others go on answering."""
    check_writable(call.catalog)
    given, catalog = call.json(), call.catalog
    check_keys(given, ("model",), "the body")
    name = given.get("model")
    if not isinstance(name, str) or name not in hub.models():
        raise bad("model: give a name that `plushie-search models list` on the server shows")

    def work(job: Job) -> dict[str, Any]:
        report = catalog.engine.add_model(name, progress=stopping(job))
        catalog.name_engines()
        job.state["done"] = job.state["total"] = report.references
        return report.to_dict()

    return Answer(dump({"job": service.jobs.start("add-model", catalog.name, None, work)}), 202)


def stopping(job: Job) -> Callable[[int, int | None, str], None]:
    """Returns a function that notes how far a job is, and stops it if it was cancelled."""

    def progress(done: int, total: int | None, what: str) -> None:
        if job.cancelled:
            raise Problem(499, "cancelled", "the job was cancelled")
        job.progress(done, total, what)

    return progress


def get(service: Service, call: Call) -> dict[str, Any]:
    """Returns the state of a job."""
    return _state(service, call)


def cancel(service: Service, call: Call) -> dict[str, Any]:
    """Stops a job; what it has stored is kept."""
    state = _state(service, call)
    if state["state"] not in ENDED:
        service.jobs.cancel(state["id"])
    return state


def events(service: Service, call: Call) -> Answer:
    """Returns the progress of a job as it goes on, as server-sent events ``progress``, ``done`` and ``error``."""
    state = _state(service, call)
    id = state["id"]
    last: dict[str, Any] | None = None
    alive = time.monotonic()
    number = 0
    ended = False

    def poll() -> bytes | None:
        nonlocal last, alive, number, ended
        if ended or service.draining:
            return None
        state = service.jobs.read(id)
        if state != last:
            last, alive = state, time.monotonic()
            number += 1
            ended = state["state"] in ENDED
            name = {"done": "done", "failed": "error"}.get(state["state"], "done" if ended else "progress")
            return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, name.encode(), dump(state))
        if time.monotonic() - alive > PING:
            alive = time.monotonic()
            return b": alive\n\n"
        return b""

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Answer(media_type="text/event-stream; charset=utf-8", headers=headers, poll=poll)


def _state(service: Service, call: Call) -> dict[str, Any]:
    state = service.jobs.read(call.path["job"])
    if state["catalog"] != call.catalog.name:
        raise Problem(404, "unknown_job", "there is no job of this id in this catalog")
    return state
