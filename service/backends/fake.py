"""A backend whose rows say given lines: for tests of what lies above the seam.

It computes nothing: a memory is a line, and the logits at each step point at the line's next token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle

import numpy as np

from service.backends.base import EncoderBatch, Floats, Integers, Memory, Step

LOOK = 10
"""Memory positions between one token and the next, as the attention tells it."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a row says.

    Attributes:
        tokens: one a step, and the backend's end token behind the last.
        logit: of the token; all others have 0.
        at_start: a token and its logit at every position of the prompt but the last.
    """

    tokens: tuple[int, ...]
    logit: float = 30.0
    at_start: tuple[int, float] | None = None


@dataclass(frozen=True, slots=True)
class FakeMemory:
    """A line a row."""

    lines: tuple[Line, ...]
    length: int

    @property
    def rows(self) -> int:
        return len(self.lines)


@dataclass(slots=True, eq=False)
class FakeBackend:
    """See `service.backends.base.Backend`. Windows that are encoded say the lines in turn, over and over.

    Attributes:
        batches: the features of every encoding, in order.
        steps: how many rows each step had, in order.
        closed: whether it was.
    """

    lines: Sequence[Line]
    vocabulary: int
    end_token: int
    heads: int = 1
    batches: list[EncoderBatch] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    closed: bool = False

    _turn: "cycle[Line]" = field(init=False)

    def __post_init__(self) -> None:
        self._turn = cycle(self.lines)

    @property
    def memory_bytes(self) -> int:
        return 0

    def encode(self, batch: EncoderBatch) -> FakeMemory:
        self.batches.append(batch)
        return FakeMemory(tuple(next(self._turn) for _ in range(batch.rows)), batch.log_weights.shape[1])

    def open(self, *, capacity: int, length: int) -> "FakeRows":
        return FakeRows(self, capacity=capacity, length=length)

    def warmup(self) -> None:
        """Nothing is cold."""

    def close(self) -> None:
        self.closed = True


@dataclass(slots=True)
class _Row:
    line: Line
    said: int = 0


class FakeRows:
    """See `service.backends.base.Rows`."""

    def __init__(self, backend: FakeBackend, *, capacity: int, length: int) -> None:
        self._backend, self._capacity, self._length = backend, capacity, length
        self._rows: list[_Row] = []

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, memory: Memory) -> None:
        if not isinstance(memory, FakeMemory):
            raise TypeError(f"memory of another backend: {type(memory).__name__}")
        if len(self) + memory.rows > self._capacity or memory.length > self._length:
            raise ValueError(f"{memory.rows} rows of length {memory.length} do not fit")
        self._rows += [_Row(line) for line in memory.lines]

    def leave(self, slot: int) -> None:
        last = self._rows.pop()
        if slot < len(self):
            self._rows[slot] = last

    def step(self, tokens: Integers, *, first: int = 0, wanted: tuple[int, ...] = (-1,)) -> Step:
        count = tokens.shape[1]
        rows = self._rows[first : first + len(tokens)]
        if len(rows) < len(tokens):
            raise IndexError(f"slots {first} to {first + len(tokens) - 1} of {len(self)}")
        self._backend.steps.append(len(rows))
        logits = np.stack([[self._logits(row, at % count, count) for at in wanted] for row in rows])
        attention = np.zeros((len(rows), self._backend.heads, count, self._length), np.float32)
        for index, row in enumerate(rows):
            attention[index, :, :, min(LOOK * row.said, self._length - 1)] = 1
            row.said += 1
        return Step(logits, attention)

    def _logits(self, row: _Row, at: int, count: int) -> Floats:
        line, logits = row.line, np.zeros(self._backend.vocabulary, np.float32)
        if at == count - 1:
            token = line.tokens[row.said] if row.said < len(line.tokens) else self._backend.end_token
            logits[token] = line.logit
        elif line.at_start is not None:
            token, logit = line.at_start
            logits[token] = logit
        return logits
