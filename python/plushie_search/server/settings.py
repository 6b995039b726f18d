"""The configuration of the server: a YAML file, environment variables and arguments, in rising order."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from .._core import ArgumentError
from ..paths import expanded

Hash = Annotated[str, Field(pattern=r"^(sha256:)?[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of the file."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class Model(Section):
    """How a model is opened."""

    model_name: str | None = Field(
        default=None, description="a model's name or directory; by default the catalog's, or plushie-mini"
    )
    device: str = Field(default="cpu", description="cpu, cuda, cuda:0,1, tensorrt, openvino or auto")
    batch_size: Positive | None = Field(
        default=None, description="the most pictures that go through the model together"
    )
    precision: Literal["fp32", "fp16", "bf16"] | None = Field(default=None, description="the numbers to compute in")
    service: str | None = Field(default=None, description="the address of a service that runs the model")
    accept_license: bool = Field(default=False, description="consent to what the model's license asks")


class Faiss(Section):
    """The index by which references are found."""

    index: str = Field(
        default="auto",
        description="auto, approximate beyond 100,000 references; exact; or a factory string of faiss, as IVF1024,SQ8",
    )
    recall: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="the share of the exact best 10 items to find; 0.98, or that of the catalog's index"
    )
    memory: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="the memory that the index may take: bytes, or a share of what is free, as 0.5"
    )
    index_type: Literal["Flat", "IVFFlat", "HNSW"] | None = Field(
        default=None, description="in place of index: exact; IVF with nlist lists, or auto without it; or HNSW32"
    )
    nlist: Positive | None = Field(default=None, description="the lists of index_type IVFFlat")
    nprobe: Positive | None = Field(default=None, description="the lists that a search probes; as measured for recall")
    device: str = Field(default="cpu", description="compares vectors: cpu, cuda, cuda:0,1, openvino or auto")
    dimension: Positive | None = Field(default=None, description="checked against the model's; leave it out")

    @model_validator(mode="after")
    def _check(self) -> Faiss:
        if self.index_type is None and self.nlist is not None:
            raise ValueError(f"nlist {self.nlist} is for index_type IVFFlat: give that, too")
        if self.index_type is not None and self.index != "auto":
            raise ValueError(f"index {self.index} and index_type {self.index_type} both name the index: leave one out")
        return self

    @property
    def factory(self) -> str:
        """Returns the argument ``index`` of the engine."""
        lists = "auto" if self.nlist is None else f"IVF{self.nlist},Flat"
        named = {"Flat": "exact", "IVFFlat": lists, "HNSW": "HNSW32"}
        return self.index if self.index_type is None else named[self.index_type]


class Weights(Section):
    """How much each engine counts if both look up a query."""

    clip: Share = 0.6
    resnet: Share = 0.4


class Search(Section):
    """Searches."""

    default_k: Positive = Field(default=5, description="items in an answer")
    max_k: Positive = Field(default=200, description="the most items in an answer; more are not refused but cut")
    fusion_weights: Weights = Weights()


class Server(Section):
    """The process."""

    host: str = Field(default="127.0.0.1", description="the address to listen on; others than loopback need keys")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8082, description="0 takes a free one")
    mode: Literal["dev", "prod"] = Field(default="prod", description="dev reads the page's files anew and logs plainly")
    workers: Positive = Field(default=1, description="processes that share the catalogs")
    threads: Positive | None = Field(default=None, description="threads that compute; all cores by default")
    encoder_only: bool = Field(default=False, description="serve /v1/embeddings alone, without a catalog")
    read_only: bool = Field(default=False, description="refuse every change")
    allowed_hosts: list[str] | None = Field(
        default=None, description="names by which browsers may call; by default this machine's, and any if keys are set"
    )
    origins: list[str] = Field(default_factory=list, description="pages of other origins that may call (CORS)")
    proxies: str = Field(default="127.0.0.1", description="addresses of proxies whose X-Forwarded-For is believed")
    state: str | None = Field(default=None, description="a folder for jobs and undo; by default a temporary one")
    graceful: Annotated[float, Field(ge=0)] = Field(default=10.0, description="seconds to finish requests when stopped")


class Limits(Section):
    """Limits of requests."""

    body: Positive = Field(default=25_000_000, description="bytes of a body with pictures")
    json_body: Positive = Field(default=1_000_000, description="bytes of any other body")
    memory: Positive = Field(default=256 << 20, description="bytes of all bodies that are held at the same time")
    slots: Positive | None = Field(
        default=None, description="searches that compute at the same time; as many as threads"
    )
    queue: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="searches that wait; 8 times slots, at least 64"
    )
    timeout: Annotated[float, Field(gt=0)] = Field(default=10.0, description="seconds for a search, from its arrival")
    inspect_timeout: Annotated[float, Field(gt=0)] = Field(default=60.0, description="seconds for an inspection")
    write_timeout: Annotated[float, Field(gt=0)] = Field(default=60.0, description="seconds for a change")
    rate: Positive | None = Field(
        default=None, description="requests per minute of a key, or an address if none are set"
    )
    undo: Annotated[float, Field(ge=0)] = Field(default=60.0, description="seconds in which a removal can be undone")
    jobs: Positive = Field(default=16, description="jobs that wait")


class Auth(Section):
    """Keys, by their SHA-256: plushie-search config --key prints a new key and its hash."""

    read_keys: list[Hash] = Field(default_factory=list, description="hashes of keys that may search")
    write_keys: list[Hash] = Field(default_factory=list, description="hashes of keys that may change catalogs, too")
    keys_file: str | None = Field(default=None, description='a JSON file {"read": [hashes], "write": [hashes]}')
    secret: str | None = Field(
        default=None, description="signs the addresses of pictures; derived from the keys by default"
    )
    create_keys: bool = Field(
        default=False, description="make keys and print them once if there are none; keys_file is beside the catalog"
    )
    insecure: bool = Field(default=False, description="listen on other addresses than loopback without keys")


class Settings(BaseSettings):
    """The configuration of a server.

    Values come from arguments, environment variables (``PLUSHIE_SERVER__PORT=80``) and defaults; the first of them
    counts. :func:`load` reads a YAML file, too.

    Raises:
        ValidationError: A value cannot be used.
    """

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="PLUSHIE_", env_nested_delimiter="__", protected_namespaces=()
    )

    catalog: str | None = Field(default=None, description="the directory of the first catalog")
    catalogs: dict[str, str] = Field(default_factory=dict, description="more catalogs, by name")
    clip: Model | None = Field(default=None, description="the model that looks up pictures and texts")
    resnet: Model | None = Field(default=None, description="a second model, which looks up pictures")
    faiss: Faiss = Faiss()
    search: Search = Search()
    similarity_threshold: Share | None = Field(default=None, description="hits of a lower similarity are left out")
    server: Server = Server()
    limits: Limits = Limits()
    auth: Auth = Auth()

    @field_validator("catalogs")
    @classmethod
    def _names(cls, catalogs: dict[str, str]) -> dict[str, str]:
        for name in catalogs:
            if not name or not all(one.isalnum() or one in "-_." for one in name) or name.startswith("."):
                raise ValueError(f"catalog name {name!r}: use letters, digits, '-', '_' and '.'")
        return catalogs

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Returns the sources, the one that counts most first."""
        return init_settings, env_settings


#: The most characters and brackets of a configuration, which YAML's parser in Python reads in a second.
LONGEST, BRACKETS = 1 << 18, 500


def load(file: str | os.PathLike[str] | None = None, **values: Any) -> Settings:
    """Returns the configuration of a YAML file, the environment and ``values``, of which the last counts most.

    Args:
        file: The YAML file; none by default.
        values: The sections and keys of :class:`Settings`; a section is a dict.

    Raises:
        FileNotFoundError: There is no such file.
        ArgumentError: A value cannot be used; the text names the path of its key.
    """
    held = {} if file is None else _read(file)
    environment = EnvSettingsSource(Settings)()
    try:
        return Settings(**_merged(_merged(held, environment), values))
    except ValidationError as error:
        raise ArgumentError("\n".join(map(_told, error.errors()))) from None


def _read(file: str | os.PathLike[str]) -> dict[str, Any]:
    path = expanded(file)
    try:
        with open(path, encoding="utf-8") as opened:
            text = opened.read(LONGEST + 1)
        # The time that the parser takes grows with the square of open brackets.
        if len(text) > LONGEST or text.count("[") + text.count("{") > BRACKETS:
            raise ArgumentError(f"{path} has more than {LONGEST} characters or {BRACKETS} brackets: shorten it")
        held = yaml.safe_load(text)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no configuration {path}: plushie-search config --example prints one"
        ) from None
    except ArgumentError:
        raise
    # A date or a number can be none, and lists too deep.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ArgumentError(f"{path} is no YAML: {error}") from None
    if held is None:
        return {}
    if not isinstance(held, dict) or not all(isinstance(key, str) for key in held):
        raise ArgumentError(f"{path} has no sections: plushie-search config --example prints a file that has")
    return held


def _merged(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Returns two configurations as one; where both have a key, ``high`` counts."""
    both = dict(low)
    for key, value in high.items():
        held = both.get(key)
        both[key] = _merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return both


def _told(error: Any) -> str:
    """Returns an error of a value with the path of its key, and a name that was likely meant."""
    where = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    known = _keys(Settings, error["loc"][:-1])
    alike = get_close_matches(str(error["loc"][-1]), known, n=1)
    return f"{where} is no key: " + (f"did you mean {alike[0]}?" if alike else f"known are {', '.join(known)}")


def _keys(kind: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Returns the keys of a section."""
    for name in path:
        field = kind.model_fields.get(name)
        kinds = [] if field is None else [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = next((one for one in kinds if isinstance(one, type) and issubclass(one, BaseModel)), None)
        if inner is None:
            return []
        kind = inner
    return list(kind.model_fields)
