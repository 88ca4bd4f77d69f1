"""Speech in, speech in a room out: impulse responses, generated or recorded, and their convolution."""

import numpy as np

from model_store.train.augment.levels import active_power
from model_store.train.augment.spectra import quick_length
from service.audio.types import SAMPLE_RATE, Samples

_SOUND_M_S = 343.0

_EARLY_S = 0.08
"""Reflections up to here are computed one by one, those behind are dense enough to be noise (Polack, 1988)."""

_DECAY = 3 * np.log(10)
"""An amplitude falls by so many nepers in the reverberation time, which is 60 dB."""


def decay(rt60_s: float, direct_db: float, random: np.random.Generator) -> Samples:
    """A click and noise that dies away exponentially behind it (Polack's model, 1988).

    Args:
        rt60_s: in which it falls by 60 dB.
        direct_db: the power of the click over that of all the rest.
        random: what it is drawn from.
    """
    count = max(2, round(rt60_s * SAMPLE_RATE))
    tail = random.standard_normal(count) * np.exp(-_DECAY * np.arange(count) / count)
    tail[0] = 0.0
    found: Samples = (tail * np.sqrt(10 ** (-direct_db / 10) / np.square(tail).sum())).astype(np.float32)
    found[0] = 1.0
    return found


def box(rt60_s: float, random: np.random.Generator) -> Samples:
    """A room of random size with a talker and a microphone somewhere in it: image sources (Allen and Berkley, 1979).

    The walls reflect so much that it falls by 60 dB in that time (Sabine's formula); what comes late is noise that
    decays alike.
    """
    size = random.uniform((3.0, 3.0, 2.3), (9.0, 7.0, 3.5))
    talker, microphone = (random.uniform(0.2, 0.8, 3) * size for _ in range(2))
    volume, surface = float(size.prod()), 2 * float(size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    absorbed = min(0.95, 0.161 * volume / (surface * rt60_s))
    orders = [np.arange(-most, most + 1) for most in np.ceil(_EARLY_S * _SOUND_M_S / (2 * size)).astype(int)]
    found = np.zeros(round(rt60_s * SAMPLE_RATE) + SAMPLE_RATE // 20)
    direct_s = float(np.linalg.norm(talker - microphone)) / _SOUND_M_S
    for parity in np.ndindex(2, 2, 2):
        mirrored = [
            2 * order * side + (1 - 2 * flip) * at
            for order, side, flip, at in zip(orders, size, parity, talker, strict=True)
        ]
        offsets = np.meshgrid(*(image - at for image, at in zip(mirrored, microphone, strict=True)), indexing="ij")
        bounces = np.meshgrid(
            *(abs(2 * order - flip) for order, flip in zip(orders, parity, strict=True)), indexing="ij"
        )
        far = np.sqrt(np.square(offsets).sum(axis=0)).ravel()
        level = (1 - absorbed) ** (np.sum(bounces, axis=0).ravel() / 2) / np.maximum(far, 0.1)
        places = np.rint((far / _SOUND_M_S - direct_s) * SAMPLE_RATE).astype(int)
        early = (places >= 0) & (places < _EARLY_S * SAMPLE_RATE)
        np.add.at(found, places[early], level[early])
    late = np.arange(round(_EARLY_S * SAMPLE_RATE), len(found))
    edge = float(np.sqrt(np.square(found[late[0] - SAMPLE_RATE // 100 : late[0]]).mean())) if len(late) else 0.0
    found[late] = edge * random.standard_normal(len(late)) * np.exp(-_DECAY * (late - late[0]) / (rt60_s * SAMPLE_RATE))
    response: Samples = (found / np.abs(found).max()).astype(np.float32)
    return response


def reverberant(samples: Samples, response: Samples) -> Samples:
    """As heard through a response: as long, as loud, and with the direct sound where it was."""
    if not len(samples) or not len(response):
        return samples
    whole = len(samples) + len(response) - 1
    length = quick_length(whole)
    heard = np.fft.irfft(np.fft.rfft(samples, length) * np.fft.rfft(response, length), length)
    first = int(np.abs(response).argmax())
    found = heard[first : first + len(samples)].astype(np.float32)
    before, after = active_power(samples), active_power(found)
    return found * np.float32(np.sqrt(before / after)) if before and after else samples


def rt60(response: Samples) -> float:
    """In seconds, by the slope of the energy that is left, from 5 to 25 dB down (Schroeder, 1965)."""
    left = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    level = 10 * np.log10(np.maximum(left / left[0], 1e-12))
    first, last = int(np.argmax(level <= -5)), int(np.argmax(level <= -25))
    slope = np.polyfit(np.arange(first, last) / SAMPLE_RATE, level[first:last], 1)[0]
    return float(-60 / slope)
