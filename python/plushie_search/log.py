"""The package's logger, which is silent until a program configures logging.

``logging.basicConfig(level="INFO")`` shows catalogs and models that are opened or refused, items that are added, and
files that are downloaded or tried again, each with its path and counts.
"""

import logging

logger = logging.getLogger("plushie_search")
logger.addHandler(logging.NullHandler())
