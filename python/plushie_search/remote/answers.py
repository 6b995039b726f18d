"""Reads classes, verdicts, duplicates and concerns from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..answers.classes import Class, Classification
from ..answers.duplicates import Duplicate, Duplicates
from ..answers.gallery import Spot
from ..answers.likeness import Likeness
from ..answers.review import Concern, Review
from ..results import Thumbnails


def classification_of(row: Mapping[str, Any]) -> Classification:
    classes = [Class(one["name"], one["confidence"], one["examples"]) for one in row["classes"]]
    return Classification(classes, other=row["other"], image_weight=row["image_weight"])


def likeness_of(row: Mapping[str, Any]) -> Likeness:
    return Likeness(**{name: row[name] for name in Likeness.__slots__})


def duplicates_of(answer: Mapping[str, Any], thumbnails: Thumbnails) -> Duplicates:
    pairs = [
        Duplicate(one["kind"], _spot(one["first"]), _spot(one["second"]), one["similarity"], one.get("scale"))
        for one in answer["pairs"]
    ]
    return Duplicates(pairs, counts=answer["counts"], thumbnails=thumbnails)


def review_of(answer: Mapping[str, Any]) -> Review:
    concerns = [Concern(**{**one, "reasons": tuple(one["reasons"])}) for one in answer["items"]]
    return Review(concerns, total=answer["total"])


def _spot(row: Mapping[str, Any]) -> Spot:
    return Spot(row["item"], row["label"], row["reference"], row["digest"], row.get("view"))
