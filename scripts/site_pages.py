"""Pages of the site that are made when it is built: the README as its beginning, and the Python API from the stubs.

mkdocs.yml names this file as a hook. Guides are the pages of docs/, as they are.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent

#: The pages of the API: a title, a sentence, and names of the package or of its modules.
API: dict[str, tuple[str, str, str]] = {
    "engine": (
        "Catalogs",
        "An open catalog, on this machine, in asyncio, on a server, or in Milvus.",
        "Engine AsyncEngine RemoteEngine MilvusEngine ImageSearchEngine print_results Index Added Report "
        "ItemDraft Item Reference ReencodeReport Exported "
        "Verification Problem Restored Salvaged restore salvage",
    ),
    "queries": (
        "Queries and results",
        "The parts and options of a query, and its hits.",
        "Query Crop SearchOptions Results Hit",
    ),
    "answers": (
        "Answers",
        "Classes that identify, classify, compare, explain, inspect and the others return.",
        "Identification Adaptation Gain Calibration LearnedWeights Classification Class Likeness Explanation "
        "Inspection Inspections Spot Duplicates Duplicate Review Concern Shape measure render",
    ),
    "models": (
        "Models",
        "Models by name, as directories, on servers, or as objects of one's own.",
        "Encoder EncoderLike Service Check Quantization check_model models open_encoder pull_model quantize_model "
        "convert_to_fp16",
    ),
    "evaluate": ("Evaluation", "Figures with their intervals.", "Evaluation Comparison compare_models"),
    "tables": (
        "Tables and scikit-learn",
        "See the guides on [pipelines](../pipelines.md) and [scikit-learn](../sklearn.md).",
        "pandas.PlushieAccessor polars.PlushieNamespace arrow.search_batches arrow.encode_batches arrow.add_batches "
        "sklearn.PlushieEmbedder sklearn.PlushieClassifier",
    ),
    "training": (
        "Training",
        "See the guide on [training](../training.md).",
        "train.tune.net.EmbeddingNet train.tune.trainer.TripletTrainer train.tune.photos.Photos "
        "train.tune.photos.get_dataloader train.tune.validation.Validation",
    ),
    "testing": (
        "Tests",
        "See the guide on [tests](../testing.md).",
        "testing.assertions.assert_similar testing.assertions.assert_finds testing.snapshots.Snapshots "
        "testing.suite.searcher_suite testing.suite.Check testing.encoder.SuiteEncoder",
    ),
    "errors": (
        "Errors",
        "All are below `PlushieError`.",
        "PlushieError ArgumentError CatalogError FileError InternalError ModelError PictureError UnknownItemError "
        "UnreadableTextWarning UnsupportedError",
    ),
}

#: Roles of docstrings, which are no Markdown.
ROLE = re.compile(r":(?:class|meth|func|attr|mod|data):(<code>)~?")
#: Links of guides to files outside docs/.
OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")
#: Links of the README to files that are no pages.
SOURCE = re.compile(r"\[([^\]]+)\]\((?!https?:|docs/[\w-]+\.md)[^)]+\)")


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made."""
    missing = public() - {name for _, _, names in API.values() for name in names.split()} - {"__version__"}
    if missing:
        raise PluginError(f"scripts/site_pages.py: no page has {', '.join(sorted(missing))}: add them to one")
    pages = {"index.md": beginning()} | {f"api/{name}.md": api(*page) for name, page in API.items()}
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leaves links of guides out that lead to files of the source tree."""
    return markdown if "/" in page.file.src_uri else OUTSIDE.sub(r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Leaves the names of roles out."""
    return ROLE.sub(r"\1", html)


def public() -> set[str]:
    """Returns the names that the package exports."""
    tree = ast.parse((ROOT / "python" / "plushie_search" / "__init__.py").read_text(encoding="utf-8"))
    values = (
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets) == "__all__"
    )
    return set(ast.literal_eval(next(values)))


def beginning() -> str:
    """Returns the README, with links that lead to pages."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^!\[([^\]]*)\]\(docs/([^)]+)\)", r"![\1](\2)", text, flags=re.MULTILINE)
    text = re.sub(r"(?<!!)\[([^\]]+)\]\(docs/", r"[\1](docs/", text)
    return SOURCE.sub(r"\1", text).replace("](docs/", "](")


def api(title: str, about: str, names: str) -> str:
    """Returns a page of the API."""
    blocks = "\n\n".join(f"::: plushie_search.{name}" for name in names.split())
    return f"# {title}\n\n{about}\n\n{blocks}\n"
