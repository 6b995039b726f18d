"""Encodes pictures on many machines with Ray."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .._core import ArgumentError, PictureError
from ..hub import open_encoder
from .shards import Encoded, Run, Shard, encode_shard


def ray_module() -> Any:
    """Returns ``ray``.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("encoding with Ray needs an extra: pip install 'plushie_search[ray]'") from error
    return ray


class Worker:
    """An encoder in a process of Ray's.

    Args:
        model: The model.
        how: The options of :func:`plushie_search.open_encoder`.
    """

    def __init__(self, model: str, how: Mapping[str, Any]) -> None:
        self._encoder = open_encoder(model, **how)

    def encode(self, pictures: Sequence[tuple[str, str]]) -> Encoded:
        """Encodes the pictures of a shard."""
        return encode_shard(self._encoder, pictures)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Adds vectors and errors to a batch of rows with the column ``image``."""
        images = list(batch["image"])
        try:
            vectors, errors = self._encoder.encode_images(images), [""] * len(images)
        except PictureError:
            vectors, errors = np.zeros((len(images), self._encoder.dim), np.float32), []
            for place, image in enumerate(images):
                try:
                    vectors[place] = self._encoder.encode_images([image])[0]
                    errors.append("")
                except PictureError as error:
                    errors.append(str(error))
        return {**batch, "vector": vectors, "error": np.array(errors, object)}


def encode(
    dataset: Any,
    *,
    model: str,
    column: str = "image",
    device: str = "cpu",
    workers: int = 1,
    threads: int | None = None,
    batch: int = 64,
    **how: Any,
) -> Any:
    """Returns a dataset of Ray with the vectors of its pictures; nothing is encoded before it is read.

    The pictures are read by Ray's own workers, such as those of ``ray.data.read_binary_files``, and encoded by actors,
    each of which opens the model once. The column ``vector`` has float32 of shape (dim,), and ``error`` the reason if a
    picture cannot be used, whose vector is zeros; else it is empty.

    Args:
        dataset: A ``ray.data.Dataset``.
        model: The model's name or directory, which every machine must have or be able to download.
        column: The column of pictures: paths, bytes or arrays of shape (height, width, 3).
        device: The device, as :func:`plushie_search.open_encoder` takes it; for ``"cuda"`` each actor has a GPU.
        workers: How many actors encode: for GPUs, as many as there are.
        threads: The threads of each actor; 1 by default on processors.
        batch: Pictures that are encoded together.
        how: Further options of :func:`plushie_search.open_encoder`.

    Raises:
        ImportError: Ray is not installed.
        ArgumentError: ``workers`` or ``batch`` is less than 1.
    """
    ray_module()
    if workers < 1 or batch < 1:
        raise ArgumentError(f"workers {workers}, batch {batch}: give 1 or more")
    if column != "image":
        dataset = dataset.rename_columns({column: "image"})
    done = dataset.map_batches(
        Worker,
        fn_constructor_args=(model, {**how, "device": device, "threads": threads or 1}),
        batch_size=batch,
        batch_format="numpy",
        concurrency=workers,
        **resources(device, threads or 1),
    )
    return done if column == "image" else done.rename_columns({"image": column})


def resources(device: str, threads: int) -> dict[str, float]:
    """Returns what an actor takes of a machine."""
    return {"num_gpus": 1} if device.startswith(("cuda", "tensorrt")) else {"num_cpus": threads}


def on_ray(model: str, *, workers: int, how: Mapping[str, Any], address: str | None = None) -> Run:
    """Returns what encodes shards by actors of Ray. An actor that dies is started again, and its shard with it.

    Args:
        model: The model.
        workers: How many actors; each takes a GPU, or as many processors as it has threads.
        how: The options of :func:`plushie_search.open_encoder`.
        address: The cluster; by default that of ``RAY_ADDRESS``, or a new one on this machine.

    Raises:
        ImportError: Ray is not installed.
        ArgumentError: ``workers`` is less than 1.
        ConnectionError: There is no cluster at the address, or Ray does not start here.
    """
    ray = ray_module()
    if workers < 1:
        raise ArgumentError(f"workers {workers}: give 1 or more")
    options = {**how, "threads": how.get("threads") or 1}
    if not ray.is_initialized():
        _connect(ray, address)

    def run(shards: Sequence[Shard]) -> Iterable[tuple[Shard, Encoded]]:
        if not shards:
            return
        taken = resources(str(options.get("device", "cpu")), options["threads"])
        kind = ray.remote(max_restarts=-1, max_task_retries=-1, **taken)(Worker)
        actors = [kind.remote(model, options) for _ in range(min(workers, len(shards)))]
        yield from _spread(ray, actors, shards)

    return run


def _connect(ray: Any, address: str | None) -> None:
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
    except Exception as error:  # Ray raises plain ones, too
        ray.shutdown()
        told = " ".join(str(error).split())
        if address is None:
            raise ConnectionError(
                f"Ray does not start on this machine: {told}: try again, or leave out --ray"
            ) from error
        raise ConnectionError(
            f"no cluster of Ray answers at {address}: {told}: start one by `ray start --head`, or correct the address"
        ) from error


def _spread(ray: Any, actors: Sequence[Any], shards: Sequence[Shard]) -> Iterator[tuple[Shard, Encoded]]:
    """Gives each actor its next shard when it has done one."""
    left = iter(shards)
    running: dict[Any, tuple[Shard, Any]] = {}

    def give(actor: Any) -> None:
        shard = next(left, None)
        if shard is not None:
            running[actor.encode.remote(shard.pictures)] = (shard, actor)

    for actor in actors:
        give(actor)
    try:
        while running:
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            shard, actor = running.pop(ready)
            encoded = ray.get(ready)
            give(actor)
            yield shard, encoded
    finally:
        for actor in actors:
            ray.kill(actor)
