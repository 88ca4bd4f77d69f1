"""The mel scale and the window of the spectrograms that Whisper was trained on (openai/whisper, `audio.py`)."""

from functools import cache

import numpy as np
import numpy.typing as npt

from service.audio.types import SAMPLE_RATE

Floats = npt.NDArray[np.float32]

WINDOW = 400
"""Samples a Fourier transform covers: 25 ms."""
HOP = 160
"""Samples from frame to frame: 10 ms."""

FLOOR = 1e-10
"""Power below which nothing is told apart."""
RANGE = 8.0
"""Decades below the loudest value that are kept."""


@cache
def hann() -> Floats:
    return np.hanning(WINDOW + 1)[:-1].astype(np.float32)


@cache
def mel_filters(bins: int) -> Floats:
    """[bins, frequencies]: triangles of equal area, evenly spaced on Slaney's scale (librosa, `filters.mel`)."""
    frequencies = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    edges = _hertz(np.linspace(0, _mel(SAMPLE_RATE / 2), bins + 2))
    widths, ramps = np.diff(edges), edges[:, None] - frequencies
    rising, falling = -ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.maximum(0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


# Slaney's scale: linear up to 1 kHz, then 27 steps for every factor of 6.4 (Auditory Toolbox, 1998).
_LINEAR_HZ = 200 / 3
_KNEE_HZ, _KNEE_MEL = 1000.0, 15.0
_STEP = np.log(6.4) / 27


def _mel(hertz: float) -> float:
    if hertz < _KNEE_HZ:
        return hertz / _LINEAR_HZ
    return float(_KNEE_MEL + np.log(hertz / _KNEE_HZ) / _STEP)


def _hertz(mel: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.where(mel < _KNEE_MEL, mel * _LINEAR_HZ, _KNEE_HZ * np.exp(_STEP * (mel - _KNEE_MEL)))
