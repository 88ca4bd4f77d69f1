"""Small graphs, built and run on onnxruntime."""

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest

from model_store.convert.arithmetic import FP32, INT8, Arithmetic, quantise_rows
from model_store.convert.graph import FLOAT, INT64, Floats, Graph

RNG = np.random.default_rng(5)


def run(graph: Graph, **inputs: npt.NDArray[np.generic]) -> list[Floats]:
    model = graph.model()
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Floats] = session.run(None, inputs)
    return found


def random(*shape: int) -> Floats:
    return RNG.standard_normal(shape).astype(np.float32)


def test_operations_are_run_in_order() -> None:
    graph = Graph("small")
    x = graph.input("x", FLOAT, ["N", 3])
    doubled = graph.op("Mul", x, graph.number(2))
    least, most = graph.op_n("Split", doubled, results=("least", "most"), axis=1, num_outputs=2)
    graph.output("y", graph.op("ReduceMax", most, graph.integers(1), keepdims=0), FLOAT, ["N"])
    graph.output("least", least, FLOAT, ["N", 2])
    y, first = run(graph, x=np.array([[1, 2, 3], [4, 5, -6]], np.float32))
    np.testing.assert_array_equal(y, [6, -12])
    np.testing.assert_array_equal(first, [[2, 4], [8, 10]])


def test_an_optional_input_may_be_left_out() -> None:
    graph = Graph("small")
    x = graph.input("x", FLOAT, ["N"])
    graph.output("y", graph.op("Clip", x, None, graph.number(1)), FLOAT, ["N"])
    (y,) = run(graph, x=np.array([-5, 0.5, 5], np.float32))
    np.testing.assert_array_equal(y, [-5, 0.5, 1])


def test_the_same_operations_give_the_same_bytes() -> None:
    def built() -> bytes:
        graph = Graph("small")
        x = graph.input("x", FLOAT, ["N", 4])
        graph.output("y", INT8.linear(graph, x, np.eye(4, dtype=np.float32), None), FLOAT, ["N", 4])
        serialized: bytes = graph.model().SerializeToString(deterministic=True)
        return serialized

    assert built() == built()


@pytest.mark.parametrize(("arithmetic", "tolerance"), [(FP32, 1e-5), (INT8, 0.02)])
@pytest.mark.parametrize("biased", [True, False])
def test_linear_is_a_product_and_a_sum(arithmetic: Arithmetic, tolerance: float, biased: bool) -> None:
    """INT8 rounds inputs and weights to 8 bits: within 2 % of the largest result."""
    x, weight, bias = random(5, 7, 64), random(48, 64), random(48) if biased else None
    graph = Graph("linear")
    node = graph.input("x", FLOAT, ["B", "S", 64])
    graph.output("y", arithmetic.linear(graph, node, weight, bias), FLOAT, ["B", "S", 48])
    expected = x @ weight.T + (0 if bias is None else bias)
    np.testing.assert_allclose(run(graph, x=x)[0], expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(("arithmetic", "tolerance"), [(FP32, 1e-5), (INT8, 0.02)])
def test_a_tied_embedding_is_looked_up_and_multiplied(arithmetic: Arithmetic, tolerance: float) -> None:
    table, tokens, x = random(40, 32), np.array([[3, 39, 0]]), random(1, 2, 32)
    graph = Graph("embedding")
    embedding = arithmetic.embedding(graph, table)
    graph.output("rows", embedding.look_up(graph.input("tokens", INT64, [1, 3])), FLOAT, [1, 3, 32])
    graph.output("logits", embedding.logits(graph.input("x", FLOAT, [1, 2, 32])), FLOAT, [1, 2, 40])
    rows, logits = run(graph, tokens=tokens, x=x)
    np.testing.assert_allclose(rows, table[tokens], atol=tolerance * np.abs(table).max())
    np.testing.assert_allclose(logits, x @ table.T, atol=tolerance * np.abs(x @ table.T).max())


def test_quantised_rows_are_as_close_as_their_scale_allows() -> None:
    weight = random(6, 100) * np.array([[1e-6], [1e-3], [1], [10], [1e4], [0]], np.float32)
    integers, scale = quantise_rows(weight)
    assert integers.dtype == np.int8
    assert (np.abs(integers) <= 127).all()
    assert (np.abs(integers * scale[:, None] - weight) <= scale[:, None] * 0.501).all()
    assert (integers[-1] == 0).all()
