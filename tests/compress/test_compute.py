"""What is counted is what the graphs multiply."""

import math
from collections.abc import Callable

import onnx
import pytest

from model_store.compress.compute import Compute, compute
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.shrink import Shrink, shrink
from model_store.convert.model import graphs, read
from model_store.convert.parameters import Form
from tests.compress.drafts import small_draft
from tests.store import folder


def multiplied(graph: onnx.GraphProto) -> int:
    """Weights that the graph's products multiply with, each once."""
    sizes = {one.name: math.prod(one.dims) for one in graph.initializer}
    made = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("Transpose", "Identity")}
    second = (node.input[1] for node in graph.node if node.op_type == "MatMul")
    return sum(sizes.get(made.get(name, name), 0) for name in second)


def shrunk() -> Draft:
    settings = Shrink(step="shrink", heads=0.5, neurons=0.25, layers=("encoder.layers.0",), refit="none")
    return shrink(small_draft(), settings, Context())


@pytest.mark.parametrize("draft", [small_draft, shrunk])
def test_a_position_and_a_token_take_what_the_graphs_multiply(draft: Callable[[], Draft]) -> None:
    model = draft().model
    built = graphs(model, Form())
    convolutions = 2 * 128 * 80 * 3 + 128 * 128 * 3  # the second one's stride is two
    heads = [len(w) for name, w in model.weights.items() if "encoder.layers" in name and name.endswith("q_proj.weight")]
    counted = compute(model, positions=10)
    assert counted.window == 10 * (multiplied(built.encoder.graph) + convolutions + 2 * 10 * sum(heads))
    own = [len(w) for name, w in model.weights.items() if name.endswith("self_attn.q_proj.weight") and name[0] == "d"]
    cross = [len(w) for name, w in model.weights.items() if name.endswith("encoder_attn.q_proj.weight")]
    assert counted.token == multiplied(built.decoder.graph) + 2 * (sum(own) + 10 * sum(cross))


def test_tokens_are_added_to_their_window() -> None:
    assert Compute(window=100, token=7).of(3) == 121


def test_moonshine_is_counted_too() -> None:
    model = read(folder("moonshine-tiny", "fp32"))
    counted = compute(model, positions=40)
    assert counted.window > 40 * multiplied(graphs(model, Form()).encoder.graph) > 0
    assert counted.token > 0
