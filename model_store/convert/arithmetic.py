"""The precisions a graph can be built in: how each multiplies by a weight and looks up an embedding.

Weights are [out, in], as trained; `bias` is [out] or None.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from model_store.convert.graph import FLOAT, Floats, Graph
from model_store.manifest import Precision

BLOCK = 32
"""Inputs that share a scale in `linear_int8_blocks`; the last block is filled up with zeros."""

_ZERO = 128
_INT8_ACTIVATIONS = 4
"""MatMulNBits' accuracy_level for integer products."""


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
    """For an encoder, which computes a window at a time."""
    step_linear: Linear
    """For a decoder, whose rows come from different windows: no row may change another."""
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


def linear_int8_blocks(graph: Graph, x: str, weight: Floats, bias: Floats | None) -> str:
    """Weights in int8 with a scale a block of inputs, activations in int8 with a scale a row and block, at run time.

    Slower by a sixth than `linear_int8` and twice as close to float32; each row is rounded by itself.
    """
    quantised, scale = quantise_blocks(weight)
    return _blocks(graph, x, graph.constant(quantised, "weight"), graph.constant(scale, "scale"), weight.shape, bias)


def _blocks(graph: Graph, x: str, weight: str, scale: str, shape: tuple[int, ...], bias: Floats | None) -> str:
    inputs = [x, weight, scale, None, None, graph.constant(bias, "bias")] if bias is not None else [x, weight, scale]
    sizes = {"N": shape[0], "K": shape[1], "bits": 8, "block_size": BLOCK}
    return graph.contrib("MatMulNBits", *inputs, accuracy_level=_INT8_ACTIVATIONS, **sizes)


def quantise_blocks(weight: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """[out, blocks, BLOCK] integers around 128 and [out, blocks] scales, as onnxruntime's MatMulNBits takes them."""
    rows = np.pad(weight, ((0, 0), (0, -weight.shape[1] % BLOCK))).reshape(len(weight), -1, BLOCK)
    scale = (np.abs(rows).max(axis=2) / 127).astype(np.float32)
    scale[scale == 0] = 1
    quantised = np.clip(np.rint(rows / scale[..., None]), -127, 127) + _ZERO
    return quantised.astype(np.uint8), scale


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
    """One table in int8 blocks for both uses."""

    def __init__(self, graph: Graph, table: Floats) -> None:
        self._graph, self._shape = graph, table.shape
        quantised, scale = quantise_blocks(table)
        self._table, self._scales = graph.constant(quantised, "embedding"), graph.constant(scale, "scale")

    def look_up(self, tokens: str) -> str:
        graph = self._graph
        integers = graph.op("Cast", graph.op("Gather", self._table, tokens), to=FLOAT)
        scales = graph.op("Unsqueeze", graph.op("Gather", self._scales, tokens), graph.integers(-1))
        values = graph.op("Mul", graph.op("Sub", integers, graph.number(_ZERO)), scales)
        joined = graph.op("Reshape", values, graph.integers(0, 0, -1))
        return graph.op("Slice", joined, graph.integers(0), graph.integers(self._shape[1]), graph.integers(2))

    def logits(self, x: str) -> str:
        return _blocks(self._graph, x, self._table, self._scales, self._shape, None)


FP32 = Arithmetic("fp32", linear_fp32, linear_fp32, EmbeddingFp32)
INT8 = Arithmetic("int8", linear_int8, linear_int8_blocks, EmbeddingInt8)
