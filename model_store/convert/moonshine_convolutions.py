"""The convolutions of Moonshine's encoder as operations of a graph: a padded batch of waveforms in, positions out."""

import numpy as np

from model_store.convert.graph import FLOAT, Graph
from model_store.convert.matrix import Matrix
from model_store.convert.moonshine_source import STRIDES
from model_store.convert.parameters import Parameters

_EPSILON = 1e-5


class Convolutions:
    """Three convolutions over time, each as a product with the frames under its kernel side by side.

    Multiplied in float32 in every form, as the makers have it: with one int8 scale for all channels, which differ in
    size, the keys of the cross-attention correlated by 0.84 with those of float32 where now they do by 0.998.
    """

    def __init__(self, weights: Parameters) -> None:
        self.graph, self.weights = weights.graph, weights
        self.kernels = tuple(weights[f"conv{number}.weight"].shape[2] for number in (1, 2, 3))

    def add(self, features: str, log_weights: str) -> str:
        """[B, samples] -> [B, T, width]."""
        graph, weights = self.graph, self.weights
        x = graph.op("Tanh", self._first(features))
        x = graph.op("Gelu", self._normalised_second(x, log_weights))
        x = self._product(self._unfolded(x, 2), weights.matrix("conv3.weight").by_tap())
        return graph.op("Gelu", graph.op("Add", x, graph.constant(weights["conv3.bias"])))

    def _product(self, x: str, kernel: Matrix) -> str:
        return self.graph.op("MatMul", x, self.weights.constant_of(kernel.transposed()))

    def _first(self, features: str) -> str:
        """Its kernel is two strides long, but for a sample: a window is a block of samples with the next one."""
        graph, stride = self.graph, STRIDES[0]
        blocks = graph.op("Reshape", features, graph.integers(0, -1, stride))
        end = graph.integers(2**31)
        these = graph.op("Slice", blocks, graph.integers(0), graph.integers(-1), graph.integers(1))
        those = graph.op("Slice", blocks, graph.integers(1), end, graph.integers(1))
        kernel = self.weights.matrix("conv1.weight")
        more = 2 * stride - kernel.value.shape[2]

        def lengthened(graph: Graph, it: str) -> str:
            return graph.op("Pad", graph.op("Squeeze", it, graph.integers(1)), graph.integers(0, 0, 0, more))

        kernel = kernel.then(np.pad(kernel.value[:, 0], ((0, 0), (0, more))), lengthened)
        return self._product(graph.op("Concat", these, those, axis=-1), kernel)

    def _normalised_second(self, x: str, log_weights: str) -> str:
        """The second convolution of `x` [B, frames, channels] less its mean, over its deviation, scaled and shifted.

        Mean and deviation are those of a row's frames that are no padding. Convolution is linear, so with the scale
        folded into its kernel it runs on `x` itself and its result is corrected: for sums over the kernel,
        (kernel * x - mean * sums) / deviation + shift.
        """
        graph, kernel = self.graph, self.weights["conv2.weight"]
        scaled = self.weights.matrix("conv2.weight").scaled(self.weights["groupnorm.weight"][None, :, None])
        shift = np.einsum("oik,i->o", kernel, self.weights["groupnorm.bias"]) + self.weights["conv2.bias"]
        mean, scale = _statistics(graph, x, self._frames(log_weights), channels=kernel.shape[1])
        y = graph.op("Mul", self._product(self._unfolded(x, 1), scaled.by_tap()), scale)
        sums = graph.constant(scaled.value.sum(axis=(1, 2)))
        correction = graph.op("Mul", sums, graph.op("Mul", mean, scale))
        return graph.op("Add", y, graph.op("Sub", graph.constant(shift.astype(np.float32)), correction))

    def _unfolded(self, x: str, index: int) -> str:
        """[B, frames, channels] -> [B, windows, kernel * channels]."""
        graph, kernel, stride = self.graph, self.kernels[index], STRIDES[index]
        frames = graph.op("Gather", graph.op("Shape", x), graph.integer(1))
        starts = graph.op(
            "Range", graph.integer(0), graph.op("Sub", frames, graph.integer(kernel - 1)), graph.integer(stride)
        )
        taps = graph.constant(np.arange(kernel))
        windows = graph.op("Gather", x, graph.op("Add", graph.op("Unsqueeze", starts, graph.integers(1)), taps), axis=1)
        channels = self.weights[f"conv{index + 1}.weight"].shape[1]
        return graph.op("Reshape", windows, graph.integers(0, -1, kernel * channels))

    def _frames(self, log_weights: str) -> str:
        """[B, 1]: from how many frames of the first convolution the positions of each row come."""
        graph = self.graph
        there = graph.op("Greater", log_weights, graph.number(-1))
        frames = graph.op("ReduceSum", graph.op("Cast", there, to=FLOAT), graph.integers(1), keepdims=1)
        for kernel, stride in zip(self.kernels[:0:-1], STRIDES[:0:-1], strict=True):
            frames = graph.op("Add", graph.op("Mul", frames, graph.number(stride)), graph.number(kernel - stride))
        return frames


def _statistics(graph: Graph, x: str, frames: str, *, channels: int) -> tuple[str, str]:
    """Mean and reciprocal deviation, [B, 1, 1], of `x` [B, F, channels] over the first `frames` [B, 1] of each row."""
    length = graph.op("Gather", graph.op("Shape", x), graph.integer(1))
    places = graph.op("Cast", graph.op("Range", graph.integer(0), length, graph.integer(1)), to=FLOAT)
    share = graph.op("Div", graph.number(1 / channels), frames)
    weights = graph.op("Mul", graph.op("Cast", graph.op("Less", places, frames), to=FLOAT), share)

    def average(values: str) -> str:
        by_frame = graph.op("ReduceSum", values, graph.integers(2), keepdims=0)
        mean = graph.op("ReduceSum", graph.op("Mul", by_frame, weights), graph.integers(1), keepdims=1)
        return graph.op("Unsqueeze", mean, graph.integers(2))

    mean = average(x)
    variance = graph.op("Sub", average(graph.op("Mul", x, x)), graph.op("Mul", mean, mean))
    above_zero = graph.op("Add", graph.op("Max", variance, graph.number(0)), graph.number(_EPSILON))
    return mean, graph.op("Reciprocal", graph.op("Sqrt", above_zero))
