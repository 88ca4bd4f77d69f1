"""Cross-attention of a decoded window in; the time of each token out.

Dynamic time warping along the attention of the heads that follow the audio (openai/whisper, `timing.py`).
"""

import numpy as np
import numpy.typing as npt

from service.backends.base import Floats

_MEDIAN = 7
"""Positions of the median filter: 140 ms."""

Times = npt.NDArray[np.int64]


def token_positions(attention: Floats, positions: int) -> Times:
    """The encoder position where each token begins, the last entry where the text ends.

    Args:
        attention: [heads, tokens + 1, memory length], softmaxed.
        positions: how many at the start of the memory hold the window's audio.
    """
    rows = attention.shape[1]
    used = attention[:, :, :positions]
    if positions == 0 or rows == 0:
        return np.zeros(rows, np.int64)
    used = used / np.maximum(used.sum(axis=-1, keepdims=True), 1e-12)
    spread = used.std(axis=1, keepdims=True)
    used = (used - used.mean(axis=1, keepdims=True)) / np.where(spread == 0, 1, spread)
    return warp(-_median(used).mean(axis=0).astype(np.float64))


def warp(cost: npt.NDArray[np.float64]) -> Times:
    """[rows, columns] -> the column at which the cheapest monotone path enters each row.

    Steps go one row down, one column on, or both (whisper, `timing.py`, `dtw`). A row's horizontal moves are a running
    minimum over prefix sums, so that a row costs a few vector operations.
    """
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    sums = np.concatenate([np.zeros((rows, 1)), np.cumsum(cost, axis=1)], axis=1)
    for row in range(rows):
        entered = np.minimum(total[row, :-1], total[row, 1:]) - sums[row, :-1]
        total[row + 1, 1:] = np.minimum.accumulate(entered) + sums[row, 1:]
    return _entries(total)


def _entries(total: npt.NDArray[np.float64]) -> Times:
    row, column = total.shape[0] - 1, total.shape[1] - 1
    entries = np.zeros(row, np.int64)
    while row > 0:
        entries[row - 1] = column - 1
        diagonal, up, left = total[row - 1, column - 1], total[row - 1, column], total[row, column - 1]
        if diagonal <= up and diagonal <= left:
            row, column = row - 1, column - 1
        elif up <= left:
            row -= 1
        else:
            column -= 1
        if column == 0:
            break
    return entries


def _median(x: Floats) -> Floats:
    """A median filter along the last axis, mirrored at the ends."""
    half = min(_MEDIAN // 2, x.shape[-1] - 1)
    if half <= 0:
        return x
    padded = np.pad(x, ((0, 0), (0, 0), (half, half)), mode="reflect")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=-1)
    return np.partition(around, half, axis=-1)[..., half]
