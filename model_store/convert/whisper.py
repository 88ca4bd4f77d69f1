"""Whisper's weights in; its encoder and decoder as ONNX graphs out, in the shape that the backend expects.

Two things differ from the original (Radford et al., 2022; openai/whisper, `model.py`):

* The encoder computes the positions that it is given, not always 1500. A position may stand for several equal ones,
  such as the silence that the model was trained to see up to 30 s: its key gets the log of their number added to its
  scores (proportional attention: Bolya et al., Token Merging, 2023, section 3.3). The number rides in an extra
  dimension of the keys, so that the fused attention needs no mask of the size positions x positions.
* The encoder also projects the keys and values that the decoder's cross-attention reads, once.
"""

import numpy as np
import onnx

from model_store.convert.arithmetic import Arithmetic, Linear
from model_store.convert.graph import FLOAT, INT32, INT64, Graph, Shape
from model_store.convert.weights import Weights
from model_store.convert.whisper_source import WhisperSource

_EPSILON = 1e-5
_EXTRA = 8
"""Dimensions added to a head for the log-weight: one would do, eight keep the rows aligned."""


def encoder_graph(source: WhisperSource, arithmetic: Arithmetic) -> onnx.ModelProto:
    """Features [B, bins, F], frames [B, T], positions [B, T], log_weights [B, T] -> cross_k_i, cross_v_i."""
    graph, heads, width, linear = Graph("encoder"), source.heads, source.width, arithmetic.linear
    weights = Weights(source.weights, "encoder")
    x = graph.input("features", FLOAT, ["B", source.config.mel_bins, "F"])
    frames = graph.input("frames", INT64, ["B", "T"])
    positions = graph.input("positions", INT64, ["B", "T"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    for name, stride in (("conv1", 1), ("conv2", 2)):
        kernel, bias = graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"])
        x = graph.op("Conv", x, kernel, bias, kernel_shape=[3], pads=[1, 1], strides=[stride])
        x = graph.op("Gelu", x)
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    x = graph.op("GatherND", x, graph.op("Unsqueeze", frames, graph.integers(2)), batch_dims=1)
    x = graph.op("Add", x, graph.op("Gather", graph.constant(weights["embed_positions.weight"]), positions))
    widen = _Widening(graph, log_weights, x, heads=heads, head_size=width // heads)
    for index in range(source.encoder_layers):
        x = _encoder_layer(graph, x, weights.below(f"layers.{index}"), linear, widen)
    x = _norm(graph, x, weights, "layer_norm")
    for index in range(source.decoder_layers):
        _cross_memory(graph, x, Weights(source.weights, f"decoder.layers.{index}.encoder_attn"), linear, index, heads)
    return graph.model()


def decoder_graph(source: WhisperSource, arithmetic: Arithmetic) -> onnx.ModelProto:
    """One step for B rows of S tokens each; `past` [B] is the number of tokens in each row's cache.

    The caches self_k_i and self_v_i [B, heads, positions, head size] are bound to the same memory as their outputs, so
    that a step writes its own tokens and copies nothing. `wanted` [W] are the token indices whose logits are given.
    """
    graph, weights, config = Graph("decoder"), Weights(source.weights, "decoder"), source.config
    tokens = graph.input("tokens", INT64, ["B", "S"])
    past = graph.input("past", INT64, ["B"])
    wanted = graph.input("wanted", INT64, ["W"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    steps = _Steps(graph, tokens, past)
    embedding = arithmetic.embedding(graph, weights["embed_tokens.weight"])
    places = graph.op("Gather", graph.constant(weights["embed_positions.weight"]), steps.positions)
    x = graph.op("Add", embedding.look_up(tokens), places)
    mask = graph.op("Unsqueeze", log_weights, graph.integers(1, 2))
    layer = _DecoderLayer(graph, source, arithmetic.step_linear, steps, mask)
    attention = []
    for index in range(source.decoder_layers):
        x, scores = layer.add(x, index)
        heads = [head for at, head in config.alignment_heads if at == index]
        if heads:
            attention.append(graph.op("Gather", scores, graph.integers(*heads), axis=1))
    x = graph.op("Gather", x, wanted, axis=1)
    x = _norm(graph, x, weights, "layer_norm")
    graph.output("logits", embedding.logits(x), FLOAT, ["B", "W", config.vocabulary])
    graph.output(
        "attention", graph.op("Concat", *attention, axis=1), FLOAT, ["B", len(config.alignment_heads), "S", "T"]
    )
    return graph.model()


class _Widening:
    """Widens queries by a one and keys by the log-weight, so that their product gains the log-weight."""

    def __init__(self, graph: Graph, log_weights: str, x: str, *, heads: int, head_size: int) -> None:
        self.graph, self.heads, self.head_size = graph, heads, head_size
        sizes = graph.op("Slice", graph.op("Shape", x), graph.integers(0), graph.integers(2))
        shape = graph.op("Concat", sizes, graph.integers(heads, _EXTRA), axis=0)
        first = np.zeros((1, 1, 1, _EXTRA), np.float32)
        first[..., 0] = 1
        # The attention scales every product by head_size ** -0.5: the one is scaled the other way.
        self._ones = graph.op("Expand", graph.constant(first * head_size**0.5), shape)
        per_key = graph.op("Unsqueeze", log_weights, graph.integers(2, 3))
        self._log_weights = graph.op("Expand", graph.op("Mul", per_key, graph.constant(first)), shape)

    def attend(self, query: str, key: str, value: str) -> str:
        return self.graph.contrib(
            "MultiHeadAttention",
            self._widened(query, self._ones),
            self._widened(key, self._log_weights),
            value,
            num_heads=self.heads,
            scale=float(self.head_size**-0.5),
        )

    def _widened(self, x: str, extra: str) -> str:
        graph = self.graph
        split = graph.op("Reshape", x, graph.integers(0, 0, self.heads, self.head_size))
        joined = graph.op("Concat", split, extra, axis=-1)
        return graph.op("Reshape", joined, graph.integers(0, 0, self.heads * (self.head_size + _EXTRA)))


def _encoder_layer(graph: Graph, x: str, weights: Weights, linear: Linear, widen: _Widening) -> str:
    attention = weights.below("self_attn")
    h = _norm(graph, x, weights, "self_attn_layer_norm")
    h = widen.attend(
        linear(graph, h, attention["q_proj.weight"], attention["q_proj.bias"]),
        linear(graph, h, attention["k_proj.weight"], None),
        linear(graph, h, attention["v_proj.weight"], attention["v_proj.bias"]),
    )
    x = graph.op("Add", x, linear(graph, h, attention["out_proj.weight"], attention["out_proj.bias"]))
    return _feed_forward(graph, x, weights, linear)


def _cross_memory(graph: Graph, x: str, weights: Weights, linear: Linear, index: int, heads: int) -> None:
    """Keys as [B, heads, size, T], so that a step's product runs along T; values as [B, heads, T, size]."""
    size = len(weights["k_proj.weight"]) // heads
    keys = _heads(graph, linear(graph, x, weights["k_proj.weight"], None), heads, size, perm=[0, 2, 3, 1])
    values = linear(graph, x, weights["v_proj.weight"], weights["v_proj.bias"])
    graph.output(f"cross_k_{index}", keys, FLOAT, ["B", heads, size, "T"])
    graph.output(f"cross_v_{index}", _heads(graph, values, heads, size), FLOAT, ["B", heads, "T", size])


class _Steps:
    """Positions and lengths of the tokens of this step, shared by all layers."""

    def __init__(self, graph: Graph, tokens: str, past: str) -> None:
        count = graph.op("Slice", graph.op("Shape", tokens), graph.integers(1), graph.integers(2))
        offsets = graph.op("Range", graph.integer(0), graph.op("Squeeze", count), graph.integer(1))
        self.positions = graph.op("Add", graph.op("Unsqueeze", past, graph.integers(1)), offsets)
        total = graph.op("Add", past, count)
        self.last = graph.op("Cast", graph.op("Sub", total, graph.integer(1)), to=INT32)
        self.longest = graph.op("Cast", graph.op("ReduceMax", total, keepdims=0), to=INT32)


class _DecoderLayer:
    def __init__(self, graph: Graph, source: WhisperSource, linear: Linear, steps: _Steps, mask: str) -> None:
        self.graph, self.source, self.linear, self.steps, self.mask = graph, source, linear, steps, mask
        self.heads, self.size = source.heads, source.width // source.heads

    def add(self, x: str, index: int) -> tuple[str, str]:
        """The layer's output and its cross-attention, softmaxed, [B, heads, S, T]."""
        graph = self.graph
        weights = Weights(self.source.weights, f"decoder.layers.{index}")
        h = self._self_attention(_norm(graph, x, weights, "self_attn_layer_norm"), weights.below("self_attn"), index)
        x = graph.op("Add", x, h)
        cross = weights.below("encoder_attn")
        h, scores = self._cross_attention(_norm(graph, x, weights, "encoder_attn_layer_norm"), cross, index)
        x = graph.op("Add", x, h)
        return _feed_forward(graph, x, weights, self.linear), scores

    def _self_attention(self, x: str, weights: Weights, index: int) -> str:
        graph = self.graph
        shape: Shape = ["B", self.heads, self.source.config.max_positions, self.size]
        caches = [graph.input(f"self_{kind}_{index}", FLOAT, shape) for kind in "kv"]
        joined = np.concatenate([weights[f"{name}_proj.weight"] for name in "qkv"])
        no_key_bias = np.zeros_like(weights["q_proj.bias"])
        bias = np.concatenate([weights["q_proj.bias"], no_key_bias, weights["v_proj.bias"]])
        packed = self.linear(graph, x, joined, bias)
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
            num_heads=self.heads,
            kv_num_heads=self.heads,
            scale=float(self.size**-0.5),
        )
        for name in written:
            graph.output(name, name, FLOAT, shape)
        return self.linear(graph, attended, weights["out_proj.weight"], weights["out_proj.bias"])

    def _cross_attention(self, x: str, weights: Weights, index: int) -> tuple[str, str]:
        graph, heads, size = self.graph, self.heads, self.size
        keys = graph.input(f"cross_k_{index}", FLOAT, ["B", heads, size, "T"])
        values = graph.input(f"cross_v_{index}", FLOAT, ["B", heads, "T", size])
        scale = np.float32(size**-0.5)
        query = self.linear(graph, x, weights["q_proj.weight"] * scale, weights["q_proj.bias"] * scale)
        scores = graph.op("MatMul", _heads(graph, query, heads, size), keys)
        scores = graph.op("Softmax", graph.op("Add", scores, self.mask), axis=-1)
        mixed = graph.op("Transpose", graph.op("MatMul", scores, values), perm=[0, 2, 1, 3])
        mixed = graph.op("Reshape", mixed, graph.integers(0, 0, heads * size))
        return self.linear(graph, mixed, weights["out_proj.weight"], weights["out_proj.bias"]), scores


def _heads(graph: Graph, x: str, heads: int, size: int, perm: list[int] | None = None) -> str:
    """[B, T, heads * size] -> [B, heads, T, size] unless `perm` says otherwise."""
    split = graph.op("Reshape", x, graph.integers(0, 0, heads, size))
    return graph.op("Transpose", split, perm=perm or [0, 2, 1, 3])


def _norm(graph: Graph, x: str, weights: Weights, name: str) -> str:
    scale, bias = graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"])
    return graph.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=_EPSILON)


def _feed_forward(graph: Graph, x: str, weights: Weights, linear: Linear) -> str:
    h = _norm(graph, x, weights, "final_layer_norm")
    h = graph.op("Gelu", linear(graph, h, weights["fc1.weight"], weights["fc1.bias"]))
    return graph.op("Add", x, linear(graph, h, weights["fc2.weight"], weights["fc2.bias"]))
