"""Each form multiplies and looks up as float32 does, to what its bits allow."""

import numpy as np
import pytest

from model_store.convert.blocks import BLOCK, Blocks, quantise_blocks
from model_store.convert.codebook import Codebook, shared_values
from model_store.convert.formats import Float, Format, Inputs, Int8Dynamic, Int8Static, Int8Weights, quantise_rows
from model_store.convert.graph import FLOAT, INT64, Graph
from model_store.convert.torch_tensors import BFloat16, Int8Rows
from model_store.errors import ConversionError
from tests.convert.small_graphs import matrix, random, run

FORMS: tuple[tuple[Format, float], ...] = (
    # form, largest error as a share of the largest result
    (Float(32), 1e-5),
    (Float(16), 1e-3),
    (Int8Dynamic("channel"), 0.02),
    (Int8Dynamic("tensor"), 0.03),
    (Int8Static("channel"), 0.03),
    (Int8Static("tensor"), 0.03),
    (Blocks(8, "int8"), 0.02),
    (Int8Weights(), 0.01),
    (Blocks(4, "int8"), 0.15),
    (Blocks(4, "float32"), 0.15),
    (Codebook(8), 0.02),
    (Codebook(4), 0.3),
    (BFloat16(), 0.01),
    (Int8Rows(), 0.01),
)
EMBEDDED = [one for one in FORMS if "embedding" in one[0].places]
KEPT = [one for one in FORMS if "other" in one[0].places]


def inputs(x: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Inputs:
    return Inputs(float(x.min()), float(x.max()), np.square(x).reshape(-1, x.shape[-1]).mean(axis=0))


@pytest.mark.parametrize(("form", "tolerance"), FORMS, ids=str)
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("width", [64, BLOCK, 40, 1])
def test_linear_is_a_product_and_a_sum(form: Format, tolerance: float, biased: bool, width: int) -> None:
    x, weight, bias = random(5, 7, width), random(48, width, seed=6), random(48) if biased else None
    graph = Graph("linear")
    node = graph.input("x", FLOAT, ["B", "S", width])
    graph.output("y", form.linear(graph, node, matrix(weight), bias, inputs(x)), FLOAT, ["B", "S", 48])
    expected = x @ weight.T + (0 if bias is None else bias)
    np.testing.assert_allclose(run(graph, x=x)[0], expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(("form", "tolerance"), EMBEDDED, ids=str)
def test_a_tied_embedding_is_looked_up_and_multiplied(form: Format, tolerance: float) -> None:
    table, tokens, x = random(40, 72), np.array([[3, 39, 0]]), random(1, 2, 72)
    graph = Graph("embedding")
    embedding = form.embedding(graph, matrix(table), None)
    graph.output("rows", embedding.look_up(graph.input("tokens", INT64, [1, 3])), FLOAT, [1, 3, 72])
    graph.output("logits", embedding.logits(graph.input("x", FLOAT, [1, 2, 72])), FLOAT, [1, 2, 40])
    rows, logits = run(graph, tokens=tokens, x=x)
    np.testing.assert_allclose(rows, table[tokens], atol=tolerance * np.abs(table).max())
    np.testing.assert_allclose(logits, x @ table.T, atol=tolerance * np.abs(x @ table.T).max())


@pytest.mark.parametrize(("form", "tolerance"), KEPT, ids=str)
@pytest.mark.parametrize("shape", [(6, 3, 5), (1, 1, 1)])
def test_a_kernel_is_kept(form: Format, tolerance: float, shape: tuple[int, ...]) -> None:
    kernel = random(*shape)
    graph = Graph("kernel")
    x = graph.input("x", FLOAT, [1])
    graph.output("y", graph.op("Add", form.constant(graph, matrix(kernel)), x), FLOAT, list(shape))
    np.testing.assert_allclose(
        run(graph, x=np.zeros(1, np.float32))[0], kernel, atol=tolerance * np.abs(kernel).max(), strict=True
    )


def test_a_static_form_needs_to_have_seen_inputs() -> None:
    graph = Graph("linear")
    x = graph.input("x", FLOAT, ["B", 4])
    with pytest.raises(ConversionError, match="calibration"):
        Int8Static().linear(graph, x, matrix(random(3, 4)), None, None)


def test_a_static_row_is_the_same_in_any_company() -> None:
    x, weight = random(6, 64), random(8, 64, seed=6)
    graph = Graph("linear")
    node = graph.input("x", FLOAT, ["B", 64])
    graph.output("y", Int8Static().linear(graph, node, matrix(weight), None, inputs(x)), FLOAT, ["B", 8])
    together, alone = run(graph, x=x * np.array([[1], [9], [1], [1], [1], [1]], np.float32))[0], run(graph, x=x[:1])[0]
    np.testing.assert_array_equal(together[:1], alone)


def test_quantised_rows_are_as_close_as_their_scale_allows() -> None:
    weight = random(6, 100) * np.array([[1e-6], [1e-3], [1], [10], [1e4], [0]], np.float32)
    integers, scale = quantise_rows(weight)
    assert integers.dtype == np.int8
    assert (np.abs(integers) <= 127).all()
    assert (np.abs(integers * scale[:, None] - weight) <= scale[:, None] * 0.501).all()
    assert (integers[-1] == 0).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_blocks_of_zeros_and_of_tiny_weights_are_no_trouble(bits: int) -> None:
    weight = np.zeros((3, 2 * BLOCK), np.float32)
    weight[1] = 1e-9
    integers, scale = quantise_blocks(weight, 8 if bits == 8 else 4)
    values = (integers.astype(np.float32) - 2 ** (bits - 1)) * scale[..., None]
    assert np.isfinite(values).all()
    np.testing.assert_allclose(values.reshape(3, -1), weight, atol=1e-6)


def test_four_bits_round_important_inputs_better() -> None:
    weight, importance = random(16, BLOCK), np.full(BLOCK, 0.01, np.float32)
    importance[:4] = 100

    def error(integers: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], scale: np.ndarray) -> float:  # type: ignore[type-arg]
        values = ((integers.astype(np.float32) - 8) * scale[..., None]).reshape(weight.shape)
        return float((np.square(values - weight) * importance).sum())

    assert error(*quantise_blocks(weight, 4, importance)) < 0.8 * error(*quantise_blocks(weight, 4))


def test_few_values_are_found_exactly() -> None:
    values = np.array([-2, -0.5, 0.5, 2, 7], np.float32)
    weight = np.random.default_rng(0).choice(values, (30, 40))
    book, indices = shared_values(weight, 16)
    np.testing.assert_allclose(book[indices], weight, atol=1e-6)


def test_k_means_beats_even_steps() -> None:
    weight = random(64, 64)
    book, indices = shared_values(weight, 16)
    even = np.linspace(weight.min(), weight.max(), 16)
    nearest = even[np.abs(weight[..., None] - even).argmin(axis=-1)]
    assert np.square(book[indices] - weight).sum() < 0.8 * np.square(nearest - weight).sum()
