"""A page that searches a catalog by picture and text, with Gradio.

pip install plushie_search gradio
python examples/gradio_demo.py toys.catalog
"""

from __future__ import annotations

import argparse
from io import BytesIO
from typing import Any

import gradio
from PIL import Image

import plushie_search as ps


def picture_of(engine: ps.Engine, hit: ps.Hit) -> Any:
    """Returns the picture that matched: its small copy, or else the original; None if the catalog has neither.

    Gradio would refuse the path of an original that lies outside the folder in which it was started.
    """
    small = engine.thumbnail(hit.item, hit.digest)
    path = engine.original(hit.item, hit.digest) if small is None else None
    return Image.open(BytesIO(small)) if small is not None else Image.open(path) if path is not None else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("catalog")
    options = parser.parse_args()
    try:
        engine = ps.Engine(options.catalog, create=False)
    except ps.PlushieError as error:
        parser.error(str(error))

    def search(image: str | None, text: str, k: float) -> list[tuple[Any, str]]:
        if image is None and not text.strip():
            raise gradio.Error("give a picture, a text, or both")
        try:
            results = engine.search(ps.Query(image=image, text=text.strip() or None), k=int(k))
        except ps.PlushieError as error:
            raise gradio.Error(str(error)) from error
        for warning in results.warnings:
            gradio.Warning(warning)
        shown = [(picture_of(engine, hit), f"{hit.label or hit.item}: {hit.score:.3f}") for hit in results]
        return [(picture, caption) for picture, caption in shown if picture is not None]

    gradio.Interface(
        search,
        [
            gradio.Image(label="picture", type="filepath"),
            gradio.Textbox(label="text"),
            gradio.Slider(1, 50, 12, step=1, label="hits"),
        ],
        gradio.Gallery(columns=4, label="items"),
        title="plushie_search",
        flagging_mode="never",
    ).launch(show_error=True)


if __name__ == "__main__":
    main()
