"""PlushBench: how well a model finds plush toys that are rendered from numbers, each with known truth.

>>> from plushie_search import plushbench
>>> report = plushbench.run(["plushie-mini"], plushbench.Configuration(items=12, splits=("clean",)))
>>> print(report.to_markdown())  # doctest: +SKIP

The command `plushie-search plushbench` does the same; its `--help` says what is measured.
"""

from .bench import ALL_SPLITS, Configuration, measure, run
from .report import Figure, Question, Report

__all__ = ["ALL_SPLITS", "Configuration", "Figure", "Question", "Report", "measure", "run"]
