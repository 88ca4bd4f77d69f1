"""Matrices whose weights are one of a few values each: k-means weight sharing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from model_store.convert.formats import Widened, nibbles
from model_store.convert.graph import INT64, Floats, Graph
from model_store.convert.matrix import Matrix


@dataclass(frozen=True, slots=True)
class Codebook(Widened):
    """Each weight is one of 2 ** bits values, found by k-means over the matrix; an index is kept (Han et al., 2016).

    The runtime looks the values up when it loads the graph: smaller on disk and on the wire, not in memory or in time.
    """

    bits: Literal[4, 8] = 8

    @property
    def bits_kept(self) -> float:
        return self.bits

    def constant(self, graph: Graph, kernel: Matrix) -> str:
        book, indices = shared_values(kernel.value, 2**self.bits)
        flat = indices.ravel()
        if self.bits == 4:
            even = np.pad(flat, (0, len(flat) % 2))
            index = nibbles(graph, graph.constant((even[::2] | even[1::2] << 4).astype(np.uint8), "indices"))
            index = graph.op("Slice", index, graph.integers(0), graph.integers(len(flat)))
        else:
            index = graph.constant(flat.astype(np.uint8), "indices")
        values = graph.op("Gather", graph.constant(book, "codebook"), graph.op("Cast", index, to=INT64))
        return graph.op("Reshape", values, graph.integers(*kernel.value.shape))


ITERATIONS = 12
"""Of Lloyd's algorithm: the values hardly move after that."""


def shared_values(weight: Floats, count: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """`count` values, ascending, and for each weight the index of the nearest, by k-means in one dimension.

    Starts evenly over the range, which keeps the large weights, that matter (Han et al., 2016, section 3.2). Sorted
    values make a step of Lloyd's a binary search and two running sums.
    """
    ordered = np.sort(weight.ravel().astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    values = np.linspace(ordered[0], ordered[-1], count)
    for _ in range(ITERATIONS):
        edges = np.searchsorted(ordered, (values[1:] + values[:-1]) / 2)
        bounds = np.concatenate([[0], edges, [len(ordered)]])
        sizes = np.diff(bounds)
        values = np.where(sizes > 0, np.diff(sums[bounds]) / np.maximum(sizes, 1), values)
    book = values.astype(np.float32)
    middles = (book[1:] + book[:-1]) / 2
    return book, np.searchsorted(middles, weight.ravel()).reshape(weight.shape)
