"""The JSON schemas of the routes that explain hits and inspect photos."""

from __future__ import annotations

from .schemas import (
    BOX,
    CROP,
    FILE,
    NUMBER,
    PART,
    PICTURE,
    TEXT,
    WHOLE,
    WORDS,
    Schema,
    array,
    maybe,
    record,
)

_MAP: Schema = {
    "type": "array",
    "items": array(NUMBER),
    "description": "rows of cells over the upright picture, cosines; 0 adds as much as an average part, below 0 less",
}
_REGION: Schema = record({"box": BOX, "place": TEXT, "share": PART, "value": NUMBER})
_SIDE: Schema = record({"name": TEXT, "size": array(WHOLE), "map": _MAP, "regions": array(_REGION), "rest": NUMBER})
_RUNNER_UP: Schema = record({"item": TEXT, "score": NUMBER, "map": maybe(_MAP), "regions": array(_REGION)})
_FEATURE: Schema = {
    "anyOf": [
        record(
            {
                "kind": {"const": "region"},
                "picture": {"type": "string", "enum": ["query", "reference"]},
                "box": BOX,
                "place": TEXT,
                "share": PART,
                "value": NUMBER,
            }
        ),
        record({"kind": {"const": "word"}, "word": TEXT, "value": NUMBER}),
    ]
}
_METHOD: Schema = {"type": "string", "enum": ["windows", "cam"]}
_LANGUAGE: Schema = {"type": "string", "enum": ["en", "zh"]}
_SIDES: Schema = {"type": "string", "enum": ["both", "query"]}
_CAMERA: Schema = {"type": "string", "enum": ["fixed", "free"]}

SCHEMAS: dict[str, Schema] = {
    "Explain": record(
        {"item": TEXT},
        {
            "image": PICTURE,
            "text": WORDS,
            "crop": CROP,
            "reference": {**TEXT, "description": "the name or digest of a reference of the item"},
            "method": _METHOD,
            "detail": {"type": "integer", "enum": [1, 2]},
            "language": _LANGUAGE,
            "sides": _SIDES,
        },
    ),
    "Explained": record(
        {
            "success": {"const": True},
            "item": TEXT,
            "reference": TEXT,
            "score": NUMBER,
            "model": TEXT,
            "method": _METHOD,
            "attention_map": maybe(_MAP),
            "key_features": array(_FEATURE),
            "explanation": TEXT,
            "scale": {**NUMBER, "description": "the value at which the color of both maps is full"},
            "query": maybe(_SIDE),
            "matched": maybe(_SIDE),
            "pairs": array(record({"query": BOX, "reference": BOX, "similarity": NUMBER})),
            "runner_up": maybe(_RUNNER_UP),
            "notes": array(TEXT),
            "passes": WHOLE,
        }
    ),
    "Inspect": record(
        {"image": {"anyOf": [PICTURE, array(PICTURE, minItems=1, maxItems=64)]}, "item": TEXT},
        {"crop": CROP, "threshold": PART, "alarm_rate": NUMBER, "camera": _CAMERA},
    ),
    "Inspected": record(
        {
            "success": {"const": True},
            "results": array(
                record(
                    {
                        "verdict": {"type": "string", "enum": ["pass", "review", "fail"]},
                        "photo": TEXT,
                        "item": TEXT,
                        "similarity": PART,
                        "threshold": PART,
                        "probability": maybe(NUMBER),
                        "anomaly": maybe(NUMBER),
                        "limit": maybe(NUMBER),
                        "p_value": maybe(NUMBER),
                        "false_alarm_rate": maybe(NUMBER),
                        "nearest": array(record({"reference": TEXT, "score": NUMBER})),
                        "map": maybe(_MAP),
                        "regions": array(_REGION),
                        "notes": array(TEXT),
                    }
                )
            ),
            "failed": array(record({"photo": TEXT, "reason": TEXT})),
        }
    ),
}

#: The fields of forms.
FORMS: dict[str, Schema] = {
    "explain": record(
        {"item": TEXT},
        {"image": array(FILE), **dict.fromkeys(("text", "crop", "reference", "method", "language", "sides"), TEXT)}
        | {"detail": WHOLE},
    ),
    "inspect": record(
        {"image": array(FILE), "item": TEXT}, dict.fromkeys(("crop", "threshold", "alarm_rate", "camera"), TEXT)
    ),
}
