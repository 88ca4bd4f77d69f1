"""A hypothesis in; whether to believe it out, with the reason.

The thresholds are the original's (openai/whisper, `transcribe.py`).
"""

import zlib
from collections.abc import Sequence

from service.backends.sequences import Hypothesis

MAX_COMPRESSION_RATIO = 2.4
MIN_AVG_LOGPROB = -1.0
MIN_NO_SPEECH_PROB = 0.6

MIN_TOKENS_PER_S = 1.3
EARLY_S = 5.0
"""Shorter windows may well hold one word and its pauses."""


def compression_ratio(text: bytes) -> float:
    """How well the text compresses: high for text that repeats itself. 1 for no text."""
    return len(text) / len(zlib.compress(text)) if text else 1.0


def silent(hypothesis: Hypothesis) -> bool:
    """Whether the model itself took the window for silence."""
    return hypothesis.no_speech_prob > MIN_NO_SPEECH_PROB and hypothesis.avg_logprob < MIN_AVG_LOGPROB


def repeats(hypothesis: Hypothesis, text: bytes) -> bool:
    """Whether it says the same again and again."""
    return hypothesis.looped or compression_ratio(text) > MAX_COMPRESSION_RATIO


def doubt(hypothesis: Hypothesis, text: bytes) -> str | None:
    """Why the window should be decoded again, None if it should not."""
    if hypothesis.looped:
        return "it repeats itself"
    if silent(hypothesis):
        return None
    ratio = compression_ratio(text)
    if ratio > MAX_COMPRESSION_RATIO:
        return f"its compression ratio {ratio:.2f} is over {MAX_COMPRESSION_RATIO}"
    if hypothesis.avg_logprob < MIN_AVG_LOGPROB:
        return f"its mean log-probability {hypothesis.avg_logprob:.2f} is under {MIN_AVG_LOGPROB}"
    return None


def stops_early(hypothesis: Hypothesis, duration_s: float) -> bool:
    """Whether the text is too short for the speech: a decoder can end in the middle of a window, sure of itself.

    Seen on 40 minutes of reading: one window of 25 s with 0.4 tokens a second; all others had 2.7 or more.
    """
    return duration_s >= EARLY_S and len(hypothesis.tokens) < MIN_TOKENS_PER_S * duration_s and not silent(hypothesis)


def best(hypotheses: Sequence[Hypothesis], texts: Sequence[bytes]) -> int:
    """Which of several doubtful hypotheses to take: the most probable that does not repeat itself, if there is one."""

    def rank(index: int) -> tuple[bool, float]:
        return not repeats(hypotheses[index], texts[index]), hypotheses[index].avg_logprob

    return max(range(len(hypotheses)), key=rank)
