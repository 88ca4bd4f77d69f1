"""Whisper (Radford et al., 2022; openai/whisper, `model.py`), from weights named as transformers has them.

Two things differ from the original, as in `model_store.convert.whisper`: the encoder computes the positions that it is
given, of which one may stand for several (its key's scores gain the log of their number), and it also makes the keys
and values that the decoder's cross-attention reads.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from model_store.config import WhisperConfig
from service.audio.mel import HOP
from service.backends.base import MASKED, EncoderBatch
from service.backends.torch.decoder import Decoder, DecoderLayer
from service.backends.torch.layers import EncoderLayer, FeedForward, Heads, Norm, Recall
from service.backends.torch.mel import LogMel, width
from service.backends.torch.network import Layers, Sizes
from service.backends.torch.uploads import rounded, sent
from service.backends.torch.weights import Weights

_HEAD = 64
"""Of every Whisper size (Radford et al., 2022, table 1)."""

_FRONT = ((1, "conv1"), (2, "conv2"))
"""Strides and names of the convolutions."""

_STEP = 64
"""Positions by which a GPU's lengths grow: 24 of them up to 30 s."""


@dataclass(frozen=True, slots=True, eq=False)
class WhisperInputs:
    """An encoder batch on its device; `log_weights` are left out where they change nothing."""

    samples: torch.Tensor
    counts: torch.Tensor
    frames: torch.Tensor
    positions: torch.Tensor
    log_weights: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class _Convolution:
    """Of three frames; where a student has `across`, the first is by channel and that one across channels."""

    kernel: torch.Tensor
    across: torch.Tensor | None
    bias: torch.Tensor
    stride: int

    @classmethod
    def of(cls, weights: Weights, stride: int) -> "_Convolution":
        kernel, bias = weights.tensor_if_there("weight"), weights.tensor("bias")
        if kernel is not None:
            return cls(kernel, None, bias, stride)
        return cls(weights.tensor("depthwise.weight"), weights.tensor("pointwise.weight"), bias, stride)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.across is None:
            return F.conv1d(x, self.kernel, self.bias, stride=self.stride, padding=1)
        x = F.conv1d(x, self.kernel, stride=self.stride, padding=1, groups=len(self.kernel))
        return F.conv1d(x, self.across, self.bias)


class WhisperEncoder:
    """From samples to what the decoder reads of them."""

    def __init__(self, weights: Weights, config: WhisperConfig) -> None:
        below, self._device = weights.below("encoder"), weights.device
        self._mel = LogMel(config.mel_bins, weights.device)
        self._convolutions = [_Convolution.of(below.below(name), stride) for stride, name in _FRONT]
        self._positions = below.tensor("embed_positions.weight")
        self._layers = [_encoder_layer(below.below(f"layers.{index}")) for index in range(below.layers())]
        self._norm = Norm.of(below, "layer_norm")
        decoder = weights.below("decoder")
        self._recalls = [_recall(decoder.below(f"layers.{index}.encoder_attn")) for index in range(decoder.layers())]

    def inputs(self, batch: EncoderBatch) -> WhisperInputs:
        device, longest = self._device, len(self._positions)
        length = min(longest, rounded(batch.positions.shape[1], device, step=_STEP))
        # One position more than is read sees only what lies behind the row: the last may not.
        frames = 2 * min(longest, rounded(int(batch.frames.max()) + 2, device, step=_STEP))
        counts = -(-np.array(batch.feature_lengths) // HOP)
        plain = batch.log_weights.shape[1] == length and not batch.log_weights.any()
        return WhisperInputs(
            sent(batch.features, width(frames), device),
            sent(counts[:, None], 1, device)[:, 0],
            sent(batch.frames, length, device),
            sent(batch.positions, length, device),
            None if plain else sent(batch.log_weights, length, device, padding=MASKED),
        )

    def encoded(self, inputs: WhisperInputs) -> Layers:
        rows = len(inputs.samples)
        x = self._convolved(inputs).flatten(0, 1)
        mask = None if inputs.log_weights is None else inputs.log_weights[:, None, None].to(x.dtype)
        for layer in self._layers:
            x = layer(x, rows, mask)
        x = self._norm(x)
        return Layers(*zip(*(recall(x, rows) for recall in self._recalls), strict=True))

    def _convolved(self, inputs: WhisperInputs) -> torch.Tensor:
        """[rows, positions, width]."""
        x = self._mel(inputs.samples, inputs.counts).to(self._positions.dtype)
        for convolution in self._convolutions:
            x = F.gelu(convolution(x))
        x = x.transpose(1, 2).contiguous()
        rows, frames, _ = x.shape
        first = torch.arange(rows, device=x.device)[:, None] * frames
        return F.embedding(inputs.frames + first, x.flatten(0, 1)) + F.embedding(inputs.positions, self._positions)


def whisper_decoder(weights: Weights, config: WhisperConfig) -> Decoder:
    """The decoder; what it recalls of the audio, the encoder has taken."""
    below = weights.below("decoder")
    layers = range(below.layers())
    sizes = Sizes(
        self_heads=tuple(below.shape(f"layers.{index}.self_attn.q_proj.weight")[0] // _HEAD for index in layers),
        cross_heads=tuple(below.shape(f"layers.{index}.encoder_attn.q_proj.weight")[0] // _HEAD for index in layers),
        head=_HEAD,
        positions=below.shape("embed_positions.weight")[0],
        vocabulary=below.shape("embed_tokens.weight")[0],
        alignment_heads=len(config.alignment_heads),
    )
    return Decoder(
        below.embedding("embed_tokens.weight"),
        [_decoder_layer(below.below(f"layers.{index}"), _aligned(weights, config, index)) for index in layers],
        Norm.of(below, "layer_norm"),
        sizes,
        device=weights.device,
        dtype=weights.dtype,
        order=below.tensor("embed_positions.weight"),
    )


def _aligned(weights: Weights, config: WhisperConfig, layer: int) -> torch.Tensor | None:
    heads = [head for at, head in config.alignment_heads if at == layer]
    return torch.tensor(heads, device=weights.device) if heads else None


def _decoder_layer(weights: Weights, alignment: torch.Tensor | None) -> DecoderLayer:
    own, cross = _heads(weights, "self_attn", "qkv"), _heads(weights, "encoder_attn", "q")
    return DecoderLayer(own, cross, _feed_forward(weights), alignment)


def _encoder_layer(weights: Weights) -> EncoderLayer:
    return EncoderLayer(_heads(weights, "self_attn", "qkv"), _feed_forward(weights))


def _heads(weights: Weights, name: str, parts: str) -> Heads:
    """The number of heads is that of this very attention: once pruned, layers may differ."""
    count = weights.shape(f"{name}.q_proj.weight")[0] // _HEAD
    norm, below = Norm.of(weights, f"{name}_layer_norm"), weights.below(name)
    inputs = below.linear(*(f"{part}_proj" for part in parts))
    return Heads(norm, inputs, below.linear("out_proj"), count, _HEAD**-0.5)


def _feed_forward(weights: Weights) -> FeedForward:
    return FeedForward(Norm.of(weights, "final_layer_norm"), weights.linear("fc1"), weights.linear("fc2"))


def _recall(weights: Weights) -> Recall:
    count = weights.shape("k_proj.weight")[0] // _HEAD
    return Recall(weights.linear("k_proj", "v_proj"), count)
