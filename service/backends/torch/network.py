"""The seam inside the torch backend: a loaded network, with its encoder and its decoder step, on one device.

A network keeps no state of what is decoded: caches and memories come in as tensors. What it computes on a GPU never
waits for it, so that calls follow one another and a step of one token can be captured as a CUDA graph.
"""

from dataclasses import dataclass
from typing import Protocol

import torch

from service.backends.base import EncoderBatch

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True)
class Layers:
    """Keys and values of every decoder layer, each [rows, heads, length, size]."""

    keys: Tensors
    values: Tensors


@dataclass(frozen=True, slots=True)
class Sizes:
    """Read off the weights' shapes. Once pruned, layers may differ in their heads.

    Attributes:
        self_heads: of each decoder layer's self-attention.
        cross_heads: of each decoder layer's cross-attention.
        head: the size of a head.
        positions: of the self-attention's cache.
        vocabulary: tokens that have a logit.
        alignment_heads: cross-attention heads that follow the audio; none for Moonshine.
    """

    self_heads: tuple[int, ...]
    cross_heads: tuple[int, ...]
    head: int
    positions: int
    vocabulary: int
    alignment_heads: int


class Network(Protocol):
    """A network with its weights on a device.

    Attributes:
        sizes: what its caches must measure.
        device: where the weights are, and all tensors that come in and go out.
        dtype: of caches, memories and activations.
        memory_bytes: of the weights, on the device.
    """

    sizes: Sizes
    device: torch.device
    dtype: torch.dtype
    memory_bytes: int

    def encode(self, batch: EncoderBatch) -> Layers:
        """What the decoder's cross-attention reads of each row of a batch, which comes as samples for every family.

        The length is that of the batch or longer: on a GPU it is rounded up, so that few shapes occur. What lies behind
        a row's own length is finite and means nothing.
        """
        ...

    def decode(
        self,
        tokens: torch.Tensor,
        past: torch.Tensor,
        caches: Layers,
        cross: Layers,
        log_weights: torch.Tensor,
        *,
        span: int,
        wanted: tuple[int, ...],
        looks: bool,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Feed tokens to the first rows of the caches and give their logits.

        Args:
            tokens: [rows, count].
            past: [rows], how many tokens are in each row's cache; the new ones are written behind them, in place.
            caches: of the self-attention, of as many rows or more, each [..., positions, size].
            cross: what `encode` gave, of as many rows or more.
            log_weights: [rows or more, length] added to the cross-attention's scores; MASKED behind a row's end.
            span: cache positions that are read at all: as many as the longest row has with these tokens, or more.
            wanted: the tokens' indices whose logits are given.
            looks: whether the alignment heads' attention is given too.

        Returns:
            Logits in float32, [rows, wanted, vocabulary], the caller's to write over; attention, softmaxed, in float32,
            [rows, alignment heads, count, length], or None.
        """
        ...
