"""Matrices in 8 or 4 bits with a scale for each block of inputs, as onnxruntime's MatMulNBits multiplies them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from model_store.convert.formats import Inputs, Place, TiedEmbedding, nibbles
from model_store.convert.graph import FLOAT, Floats, Graph
from model_store.convert.matrix import Matrix

BLOCK = 32
"""Inputs that share a scale; the last block is filled up with zeros."""

_ACCURACY_LEVEL = {"float32": 1, "int8": 4}
"""MatMulNBits' name for what the activations are rounded to."""

_SEARCH = np.linspace(0.75, 1.15, 17, dtype=np.float32)
"""Scales that are tried, as shares of the one that the largest weight asks for."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """Weights in 8 or 4 bits; activations as they are, or in int8 with a scale a row and block, found at run time.

    Each row is rounded by itself. In 8 bits, slower by a sixth than `Int8Dynamic` and twice as close to float32.
    """

    bits: Literal[8, 4] = 8
    activations: Literal["int8", "float32"] = "int8"
    places: ClassVar[frozenset[Place]] = frozenset({"linear", "embedding"})

    @property
    def bits_kept(self) -> float:
        return self.bits + 16 / BLOCK

    def linear(self, graph: Graph, x: str, weight: Matrix, bias: Floats | None, inputs: Inputs | None) -> str:
        return _Blocked(graph, self, weight, inputs).product(x, bias)

    def embedding(self, graph: Graph, table: Matrix, inputs: Inputs | None) -> TiedEmbedding:
        return _Blocked(graph, self, table, inputs)

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        raise NotImplementedError(f"{self} multiplies only")


class _Blocked:
    """A matrix in a graph, for all that is done with it there."""

    def __init__(self, graph: Graph, form: Blocks, weight: Matrix, inputs: Inputs | None) -> None:
        self._graph, self._form, self._shape = graph, form, weight.value.shape
        integers, scale = quantise_blocks(weight.value, form.bits, None if inputs is None else inputs.mean_square)
        packed = integers if form.bits == 8 else integers[..., ::2] | integers[..., 1::2] << 4
        self._table, self._scales = graph.constant(packed, "weight"), graph.half(scale, "scale")

    def product(self, x: str, bias: Floats | None) -> str:
        graph, form = self._graph, self._form
        terms = [x, self._table, self._scales]
        optional = [] if bias is None else [None, None, graph.constant(bias, "bias")]
        sizes = {"N": self._shape[0], "K": self._shape[1], "bits": form.bits, "block_size": BLOCK}
        level = _ACCURACY_LEVEL[form.activations]
        return graph.contrib("MatMulNBits", *terms, *optional, accuracy_level=level, **sizes)

    def look_up(self, tokens: str) -> str:
        graph = self._graph
        integers = graph.op("Gather", self._table, tokens)
        if self._form.bits == 4:
            integers = nibbles(graph, integers)
        scales = graph.op("Unsqueeze", graph.op("Gather", self._scales, tokens), graph.integers(-1))
        zero = graph.number(2 ** (self._form.bits - 1))
        values = graph.op("Mul", graph.op("Sub", graph.op("Cast", integers, to=FLOAT), zero), scales)
        joined = graph.op("Reshape", values, graph.integers(0, 0, -1))
        return graph.op("Slice", joined, graph.integers(0), graph.integers(self._shape[1]), graph.integers(2))

    def logits(self, x: str) -> str:
        return self.product(x, None)


def quantise_blocks(
    weight: Floats, bits: Literal[8, 4], importance: Floats | None = None
) -> tuple[npt.NDArray[np.uint8], Floats]:
    """[out, blocks, BLOCK] integers around 2 ** (bits - 1) and [out, blocks] scales, which have float16 values.

    In 4 bits the scale is the one of several that leaves the least squared error, each input weighed by its
    `importance` [in], the mean square of what it is multiplied with (as llama.cpp's importance matrix).
    """
    rows = _blocked(weight)
    most = (1 << bits - 1) - 1
    scale = _half(np.abs(rows).max(axis=2) / most)
    if bits == 4:
        weights = _blocked(np.ones((1, weight.shape[1]), np.float32) if importance is None else importance[None])
        scale = _best_scale(rows, scale, weights)
    lowest = -most if bits == 8 else -most - 1
    quantised = np.clip(np.rint(rows / scale[..., None]), lowest, most) + (most + 1)
    return quantised.astype(np.uint8), scale


def _best_scale(rows: Floats, widest: Floats, importance: Floats) -> Floats:
    best, least = widest, np.full(widest.shape, np.inf, np.float32)
    for sign in (1, -1):  # the spare negative step may serve the largest weight of either sign
        for share in _SEARCH:
            scale = _half(sign * share * widest)
            rounded = np.clip(np.rint(rows / scale[..., None]), -8, 7) * scale[..., None]
            error = (np.square(rounded - rows) * importance).sum(axis=2)
            best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def _half(scale: Floats) -> Floats:
    """Rounded to float16, which it is kept in; never zero."""
    rounded = scale.astype(np.float16).astype(np.float32)
    smallest = np.float32(np.finfo(np.float16).smallest_subnormal)
    return np.where(rounded == 0, smallest, rounded)


def _blocked(weight: Floats) -> Floats:
    return np.pad(weight, ((0, 0), (0, -weight.shape[1] % BLOCK))).reshape(len(weight), -1, BLOCK)
