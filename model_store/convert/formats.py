"""The forms that a matrix can be kept and multiplied in. A graph's matrices may each have another.

Weights are [out, in], as trained; a `bias` is [out] or None. What a form needs to know of the input it is multiplied
with comes from recordings (`Inputs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from model_store.convert.graph import FLOAT, Floats, Graph
from model_store.convert.matrix import Matrix
from model_store.errors import ConversionError

Place = Literal["linear", "embedding", "other"]
"""Where a matrix is used: multiplied with, looked up and multiplied with, or neither (convolutions, positions)."""


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """What was seen to be multiplied with a matrix: its range, and the mean square of each input [in]."""

    low: float
    high: float
    mean_square: Floats


class TiedEmbedding(Protocol):
    """A table [tokens, width] that is looked up at the bottom of a decoder and multiplied with at its top."""

    def look_up(self, tokens: str) -> str: ...

    def logits(self, x: str) -> str: ...


class Format(Protocol):
    """A form. It is asked only for what its `places` say that it can."""

    @property
    def places(self) -> frozenset[Place]: ...

    @property
    def bits_kept(self) -> float:
        """Of a weight on disk, its share of scales included."""
        ...

    def linear(self, graph: Graph, x: str, weight: Matrix, bias: Floats | None, inputs: Inputs | None) -> str:
        """Adds `x @ weight.T + bias`."""
        ...

    def embedding(self, graph: Graph, table: Matrix, inputs: Inputs | None) -> TiedEmbedding: ...

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        """The values in float32."""
        ...


Formats = Mapping[str, Format]
"""By the name of the tensor; what is not named is in float32."""


class Widened:
    """What forms share whose values the runtime has in float32 once it has loaded the graph."""

    places: ClassVar[frozenset[Place]] = frozenset({"linear", "embedding", "other"})

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        raise NotImplementedError

    def linear(self, graph: Graph, x: str, weight: Matrix, bias: Floats | None, _: Inputs | None) -> str:
        product = graph.op("MatMul", x, graph.op("Transpose", self.constant(graph, weight), perm=[1, 0]))
        return product if bias is None else graph.op("Add", product, graph.constant(bias, "bias"))

    def embedding(self, graph: Graph, table: Matrix, _: Inputs | None) -> TiedEmbedding:
        return PlainEmbedding(graph, self.constant(graph, table))


@dataclass(frozen=True, slots=True)
class Float(Widened):
    """Kept in 32 or 16 bits, multiplied in float32: a CPU has no products of 16 bits that onnxruntime would use."""

    bits: Literal[32, 16] = 32

    @property
    def bits_kept(self) -> float:
        return self.bits

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        if self.bits == 32 or kernel.name in graph.stored:
            return kernel.constant(graph)
        return graph.half(kernel.value)


@dataclass(frozen=True, slots=True)
class PlainEmbedding:
    """A table whose values are there in float32."""

    graph: Graph
    table: str

    def look_up(self, tokens: str) -> str:
        return self.graph.op("Gather", self.table, tokens)

    def logits(self, x: str) -> str:
        return self.graph.op("MatMul", x, self.graph.op("Transpose", self.table, perm=[1, 0]))


@dataclass(frozen=True, slots=True)
class Int8Weights(Widened):
    """Kept in int8 with a scale a row, multiplied in float32: the runtime widens it once, when it loads the graph.

    onnxruntime's products of 8-bit weights and float32 inputs (MatMulNBits, accuracy level 1) take twenty times that.
    """

    bits_kept: ClassVar[float] = 8

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        shape = kernel.value.shape
        quantised, scale = quantise_rows(kernel.value.reshape(shape[0], -1))
        widened = graph.op("Cast", graph.constant(quantised.reshape(shape), "weight"), to=FLOAT)
        by_row = scale.reshape(-1, *[1] * (len(shape) - 1))
        return graph.op("Mul", widened, graph.constant(by_row, "scale"))


class LinearOnly:
    """What forms share that only multiply: by their places nobody asks them for more."""

    places: ClassVar[frozenset[Place]] = frozenset({"linear"})
    bits_kept: ClassVar[float] = 8  # the scales are few

    def embedding(self, graph: Graph, table: Matrix, inputs: Inputs | None) -> TiedEmbedding:
        raise NotImplementedError(f"{self} multiplies only")

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        raise NotImplementedError(f"{self} multiplies only")


@dataclass(frozen=True, slots=True)
class Int8Dynamic(LinearOnly):
    """Weights in int8 with a scale an output channel or a matrix; activations in uint8, one scale, found at run time.

    One fused kernel of onnxruntime. Symmetric weights to ±127 (Jacob et al., 2018, section 2). A row's rounding depends
    on the rows beside it, so it is for an encoder, which computes a window at a time.
    """

    per: Literal["channel", "tensor"] = "channel"

    def linear(self, graph: Graph, x: str, weight: Matrix, bias: Floats | None, _: Inputs | None) -> str:
        quantised, scale = quantise_rows(weight.value, self.per)
        zero = np.zeros(scale.shape, np.int8)
        inputs = [x, *(graph.constant(*one) for one in ((quantised.T, "weight"), (scale, "scale"), (zero, "zero")))]
        if bias is not None:
            inputs.append(graph.constant(bias, "bias"))
        return graph.contrib("DynamicQuantizeMatMul", *inputs)


@dataclass(frozen=True, slots=True)
class Int8Static(LinearOnly):
    """As `Int8Dynamic`, but activations are rounded by the range that was seen in recordings (Jacob et al., 2018).

    No row changes another, and no range need be found at run time; what lies outside of the range is clipped.
    """

    per: Literal["channel", "tensor"] = "channel"

    def linear(self, graph: Graph, x: str, weight: Matrix, bias: Floats | None, inputs: Inputs | None) -> str:
        if inputs is None:
            raise ConversionError(Path(weight.name), "its static form needs calibration, and nothing was seen of it")
        quantised, scale = quantise_rows(weight.value, self.per)
        low, high = min(inputs.low, 0.0), max(inputs.high, 0.0)
        step = np.float32(max(high - low, 1e-8) / 255)
        zero = np.uint8(np.clip(np.rint(-low / step), 0, 255))
        of_x = (graph.constant(np.array(step), "scale"), graph.constant(np.array(zero), "zero"))
        terms = [graph.op("QuantizeLinear", x, *of_x), graph.constant(quantised.T, "weight"), of_x[0]]
        terms += [graph.constant(scale, "scale"), of_x[1], graph.constant(np.zeros(scale.shape, np.int8), "zero")]
        if bias is not None:
            terms.append(graph.constant(bias, "bias"))
        return graph.contrib("MatMulIntegerToFloat", *terms)


def quantise_rows(weight: Floats, per: Literal["channel", "tensor"] = "channel") -> tuple[npt.NDArray[np.int8], Floats]:
    """Integers in ±127 and a scale a row, or one for all, so that integers * scale is closest to the weight."""
    most = np.abs(weight).max(axis=1 if per == "channel" else None)
    scale = np.asarray(most / 127, np.float32)
    scale = np.where(scale == 0, np.float32(1), scale)
    by_row = scale[:, None] if per == "channel" else scale
    return np.clip(np.rint(weight / by_row), -127, 127).astype(np.int8), scale


def nibbles(graph: Graph, packed: str) -> str:
    """uint8 [..., n] as uint8 [..., 2 n]: the lower half of each byte, then the upper."""
    lower = graph.op("BitwiseAnd", packed, graph.constant(np.array(15, np.uint8)))
    upper = graph.op("BitShift", packed, graph.constant(np.array(4, np.uint8)), direction="RIGHT")
    pairs = [graph.op("Unsqueeze", half, graph.integers(-1)) for half in (lower, upper)]
    both = graph.op("Concat", *pairs, axis=-1)
    shape = graph.op("Shape", packed)
    doubled = graph.op("Mul", graph.op("Slice", shape, graph.integers(-1), graph.integers(2**31)), graph.integers(2))
    rest = graph.op("Slice", shape, graph.integers(0), graph.integers(-1))
    return graph.op("Reshape", both, graph.op("Concat", rest, doubled, axis=0))
