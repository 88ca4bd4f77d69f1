"""Small graphs, built and run on onnxruntime."""

import numpy as np

from model_store.convert.formats import Int8Dynamic
from model_store.convert.graph import FLOAT, Graph
from tests.convert.small_graphs import matrix, run


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
        graph.output(
            "y", Int8Dynamic().linear(graph, x, matrix(np.eye(4, dtype=np.float32)), None, None), FLOAT, ["N", 4]
        )
        serialized: bytes = graph.model().SerializeToString(deterministic=True)
        return serialized

    assert built() == built()
