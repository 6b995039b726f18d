"""An open catalog: add, remove, search."""

from __future__ import annotations

import functools
import logging
import os
from typing import Any, Literal

from .. import _core, forks, hub
from .._core import ArgumentError
from ..encoders.protocol import Models, named
from ..log import logger
from ..paths import expanded
from ..show.table import counted
from ..stored import stored_models, tell_migrated
from .adding import Added
from .opened import model_sources
from .upkeep import UpkeepMethods

__all__ = ["Added", "Engine"]


class Engine(UpkeepMethods):
    """An open catalog.

    Engines may be shared between threads, and many processes may open one catalog: each sees the others' changes at
    its next call. After a fork (``os.fork``, ``multiprocessing``, ``gunicorn --preload``, a DataLoader) parent and
    child may both use it: the child opens the catalog and the models again at its first call.

    Args:
        path: The catalog's directory; made when it does not exist (unless ``create`` is false).
        model: A name that :func:`plushie_search.models` lists, a model directory, an encoder of
            :func:`plushie_search.open_encoder`, or any :class:`EncoderLike` object. By default the models that the
            catalog was filled with, or ``"plushie-mini"`` for a new one. Or several of them:
            ``model=["dinov2-small", "ViT-B-32::openai"]``, or by the names that they get in this engine:
            ``model={"clip": "ViT-B/32", "mine": my_encoder}``. Each encodes every picture that is added. A
            picture is then looked up by the first one, and a text by the first one that encodes texts, unless a search
            names others. A catalog belongs to the models that its pictures were added with, which their fingerprints
            identify; others are refused. With some of them it can be searched, and changed in every way but adding
            pictures. An empty list opens none, in a catalog that exists: items can be looked at, changed and removed,
            and searched by vectors.
        dim: The dimension of the vectors of a catalog without a model, which takes vectors alone.
        threads: The most threads of this engine's work, and of models that are given by name or directory; by default
            those of the first model, or all cores. Engines of as many threads share them.
        create: Whether to make the catalog when there is none.
        read_only: Whether to open a catalog that may only be read, as on read-only media, in an image of a container or
            of another user. It must exist, and every change is refused.
        busy_timeout: How long a change waits for other processes that write to the catalog, in seconds. Ctrl-C ends the
            waiting.
        durability: Which failures a change survives once it has returned. ``"full"``, the default: the end of the
            process, however it ends, and a loss of power. ``"relaxed"`` saves the wait for the disk at each change: a
            loss of power may undo the newest changes, the last one first, and never leaves half of one.
        thumbnails: Whether a small copy of each picture that is added is kept in ``thumbnails.sqlite``: True, False, or
            ``"auto"``, which stops at 2 GB with a warning. See :meth:`thumbnail`.
        media: Whether the original of each picture that is added is kept in ``media/``; by default that of bytes,
            arrays, PIL images and file objects is, and that of paths is not. See :meth:`original`.
        crops: Whether the vector of each picture that is added is the mean of three: of the whole, and of its middle
            with three quarters and with a half of each side. That finds more things that are large in one photo and
            small in the other; to add a picture takes three times as long, and to search no longer. The catalog
            remembers it; False for a new one by default. Pictures that were added before stay as they are.
        views: The views of a mesh (an STL, OBJ, PLY, GLB or 3MF file), 1 to 100: each is a reference of a mesh that is
            added, and so is their mean; a mesh that is looked up is the mean alone. See :func:`render`. The catalog
            remembers it; 20 for a new one by default. Meshes that were added before stay as they are.
        index: How references are found. ``"auto"``, the default, compares every reference with a query up to about
            100,000 of them, and beyond has an approximate index, which is built in the background once the engine is
            searched and kept in ``index/`` beside the catalog. ``"exact"`` compares every one always. Or a factory
            string of faiss, ``[transform,]IVFn[_HNSWm],code``, ``IVFn(PQmx4fs,RFlat),code`` or ``HNSWm[,code]``, such
            as ``"IVF1024,PQ64x4fs"``, ``"IVF1024,SQ8"``, ``"OPQ64,IVF1024,PQ64x4fs"`` or ``"HNSW32"``: used once there
            are enough references to learn it from. See :meth:`optimize`.
        recall: The share of the exact best 10 items that searches find in an approximate index, above 0 and at most 1:
            how much of it they look at is measured so. By default that for which the catalog's index was built, or
            0.98.
        memory: How much memory an approximate index may take, in bytes, or as a share of what is free when it is
            built, such as 0.5; pages of its file do not count. The longest codes that fit are used. If the recall is
            not reached with them, :meth:`optimize` raises an error, and in the background every reference goes on
            being compared, with a warning. By default as much as it needs: about 0.22 GB for a million vectors of 512
            numbers.
        index_device: The device that compares vectors: ``"cpu"``, the default, or one that :func:`open_encoder` takes
            as ``device``, such as ``"cuda"`` or ``"cuda:0,1"``. It keeps a copy of all vectors, in 16 bits on NVIDIA
            GPUs, once there are 10,000, and compares every one, so that ``index`` is of no use beside it; the best are
            compared in 32 bits on the processor, so that hits and scores are the same. ``"auto"`` takes the first
            NVIDIA GPU, or else the processor with a warning; ``"onnx:cpu"`` is the processor by ONNX Runtime, as in
            tests: it gains nothing.

    Raises:
        CatalogError: The directory is not a catalog, was made with other models, or cannot be written.
        ModelError: A model, the ONNX Runtime library or the device cannot be used, a model's license needs consent, it
            cannot be downloaded, or it is one of several and encodes no pictures.
        ImportError: A model would have to be downloaded and ``huggingface_hub`` is not installed.
        TypeError: A model is neither a name nor a path nor an encoder.
        ArgumentError: There is no model of that name, there are two, or both a model and ``dim`` are given,
            ``durability`` or ``thumbnails`` is none of those that there are, ``views``, ``recall`` or ``memory`` is out
            of its bounds, or ``index`` is a string that faiss refuses, whose index it cannot filter, or that is given
            with a device.
    """

    __slots__ = ()

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        model: Models | None = None,
        dim: int | None = None,
        threads: int | None = None,
        create: bool = True,
        read_only: bool = False,
        busy_timeout: float = 30.0,
        durability: Literal["full", "relaxed"] = "full",
        thumbnails: Literal["auto"] | bool = "auto",
        media: bool | None = None,
        crops: bool | None = None,
        views: int | None = None,
        index: str = "auto",
        recall: float | None = None,
        memory: float | None = None,
        index_device: str = "cpu",
    ) -> None:
        if model is not None and dim is not None:
            raise ArgumentError("a catalog has a model, or vectors alone of dimension dim: give one of them")
        if thumbnails not in ("auto", True, False):
            raise ArgumentError(f'thumbnails={thumbnails!r}: give "auto", True or False')
        small = None if thumbnails == "auto" else bool(thumbnails)
        path = expanded(path)
        absent: list[tuple[str, str, int]] = []
        try:
            # Before the models: one of the processor would open another library.
            device = hub.load_device(index_device)
            if model is None and dim is None:
                stored = stored_models(path, read_only=read_only, busy_timeout=busy_timeout)
                model, dim = stored.models or hub.DEFAULT_MODEL, stored.dim
            elif isinstance(model, (list, tuple)) and not model:
                absent = stored_models(path, read_only=read_only, busy_timeout=busy_timeout, needed=False).absent
                create = False
            models = [] if model is None or dim is not None else named(model)
            encoders = [(name, hub.as_encoder(one, threads=threads)) for name, one in models]
        except (_core.CatalogError, _core.ModelError) as error:
            logger.warning("refused %s: %s", path, error)
            raise

        how: dict[str, Any] = {
            "threads": threads,
            "read_only": read_only,
            "busy_timeout": busy_timeout,
            "durability": durability,
            "thumbnails": small,
            "media": media,
            "crops": crops,
            "views": views,
            "index": index,
            "recall": recall,
            "memory": memory,
            "index_device": device,
        }
        try:
            self._opened = _core.Engine(path, encoders, dim=dim, absent=absent, create=create, **how)
        except (_core.CatalogError, _core.ModelError) as error:
            logger.warning("refused %s: %s", path, error)
            raise
        tell_migrated(path, self._opened.migrated)
        # The directory in which this process works may be another one later, or in a child of it.
        self._again = functools.partial(_core.Engine, os.path.abspath(path), create=False, **how)
        # For a child of this process. Encoders open themselves again there.
        self._connect = functools.partial(self._again, encoders, dim=dim, absent=absent)
        self._process = forks.process
        self._learned = None
        self._introduce({} if read_only else model_sources(models, encoders))
        if logger.isEnabledFor(logging.INFO):
            items = counted(len(self._opened), "item")
            logger.info("opened %s: %s, models %s", self._opened.path, items, ", ".join(self._models))
