"""Long recordings in; windows of 30 s of real speech, cut anywhere, out. Speech is not looked for."""

import argparse
from collections.abc import Iterator, Sequence
from itertools import cycle, islice

import numpy as np

from benchmarks import options
from benchmarks.pipeline import waveform
from benchmarks.speech import Utterance
from service.audio.types import MAX_WINDOW_S, SAMPLE_RATE, Piece, Samples, Window

OFFSETS_S = (0, 10, 20)
"""Where cutting begins, one time after another: three times as many windows, each with another beginning."""


def cut(samples: Samples, seconds: float, *, offset_s: float = 0.0) -> Iterator[Window]:
    """Whole windows, one behind the other."""
    length = round(seconds * SAMPLE_RATE)
    for start in range(round(offset_s * SAMPLE_RATE), len(samples) - length + 1, length):
        yield Window(samples[start : start + length], (Piece(0, start, length),))


def windows(waveforms: Sequence[Samples], *, seconds: float = MAX_WINDOW_S) -> list[Window]:
    """Of all recordings at each offset."""
    return [one for offset_s in OFFSETS_S for samples in waveforms for one in cut(samples, seconds, offset_s=offset_s)]


def repeated(found: Sequence[Window], count: int) -> list[Window]:
    """So many of them; all of them again where there are fewer."""
    return list(islice(cycle(found), count))


def spoken(asked: argparse.Namespace) -> tuple[list[Utterance], list[Samples]]:
    """The English recordings that are asked for; those without --data, which are short, as one that is long enough."""
    utterances = [u for u in options.utterances(asked) if u.lang == "en"]
    waveforms = [waveform(u) for u in utterances]
    if asked.data:
        return utterances, waveforms
    joined = np.concatenate(waveforms)
    return utterances, [np.tile(joined, 1 + (MAX_WINDOW_S + max(OFFSETS_S)) * SAMPLE_RATE // len(joined))]
