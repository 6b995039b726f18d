"""The files of the page, from the package."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path

from .call import Answer
from .errors import Problem

#: The folder of the page.
FOLDER = Path(__file__).parent / "page"

#: What the page may do: load its own files, talk to its own server, and show pictures of both.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)

TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".webmanifest": "application/manifest+json"}


class Page:
    """The files of the page, by their names.

    Args:
        anew: Whether they are read anew for each request, for those who work on them.
    """

    def __init__(self, *, anew: bool = False) -> None:
        self._anew = anew
        self._files = _read()

    def answer(self, name: str, headers: Mapping[str, str]) -> Answer:
        """Returns a file; ``index.html`` has the policy for its content.

        Raises:
            Problem: There is no such file.
        """
        files = _read() if self._anew else self._files
        if name not in files:
            raise Problem(404, "not_found", "there is no such page")
        data, packed, media_type, tag = files[name]
        more = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if name.endswith(".html"):
            more["Content-Security-Policy"] = POLICY
            more["Permissions-Policy"] = "camera=(self)"
        if headers.get("if-none-match") == tag:
            return Answer(b"", 304, media_type, more)
        if "gzip" in headers.get("accept-encoding", ""):
            return Answer(packed, 200, media_type, {**more, "Content-Encoding": "gzip"})
        return Answer(data, 200, media_type, more)


def _read() -> dict[str, tuple[bytes, bytes, str, str]]:
    """Returns content, packed content, type and tag of each file, by its path below the folder."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            data = path.read_bytes()
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            if kind.startswith("text/") or kind.endswith(("json", "javascript")):
                kind += "; charset=utf-8"
            tag = f'W/"{hashlib.sha256(data).hexdigest()[:20]}"'
            found[path.relative_to(FOLDER).as_posix()] = data, gzip.compress(data, mtime=0), kind, tag
    return found
