"""Model directories as the model hub and Immich arrange them."""

import json

import numpy as np
import onnx
import toy
from onnx import TensorProto, helper

SETTINGS = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": toy.SIDE, "width": toy.SIDE},
    "resample": 2,
    "image_mean": toy.PREPROCESS["mean"],
    "image_std": toy.PREPROCESS["std"],
}
TEXT_CONFIG = {"model_type": "clip_text_model", "max_position_embeddings": toy.MAX_LENGTH}
OPEN_CLIP = {
    "size": toy.SIDE,
    "mean": toy.PREPROCESS["mean"],
    "std": toy.PREPROCESS["std"],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


def arrange(directory, files):
    """Writes networks, tokenizers and settings to their places; None stands for a place that stays empty."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        match content:
            case None:
                path.unlink(missing_ok=True)
            case onnx.ModelProto():
                onnx.save(content, path)
            case dict():
                path.write_text(json.dumps(content), encoding="utf-8")
            case _:
                content.save(str(path))
    return directory


def hub_layout(directory, model_type="clip", **changes):
    """A directory as the model hubs have it; the keywords' `/` is written `__`, their `.` as `_dot_`."""
    files = {
        "config.json": {"model_type": model_type, "projection_dim": toy.DIM, "text_config": TEXT_CONFIG},
        "preprocessor_config.json": SETTINGS,
        "tokenizer.json": toy.tokenizer(),
        "tokenizer_config.json": {"pad_token": "[PAD]", "model_max_length": toy.MAX_LENGTH},
        "onnx/vision_model.onnx": toy.image_tower(),
        "onnx/text_model.onnx": toy.text_tower(),
    }
    names = {name.replace("__", "/").replace("_dot_", "."): content for name, content in changes.items()}
    return arrange(directory, files | names)


def immich_layout(directory):
    """A directory as immich has it."""
    files = {
        "config.json": {"embed_dim": toy.DIM, "text_cfg": {"context_length": toy.MAX_LENGTH, "hf_tokenizer_name": "t"}},
        "visual/model.onnx": toy.image_tower(),
        "visual/preprocess_cfg.json": OPEN_CLIP,
        "textual/model.onnx": toy.text_tower(columns=toy.MAX_LENGTH, ids=np.int32),
        "textual/tokenizer.json": toy.tokenizer(),
        "textual/tokenizer_config.json": {"pad_token": {"content": "[PAD]"}},
    }
    return arrange(directory, files)


def combined_network(*, needs_picture=False):
    """Both towers in one network, as Chinese-CLIP and jina-clip have it; it may need a picture to be there."""
    image, text = toy.image_tower(), toy.text_tower()
    for name in ("weights", "means"):
        for node in image.graph.node:
            for side in (node.input, node.output):
                for place, value in enumerate(side):
                    side[place] = f"image_{name}" if value == name else value
        for tensor in image.graph.initializer:
            tensor.name = f"image_{name}" if tensor.name == name else tensor.name
    text.graph.node.extend(image.graph.node)
    text.graph.input.extend(image.graph.input)
    text.graph.output.extend(image.graph.output)
    text.graph.initializer.extend(image.graph.initializer)
    if needs_picture:
        # A reshape that cannot tell a size from nothing.
        text.graph.node.extend(
            [
                helper.make_node("Reshape", ["image_embeds", "shape"], ["reshaped"]),
                helper.make_node("Identity", ["reshaped"], ["other"]),
            ]
        )
        text.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, -1, toy.DIM // 2]), "shape"))
        text.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [2, None, toy.DIM // 2]))
    onnx.checker.check_model(text)
    return text
