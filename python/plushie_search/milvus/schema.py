"""The schema of a collection, and the description by which another program's is told from ours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pymilvus import DataType, MilvusClient

from .._core import CatalogError
from .terms import TERMS

#: The program and the format of the collections that this version writes.
PROGRAM, FORMAT = "plushie_search", 1
#: The longest text of a column, in bytes.
LONGEST = 65_535
#: The fields of a reference and of its item, without vectors.
FIELDS = ["pk", "item", "since", "added", "head", "name", "digest", "view", "label", "text", "metadata"]
#: All columns but vectors.
COLUMNS = [*FIELDS, "terms", "bounds"]
#: The consistency levels by the numbers that Milvus tells.
LEVELS = ("Strong", "Session", "Bounded", "Eventually", "Customized")
#: Those by which references of an item are told apart and ordered.
KEYS = ["pk", "item", "since", "added"]


@dataclass(frozen=True, slots=True)
class Space:
    """The vectors of one model.

    Attributes:
        name: The model's name.
        fingerprint: The model's fingerprint.
        dimension: The dimension of its vectors.
        field: The field of its vectors.
    """

    name: str
    fingerprint: str
    dimension: int
    field: str


def spaces_of(models: Sequence[Mapping[str, Any]]) -> list[Space]:
    """Returns the fields of models, in their order."""
    return [
        Space(row["name"], row["fingerprint"], row["dimension"], f"vector_{number}")
        for number, row in enumerate(models)
    ]


def make(client: MilvusClient, name: str, spaces: Sequence[Space], index: Mapping[str, Any], **how: Any) -> None:
    """Makes a collection: one row for each reference, with the fields of its item."""
    told = json.dumps({"program": PROGRAM, "format": FORMAT, "models": [asdict(space) for space in spaces]})
    # Milvus Lite forgets descriptions.
    how["properties"] = {PROGRAM: told}
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=told)
    schema.add_field("pk", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("item", DataType.VARCHAR, max_length=2048)
    schema.add_field("since", DataType.INT64)
    schema.add_field("added", DataType.INT64)
    schema.add_field("head", DataType.BOOL)
    for column, length in (("name", LONGEST), ("digest", 64), ("view", 64)):
        schema.add_field(column, DataType.VARCHAR, max_length=length)
    for column in ("label", "text"):
        schema.add_field(column, DataType.VARCHAR, max_length=LONGEST, nullable=True)
    schema.add_field("metadata", DataType.JSON)
    schema.add_field("terms", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=TERMS, max_length=32)
    schema.add_field("bounds", DataType.JSON)
    for space in spaces:
        schema.add_field(space.field, DataType.FLOAT_VECTOR, dim=space.dimension)
    client.create_collection(name, schema=schema, index_params=indexes(client, spaces, index), **how)


def indexes(client: MilvusClient, spaces: Sequence[Space], index: Mapping[str, Any]) -> Any:
    """Returns the indexes of a collection: one for each model's vectors, and one of ids."""
    params = client.prepare_index_params()
    kind, rest = index["index_type"], {key: value for key, value in index.items() if key != "index_type"}
    for space in spaces:
        params.add_index(space.field, index_type=kind, metric_type="COSINE", params=rest)
    params.add_index("item", index_type="INVERTED")
    return params


def read(told: Mapping[str, Any], name: str) -> list[Space]:
    """Returns the models of a collection that exists, as ``describe_collection`` tells it.

    Raises:
        CatalogError: It was made by another program or by a later version.
    """
    cure = "give another name as collection="
    try:
        found = json.loads(told["description"] or told["properties"][PROGRAM])
        if found["program"] != PROGRAM:
            raise KeyError
        if found["format"] != FORMAT:
            raise CatalogError(
                f"collection {name!r} has format {found['format']}, and this version reads {FORMAT}: install the "
                f"version that made it, or {cure}"
            )
        spaces = [Space(**row) for row in found["models"]]
    except (ValueError, KeyError, TypeError):
        raise CatalogError(f"collection {name!r} was made by another program: {cure}") from None
    fields = {field["name"]: field for field in told["fields"]}
    for space in spaces:
        held = fields.get(space.field)
        if held is None or int(held["params"]["dim"]) != space.dimension:
            raise CatalogError(f"collection {name!r} lacks the vectors of {space.name!r}: {cure}")
    return spaces


def check_models(name: str, held: Sequence[Space], given: Sequence[Space]) -> list[Space]:
    """Returns the fields of models that are given, in their order, of a collection that has others, too.

    Raises:
        CatalogError: The collection lacks the vectors of one.
    """
    known = {space.fingerprint: space for space in held}
    for space in given:
        if space.fingerprint not in known:
            names = ", ".join(repr(one.name) for one in held)
            raise CatalogError(
                f"collection {name!r} has vectors of {names}, and none of this {space.name!r} (another model, or "
                "another state of it): open it with that model, or give another name as collection="
            )
    return [Space(one.name, one.fingerprint, one.dimension, known[one.fingerprint].field) for one in given]
