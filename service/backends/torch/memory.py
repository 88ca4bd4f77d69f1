"""What the encoder made of a window, and the slots that rows are decoded in: caches that are made once."""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from service.backends.base import MASKED, Floats
from service.backends.sequences import Memory
from service.backends.torch.network import Layers, Network, Sizes, Tensors
from service.backends.torch.uploads import on_device

UNROLLED = 64
"""Positions that a processor adds up side by side, or a multiple of them. What is left over is added in another order,
and in bfloat16 a row's text would hang on the length of its batch: so none is left over."""


@dataclass(frozen=True, slots=True, eq=False)
class TorchMemory:
    """Of one window: keys and values of each decoder layer [heads, length, size], on the device that made them."""

    layers: Layers
    log_weights: Floats

    @property
    def length(self) -> int:
        return len(self.log_weights)


class Slots:
    """Self-attention caches, cross-attention memories and their log-weights, [capacity, ...] each."""

    def __init__(self, network: Network, capacity: int, length: int) -> None:
        sizes, self._device, self._dtype = network.sizes, network.device, network.dtype
        self._capacity, self.length = capacity, unrolled(length)
        self._caches = self._zeros(sizes.self_heads, sizes.positions, sizes.head)
        self._cross = self._zeros(sizes.cross_heads, self.length, sizes.head)
        self._log_weights = torch.full((capacity, self.length), MASKED, dtype=network.dtype, device=network.device)

    def put(self, slot: int, memory: Memory) -> None:
        """Let a row read a memory; what a longer one left behind it is masked.

        Raises:
            TypeError: the memory is of another backend.
            ValueError: there is no slot left, or the memory is too long.
        """
        if not isinstance(memory, TorchMemory):
            raise TypeError(f"memory of another backend: {type(memory).__name__}")
        length = memory.length
        if slot >= self._capacity or length > self.length:
            free = self._capacity - slot
            raise ValueError(f"a row of length {length} does not fit: {free} of length {self.length} are free")
        _copy([one[slot, :, :length] for one in _all(self._cross)], _all(memory.layers))
        log_weights = np.full(self.length, MASKED, np.float32)
        log_weights[:length] = memory.log_weights
        self._log_weights[slot].copy_(on_device(torch.from_numpy(log_weights), self._device))

    def move(self, slot: int, to: int, *, used: int) -> None:
        """Let a row go on in another slot; `used` of its cache's positions hold something."""
        caches, cross = _all(self._caches), [*_all(self._cross), self._log_weights]
        _copy([one[to, :, :used] for one in caches], [one[slot, :, :used] for one in caches])
        _copy([one[to] for one in cross], [one[slot] for one in cross])

    def clear(self, slot: int) -> None:
        """Forget what a row left that may hold what is no number: times the zero of a mask it is none still."""
        for one in (*_all(self._caches), *_all(self._cross)):
            one[slot].zero_()

    def rows(self, first: int, count: int) -> tuple[Layers, Layers, torch.Tensor]:
        """Caches, memories and log-weights of some slots, in place."""
        rows = slice(first, first + count)
        return _sliced(self._caches, rows), _sliced(self._cross, rows), self._log_weights[rows]

    def _zeros(self, heads: tuple[int, ...], length: int, size: int) -> Layers:
        """Finite, for what is masked is multiplied by zero."""

        def made() -> Tensors:
            shapes = ((self._capacity, count, length, size) for count in heads)
            return tuple(torch.zeros(shape, dtype=self._dtype, device=self._device) for shape in shapes)

        return Layers(made(), made())


def row_bytes(sizes: Sizes, dtype: torch.dtype, length: int) -> int:
    """What a slot takes."""
    length = unrolled(length)
    vectors = sum(sizes.self_heads) * sizes.positions + sum(sizes.cross_heads) * length
    return 2 * vectors * sizes.head * dtype.itemsize


def unrolled(length: int) -> int:
    return -(-length // UNROLLED) * UNROLLED


def _all(layers: Layers) -> list[torch.Tensor]:
    return list(chain(layers.keys, layers.values))


def _sliced(layers: Layers, rows: slice) -> Layers:
    return Layers(tuple(one[rows] for one in layers.keys), tuple(one[rows] for one in layers.values))


def _copy(to: list[torch.Tensor], source: list[torch.Tensor]) -> None:
    """All at one stroke, also from another device."""
    torch._foreach_copy_(to, source)
