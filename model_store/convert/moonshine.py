"""Moonshine's weights in; its encoder and decoder as ONNX graphs out, in the shape that the backend expects.

What differs from the original (Jeffries et al., 2024; transformers, `modeling_moonshine.py`):

* Padding changes nothing: neither the attention nor the normalisation over the whole recording, which follows the first
  convolution, sees it. The normalisation is folded into the convolution behind it, so that only its two statistics are
  computed at full rate.
* Heads are padded with zeros to a size that onnxruntime's fused attention takes; a spare dimension of the keys holds
  the log-weights, so that the attention over the recording needs no mask of the size positions x positions.
* The encoder also projects the keys and values that the decoder's cross-attention reads, once.
"""

from collections.abc import Mapping

import numpy as np
import onnx

from model_store.convert.graph import FLOAT, INT32, INT64, Graph, Stored
from model_store.convert.matrix import joined
from model_store.convert.moonshine_convolutions import Convolutions
from model_store.convert.moonshine_source import MoonshineSource, Rotary
from model_store.convert.parameters import Form, Parameters

_EPSILON = 1e-5
_SAMPLE_RATE = 16_000
_LONGEST_S = 64
"""Seconds that the encoder's angles cover: the most that the original takes (moonshine_onnx, `transcribe.py`)."""

_ENCODER_HEAD = 8
"""Heads of the encoder are padded to a multiple of this, and by one dimension at least."""

_DECODER_HEAD = 16
"""Heads of the decoder's cache are padded to a multiple of this: else the fused attention does not turn them."""


def encoder_graph(source: MoonshineSource, form: Form, stored: Mapping[str, Stored] | None = None) -> onnx.ModelProto:
    """From features [B, samples] and log_weights [B, T] to cross_k_i and cross_v_i.

    T is what the convolutions make of the samples: a recording is padded to as many as its configuration says.
    """
    graph = Graph("encoder", stored)
    model = Parameters(graph, source.weights, form)
    encoder = model.below("encoder")
    features = graph.input("features", FLOAT, ["B", "samples"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    x = Convolutions(encoder).add(features, log_weights)
    attention = _EncoderAttention(graph, source, log_weights)
    for index in range(source.encoder_layers):
        layer = encoder.below(f"layers.{index}")
        x = graph.op("Add", x, attention.add(_norm(x, layer, "input_layernorm"), layer.below("self_attn")))
        h = graph.op("Gelu", layer.linear(_norm(x, layer, "post_attention_layernorm"), "mlp.fc1"))
        x = graph.op("Add", x, layer.linear(h, "mlp.fc2"))
    x = _norm(x, encoder, "layer_norm")
    for index in range(source.decoder_layers):
        _cross_memory(x, model.below(f"decoder.layers.{index}.encoder_attn"), index, source.decoder_heads)
    return graph.model()


def decoder_graph(source: MoonshineSource, form: Form, stored: Mapping[str, Stored] | None = None) -> onnx.ModelProto:
    """One step for B rows of S tokens each; `past` [B] is the number of tokens in each row's cache.

    The caches self_k_i and self_v_i [B, heads, positions, padded head size] are bound to the same memory as their
    outputs, so that a step writes its own tokens and copies nothing. `wanted` [W] are the token indices whose logits
    are given.
    """
    graph = Graph("decoder", stored)
    decoder = Parameters(graph, source.weights, form).below("decoder")
    tokens = graph.input("tokens", INT64, ["B", "S"])
    past = graph.input("past", INT64, ["B"])
    wanted = graph.input("wanted", INT64, ["W"])
    log_weights = graph.input("log_weights", FLOAT, ["B", "T"])
    embedding = decoder.embedding("embed_tokens.weight")
    x = embedding.look_up(tokens)
    mask = graph.op("Unsqueeze", log_weights, graph.integers(1, 2))
    layer = _DecoderLayer(graph, source, _Lengths(graph, tokens, past), mask)
    for index in range(source.decoder_layers):
        x = layer.add(x, decoder.below(f"layers.{index}"), index)
    x = _norm(graph.op("Gather", x, wanted, axis=1), decoder, "norm")
    graph.output("logits", embedding.logits(x), FLOAT, ["B", "W", source.config.vocabulary])
    return graph.model()


class _EncoderAttention:
    """Attention of a recording to itself.

    A query's spare dimension is one, a key's is its log-weight, so that their product gains it.
    """

    def __init__(self, graph: Graph, source: MoonshineSource, log_weights: str) -> None:
        self.graph, self.heads = graph, source.encoder_heads
        self.size = source.width // self.heads
        self.padded = _padded(self.size + 1, _ENCODER_HEAD)
        self.rotary = source.rotary
        positions = _LONGEST_S * _SAMPLE_RATE // source.config.position_samples
        self.angles = _angles(graph, source.rotary, positions, pairs=source.rotary.size // 2)
        spare = np.zeros((1, 1, self.heads, self.padded), np.float32)
        spare[..., self.size] = 1
        per_key = graph.op("Unsqueeze", log_weights, graph.integers(2))
        self.log_weights = graph.op("Mul", per_key, graph.constant(spare.reshape(1, 1, -1)))

    def add(self, x: str, weights: Parameters) -> str:
        graph = self.graph
        width = self.heads * self.padded
        query, key = (weights.matrix(f"{name}_proj.weight").heads_padded(self.heads, self.padded) for name in "qk")
        # The attention scales every product by size ** -0.5: the one is scaled the other way.
        bias = np.zeros((self.heads, self.padded), np.float32)
        bias[:, self.size] = self.size**0.5
        value = weights.matrix("v_proj.weight")
        values = len(value.value)
        biases = np.concatenate([bias.ravel(), np.zeros(width + values, np.float32)])
        packed = weights.product(x, joined([query, key, value]), biases)
        parts = tuple(f"{packed}_{name}" for name in "qkv")
        graph.op_n("Split", packed, graph.integers(width, width, values), results=parts, axis=-1)
        h = graph.contrib(
            "MultiHeadAttention",
            self._turned(parts[0]),
            graph.op("Add", self._turned(parts[1]), self.log_weights),
            parts[2],
            num_heads=self.heads,
            scale=float(self.size**-0.5),
        )
        return weights.linear(h, "o_proj")

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


def _cross_memory(x: str, weights: Parameters, index: int, heads: int) -> None:
    """Keys as [B, heads, size, T], so that a step's product runs along T; values as [B, heads, T, size]."""
    graph, size = weights.graph, len(weights["k_proj.weight"]) // heads
    keys, values = (weights.linear(x, f"{name}_proj") for name in "kv")
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
    def __init__(self, graph: Graph, source: MoonshineSource, lengths: _Lengths, mask: str) -> None:
        self.graph, self.source, self.lengths, self.mask = graph, source, lengths, mask
        self.heads, self.size = source.decoder_heads, source.width // source.decoder_heads
        self.padded = _padded(self.size, _DECODER_HEAD)
        # The fused attention takes pairs by eight.
        self.angles = _angles(graph, source.rotary, source.config.max_positions, pairs=self.padded // 2)

    def add(self, x: str, layer: Parameters, index: int) -> str:
        graph = self.graph
        h = _norm(x, layer, "input_layernorm")
        x = graph.op("Add", x, self._self_attention(h, layer.below("self_attn"), index))
        h = _norm(x, layer, "post_attention_layernorm")
        x = graph.op("Add", x, self._cross_attention(h, layer.below("encoder_attn"), index))
        h = _norm(x, layer, "final_layernorm")
        return graph.op("Add", x, self._gated_feed_forward(h, layer.below("mlp")))

    def _self_attention(self, x: str, weights: Parameters, index: int) -> str:
        graph = self.graph
        shape: list[int | str] = ["B", self.heads, self.source.config.max_positions, self.padded]
        caches = [graph.input(f"self_{kind}_{index}", FLOAT, shape) for kind in "kv"]
        parts = [weights.matrix(f"{name}_proj.weight").heads_padded(self.heads, self.padded) for name in "qkv"]
        results = (f"attended_{index}", f"self_k_{index}_out", f"self_v_{index}_out")
        attended, *written = graph.op_n(
            "GroupQueryAttention",
            weights.product(x, joined(parts), None),
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
        output = weights.matrix("o_proj.weight").transposed().heads_padded(self.heads, self.padded).transposed()
        return weights.product(attended, output, None)

    def _cross_attention(self, x: str, weights: Parameters, index: int) -> str:
        graph, heads, size = self.graph, self.heads, self.size
        keys = graph.input(f"cross_k_{index}", FLOAT, ["B", heads, size, "T"])
        values = graph.input(f"cross_v_{index}", FLOAT, ["B", heads, "T", size])
        query = weights.product(x, weights.matrix("q_proj.weight").scaled(size**-0.5), None)
        scores = graph.op("MatMul", _heads(graph, query, heads, size, [0, 2, 1, 3]), keys)
        scores = graph.op("Softmax", graph.op("Add", scores, self.mask), axis=-1)
        mixed = graph.op("Transpose", graph.op("MatMul", scores, values), perm=[0, 2, 1, 3])
        mixed = graph.op("Reshape", mixed, graph.integers(0, 0, heads * size))
        return weights.linear(mixed, "o_proj")

    def _gated_feed_forward(self, x: str, weights: Parameters) -> str:
        """The first layer gives values and, behind them, as many gates."""
        graph = self.graph
        both = weights.linear(x, "fc1")
        values, gates = graph.op_n("Split", both, results=(f"{both}_values", f"{both}_gates"), axis=-1, num_outputs=2)
        h = graph.op("Mul", graph.contrib("QuickGelu", gates, alpha=1.0), values)  # x * sigmoid(x): SiLU
        return weights.linear(h, "fc2")


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _heads(graph: Graph, x: str, heads: int, size: int, perm: list[int]) -> str:
    """[B, T, heads * size], split into heads and transposed by `perm`."""
    return graph.op("Transpose", graph.op("Reshape", x, graph.integers(0, 0, heads, size)), perm=perm)


def _norm(x: str, layer: Parameters, name: str) -> str:
    scale = layer.graph.constant(layer[f"{name}.weight"])
    return layer.graph.op("LayerNormalization", x, scale, axis=-1, epsilon=_EPSILON)
