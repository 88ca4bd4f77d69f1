"""What a caller asks of the recogniser and what it gets back. Times are seconds of the source audio."""

import math
from dataclasses import dataclass, field
from typing import Literal

Task = Literal["transcribe", "translate"]

FALLBACK_TEMPERATURES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The ladder of the original (whisper, `transcribe.py`): hotter when a window looks wrong."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to recognise.

    Attributes:
        language: ISO-639-1 code; None detects it (multilingual models).
        languages: detection chooses among these; empty means all.
        prompt: text the speech is taken to follow; its tail is kept if it is too long.
        hotwords: words to expect.
        temperatures: tried in order until a window passes the quality checks.
        word_times: align words to the audio (costs a little).
    """

    task: Task = "transcribe"
    language: str | None = None
    languages: tuple[str, ...] = ()
    prompt: str = ""
    hotwords: tuple[str, ...] = ()
    temperatures: tuple[float, ...] = FALLBACK_TEMPERATURES
    word_times: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """A text token (never a special one). `piece` is its bytes: a character may span tokens."""

    id: int
    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Word:
    """`text` carries its leading space as the tokenizer has it; `confidence` is the mean token probability."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, by and large a sentence. `confidence` is exp(mean token log-probability)."""

    start_s: float
    end_s: float
    text: str
    tokens: tuple[Token, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    words: tuple[Word, ...] = ()

    @property
    def confidence(self) -> float:
        return min(1.0, math.exp(self.avg_logprob))


@dataclass(frozen=True, slots=True)
class Language:
    """An ISO-639-1 code with its probability (1.0 where it was given or the model knows one only)."""

    code: str
    probability: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that was recognised. `languages` is sorted, most probable first, never empty."""

    text: str
    segments: tuple[Segment, ...]
    languages: tuple[Language, ...]
    duration_s: float
    task: Task = "transcribe"
    warnings: tuple[str, ...] = field(default=())
