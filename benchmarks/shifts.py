"""Silence put into a recording: where, and what became of the times of its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import soundfile

from benchmarks.timing import Timed, matches
from service.audio.pauses import FRAME, levels
from service.audio.types import SAMPLE_RATE, Samples

PAUSE_DB = 35
"""Below the 95th percentile of the levels: what stays under this is a pause."""

PAUSE_FRAMES = 20
"""200 ms, the shortest pause that is taken."""


@dataclass(frozen=True)
class Shift:
    """What became of the words when `silence_s` were put in at `at_s`. A word that this cut in two counts nowhere.

    Attributes:
        off_s: of each later word that is still there, in order, how far it is from where it should be.
        earlier_s: how far each earlier word moved; it should not.
        changed: later words that are there no more.
    """

    name: str
    at_s: float
    silence_s: float
    off_s: tuple[float, ...]
    earlier_s: tuple[float, ...]
    changed: int


def pause_points(samples: Samples, count: int, random: np.random.Generator) -> list[int]:
    """Samples anywhere within pauses, off any grid."""
    level = levels(samples)
    quiet = np.flatnonzero(level < np.percentile(level, 95) * 10 ** (-PAUSE_DB / 10))
    runs = np.split(quiet, np.flatnonzero(np.diff(quiet) > 1) + 1)
    inside = [run for run in runs if len(run) >= PAUSE_FRAMES and run[0] > 0 and run[-1] < len(level) - 1]
    chosen = random.permutation(len(inside))[:count]
    return [int(random.integers(inside[i][0] * FRAME, inside[i][-1] * FRAME)) for i in sorted(chosen)]


def any_points(samples: Samples, count: int, random: np.random.Generator) -> list[int]:
    return sorted(int(at) for at in random.integers(1, len(samples), count))


def inserted(samples: Samples, at: int, silence_s: float) -> Samples:
    return np.concatenate([samples[:at], np.zeros(round(silence_s * SAMPLE_RATE), np.float32), samples[at:]])


def wav(samples: Samples) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def shift(name: str, before: Sequence[Timed], after: Sequence[Timed], *, at_s: float, silence_s: float) -> Shift:
    """Compare the words of a recording before and after the silence was put in."""
    same = matches(before, after)
    moved = [(before[i], after[j]) for i, j in same.items()]
    later = sum(word.start_s >= at_s for word in before)
    off = tuple(new.start_s - old.start_s - silence_s for old, new in moved if old.start_s >= at_s)
    earlier = tuple(new.start_s - old.start_s for old, new in moved if old.end_s <= at_s)
    return Shift(name, at_s, silence_s, off, earlier, later - len(off))
