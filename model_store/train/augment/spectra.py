"""Lengths and filters for Fourier transforms of whole waveforms."""

import numpy as np
import numpy.typing as npt

from service.audio.types import SAMPLE_RATE, Samples

Floats = npt.NDArray[np.float64]

_WINDOW = 512  # 32 ms


def quick_length(least: int) -> int:
    """The shortest length of at least so many samples that is 4, 5, 6 or 7 times a power of 2: quick to transform."""
    scale = 1
    while 7 * scale < least:
        scale *= 2
    return next(times * scale for times in (4, 5, 6, 7) if times * scale >= least)


def frequencies(length: int) -> Floats:
    """In Hz, of the real transform of so many samples."""
    return np.fft.rfftfreq(length, 1 / SAMPLE_RATE).astype(np.float64)


def long_term(samples: Samples) -> Floats:
    """[257]: the mean power of each frequency over windows of 32 ms (Welch, 1967)."""
    padded = np.pad(samples, (0, -len(samples) % _WINDOW or (0 if len(samples) else _WINDOW)))
    frames = padded.reshape(-1, _WINDOW) * np.hanning(_WINDOW).astype(np.float32)
    found: Floats = np.mean(np.square(np.abs(np.fft.rfft(frames, axis=1)), dtype=np.float64), axis=0)
    return found
