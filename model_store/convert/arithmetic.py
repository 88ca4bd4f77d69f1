"""The precisions a graph can be built in: how each multiplies by a weight and looks up an embedding.

Weights are [out, in], as trained; `bias` is [out] or None.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model_store.convert.graph import Floats, Graph
from model_store.manifest import Precision


class Linear(Protocol):
    """Adds `x @ weight.T + bias`."""

    def __call__(self, graph: Graph, x: str, weight: Floats, bias: Floats | None) -> str: ...


class TiedEmbedding(Protocol):
    """A table [tokens, width] that is looked up at the bottom of a decoder and multiplied with at its top."""

    def look_up(self, tokens: str) -> str: ...

    def logits(self, x: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How the large products of a graph are computed."""

    precision: Precision
    linear: Linear
    embedding: Callable[[Graph, Floats], TiedEmbedding]


def linear_fp32(graph: Graph, x: str, weight: Floats, bias: Floats | None) -> str:
    product = graph.op("MatMul", x, graph.constant(weight.T, "weight"))
    return product if bias is None else graph.op("Add", product, graph.constant(bias, "bias"))


def linear_int8(graph: Graph, x: str, weight: Floats, bias: Floats | None) -> str:
    """Weights in int8 with a scale an output channel, activations in uint8 with one scale a tensor, found at run time.

    One fused kernel of onnxruntime. Symmetric weights to ±127 (Jacob et al., 2018, section 2).
    """
    quantised, scale = quantise_rows(weight)
    inputs = [
        x,
        graph.constant(quantised.T, "weight"),
        graph.constant(scale, "scale"),
        graph.constant(np.zeros(len(scale), np.int8), "zero"),
    ]
    if bias is not None:
        inputs.append(graph.constant(bias, "bias"))
    return graph.contrib("DynamicQuantizeMatMul", *inputs)


def quantise_rows(weight: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Integers in ±127 and a scale a row, so that integers * scale is closest to the weight."""
    scale = (np.abs(weight).max(axis=1) / 127).astype(np.float32)
    scale[scale == 0] = 1
    return np.clip(np.rint(weight / scale[:, None]), -127, 127).astype(np.int8), scale


class EmbeddingFp32:
    def __init__(self, graph: Graph, table: Floats) -> None:
        self._graph, self._table = graph, graph.constant(table, "embedding")

    def look_up(self, tokens: str) -> str:
        return self._graph.op("Gather", self._table, tokens)

    def logits(self, x: str) -> str:
        return self._graph.op("MatMul", x, self._graph.op("Transpose", self._table, perm=[1, 0]))


class EmbeddingInt8:
    """The table twice in int8: by row to look up, and in the layout of the product."""

    def __init__(self, graph: Graph, table: Floats) -> None:
        self._graph, self._floats = graph, table
        quantised, scale = quantise_rows(table)
        self._rows, self._scales = graph.constant(quantised, "embedding"), graph.constant(scale[:, None], "scale")

    def look_up(self, tokens: str) -> str:
        graph = self._graph
        integers = graph.op("Cast", graph.op("Gather", self._rows, tokens), to=1)
        return graph.op("Mul", integers, graph.op("Gather", self._scales, tokens))

    def logits(self, x: str) -> str:
        return linear_int8(self._graph, x, self._floats, None)


FP32 = Arithmetic("fp32", linear_fp32, EmbeddingFp32)
INT8 = Arithmetic("int8", linear_int8, EmbeddingInt8)
