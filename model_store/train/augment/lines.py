"""Speech in, speech as it comes out of a telephone or a lossy codec out: as long, and in the same place."""

import io
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
import soxr
from av.audio.stream import AudioStream

from model_store.train.augment.spectra import frequencies, quick_length
from service.audio.decode import Limits, decode
from service.audio.g711 import from_alaw, from_mulaw
from service.audio.types import SAMPLE_RATE, Samples

Law = Literal["linear", "mulaw", "alaw"]
Lossy = Literal["opus", "mp3", "aac", "amr"]

_TELEPHONE_HZ = 8000
_LOWEST_HZ, _HIGHEST_HZ, _SLOPE_HZ = 300.0, 3400.0, 100.0

_CODES = np.arange(256, dtype=np.uint8)
_LEVELS: dict[Law, Samples] = {
    "mulaw": np.unique(from_mulaw(_CODES)),
    "alaw": np.unique(from_alaw(_CODES)),
}
"""What a companded sample can be, in order (ITU-T G.711)."""

_ENCODERS: dict[Lossy, tuple[str, str, int]] = {
    "opus": ("libopus", "ogg", SAMPLE_RATE),
    "mp3": ("libmp3lame", "mp3", SAMPLE_RATE),
    "aac": ("aac", "adts", SAMPLE_RATE),
    "amr": ("libopencore_amrnb", "amr", _TELEPHONE_HZ),
}
"""Encoder, container and rate."""

_AMR_BIT_S = 12_200
"""It has a few bit rates of its own; this is the one of mobile telephones."""
_MOST_DELAY_S = 0.25


def telephone(samples: Samples, law: Law) -> Samples:
    """300 to 3400 Hz at 8 kHz, companded (ITU-T G.711), and back at 16 kHz."""
    narrow: Samples = soxr.resample(_banded(samples), SAMPLE_RATE, _TELEPHONE_HZ)
    if law != "linear":
        narrow = _nearest(np.clip(narrow, -1, 1), _LEVELS[law])
    found: Samples = soxr.resample(narrow, _TELEPHONE_HZ, SAMPLE_RATE)
    return _fitted(found, len(samples))


def coded(samples: Samples, codec: Lossy, kbit_s: float) -> Samples:
    """Through a codec and back. What it delays is found by correlation and taken off."""
    encoder, container, rate = _ENCODERS[codec]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = cast(AudioStream, output.add_stream(encoder, rate=rate, layout="mono"))
        stream.bit_rate = _AMR_BIT_S if codec == "amr" else round(kbit_s * 1000)
        pcm = np.round(np.clip(soxr.resample(samples, SAMPLE_RATE, rate), -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    found = decode(file.getvalue(), limits=Limits(max_duration_s=len(samples) / SAMPLE_RATE + 10)).samples
    return _fitted(_advanced(found, _delay(samples, found)), len(samples))


def _banded(samples: Samples) -> Samples:
    length = quick_length(max(1, len(samples)))
    hertz = frequencies(length)
    rising, falling = (hertz - _LOWEST_HZ) / _SLOPE_HZ + 1, (_HIGHEST_HZ - hertz) / _SLOPE_HZ + 1
    gains = np.clip(np.minimum(rising, falling), 0, 1)
    return np.fft.irfft(np.fft.rfft(samples, length) * gains, length)[: len(samples)].astype(np.float32)


def _nearest(samples: Samples, levels: Samples) -> Samples:
    """The level closest to each sample."""
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, samples)]


def _delay(before: Samples, after: Samples) -> int:
    """By how many samples `after` is late, or early, at most a quarter of a second either way."""
    most = round(_MOST_DELAY_S * SAMPLE_RATE)
    length = quick_length(len(before) + len(after) + most)
    product = np.fft.rfft(after, length) * np.conj(np.fft.rfft(before, length))
    likeness = np.fft.irfft(product, length)
    likeness = np.concatenate([likeness[-most:], likeness[: most + 1]])
    return int(likeness.argmax()) - most


def _advanced(samples: Samples, count: int) -> Samples:
    return samples[count:] if count >= 0 else np.pad(samples, (-count, 0))


def _fitted(samples: Samples, length: int) -> Samples:
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32, copy=False)
