"""Speech in, speech in noise out: generated noise, or a recording of some.

Generated noise has a power of 1, whatever its kind; it is scaled when it is mixed in.
"""

from typing import Literal

import numpy as np

from model_store.train.augment.levels import active_power, power
from model_store.train.augment.spectra import Floats, frequencies, long_term, quick_length
from service.audio.types import SAMPLE_RATE, Samples

Color = Literal["white", "pink", "brown"]

_LOWEST_HZ = 20.0
"""Beneath it coloured noise has nothing: its power would be at frequencies that nobody hears."""

_EXPONENTS: dict[Color, float] = {"white": 0.0, "pink": -0.5, "brown": -1.0}
"""Of the amplitude over frequency: 0, 3 and 6 dB less an octave up."""

_SYLLABLES_HZ = 4.0
"""Where the envelope of speech is strongest (Houtgast and Steeneken, 1985)."""

_TALKERS = 6
"""Of a babble: with so many no one is understood any longer (Simpson and Cooke, 2005)."""

_HARMONICS = 8


def colored(length: int, color: Color, random: np.random.Generator) -> Samples:
    """Gaussian noise shaped in the frequency domain (Timmer and König, 1995)."""
    hertz = frequencies(quick_length(length))
    gains = np.where(hertz >= _LOWEST_HZ, np.maximum(hertz, _LOWEST_HZ) ** _EXPONENTS[color], 0.0)
    return _of_gains(length, gains, random)


def speech_shaped(length: int, spectrum: Floats, random: np.random.Generator) -> Samples:
    """Noise of a long-term spectrum, mean powers at even steps up to 8 kHz (Plomp and Mimpen, 1979)."""
    hertz = frequencies(quick_length(length))
    steps = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    return _of_gains(length, np.sqrt(np.interp(hertz, steps, spectrum)), random)


def babble(length: int, spectrum: Floats, random: np.random.Generator) -> Samples:
    """Speech-shaped noise that swells as a few talkers do (after the ICRA noises, Dreschler et al., 2001)."""
    steps = max(2, int(length / SAMPLE_RATE * 2 * _SYLLABLES_HZ) + 2)
    swell = np.sqrt(np.square(random.standard_normal((2 * _TALKERS, steps))).mean(axis=0))
    envelope = np.interp(np.linspace(0, steps - 1, length), np.arange(steps), swell).astype(np.float32)
    return _unit(speech_shaped(length, spectrum, random) * envelope)


def hum(length: int, mains_hz: float, random: np.random.Generator) -> Samples:
    """The mains and its harmonics, each at 1/k of the amplitude (a sawtooth's) and of any phase."""
    turns = 2 * np.pi * mains_hz / SAMPLE_RATE * np.arange(length)
    phases = random.uniform(0, 2 * np.pi, _HARMONICS)
    tones = (np.sin(turns * order + phase) / order for order, phase in enumerate(phases, start=1))
    return _unit(np.sum(list(tones), axis=0).astype(np.float32))


def spectrum_of(samples: Samples) -> Floats:
    """For `speech_shaped` and `babble`; flat where nothing sounds."""
    found = long_term(samples)
    return found if found.any() else np.ones_like(found)


def fitted(recording: Samples, length: int, random: np.random.Generator) -> Samples:
    """A piece of a recording from anywhere in it; one that is too short goes round."""
    if not len(recording):
        return np.zeros(length, np.float32)
    if len(recording) >= length:
        start = int(random.integers(0, len(recording) - length + 1))
        return recording[start : start + length]
    return np.resize(np.roll(recording, -int(random.integers(0, len(recording)))), length)


def with_noise(samples: Samples, noise: Samples, snr_db: float) -> Samples:
    """Both together, the noise at the level that gives the ratio: active speech to all of the noise, as power.

    Args:
        samples: the speech; its pauses do not count (`levels.active_power`).
        noise: as long as the speech.
        snr_db: the ratio; where either is silent, the speech stays as it is.
    """
    speech_power, noise_power = active_power(samples), power(noise)
    if not speech_power or not noise_power:
        return samples
    return samples + noise * np.float32(np.sqrt(speech_power / noise_power * 10 ** (-snr_db / 10)))


def _of_gains(length: int, gains: Floats, random: np.random.Generator) -> Samples:
    shape = (len(gains), 2)
    drawn = random.standard_normal(shape, np.float32).view(np.complex64)[:, 0]
    return _unit(np.fft.irfft(drawn * gains.astype(np.float32), quick_length(length))[:length].astype(np.float32))


def _unit(samples: Samples) -> Samples:
    return samples / np.float32(np.sqrt(power(samples)) or 1.0)
