"""Words with times: which words of two texts are the same, and where a sentence's sound begins."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jiwer
import numpy as np

from service.audio.pauses import FRAME, levels
from service.audio.types import SAMPLE_RATE, Samples

ONSET_DB = 30
"""Below the 95th percentile of a sentence's levels: what is louder for 30 ms is sound. Weak fricatives come late."""

ONSET_FRAMES = 3


@dataclass(frozen=True)
class Timed:
    """A word in lower case without punctuation."""

    text: str
    start_s: float
    end_s: float


def timed(words: Iterable[tuple[str, float, float]]) -> list[Timed]:
    """Words with their starts and ends; what is punctuation alone is left out."""
    plain = (Timed("".join(c for c in text.lower() if c.isalnum() or c == "'"), *times) for text, *times in words)
    return [word for word in plain if word.text]


def matches(one: Sequence[Timed], other: Sequence[Timed]) -> dict[int, int]:
    """Index in `one` to index in `other`, for the words that are the same when the texts are aligned."""
    if not one or not other:
        return {}
    aligned = jiwer.process_words(*(" ".join(word.text for word in words) for words in (one, other))).alignments[0]
    return {
        chunk.ref_start_idx + i: chunk.hyp_start_idx + i
        for chunk in aligned
        if chunk.type == "equal"
        for i in range(chunk.ref_end_idx - chunk.ref_start_idx)
    }


def onset_s(samples: Samples, start_s: float, end_s: float) -> float:
    """Where the sound begins between two times."""
    level = levels(samples[int(start_s * SAMPLE_RATE) : int(end_s * SAMPLE_RATE)])
    loud = level > np.percentile(level, 95) * 10 ** (-ONSET_DB / 10)
    held = np.convolve(loud, np.ones(ONSET_FRAMES), "valid") >= ONSET_FRAMES
    return start_s + float(np.argmax(held)) * FRAME / SAMPLE_RATE
