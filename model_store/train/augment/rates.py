"""Speech in; faster, slower, higher or lower speech out."""

from fractions import Fraction

import av
import numpy as np
import soxr
from av.filter import Graph

from service.audio.types import SAMPLE_RATE, Samples

_BLOCK = 4096


def speed(samples: Samples, factor: float) -> Samples:
    """Played so many times as fast, voice and all: resampled (Ko et al., 2015). Shorter by the factor."""
    found: Samples = soxr.resample(samples, SAMPLE_RATE * factor, SAMPLE_RATE, quality="HQ")
    return _of_length(found, round(len(samples) / factor))


def tempo(samples: Samples, factor: float) -> Samples:
    """Spoken so many times as fast by the same voice, from 0.5 to 2. Shorter by the factor.

    FFmpeg's `atempo`: waveforms that are alike are overlapped (WSOLA: Verhelst and Roelands, 1993).
    """
    graph = Graph()
    source = graph.add_abuffer(format="flt", sample_rate=SAMPLE_RATE, layout="mono", time_base=Fraction(1, SAMPLE_RATE))
    graph.link_nodes(source, graph.add("atempo", f"{factor:.9f}"), graph.add("abuffersink")).configure()
    found: list[Samples] = []
    for start in range(0, len(samples), _BLOCK):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + _BLOCK], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        graph.push(frame)
        found += _pulled(graph)
    graph.push(None)
    found += _pulled(graph)
    return _of_length(np.concatenate([np.zeros(0, np.float32), *found]), round(len(samples) / factor))


def pitch(samples: Samples, semitones: float) -> Samples:
    """Higher or lower by so many semitones, up to 12 either way, and as long as before."""
    factor = 2 ** (semitones / 12)
    return _of_length(tempo(speed(samples, factor), 1 / factor), len(samples))


def _pulled(graph: Graph) -> list[Samples]:
    found: list[Samples] = []
    while True:
        try:
            found.append(graph.pull().to_ndarray().reshape(-1).astype(np.float32))
        except (av.error.BlockingIOError, av.error.EOFError):
            return found


def _of_length(samples: Samples, length: int) -> Samples:
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
