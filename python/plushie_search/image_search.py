"""Search a folder of pictures by text, over clip-as-service or a model on this machine, with vectors in Milvus.

``python -m plushie_search.image_search --mode index --image-dir photos`` stores the pictures, and
``python -m plushie_search.image_search --mode search --query "a red bear"`` finds them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from ._core import ArgumentError, folder_items
from .hub import open_encoder
from .milvus.engine import MilvusEngine
from .paths import expanded
from .rows import ItemDraft

if TYPE_CHECKING:
    from .results import Report, Results

#: The port of Milvus.
PORT = 19530


class ImageSearchEngine:
    """Pictures that are found by text; a thin form of :class:`MilvusEngine`.

    Args:
        mode: ``"service"``: pictures and texts are encoded by clip-as-service; ``"local"``: by the model, here.
        clip_server: The address of clip-as-service, for ``mode="service"``.
        model_name: The model; with a service, its name there.
        collection_name: The collection in Milvus.
        milvus_host: The host of Milvus; by default Milvus Lite stores in the file ``COLLECTION.db`` of the working
            directory.
        milvus_port: The port of Milvus.
        create: Whether to make the collection if there is none.

    Raises:
        ArgumentError: ``mode`` is neither of both.
        ModelError: The model or the service cannot be used.
        CatalogError: Milvus does not answer, there is no collection and ``create`` is false, or it was made with
            another model.
    """

    def __init__(
        self,
        mode: Literal["service", "local"] = "local",
        clip_server: str = "grpc://localhost:51000",
        model_name: str = "ViT-B-32::openai",
        collection_name: str = "image_search",
        milvus_host: str | None = None,
        milvus_port: int = PORT,
        create: bool = True,
    ) -> None:
        if mode not in ("service", "local"):
            raise ArgumentError(f'mode {mode!r}: give "service" or "local"')
        encoder = open_encoder(model_name, service=clip_server if mode == "service" else None)
        uri = f"{collection_name}.db" if milvus_host is None else f"http://{milvus_host}:{milvus_port}"
        self._mode = mode
        self._engine = MilvusEngine(uri, collection=collection_name, model=encoder, create=create)

    def index_directory(self, path: str | os.PathLike[str], descriptions: Mapping[str, str] | None = None) -> Report:
        """Stores all pictures in a folder and the folders in it, each as an item named by its path.

        Args:
            path: The folder.
            descriptions: Descriptions of pictures by their paths or file names.

        Raises:
            ArgumentError: There is no picture in it.
            OSError: The folder cannot be read.
        """
        paths = [str(file) for _, files in folder_items(expanded(path)) for file in files]
        if not paths:
            raise ArgumentError(f"{os.fspath(path)}: there is no picture in it: give a folder of pictures")
        told = descriptions or {}
        return self.index_images(paths, [told.get(one) or told.get(os.path.basename(one)) for one in paths])

    def index_images(
        self, image_paths: Sequence[str | os.PathLike[str]], descriptions: Sequence[str | None] | None = None
    ) -> Report:
        """Stores pictures, each as an item named by its path; those that cannot be read are reported.

        Args:
            image_paths: The paths.
            descriptions: A description of each, or None.

        Raises:
            ArgumentError: The lists differ in length.
        """
        texts: Sequence[str | None] = [None] * len(image_paths) if descriptions is None else descriptions
        if len(texts) != len(image_paths):
            raise ArgumentError(f"{len(image_paths)} images but {len(texts)} descriptions: give one for each, or None")
        return self._engine.add_items(
            ItemDraft(os.fspath(path), images=os.fspath(path), text=text)
            for path, text in zip(image_paths, texts, strict=True)
        )

    def search(self, text: str, top_k: int = 5) -> Results:
        """Returns the pictures that fit a text best; ``hit.item`` is the path, and ``hit.score`` the cosine.

        Raises:
            ArgumentError: The text is empty, or ``top_k`` is not from 1 to 16,384.
        """
        found: Results = self._engine.search_text(text, k=top_k)
        return found

    def search_batch(self, texts: Sequence[str], top_k: int = 5) -> list[Results]:
        """Returns the pictures that fit each of several texts best, as :meth:`search` does."""
        found: list[Results] = self._engine.search_text(list(texts), k=top_k)
        return found

    def get_stats(self) -> dict[str, Any]:
        """Returns ``mode``, ``total_images``, ``model``, ``dimension`` and ``collection``."""
        stats = self._engine.stats()
        return {
            "mode": self._mode,
            "total_images": stats["references"],
            "model": self._engine.models[0],
            "dimension": stats["models"][0]["dimension"],
            "collection": self._engine.path,
        }

    def close(self) -> None:
        """Closes the connections."""
        self._engine.close()

    def __enter__(self) -> ImageSearchEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def print_results(results: Results | Sequence[Results]) -> None:
    """Prints the results of one search, or of several, as tables."""
    several = results if isinstance(results, list) else [results]
    for one in several:
        print(one)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status: 0, 1 if pictures could not be used, or 2 for an error."""
    parser = argparse.ArgumentParser(prog="python -m plushie_search.image_search", description=__doc__)
    parser.add_argument("--mode", choices=("index", "search"), required=True, help="store pictures, or find them")
    parser.add_argument(
        "--encode-mode", choices=("service", "local"), default="local", help="clip-as-service, or the model here"
    )
    parser.add_argument("--clip-server", default="grpc://localhost:51000", metavar="URL", help="(%(default)s)")
    parser.add_argument("--model-name", default="ViT-B-32::openai", metavar="NAME", help="the model (%(default)s)")
    parser.add_argument("--image-dir", metavar="FOLDER", help="the folder of pictures to store")
    parser.add_argument("--query", action="append", metavar="TEXT", help="the text to search for; may be repeated")
    parser.add_argument("--top-k", type=int, default=5, metavar="N", help="how many pictures (%(default)s)")
    parser.add_argument("--collection-name", default="image_search", metavar="NAME", help="(%(default)s)")
    parser.add_argument("--milvus-host", metavar="HOST", help="the host of Milvus (Milvus Lite in a file)")
    parser.add_argument("--milvus-port", type=int, default=PORT, metavar="PORT", help="(%(default)s)")
    options = parser.parse_args(arguments)
    needed = "image_dir" if options.mode == "index" else "query"
    if getattr(options, needed) is None:
        parser.error(f"--mode {options.mode} needs --{needed.replace('_', '-')}")
    try:
        if options.mode == "index":
            # A folder that is not there leaves no collection behind.
            folder_items(expanded(options.image_dir))
        with ImageSearchEngine(
            options.encode_mode,
            options.clip_server,
            options.model_name,
            options.collection_name,
            options.milvus_host,
            options.milvus_port,
            create=options.mode == "index",
        ) as engine:
            if options.mode == "search":
                print_results(engine.search_batch(options.query, options.top_k))
                return 0
            report = engine.index_directory(options.image_dir)
            print(f"{report}; {engine.get_stats()['total_images']} images in all")
            for name, reason in report.failed:
                print(f"left out {name}: {reason}", file=sys.stderr)
            return 1 if report.failed else 0
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
