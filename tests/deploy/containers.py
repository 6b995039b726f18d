"""Builds and runs images without a container engine: by mount and network namespaces, which need root on Linux.

A base image is this machine, with this Python as ``python`` and its packages. What a stage changes is in its folder.
"""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dockerfile

#: Where a base image has the packages of this environment.
PACKAGES = "/usr/local/lib/test-packages"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str | None:
    """Returns why nothing can be built or run here; None if it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "namespaces need root on Linux"
    needed = ("unshare", "nsenter", "setpriv", "ip", "chroot", "hostname")
    if missing := [one for one in needed if shutil.which(one) is None]:
        return f"needs {', '.join(missing)}"
    overlay = (
        "mkdir -p /tmp/u /tmp/w /tmp/m && mount -t overlay overlay -o lowerdir=/,upperdir=/tmp/u,workdir=/tmp/w /tmp/m"
    )
    line = ["unshare", "--mount", "--net", "--uts", "/bin/sh", "-c", f"mount -t tmpfs tmpfs /tmp && {overlay}"]
    tried = subprocess.run(line, capture_output=True, text=True)
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


@dataclass
class Image:
    """The image of a stage of a Dockerfile."""

    #: The folder that lies over this machine.
    layer: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def line(self, *command: str, env: dict[str, str] | None = None) -> list[str]:
        """Returns a command with the image's environment."""
        values = {"PATH": PATH, **self.env, **(env or {})}
        return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in values.items()), *command]


class Builder:
    """Builds the stages of a Dockerfile.

    Args:
        path: The Dockerfile.
        context: The folder of the sources.
        folder: An empty folder for layers.
        arguments: Build arguments.
    """

    def __init__(self, path: Path, context: Path, folder: Path, **arguments: str) -> None:
        defaults, stages = dockerfile.read(path)
        self._arguments = {**defaults, **arguments}
        self._stages = {stage.name: stage for stage in stages}
        self._context, self._folder = context, folder
        self._ignore = (context / ".dockerignore").read_text(encoding="utf-8")
        self._built: dict[str, Image] = {}

    def build(self, name: str) -> Image:
        """Returns the image of a stage, or of a name outside the file."""
        if name not in self._built:
            self._built[name] = self._stage(self._stages[name]) if name in self._stages else self._base(name)
        return self._built[name]

    def _base(self, name: str) -> Image:
        layer = self._layer(name)
        if name.startswith("python:"):
            as_python(layer)
        return Image(layer)

    def _layer(self, name: str) -> Path:
        layer = self._folder / f"{len(list(self._folder.iterdir()))}-{name.translate(str.maketrans('/:', '--'))}"
        layer.mkdir()
        return layer

    def _stage(self, stage: dockerfile.Stage) -> Image:
        under = self.build(dockerfile.expanded(stage.base, self._arguments))
        layer = self._layer(stage.name)
        subprocess.run(["cp", "-a", f"{under.layer}/.", layer], check=True)
        image = replace(under, layer=layer, env=dict(under.env))
        for step in stage.steps:
            self._do(step, image)
        return image

    def _do(self, step: dockerfile.Step, image: Image) -> None:
        match step.name:
            case "RUN":
                self._run(step, image)
            case "COPY":
                self._copy(step, image)
            case "ENV":
                image.env |= dockerfile.pairs(step.value, {"PATH": PATH, **image.env})
            case "WORKDIR":
                image.workdir = step.value
                (image.layer / step.value.strip("/")).mkdir(parents=True, exist_ok=True)
            case "ENTRYPOINT":
                image.entrypoint = step.value
            case "CMD":
                image.command = step.value
            case "HEALTHCHECK":
                image.health = step.value
            case "LABEL" | "EXPOSE" | "STOPSIGNAL" | "VOLUME":
                pass
            case _:
                raise AssertionError(f"no way to do {step}")

    def _run(self, step: dockerfile.Step, image: Image) -> None:
        binds = []
        for name, value in step.flags:
            mount = dict(pair.split("=", 1) for pair in value.split(","))
            assert (name, mount["type"]) == ("mount", "bind"), step
            source = self.build(mount["from"]).layer / mount["source"].strip("/")
            binds.append((source, mount["target"]))
        script = f"cd {shlex.quote(image.workdir)} && {step.value}"
        # Packages are those that are here: nothing is downloaded.
        env = {"PYTHONPATH": PACKAGES, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "HOME": "/tmp"}
        line = inside(image, self._folder, image.line("/bin/sh", "-c", script, env=env), binds=binds)
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0, f"RUN {step.value}\n{done.stdout}{done.stderr}"

    def _copy(self, step: dockerfile.Step, image: Image) -> None:
        flags = dict(step.flags)
        *sources, target = step.value.split()
        to = image.layer / target.strip("/")
        for source in sources:
            if "from" in flags:
                to.mkdir(parents=True, exist_ok=True)
                subprocess.run(["cp", "-a", f"{self.build(flags['from']).layer}/{source.strip('/')}/.", to], check=True)
                continue
            files = list(self._files(source))
            assert files, f"COPY {source}: nothing of it is in the build"
            single = len(files) == 1 and not target.endswith("/")
            for name, path in files:
                place = to if single else to / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, place)
                place.chmod(int(flags.get("chmod", "644"), 8))

    def _files(self, source: str) -> Iterable[tuple[str, Path]]:
        """Yields the files of a source that .dockerignore lets in, with their names below it."""
        for found in map(Path, sorted(glob.glob(str(self._context / source)))):
            for path in [found] if found.is_file() else sorted(found.rglob("*")):
                if path.is_file() and dockerfile.admits(self._ignore, path.relative_to(self._context).as_posix()):
                    yield (path.name if found.is_file() else path.relative_to(found).as_posix()), path


def as_python(layer: Path) -> None:
    """Makes an image of Python: its folders may be entered by every user, and its packages lie at one place."""
    binaries = layer / "usr/local/bin"
    binaries.mkdir(parents=True)
    for name in ("python", "python3"):  # no links: Python would look for its library beside them
        (binaries / name).write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} "$@"\n')
        (binaries / name).chmod(0o755)
    packages = layer / PACKAGES.strip("/")
    packages.mkdir(parents=True)
    libraries = [Path(one) for one in sys.path if one.endswith("-packages") and Path(one).is_dir()]
    for library in libraries:
        for path in library.iterdir():
            place = packages / path.name
            known = path.suffix == ".pth" or path.name.startswith(("plushie_search", "pip", "__")) or place.is_symlink()
            if not known:
                place.symlink_to(path)
    for path in (Path(sys.base_prefix), *libraries):
        for folder in reversed(path.parents):
            (layer / str(folder).strip("/")).mkdir(mode=0o755, exist_ok=True)


def inside(
    image: Image,
    folder: Path,
    command: list[str],
    *,
    binds: Iterable[tuple[Path, str]] = (),
    read_only: bool = False,
    network: Iterable[str] | None = None,
) -> list[str]:
    """Returns a command that runs another one in an image; what it writes lies in the image's layer.

    With ``network`` it has a network and a host name of its own, which these commands set up.
    """
    top, work = folder / "root", folder / "work"
    script = [
        f"mkdir -p {top} {work}",
        f"mount -t overlay overlay -o lowerdir=/,upperdir={image.layer},workdir={work} {top}",
        *(f"mount --rbind /{one} {top}/{one}" for one in ("proc", "dev", "sys")),
        *(f"mkdir -p {top}{path} && mount --bind {path} {top}{path}" for path in elsewhere()),
        *(f"mkdir -p {top}{target} && mount --bind {source} {top}{target}" for source, target in binds),
        f"mount -t tmpfs tmpfs {top}/tmp",
    ]
    if read_only:
        script.append(f"mount -o remount,bind,ro {top}")
    if network is not None:
        script += ["ip link set lo up", *network]
    script.append(f"exec chroot {top} {shlex.join(command)}")
    namespaces = ["--mount"] if network is None else ["--mount", "--net", "--uts"]
    return ["unshare", *namespaces, "/bin/sh", "-ec", "\n".join(script)]


def elsewhere() -> list[Path]:
    """Returns the folders of this Python that lie on other disks than the root."""
    found = {Path(sys.base_prefix), Path(sysconfig.get_path("purelib"))}
    return [path for path in sorted(found) if path.stat().st_dev != os.stat("/").st_dev]


class Container:
    """An image that runs, with a root that is read-only and a network of its own.

    Args:
        image: The image.
        folder: An empty folder.
        data: The folder that is mounted as /data.
        arguments: A command in place of the image's.
        user: The user that it is started as.
        env: More variables.
        host: Its host name.
        beside: Another container that it reaches by its host name.
    """

    def __init__(
        self,
        image: Image,
        folder: Path,
        data: Path,
        *arguments: str,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        host: str = "container",
        beside: Container | None = None,
    ) -> None:
        folder.mkdir()
        self._host = host
        network = [f"hostname {host}", f"mount --bind {folder}/hosts {folder}/root/etc/hosts"]
        hosts = "127.0.0.1 localhost\n"
        if beside is not None:
            hosts += f"10.9.0.1 {beside._host}\n"
            other = f"nsenter --target={beside.process.pid} --net"
            network += [
                f"ip link add outside type veth peer name inside netns {beside.process.pid}",
                "ip addr add 10.9.0.2/24 dev outside && ip link set outside up",
                f"{other} ip addr add 10.9.0.1/24 dev inside && {other} ip link set inside up",
            ]
        (folder / "hosts").write_text(hosts, encoding="utf-8")
        command = [*image.entrypoint, *(arguments or image.command)]
        if user is not None:
            command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
        self._image = replace(image, env={**image.env, "PYTHONPATH": PACKAGES, **(env or {})})
        line = self._image.line("/bin/sh", "-c", f'cd {image.workdir} && exec "$@"', "sh", *command)
        line = inside(self._image, folder, line, binds=[(data, "/data")], read_only=True, network=network)
        self._log = (folder / "log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(line, stdout=self._log, stderr=self._log)

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def log(self) -> str:
        """Returns what it has printed."""
        self._log.flush()
        return Path(self._log.name).read_text(encoding="utf-8")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the image in the container."""
        enter = ["nsenter", f"--target={self.process.pid}", "--mount", "--net", "--root", "--wd=/"]
        return subprocess.run([*enter, *self._image.line(*command)], capture_output=True, text=True)

    def is_healthy(self) -> bool:
        """Returns whether it says that it serves, and the image's health check passes."""
        return " at http://" in self.log() and self.run(*self._image.health).returncode == 0

    def user(self) -> int:
        """Returns the user as which it runs."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])


def wait(container: Container, done: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until something is so; fails with the log if the container ends before."""
    end = time.monotonic() + seconds
    while not done():
        assert container.process.poll() is None, container.log()
        assert time.monotonic() < end, container.log()
        time.sleep(0.2)
