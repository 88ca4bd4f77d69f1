"""Moonshine's weights in; its encoder and decoder as ONNX graphs out, in the shape that the backend expects.

What differs from the original (Jeffries et al., 2024; transformers, `modeling_moonshine.py`):

* Padding changes nothing: neither the attention nor the normalisation over the whole recording, which follows the first
  convolution, sees it. The normalisation is folded into the convolution behind it, so that only its two statistics are
  computed at full rate.
* Heads are padded with zeros to a size that onnxruntime's fused attention takes; a spare dimension of the keys holds
  the log-weights, so that the attention over the recording needs no mask of the size positions x positions.
* The encoder also projects the keys and values that the decoder's cross-attention reads, once.
"""

import numpy as np
import onnx

from model_store.convert.arithmetic import Arithmetic, Linear
from model_store.convert.graph import FLOAT, INT32, INT64, Floats, Graph
from model_store.convert.moonshine_convolutions import Convolutions
from model_store.convert.moonshine_source import MoonshineSource, Rotary
from model_store.convert.weights import Weights

_EPSILON = 1e-5
_SAMPLE_RATE = 16_000
_LONGEST_S = 64
"""Seconds that the encoder's angles cover: the most that the original takes (moonshine_onnx, `transcribe.py`)."""

_ENCODER_HEAD = 8
"""Heads of the encoder are padded to a multiple of this, and by one dimension at least."""

_DECODER_HEAD = 16
"""Heads of the decoder's cache are padded to a multiple of this: else the fused attention does not turn them."""


def encoder_graph(source: MoonshineSource, arithmetic: Arithmetic) -> onnx.ModelProto:
    """From features [B, samples] and log_weights [B, T] to cross_k_i and cross_v_i.

    T is what the convolutions make of the samples: a recording is padded to as many as its configuration says.
    """
    graph, linear, weights = Graph("encoder"), arithmetic.linear, Weights(source.weights, "encoder")
    features = graph.input("features", FLOAT, ["B", "samples"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    x = Convolutions(graph, weights).add(features, log_weights)
    attention = _EncoderAttention(graph, source, linear, log_weights)
    for index in range(source.encoder_layers):
        layer = weights.below(f"layers.{index}")
        h = attention.add(_norm(graph, x, layer["input_layernorm.weight"]), layer.below("self_attn"))
        x = graph.op("Add", x, h)
        h = _norm(graph, x, layer["post_attention_layernorm.weight"])
        h = graph.op("Gelu", linear(graph, h, layer["mlp.fc1.weight"], layer["mlp.fc1.bias"]))
        x = graph.op("Add", x, linear(graph, h, layer["mlp.fc2.weight"], layer["mlp.fc2.bias"]))
    x = _norm(graph, x, weights["layer_norm.weight"])
    for index in range(source.decoder_layers):
        cross = Weights(source.weights, f"decoder.layers.{index}.encoder_attn")
        _cross_memory(graph, x, cross, linear, index, source.decoder_heads)
    return graph.model()


def decoder_graph(source: MoonshineSource, arithmetic: Arithmetic) -> onnx.ModelProto:
    """One step for B rows of S tokens each; `past` [B] is the number of tokens in each row's cache.

    The caches self_k_i and self_v_i [B, heads, positions, padded head size] are bound to the same memory as their
    outputs, so that a step writes its own tokens and copies nothing. `wanted` [W] are the token indices whose logits
    are given.
    """
    graph, weights = Graph("decoder"), Weights(source.weights, "decoder")
    tokens = graph.input("tokens", INT64, ["B", "S"])
    past = graph.input("past", INT64, ["B"])
    wanted = graph.input("wanted", INT64, ["W"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    embedding = arithmetic.embedding(graph, weights["embed_tokens.weight"])
    x = embedding.look_up(tokens)
    mask = graph.op("Unsqueeze", log_weights, graph.integers(1, 2))
    layer = _DecoderLayer(graph, source, arithmetic.step_linear, _Lengths(graph, tokens, past), mask)
    for index in range(source.decoder_layers):
        x = layer.add(x, index)
    x = _norm(graph, graph.op("Gather", x, wanted, axis=1), weights["norm.weight"])
    graph.output("logits", embedding.logits(x), FLOAT, ["B", "W", source.config.vocabulary])
    return graph.model()


class _EncoderAttention:
    """Attention of a recording to itself.

    A query's spare dimension is one, a key's is its log-weight, so that their product gains it.
    """

    def __init__(self, graph: Graph, source: MoonshineSource, linear: Linear, log_weights: str) -> None:
        self.graph, self.linear, self.heads = graph, linear, source.encoder_heads
        self.size = source.width // self.heads
        self.padded = _padded(self.size + 1, _ENCODER_HEAD)
        self.rotary = source.rotary
        positions = _LONGEST_S * _SAMPLE_RATE // source.config.position_samples
        self.angles = _angles(graph, source.rotary, positions, pairs=source.rotary.size // 2)
        spare = np.zeros((1, 1, self.heads, self.padded), np.float32)
        spare[..., self.size] = 1
        per_key = graph.op("Unsqueeze", log_weights, graph.integers(2))
        self.log_weights = graph.op("Mul", per_key, graph.constant(spare.reshape(1, 1, -1)))

    def add(self, x: str, weights: Weights) -> str:
        graph = self.graph
        width = self.heads * self.padded
        query, key = (_pad_rows(weights[f"{name}_proj.weight"], self.heads, self.padded) for name in "qk")
        # The attention scales every product by size ** -0.5: the one is scaled the other way.
        bias = np.zeros((self.heads, self.padded), np.float32)
        bias[:, self.size] = self.size**0.5
        value = weights["v_proj.weight"]
        joined = self.linear(
            graph,
            x,
            np.concatenate([query, key, value]),
            np.concatenate([bias.ravel(), np.zeros(width + len(value), np.float32)]),
        )
        parts = tuple(f"{joined}_{name}" for name in "qkv")
        graph.op_n("Split", joined, graph.integers(width, width, len(value)), results=parts, axis=-1)
        h = graph.contrib(
            "MultiHeadAttention",
            self._turned(parts[0]),
            graph.op("Add", self._turned(parts[1]), self.log_weights),
            parts[2],
            num_heads=self.heads,
            scale=float(self.size**-0.5),
        )
        return self.linear(graph, h, weights["o_proj.weight"], None)

    def _turned(self, x: str) -> str:
        return self.graph.contrib(
            "RotaryEmbedding",
            x,
            self.graph.integers(0),
            *self.angles,
            interleaved=1,
            num_heads=self.heads,
            rotary_embedding_dim=self.rotary.size,
        )


def _angles(graph: Graph, rotary: Rotary, positions: int, *, pairs: int) -> tuple[str, str]:
    """Cosines and sines [positions, pairs]; the pairs that `rotary` has not are turned by nothing."""
    steps = rotary.theta ** (-np.arange(0, rotary.size, 2) / rotary.size)
    angles = np.arange(positions)[:, None] * np.pad(steps, (0, pairs - len(steps)))
    return graph.constant(np.cos(angles).astype(np.float32)), graph.constant(np.sin(angles).astype(np.float32))


def _cross_memory(graph: Graph, x: str, weights: Weights, linear: Linear, index: int, heads: int) -> None:
    """Keys as [B, heads, size, T], so that a step's product runs along T; values as [B, heads, T, size]."""
    size = len(weights["k_proj.weight"]) // heads
    keys = linear(graph, x, weights["k_proj.weight"], None)
    values = linear(graph, x, weights["v_proj.weight"], None)
    graph.output(f"cross_k_{index}", _heads(graph, keys, heads, size, [0, 2, 3, 1]), FLOAT, ["B", heads, size, "T"])
    graph.output(f"cross_v_{index}", _heads(graph, values, heads, size, [0, 2, 1, 3]), FLOAT, ["B", heads, "T", size])


class _Lengths:
    """How long the rows are with the tokens of this step, shared by all layers."""

    def __init__(self, graph: Graph, tokens: str, past: str) -> None:
        count = graph.op("Slice", graph.op("Shape", tokens), graph.integers(1), graph.integers(2))
        total = graph.op("Add", past, count)
        self.last = graph.op("Cast", graph.op("Sub", total, graph.integer(1)), to=INT32)
        self.longest = graph.op("Cast", graph.op("ReduceMax", total, keepdims=0), to=INT32)


class _DecoderLayer:
    def __init__(self, graph: Graph, source: MoonshineSource, linear: Linear, lengths: _Lengths, mask: str) -> None:
        self.graph, self.source, self.linear, self.lengths, self.mask = graph, source, linear, lengths, mask
        self.heads, self.size = source.decoder_heads, source.width // source.decoder_heads
        self.padded = _padded(self.size, _DECODER_HEAD)
        # The fused attention takes pairs by eight.
        self.angles = _angles(graph, source.rotary, source.config.max_positions, pairs=self.padded // 2)

    def add(self, x: str, index: int) -> str:
        graph, weights = self.graph, Weights(self.source.weights, f"decoder.layers.{index}")
        h = _norm(graph, x, weights["input_layernorm.weight"])
        x = graph.op("Add", x, self._self_attention(h, weights.below("self_attn"), index))
        h = _norm(graph, x, weights["post_attention_layernorm.weight"])
        x = graph.op("Add", x, self._cross_attention(h, weights.below("encoder_attn"), index))
        h = _norm(graph, x, weights["final_layernorm.weight"])
        return graph.op("Add", x, self._gated_feed_forward(h, weights.below("mlp")))

    def _self_attention(self, x: str, weights: Weights, index: int) -> str:
        graph = self.graph
        shape: list[int | str] = ["B", self.heads, self.source.config.max_positions, self.padded]
        caches = [graph.input(f"self_{kind}_{index}", FLOAT, shape) for kind in "kv"]
        joined = [_pad_rows(weights[f"{name}_proj.weight"], self.heads, self.padded) for name in "qkv"]
        results = (f"attended_{index}", f"self_k_{index}_out", f"self_v_{index}_out")
        attended, *written = graph.op_n(
            "GroupQueryAttention",
            self.linear(graph, x, np.concatenate(joined), None),
            None,
            None,
            *caches,
            self.lengths.last,
            self.lengths.longest,
            *self.angles,
            results=results,
            domain="com.microsoft",
            num_heads=self.heads,
            kv_num_heads=self.heads,
            scale=float(self.size**-0.5),
            do_rotary=1,
            rotary_interleaved=1,
        )
        for name in written:
            graph.output(name, name, FLOAT, shape)
        output = _pad_rows(weights["o_proj.weight"].T, self.heads, self.padded).T
        return self.linear(graph, attended, output, None)

    def _cross_attention(self, x: str, weights: Weights, index: int) -> str:
        graph, heads, size = self.graph, self.heads, self.size
        keys = graph.input(f"cross_k_{index}", FLOAT, ["B", heads, size, "T"])
        values = graph.input(f"cross_v_{index}", FLOAT, ["B", heads, "T", size])
        query = self.linear(graph, x, weights["q_proj.weight"] * np.float32(size**-0.5), None)
        scores = graph.op("MatMul", _heads(graph, query, heads, size, [0, 2, 1, 3]), keys)
        scores = graph.op("Softmax", graph.op("Add", scores, self.mask), axis=-1)
        mixed = graph.op("Transpose", graph.op("MatMul", scores, values), perm=[0, 2, 1, 3])
        mixed = graph.op("Reshape", mixed, graph.integers(0, 0, heads * size))
        return self.linear(graph, mixed, weights["o_proj.weight"], None)

    def _gated_feed_forward(self, x: str, weights: Weights) -> str:
        """The first layer gives values and, behind them, as many gates."""
        graph = self.graph
        both = self.linear(graph, x, weights["fc1.weight"], weights["fc1.bias"])
        values, gates = graph.op_n("Split", both, results=(f"{both}_values", f"{both}_gates"), axis=-1, num_outputs=2)
        h = graph.op("Mul", graph.contrib("QuickGelu", gates, alpha=1.0), values)  # x * sigmoid(x): SiLU
        return self.linear(graph, h, weights["fc2.weight"], weights["fc2.bias"])


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _pad_rows(weight: Floats, heads: int, padded: int) -> Floats:
    """[heads * size, in] -> [heads * padded, in], each head's new rows zero."""
    by_head = weight.reshape(heads, -1, weight.shape[1])
    return np.pad(by_head, ((0, 0), (0, padded - by_head.shape[1]), (0, 0))).reshape(-1, weight.shape[1])


def _heads(graph: Graph, x: str, heads: int, size: int, perm: list[int]) -> str:
    """[B, T, heads * size], split into heads and transposed by `perm`."""
    return graph.op("Transpose", graph.op("Reshape", x, graph.integers(0, 0, heads, size)), perm=perm)


def _norm(graph: Graph, x: str, scale: Floats) -> str:
    return graph.op("LayerNormalization", x, graph.constant(scale), axis=-1, epsilon=_EPSILON)
