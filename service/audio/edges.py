"""Spans of speech in; the same spans with edges where the sound itself rises and falls.

The detector answers in chunks of 32 ms and remembers what it heard, so right after a disturbance the same words give
edges that differ by a chunk or two. The steepest change of level close by belongs to the recording alone.
"""

import numpy as np
import numpy.typing as npt

from service.audio.pauses import FRAME, RANGE, STEP, Levels
from service.audio.types import SAMPLE_RATE, Samples, Span

SLOPE = 8
"""Frames on both sides of a point whose levels are compared."""

OUTWARD, INWARD = 15, 10
"""Frames that an edge may move: the padding, 300 ms by default, is longer than the way inward."""

LOUD_PERCENTILE = 90

BREATH = 50
"""Frames before the speech in which the beginning of its sound is looked for."""

LOUDEST_IN = SAMPLE_RATE // 2
"""Samples in which the loudest is looked for."""

SILENCE = 1e-8
"""Mean power below which there is no sound at all: 80 dB under full scale, what is left of zeros after MP3 or Opus."""

_Slope = npt.NDArray[np.float64]


def settled(spans: tuple[Span, ...], level: Levels) -> tuple[Span, ...]:
    """The spans with each edge at the steepest change of level close by, on the grid of 10 ms."""
    if not spans:
        return ()
    slope = _slope(level, _floor(spans, level))
    starts = _moved([span.start for span in spans], slope, back=OUTWARD, ahead=INWARD)
    ends = _moved([span.end for span in spans], -slope, back=INWARD, ahead=OUTWARD)
    moved = zip(spans, starts, ends, strict=True)
    return _apart([Span(start, end) if start < end else span for span, start, end in moved])


def led(spans: tuple[Span, ...], level: Levels, *, preceded: bool) -> tuple[Span, ...]:
    """Padded spans whose words begin where the sound does, if it begins shortly before the speech.

    Sound begins behind digital silence or with the recording, unless that is `preceded` by more of the same sound; a
    breath there belongs to the word behind it. Where it begins before the padding, the span reaches back to it.
    """
    found = []
    free = 0
    for span in spans:
        found.append(_led(span, level, free=free, preceded=preceded))
        free = span.end
    return tuple(found)


def _led(span: Span, level: Levels, *, free: int, preceded: bool) -> Span:
    """The span, from `free` on at the earliest, its grid of 20 ms kept."""
    speech = span.start + span.lead
    first = max(0, speech // FRAME - BREATH)
    silent = np.flatnonzero(level[first : speech // FRAME] < SILENCE)
    if not len(silent) and (preceded or speech // FRAME > BREATH):
        return span
    sound = (first + int(silent[-1]) + 1) * FRAME if len(silent) else 0
    steps = min(-(-max(0, span.start - sound) // STEP), max(0, span.start - free) // STEP)
    start = span.start - steps * STEP
    return Span(start, span.end, lead=max(0, sound - start))


def anchored(spans: tuple[Span, ...], samples: Samples) -> tuple[Span, ...]:
    """Spans that begin whole positions of 20 ms before the loudest sample of their first half second of speech.

    So an encoder sees the same speech at the same place within a position, wherever in a recording it lies.
    """
    found = []
    free = 0
    for span in spans:
        speech = span.start + span.lead
        loudest = speech + int(np.abs(samples[speech : min(span.end, speech + LOUDEST_IN)]).argmax())
        over = (span.start - loudest) % STEP
        start = span.start - over if span.start - over >= free else span.start - over + STEP
        found.append(Span(start, span.end, lead=max(0, speech - start)) if start < span.end else span)
        free = span.end
    return tuple(found)


def _floor(spans: tuple[Span, ...], level: Levels) -> float:
    """The power that counts as silence beside this speech, above zero."""
    speech = np.concatenate([level[span.start // FRAME : -(-span.end // FRAME)] for span in spans])
    return max(float(np.percentile(speech, LOUD_PERCENTILE)) * RANGE, float(np.finfo(np.float32).tiny))


def _slope(level: Levels, floor: float) -> _Slope:
    """By how much the 80 ms after the start of each frame are louder than the 80 ms before it, in nepers times 8."""
    logs = np.full(len(level) + 2 * SLOPE, np.log(floor))
    logs[SLOPE:-SLOPE] = np.log(np.maximum(level, floor))
    total = np.concatenate([np.zeros(1), np.cumsum(logs)])
    slope: _Slope = total[2 * SLOPE :] - 2 * total[SLOPE:-SLOPE] + total[: -2 * SLOPE]
    return slope


def _moved(edges: list[int], slope: _Slope, *, back: int, ahead: int) -> list[int]:
    around = np.array(edges)[:, None] // FRAME + np.arange(-back, ahead + 1)
    around = np.clip(around, 0, len(slope) - 1)
    best = slope[around].argmax(axis=1)
    return [int(frame) * FRAME for frame in around[np.arange(len(edges)), best]]


def _apart(spans: list[Span]) -> tuple[Span, ...]:
    """Neighbours that came to overlap meet in the middle."""
    for i in range(len(spans) - 1):
        left, right = spans[i], spans[i + 1]
        if left.end > right.start:
            middle = (left.end + right.start) // 2 // FRAME * FRAME
            spans[i], spans[i + 1] = Span(left.start, middle), Span(middle, right.end)
    return tuple(spans)
