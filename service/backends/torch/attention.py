"""Queries, keys and values in; what the queries attend to out."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

_QUERIES = 256
"""Whose scores are made at a time where they are made at all: with those of 1500 the caches of a CPU overflow."""


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """[rows, heads, queries, size], with the mask, if any, added to the scores.

    In bfloat16 a CPU's fused attention takes twice as long as two products with a softmax between them, and for a
    single query eight times as long; in float32 it is the faster.
    """
    if query.device.type != "cpu" or query.dtype == torch.float32:
        return F.scaled_dot_product_attention(query, key, value, mask, scale=scale)
    mixed = []
    for first in range(0, query.shape[2], _QUERIES):
        some = slice(first, first + _QUERIES)
        there = mask if mask is None or mask.shape[2] == 1 else mask[:, :, some]
        mixed.append(torch.matmul(shares(query[:, :, some], key, there, scale, query.dtype), value))
    return mixed[0] if len(mixed) == 1 else torch.cat(mixed, 2)


def shares(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None, scale: float, dtype: torch.dtype
) -> torch.Tensor:
    """How much of each key a query sees, [rows, heads, queries, keys]."""
    scores = torch.matmul(query * scale, key.transpose(2, 3))
    return torch.softmax(scores if mask is None else scores.add_(mask), -1, dtype=dtype)


Angles = tuple[torch.Tensor, torch.Tensor]
"""Cosines and signed sines of some places, for every dimension of a head."""


@dataclass(frozen=True, slots=True)
class Rotary:
    """Turns pair i of a head's first dimensions, neighbours, by place / theta ** (2 i / turned dimensions).

    The dimensions behind them are turned by nothing.
    """

    steps: torch.Tensor
    signs: torch.Tensor
    dtype: torch.dtype

    @classmethod
    def of(cls, *, turned: int, size: int, theta: float, device: torch.device, dtype: torch.dtype) -> "Rotary":
        dimensions = torch.arange(size, device=device)
        pairs = dimensions // 2
        steps = torch.where(pairs < turned // 2, theta ** (-2.0 * pairs / turned), 0.0)
        return cls(steps, dimensions % 2 * 2.0 - 1, dtype)

    def angles(self, places: torch.Tensor) -> Angles:
        """[rows, places] -> [rows, places, 1, 1, size]."""
        angles = places[..., None, None, None] * self.steps
        return angles.cos().to(self.dtype), (angles.sin() * self.signs).to(self.dtype)


def turned(x: torch.Tensor, angles: Angles) -> torch.Tensor:
    """[rows, places, parts, heads, size], each pair (a, b) to (a cos - b sin, b cos + a sin)."""
    cosines, sines = angles
    swapped = x.reshape(*x.shape[:-1], -1, 2).flip(-1).flatten(-2)
    return torch.addcmul(x * cosines, swapped, sines)
