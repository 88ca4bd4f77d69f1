"""A decoder's step for any family: tokens and caches in, logits out, the caches filled in place."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

from service.backends.torch.attention import Angles, Rotary, shares, turned
from service.backends.torch.layers import FeedForward, Heads, Norm
from service.backends.torch.network import Layers, Sizes
from service.backends.torch.products import Product


@dataclass(frozen=True, slots=True)
class DecoderLayer:
    """`alignment` are the heads of the cross-attention that follow the audio."""

    own: Heads
    cross: Heads
    feed_forward: FeedForward
    alignment: torch.Tensor | None = None


class Decoder:
    """The layers of a decoder with its embedding, which gives the logits too."""

    def __init__(
        self,
        embedding: Product,
        layers: Sequence[DecoderLayer],
        norm: Norm,
        sizes: Sizes,
        *,
        device: torch.device,
        dtype: torch.dtype,
        order: torch.Tensor | Rotary,
    ) -> None:
        """`order` tells places apart: a table [positions, width] that is added to the tokens, or what turns heads."""
        self.sizes, self.device, self.dtype = sizes, device, dtype
        self._embedding, self._layers, self._norm, self._order = embedding, tuple(layers), norm, order
        self._range = torch.arange(sizes.positions, device=device)
        # A row for each place, which says what a token there may not see.
        unseen = torch.full((sizes.positions, sizes.positions), -torch.inf, dtype=dtype, device=device)
        self._causal = unseen.triu(1)

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
        """See `service.backends.torch.network.Network`."""
        rows, count = tokens.shape
        step = self._step(past, count, span)
        x = self._embedded(tokens, step.places)
        there = log_weights[:rows, None, None].to(self.dtype)
        seen: list[torch.Tensor] = []
        for index, layer in enumerate(self._layers):
            x = x + step.own(layer.own, x, caches.keys[index], caches.values[index])
            query = layer.cross.parts(x, rows)[:, :, 0].transpose(1, 2)
            keys, values = cross.keys[index][:rows], cross.values[index][:rows]
            if looks and layer.alignment is not None:
                ours = layer.alignment
                seen.append(shares(query[:, ours], keys[:, ours], there, layer.cross.scale, torch.float32))
            x.add_(layer.cross.attended(query, keys, values, there))
            x.add_(layer.feed_forward(x))
        logits = self._embedding(self._norm(_chosen(x.view(rows, count, -1), wanted)))
        return logits.view(rows, len(wanted), -1), torch.cat(seen, 1) if seen else None

    def _step(self, past: torch.Tensor, count: int, span: int) -> "_Step":
        places = past[:, None] if count == 1 else past[:, None] + self._range[:count]
        return _Step(
            slots=torch.arange(len(past), device=self.device)[:, None],
            places=places,
            causal=F.embedding(places, self._causal[:, :span])[:, None],
            angles=self._order.angles(places) if isinstance(self._order, Rotary) else None,
            span=span,
        )

    def _embedded(self, tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        x = self._embedding.look_up(tokens)
        if isinstance(self._order, torch.Tensor):
            x = x + F.embedding(places, self._order)
        return x.flatten(0, 1)


@dataclass(frozen=True, slots=True)
class _Step:
    """What all layers share: where the tokens of each row are written, what they may see, how their heads turn."""

    slots: torch.Tensor
    places: torch.Tensor
    causal: torch.Tensor
    angles: Angles | None
    span: int

    def own(self, layer: Heads, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Self-attention over the cache, to which these tokens are added first."""
        rows = len(self.places)
        parts = layer.parts(x, rows)
        query, key, value = parts.unbind(2)
        if self.angles is not None:
            query, key = turned(parts[:, :, :2], self.angles).unbind(2)
        keys[self.slots, :, self.places] = key
        values[self.slots, :, self.places] = value
        keys, values = keys[:rows, :, : self.span], values[:rows, :, : self.span]
        return layer.attended(query.transpose(1, 2), keys, values, self.causal)


def _chosen(x: torch.Tensor, wanted: tuple[int, ...]) -> torch.Tensor:
    """[rows, count, width] -> [rows * wanted, width]; by slices: a list of indices would be sent over."""
    if x.shape[1] == len(wanted) == 1:
        return x.flatten(0, 1)
    return torch.stack([x[:, index] for index in wanted], 1).flatten(0, 1)
