"""A server of the Open Inference Protocol in a thread, which runs ONNX networks and fails in any way it is told to."""

import json
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import onnxruntime

DATATYPES = {"tensor(float)": "FP32", "tensor(float16)": "FP16", "tensor(int64)": "INT64", "tensor(int32)": "INT32"}
TYPES = {"FP32": np.float32, "FP16": np.float16, "INT64": np.int64, "INT32": np.int32}


class FakeService:
    """A server that records requests and may answer with something else than vectors.

    Attributes:
        models: ONNX networks (bytes or paths) by the names under which they are served.
        binary: Whether tensors in binary form are taken.
        refusal: The status with which they are refused.
        limit: The most rows that are taken in a request.
        faults: Functions that answer the next requests for vectors, each one request, by writing to the handler.
        forever: A function that answers all of them, after the faults.
        asked: The request for each that was answered: its path, headers, and inputs (None where a fault answered).
    """

    def __init__(self, models, *, binary=True, limit=10_000):
        self.models = {name: onnxruntime.InferenceSession(network) for name, network in models.items()}
        self.binary, self.limit = binary, limit
        self.faults, self.forever, self.asked = [], None, []
        self.refusal = 400
        self.alter = lambda output: output
        self.lock = threading.Lock()

    @contextmanager
    def running(self, tls=None):
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                service.describe(self)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                with service.lock:
                    fault = service.faults.pop(0) if service.faults else service.forever
                if fault is not None:
                    service.asked.append((self.path, self.headers, None))
                    with suppress(BrokenPipeError, ConnectionResetError):
                        fault(self)
                    return
                service.infer(self, body)

        with served(Handler, tls) as self.address:
            yield self

    def url(self, name):
        return f"oip://{self.address}/{name}"

    def urls(self):
        return {name: self.url(name) for name in self.models}

    def describe(self, handler):
        session = self.models.get(handler.path.rpartition("/")[2])
        if session is None:
            return answer(handler, 404, {"error": "unknown model"})
        ports = [
            [
                {
                    "name": port.name,
                    "datatype": DATATYPES[port.type],
                    "shape": [size if isinstance(size, int) else -1 for size in port.shape],
                }
                for port in some
            ]
            for some in (session.get_inputs(), session.get_outputs())
        ]
        return answer(handler, 200, {"name": "m", "versions": ["1"], "inputs": ports[0], "outputs": ports[1]})

    def infer(self, handler, body):
        length = handler.headers.get("Inference-Header-Content-Length")
        if length is not None and not self.binary:
            self.asked.append((handler.path, handler.headers, None))
            return answer(handler, self.refusal, {"error": "no binary here"})
        head, rest = (body, b"") if length is None else (body[: int(length)], body[int(length) :])
        request, feed = json.loads(head), {}
        for tensor in request["inputs"]:
            kind, size = TYPES[tensor["datatype"]], tensor.get("parameters", {}).get("binary_data_size")
            if size is None:
                feed[tensor["name"]] = np.array(tensor["data"], dtype=kind).reshape(tensor["shape"])
            else:
                feed[tensor["name"]] = np.frombuffer(rest[:size], dtype=kind).reshape(tensor["shape"])
                rest = rest[size:]
        assert rest == b""
        self.asked.append((handler.path, handler.headers, feed))
        if max(len(value) for value in feed.values()) > self.limit:
            return answer(handler, 400, {"error": f"at most {self.limit} rows"})
        wanted = request["outputs"][0]
        session = self.models[handler.path.split("/")[-2]]
        result = self.alter(session.run([wanted["name"]], feed)[0])
        output = {"name": wanted["name"], "datatype": "FP32", "shape": list(result.shape)}
        if not wanted["parameters"]["binary_data"]:
            output["data"] = result.tolist()
            return answer(handler, 200, {"outputs": [output]})
        raw = result.astype(np.float32).tobytes()
        output["parameters"] = {"binary_data_size": len(raw)}
        head = json.dumps({"outputs": [output]}).encode()
        return answer(handler, 200, head + raw, {"Inference-Header-Content-Length": str(len(head))})

    def rows(self):
        """How many rows each request had that reached a network."""
        return [len(next(iter(feed.values()))) for _, _, feed in self.asked if feed is not None]


@contextmanager
def served(handler, tls=None):
    """A server whose requests this class handles, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # clients that go away are part of the tests
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler, status, body=b"", headers=()):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **dict(headers)}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def status(code, message="busy", **headers):
    """Answers with a status of failure."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: answer(handler, code, {"error": message}, headers)


def closes(handler):
    """Ends the connection without a word."""
    handler.close_connection = True


def half(handler):
    """Promises more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"outputs": [')
    handler.close_connection = True


def body(text):
    """Answers with anything and the status of success."""
    return lambda handler: answer(handler, 200, text)
