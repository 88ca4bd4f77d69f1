"""The two .ort files of the moonshine-voice wheel in; their weights, dequantised, by the names of transformers out.

The makers' export quantises every matrix of a linear layer to uint8 with one scale and zero point, and leaves the
convolutions in float32. Constants of linear layers have lost their names, so each is named by the node that reads it:
`/model/decoder/layers.0/mlp/fc1/Add_output_0` is the result of `decoder.layers.0.mlp.fc1`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from model_store.convert.graph import Array, Floats
from model_store.errors import ConversionError

_QUANTISED = "_quantized"
_PRODUCTS = ("MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_CACHE = "past_key_values.0.decoder.key"


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """`frequencies` are those of the rotary embedding: radians a position, for each pair of dimensions."""

    weights: Mapping[str, Floats]
    heads: int
    frequencies: Floats


def read_graphs(encoder: Path, decoder: Path) -> Read:
    """Reads both files.

    Raises:
        ConversionError: a file is not in onnxruntime's format, or not Moonshine's quantised export.
    """
    encoder_graph, decoder_graph = load(encoder).graph, load(decoder).graph
    weights = {f"encoder.{name}": array for name, array in _weights(encoder_graph).items()}
    for name, array in _weights(decoder_graph).items():
        weights[name.removeprefix("model.")] = array
    try:
        cache = next(value for value in decoder_graph.input if value.name == _CACHE)
        expand = next(node for node in encoder_graph.node if node.output[0] == "/rotary_emb/Expand_output_0")
        frequencies = _constants(encoder_graph)[expand.input[0]].astype(np.float32).ravel()
    except (StopIteration, KeyError) as error:
        raise ConversionError(encoder, "it is not the graph that Moonshine's makers export") from error
    return Read(weights, cache.type.tensor_type.shape.dim[1].dim_value, frequencies)


def load(path: Path) -> onnx.ModelProto:
    """An .ort file in ONNX's own form: onnxruntime writes it down again as it loads it, unchanged.

    Raises:
        ConversionError: onnxruntime cannot read it.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # what fails is raised
    options.add_session_config_entry("session.save_model_format", "ONNX")
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "model.onnx"
        options.optimized_model_filepath = str(copy)
        try:
            ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no other class
            raise ConversionError(path, f"onnxruntime cannot read it: {str(error).splitlines()[0][:200]}") from error
        return onnx.load(copy)


def _weights(graph: onnx.GraphProto) -> dict[str, Floats]:
    """All weights of a graph and its branches; matrices of linear layers as [out, in], as trained."""
    constants = _constants(graph)
    weights: dict[str, Floats] = {}
    for name, array in constants.items():
        plain = name.removesuffix("_add_tensor").removesuffix("_merged_0")
        if plain.endswith((".weight", ".bias")) and array.dtype == np.float32:
            weights[plain] = array.astype(np.float32)
        if name.endswith(f".weight_merged_0{_QUANTISED}"):
            weights[name.removesuffix(f"_merged_0{_QUANTISED}")] = _dequantised(constants, name)
    for node in _nodes(graph):
        layer = ".".join(node.output[0].strip("/").split("/")[:-1])
        if node.op_type in _PRODUCTS and layer and node.input[1].endswith(_QUANTISED):
            weights[f"{layer}.weight"] = _dequantised(constants, node.input[1]).T
        if layer == "groupnorm" and node.op_type in ("Mul", "Add"):
            weights[f"{layer}.{'weight' if node.op_type == 'Mul' else 'bias'}"] = (
                constants[node.input[1]].astype(np.float32).ravel()
            )
    return weights


def _dequantised(constants: Mapping[str, Array], name: str) -> Floats:
    stem = name.removesuffix(_QUANTISED)
    integers, scale, zero = (constants[key].astype(np.float32) for key in (name, f"{stem}_scale", f"{stem}_zero_point"))
    return (integers - zero) * scale


def _constants(graph: onnx.GraphProto) -> dict[str, Array]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the branches in it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)
