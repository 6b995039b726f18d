"""A server of Jina with an executor like clip-as-service's: python tests/jina_server.py grpc|http PORT.

The vector of a text or a picture is drawn from how long it is.
"""

import sys

import numpy as np

DIM = 16


def vector(length):
    return np.random.default_rng(length).normal(size=DIM).astype(np.float32)


if __name__ == "__main__":
    from docarray import DocumentArray
    from jina import Executor, Flow, requests

    class Clip(Executor):
        @requests
        async def encode(self, docs: DocumentArray, **_):
            for doc in docs:
                if "refuse" in doc.text:
                    raise ValueError("I refuse that")
                doc.embedding = vector(len(doc.blob) or len(doc.text))
                doc.pop("blob")
            return docs

    with Flow(port=int(sys.argv[2]), protocol=sys.argv[1]).add(uses=Clip) as flow:
        print("ready", flush=True)
        flow.block()
