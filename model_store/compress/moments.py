"""Examples in; the first two moments of what matrices are multiplied with out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from model_store.compress.examples import Example
from model_store.compress.probe import observed
from model_store.convert.formats import Float, Inputs, LinearOnly
from model_store.convert.graph import Floats, Graph
from model_store.convert.matrix import Matrix
from model_store.convert.model import Model
from model_store.convert.parameters import Form

Doubles = npt.NDArray[np.float64]
_SEEN = "moments/"
_DOUBLE = onnx.TensorProto.DOUBLE  # variances are the difference of two sums, which may be thousands of times as large


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Of a matrix's input x [in]: the means of x, and of x times x transposed."""

    mean: Doubles
    products: Doubles

    @property
    def covariance(self) -> Doubles:
        return self.products - np.outer(self.mean, self.mean)

    def of(self, inputs: npt.NDArray[np.int64]) -> "Moments":
        """Of some of the inputs."""
        return Moments(self.mean[inputs], self.products[np.ix_(inputs, inputs)])


def moments(model: Model, names: Sequence[str], examples: Sequence[Example], *, threads: int) -> dict[str, Moments]:
    """Over all positions and tokens of the examples, by the name of the matrix; see `Recordings.inputs`."""
    form = Form(dict.fromkeys(names, _Seen()))
    sums: dict[str, Doubles] = {}
    for name, told in observed(model, form, examples, _SEEN, threads=threads):
        sums[name] = sums.get(name, 0) + told.astype(np.float64)
    return {name: _moments(one) for name, one in sums.items()}


def _moments(sums: Doubles) -> Moments:
    """Of the sums of (x, 1) times (x, 1) transposed."""
    count = sums[-1, -1]
    return Moments(sums[-1, :-1] / count, sums[:-1, :-1] / count)


@dataclass(frozen=True, slots=True)
class _Seen(LinearOnly):
    """Float32, and an output of the sums that `_moments` takes."""

    exact: Float = field(default_factory=Float)
    bits_kept: ClassVar[float] = 32

    def linear(self, graph: Graph, x: str, weight: Matrix, bias: Floats | None, inputs: Inputs | None) -> str:
        width = weight.value.shape[1]
        rows = graph.op("Cast", graph.op("Reshape", x, graph.integers(-1, width)), to=_DOUBLE)
        rows = graph.op("Pad", rows, graph.integers(0, 0, 0, 1), graph.constant(np.array(1.0)))
        sums = graph.op("MatMul", graph.op("Transpose", rows, perm=[1, 0]), rows)
        graph.output(_SEEN + weight.name, sums, _DOUBLE, [width + 1, width + 1])
        return self.exact.linear(graph, x, weight, bias, inputs)
