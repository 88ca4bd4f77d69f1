"""Words that the audio package and its callers share: waveforms, raw formats, spans, windows."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 16_000
"""Samples a second of every waveform inside Wren."""

MAX_WINDOW_S = 30
"""The most that Whisper's encoder takes (1500 positions of 20 ms)."""

Samples = npt.NDArray[np.float32]

RawEncoding = Literal["linear16", "linear32", "float32", "mulaw", "alaw"]


@dataclass(frozen=True, slots=True)
class RawFormat:
    """How headerless audio is laid out; little-endian, interleaved."""

    encoding: RawEncoding
    sample_rate: int
    channels: int = 1


class Source(Protocol):
    """What audio is read from: a file, or a live stream."""

    def read(self, most: int, /) -> bytes:
        """The next bytes, at least one unless this is the end."""
        ...


@dataclass(frozen=True, slots=True)
class VadOptions:
    """Speech detection, its durations named as the OpenAI protocol has them. `enabled=False` keeps all audio."""

    enabled: bool = True
    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500


@dataclass(frozen=True, slots=True)
class Span:
    """Sound from sample `start` up to, not including, sample `end` of a waveform: speech and its padding.

    Attributes:
        lead: samples at the beginning before the first word begins.
    """

    start: int
    end: int
    lead: int = 0

    @property
    def length(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of window samples that was copied unchanged from the source; `lead` is the span's."""

    window_start: int
    source_start: int
    length: int
    lead: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """At most 30 s of speech and the sample-exact map back to where it came from."""

    samples: Samples
    pieces: tuple[Piece, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE
