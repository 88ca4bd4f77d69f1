"""Moonshine (Jeffries et al., 2024; transformers, `modeling_moonshine.py`), from weights named as there.

Three things differ from the original, as in `model_store.convert.moonshine`: padding changes nothing, neither attention
nor the normalisation over the whole recording; that normalisation is folded into the convolution behind it; and heads
are padded with zeros to a size that fused attention takes.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from model_store.config import MoonshineConfig
from service.backends.base import MASKED, EncoderBatch
from service.backends.torch.attention import Rotary
from service.backends.torch.decoder import Decoder, DecoderLayer
from service.backends.torch.layers import EncoderLayer, FeedForward, Heads, Norm, Recall
from service.backends.torch.network import Layers, Sizes
from service.backends.torch.uploads import rounded, sent
from service.backends.torch.weights import Weights

_EPSILON = 1e-5

_STRIDES = (64, 3, 2)

_HEAD_MULTIPLE = 8
"""A GPU's fused attention takes heads of such sizes."""

_STEP = 64
"""Positions by which a GPU's lengths grow: 1.5 s."""


class _Form:
    """What the shapes do not tell, from the weights' facts."""

    def __init__(self, weights: Weights) -> None:
        self.encoder_heads, self.decoder_heads = (
            int(weights.facts[f"{side}_heads"]) for side in ("encoder", "decoder")
        )
        self._turned, self._theta = int(weights.facts["rotary_size"]), float(weights.facts["rotary_theta"])
        self._weights, self._width = weights, weights.shape("decoder.norm.weight")[0]

    def padded(self, heads: int) -> int:
        return -(-self._width // heads // _HEAD_MULTIPLE) * _HEAD_MULTIPLE

    def rotary(self, heads: int) -> Rotary:
        size, device, dtype = self.padded(heads), self._weights.device, self._weights.dtype
        return Rotary.of(turned=self._turned, size=size, theta=self._theta, device=device, dtype=dtype)

    def heads(self, weights: Weights, norm: str, name: str, parts: str, heads: int) -> Heads:
        size, below = self.padded(heads), weights.below(name)
        inputs = below.linear(*(f"{part}_proj" for part in parts), shaped=lambda it: it.outputs_padded(heads, size))
        output = below.linear("o_proj", shaped=lambda it: it.inputs_padded(heads, size))
        return Heads(Norm.of(weights, norm), inputs, output, heads, (self._width // heads) ** -0.5)

    def recall(self, weights: Weights) -> Recall:
        heads, size = self.decoder_heads, self.padded(self.decoder_heads)
        return Recall(weights.linear("k_proj", "v_proj", shaped=lambda it: it.outputs_padded(heads, size)), heads)


@dataclass(frozen=True, slots=True, eq=False)
class MoonshineInputs:
    """An encoder batch on its device.

    Attributes:
        frames: of the first convolution that each row's positions come from.
        log_weights: left out where no row is shorter than the batch.
    """

    samples: torch.Tensor
    frames: torch.Tensor
    log_weights: torch.Tensor | None


class MoonshineEncoder:
    """From samples to what the decoder reads of them."""

    def __init__(self, weights: Weights, config: MoonshineConfig) -> None:
        form, below = _Form(weights), weights.below("encoder")
        self._config, self._device = config, weights.device
        self._convolutions = _Convolutions(below)
        self._rotary = form.rotary(form.encoder_heads)
        self._layers = [_encoder_layer(below.below(f"layers.{index}"), form) for index in range(below.layers())]
        self._norm = Norm.of(below, "layer_norm")
        decoder = weights.below("decoder")
        crosses = (decoder.below(f"layers.{index}.encoder_attn") for index in range(decoder.layers()))
        self._recalls = [form.recall(cross) for cross in crosses]

    def inputs(self, batch: EncoderBatch) -> MoonshineInputs:
        length, device = rounded(batch.positions.shape[1], self._device, step=_STEP), self._device
        samples = length * self._config.position_samples + self._config.context_samples
        frames = np.array([[self._convolutions.frames(own)] for own in batch.lengths])
        plain = all(own == length for own in batch.lengths)
        return MoonshineInputs(
            sent(batch.features, samples, device),
            sent(frames, 1, device),
            None if plain else sent(batch.log_weights, length, device, padding=MASKED),
        )

    def encoded(self, inputs: MoonshineInputs) -> Layers:
        x = self._convolutions(inputs.samples, inputs.frames)
        rows, length, _ = x.shape
        angles = self._rotary.angles(torch.arange(length, device=x.device)[None])
        mask = None if inputs.log_weights is None else inputs.log_weights[:, None, None].to(x.dtype)
        x = x.flatten(0, 1)
        for layer in self._layers:
            x = layer(x, rows, mask, angles)
        x = self._norm(x)
        return Layers(*zip(*(recall(x, rows) for recall in self._recalls), strict=True))


class _Convolutions:
    """Three convolutions over time; the second takes what the first gives as if it had been normalised.

    Convolution is linear, so with the normalisation's scale folded into its kernel it runs on its input as it is, and
    its result is corrected: for sums over the kernel, (kernel * x - mean * sums) / deviation + shift.
    """

    def __init__(self, weights: Weights) -> None:
        keep, dtype = weights.keep, weights.dtype
        self._first = weights.tensor("conv1.weight")
        kernel, scale = weights.taken("conv2.weight").float(), weights.taken("groupnorm.weight").float()
        shift = kernel.sum(2) @ weights.taken("groupnorm.bias").float() + weights.taken("conv2.bias").float()
        scaled = (kernel * scale[:, None]).to(dtype)
        self._second, self._shift = keep(scaled), keep(shift[:, None])
        self._sums = keep(scaled.float().sum((1, 2))[:, None])
        self._third = weights.tensor("conv3.weight"), weights.tensor("conv3.bias")

    def __call__(self, samples: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        """[rows, samples] and frames [rows, 1] -> [rows, positions, width]."""
        first, second, third = _STRIDES
        x = torch.tanh(F.conv1d(samples[:, None].to(self._first.dtype), self._first, stride=first))
        mean, scale = _statistics(x, frames)
        y = F.conv1d(x, self._second, stride=second)
        y = torch.addcmul(self._shift - self._sums * (mean * scale), y, scale).to(x.dtype)
        return F.gelu(F.conv1d(F.gelu(y), *self._third, stride=third)).transpose(1, 2)

    def frames(self, positions: int) -> int:
        """Of the first convolution that so many positions come from."""
        for kernel, stride in ((self._third[0], _STRIDES[2]), (self._second, _STRIDES[1])):
            positions = (positions - 1) * stride + kernel.shape[2]
        return positions


def _statistics(x: torch.Tensor, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and reciprocal deviation, [rows, 1, 1] in float32, of x [rows, channels, F] over a row's own frames."""
    own = torch.arange(x.shape[2], device=x.device) < frames
    share = own / (frames * x.shape[1])
    mean, square = ((it.sum(1, dtype=torch.float32) * share).sum(1)[:, None, None] for it in (x, x * x))
    return mean, (square - mean * mean).clamp_min(0).add(_EPSILON).rsqrt()


def moonshine_decoder(weights: Weights, config: MoonshineConfig) -> Decoder:
    """The decoder; what it recalls of the audio, the encoder has taken."""
    form, below = _Form(weights), weights.below("decoder")
    heads, layers = form.decoder_heads, below.layers()
    sizes = Sizes(
        self_heads=(heads,) * layers,
        cross_heads=(heads,) * layers,
        head=form.padded(heads),
        positions=config.max_positions,
        vocabulary=below.shape("embed_tokens.weight")[0],
        alignment_heads=0,
    )
    return Decoder(
        below.embedding("embed_tokens.weight"),
        [_decoder_layer(below.below(f"layers.{index}"), form) for index in range(layers)],
        Norm.of(below, "norm"),
        sizes,
        device=weights.device,
        dtype=weights.dtype,
        order=form.rotary(heads),
    )


def _decoder_layer(weights: Weights, form: _Form) -> DecoderLayer:
    own = form.heads(weights, "input_layernorm", "self_attn", "qkv", form.decoder_heads)
    cross = form.heads(weights, "post_attention_layernorm", "encoder_attn", "q", form.decoder_heads)
    return DecoderLayer(own, cross, _feed_forward(weights, "final_layernorm", gated=True))


def _encoder_layer(weights: Weights, form: _Form) -> EncoderLayer:
    attention = form.heads(weights, "input_layernorm", "self_attn", "qkv", form.encoder_heads)
    return EncoderLayer(attention, _feed_forward(weights, "post_attention_layernorm", gated=False))


def _feed_forward(weights: Weights, norm: str, *, gated: bool) -> FeedForward:
    return FeedForward(Norm.of(weights, norm), weights.linear("mlp.fc1"), weights.linear("mlp.fc2"), gated)
