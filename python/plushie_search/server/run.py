"""Runs the server: one process or several, until it is told to stop."""

from __future__ import annotations

import json
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
import time
import webbrowser
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from .._core import ArgumentError, PlushieError
from ..log import logger
from ..paths import expanded
from .app import create_app
from .auth import Guard, create_keys, is_loopback
from .lines import Lines
from .metrics import MULTIPROCESS
from .middleware import access
from .opening import open_catalogs
from .settings import Settings, load

#: The variables by which a process of several, or one of gunicorn, gets its configuration.
VALUES, FILE = "PLUSHIE_SETTINGS", "PLUSHIE_CONFIG"
#: Seconds after which a process of several tries again to start, and in which a busy one must tell that it is alive.
AGAIN, ALIVE = 5.0, 30


def run(settings: Settings, *, show: bool = False) -> None:
    """Serves until the process is told to stop.

    Args:
        settings: The configuration.
        show: Whether to show the page in the browser.

    Raises:
        ArgumentError: It would listen on other addresses than loopback without keys, or the address is taken.
        CatalogError: A catalog cannot be opened.
        ModelError: A model cannot be opened.
    """
    server = settings.server
    if settings.auth.create_keys:
        settings = _with_keys(settings)
    has_keys = Guard(settings).has_keys
    if not is_loopback(server.host) and not has_keys and not settings.auth.insecure:
        raise ArgumentError(
            f"server.host {server.host} is reached from other machines: give keys by auth.keys_file, or --insecure "
            "to let every one of them search and change"
        )
    log(settings)
    app: FastAPI | str = f"{__name__}:application"
    with tempfile.TemporaryDirectory(prefix="plushie-search-", ignore_cleanup_errors=True) as folder:
        if server.workers > 1:
            # An error ends the command here; of a process that is started later it would be a line of the log.
            for engine in open_catalogs(settings).values():
                engine.close()
            settings = _shared(settings, Path(folder))
        else:
            app = create_app(settings)
        with _bound(server.host, server.port) as listening:
            port = listening.getsockname()[1]
            host = "127.0.0.1" if server.host in ("0.0.0.0", "::") else server.host
            address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            print(f"plushie-search: serving {', '.join(_catalogs(settings))} at {address}", file=sys.stderr, flush=True)
            if show:
                threading.Timer(1.0, webbrowser.open, [address]).start()
            config = uvicorn.Config(
                app,
                factory=isinstance(app, str),
                workers=server.workers,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=True,
                forwarded_allow_ips=server.proxies,
                timeout_graceful_shutdown=max(1, round(server.graceful)),
                timeout_keep_alive=30,
                timeout_worker_healthcheck=ALIVE,
            )
            if server.workers > 1:
                Multiprocess(config, [listening]).run()
            else:
                # Uvicorn raises the signal again when it has stopped.
                signal.signal(signal.SIGTERM, lambda *_: None)
                uvicorn.Server(config).run([listening])


def application() -> FastAPI:
    """Returns the application of one process of several, or of gunicorn.

    The configuration is that of the environment, and of the YAML file that ``PLUSHIE_CONFIG`` names. One process of
    several that cannot start, since its model is gone for a while, tries again until it can: the others go on.
    """
    values = os.environ.get(VALUES)
    settings = Settings(**_json(values)) if values else load(os.environ.get(FILE))
    log(settings)
    try:
        return create_app(settings)
    except PlushieError as error:
        if not values:
            raise  # the server of another program tells it
        failed = error
    # Uvicorn's handlers would wait until it serves.
    before = {one: signal.signal(one, _end) for one in (signal.SIGTERM, signal.SIGINT)}
    while True:
        logger.error("a process of the server cannot start, and tries again in %.0f s: %s", AGAIN, failed)
        time.sleep(AGAIN)
        try:
            app = create_app(settings)
        except PlushieError as error:
            failed = error
            continue
        for one, handler in before.items():
            signal.signal(one, handler)
        return app


def _end(*_: object) -> NoReturn:
    raise SystemExit(0)


def log(settings: Settings) -> None:
    """Writes the log to standard error: lines of JSON about requests, or plain ones in the mode ``dev``."""
    handler = Lines()
    handler.setFormatter(
        logging.Formatter("%(levelname)s: %(message)s" if settings.server.mode == "dev" else "%(message)s")
    )
    for one, level in ((logger, logging.INFO), (logging.getLogger("uvicorn.error"), logging.WARNING)):
        one.setLevel(level)
        if not any(isinstance(held, Lines) for held in one.handlers):
            one.addHandler(handler)
    access.setLevel(logging.INFO)


def _shared(settings: Settings, folder: Path) -> Settings:
    """Returns the configuration of several processes, and leaves it where they find it."""
    server = settings.server
    if server.state is None:
        server = server.model_copy(update={"state": str(folder / "state")})
    auth = settings.auth.model_copy(update={"secret": settings.auth.secret or secrets.token_hex(32)})
    settings = settings.model_copy(update={"server": server, "auth": auth})
    counts = folder / "metrics"
    counts.mkdir()
    os.environ[MULTIPROCESS] = str(counts)
    os.environ[VALUES] = settings.model_dump_json(exclude_unset=False)
    return settings


def _with_keys(settings: Settings) -> Settings:
    """Returns a configuration that has keys; makes them, and prints them this once, if there are none.

    Raises:
        ArgumentError: There is no place for their file.
    """
    auth = settings.auth
    if auth.read_keys or auth.write_keys:
        return settings
    file = auth.keys_file
    if file is None:
        if settings.catalog is None:
            raise ArgumentError("auth.create_keys has no place for the file: give auth.keys_file")
        file = os.path.join(os.path.dirname(os.path.abspath(expanded(settings.catalog))), "keys.json")
    if (made := create_keys(expanded(file))) is not None:
        read, write = made
        print(
            f"plushie-search: made keys, which are shown this once; {file} has their hashes\n"
            f"  to search:             {read}\n  to search and change:  {write}",
            file=sys.stderr,
            flush=True,
        )
    return settings.model_copy(update={"auth": auth.model_copy(update={"keys_file": file})})


def _json(values: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(values)
    return held


def _bound(host: str, port: int) -> socket.socket:
    """Returns a socket that listens there.

    Raises:
        ArgumentError: The address is taken or none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sends small answers at once (TCP_NODELAY) on sockets that are told to be TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as error:
        listening.close()
        raise ArgumentError(
            f"cannot listen on {host}, port {port}: {error.strerror}; give another --port or --host"
        ) from None
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def _catalogs(settings: Settings) -> list[str]:
    return [expanded(path) for path in ([settings.catalog] if settings.catalog else []) + [*settings.catalogs.values()]]
