"""Opens an encoder of a model, by its name or directory."""

from __future__ import annotations

import os
import sys
import warnings

from .. import _core
from .._core import ArgumentError
from ..encoders import connect
from ..encoders.protocol import Model
from ..encoders.service import Remote, as_service
from ..log import logger
from . import cuda
from .names import DEFAULT_MODEL, entry, resolve
from .runtime import RUNTIMES, runtime_library

#: The directory of the package.
PACKAGE = os.path.dirname(os.path.dirname(__file__))


def open_encoder(
    model: str | os.PathLike[str],
    *,
    threads: int | None = None,
    device: str = "cpu",
    precision: str | None = None,
    max_batch: int | None = None,
    accept_license: bool = False,
    service: Remote | None = None,
    cache: int = 1000,
    networks: bool = True,
) -> _core.Encoder:
    """Opens a model. Engines that are given one encoder share it, and so may any number of threads.

    ``open_encoder("ViT-B-32::openai").encode_images(paths)`` is an array of shape (pictures, dimension), float32. For
    what a name may be, see :func:`plushie_search.models`. In a process that was forked, an encoder opens its model
    again when it is first used.

    Args:
        model: The name or path.
        threads: The most threads that compute, 1 to 1024; all cores by default.
        device: What computes: ``"cpu"``; ``"cuda"``, ``"cuda:1"`` or ``"cuda:0,1"``, NVIDIA GPUs by their numbers,
            which share a batch; ``"tensorrt"``, the same through TensorRT; ``"openvino"`` or ``"openvino:GPU"``; or
            ``"auto"``, the first NVIDIA GPU, or with a warning that says why, the processor.
        precision: ``"fp32"``, ``"fp16"`` or ``"bf16"``: the numbers to compute in, where the device has them. What the
            model is made of by default.
        max_batch: The most pictures, or texts of one length, that go through the model together, 1 to 1024. 32 on GPUs
            by default; elsewhere one, and four where that changes no bit of a vector.
        accept_license: Whether you consent to the model's license, where that asks for it.
        service: The server that runs the model's networks, if they do not run here: its address, the address of each
            tower (``{"image": ..., "text": ...}``), or a :class:`plushie_search.Service`. If it runs the whole model
            (``http://``, ``grpc://``), ``model`` only names it.
        cache: The number of pictures of searches whose vectors are remembered; 0 remembers none.
        networks: Whether to open, and download, the networks. Without them the encoder only prepares pictures and
            texts, by ``preprocess_images`` and ``tokenize``.

    Raises:
        ModelError: The model or ONNX Runtime cannot be used, the license needs consent, a file cannot be downloaded,
            the device is missing, or the service cannot be asked or runs another model; the message says what to do.
        ImportError: ONNX Runtime is not installed, or the model would have to be downloaded and ``huggingface_hub`` is
            not.
        ArgumentError: There is no such model or device, the device has no such precision, or a number is out of range.
    """
    for option, number in (("threads", threads), ("max_batch", max_batch)):
        if number is not None and number < 0:
            raise ArgumentError(f"{option} {number}: give 1 to 1024")
    if cache < 0:
        raise ArgumentError(f"cache {cache}: give 0 or more")
    server = as_service(service)
    if server is not None and server.is_whole:
        for option, value in (("device", device), ("precision", precision), ("max_batch", max_batch)):
            if value not in (None, "auto", "cpu"):
                raise ArgumentError(f"{option} {value!r}: a service that runs a whole model decides that; leave it out")
        name = None if model == DEFAULT_MODEL else os.fspath(model)
        return _core.Encoder.of_object(connect.whole(server, name=name, cache=cache), threads=threads)
    near = networks and (server is None or not server.is_everything)
    directory, manifest = resolve(model, accept_license=accept_license, networks=near)
    facts = None if (server is None and networks) or manifest is None else entry(os.fspath(model)).facts
    library = runtime_library(device)
    if device.partition(":")[0] in RUNTIMES["onnxruntime-gpu"]:
        cuda.preload(library.parent)
    opened = _core.Encoder(
        os.path.abspath(directory),
        runtime=library,
        threads=threads,
        manifest=manifest,
        device=device,
        precision=precision,
        max_batch=max_batch,
        service=None if server is None else connect.networks(server),
        facts=facts,
        cache=cache,
        networks=networks,
    )
    logger.info("opened model %s on %s", opened.name, opened.device)
    if opened.fallback is not None:
        _warn(f"device auto computes on {opened.device}: {opened.fallback}")
    return opened


def load_device(device: str) -> str | None:
    """Opens the ONNX Runtime library of a device that compares vectors; by its rules a process runs one.

    Args:
        device: As for :func:`open_encoder`; and ``"onnx:cpu"`` for the processor by ONNX Runtime, as in tests.

    Returns:
        The device's name for the core; None for ``"cpu"``, which needs no library.

    Raises:
        ModelError: The library cannot be opened, or another one is open.
        ImportError: ONNX Runtime is not installed.
    """
    if device == "cpu":
        return None
    name = "cpu" if device == "onnx:cpu" else device
    library = runtime_library(name)
    if name.partition(":")[0] in RUNTIMES["onnxruntime-gpu"]:
        cuda.preload(library.parent)
    _core.load_runtime(library)
    return name


def as_encoder(model: Model, *, threads: int | None = None) -> _core.Encoder:
    """Opens a model that is given by its name or directory, or as an object; an encoder is returned as it is."""
    if isinstance(model, _core.Encoder):
        return model
    if isinstance(model, (str, os.PathLike)):
        return open_encoder(model, threads=threads)
    return _core.Encoder.of_object(model, threads=threads)


def _warn(message: str) -> None:
    """Warns at the line that called this package, however much of it lies between."""
    inside = PACKAGE + os.sep
    if sys.version_info >= (3, 12):
        warnings.warn(message, RuntimeWarning, skip_file_prefixes=(inside,))
        return
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(inside):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, RuntimeWarning, stacklevel=level)
