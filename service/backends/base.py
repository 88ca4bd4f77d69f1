"""The seam to one loaded variant on one device: arrays in, arrays out.

A backend knows nothing of audio, text, requests or queues. Several threads may use it at once; `Rows` belong to the
thread that opened them. A row's outcome is the same in any company, to the rounding of its arithmetic at most: what
cannot be computed so is computed row by row. An encoder-decoder is used so:

    (memory,) = backend.encode(batch)              # once a window; a memory a row
    rows = backend.sequences(rules, capacity=8, length=memory.length)
    rows.join([Job(memory, prompt, token_limit)])  # at any time
    ended = rows.step()                            # tokens for every row, until all have ended
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from service.backends.sequences import Memory, Sequences, TokenRules

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
_Number = TypeVar("_Number", np.float32, np.int64)

MASKED = -1e4
"""The log-weight of a position that is not there: exp() of it is zero in float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """One window as the encoder takes it alone: a row of a batch.

    Attributes:
        values: [bins, frames] log-mel (Whisper), or [samples] (Moonshine, and where the backend takes them).
        padding: the value of silence, for what a batch has behind them.
        frames: [length] which output of the convolutions stands at each encoder position.
        positions: [length] the index of each position in the position table.
        log_weights: [length] log of how many equal positions this one stands for.
    """

    values: Floats
    padding: float
    frames: Integers
    positions: Integers
    log_weights: Floats

    @property
    def length(self) -> int:
        """Encoder positions."""
        return len(self.positions)


@dataclass(frozen=True, slots=True, eq=False)
class EncoderBatch:
    """A padded batch for the encoder.

    Attributes:
        features: [rows, bins, frames] log-mel or [rows, samples], padded at the end.
        frames: [rows, length] which output of the convolutions stands at each encoder position.
        positions: [rows, length] the index of each position in the position table.
        log_weights: [rows, length] log of how many equal positions this one stands for; MASKED where a row has ended.
        lengths: encoder positions of each row.
        feature_lengths: feature frames or samples of each row.
    """

    features: Floats
    frames: Integers
    positions: Integers
    log_weights: Floats
    lengths: tuple[int, ...]
    feature_lengths: tuple[int, ...]

    @classmethod
    def of(cls, rows: Sequence[Features]) -> "EncoderBatch":
        """The rows padded to the longest; one row is not copied."""
        return cls(
            _padded([row.values for row in rows], [row.padding for row in rows]),
            _padded([row.frames for row in rows], [0] * len(rows)),
            _padded([row.positions for row in rows], [0] * len(rows)),
            _padded([row.log_weights for row in rows], [MASKED] * len(rows)),
            lengths=tuple(row.length for row in rows),
            feature_lengths=tuple(row.values.shape[-1] for row in rows),
        )

    @property
    def rows(self) -> int:
        return len(self.features)

    def row(self, index: int) -> "EncoderBatch":
        """A row by itself, without its padding: the same as if it had come alone."""
        row, length, feature_length = slice(index, index + 1), self.lengths[index], self.feature_lengths[index]
        return EncoderBatch(
            self.features[row, ..., :feature_length],
            self.frames[row, :length],
            self.positions[row, :length],
            self.log_weights[row, :length],
            (length,),
            (feature_length,),
        )


def _padded(rows: Sequence[npt.NDArray[_Number]], padding: Sequence[float]) -> npt.NDArray[_Number]:
    """Rows stacked, each filled with its padding along its last axis to the longest; a view of a row alone."""
    if len(rows) == 1:
        return rows[0][None]
    longest = max(row.shape[-1] for row in rows)
    batch = np.empty((len(rows), *rows[0].shape[:-1], longest), rows[0].dtype)
    for target, row, value in zip(batch, rows, padding, strict=True):
        target[..., : row.shape[-1]] = row
        target[..., row.shape[-1] :] = value
    return batch


class BackendClosed(RuntimeError):
    """Something was to be computed after `Backend.close`."""

    def __init__(self) -> None:
        super().__init__("the variant has left memory: its backend was closed")


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
        """Append a row, not longer than the `length` opened with; nothing is decoded yet."""
        ...

    def leave(self, slot: int) -> None:
        """Drop a row; the last row moves into its slot."""
        ...

    def step(self, tokens: Integers, *, first: int = 0, wanted: tuple[int, ...] = (-1,)) -> Step:
        """Feed tokens [n, count] to the n slots from `first` on and give the logits at the `wanted` token indices."""
        ...


class LogitBackend(Protocol):
    """What gives the logits of each step, for tokens to be chosen by."""

    def open(self, *, capacity: int, length: int) -> Rows: ...


class Backend(Protocol):
    """One loaded variant on one device."""

    @property
    def memory_bytes(self) -> int: ...

    @property
    def device_bytes(self) -> int:
        """Of the weights, what is on GPUs; 0 if it computes on the CPU."""
        ...

    @property
    def takes_samples(self) -> bool:
        """Whether it makes what the encoder reads of samples itself: `Features.values` are samples then."""
        ...

    @property
    def decoder_rows(self) -> int:
        """Rows decoded together beyond which there is nothing to gain."""
        ...

    @property
    def encoder_rows(self) -> int:
        """Rows that it computes together; of a larger batch it makes several, so more save nothing."""
        ...

    def row_bytes(self, length: int) -> int:
        """What the caches of a row take that was opened with this `length`: of a GPU's memory if it computes there."""
        ...

    def encode(self, batch: EncoderBatch) -> "Sequence[Memory]":
        """A memory for each row."""
        ...

    def sequences(
        self,
        rules: TokenRules,
        *,
        capacity: int,
        length: int,
        on_retry: Callable[[Exception], None] = lambda _: None,
    ) -> Sequences:
        """Rows to decode together, of memories not longer than `length`; `on_retry` is told of steps that failed."""
        ...

    def finish(self) -> None:
        """Return once all that this thread asked for is computed; elsewhere it may go on while the caller does."""
        ...

    def warmup(self) -> None: ...

    def close(self) -> None:
        """Free the weights once what is being computed is done and open rows are gone; a second time does nothing.

        Whoever wants something encoded, or rows opened, gets `BackendClosed` from then on.
        """
        ...
