"""Which examples make up which batch: a pure function of their lengths, a seed and the number of the batch.

So a run that goes on from a checkpoint needs no state of a random generator, and every process of a distributed run
finds its own share of each batch by itself.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

_POOL = 8
"""Batches' worth of examples that are sorted by length together, so that a batch has little padding."""


class Batches:
    """Of examples of these lengths in seconds: at most `seconds` of padded audio in each, and `rows` examples."""

    def __init__(self, lengths: Sequence[float], *, seconds: float, rows: int, seed: int) -> None:
        if not lengths:
            raise ValueError("there are no examples")
        self._lengths, self._seconds, self._rows, self._seed = tuple(lengths), seconds, rows, seed
        self._epoch = cache(self._made)

    def batch(self, number: int) -> tuple[int, ...]:
        """The indices of the examples of the batch `number`, counted from 0 through all epochs."""
        epoch = 0
        while number >= len(made := self._epoch(epoch)):
            number -= len(made)
            epoch += 1
        return made[number]

    def _made(self, epoch: int) -> tuple[tuple[int, ...], ...]:
        random = np.random.default_rng((self._seed, epoch))
        order = random.permutation(len(self._lengths))
        pool = max(1, round(_POOL * self._seconds / float(np.mean(self._lengths))))
        batches: list[tuple[int, ...]] = []
        for first in range(0, len(order), pool):
            batches += self._cut(sorted(order[first : first + pool].tolist(), key=lambda one: self._lengths[one]))
        return tuple(batches[int(place)] for place in random.permutation(len(batches)))

    def _cut(self, indices: list[int]) -> list[tuple[int, ...]]:
        cut: list[tuple[int, ...]] = []
        now: list[int] = []
        for index in indices:
            if now and (len(now) == self._rows or (len(now) + 1) * self._lengths[index] > self._seconds):
                cut.append(tuple(now))
                now = []
            now.append(index)
        return [*cut, tuple(now)]
