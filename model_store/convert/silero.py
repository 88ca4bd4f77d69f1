"""Silero's sequence graph in; the same network as matrix products out, with the same inputs, in a third of the time.

The shipped graph runs four small convolutions over the four spectral frames of each chunk, chunks as the batch, and
onnxruntime spends its time on moving data. A chunk always has four frames, so each convolution is one matrix, and so is
the short-time Fourier transform: the whole block of chunks goes through six products, then the LSTM.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from model_store.convert import Built, Report, SourceFormat
from model_store.convert.graph import FLOAT, Floats, Graph
from model_store.errors import ConversionError

SOURCE_NAME = "silero_vad_16k_sequence.onnx"
FILE_NAME = "vad.onnx"

CHUNK = 512 + 64
"""Samples a row of the input: the chunk behind 64 samples of context."""

FRAME, HOP = 256, 128
"""Window and step of the transform; the end of a chunk is mirrored to fill the last frame."""

STARTS = range(0, CHUNK - HOP, HOP)
"""Where the four frames of a chunk begin."""

BINS = FRAME // 2 + 1

STRIDES = (1, 2, 2, 1)
"""Of the four convolutions, kernel 3, padding 1."""

STATE = 128


class Weights(NamedTuple):
    """What the network learned. `convolutions` and `output` are weight and bias; `lstm` is the node's W, R and B."""

    basis: Floats
    convolutions: tuple[tuple[Floats, Floats], ...]
    lstm: tuple[Floats, Floats, Floats]
    output: tuple[Floats, Floats]


def build(source_format: SourceFormat, source: Path, target: Path, *, report: Report) -> tuple[Built, ...]:
    """Write `original`, the graph as it came, and `fp32`, the fast one, as `vad.onnx` each.

    Raises:
        ConversionError: the file is missing, or not the 16 kHz sequence graph of Silero VAD v6.
    """
    report(f"{source_format}: dense convolutions")
    came = source / SOURCE_NAME
    model = dense(read_weights(came))
    for variant in ("original", "fp32"):
        (target / variant).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(came, target / "original" / FILE_NAME)
    onnx.save(model, target / "fp32" / FILE_NAME)
    return (
        Built(variant="original", precision="fp32", runtime="onnxruntime", parent=None, recipe="as it came"),
        Built(variant="fp32", precision="fp32", runtime="onnxruntime", parent="original", recipe="dense convolutions"),
    )


def read_weights(path: Path) -> Weights:
    """The weights of the shipped graph, by the names of its export; the LSTM's have none and come from its node.

    Raises:
        ConversionError: it is another graph, or none.
    """
    try:
        graph = onnx.load(path).graph
        named = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        lstm = next(node for node in graph.node if node.op_type == "LSTM")
        return Weights(
            basis=named["stft.forward_basis_buffer"][:, 0],
            convolutions=tuple((named[f"encoder.{i}.weight"], named[f"encoder.{i}.bias"]) for i in range(len(STRIDES))),
            lstm=(named[lstm.input[1]], named[lstm.input[2]], named[lstm.input[3]]),
            output=(named["output.weight"][0], named["output.bias"]),
        )
    except (DecodeError, KeyError, OSError, StopIteration) as error:
        raise ConversionError(path, f"it is not Silero's 16 kHz sequence graph ({error!r})") from error


def dense(weights: Weights) -> onnx.ModelProto:
    """The graph: chunks [n, 576] with the LSTM's state in, probabilities [n] with its state out."""
    graph = Graph("silero-vad")
    chunks = graph.input("input", FLOAT, ["chunks", CHUNK])
    state = [graph.input(name, FLOAT, [1, 1, STATE]) for name in ("h", "c")]
    layer = _magnitudes(graph, _frames(graph, chunks), weights.basis)
    frames = len(STARTS)
    for (weight, bias), stride in zip(weights.convolutions, STRIDES, strict=True):
        matrix = convolution_matrix(weight, frames=frames, stride=stride)
        frames = -(-frames // stride)
        product = graph.op("Gemm", layer, graph.constant(matrix), graph.constant(np.tile(bias, frames)))
        layer = graph.op("Relu", product)
    _decode(graph, layer, state, weights)
    model = graph.model()
    onnx.checker.check_model(model)
    return model


def convolution_matrix(weight: Floats, *, frames: int, stride: int) -> Floats:
    """A convolution over `frames` frames (kernel 3, padding 1) as a matrix, [frames * channels, frames * channels].

    `weight` is [channels out, channels in, 3]; rows and columns go frame by frame.
    """
    channels_out, channels_in, _ = weight.shape
    matrix = np.zeros((frames, channels_in, -(-frames // stride), channels_out), np.float32)
    for column in range(matrix.shape[2]):
        for tap in range(3):
            row = column * stride + tap - 1
            if 0 <= row < frames:
                matrix[row, :, column] = weight[:, :, tap].T
    return matrix.reshape(frames * channels_in, -1)


def _frames(graph: Graph, chunks: str) -> str:
    """Each chunk as four overlapping frames, the last one filled up by a mirror of the chunk: [4 n, 256]."""
    axis, forward, backward = graph.integers(1), graph.integers(1), graph.integers(-1)

    def cut(start: int, stop: int, step: str) -> str:
        return graph.op("Slice", chunks, graph.integers(start), graph.integers(stop), axis, step)

    mirror = STARTS[-1] + FRAME - CHUNK
    parts = [cut(start, min(start + FRAME, CHUNK), forward) for start in STARTS]
    parts.append(cut(CHUNK - 2, CHUNK - 2 - mirror, backward))
    return graph.op("Reshape", graph.op("Concat", *parts, axis=1), graph.integers(-1, FRAME))


def _magnitudes(graph: Graph, frames: str, basis: Floats) -> str:
    """The magnitudes of the spectrum, chunk by chunk: [n, 4 * 129]. The basis holds cosines, then sines."""
    squares = []
    for part in (basis[:BINS], basis[BINS:]):
        product = graph.op("MatMul", frames, graph.constant(part.T))
        squares.append(graph.op("Mul", product, product))
    magnitudes = graph.op("Sqrt", graph.op("Add", *squares))
    return graph.op("Reshape", magnitudes, graph.integers(-1, BINS * len(STARTS)))


def _decode(graph: Graph, layer: str, state: list[str], weights: Weights) -> None:
    steps = graph.op("Unsqueeze", layer, graph.integers(1))
    kernels = [graph.constant(kernel) for kernel in weights.lstm]
    walked = graph.op_n("LSTM", steps, *kernels, None, *state, results=("walked", "hn", "cn"), hidden_size=STATE)[0]
    layer = graph.op("Relu", graph.op("Reshape", walked, graph.integers(-1, STATE)))
    logits = graph.op("Gemm", layer, *(graph.constant(array) for array in weights.output))
    flat = graph.op("Reshape", graph.op("Sigmoid", logits), graph.integers(-1))
    graph.output("speech_probs", flat, FLOAT, ["chunks"])
    for name in ("hn", "cn"):
        graph.output(name, name, FLOAT, [1, 1, STATE])
