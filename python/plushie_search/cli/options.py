"""The options of every command that opens a model: their flags, and the keyword arguments that they become."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from .._core import Encoder
from ..encoders.service import SCHEME, TOWERS, Remote
from ..hub import open_encoder


def add_options(
    parser: argparse.ArgumentParser, *, several: bool, threads: str = "all cores", shown: bool = True
) -> None:
    """Adds the flags that say how models are opened.

    Args:
        parser: The command.
        several: Whether there may be several models.
        threads: The number of threads by default, in words.
        shown: Whether ``--help`` shows the flags. A command that computes nothing takes them without.
    """
    of_each = "; of several models, MODEL=URL, MODEL=image=URL or MODEL=text=URL for each that does not run here"
    group = parser.add_argument_group("how models compute")
    add_threads(group, threads)
    group.add_argument(
        "--device",
        default="cpu",
        help="what computes: cpu, cuda, cuda:0,1, tensorrt, openvino, or auto, a GPU if there is one (%(default)s)",
    )
    group.add_argument(
        "--precision", choices=("fp32", "fp16", "bf16"), help="the numbers to compute in (those of the model)"
    )
    group.add_argument(
        "--max-batch",
        type=positive,
        metavar="N",
        help="the most pictures, or texts of one length, that go through a model together (32 on GPUs, else one to "
        "four)",
    )
    group.add_argument(
        "--service",
        action="append",
        metavar="URL",
        help="the service that runs the model's networks (oip://host:port/name) or the whole model (https://...); "
        f"image=URL or text=URL for one tower{of_each if several else ''}",
    )
    add_consent(group)
    if not shown:
        for action in group._group_actions:
            action.help = argparse.SUPPRESS


def add_threads(parser: argparse._ActionsContainer, usual: str = "all cores") -> None:
    """The flag for the number of threads."""
    parser.add_argument("--threads", type=positive, metavar="N", help=f"the most threads to use ({usual})")


def add_consent(parser: argparse._ActionsContainer) -> None:
    """The flag that consents to a license."""
    parser.add_argument("--accept-license", action="store_true", help="consent to what the model's license asks")


def for_model(options: argparse.Namespace, model: str) -> dict[str, Any]:
    """The options of :func:`plushie_search.open_encoder` for the only model of a command.

    Raises:
        ValueError: A ``--service`` is for something else, or two are for the same.
    """
    return for_models(options, [model])[0]


def for_models(
    options: argparse.Namespace, models: Sequence[str], *, besides: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """The options of :func:`plushie_search.open_encoder` for each model.

    A ``--service`` may also be for one of ``besides``, models that the command opens elsewhere.

    Raises:
        ValueError: A ``--service`` is for something else, or two are for the same.
    """
    services = _services(options.service or [], list(dict.fromkeys([*models, *besides])))
    common = {
        "threads": options.threads,
        "device": options.device,
        "precision": options.precision,
        "max_batch": options.max_batch,
        "accept_license": options.accept_license,
    }
    return [{**common, "service": services.get(model)} for model in models]


def open_model(options: argparse.Namespace, model: str) -> Encoder:
    """Opens the only model of a command.

    Raises:
        ModelError: It cannot be opened.
        ValueError: As :func:`for_model`.
    """
    return open_encoder(model, **for_model(options, model))


def open_models(options: argparse.Namespace, models: Sequence[str], *, besides: Iterable[str] = ()) -> list[Encoder]:
    """Opens the models of a command, each once.

    Raises:
        ModelError: One cannot be opened.
        ValueError: As :func:`for_models`, or a model is given twice.
    """
    twice = next((model for number, model in enumerate(models) if model in models[:number]), None)
    if twice is not None:
        raise ValueError(f"model {twice} is given twice; leave one out")
    told = for_models(options, models, besides=besides)
    return [open_encoder(model, **how) for model, how in zip(models, told, strict=True)]


def _services(given: Sequence[str], models: Sequence[str]) -> dict[str, Remote]:
    """The service of each model that has one: its address, or that of each tower."""
    addresses: dict[str, dict[str | None, str]] = {}
    for text in given:
        model, rest = _model(text, models)
        tower, url = _tower(rest)
        of_model = addresses.setdefault(model, {})
        if tower in of_model or (of_model and None in (tower, *of_model)):
            raise ValueError(
                f"--service {text}: model {model} has a service already; give one address for both towers, or "
                "image=URL and text=URL"
            )
        of_model[tower] = url
    return {
        model: towers[None] if None in towers else {tower: url for tower, url in towers.items() if tower is not None}
        for model, towers in addresses.items()
    }


def _model(text: str, models: Sequence[str]) -> tuple[str, str]:
    """The model that an ``--service`` is for, and what follows its name."""
    if len(models) == 1 and _is_address(text):
        return models[0], text
    # The longest name first: one may begin with another and "=".
    for model in sorted(models, key=len, reverse=True):
        if text.startswith(f"{model}=") and _is_address(text[len(model) + 1 :]):
            return model, text[len(model) + 1 :]
    if _is_address(text):
        raise ValueError(
            f"--service {text}: which of the models is it for? Give MODEL=URL with one of {', '.join(models)}"
        )
    name = SCHEME.split(text, maxsplit=1)[0].rstrip("=")
    for tower in TOWERS:
        name = name.removesuffix(f"={tower}")
    if name == text:
        raise ValueError(f"--service {text}: this is no address; give one like oip://host:port/name")
    raise ValueError(f"--service {text}: there is no model {name!r} here, only {', '.join(models)}")


def _tower(address: str) -> tuple[str | None, str]:
    tower, _, url = address.partition("=")
    return (tower, url) if tower in TOWERS else (None, address)


def _is_address(text: str) -> bool:
    """Returns whether it is an address, or one for a tower."""
    return SCHEME.match(_tower(text)[1]) is not None


def positive(text: str) -> int:
    """The number of a flag that must be at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"needs 1 or more, not {number}")
    return number
