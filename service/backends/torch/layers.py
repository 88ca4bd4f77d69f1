"""What encoders and decoders of any family are made of: norms, attention, feed-forward.

Activations are [rows * positions, width], as the products take them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

from service.backends.torch.attention import Angles, attend, turned
from service.backends.torch.products import Product
from service.backends.torch.weights import Weights

_EPSILON = 1e-5


@dataclass(frozen=True, slots=True)
class Norm:
    weight: torch.Tensor
    bias: torch.Tensor | None

    @classmethod
    def of(cls, weights: Weights, name: str) -> "Norm":
        return cls(weights.tensor(f"{name}.weight"), weights.tensor_if_there(f"{name}.bias"))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, _EPSILON)


@dataclass(frozen=True, slots=True)
class FeedForward:
    """Two products; if `gated`, the first gives values and, behind them, as many gates."""

    norm: Norm
    first: Product
    second: Product
    gated: bool = False

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(self.norm(x))
        if not self.gated:
            return self.second(F.gelu(h))
        values, gates = h.chunk(2, -1)
        return self.second(F.silu(gates) * values)


@dataclass(frozen=True, slots=True)
class Heads:
    """The products of an attention with so many heads.

    Attributes:
        inputs: gives queries, and keys and values behind them where they are made of the same.
        scale: of the scores; the square root of a head's size, before it was padded, under one.
    """

    norm: Norm
    inputs: Product
    output: Product
    count: int
    scale: float

    def parts(self, x: torch.Tensor, rows: int) -> torch.Tensor:
        """[rows, positions, queries (and keys and values), heads, size]."""
        y = self.inputs(self.norm(x))
        parts = y.shape[1] // self.output.inputs
        return y.view(rows, -1, parts, self.count, self.output.inputs // self.count)

    def attended(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """All [rows, heads, positions, size], to what is added to the activations."""
        mixed = attend(query, key, value, mask, self.scale)
        return self.output(mixed.transpose(1, 2).reshape(-1, self.output.inputs))


@dataclass(frozen=True, slots=True)
class EncoderLayer:
    attention: Heads
    feed_forward: FeedForward

    def __call__(
        self, x: torch.Tensor, rows: int, mask: torch.Tensor | None, angles: Angles | None = None
    ) -> torch.Tensor:
        parts = self.attention.parts(x, rows)
        query, key, value = parts.transpose(1, 3).unbind(2)
        if angles is not None:
            query, key = turned(parts[:, :, :2], angles).transpose(1, 3).unbind(2)
        x = x + self.attention.attended(query, key, value, mask)
        return x.add_(self.feed_forward(x))


@dataclass(frozen=True, slots=True)
class Recall:
    """What the decoder's cross-attention reads of an encoded row, for one layer: keys and, behind them, values."""

    product: Product
    heads: int

    def __call__(self, x: torch.Tensor, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Each [rows, heads, positions, size]."""
        y = self.product(x)
        keys, values = y.view(rows, len(x) // rows, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return keys, values
