"""The route of pictures: thumbnails, views for screens, and originals."""

from __future__ import annotations

import hashlib
import os
import re

from ... import _core
from ..._core import UnknownItemError
from ...results import reference_key
from ..call import Answer, Call
from ..errors import Problem
from ..service import Service
from .items import DIGEST

#: The longest side of a view, and the largest original that is sent.
SIDE, MAX_ORIGINAL = 1600, 256 << 20

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
    if not DIGEST.fullmatch(digest) or kind not in ("thumbnail", "view", "original"):
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


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _none() -> Problem:
    return Problem(404, "unknown_picture", "there is no picture of this digest: search again for its address")


def _gone() -> Problem:
    return Problem(410, "gone", "the original is gone or has changed since it was added: its thumbnail stays")
