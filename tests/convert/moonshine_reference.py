"""The makers' own Moonshine graphs, as they are and with their quantisation taken out, to compare ours with."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

from model_store.convert.graph import Array, Floats
from model_store.convert.moonshine_ort import load

LAYERS, HEADS, HEAD_SIZE = 6, 8, 36
START = 1
SAMPLES_A_POSITION, CONTEXT = 384, 511


class Reference:
    """Called as moonshine_onnx calls it (its `model.py`), a row at a time."""

    def __init__(self, folder: Path, arithmetic: Literal["quantised", "float"]) -> None:
        paths = (folder / "encoder_model.ort", folder / "decoder_model_merged.ort")
        self._encoder, self._decoder = (
            _session(path.read_bytes() if arithmetic == "quantised" else without_quantisation(path)) for path in paths
        )
        self._memory: Floats = np.empty(0, np.float32)
        self._past: dict[str, Floats] = {}

    def encode(self, samples: Floats) -> Floats:
        """[positions, width]."""
        row = samples[None]
        outputs = self._encoder.run(None, {"input_values": row, "attention_mask": np.ones(row.shape, np.int64)})
        return np.asarray(outputs[0][0], np.float32)

    def begin(self, memory: Floats) -> None:
        self._memory, empty = memory[None], np.empty((1, HEADS, 0, HEAD_SIZE), np.float32)
        self._past = {
            f"past_key_values.{layer}.{side}.{kind}": empty
            for layer in range(LAYERS)
            for side in ("decoder", "encoder")
            for kind in ("key", "value")
        }

    def step(self, token: int) -> Floats:
        """[vocabulary]: the logits behind the token."""
        begun = self._past["past_key_values.0.decoder.key"].shape[2] > 0
        samples = self._memory.shape[1] * SAMPLES_A_POSITION + CONTEXT
        feeds: Mapping[str, Array] = {
            "input_ids": np.array([[token]]),
            "encoder_hidden_states": self._memory,
            "encoder_attention_mask": np.ones((1, samples), np.int64),
            "use_cache_branch": np.array([begun]),
            **self._past,
        }
        logits, *present = self._decoder.run(None, feeds)
        for name, value in zip(self._past, present, strict=True):
            if not begun or ".decoder." in name:
                self._past[name] = value
        return np.asarray(logits[0, -1], np.float32)

    def cross(self) -> Iterator[Floats]:
        """k0, v0, k1, …: what cross-attention reads, [heads, positions, size], after the first step."""
        for name, value in self._past.items():
            if ".encoder." in name:
                yield value[0]


def without_quantisation(path: Path) -> bytes:
    """The model with every integer product, in its branches too, made one of floats with the same weights."""
    model = load(path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    floats: dict[str, Floats] = {}
    _rewrite(model.graph, constants, floats)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in floats.items())
    return bytes(model.SerializeToString())


def _rewrite(graph: onnx.GraphProto, constants: Mapping[str, Array], floats: dict[str, Floats]) -> None:
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                attribute.g.name = attribute.name
                _rewrite(attribute.g, constants, floats)
        if node.op_type == "DynamicQuantizeLinear":
            nodes.append(helper.make_node("Identity", node.input[:1], node.output[:1]))
        elif node.op_type == "MatMulIntegerToFloat":
            nodes += _product(node, zero=node.input[5], scale=node.input[3], constants=constants, floats=floats)
        elif node.op_type == "DynamicQuantizeMatMul":
            nodes += _product(node, zero=node.input[3], scale=node.input[2], constants=constants, floats=floats)
        else:
            nodes.append(node)
    del graph.value_info[:]  # they tell the types of before
    del graph.node[:]
    graph.node.extend(nodes)


def _product(
    node: onnx.NodeProto, *, zero: str, scale: str, constants: Mapping[str, Array], floats: dict[str, Floats]
) -> Iterator[onnx.NodeProto]:
    x, weight, output = node.input[0], node.input[1], node.output[0]
    integers = constants[weight].astype(np.int32) - constants[zero].astype(np.int32)
    floats[f"{weight}_float"] = (integers * constants[scale].astype(np.float64)).astype(np.float32)
    bias = node.input[4] if node.op_type == "DynamicQuantizeMatMul" else ""
    yield helper.make_node("MatMul", [x, f"{weight}_float"], [f"{output}_product" if bias else output])
    if bias:
        yield helper.make_node("Add", [f"{output}_product", bias], [output])


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # names of a rewritten graph that nothing reads any more
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
