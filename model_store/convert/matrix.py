"""A weight as a graph needs it: its values, and the operations that make it of the tensors as trained.

A family joins, pads and scales weights before it multiplies by them. Where a graph refers to a file of tensors as
trained, the same is said in operations, which the runtime carries out once, when it loads the graph.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from model_store.convert.graph import Floats, Graph


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A weight [out, in], or a kernel or table of any rank.

    Attributes:
        name: of the tensor that it is made of, or of the first of them.
        value: in float32.
        emit: adds the operations that make it of stored tensors.
    """

    name: str
    value: Floats
    emit: Callable[[Graph], str]

    @classmethod
    def stored(cls, name: str, value: Floats) -> "Matrix":
        return cls(name, value, lambda graph: graph.tensor(name))

    def constant(self, graph: Graph) -> str:
        """In full precision: referred to if it is stored, else written out."""
        return self.emit(graph) if self.name in graph.stored else graph.constant(self.value, "weight")

    def then(self, value: Floats, step: Callable[[Graph, str], str]) -> "Matrix":
        """What `step` makes of it, which is `value`."""
        return Matrix(self.name, value, lambda graph: step(graph, self.emit(graph)))

    def transposed(self) -> "Matrix":
        return self.then(self.value.T, lambda graph, it: graph.op("Transpose", it, perm=[1, 0]))

    def scaled(self, factor: float | Floats) -> "Matrix":
        one = np.asarray(factor, np.float32)
        return self.then(self.value * one, lambda graph, it: graph.op("Mul", it, graph.constant(one)))

    def by_tap(self) -> "Matrix":
        """A kernel [out, in, taps] as [out, taps * in]."""
        value = self.value.transpose(0, 2, 1)
        turned = self.then(value, lambda graph, it: graph.op("Transpose", it, perm=[0, 2, 1]))
        return turned.then(
            value.reshape(len(value), -1), lambda graph, it: graph.op("Reshape", it, graph.integers(0, -1))
        )

    def heads_padded(self, heads: int, size: int) -> "Matrix":
        """[heads * less, in] as [heads * size, in], each head's new rows zero."""
        less, width = len(self.value) // heads, self.value.shape[1]
        padded = np.pad(self.value.reshape(heads, less, width), ((0, 0), (0, size - less), (0, 0)))

        def step(graph: Graph, it: str) -> str:
            split = graph.op("Reshape", it, graph.integers(heads, less, width))
            longer = graph.op("Pad", split, graph.integers(0, 0, 0, 0, size - less, 0))
            return graph.op("Reshape", longer, graph.integers(heads * size, width))

        return self.then(padded.reshape(heads * size, width), step)


def joined(parts: Sequence[Matrix]) -> Matrix:
    """Matrices of the same input, one below the other."""

    def emit(graph: Graph) -> str:
        return graph.op("Concat", *(part.emit(graph) for part in parts), axis=0)

    return Matrix(parts[0].name, np.concatenate([part.value for part in parts]), emit)
