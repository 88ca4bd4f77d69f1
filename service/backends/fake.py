"""A backend whose rows say given lines: for tests of what lies above the seam.

It computes nothing: a memory is a line, and the logits at each step point at the line's next token.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal

import numpy as np

from service.backends.base import BackendClosed, EncoderBatch, Floats, Integers, Step
from service.backends.decoding import ChoosesOnHost
from service.backends.sequences import Memory

LOOK = 10
"""Memory positions between one token and the next, as the attention tells it."""


Fault = Literal["encode", "step", "number", "crash", "memory"]
"""What goes wrong with a batch that a line is in: encoding it fails, a step fails, the thread dies, or a step finds no
memory; "number": the line's logits are not numbers."""


@dataclass(frozen=True, slots=True)
class Line:
    """What a row says.

    Attributes:
        tokens: one a step, and the backend's end token behind the last.
        logit: of the token; all others have 0.
        at_start: a token and its logit at every position of the prompt but the last.
        fault: what is wrong with it.
        sound: how many of its steps go well before a fault that is not the encoding's; 0 fails at the prompt.
    """

    tokens: tuple[int, ...]
    logit: float = 30.0
    at_start: tuple[int, float] | None = None
    fault: Fault | None = None
    sound: int = 0


@dataclass(frozen=True, slots=True)
class FakeMemory:
    """The line that the row says."""

    line: Line
    length: int


@dataclass(slots=True, eq=False)
class FakeBackend(ChoosesOnHost):
    """See `service.backends.base.Backend`. Windows that are encoded say the lines in turn, over and over.

    Attributes:
        chosen: which of the lines a row says, by its features; in turn if left out.
        gate: awaited before every encoding, as if it took so long.
        encoder_rows, decoder_rows, takes_samples, device_bytes: see the seam.
        batches: what was encoded, in order.
        steps: how many rows each step had, in order.
        closed: whether it was.
    """

    lines: Sequence[Line]
    vocabulary: int
    end_token: int
    heads: int = 1
    chosen: Callable[[EncoderBatch], int] | None = None
    gate: threading.Event | None = None
    encoder_rows: int = 1
    decoder_rows: int = 8
    takes_samples: bool = False
    encoder_fits: int = 1000
    decoder_fits: int = 1000
    device_bytes: int = 0
    batches: list[EncoderBatch] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    closed: bool = False

    _turn: "cycle[Line]" = field(init=False)

    def __post_init__(self) -> None:
        self._turn = cycle(self.lines)

    @property
    def memory_bytes(self) -> int:
        return 0

    def row_bytes(self, length: int) -> int:
        return 1

    def encode(self, batch: EncoderBatch) -> list[FakeMemory]:
        self._check_open()
        self.batches.append(batch)
        if self.gate is not None:
            self.gate.wait()
        _check_fits(batch.rows, self.encoder_fits)
        rows = [batch.row(index) for index in range(batch.rows)]
        lines = [next(self._turn) if self.chosen is None else self.lines[self.chosen(row)] for row in rows]
        _fail(lines, "encode")
        return [FakeMemory(line, row.log_weights.shape[1]) for line, row in zip(lines, rows, strict=True)]

    def open(self, *, capacity: int, length: int) -> "FakeRows":
        self._check_open()
        _check_fits(capacity, self.decoder_fits)
        return FakeRows(self, capacity=capacity, length=length)

    def warmup(self) -> None:
        """Nothing is cold."""

    def close(self) -> None:
        self.closed = True

    def _check_open(self) -> None:
        if self.closed:
            raise BackendClosed


def _check_fits(rows: int, fits: int) -> None:
    if rows > fits:
        raise MemoryError(f"{rows} rows, and there is memory for {fits}")


def _fail(lines: Sequence[Line], fault: Fault) -> None:
    if any(line.fault == fault for line in lines):
        raise RuntimeError(f"a line that fails to {fault}")
    if any(line.fault == "crash" for line in lines):
        raise SystemExit("a line that ends the thread")
    if any(line.fault == "memory" for line in lines) and fault == "step":
        raise MemoryError("a line that needs more than there is")


@dataclass(slots=True)
class _Row:
    line: Line
    length: int
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
        if len(self) == self._capacity or memory.length > self._length:
            raise ValueError(f"a row of length {memory.length} does not fit")
        self._rows.append(_Row(memory.line, memory.length))

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
        _fail([row.line for row in rows if row.said >= row.line.sound], "step")
        logits = np.stack([[self._logits(row, at % count, count) for at in wanted] for row in rows])
        attention = np.zeros((len(rows), self._backend.heads, count, self._length), np.float32)
        for index, row in enumerate(rows):
            attention[index, :, :, min(LOOK * row.said, row.length - 1)] = 1
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
        nothing = line.fault == "number" and row.said >= line.sound
        return np.full_like(logits, np.nan) if nothing else logits
