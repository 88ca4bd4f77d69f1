"""A waveform in; the log-mel spectrogram that Whisper was trained on out (openai/whisper, `audio.py`)."""

from functools import cache

import numpy as np

from service.audio.types import SAMPLE_RATE, Samples
from service.backends.base import Floats

WINDOW = 400
"""Samples a Fourier transform covers: 25 ms."""
HOP = 160
"""Samples from frame to frame: 10 ms."""

_FRAMES_AT_ONCE = 256

_FLOOR = np.float32(1e-10)
_RANGE = 8.0
"""Decades below the loudest value that are kept."""


def log_mel(samples: Samples, bins: int) -> tuple[Floats, float]:
    """[bins, frames], a frame for every HOP samples begun, and the value that digital silence has beside them.

    As the original: centred frames with a mirror at the start and silence behind the end, a Slaney mel scale, log10,
    floored at 8 decades below the loudest value and scaled to about -1 … 1.
    """
    count = -(-len(samples) // HOP)
    half = WINDOW // 2
    padded = np.zeros(half + count * HOP + WINDOW, np.float32)
    padded[half : half + len(samples)] = samples
    mirror = samples[1 : half + 1][::-1]
    padded[half - len(mirror) : half] = mirror
    power = _power(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[: count * HOP : HOP])
    mel: Floats = np.log10(np.maximum(mel_filters(bins) @ power.T, _FLOOR)).astype(np.float32, copy=False)
    floor = max(float(mel.max(initial=-10.0)) - _RANGE, -10.0)
    scaled: Floats = (np.maximum(mel, np.float32(floor)) + np.float32(4)) / np.float32(4)
    return scaled, (floor + 4) / 4


def _power(frames: Floats) -> Floats:
    """[frames, frequencies], some frames at a time: those of 30 s with their spectrum would take 25 MiB more."""
    power = np.empty((len(frames), WINDOW // 2 + 1), np.float32)
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(frames[first : first + _FRAMES_AT_ONCE] * _hann(), axis=1)
        power[first : first + _FRAMES_AT_ONCE] = spectrum.real**2 + spectrum.imag**2
    return power


@cache
def _hann() -> Floats:
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
