"""Find the right thing from a picture, a sentence, or both."""

import os
from typing import TYPE_CHECKING, Any

from . import _cpu

_cpu.check()

# ONNX Runtime reports to its makers from version 1.29 on: what machine and program this is, and which models it opens.
# The value 0 allows it. The library reads the variable when it is opened.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from ._core import (  # noqa: E402
    ArgumentError,
    CatalogError,
    Crop,
    Encoder,
    FileError,
    Hit,
    Index,
    InternalError,
    ModelError,
    PictureError,
    PlushieError,
    UnknownItemError,
    UnreadableTextWarning,
    __version__,
)
from .answers.classes import Class, Classification  # noqa: E402
from .answers.duplicates import Duplicate, Duplicates  # noqa: E402
from .answers.explain.explanation import Explanation  # noqa: E402
from .answers.gallery import Spot  # noqa: E402
from .answers.inspect.inspection import Inspection, Inspections  # noqa: E402
from .answers.likeness import Likeness  # noqa: E402
from .answers.review import Concern, Review  # noqa: E402
from .compare import compare_models  # noqa: E402
from .convert.fp16 import convert_to_fp16  # noqa: E402
from .convert.quantize.model import Quantization, quantize_model  # noqa: E402
from .encoders.protocol import EncoderLike  # noqa: E402
from .encoders.service import Service  # noqa: E402
from .engine import Added, Engine  # noqa: E402
from .evaluate.comparison import Comparison  # noqa: E402
from .evaluate.result import Evaluation  # noqa: E402
from .exchange.export import Exported  # noqa: E402
from .hub import models, open_encoder, pull_model  # noqa: E402
from .hub.check import Check  # noqa: E402
from .hub.check import check as check_model  # noqa: E402
from .identification import Adaptation, Calibration, Gain, Identification, LearnedWeights  # noqa: E402
from .keeping import restore, salvage  # noqa: E402
from .meshes import Shape, measure, render  # noqa: E402
from .query import Query, SearchOptions  # noqa: E402
from .results import (  # noqa: E402
    Item,
    Problem,
    ReencodeReport,
    Reference,
    Report,
    Restored,
    Results,
    Salvaged,
    Verification,
)
from .rows import ItemDraft  # noqa: E402
from .searcher import UnsupportedError  # noqa: E402

if TYPE_CHECKING:
    from .async_engine import AsyncEngine
    from .image_search import ImageSearchEngine, print_results
    from .milvus.engine import MilvusEngine
    from .remote.engine import RemoteEngine

__all__ = [
    "Adaptation",
    "Added",
    "ArgumentError",
    "AsyncEngine",
    "Calibration",
    "CatalogError",
    "Check",
    "Class",
    "Classification",
    "Comparison",
    "Concern",
    "Crop",
    "Duplicate",
    "Duplicates",
    "Encoder",
    "EncoderLike",
    "Engine",
    "Evaluation",
    "Explanation",
    "Exported",
    "FileError",
    "Gain",
    "Hit",
    "Identification",
    "ImageSearchEngine",
    "Index",
    "Inspection",
    "Inspections",
    "InternalError",
    "Item",
    "ItemDraft",
    "LearnedWeights",
    "Likeness",
    "MilvusEngine",
    "ModelError",
    "PictureError",
    "PlushieError",
    "Problem",
    "Quantization",
    "Query",
    "ReencodeReport",
    "Reference",
    "RemoteEngine",
    "Report",
    "Restored",
    "Results",
    "Review",
    "Salvaged",
    "SearchOptions",
    "Service",
    "Shape",
    "Spot",
    "UnknownItemError",
    "UnreadableTextWarning",
    "UnsupportedError",
    "Verification",
    "__version__",
    "check_model",
    "compare_models",
    "convert_to_fp16",
    "measure",
    "models",
    "open_encoder",
    "print_results",
    "pull_model",
    "quantize_model",
    "render",
    "restore",
    "salvage",
]


def __getattr__(name: str) -> Any:
    # asyncio takes a fifth of the time of all other imports together, and few programs need it.
    if name == "AsyncEngine":
        from .async_engine import AsyncEngine

        return AsyncEngine
    if name == "RemoteEngine":
        try:
            from .remote.engine import RemoteEngine
        except ImportError as error:
            raise ImportError(
                f"RemoteEngine needs {error.name}; install it with: pip install 'plushie_search[client]'"
            ) from error
        return RemoteEngine
    if name in ("MilvusEngine", "ImageSearchEngine", "print_results"):
        try:
            from .image_search import ImageSearchEngine, print_results
            from .milvus.engine import MilvusEngine
        except ImportError as error:
            raise ImportError(
                f"{name} needs {error.name}; install it with: pip install 'plushie_search[milvus]'"
            ) from error
        found = {one.__name__: one for one in (MilvusEngine, ImageSearchEngine, print_results)}
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
