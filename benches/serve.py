"""Serves 10,000 items over HTTP, ours against the server that people write: CPU of the process for a request.

    python benches/serve.py [--items 10000] [--requests 200] [--clients 1 8 32]
    python benches/serve.py --half 60        # seconds at half load: p50 and p99
    python benches/serve.py --soak 600       # seconds of mixed load: memory and handles by the minute

The peer is FastAPI, Pillow, ONNX Runtime with the same networks, faiss's HNSW and pickled labels, in one process with
its default threads. Both get the same bodies by turns; each picture and text is new, so that nothing is remembered. The
load comes from a process of its own. The ratio of the medians is what counts (above 1 means that ours needs less).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from fastapi import FastAPI, Request
from PIL import Image

import plushie_search as ps

SIZES = {"500 x 375": (500, 375), "1280 x 960": (1280, 960), "12 MP": (4000, 3000)}
WORDS = ["pink", "brown", "small", "large", "soft", "old", "new", "round", "long", "striped"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--half", type=float, metavar="SECONDS", help="measure half load alone")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="measure a long load alone")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        peer(Path(options.peer))
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        fill(work, options.items)
        if options.half or options.soak:
            with (
                Server("ours", "-m", "plushie_search", "serve", str(work / "items.catalog"), "--port", "0") as ours,
                ProcessPoolExecutor(1, get_context("spawn")) as load,
            ):
                if options.half:
                    half(ours, load, options.half)
                if options.soak:
                    soak(ours, load, options.soak)
            return
        with (
            Server("ours", "-m", "plushie_search", "serve", str(work / "items.catalog"), "--port", "0") as ours,
            Server("peer", __file__, "--peer", str(work)) as theirs,
            ProcessPoolExecutor(1, get_context("spawn")) as load,
        ):
            compare(work, [ours, theirs], load, options)


def fill(work: Path, items: int) -> None:
    """Writes the same random items as a catalog, and as an index of faiss with pickled labels."""
    import faiss

    with ps.Engine(work / "items.catalog") as engine:
        dim = engine.stats()["dimension"]
        vectors = np.random.default_rng(0).standard_normal((items, dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        engine.add_vectors([f"item-{number}" for number in range(items)], vectors)
    index = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
    index.add(vectors)
    faiss.write_index(index, str(work / "index.faiss"))
    (work / "labels.pickle").write_bytes(pickle.dumps([f"item-{number}" for number in range(items)]))


class Server:
    """A server in a process of its own."""

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        self._process = subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"http://[\d.]+:(\d+)", line):
                self.port = int(found[1])
                break
        # Reads the log, so that it never fills the pipe.
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise

    def wait(self) -> None:
        request = text_request("a bear")
        for left in reversed(range(100)):
            try:
                ask(self.port, [request], [0.0])
                return
            except (OSError, AssertionError):
                if not left:
                    raise
                time.sleep(0.2)

    def cpu(self) -> float:
        """Returns the seconds that the process has computed."""
        cells = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(cells[11]) + int(cells[12])) / os.sysconf("SC_CLK_TCK")

    def held(self) -> tuple[float, int]:
        """Returns the megabytes of memory and the open files of the process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+)", status)
        assert found is not None
        return int(found[1]) / 1024, len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)


# Requests


def text_request(text: str) -> bytes:
    body = json.dumps({"text": text, "k": 5}).encode()
    return _request("/api/v1/search", "application/json", body)


def picture_request(picture: bytes) -> bytes:
    return _request("/api/v1/search?k=5", "image/jpeg", picture)


def form_request(picture: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    return _request("/api/v1/search", "multipart/form-data; boundary=b", head + picture + b"\r\n--b--\r\n")


def _request(path: str, media_type: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def jpeg(size: tuple[int, int]) -> bytes:
    """Returns a picture with the detail of a photo."""
    random = np.random.default_rng(1)
    small = Image.fromarray(random.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8))
    file = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=88)
    return file.getvalue()


class Bodies:
    """Requests of one kind, of which no two are the same; a picture differs by bytes behind its end."""

    def __init__(self, kind: str) -> None:
        self.kind, self._number = kind, time.time_ns()
        name = kind.removeprefix("form ")
        self._picture = jpeg(SIZES[name]) if name in SIZES else b""

    def take(self, count: int) -> list[bytes]:
        return [self._next() for _ in range(count)]

    def contents(self, count: int) -> list[Any]:
        """Returns what an engine in this process takes."""
        self._number += count
        if self._picture:
            return [self._picture + str(self._number + n).encode() for n in range(count)]
        return [self._text(self._number + n) for n in range(count)]

    def _next(self) -> bytes:
        self._number += 1
        if not self._picture:
            return text_request(self._text(self._number))
        make = form_request if self.kind.startswith("form ") else picture_request
        return make(self._picture + str(self._number).encode())

    def _text(self, number: int) -> str:
        return f"a {WORDS[number % 10]} {WORDS[number // 10 % 10]} {WORDS[number // 100 % 10]} bear {number}"


def ask(port: int, requests: list[bytes], times: list[float]) -> None:
    """Sends requests over one connection, one after another, and notes the seconds of each."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, request in enumerate(requests):
            began = time.perf_counter()
            connection.sendall(request)
            answer = connection.recv(1 << 16)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), answer[:300]
            found = re.search(rb"(?i)content-length: (\d+)", head)
            assert found is not None
            left = int(found[1]) - len(body)
            while left > 0:
                left -= len(connection.recv(1 << 16))
            times[number] = time.perf_counter() - began


def burst(port: int, requests: list[bytes], clients: int) -> tuple[float, list[float]]:
    """Sends requests over several connections at once; returns the seconds of all, and of each."""
    shares = [requests[number::clients] for number in range(clients)]
    times = [[0.0] * len(share) for share in shares]
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as threads:
        for done in [threads.submit(ask, port, share, own) for share, own in zip(shares, times, strict=True)]:
            done.result()
    return time.perf_counter() - began, [one for own in times for one in own]


# Comparison


def compare(work: Path, servers: list[Server], load: ProcessPoolExecutor, options: argparse.Namespace) -> None:
    kinds = ["text", *SIZES, "form 500 x 375"]
    with ps.Engine(work / "items.catalog", read_only=True) as engine:
        alone = {kind: in_process(engine, kind, options.requests) for kind in kinds}
    for kind in kinds:
        bodies = Bodies(kind)
        count = max(20, options.requests // (8 if kind == "12 MP" else 1))
        for clients in options.clients:
            cpu: dict[str, list[float]] = {server.name: [] for server in servers}
            rates: dict[str, list[float]] = {server.name: [] for server in servers}
            times: dict[str, list[float]] = {server.name: [] for server in servers}
            for turn in range(options.rounds):
                for server in servers if turn % 2 else servers[::-1]:
                    requests = bodies.take(count)
                    before = server.cpu()
                    seconds, each = load.submit(burst, server.port, requests, clients).result()
                    cpu[server.name].append((server.cpu() - before) / count * 1e6)
                    rates[server.name].append(count / seconds)
                    times[server.name] += each
            mine, other = median(cpu["ours"]), median(cpu["peer"])
            own_cpu, own_rate = alone[kind]
            print(
                f"{kind:14} {clients:2} clients: CPU {mine:7.0f} µs, peer {other:7.0f} µs, ratio {other / mine:4.2f}; "
                f"in process {own_cpu:7.0f} µs, HTTP adds {mine - own_cpu:6.0f} µs; "
                f"{median(rates['ours']):6.1f}/s, {median(rates['ours']) / own_rate:4.2f} of in process, "
                f"peer {median(rates['peer']):6.1f}/s; p50 {share(times['ours'], 0.5):6.1f} ms, "
                f"p99 {share(times['ours'], 0.99):6.1f} ms",
                flush=True,
            )


def steadily(port: int, requests: list[bytes], rate: float) -> list[float]:
    """Sends requests at a steady rate, late ones too; returns the seconds from the time that each was due."""
    began = time.perf_counter()

    def one(number: int) -> float:
        due = began + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        ask(port, [requests[number]], [0.0])
        return time.perf_counter() - due

    with ThreadPoolExecutor(32) as threads:
        return list(threads.map(one, range(len(requests))))


def half(server: Server, load: ProcessPoolExecutor, seconds: float) -> None:
    """Prints the latencies at half of the rate that 32 clients reach."""
    for kind in ("text", "500 x 375"):
        bodies = Bodies(kind)
        burst_seconds, _ = load.submit(burst, server.port, bodies.take(400), 32).result()
        rate = 0.5 * 400 / burst_seconds
        times = load.submit(steadily, server.port, bodies.take(int(rate * seconds)), rate).result()
        middle, late = share(times, 0.5), share(times, 0.99)
        print(
            f"{kind:10} at half load, {rate:.0f}/s: p50 {middle:.1f} ms, p99 {late:.1f} ms, ratio {late / middle:.1f}"
        )


def soak(server: Server, load: ProcessPoolExecutor, seconds: float) -> None:
    """Prints memory and open files while 8 clients send texts, pictures and forms; an answer other than 200 raises."""
    kinds = [Bodies(kind) for kind in ("text", "500 x 375", "form 500 x 375")]
    end, count, minute = time.monotonic() + seconds, 0, time.monotonic()
    while time.monotonic() < end:
        requests = [request for bodies in kinds for request in bodies.take(200)]
        load.submit(burst, server.port, requests, 8).result()
        count += len(requests)
        if time.monotonic() >= minute:
            minute += 60
            memory, files = server.held()
            print(f"{count:7} requests, {memory:.0f} MB, {files} open files", flush=True)
    memory, files = server.held()
    print(f"{count:7} requests, {memory:.0f} MB, {files} open files; every answer was 200")


def share(times: list[float], part: float) -> float:
    return float(np.quantile(times, part)) * 1e3


def in_process(engine: ps.Engine, kind: str, count: int) -> tuple[float, float]:
    """Returns the microseconds of CPU of a search, and the searches in a second by as many threads as compute."""
    count = max(20, count // (8 if kind == "12 MP" else 1))
    work: Callable[[Any], Any] = engine.search_text if kind == "text" else engine.search_image
    bodies = Bodies(kind)
    with ThreadPoolExecutor(engine.stats()["threads"]) as threads:
        list(threads.map(work, bodies.contents(10)))
        before, began = time.process_time(), time.perf_counter()
        list(threads.map(work, bodies.contents(count)))
        return (time.process_time() - before) / count * 1e6, count / (time.perf_counter() - began)


# The peer


def peer(work: Path) -> None:
    """Serves as people do."""
    import faiss
    import onnxruntime
    import uvicorn
    from fastapi.concurrency import run_in_threadpool
    from tokenizers import Tokenizer

    model = ps.open_encoder("plushie-mini").directory
    assert model is not None
    images = onnxruntime.InferenceSession(str(model / "image.onnx"), providers=["CPUExecutionProvider"])
    words = onnxruntime.InferenceSession(str(model / "text.onnx"), providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    how = json.loads((model / "model.json").read_text())["image"]["preprocess"]
    size, mean, std = tuple(how["size"][::-1]), np.float32(how["mean"]), np.float32(how["std"])
    index = faiss.read_index(str(work / "index.faiss"))
    labels = pickle.loads((work / "labels.pickle").read_bytes())
    app = FastAPI()

    def found(vector: np.ndarray, k: int) -> dict[str, Any]:
        vector /= np.linalg.norm(vector, axis=1, keepdims=True)
        scores, rows = index.search(vector, k)
        hits = zip(rows[0], scores[0], strict=True)
        return {
            "success": True,
            "results": [
                {"class_name": labels[row], "similarity": float(score), "rank": rank}
                for rank, (row, score) in enumerate(hits, 1)
            ],
        }

    def by_image(data: bytes, k: int) -> dict[str, Any]:
        picture = Image.open(io.BytesIO(data)).convert("RGB").resize(size, Image.Resampling.BICUBIC)
        pixels = (np.asarray(picture, np.float32) / 255 - mean) / std
        return found(images.run(None, {"pixel_values": pixels.transpose(2, 0, 1)[None].copy()})[0], k)

    def by_text(text: str, k: int) -> dict[str, Any]:
        tokens = tokenizer.encode(text)
        feed = {"input_ids": np.array([tokens.ids]), "attention_mask": np.array([tokens.attention_mask])}
        return found(words.run(None, feed)[0], k)

    @app.post("/api/v1/search")
    async def search(request: Request, k: int = 5) -> dict[str, Any]:
        media_type = request.headers.get("content-type", "")
        if media_type.startswith("multipart/"):
            form = await request.form()
            data = await form["image"].read()  # type: ignore[union-attr]
            return await run_in_threadpool(by_image, data, k)
        if media_type.startswith("image/"):
            return await run_in_threadpool(by_image, await request.body(), k)
        body = await request.json()
        return await run_in_threadpool(by_text, body["text"], k)

    # As uvicorn's own socket, which sends small answers at once.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        print(f"http://127.0.0.1:{bound.getsockname()[1]}", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="error")).run([bound])


if __name__ == "__main__":
    main()
