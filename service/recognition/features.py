"""A waveform in; the log-mel spectrogram that Whisper was trained on out (openai/whisper, `audio.py`)."""

import numpy as np

from service.audio.mel import FLOOR, HOP, RANGE, WINDOW, hann, mel_filters
from service.audio.types import Samples
from service.backends.base import Floats

_FRAMES_AT_ONCE = 256


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
    mel: Floats = np.log10(np.maximum(mel_filters(bins) @ power.T, np.float32(FLOOR))).astype(np.float32, copy=False)
    floor = max(float(mel.max(initial=-10.0)) - RANGE, -10.0)
    scaled: Floats = (np.maximum(mel, np.float32(floor)) + np.float32(4)) / np.float32(4)
    return scaled, (floor + 4) / 4


def _power(frames: Floats) -> Floats:
    """[frames, frequencies], some frames at a time: those of 30 s with their spectrum would take 25 MiB more."""
    power = np.empty((len(frames), WINDOW // 2 + 1), np.float32)
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        spectrum = np.fft.rfft(frames[first : first + _FRAMES_AT_ONCE] * hann(), axis=1)
        power[first : first + _FRAMES_AT_ONCE] = spectrum.real**2 + spectrum.imag**2
    return power
