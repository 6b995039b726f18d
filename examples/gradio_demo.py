"""A page that searches a catalog by picture and text, with Gradio.

pip install plushie_search gradio
python examples/gradio_demo.py toys.catalog
"""

from __future__ import annotations

import argparse
from typing import Any

import gradio
import numpy as np
from numpy.typing import NDArray

import plushie_search as ps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalog")
    options = parser.parse_args()
    engine = ps.Engine(options.catalog, create=False)

    def search(image: NDArray[np.uint8] | None, text: str, k: float) -> list[tuple[Any, str]]:
        if image is None and not text.strip():
            return []
        results = engine.search(ps.Query(image=image, text=text.strip() or None), k=int(k))
        shown = []
        for hit in results:
            path = engine.original(hit.item, hit.digest)
            if path is not None:
                shown.append((str(path), f"{hit.label or hit.item}: {hit.score:.3f}"))
        return shown

    gradio.Interface(
        search,
        [gradio.Image(type="numpy"), gradio.Textbox(label="text"), gradio.Slider(1, 50, 12, step=1, label="hits")],
        gradio.Gallery(columns=4, label="items"),
        title="plushie_search",
        flagging_mode="never",
    ).launch()


if __name__ == "__main__":
    main()
