"""The seam to one loaded variant on one device: arrays in, arrays out, from one thread.

A backend knows nothing of audio, text, requests or queues. An encoder-decoder is used so:

    memory = backend.encode(batch)                 # once a window
    rows = backend.open(capacity=8, length=memory.length)
    rows.join(memory)                              # rows take the slots at the end
    logits = rows.step(prompt).logits              # the whole prompt at once, then a token a row and step
    rows.leave(slot)                               # the last row moves into the slot that got free
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

MASKED = -1e4
"""The log-weight of a position that is not there: exp() of it is zero in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class EncoderBatch:
    """A padded batch for the encoder.

    Attributes:
        features: [rows, bins, frames] log-mel (Whisper) or [rows, samples] (Moonshine), padded at the end.
        frames: [rows, length] which output of the convolutions stands at each encoder position.
        positions: [rows, length] the index of each position in the position table.
        log_weights: [rows, length] log of how many equal positions this one stands for; MASKED where a row has ended.
    """

    features: Floats
    frames: Integers
    positions: Integers
    log_weights: Floats

    @property
    def rows(self) -> int:
        return len(self.features)


class Memory(Protocol):
    """What the encoder made of a batch; only the backend that made it can read it."""

    @property
    def rows(self) -> int: ...

    @property
    def length(self) -> int:
        """Encoder positions, the longest row's."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The outcome of a decoder step. The arrays are valid until the next step.

    Attributes:
        logits: [rows, wanted positions, vocabulary].
        attention: [rows, alignment heads, tokens, length], softmaxed; no heads for families without them.
    """

    logits: Floats
    attention: Floats


class Rows(Protocol):
    """Sequences that are decoded together, in slots 0 to len - 1, with preallocated caches."""

    def __len__(self) -> int: ...

    def join(self, memory: Memory) -> None:
        """Append all rows of `memory`, not longer than the `length` opened with; nothing is decoded yet."""
        ...

    def leave(self, slot: int) -> None:
        """Drop a row; the last row moves into its slot."""
        ...

    def step(self, tokens: Integers, *, first: int = 0, wanted: tuple[int, ...] = (-1,)) -> Step:
        """Feed tokens [n, count] to the n slots from `first` on and give the logits at the `wanted` token indices."""
        ...


class Backend(Protocol):
    """One loaded variant on one device."""

    @property
    def memory_bytes(self) -> int: ...

    def encode(self, batch: EncoderBatch) -> Memory: ...

    def open(self, *, capacity: int, length: int) -> Rows: ...

    def warmup(self) -> None: ...

    def close(self) -> None: ...
