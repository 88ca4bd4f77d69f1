"""Which execution providers of onnxruntime work here: each multiplies a small matrix, for being listed says little."""

import time
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

SIZE = 64
CPU = "CPUExecutionProvider"
REMOTE = frozenset({"AzureExecutionProvider"})
"""Listed in every build; it calls a service and computes nothing here."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A provider, and why it does not work (empty: it does)."""

    provider: str
    run_ms: float = 0.0
    failure: str = ""


def probe_providers() -> tuple[Probe, ...]:
    """One for each provider that this build of onnxruntime has."""
    model = _multiplication()
    return tuple(_probe(name, model) for name in ort.get_available_providers() if name not in REMOTE)


def _probe(provider: str, model: bytes) -> Probe:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # the failure is reported here, not on standard error
    options.intra_op_num_threads = 1
    matrix = np.eye(SIZE, dtype=np.float32)
    try:
        session = ort.InferenceSession(model, options, providers=[provider])
        if session.get_providers()[0] != provider:
            return Probe(provider, failure="onnxruntime cannot load it and falls back to the CPU")
        session.run(None, {"x": matrix})
        started = time.perf_counter()
        (product,) = session.run(None, {"x": matrix})
        run_ms = (time.perf_counter() - started) * 1000
    except Exception as error:  # onnxruntime's errors share no other class
        return Probe(provider, failure=str(error).splitlines()[0][:200])
    if not np.array_equal(product, matrix):
        return Probe(provider, failure="it computes a wrong product")
    return Probe(provider, run_ms)


def _multiplication() -> bytes:
    """A model that multiplies its input with itself."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [SIZE, SIZE]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "probe", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
