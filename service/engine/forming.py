"""Measured times of this machine and who waits in; who is computed together, what comes next and with how many out.

Pure: on a CPU the figures mostly say that encoder batches of one are best, on a GPU they say otherwise, and which it is
must not be known here.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

JOIN_MARGIN = 0.05
"""What a row must save to join an encoder batch, of the time apart: less is within what timings err."""

ROWS_MARGIN = 0.05
"""What more rows in a decode batch must save a window: each row costs memory, and a step of many makes all wait."""

LAYOUT_MARGIN = 0.10
"""What more executors must gain: each has caches of its own."""


@dataclass(frozen=True, slots=True)
class Point:
    """An encoder batch that was timed: `rows` of `length` positions each."""

    rows: int
    length: int
    ms: float


@dataclass(frozen=True)
class EncodeCosts:
    """What encoder batches cost, by what was measured: linear between the points and in proportion beyond them.

    In proportion means that no row more than were measured ever seems to save time; so measure what may be used.
    """

    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ValueError("Encoder costs need a measured point at least.")

    def cost_ms(self, rows: int, length: int) -> float:
        """Milliseconds of a batch that is padded to `length`."""
        return _between([(count, _between(curve, length)) for count, curve in self._curves], rows)

    @cached_property
    def _curves(self) -> tuple[tuple[int, tuple[tuple[int, float], ...]], ...]:
        """For each number of rows that was measured: (length, ms) of its points."""
        counts = sorted({point.rows for point in self.points})
        return tuple((n, tuple(sorted((p.length, p.ms) for p in self.points if p.rows == n))) for n in counts)


def _between(curve: Sequence[tuple[int, float]], place: int) -> float:
    """The value of a sorted curve at `place`."""
    index = bisect_left(curve, place, key=lambda point: point[0])
    if index in (0, len(curve)):
        at, value = curve[0] if index == 0 else curve[-1]
        return value * place / at
    (before, low), (after, high) = curve[index - 1], curve[index]
    return low + (high - low) * (place - before) / (after - before)


@dataclass(frozen=True, slots=True)
class Batch:
    """Which of those who wait are encoded together, as indices, and why these."""

    picked: tuple[int, ...]
    reason: str


def form(lengths: Sequence[int], costs: EncodeCosts, *, most: int) -> Batch:
    """An encoder batch from the `lengths` of those who wait, in the order of their turn, at most `most` rows.

    The first always goes. Each other joins if the batch, padded to its longest, then takes less time than without it
    and it by itself: a row that others subsidise with their padding stays out.
    """
    if not lengths:
        return Batch((), "nobody waits")
    picked, longest = [0], lengths[0]
    together_ms = apart_ms = costs.cost_ms(1, longest)
    for index, length in enumerate(lengths[1:], start=1):
        if len(picked) >= most:
            break
        alone_ms = costs.cost_ms(1, length)
        joined_ms = costs.cost_ms(len(picked) + 1, max(longest, length))
        if joined_ms < (1 - JOIN_MARGIN) * (together_ms + alone_ms):
            picked.append(index)
            longest, together_ms, apart_ms = max(longest, length), joined_ms, apart_ms + alone_ms
    reason = f"{len(picked)} of {len(lengths)} that wait: {together_ms:.3g} ms together, {apart_ms:.3g} ms apart"
    return Batch(tuple(picked), reason)


@dataclass(frozen=True, slots=True)
class State:
    """An executor between two computations.

    Attributes:
        running: rows that are being decoded.
        capacity: rows that may be.
        waiting: windows that wait for the encoder.
        encodes_since_step: encoder batches since the last step.
    """

    running: int
    capacity: int
    waiting: int
    encodes_since_step: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What an executor computes next, and why."""

    action: Literal["encode", "step", "idle"]
    reason: str


def decide(state: State) -> Decision:
    """What comes next. One encoder batch at most between two steps, so that running rows are not starved."""
    if not state.running:
        return Decision("encode", "no row runs") if state.waiting else Decision("idle", "nothing to do")
    if not state.waiting:
        return Decision("step", "nobody waits")
    if state.running >= state.capacity:
        return Decision("step", f"all {state.capacity} rows are taken")
    if state.encodes_since_step:
        return Decision("step", "running rows have waited for an encoder batch")
    return Decision("encode", f"{state.running} of {state.capacity} rows run and {state.waiting} wait")


def rows_worth(step_ms: Mapping[int, float], encode_ms: float, *, steps: int, most: int) -> tuple[int, str]:
    """How many rows a decode batch should have, with the reason.

    Args:
        step_ms: measured milliseconds of a step, by rows.
        encode_ms: of one window.
        steps: that a window takes.
        most: rows that there is memory for.

    Raises:
        ValueError: nothing was measured.
    """
    if not step_ms:
        raise ValueError("The number of rows needs a measured step at least.")
    window_ms = {rows: encode_ms + steps * ms / rows for rows, ms in sorted(step_ms.items()) if rows <= most}
    if not window_ms:
        return most, f"{most} rows are the most, fewer than were measured"
    best = min(window_ms, key=window_ms.__getitem__)
    rows = next(rows for rows, ms in window_ms.items() if ms <= (1 + ROWS_MARGIN) * window_ms[best])
    reason = f"{rows} rows: {window_ms[rows]:.3g} ms a window; the best is {window_ms[best]:.3g} ms with {best}"
    return rows, reason


@dataclass(frozen=True, slots=True)
class Layout:
    """How the cores are shared out: executors, and the threads of each one's decoder session."""

    executors: int
    threads: int


def layouts(cores: int) -> tuple[Layout, ...]:
    """Those worth measuring: executors in powers of two, and one a core; none that leaves cores for another executor.

    Raises:
        ValueError: there is no core.
    """
    if cores < 1:
        raise ValueError(f"Executors need a core at least, not {cores}.")
    powers = {2**power for power in range(cores.bit_length())}
    shared = [Layout(executors, cores // executors) for executors in sorted(powers | {cores})]
    return tuple(layout for layout in shared if cores // layout.threads == layout.executors)


def best_layout(measured: Mapping[Layout, float]) -> tuple[Layout, str]:
    """The layout of the highest throughput, in any unit, or one with fewer executors that comes near, with the reason.

    Raises:
        ValueError: nothing was measured.
    """
    if not measured:
        raise ValueError("The choice of executors needs a measured layout at least.")
    highest = max(measured.values())
    near = [layout for layout, speed in measured.items() if speed >= (1 - LAYOUT_MARGIN) * highest]
    best = min(near, key=lambda layout: (layout.executors, -measured[layout]))
    reason = f"{best.executors} x {best.threads} threads reach {measured[best]:.3g} of {highest:.3g}, the highest"
    return best, f"{reason} of {len(measured)} measured"


def lane_length(
    needed: int, open_lengths: Sequence[int], buckets: Sequence[int], *, position_ms: float, step_ms: float
) -> int:
    """The length of the decode batch that a row joins: an open one, or a new one of the smallest bucket that fits.

    Args:
        needed: memory positions of the row.
        open_lengths: of the batches that are being decoded and have a free row.
        buckets: the lengths that batches may have.
        position_ms: what a position more costs a step.
        step_ms: the fixed cost of a step, which a new batch pays once more.

    Raises:
        ValueError: no bucket fits.
    """
    bucket = min((bucket for bucket in buckets if bucket >= needed), default=None)
    if bucket is None:
        raise ValueError(f"{needed} positions fit no decode batch; the longest is {max(buckets, default=0)}.")
    nearest = min((length for length in open_lengths if length >= needed), default=None)
    if nearest is not None and (nearest - bucket) * position_ms <= step_ms:
        return nearest
    return bucket
