"""A server of embeddings in a thread: OpenAI's protocol, what others made of it for pictures, and clip-as-service's."""

import base64
import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from io import BytesIO

import numpy as np
from fake_service import answer, served
from PIL import Image


class FakeEmbeddings:
    """A server that records requests and may answer with something else than vectors.

    Attributes:
        encoder: What has the vectors.
        pictures: How pictures are taken: "infinity", "jina", "vllm", "blob", or None.
        faults: Functions that answer the next requests, each one request, by writing to the handler.
        alter: Changes the vectors of an answer.
        coded: Whether vectors are answered as base64.
        asked: The bodies of the requests, and their headers.
    """

    def __init__(self, encoder, *, pictures=None):
        self.encoder, self.pictures = encoder, pictures
        self.faults, self.asked, self.coded = [], [], False
        self.alter = lambda vectors: vectors
        self.lock = threading.Lock()

    @contextmanager
    def running(self):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with service.lock:
                    service.asked.append((body, self.headers))
                    fault = service.faults.pop(0) if service.faults else None
                with suppress(BrokenPipeError, ConnectionResetError):
                    if fault is not None:
                        fault(self)
                    elif self.path == "/post":
                        service.post(self, body)
                    else:
                        service.openai(self, body)

        with served(Handler) as address:
            self.address = f"http://{address}"
            yield self

    def vectors(self, handler, texts, files):
        """The vectors of texts, or of pictures: each a file."""
        if files and self.pictures is None:
            return answer(handler, 422, {"detail": "no pictures here"})
        if texts:
            found = self.encoder.encode_texts(texts)
        else:
            try:
                found = self.encoder.encode_images([Image.open(BytesIO(file)).convert("RGB") for file in files])
            except OSError as error:
                return answer(handler, 400, {"error": {"message": f"cannot open: {error}"}})
        return self.alter(found)

    def openai(self, handler, body):
        assert body["encoding_format"] == "float"
        if body["model"] != "mini":
            return answer(handler, 404, {"error": {"message": "the model does not exist"}})
        texts, files = [], []
        if "messages" in body:
            [message] = body["messages"]
            files = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
            assert self.pictures == "vllm"
            assert len(files) == 1
        elif body.get("modality") == "image":
            assert self.pictures in (None, "infinity")
            files = body["input"]
        elif isinstance(body["input"][0], dict):
            assert self.pictures == "jina"
            files = ["data:image/png;base64," + part["image"] for part in body["input"]]
        else:
            texts = body["input"]
        for file in files:
            assert file.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
        found = self.vectors(handler, texts, [base64.b64decode(file.partition(",")[2]) for file in files])
        if not isinstance(found, np.ndarray):
            return None
        rows = [{"object": "embedding", "index": i, "embedding": self.numbers(row)} for i, row in enumerate(found)]
        return answer(handler, 200, {"object": "list", "data": rows[::-1], "usage": {"total_tokens": 1}})

    def post(self, handler, body):
        assert body["execEndpoint"] == "/"
        texts = [row["text"] for row in body["data"] if "text" in row]
        files = [base64.b64decode(row["blob"]) for row in body["data"] if "blob" in row]
        found = self.vectors(handler, texts, files)
        if not isinstance(found, np.ndarray):
            return None
        return answer(handler, 200, {"data": [{"id": "x", "embedding": self.numbers(row)} for row in found]})

    def numbers(self, row):
        return base64.b64encode(row.astype("<f4").tobytes()).decode() if self.coded else row.tolist()
