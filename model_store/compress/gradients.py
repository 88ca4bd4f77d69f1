"""Whisper in torch: examples in, how steeply the loss depends on each weight out. torch is imported here alone.

The forward pass is that of `model_store.convert.whisper`, without caches: the text is given (teacher forcing).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from model_store.compress.examples import Example
from model_store.convert.graph import Floats
from model_store.convert.model import Model
from model_store.convert.whisper_source import HEAD_SIZE
from model_store.errors import CompressionError

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise CompressionError("prune", "gradients need torch: pip install 'wren-asr[torch]'") from error

_EPSILON = 1e-5


def gradients(model: Model, examples: Sequence[Example]) -> dict[str, Floats]:
    """By the name of each matrix, the root of its mean squared gradient over the examples.

    The loss of an example is the cross-entropy of the model's own text, summed over its tokens: of a text that the
    model itself prefers, gradients of either sign cancel out in a mean, and their squares do not.

    Raises:
        CompressionError: the model is of another family than Whisper.
    """
    if model.family != "whisper":
        raise CompressionError("prune", f"gradients are there for Whisper, not for {model.family}")
    forward = Forward(model.weights)
    squares = {name: torch.zeros_like(weight) for name, weight in forward.weights.items() if weight.ndim == 2}
    for example in examples:
        found = torch.autograd.grad(forward.loss(example), [forward.weights[name] for name in squares])
        for name, gradient in zip(squares, found, strict=True):
            squares[name] += gradient.square()
    return {name: (square / len(examples)).sqrt().numpy() for name, square in squares.items()}


class Forward:
    """Whisper's weights as torch tensors, and what it computes of them."""

    def __init__(self, weights: Mapping[str, Floats], dtype: torch.dtype = torch.float32) -> None:
        self.weights = {
            name: torch.from_numpy(np.array(array)).to(dtype).requires_grad_() for name, array in weights.items()
        }
        self._dtype = dtype

    def loss(self, example: Example) -> Tensor:
        """Cross-entropy of the text and its end, summed over tokens, in nats."""
        target = torch.tensor(example.tokens[example.text_from :])
        return functional.cross_entropy(self.logits(example)[list(example.wanted)], target, reduction="sum")

    def logits(self, example: Example) -> Tensor:
        """[tokens - 1, vocabulary]."""
        log_weights = torch.from_numpy(example.features.log_weights).to(self._dtype)
        memory = self._encoded(example, log_weights)
        tokens = torch.tensor(example.tokens[:-1])
        table = self.weights["decoder.embed_tokens.weight"]
        x = table[tokens] + self.weights["decoder.embed_positions.weight"][: len(tokens)]
        causal = torch.full((len(tokens), len(tokens)), -torch.inf, dtype=self._dtype).triu(1)
        for layer in self._layers("decoder"):
            h = self._norm(x, f"{layer}.self_attn_layer_norm")
            x = x + self._attention(h, h, causal, f"{layer}.self_attn")
            h = self._norm(x, f"{layer}.encoder_attn_layer_norm")
            x = x + self._attention(h, memory, log_weights, f"{layer}.encoder_attn")
            x = x + self._feed_forward(x, layer)
        return self._norm(x, "decoder.layer_norm") @ table.T

    def _encoded(self, example: Example, log_weights: Tensor) -> Tensor:
        features, weights = example.features, self.weights
        x = torch.from_numpy(features.values).to(self._dtype)[None]
        for name, stride in (("conv1", 1), ("conv2", 2)):
            x = functional.gelu(self._convolved(x, f"encoder.{name}", stride))
        positions = weights["encoder.embed_positions.weight"][torch.from_numpy(features.positions)]
        x = x[0].T[torch.from_numpy(features.frames)] + positions
        for layer in self._layers("encoder"):
            h = self._norm(x, f"{layer}.self_attn_layer_norm")
            x = x + self._attention(h, h, log_weights, f"{layer}.self_attn")
            x = x + self._feed_forward(x, layer)
        return self._norm(x, "encoder.layer_norm")

    def _convolved(self, x: Tensor, name: str, stride: int) -> Tensor:
        weights, bias = self.weights, self.weights[f"{name}.bias"]
        if f"{name}.weight" in weights:
            return functional.conv1d(x, weights[f"{name}.weight"], bias, stride=stride, padding=1)
        by_channel = weights[f"{name}.depthwise.weight"]
        x = functional.conv1d(x, by_channel, stride=stride, padding=1, groups=len(by_channel))
        return functional.conv1d(x, weights[f"{name}.pointwise.weight"], bias)

    def _attention(self, x: Tensor, memory: Tensor, mask: Tensor, name: str) -> Tensor:
        """`mask` is added to the scores [heads, queries, keys]."""
        query = self._heads(x, f"{name}.q_proj")
        key, value = (self._heads(memory, f"{name}.{kind}_proj") for kind in "kv")
        scores = query @ key.transpose(1, 2) * HEAD_SIZE**-0.5 + mask
        mixed = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
        return self._linear(mixed, f"{name}.out_proj")

    def _heads(self, x: Tensor, name: str) -> Tensor:
        rows = self._linear(x, name)
        return rows.view(len(rows), -1, HEAD_SIZE).transpose(0, 1)

    def _feed_forward(self, x: Tensor, layer: str) -> Tensor:
        h = functional.gelu(self._linear(self._norm(x, f"{layer}.final_layer_norm"), f"{layer}.fc1"))
        return self._linear(h, f"{layer}.fc2")

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def _norm(self, x: Tensor, name: str) -> Tensor:
        scale, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(x, scale.shape, scale, bias, _EPSILON)

    def _layers(self, side: str) -> list[str]:
        count = 1 + max(int(name.split(".")[2]) for name in self.weights if name.startswith(f"{side}.layers."))
        return [f"{side}.layers.{index}" for index in range(count)]
