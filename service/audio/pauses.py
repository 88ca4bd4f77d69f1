"""A waveform in; its level every 10 ms and the points where it is quiet out.

Where a recording rests is found from the levels around a point alone, never from how far it lies from the beginning:
put something before it and the point stays on the same sound. What is started or cut there follows the recording.
"""

import numpy as np
import numpy.typing as npt

from service.audio.types import SAMPLE_RATE, Samples

FRAME = SAMPLE_RATE // 100
"""10 ms."""

STEP = 2 * FRAME
"""20 ms, one position of the encoders."""

REST = 30
"""Frames over which the level is averaged to find rest: about the shortest pause between phrases."""

REACH = 150
"""A rest is as quiet as any point of this many frames on both sides, so speech gives one every 3 to 4 s."""

RANGE = 10**-4.5
"""Power relative to the loudest moment below which (45 dB) a pause counts as silence, digital or not."""

Levels = npt.NDArray[np.float32]
"""Mean power of each frame of 10 ms; the last one is filled up with silence."""


def levels(samples: Samples) -> Levels:
    whole = len(samples) // FRAME
    frames = samples[: whole * FRAME].reshape(whole, FRAME)
    powers: Levels = np.einsum("ij,ij->i", frames, frames)
    rest = samples[whole * FRAME :]
    if len(rest):
        powers = np.append(powers, np.dot(rest, rest))
    powers /= np.float32(FRAME)
    return powers


def rests(level: Levels) -> npt.NDArray[np.intp]:
    """The frames in the middle of the quietest 300 ms within 1.5 s on both sides, in order, at least one.

    Of a stretch that is silent throughout, it is the last such frame: what follows then looks the same whether the
    silence was long or short. Before the first frame lies silence, so the first rest may be negative.
    """
    around = REACH + REST
    power = np.pad(level.astype(np.float64), around)
    total = np.concatenate([[0.0], np.cumsum(power)])
    smooth = np.maximum(total[REST:] - total[:-REST], 0)
    smooth = np.maximum(smooth, smooth.max() * RANGE)
    middle, following = smooth[REACH : -REACH - 1], smooth[REACH + 1 : -REACH]
    lowest = _lowest(smooth, REACH + 1)
    before, after = lowest[: len(middle)], lowest[REACH : REACH + len(middle)]
    found = np.flatnonzero((middle <= before) & (middle <= after) & (middle < following))
    return found + (REACH + REST // 2 - around)


def quietest(level: Levels, first: int, last: int) -> int:
    """The frame from `first` up to `last` whose surrounding 300 ms are quietest; the last one of equals."""
    start, stop = max(0, first - REST // 2), min(len(level), last + 1 + REST // 2)
    total = np.concatenate([[0.0], np.cumsum(level[start:stop], dtype=np.float64)])
    edges = np.arange(first, last + 1)
    low, high = np.maximum(edges - REST // 2, start), np.minimum(edges + REST // 2, stop)
    power = (total[high - start] - total[low - start]) / np.maximum(high - low, 1)
    return last - int(np.argmin(power[::-1]))


def _lowest(values: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float64]:
    """The minimum of each `width` values in a row, in linear time (van Herk: running minima of blocks, both ways)."""
    count = len(values)
    line = np.full(-(-count // width) * width, np.inf)
    line[:count] = values
    blocks = line.reshape(-1, width)
    forward = np.minimum.accumulate(blocks, axis=1).ravel()
    backward = np.minimum.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.minimum(backward[: count - width + 1], forward[width - 1 : count])
