"""Whisper in torch for training: batches in, hidden states and logits out, all of it differentiable.

Functions of a mapping of weights, under the names of `model_store.convert.whisper_source`, so that whatever stands
between a trained tensor and the weight that is multiplied with (a low-rank update, a mask, a rounding) is a function of
its own.
The forward pass is that of `model_store.convert.whisper`; the text is given (teacher forcing).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from model_store.convert.whisper_source import HEAD_SIZE

_EPSILON = 1e-5

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A batch of windows for the encoder, padded at the end.

    Attributes:
        features: [rows, bins, frames] log-mel.
        frames: [rows, length] which output of the convolutions stands at each position.
        positions: [rows, length] the index of each in the position table.
        log_weights: [rows, length] log of how many positions each stands for; MASKED where there is none.
    """

    features: Tensor
    frames: Tensor
    positions: Tensor
    log_weights: Tensor

    def to(self, device: torch.device) -> "Windows":
        return Windows(*(one.to(device) for one in (self.features, self.frames, self.positions, self.log_weights)))


@dataclass(slots=True, eq=False)
class Looked:
    """What a pass leaves behind for a loss to compare, where it is asked to: hidden states and attention by layer."""

    hidden: list[Tensor] = field(default_factory=list)
    attention: list[Tensor] = field(default_factory=list)


def layers(weights: Weights, side: str) -> list[str]:
    """The names of the encoder's or the decoder's layers, in order."""
    found = {int(name.split(".")[2]) for name in weights if name.startswith(f"{side}.layers.")}
    return [f"{side}.layers.{index}" for index in sorted(found)]


def encoded(weights: Weights, windows: Windows, looked: Looked | None = None) -> Tensor:
    """The encoder's output, [rows, length, width]."""
    x = windows.features
    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = F.gelu(_convolved(weights, f"encoder.{name}", x, stride))
    x = x.transpose(1, 2)
    first = torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
    x = F.embedding(windows.frames + first, x.flatten(0, 1))
    x = x + F.embedding(windows.positions, weights["encoder.embed_positions.weight"])
    mask = windows.log_weights[:, None, None]
    for layer in layers(weights, "encoder"):
        h = _norm(weights, x, f"{layer}.self_attn_layer_norm")
        x = x + _attention(weights, h, h, mask, f"{layer}.self_attn", looked)
        x = x + _feed_forward(weights, x, layer)
        if looked is not None:
            looked.hidden.append(x)
    return _norm(weights, x, "encoder.layer_norm")


def decoded(
    weights: Weights, tokens: Tensor, memory: Tensor, log_weights: Tensor, looked: Looked | None = None
) -> Tensor:
    """The decoder's last hidden states, [rows, tokens, width]; rows may be padded at their ends."""
    count = tokens.shape[1]
    x = F.embedding(tokens, weights["decoder.embed_tokens.weight"]) + weights["decoder.embed_positions.weight"][:count]
    causal = torch.full((count, count), -torch.inf, device=x.device).triu(1)
    mask = log_weights[:, None, None]
    for layer in layers(weights, "decoder"):
        h = _norm(weights, x, f"{layer}.self_attn_layer_norm")
        x = x + _attention(weights, h, h, causal, f"{layer}.self_attn", None)
        h = _norm(weights, x, f"{layer}.encoder_attn_layer_norm")
        x = x + _attention(weights, h, memory, mask, f"{layer}.encoder_attn", looked)
        x = x + _feed_forward(weights, x, layer)
        if looked is not None:
            looked.hidden.append(x)
    return _norm(weights, x, "decoder.layer_norm")


def logits(weights: Weights, hidden: Tensor) -> Tensor:
    """Of the vocabulary, from the last hidden states."""
    return F.linear(hidden, weights["decoder.embed_tokens.weight"])


def _convolved(weights: Weights, name: str, x: Tensor, stride: int) -> Tensor:
    if f"{name}.weight" in weights:
        return F.conv1d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=1)
    by_channel = weights[f"{name}.depthwise.weight"]
    x = F.conv1d(x, by_channel, stride=stride, padding=1, groups=len(by_channel))
    return F.conv1d(x, weights[f"{name}.pointwise.weight"], weights[f"{name}.bias"])


def _attention(weights: Weights, x: Tensor, memory: Tensor, mask: Tensor, name: str, looked: Looked | None) -> Tensor:
    """`mask` is added to the scores [rows, heads, queries, keys]."""
    query = _heads(weights, x, f"{name}.q_proj")
    key, value = (_heads(weights, memory, f"{name}.{kind}_proj") for kind in "kv")
    if looked is None and (x.device.type != "cpu" or not torch.is_grad_enabled()):
        mixed = F.scaled_dot_product_attention(query, key, value, mask.to(query.dtype))
    else:
        # In bfloat16 a CPU's fused attention takes twice as long as these.
        scores = query @ key.transpose(2, 3) * HEAD_SIZE**-0.5 + mask
        shares = scores.softmax(-1)
        if looked is not None:
            looked.attention.append(shares)
        mixed = shares.to(value.dtype) @ value
    return _linear(weights, mixed.transpose(1, 2).flatten(2), f"{name}.out_proj")


def _heads(weights: Weights, x: Tensor, name: str) -> Tensor:
    """[rows, positions, width] to [rows, heads, positions, size]."""
    rows: Tensor = _linear(weights, x, name).unflatten(-1, (-1, HEAD_SIZE))
    return rows.transpose(1, 2)


def _feed_forward(weights: Weights, x: Tensor, layer: str) -> Tensor:
    h = F.gelu(_linear(weights, _norm(weights, x, f"{layer}.final_layer_norm"), f"{layer}.fc1"))
    return _linear(weights, h, f"{layer}.fc2")


def _linear(weights: Weights, x: Tensor, name: str) -> Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def _norm(weights: Weights, x: Tensor, name: str) -> Tensor:
    scale, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return F.layer_norm(x, scale.shape, scale, bias, _EPSILON)
