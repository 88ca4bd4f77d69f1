"""A variant's encoder.onnx in; an encoder on OpenVINO's CPU plugin out. Its decoder stays on onnxruntime.

OpenVINO reads the same graphs, computes in bfloat16 what is left in floats where the processor can, and has the faster
products of static INT8 (docs/benchmarks.md, "OpenVINO"). But it compiles its kernels anew for each length, which takes
about as long as encoding: so each row is padded to one of few lengths, always the same for the same row.
"""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov

from service.backends.base import MASKED, EncoderBatch
from service.backends.onnx import OnnxMemory, Sizes

STEP = 64
"""Positions that lengths are a multiple of: a Whisper window has one of 21 lengths, and 4 % more positions."""

_FRAMES = 2
"""Feature frames a position."""


class OpenVinoEncoder:
    """See `service.backends.onnx.Encoder`."""

    def __init__(self, path: Path, *, threads: int, streams: int = 1, exact: bool = False) -> None:
        """Load an encoder.

        Args:
            path: of its graph.
            threads: that an encoding may use.
            streams: encodings at a time; more wait for each other.
            exact: compute in float32 even where the processor has bfloat16.

        Raises:
            ValueError: it is no Whisper encoder.
        """
        settings: dict[str, str | int | bool] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads * streams,
            "ENABLE_CPU_PINNING": False,  # the cores are shared with decoders, and with other processes
        }
        if exact:
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        self._model = ov.Core().compile_model(path, "CPU", settings)
        self._inputs = [node.any_name for node in self._model.inputs]
        if "frames" not in self._inputs:
            # OpenVINO 2026.4 computes RotaryEmbedding as Moonshine uses it wrongly: two thirds of it is error.
            raise ValueError("only Whisper's encoder runs on OpenVINO")
        self._own = threading.local()

    def encode(self, row: EncoderBatch, sizes: Sizes) -> OnnxMemory:
        row = _padded(row)
        memory, request = OnnxMemory.empty(sizes, row.log_weights), self._request()
        for name in self._inputs:
            request.set_tensor(name, ov.Tensor(np.ascontiguousarray(getattr(row, name)), shared_memory=True))
        for name, array in memory.named():
            request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        request.infer()
        return memory

    def _request(self) -> ov.InferRequest:
        """The thread's own: what a request has made ready for a length, it keeps."""
        if not hasattr(self._own, "request"):
            self._own.request = self._model.create_infer_request()
        request: ov.InferRequest = self._own.request
        return request


def _padded(row: EncoderBatch) -> EncoderBatch:
    """Positions that weigh nothing behind the row's own, and frames that no position looks at."""
    more = -row.log_weights.shape[1] % STEP
    after = ((0, 0), (0, more))
    return replace(
        row,
        features=np.pad(row.features, ((0, 0), (0, 0), (0, _frames_more(row)))),
        frames=np.pad(row.frames, after),
        positions=np.pad(row.positions, after),
        log_weights=np.pad(row.log_weights, after, constant_values=MASKED),
    )


def _frames_more(row: EncoderBatch) -> int:
    """None where the last position looks at the end of the frames: with more behind, it would look at those."""
    frames = row.features.shape[2]
    return 0 if row.frames.max() > frames // _FRAMES - 2 else -frames % (_FRAMES * STEP)
