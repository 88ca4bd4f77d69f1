"""Small graphs and what onnxruntime makes of them."""

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort

from model_store.convert.graph import Floats, Graph
from model_store.convert.matrix import Matrix


def run(graph: Graph, **inputs: npt.NDArray[np.generic]) -> list[Floats]:
    model = graph.model()
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: list[Floats] = session.run(None, inputs)
    return found


def random(*shape: int, seed: int = 5) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def matrix(values: Floats, name: str = "layer.weight") -> Matrix:
    return Matrix.stored(name, values)
