"""What the serving model made of a window in; whether a larger one hears it again, and whose text is taken, out. Pure.

A small model mostly knows where it is unsure. Two models err in different places, so the surer of two texts is better
than either model alone: docs/benchmarks.md, "Cascade", has what the numbers here rest on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.recognition.quality import MAX_COMPRESSION_RATIO, compression_ratio
from service.recognition.types import Segment

SURE = 0.8
"""Confidence (exp of the mean log-probability of the tokens) below which a window is heard again. What is surer gains
little and costs most."""

AS_SURE = 0.9
"""Of the first text's confidence, what the second must have to be taken. Two models are not on one scale, and a larger
one that is a little less sure is mostly right."""

SLOWER = 3.0
"""How many times as long as at its measured throughput a single window may take. What shares no batch took twice as
long with whisper-base INT8, and short windows longer."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Yes or no, and why, as part of a sentence."""

    yes: bool
    reason: str


def doubt(segments: Sequence[Segment], *, sure: float = SURE) -> str | None:
    """Why a window is worth a second hearing, None if it is not. Silence is believed: a second model may make it up."""
    if not _pieces(segments):
        return None
    if _repeats(segments):
        return "it repeats itself"
    found = confidence(segments)
    return f"its confidence {found:.2f} is under {sure:g}" if found < sure else None


def again(segments: Sequence[Segment], *, duration_s: float, speed: float, left_s: float) -> Decision:
    """Whether a window is heard again.

    Args:
        segments: what was heard.
        duration_s: of the window.
        speed: seconds of audio that the larger model does in a second.
        left_s: until the answer is wanted, less what the rest of the recording will take.
    """
    reason = doubt(segments)
    if reason is None:
        return Decision(yes=False, reason="it is sure, or silent")
    expected_s = SLOWER * duration_s / speed
    if expected_s > left_s:
        return Decision(yes=False, reason=f"{reason}, but that takes {expected_s:.2g} s and {left_s:.2g} s are left")
    return Decision(yes=True, reason=reason)


def better(first: Sequence[Segment], second: Sequence[Segment], *, as_sure: float = AS_SURE) -> Decision:
    """Whether the larger model's text is taken."""
    if not _pieces(second):
        return Decision(yes=False, reason="the second says nothing")
    if _repeats(second):
        return Decision(yes=False, reason="the second repeats itself")
    if _repeats(first):
        return Decision(yes=True, reason="the first repeats itself")
    before, after = confidence(first), confidence(second)
    return Decision(yes=after >= as_sure * before, reason=f"confidence {after:.2f} after {before:.2f}")


def confidence(segments: Sequence[Segment]) -> float:
    """Of a window, however it is split into segments; 0 without a token."""
    logprobs = [token.logprob for segment in segments for token in segment.tokens]
    return min(1.0, math.exp(sum(logprobs) / len(logprobs))) if logprobs else 0.0


@dataclass(slots=True)
class Tally:
    """How many windows a request had, how many were heard again, how many got the second text."""

    windows: int = 0
    again: int = 0
    taken: int = 0

    def told(self, larger: str) -> str:
        """As part of a sentence; `larger` is a variant's name."""
        return f"{self.again} of {self.windows} windows again by {larger}, {self.taken} taken"


def _pieces(segments: Sequence[Segment]) -> bytes:
    return b"".join(token.piece for segment in segments for token in segment.tokens)


def _repeats(segments: Sequence[Segment]) -> bool:
    return compression_ratio(_pieces(segments)) > MAX_COMPRESSION_RATIO
