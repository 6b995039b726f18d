"""`python -m plushie_search` is `plushie-search`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
