"""The JSON schemas of requests and answers, for ``/openapi.json``."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
FILE: Schema = {"type": "string", "contentMediaType": "application/octet-stream"}
DIGEST: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
ADDRESS: Schema = {"type": "string", "description": "a path on this server, signed if keys are needed"}
FREE: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """Returns a reference to a schema of this module."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(of: Schema, **more: Any) -> Schema:
    """Returns the schema of a list."""
    return {"type": "array", "items": of, **more}


def maybe(of: Schema) -> Schema:
    """Returns the schema of a value that may be null."""
    return {**of, "type": [of["type"], "null"]}


def record(needed: dict[str, Schema], optional: dict[str, Schema] | None = None, **more: Any) -> Schema:
    """Returns the schema of an object without further keys."""
    return {
        "type": "object",
        "properties": {**needed, **(optional or {})},
        "required": list(needed),
        "additionalProperties": False,
        **more,
    }


def one_or_many(of: Schema) -> Schema:
    """Returns the schema of a value, or a list of at most 32 values and pairs of a value and its weight."""
    pair = {"type": "array", "prefixItems": [of, NUMBER], "minItems": 2, "maxItems": 2}
    return {"anyOf": [of, array({"anyOf": [of, pair]}, maxItems=32)]}


WORDS: Schema = {"type": "string", "minLength": 1, "maxLength": 10_000, "pattern": r"\S"}
PICTURE: Schema = {"type": "string", "contentEncoding": "base64", "description": "a picture file in base64"}
#: A share, 0 and 1 included.
PART: Schema = {"type": "number", "minimum": 0, "maximum": 1}
BOX: Schema = array(PART, minItems=4, maxItems=4)
CROP: Schema = {
    "anyOf": [BOX, array({"anyOf": [BOX, {"type": "null"}]}, maxItems=64)],
    "description": "the part that counts of the only picture, in shares of the upright one: left, top, right, bottom; "
    "or a list with a box or null for each picture",
}
MODELS: Schema = {
    "anyOf": [TEXT, {"type": "object", "additionalProperties": NUMBER}],
    "description": "an engine's name of /api/v1/stats, or weights by name",
}
WHERE: Schema = {"type": "object", "description": "a filter of items", "examples": [{"label": "bear"}]}
K: Schema = {"type": "integer", "minimum": 1, "maximum": 10**9, "description": "items in the answer"}

EXPAND: Schema = {
    "anyOf": [FLAG, array({"type": "string", "pattern": r"\{\}"}, minItems=1, maxItems=32)],
    "description": "whether texts are looked up by phrases around them, or templates with {} in the place of the text",
}

VECTOR: Schema = array(NUMBER, minItems=1, maxItems=65_536)
QUERY_PARTS: dict[str, Schema] = {
    "text": one_or_many(WORDS),
    "line": {**WORDS, "description": "parts with weights in one line: 2*bunny + item:bear-1 - hat"},
    "image": one_or_many(PICTURE),
    "crop": CROP,
    "item": one_or_many(WORDS),
    "vector": {"anyOf": [VECTOR, {"type": "object", "additionalProperties": VECTOR, "minProperties": 1}]},
    "weights": record({}, {"text": NUMBER, "image": NUMBER, "item": NUMBER}),
}
CROPS: Schema = {**FLAG, "description": "whether the middles of pictures count beside the whole; false by default"}
OPTIONS: dict[str, Schema] = {
    "k": K,
    "cursor": {**TEXT, "description": "that of an answer to the same search, for the hits behind it"},
    "where": WHERE,
    "min_score": NUMBER,
    "models": MODELS,
    "exclude": {"anyOf": [WORDS, array(WORDS)]},
    "mmr": {"type": "number", "minimum": 0, "maximum": 1},
    "fusion": {"type": "string", "enum": ["weighted", "sum", "rrf", "dbsf"]},
    "rrf_k": {"type": "number", "minimum": 0},
    "aggregate": {"type": "string", "enum": ["max", "mean", "softmax"]},
    "temperature": {"type": "number", "exclusiveMinimum": 0},
    "query_crops": CROPS,
    "expand": EXPAND,
    "words": {
        "anyOf": [FLAG, array(TEXT, minItems=1, maxItems=32)],
        "description": "whether items' own words count, or the fields to look into: id, label, text, metadata's keys",
    },
    "nprobe": {"type": "integer", "minimum": 1, "description": "how many lists of an approximate index are probed"},
    "ef_search": {"type": "integer", "minimum": 1, "description": "how many references a graph keeps in view"},
    "k_factor": {
        "type": "number",
        "minimum": 1,
        "description": "how many references an approximate index finds for each one that is wanted",
    },
}
SHARE: Schema = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
IDENTIFYING: dict[str, Schema] = {
    "k": K,
    "where": WHERE,
    "models": MODELS,
    "target_fpr": {**SHARE, "description": "the share of pictures of other things that may be taken for an item"},
    "prior": {**SHARE, "description": "the share of pictures whose item is in the catalog"},
    "query_crops": CROPS,
}

VIEW = {
    **maybe(TEXT),
    "description": "of a mesh the side that is shown, view:azimuth,elevation in degrees, or view:all",
}
REFERENCE: dict[str, Schema] = {"name": TEXT, "digest": DIGEST, "view": VIEW}

CLASSIFICATION: Schema = record(
    {
        "classes": array(record({"name": TEXT, "confidence": PART, "examples": WHOLE})),
        "other": {**PART, "description": "the probability of none of the classes; all together are 1"},
        "image_weight": {**PART, "description": "how much examples count beside names"},
    }
)
SPOT: Schema = record(
    {
        "item": TEXT,
        "label": maybe(TEXT),
        "reference": TEXT,
        "digest": DIGEST,
        "view": VIEW,
        "thumbnail": ADDRESS,
        "picture": ADDRESS,
    }
)
KINDS = (
    *("same bytes", "same picture", "same geometry", "scaled", "mirrored", "re-meshed"),
    *("same item", "look-alike"),
)

#: The schemas by name.
SCHEMAS: dict[str, Schema] = {
    "Problem": {
        "type": "object",
        "properties": {
            "type": TEXT,
            "title": TEXT,
            "status": WHOLE,
            "detail": {"type": "string", "description": "the symptom and one cure"},
            "code": {"type": "string", "description": "a word for the kind of error, which later versions keep"},
            "instance": {"type": "string", "description": "the request's id"},
            "success": {"const": False},
        },
        "required": ["type", "title", "status", "detail", "code", "instance", "success"],
    },
    "Failure": {
        "type": "object",
        "properties": {"success": {"const": False}, "error": TEXT, "code": TEXT, "request_id": TEXT},
        "required": ["success", "error"],
    },
    "Hit": record(
        {
            "rank": {"type": "integer", "minimum": 1},
            "item": TEXT,
            "class_name": {"type": "string", "description": "the item's id"},
            "label": maybe(TEXT),
            "text": maybe(TEXT),
            "metadata": FREE,
            "score": {"type": "number", "description": "the cosine, or the fused score"},
            "similarity": {
                "type": "number",
                "minimum": 0,
                "maximum": 1,
                "description": "the probability if there is one, else the cosine within 0 and 1",
            },
            "probability": maybe(NUMBER),
            "matched": array(TEXT, description="the fields of the item that have words of the query"),
            "reference": record(REFERENCE),
            "scores": {"type": "object", "additionalProperties": NUMBER, "description": "cosines by model"},
            "thumbnail": ADDRESS,
            "picture": ADDRESS,
            "turntable": maybe(ADDRESS),
        },
        {"description": TEXT},
    ),
    "Query": record({}, QUERY_PARTS, description="parts and their weights; at least one part"),
    "Search": {
        "anyOf": [
            record({}, {**QUERY_PARTS, **OPTIONS}),
            record({"query": {"anyOf": [ref("Query"), WORDS]}}, OPTIONS),
            record({"queries": array({"anyOf": [ref("Query"), WORDS]}, minItems=1, maxItems=64)}, OPTIONS),
        ],
        "examples": [
            {"text": "a pink rabbit with a scarf", "k": 5, "where": {"label": "rabbit"}},
            {"query": {"item": "bear-001"}, "k": 10},
            {"line": "2*bunny - hat"},
            {"queries": [{"text": "a brown bear"}, {"text": "粉色兔子"}]},
        ],
    },
    "Found": record(
        {
            "success": {"const": True},
            "took_ms": NUMBER,
            "query": FREE,
            "notices": array(TEXT),
            "cursor": {**maybe(TEXT), "description": "the end of the results, if more follow those of one query"},
            "results": {"anyOf": [array(ref("Hit")), array(array(ref("Hit")))]},
        }
    ),
    "Identify": {
        "anyOf": [
            record({}, {**QUERY_PARTS, **IDENTIFYING}),
            record({"query": {"anyOf": [ref("Query"), WORDS]}}, IDENTIFYING),
        ],
        "description": "one thing: several pictures are averaged",
        "examples": [{"image": ["iVBORw0KGgo="], "target_fpr": 0.05}],
    },
    "Identified": record(
        {
            "success": {"const": True},
            "took_ms": NUMBER,
            "query": FREE,
            "notices": array(TEXT),
            "verdict": {"type": "string", "enum": ["match", "ambiguous", "unknown"]},
            "item": {**maybe(TEXT), "description": "the likeliest item; null if the verdict is unknown"},
            "probability": {**maybe(NUMBER), "description": "that the first of the results is the item"},
            "margin": {**maybe(NUMBER), "description": "the score of the first result less that of the second"},
            "strength": {**maybe(NUMBER), "description": "how strongly the scores speak for the first result"},
            "threshold": {**NUMBER, "description": "the strength that a match reaches"},
            "plausible": array(TEXT, description="the items that it may be, the likeliest first"),
            "results": array(ref("Hit")),
        }
    ),
    "Classify": record(
        {"image": {"anyOf": [PICTURE, array(PICTURE, minItems=1, maxItems=64)]}},
        {
            "labels": array(TEXT, maxItems=1000),
            "crop": CROP,
            "by": {"type": "string", "enum": ["auto", "images", "texts"]},
            "where": WHERE,
            "expand": EXPAND,
        },
    ),
    "Classified": record({"success": {"const": True}, "results": {"anyOf": [CLASSIFICATION, array(CLASSIFICATION)]}}),
    "Compare": record(
        {"image": {"anyOf": [PICTURE, array(PICTURE, minItems=1, maxItems=2)]}},
        {"crop": CROP, "item": TEXT, "threshold": PART, "models": MODELS},
    ),
    "Compared": record(
        {
            "success": {"const": True},
            "similarity": PART,
            "same": FLAG,
            "threshold": PART,
            "probability": maybe(NUMBER),
            "scores": {"type": "object", "additionalProperties": NUMBER, "description": "cosines by model"},
            "item": maybe(TEXT),
            "reference": maybe(TEXT),
        }
    ),
    "Duplicates": record(
        {
            "counts": record(dict.fromkeys(KINDS, WHOLE)),
            "pairs": array(
                record(
                    {
                        "kind": {"type": "string", "enum": list(KINDS)},
                        "first": SPOT,
                        "second": SPOT,
                        "similarity": NUMBER,
                        "scale": {**maybe(NUMBER), "description": "how many times as large the second mesh is"},
                    }
                )
            ),
        }
    ),
    "Review": record(
        {
            "total": WHOLE,
            "items": array(
                record(
                    {
                        "item": TEXT,
                        "urgency": PART,
                        "reasons": array(TEXT),
                        "reference": maybe(TEXT),
                        "other": maybe(TEXT),
                        "similarity": maybe(NUMBER),
                        "own": maybe(NUMBER),
                    }
                )
            ),
        }
    ),
    "SeedFound": record({"success": {"const": True}, "results": array(ref("Hit"))}, {"notice": TEXT}),
    "Reference": record({**REFERENCE, "thumbnail": ADDRESS, "picture": ADDRESS}),
    "Item": record(
        {
            "id": TEXT,
            "label": maybe(TEXT),
            "text": maybe(TEXT),
            "metadata": FREE,
            "etag": TEXT,
            "references": array(ref("Reference")),
            "turntable": maybe(ADDRESS),
        }
    ),
    "Vectors": record({"model": TEXT, "vectors": array(array(NUMBER))}),
    "Items": record({"items": array(ref("Item")), "next": maybe(TEXT), "total": WHOLE}),
    "Change": record(
        {},
        {"label": maybe(TEXT), "text": maybe(TEXT), "metadata": maybe(FREE)},
        examples=[{"label": "bear", "metadata": {"price": 12.5}}],
    ),
    "Added": record({"added": WHOLE, "duplicates": WHOLE, "notes": array(TEXT), "item": ref("Item")}),
    "Removed": record({"removed": WHOLE, "undo": maybe(TEXT)}),
    "Left": record({"left": WHOLE}),
    "Undo": record({"undo": {"type": "string", "description": "the token of the removal"}}),
    "Job": {
        "type": "object",
        "properties": {
            "id": TEXT,
            "kind": {"type": "string", "enum": ["add", "add-model", "evaluate"]},
            "catalog": TEXT,
            "state": {"type": "string", "enum": ["queued", "running", "done", "failed", "cancelled"]},
            "done": WHOLE,
            "total": maybe(WHOLE),
            "failures": array(array(TEXT)),
            "report": maybe(FREE),
            "error": record({"code": TEXT}),
            "detail": TEXT,
        },
        "required": ["id", "kind", "catalog", "state", "done", "total", "failures", "report"],
    },
    "Started": record({"job": ref("Job")}),
    "AddModel": record({"model": TEXT}, examples=[{"model": "plushie-mini"}]),
    "Evaluate": record(
        {},
        {
            "texts": array(array(TEXT, minItems=2, maxItems=2)),
            "k": {"type": "integer", "minimum": 1, "maximum": 10_000},
            "where": WHERE,
            "models": MODELS,
            "missing": {"type": "string", "enum": ["error", "skip"]},
            "seed": {"type": "integer", "minimum": 1, "maximum": 10_000},
        },
        examples=[{"texts": [["a brown bear", "bear-001"]], "k": 5}],
    ),
    "Labels": array(record({"label": TEXT, "items": WHOLE})),
    "Keys": array(TEXT),
    "Stats": {
        "type": "object",
        "properties": {
            "name": TEXT,
            "catalogs": array(TEXT),
            "models": array(TEXT),
            "image_model": maybe(TEXT),
            "text_model": maybe(TEXT),
            "items": WHOLE,
            "references": WHOLE,
            "read_only": FLAG,
            "writable": FLAG,
            "keys": FLAG,
            "version": TEXT,
            "languages": array(TEXT),
            "max_k": WHOLE,
            "default_k": WHOLE,
            "engines": array(TEXT),
            "dimension": maybe(WHOLE),
            "threads": maybe(WHOLE),
            "calibration": array(FREE, description="what is known of the scores of each model and kind of queries"),
            "learned_weights": {**maybe(FREE), "description": "the weights of several models, and what they gain"},
            "index": {**TEXT, "description": "exact, or the factory string of the approximate index"},
            "approximate": array(
                FREE, description="the index of each model, and the recall that was measured of pictures and texts"
            ),
        },
        "required": ["name", "catalogs", "models", "items", "references", "writable", "version", "max_k", "engines"],
    },
    "SeedText": record(
        {"query": WORDS},
        {**OPTIONS, "engine": MODELS, "model": MODELS},
        examples=[{"query": "a brown bear", "k": 5}],
    ),
    "Embed": record(
        {
            "input": {
                "anyOf": [
                    WORDS,
                    array(
                        {"anyOf": [WORDS, record({"text": WORDS}), record({"image": PICTURE}, {"crop": CROP})]},
                        minItems=1,
                        maxItems=256,
                    ),
                ]
            }
        },
        {
            "model": TEXT,
            "encoding_format": {"type": "string", "enum": ["float", "base64"]},
            "dimensions": WHOLE,
            "user": TEXT,
            "modality": TEXT,
        },
        examples=[{"model": "plushie-mini", "input": ["a brown bear"]}],
    ),
    "Embeddings": record(
        {
            "object": {"const": "list"},
            "data": array(
                record({"object": TEXT, "index": WHOLE, "embedding": {"anyOf": [array(NUMBER), TEXT]}}),
            ),
            "model": TEXT,
            "usage": record({"prompt_tokens": WHOLE, "total_tokens": WHOLE}),
        }
    ),
    "State": {"type": "object", "properties": {"status": TEXT}, "required": ["status"]},
}

#: The fields of forms.
FORMS: dict[str, Schema] = {
    "search": record(
        {"image": array(FILE)},
        {"query": TEXT, "text": TEXT, "crop": TEXT, "item": TEXT, **dict.fromkeys(OPTIONS, TEXT), "k": WHOLE},
    ),
    "identify": record(
        {"image": array(FILE)},
        {"query": TEXT, "text": TEXT, "crop": TEXT, **dict.fromkeys(IDENTIFYING, TEXT), "k": WHOLE},
    ),
    "seed_image": record({"image": FILE}, {"crop": TEXT, "k": WHOLE, "engine": TEXT, "where": TEXT}),
    "seed_hybrid": record(
        {}, {"image": FILE, "crop": TEXT, "text": TEXT, "k": WHOLE, "image_weight": NUMBER, "engine": TEXT}
    ),
    "item": record({"id": TEXT, "image": array(FILE)}, {"label": TEXT, "text": TEXT, "metadata": TEXT}),
    "pictures": record({"image": array(FILE)}),
    "classify": record(
        {"image": array(FILE)}, {"crop": TEXT, "labels": TEXT, "by": TEXT, "where": TEXT, "expand": TEXT}
    ),
    "compare": record({"image": array(FILE)}, {"crop": TEXT, "item": TEXT, "threshold": TEXT, "models": TEXT}),
}
