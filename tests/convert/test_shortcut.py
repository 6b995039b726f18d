"""Networks that are read at one token: the same vector from less work, and others left as they are."""

import numpy as np
import onnx
import onnxruntime
import pytest
import toy
from onnx import TensorProto, helper

from plushie_search.convert.graph import simplify
from plushie_search.convert.graph.shortcut import one_token

TOKENS, WIDTH = 5, 8


def transformer(*, pick=0, axis=1, normal_axis=-1, position=None, read_all=False, attend_last=False):
    """Attention and a block for each token, of which one is read; with changes that forbid the shortcut."""
    draw = np.random.default_rng(0)
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "q"], ["queries"]),
        node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
        node("MatMul", ["queries", "turned"], ["scores"]),
        node("Softmax", ["scores"], ["weights"], axis=-1),
        node("MatMul", ["weights", "x"], ["mixed"]),
        node("MatMul", ["mixed", "w1"], ["m1"]),
        node("Add", ["b1", "m1"], ["a1"]),
        node("Add", ["a1", "x"], ["h"]),
        node("LayerNormalization", ["h", "gain", "shift"], ["n"], axis=normal_axis),
        node("MatMul", ["n", "w2"], ["m2"]),
        node("Sigmoid", ["m2"], ["gate"]),
        node("Mul", ["m2", "gate"], ["active"]),
        node("MatMul", ["active", "w3"], ["m3"]),
        node("Add", ["m3", "position" if position is not None else "b3"], ["a3"]),
        node("Add", ["h", "a3"], ["y"]),
        node("Gather", ["y", "pick"], ["token"], axis=axis),
        node("MatMul", ["token", "projection"], ["image_embeds"]),
    ]
    if attend_last:
        nodes[-2] = node("Softmax", ["y"], ["soft"], axis=1)
        nodes.insert(-1, node("Gather", ["soft", "pick"], ["token"], axis=1))
    outputs = [("image_embeds", TensorProto.FLOAT, ["batch", 3])]
    if read_all:
        outputs.append(("y", TensorProto.FLOAT, ["batch", TOKENS, WIDTH]))
    shapes = {"q": (8, 8), "w1": (8, 8), "b1": (8,), "gain": (8,), "shift": (8,), "w2": (8, 16), "w3": (16, 8)}
    values = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    values |= {"b3": np.float32(0.5), "projection": draw.normal(size=(8, 3)).astype(np.float32)}
    values["pick"] = np.array(pick)
    if normal_axis == 1:
        values |= {name: draw.normal(size=(TOKENS, WIDTH)).astype(np.float32) for name in ("gain", "shift")}
    if position is not None:
        values["position"] = position
    used = {name for each in nodes for name in each.input}
    return toy.model(
        nodes,
        [("x", TensorProto.FLOAT, ["batch", TOKENS, WIDTH])],
        outputs,
        {name: value for name, value in values.items() if name in used},
    )


def run(model, name="image_embeds"):
    """One output for three rows of noise."""
    rows = np.random.default_rng(1).normal(size=(3, TOKENS, WIDTH)).astype(np.float32)
    return onnxruntime.InferenceSession(model.SerializeToString()).run([name], {"x": rows})[0]


@pytest.mark.parametrize("pick", [0, 3, -1])
def test_the_same_vector_from_one_token(pick):
    whole = transformer(pick=pick)
    shorter = one_token(whole)
    onnx.checker.check_model(shorter, full_check=True)
    np.testing.assert_allclose(run(shorter), run(whole), rtol=1e-5)
    places = {node.input[0]: node.op_type for node in shorter.graph.node if node.op_type == "Gather"}
    assert set(places) == {"mixed", "x"}


@pytest.mark.parametrize(
    "changes",
    [
        {"axis": 2},
        {"normal_axis": 1},
        {"position": np.ones((TOKENS, WIDTH), np.float32)},
        {"position": np.ones((1, TOKENS, 1), np.float32)},
        {"read_all": True},
        {"attend_last": True},
        {"pick": [0]},
    ],
)
def test_operators_across_tokens_stay(changes):
    if changes == {"pick": [0]}:
        whole = transformer()
        next(value for value in whole.graph.initializer if value.name == "pick").dims.append(1)
        assert one_token(whole) is whole
        return
    whole = transformer(**changes)
    shorter = one_token(whole)
    if shorter is not whole:  # only what comes after the place that forbids it
        assert "x" not in {node.input[0] for node in shorter.graph.node if node.op_type == "Gather"}
        np.testing.assert_allclose(run(shorter), run(whole), rtol=1e-5)
    assert (shorter is whole) == ("axis" in changes or "read_all" in changes or "attend_last" in changes)


def test_a_shortcut_that_changes_the_vector_is_not_taken(tmp_path, monkeypatch):
    onnx.save(transformer(), tmp_path / "whole.onnx")
    rows = np.random.default_rng(1).normal(size=(1, TOKENS, WIDTH)).astype(np.float32)

    def gathers():
        made = simplify.simplified(onnx.load(tmp_path / "whole.onnx"), "image_embeds", tmp_path, {"x": rows})
        return sum(node.op_type == "Gather" for node in made.graph.node)

    assert gathers() == 2
    monkeypatch.setattr(simplify, "one_token", lambda model: one_token(transformer(pick=1)))
    assert gathers() == 1
    assert [path.name for path in tmp_path.iterdir()] == ["whole.onnx"]
