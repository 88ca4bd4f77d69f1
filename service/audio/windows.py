"""Spans of speech in, windows of bounded length out, each with a sample-exact map back to the source.

Spans are packed in order and without the silence between them: the padding that they carry is all the pause that a
window holds. So a decision rests on how much speech there is, never on how long someone was silent, and silence put
into a pause changes the map alone. The samples of a window are the source's own; nothing is synthesised.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from service.audio.checkpoint import Checkpoint, always_on
from service.audio.pauses import FRAME, STEP, levels, quietest
from service.audio.types import MAX_WINDOW_S, SAMPLE_RATE, Piece, Samples, Span, Window


def windows(
    samples: Samples,
    spans: tuple[Span, ...],
    *,
    target_s: float = MAX_WINDOW_S,
    max_s: float = MAX_WINDOW_S,
    max_gap_s: float = math.inf,
    checkpoint: Checkpoint = always_on,
) -> tuple[Window, ...]:
    """Pack spans into windows, cut at the pauses between them.

    Args:
        samples: the source.
        spans: speech with its padding, in order and not overlapping.
        target_s: a window ends at a pause before this, if it holds a pause.
        max_s: the most a window holds. A span that is longer is cut where it is quietest in the last third.
        max_gap_s: a longer silence is never within a window: for models that cannot tell times within one.
        checkpoint: passed before every window; what it raises is raised.
    """
    target, limit = _steps(min(target_s, max_s)), _steps(max_s)
    parts = [part for span in spans for part in _divided(samples, span, limit)]
    found = []
    for run in _runs(parts, max_gap_s):
        for first, last in packed([_stepped(part.length) for part in run], target):
            checkpoint()
            found.append(_window(samples, run[first:last]))
    return tuple(found)


def _runs(parts: list[Span], max_gap_s: float) -> Iterator[list[Span]]:
    """The parts in runs without a longer gap."""
    run: list[Span] = []
    for part in parts:
        if run and part.start - run[-1].end > max_gap_s * SAMPLE_RATE:
            yield run
            run = []
        run.append(part)
    if run:
        yield run


def _steps(duration_s: float) -> int:
    """The duration in samples, whole steps, at least one."""
    return max(1, int(duration_s * SAMPLE_RATE) // STEP) * STEP


def _stepped(length: int) -> int:
    """The length in whole steps, rounded up."""
    return -(-length // STEP) * STEP


def _divided(samples: Samples, span: Span, limit: int) -> Iterator[Span]:
    while span.length > limit:
        third = limit - limit // 3
        level = levels(samples[span.start : span.start + limit])
        cut = max(1, quietest(level, third // FRAME, limit // FRAME) // 2) * STEP
        yield Span(span.start, span.start + cut, lead=span.lead)
        span = Span(span.start + cut, span.end)
    yield span


def packed(lengths: list[int], target: int) -> tuple[tuple[int, int], ...]:
    """Which parts share a window, as (first, last) with `last` not included.

    A window takes parts up to `target`, and a longer one alone. Of the places to end it in its last third, it takes the
    one after the longest part: most likely a phrase ended there, and since that does not depend on what went before,
    packing falls back into the same steps soon after something was put in.
    """
    groups = []
    first = 0
    while first < len(lengths):
        last, total, best = first, 0, (-1, first + 1)
        while last < len(lengths) and (last == first or total + lengths[last] <= target):
            total += lengths[last]
            last += 1
            if total > target - target // 3:
                best = max(best, (lengths[last - 1], last))
        if last < len(lengths):
            last = best[1] if best[0] >= 0 else last
        groups.append((first, last))
        first = last
    return tuple(groups)


def _window(samples: Samples, parts: list[Span]) -> Window:
    pieces: list[Piece] = []
    filled = 0
    for run in _joined(parts):
        pieces.append(Piece(filled, run.start, run.length, run.lead))
        filled += run.length
    cuts = [samples[piece.source_start : piece.source_start + piece.length] for piece in pieces]
    return Window(samples=cuts[0] if len(cuts) == 1 else np.concatenate(cuts), pieces=tuple(pieces))


def _joined(parts: list[Span]) -> Iterator[Span]:
    """Parts that touch in the source as one; all but the last in whole steps, so that the next is on the same grid."""
    run = parts[0]
    for part in parts[1:]:
        end = run.start + _stepped(run.length)
        if part.start > end:
            yield replace(run, end=end)
            run = part
        else:
            run = replace(run, end=part.end)
    yield run


def halved(window: Window) -> tuple[Window, Window]:
    """The window in two, cut where it is quietest in its middle third."""
    third = max(1, len(window.samples) // FRAME // 3)
    cut = max(1, quietest(levels(window.samples), third, 2 * third) // 2) * STEP
    return _part(window, 0, cut), _part(window, cut, len(window.samples))


def _part(window: Window, start: int, end: int) -> Window:
    pieces = []
    for piece in window.pieces:
        first, last = max(piece.window_start, start), min(piece.window_start + piece.length, end)
        if first < last:
            skipped = first - piece.window_start
            lead = max(0, piece.lead - skipped)
            pieces.append(Piece(first - start, piece.source_start + skipped, last - first, lead))
    return Window(window.samples[start:end], tuple(pieces))


def start_s(window: Window, time_s: float) -> float:
    """The source time of something that begins at `time_s` of the window: where two pieces meet, it is in the later."""
    sample = _clipped(window, time_s)
    index = bisect_right(window.pieces, sample, key=_window_start) - 1
    return _source_s(window.pieces[max(0, index)], sample)


def end_s(window: Window, time_s: float) -> float:
    """The source time of something that ends at `time_s` of the window: where two pieces meet, it is in the earlier."""
    sample = _clipped(window, time_s)
    index = bisect_left(window.pieces, sample, key=_window_start) - 1
    return _source_s(window.pieces[max(0, index)], sample)


def _clipped(window: Window, time_s: float) -> int:
    return min(max(0, round(time_s * SAMPLE_RATE)), len(window.samples))


def _window_start(piece: Piece) -> int:
    return piece.window_start


def _source_s(piece: Piece, sample: int) -> float:
    return (piece.source_start + sample - piece.window_start) / SAMPLE_RATE
