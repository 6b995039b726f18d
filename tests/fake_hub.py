"""A model hub on this machine: it speaks as much of the real one's protocol as downloading takes, and can fail."""

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "5f" * 20


@dataclass
class Hub:
    """A model hub: its files, its failures, and the requests to it.

    Large files (``.onnx``) are redirected to another place and named by their SHA-256, others by git's SHA-1, as the
    real hub does.
    """

    files: dict[str, bytes]
    repository: str = "maker/toy"
    commit: str = COMMIT
    #: Contents that are sent in place of those of a file.
    forged: dict[str, bytes] = field(default_factory=dict)
    #: After how many bytes a transfer breaks off, once; ``None`` for the rest of the answers.
    cuts: dict[str, list[int | None]] = field(default_factory=dict)
    #: Answers given instead of files: status and error code.
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    log: list[tuple[str, str, str | None]] = field(default_factory=list)
    endpoint: str = ""

    def name_of(self, path: str) -> str:
        """The name of a file's bytes."""
        content = self.files[path]
        if path.endswith(".onnx"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def asked(self, method: str) -> list[tuple[str, str | None]]:
        """The paths that were asked for, each with the range."""
        return [(path, part) for asked, path, part in self.log if asked == method]


class _Server(ThreadingHTTPServer):
    """Its threads end with it: other tests count those of the process."""

    daemon_threads = False


class _Handler(BaseHTTPRequestHandler):
    """One answer for each connection."""

    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        hub, content = self.hub, b""
        stored = self.path.startswith("/store/")
        path = self.path.removeprefix("/store/") if stored else ""
        if not stored:
            owner, name, resolve, revision, path = (*self.path.strip("/").split("/", 4), "", "", "", "")[:5]
            known = f"{owner}/{name}" == hub.repository and resolve == "resolve"
            code = "RepoNotFound" if not known else "RevisionNotFound" if revision not in ("main", hub.commit) else ""
            code = code or ("" if path in hub.files else "EntryNotFound")
            status, code = hub.refusals.get(path, (404, code) if code else (0, ""))
            if status:
                self._send(status, {"X-Error-Code": code, "Content-Length": "0"}, None)
                return
        hub.log.append((self.command, path, self.headers.get("Range")))
        content = hub.forged.get(path, hub.files[path])
        headers = {"X-Repo-Commit": hub.commit, "ETag": f'"{hub.name_of(path)}"'}
        if path.endswith(".onnx") and not stored:
            headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(len(content)), "Content-Length": "0"}
            self._send(302, {**headers, "Location": f"{hub.endpoint}/store/{path}"}, None)
            return
        status, start = 200, 0
        if (part := self.headers.get("Range")) is not None:
            status, start = 206, int(part.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        headers["Content-Length"] = str(len(content) - start)
        cuts = hub.cuts.get(path, [])
        cut = cuts.pop(0) if body and cuts else None
        self._send(status, headers, content[start:] if body else None, cut)

    def _send(self, status: int, headers: dict[str, str], content: bytes | None, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if content is not None:
            self.wfile.write(content[:cut])


@contextmanager
def running(directory: Path):
    """A hub with the files of a directory."""
    files = {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    hub = Hub(files)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
