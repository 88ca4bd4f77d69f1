"""What the tests of speech detection share: the model, recordings, sounds that are no speech."""

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from service.audio.types import SAMPLE_RATE, Samples
from service.audio.vad import SpeechDetector
from tests.store import folder

SECONDS = 4


def model(variant: str) -> Path:
    return folder("silero-vad", variant) / "vad.onnx"


@cache
def detector(variant: str = "fp32") -> SpeechDetector:
    return SpeechDetector(model(variant))


@cache
def recording(name: str) -> Samples:
    """A clip of pytest-audioeval, such as `en/counting`, at 16 kHz."""
    data = (files("pytest_audioeval") / f"samples/audio/{name}.wav").read_bytes()
    samples, rate = soundfile.read(BytesIO(data), dtype="float32")
    return np.ascontiguousarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32)


CLIPS = (
    "en/counting",
    "en/hello_world",
    "en/quick_brown_fox",
    "es/pangrama",
    "fr/comptage",
    "hi/ginti",
    "it/conteggio",
    "ja/kazoeru",
    "pl/pangrama",
    "pt/contagem",
    "zh/nihao_shijie",
    "zh/pangrama",
)


@cache
def talk() -> Samples:
    """The clips in a row, a second of faint noise between them."""
    rng = np.random.default_rng(1)
    parts = []
    for name in CLIPS:
        parts += [recording(name), (rng.standard_normal(SAMPLE_RATE) * 1e-4).astype(np.float32)]
    return np.concatenate(parts)


_TIME = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE


def _noise(colour: float) -> Samples:
    """Noise whose power falls with frequency to the power of `colour`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(np.random.default_rng(2).standard_normal(len(_TIME)))
    noise = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** (colour / 2))
    return np.asarray(noise / np.std(noise), np.float32)


def _tones(*frequencies: float) -> Samples:
    return np.asarray(sum(np.sin(2 * np.pi * f * _TIME) for f in frequencies) / len(frequencies), np.float32)


def _sweep() -> Samples:
    return np.asarray(np.sin(2 * np.pi * (100 + 390 * _TIME) * _TIME), np.float32)


def _dialling() -> Samples:
    return np.asarray(_tones(770, 1336) * (_TIME % 0.4 < 0.2), np.float32)


def _clicks() -> Samples:
    return np.asarray(np.random.default_rng(4).random(len(_TIME)) < 1e-4, np.float32)


NO_SPEECH: dict[str, Callable[[], Samples]] = {
    "silence": lambda: np.zeros(len(_TIME), np.float32),
    "white noise": lambda: _noise(0),
    "pink noise": lambda: _noise(1),
    "brown noise": lambda: _noise(2),
    "hum of 50 Hz": lambda: _tones(50, 100, 150, 200, 250),
    "hum of 60 Hz": lambda: _tones(60, 120, 180, 240, 300),
    "chord": lambda: _tones(261.6, 329.6, 392),
    "ringing": lambda: _tones(440, 480),
    "sweep": _sweep,
    "dialling": _dialling,
    "clicks": _clicks,
}
