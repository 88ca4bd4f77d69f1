"""Whisper's weights in; its encoder and decoder as ONNX graphs out, in the shape that the backend expects.

Two things differ from the original (Radford et al., 2022; openai/whisper, `model.py`):

* The encoder computes the positions that it is given, not always 1500. A position may stand for several equal ones,
  such as the silence that the model was trained to see up to 30 s: its key gets the log of their number added to its
  scores (proportional attention: Bolya et al., Token Merging, 2023, section 3.3). The number rides in an extra
  dimension of the keys, so that the fused attention needs no mask of the size positions x positions.
* The encoder also projects the keys and values that the decoder's cross-attention reads, once.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from model_store.convert.graph import FLOAT, INT32, INT64, Graph, Shape, Stored
from model_store.convert.matrix import joined
from model_store.convert.parameters import Form, Parameters
from model_store.convert.whisper_source import HEAD_SIZE, WhisperSource

_EPSILON = 1e-5
_EXTRA = 8
"""Dimensions added to a head for the log-weight: one would do, eight keep the rows aligned."""


def encoder_graph(source: WhisperSource, form: Form, stored: Mapping[str, Stored] | None = None) -> onnx.ModelProto:
    """Features [B, bins, F], frames [B, T], positions [B, T], log_weights [B, T] -> cross_k_i, cross_v_i."""
    graph = Graph("encoder", stored)
    model = Parameters(graph, source.weights, form)
    encoder = model.below("encoder")
    x = graph.input("features", FLOAT, ["B", source.config.mel_bins, "F"])
    frames = graph.input("frames", INT64, ["B", "T"])
    positions = graph.input("positions", INT64, ["B", "T"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = graph.op("Gelu", _convolved(encoder.below(name), x, stride))
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    x = graph.op("GatherND", x, graph.op("Unsqueeze", frames, graph.integers(2)), batch_dims=1)
    x = graph.op("Add", x, graph.op("Gather", encoder.constant("embed_positions.weight"), positions))
    widen = _Widening(graph, log_weights, x)
    for index in range(source.encoder_layers):
        x = _encoder_layer(x, encoder.below(f"layers.{index}"), widen)
    x = _norm(x, encoder, "layer_norm")
    for index in range(source.decoder_layers):
        _cross_memory(x, model.below(f"decoder.layers.{index}.encoder_attn"), index)
    return graph.model()


def decoder_graph(source: WhisperSource, form: Form, stored: Mapping[str, Stored] | None = None) -> onnx.ModelProto:
    """One step for B rows of S tokens each; `past` [B] is the number of tokens in each row's cache.

    The caches self_k_i and self_v_i [B, heads, positions, head size] are bound to the same memory as their outputs, so
    that a step writes its own tokens and copies nothing. `wanted` [W] are the token indices whose logits are given.
    """
    graph, config = Graph("decoder", stored), source.config
    decoder = Parameters(graph, source.weights, form).below("decoder")
    tokens = graph.input("tokens", INT64, ["B", "S"])
    past = graph.input("past", INT64, ["B"])
    wanted = graph.input("wanted", INT64, ["W"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    steps = _Steps(graph, tokens, past, longest=config.max_positions)
    embedding = decoder.embedding("embed_tokens.weight")
    places = graph.op("Gather", decoder.constant("embed_positions.weight"), steps.positions)
    x = graph.op("Add", embedding.look_up(tokens), places)
    mask = graph.op("Unsqueeze", log_weights, graph.integers(1, 2))
    attention = []
    for index in range(source.decoder_layers):
        x, scores = _DecoderLayer(decoder.below(f"layers.{index}"), index, steps, mask).add(x)
        heads = [head for at, head in config.alignment_heads if at == index]
        if heads:
            attention.append(graph.op("Gather", scores, graph.integers(*heads), axis=1))
    x = graph.op("Gather", x, wanted, axis=1)
    x = _norm(x, decoder, "layer_norm")
    graph.output("logits", embedding.logits(x), FLOAT, ["B", "W", config.vocabulary])
    graph.output(
        "attention", graph.op("Concat", *attention, axis=1), FLOAT, ["B", len(config.alignment_heads), "S", "T"]
    )
    return graph.model()


def _convolved(convolution: Parameters, x: str, stride: int) -> str:
    """A convolution, or where a student has one of each, one by channel and one across channels."""
    graph, groups, name = convolution.graph, 1, "weight"
    if name not in convolution:
        name = "depthwise.weight"
        groups = len(convolution[name])
    inputs = [x, convolution.constant(name)]
    if groups == 1:
        inputs.append(graph.constant(convolution["bias"]))
        return graph.op("Conv", *inputs, kernel_shape=[3], pads=[1, 1], strides=[stride])
    x = graph.op("Conv", *inputs, kernel_shape=[3], pads=[1, 1], strides=[stride], group=groups)
    across = convolution.constant("pointwise.weight")
    return graph.op("Conv", x, across, graph.constant(convolution["bias"]), kernel_shape=[1])


class _Widening:
    """Widens queries by a one and keys by the log-weight, so that their product gains the log-weight."""

    def __init__(self, graph: Graph, log_weights: str, x: str) -> None:
        self.graph = graph
        self._sizes = graph.op("Slice", graph.op("Shape", x), graph.integers(0), graph.integers(2))
        self._per_key = graph.op("Unsqueeze", log_weights, graph.integers(2, 3))
        self._extra: dict[int, tuple[str, str]] = {}

    def attend(self, query: str, key: str, value: str, *, heads: int) -> str:
        if heads not in self._extra:
            self._extra[heads] = self._made(heads)
        ones, log_weights = self._extra[heads]
        return self.graph.contrib(
            "MultiHeadAttention",
            self._widened(query, ones, heads),
            self._widened(key, log_weights, heads),
            value,
            num_heads=heads,
            scale=float(HEAD_SIZE**-0.5),
        )

    def _made(self, heads: int) -> tuple[str, str]:
        """What queries and keys of so many heads are widened by; layers may differ in their number."""
        graph = self.graph
        shape = graph.op("Concat", self._sizes, graph.integers(heads, _EXTRA), axis=0)
        first = np.zeros((1, 1, 1, _EXTRA), np.float32)
        first[..., 0] = 1
        # The attention scales every product by HEAD_SIZE ** -0.5: the one is scaled the other way.
        ones = graph.op("Expand", graph.constant(first * HEAD_SIZE**0.5), shape)
        return ones, graph.op("Expand", graph.op("Mul", self._per_key, graph.constant(first)), shape)

    def _widened(self, x: str, extra: str, heads: int) -> str:
        graph = self.graph
        split = graph.op("Reshape", x, graph.integers(0, 0, heads, HEAD_SIZE))
        joined = graph.op("Concat", split, extra, axis=-1)
        return graph.op("Reshape", joined, graph.integers(0, 0, heads * (HEAD_SIZE + _EXTRA)))


def _encoder_layer(x: str, layer: Parameters, widen: _Widening) -> str:
    graph, attention = layer.graph, layer.below("self_attn")
    h = _norm(x, layer, "self_attn_layer_norm")
    query, key, value = (attention.linear(h, f"{name}_proj") for name in "qkv")
    h = widen.attend(query, key, value, heads=_head_count(attention))
    return _feed_forward(graph.op("Add", x, attention.linear(h, "out_proj")), layer)


def _cross_memory(x: str, attention: Parameters, index: int) -> None:
    """Keys as [B, heads, size, T], so that a step's product runs along T; values as [B, heads, T, size]."""
    graph, heads = attention.graph, _head_count(attention)
    keys = _heads(graph, attention.linear(x, "k_proj"), heads, perm=[0, 2, 3, 1])
    values = _heads(graph, attention.linear(x, "v_proj"), heads)
    graph.output(f"cross_k_{index}", keys, FLOAT, ["B", heads, HEAD_SIZE, "T"])
    graph.output(f"cross_v_{index}", values, FLOAT, ["B", heads, "T", HEAD_SIZE])


class _Steps:
    """Positions and lengths of the tokens of this step, shared by all layers."""

    def __init__(self, graph: Graph, tokens: str, past: str, *, longest: int) -> None:
        count = graph.op("Slice", graph.op("Shape", tokens), graph.integers(1), graph.integers(2))
        offsets = graph.op("Range", graph.integer(0), graph.op("Squeeze", count), graph.integer(1))
        self.positions = graph.op("Add", graph.op("Unsqueeze", past, graph.integers(1)), offsets)
        total = graph.op("Add", past, count)
        self.last = graph.op("Cast", graph.op("Sub", total, graph.integer(1)), to=INT32)
        self.longest = graph.op("Cast", graph.op("ReduceMax", total, keepdims=0), to=INT32)
        self.most = longest


class _DecoderLayer:
    def __init__(self, layer: Parameters, index: int, steps: _Steps, mask: str) -> None:
        self.graph, self.layer, self.index, self.steps, self.mask = layer.graph, layer, index, steps, mask

    def add(self, x: str) -> tuple[str, str]:
        """The layer's output and its cross-attention, softmaxed, [B, heads, S, T]."""
        graph, layer = self.graph, self.layer
        h = self._self_attention(_norm(x, layer, "self_attn_layer_norm"), layer.below("self_attn"))
        x = graph.op("Add", x, h)
        h, scores = self._cross_attention(_norm(x, layer, "encoder_attn_layer_norm"), layer.below("encoder_attn"))
        return _feed_forward(graph.op("Add", x, h), layer), scores

    def _self_attention(self, x: str, attention: Parameters) -> str:
        graph, index, heads = self.graph, self.index, _head_count(attention)
        shape: Shape = ["B", heads, self.steps.most, HEAD_SIZE]
        caches = [graph.input(f"self_{kind}_{index}", FLOAT, shape) for kind in "kv"]
        no_key_bias = np.zeros_like(attention["q_proj.bias"])
        bias = np.concatenate([attention["q_proj.bias"], no_key_bias, attention["v_proj.bias"]])
        packed = attention.product(x, joined([attention.matrix(f"{name}_proj.weight") for name in "qkv"]), bias)
        results = (f"attended_{index}", f"self_k_{index}_out", f"self_v_{index}_out")
        attended, *written = graph.op_n(
            "GroupQueryAttention",
            packed,
            None,
            None,
            *caches,
            self.steps.last,
            self.steps.longest,
            results=results,
            domain="com.microsoft",
            num_heads=heads,
            kv_num_heads=heads,
            scale=float(HEAD_SIZE**-0.5),
        )
        for name in written:
            graph.output(name, name, FLOAT, shape)
        return attention.linear(attended, "out_proj")

    def _cross_attention(self, x: str, attention: Parameters) -> tuple[str, str]:
        graph, index, heads = self.graph, self.index, _head_count(attention)
        keys = graph.input(f"cross_k_{index}", FLOAT, ["B", heads, HEAD_SIZE, "T"])
        values = graph.input(f"cross_v_{index}", FLOAT, ["B", heads, "T", HEAD_SIZE])
        scale = np.array(HEAD_SIZE**-0.5, np.float32)
        query = attention.product(x, attention.matrix("q_proj.weight").scaled(scale), attention["q_proj.bias"] * scale)
        scores = graph.op("MatMul", _heads(graph, query, heads), keys)
        scores = graph.op("Softmax", graph.op("Add", scores, self.mask), axis=-1)
        mixed = graph.op("Transpose", graph.op("MatMul", scores, values), perm=[0, 2, 1, 3])
        mixed = graph.op("Reshape", mixed, graph.integers(0, 0, heads * HEAD_SIZE))
        return attention.linear(mixed, "out_proj"), scores


def _head_count(attention: Parameters) -> int:
    """Of this very attention: pruned layers have fewer than others."""
    return len(attention["q_proj.weight"]) // HEAD_SIZE


def _heads(graph: Graph, x: str, heads: int, perm: list[int] | None = None) -> str:
    """[B, T, heads * size] -> [B, heads, T, size] unless `perm` says otherwise."""
    split = graph.op("Reshape", x, graph.integers(0, 0, heads, HEAD_SIZE))
    return graph.op("Transpose", split, perm=perm or [0, 2, 1, 3])


def _norm(x: str, layer: Parameters, name: str) -> str:
    graph = layer.graph
    scale, bias = graph.constant(layer[f"{name}.weight"]), graph.constant(layer[f"{name}.bias"])
    return graph.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=_EPSILON)


def _feed_forward(x: str, layer: Parameters) -> str:
    graph = layer.graph
    h = graph.op("Gelu", layer.linear(_norm(x, layer, "final_layer_norm"), "fc1"))
    return graph.op("Add", x, layer.linear(h, "fc2"))
