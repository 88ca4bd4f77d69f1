"""Waveforms to their power, and to themselves at another level."""

import numpy as np

from service.audio.types import SAMPLE_RATE, Samples

_FRAME = SAMPLE_RATE // 50  # 20 ms
_ACTIVE = 1e-3  # a power 30 dB beneath the loudest frame; pauses and the ends of a recording lie lower


def power(samples: Samples) -> float:
    """The mean square, 0.0 of nothing."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0


def active_power(samples: Samples) -> float:
    """The mean square over the frames of 20 ms that are at most 30 dB beneath the loudest one.

    So pauses do not count, as with the active speech level of ITU-T P.56, whose envelope this is not.
    """
    whole = len(samples) // _FRAME * _FRAME
    if not whole:
        return power(samples)
    frames = np.mean(np.square(samples[:whole].reshape(-1, _FRAME), dtype=np.float64), axis=1)
    return float(frames[frames >= frames.max() * _ACTIVE].mean())


def amplified(samples: Samples, gain_db: float) -> Samples:
    return samples * np.float32(10 ** (gain_db / 20))


def clipped(samples: Samples, share: float) -> Samples:
    """The loudest `share` of all samples, from 0 to 1, cut off at the level that all others stay beneath."""
    if share <= 0 or not len(samples):
        return samples
    loudness = np.abs(samples)
    rank = max(0, len(samples) - 1 - round(share * len(samples)))
    level = np.partition(loudness, rank)[rank]
    return np.clip(samples, -level, level)


def within_scale(samples: Samples) -> Samples:
    """As it is, or softer as a whole where it would leave [-1, 1]: what was mixed keeps its proportions."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples if peak <= 1 else samples / np.float32(peak)
