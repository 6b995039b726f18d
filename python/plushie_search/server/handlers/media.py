"""The route of pictures: thumbnails, views for screens, turntables of meshes, and originals."""

from __future__ import annotations

import hashlib
import os
import re
from functools import partial
from typing import Any

import numpy as np

from ... import _core
from ..._core import PictureError, UnknownItemError
from ...meshes import render
from ...results import Reference, reference_key
from ..call import Answer, Call
from ..errors import Problem
from ..service import Service
from .items import DIGEST

#: The longest side of a view, and the largest original that is sent.
SIDE, MAX_ORIGINAL = 1600, 256 << 20

#: The pictures of a turntable, their side, and the degrees above the horizon from which they look.
TURNS, TURN_SIDE, ABOVE = 6, 160, 20

#: A view of a mesh.
VIEW = re.compile(r"view:(all|\d{1,3},-?\d{1,2})")

#: How pictures begin, and the types that browsers know them by.
KINDS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)


def picture(service: Service, call: Call) -> Answer:
    """Returns a picture of a reference, by the reference's digest."""
    digest, kind, engine = call.path["digest"], call.path["kind"], call.catalog.engine
    if not DIGEST.fullmatch(digest) or kind not in ("thumbnail", "view", "turntable", "original"):
        raise _none()
    shown = call.query.get("view")
    if shown is not None and not VIEW.fullmatch(shown):
        raise _none()
    key = reference_key(digest, shown)
    tag = f'"{digest[:32]}-{kind}{f"-{shown}" if shown else ""}"'
    headers = {
        "ETag": tag,
        "Cache-Control": f"{'private' if service.guard.has_keys else 'public'}, max-age=31536000, immutable",
        "Content-Disposition": "inline",
    }
    if call.headers.get("if-none-match") == tag:
        return Answer(b"", 304, "image/jpeg", headers)
    item = call.query.get("item") or call.catalog.item_of(digest)
    if item is None:
        raise _none()
    try:
        if kind == "thumbnail":
            small = engine.thumbnail(item, key)
            if small is None:
                raise _none()
            return Answer(small, 200, "image/jpeg", headers)
        if kind == "view":
            return Answer(service.views.get(key, lambda: view(call, item, digest, shown)), 200, "image/jpeg", headers)
        if kind == "turntable":
            strip = service.views.get(f"{digest} {item} turntable", lambda: turntable(call, item, digest))
            return Answer(strip, 200, "image/jpeg", headers)
        data = original(call, item, digest)
    except UnknownItemError:
        raise _none() from None
    media_type = type_of(data)
    if media_type is None:
        media_type, headers["Content-Disposition"] = "application/octet-stream", "attachment"
    return Answer(data, 200, media_type, headers)


def original(call: Call, item: str, digest: str) -> bytes:
    """Returns the content of a reference's original.

    Raises:
        Problem: It is gone, has changed since it was added, or is very large.
    """
    engine = call.catalog.engine
    path = engine.original(item, digest)
    if path is None:
        raise _gone()
    try:
        with open(path, "rb", opener=_no_link) as file:
            data = file.read(MAX_ORIGINAL + 1)
    except OSError:
        raise _gone() from None
    if len(data) > MAX_ORIGINAL:
        raise Problem(413, "too_large", "the original is too large to be sent: ask for its view")
    kept = os.path.join(os.path.realpath(engine.path), "media", "")
    if not os.path.realpath(path).startswith(kept) and hashlib.sha256(data).hexdigest() != digest:
        raise _gone()
    return data


def type_of(data: bytes) -> str | None:
    """Returns the media type of a picture by its first bytes; None if it is of no known format."""
    for begin, media_type in KINDS:
        if data.startswith(begin):
            return media_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp":
        return {b"avif": "image/avif", b"heic": "image/heic", b"heix": "image/heic"}.get(data[8:12])
    return None


def view(call: Call, item: str, digest: str, shown: str | None) -> bytes:
    """Returns a JPEG file of at most 1600 pixels on the longer side; the thumbnail if the original is gone.

    Raises:
        Problem: Neither is there.
    """
    if shown is not None:
        # A view is drawn at the size of a thumbnail.
        small = call.catalog.engine.thumbnail(item, reference_key(digest, shown))
        if small is None:
            raise _gone()
        return small
    try:
        return _core.thumbnail(original(call, item, digest), SIDE, quality=85)
    except Problem:
        small = call.catalog.engine.thumbnail(item, digest)
        if small is None:
            raise
        return small


def turntable(call: Call, item: str, digest: str) -> bytes:
    """Returns a JPEG file of a mesh from six sides, drawn anew, or of stored views if the original is gone.

    Raises:
        Problem: The reference is no mesh, or there is neither.
    """
    views = [one for one in call.catalog.engine.get(item).references if one.digest == digest and one.view]
    if not views:
        raise _none()
    frames: list[Any]
    try:
        frames = list(render(original(call, item, digest), views=TURNS, size=TURN_SIDE, turntable=True))
    except (Problem, PictureError):
        frames = [_stored(call, item, reference) for reference in _around(views)]
    return _core.thumbnail(np.concatenate(frames, axis=1), TURNS * TURN_SIDE, quality=85)


def _around(views: list[Reference]) -> list[Reference]:
    """Returns the views that are nearest to those of a camera that goes around, a little above the horizon."""

    def far(one: Reference, turn: int) -> float:
        if one.view is None or one.view == "view:all":
            return np.inf
        azimuth, elevation = map(int, one.view.removeprefix("view:").split(","))
        return abs((azimuth - 360 * turn / TURNS + 180) % 360 - 180) + abs(elevation - ABOVE)

    return [min(views, key=partial(far, turn=turn)) for turn in range(TURNS)]


def _stored(call: Call, item: str, reference: Reference) -> Any:
    small = call.catalog.engine.thumbnail(item, reference.key)
    if small is None:
        raise _gone()
    return _core.decode(_core.thumbnail(small, TURN_SIDE))


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _none() -> Problem:
    return Problem(404, "unknown_picture", "there is no picture of this digest: search again for its address")


def _gone() -> Problem:
    return Problem(410, "gone", "the original is gone or has changed since it was added: its thumbnail stays")
