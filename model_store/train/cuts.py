"""Which stretches of a corpus are examples: a pure function of its recordings, a number and a seed."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from model_store.train.corpus import Recording
from service.audio.types import SAMPLE_RATE

Kind = Literal["speech", "silence", "noise"]


class Cut(NamedTuple):
    """Samples of a recording from `first` on, by its number; of a sound without speech only the length counts."""

    kind: Kind
    recording: int
    first: int
    samples: int


class Range(NamedTuple):
    """Lengths in seconds, all orders of magnitude as probable, and how many of the cuts have one of these."""

    share: float
    shortest: float
    longest: float


LENGTHS = (Range(0.18, 0.2, 1.0), Range(0.68, 1.0, 9.5), Range(0.14, 9.5, 30.0))
"""As windows are: mostly of single utterances, some short ones, some full ones."""

SOUNDLESS = 0.05
"""The share of silence, and that of noise."""


def cuts(recordings: Sequence[Recording], count: int, seed: int, *, longest_s: float = 30.0) -> list[Cut]:
    """So many. The place of a cut is at random, so that it may begin or end within a word, as windows sometimes do."""
    random = np.random.default_rng(seed)
    shares = np.array([one.share for one in LENGTHS])
    audio = np.array([one.samples for one in recordings], np.float64)
    found = []
    for _ in range(count):
        taken = LENGTHS[random.choice(len(LENGTHS), p=shares / shares.sum())]
        seconds = min(longest_s, float(np.exp(random.uniform(np.log(taken.shortest), np.log(taken.longest)))))
        which = int(random.choice(len(recordings), p=audio / audio.sum()))
        wanted, place, dice = round(seconds * SAMPLE_RATE), random.random(), random.random()
        samples = min(wanted, recordings[which].samples)
        first = int(place * (recordings[which].samples - samples))
        kind: Kind = "silence" if dice < SOUNDLESS else "noise" if dice < 2 * SOUNDLESS else "speech"
        found.append(Cut(kind, which, first, samples))
    return found
