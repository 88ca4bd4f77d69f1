"""How much audio is in work, and how fast it goes; whether one more recording is let in out. Pure but for `Speed`.

Nothing is accepted that is likely to expire: refusing at once lets a client go elsewhere or come back in time.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from service.audio.types import SAMPLE_RATE

BYTES_PER_S = SAMPLE_RATE * np.dtype(np.float32).itemsize
"""A second of waveform in memory: 64,000."""

MEMORY_SHARE = 0.25
"""Of the memory, for audio in work; models and caches need the rest."""

UNKNOWN_MEMORY_BYTES = 2**30
"""Assumed where the machine does not say."""

MAX_QUEUE_S = 4 * 3600.0

LEAST_QUEUE_S = 120.0
"""Seconds of audio that may wait however little memory a variant leaves: 8 MB, within what its profile errs."""

BASE_BUDGET_S = 120.0
BUDGET_PER_S = 4.0
"""Seconds allowed for each second of audio: a machine that needs more cannot keep up with a speaker by far."""

WAIT_SHARE = 0.5
"""Of its budget, what a recording may be expected to wait; the rest is for its own work and for wrong estimates."""

DOUBT = 1.0
"""How many times over its deadline the estimate must be for a refusal. At 1.0 the estimate is taken at its word, for
speed is measured over the load there is; more gives doubtful ones a chance, at the cost of work done in vain."""

ALONE_S = 1e-3
"""Less audio than this is none: it is what adding and subtracting leaves."""

HALF_LIFE_S = 20.0
"""Busy seconds after which a measurement counts half."""

TRUST_S = 5.0
"""Busy seconds of measurement that the initial guess counts like."""

MIN_SPEED = 0.01
"""Seconds of audio a second; keeps every estimate finite."""


SKETCHES_PER_S = 2.0
"""Interim results a second that a stream is let in with; under load there are fewer."""

SKETCH_S = 5.0
"""Seconds of audio that one costs as much as: a window of 4 s in the mean, all encoded and little of it decoded.
Measured: docs/benchmarks.md, "Live streams"."""

STREAMS_SHARE = 0.8
"""Of the machine, for live streams; speech comes in bursts."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a recording is let in; if not, why, as part of a sentence for the client, and when to try again."""

    accepted: bool
    reason: str
    retry_after_s: float
    cause: Literal["none", "queue", "deadline"]


def queue_limit_s(memory_bytes: int, asked_s: float | None, *, variant_bytes: int | None = None) -> tuple[float, str]:
    """Seconds of audio that may be in work at once, with the reason.

    Args:
        memory_bytes: that the server may use; 0 if unknown.
        asked_s: by a setting.
        variant_bytes: that the variant that mostly serves was planned to need.
    """
    if asked_s is not None:
        return asked_s, "asked for"
    left_s = max(LEAST_QUEUE_S, (memory_bytes - (variant_bytes or 0)) / BYTES_PER_S)
    if memory_bytes and left_s < min(MAX_QUEUE_S, memory_bytes * MEMORY_SHARE / BYTES_PER_S):
        return left_s, f"what the variant leaves of the memory, at {BYTES_PER_S:,} bytes a second"
    share_s = (memory_bytes or UNKNOWN_MEMORY_BYTES) * MEMORY_SHARE / BYTES_PER_S
    if share_s > MAX_QUEUE_S:
        return MAX_QUEUE_S, f"the most there is by default, {MAX_QUEUE_S / 3600:g} hours"
    memory = "the memory" if memory_bytes else f"{UNKNOWN_MEMORY_BYTES / 2**30:g} GiB, for the memory is unknown,"
    return share_s, f"{MEMORY_SHARE:.0%} of {memory} at {BYTES_PER_S:,} bytes a second"


def streams_held(speed: float, asked: int | None) -> tuple[int, str]:
    """Live streams that may be open at once, at least one, with the reason.

    Args:
        speed: seconds of audio that the variant was measured to recognise a second.
        asked: by a setting.
    """
    if asked is not None:
        return asked, "WREN_MAX_STREAMS"
    cost_s = 1 + SKETCHES_PER_S * SKETCH_S
    held = max(1, int(STREAMS_SHARE * speed / cost_s))
    return held, f"measured: {speed:.0f} s of audio a second, and a second of a stream costs as much as {cost_s:.0f}"


def budget_s(duration_s: float) -> float:
    """The engine's own time limit for a recording of this length."""
    return BASE_BUDGET_S + BUDGET_PER_S * duration_s


def admit(
    *,
    duration_s: float,
    ahead_s: float,
    limit_s: float,
    speed: float,
    deadline_s: float | None,
    served_before_s: float | None = None,
) -> Verdict:
    """Whether a recording of `duration_s` is let in.

    Args:
        duration_s: its length.
        ahead_s: seconds of audio in work, all of it. A recording that is alone fits, however long.
        limit_s: the most that may be in work.
        speed: seconds of audio recognised a second, more than 0.
        deadline_s: seconds from now after which the client does not want the answer.
        served_before_s: of `ahead_s`, what is served before this one, if it overtakes some; None for all.
    """
    excess_s = min(ahead_s + duration_s - limit_s, ahead_s)
    if ahead_s > ALONE_S and excess_s > 0:
        return _refused(_full(duration_s, ahead_s, limit_s), excess_s / speed, "queue")
    wait_s = (ahead_s if served_before_s is None else served_before_s) / speed
    answer_s = wait_s + duration_s / speed
    if deadline_s is not None and answer_s > DOUBT * deadline_s:
        reason = f"the answer is expected in {answer_s:,.3g} s and the deadline is {deadline_s:,.3g} s"
        return _refused(reason, min(answer_s - deadline_s, wait_s), "deadline")
    bearable_s = WAIT_SHARE * budget_s(duration_s)
    if wait_s > bearable_s:
        reason = f"the wait is {wait_s:,.0f} s and {bearable_s:,.0f} s are the limit for a recording of this length"
        return _refused(reason, wait_s - bearable_s, "queue")
    return Verdict(accepted=True, reason=f"{wait_s:,.0f} s to wait are expected", retry_after_s=0.0, cause="none")


def _refused(reason: str, retry_after_s: float, cause: Literal["queue", "deadline"]) -> Verdict:
    return Verdict(accepted=False, reason=reason, retry_after_s=retry_after_s, cause=cause)


def _full(duration_s: float, ahead_s: float, limit_s: float) -> str:
    if ahead_s > limit_s:
        return f"{ahead_s:,.0f} s of audio are waiting and {limit_s:,.0f} s are the limit"
    return (
        f"{ahead_s:,.0f} s of audio are waiting and {duration_s:,.0f} s more would pass the limit of {limit_s:,.0f} s"
    )


class Speed:
    """Seconds of audio recognised a second while there is work. Times without work count nothing and forget nothing.

    Each `now` is of one monotonic clock.
    """

    def __init__(self, guess: float) -> None:
        self._audio_s = (guess if math.isfinite(guess) else MIN_SPEED) * TRUST_S
        self._busy_s = TRUST_S
        self._since: float | None = None

    @property
    def value(self) -> float:
        """As of the last that was done; never 0."""
        return max(MIN_SPEED, self._audio_s / self._busy_s)

    def scale(self, factor: float) -> None:
        """Take all that was measured so many times: other weights compute from now on."""
        self._audio_s *= factor

    def started(self, now: float) -> None:
        """There is work from now on; nothing changes if there was already."""
        if self._since is None:
            self._since = now

    def done(self, audio_s: float, now: float) -> None:
        """So much was recognised; ignored while there is no work, for the time that it took is not known."""
        if self._since is not None:
            self._pass(now)
            self._audio_s += audio_s

    def idle(self, now: float) -> None:
        """There is no work from now on."""
        if self._since is not None:
            self._pass(now)
            self._since = None

    def _pass(self, now: float) -> None:
        """Let busy time go by: what was is forgotten by halves, and the seconds that pass are forgotten as they do."""
        since = now if self._since is None else self._since
        kept = 0.5 ** (max(0.0, now - since) / HALF_LIFE_S)
        self._audio_s *= kept
        self._busy_s = self._busy_s * kept + (1 - kept) * HALF_LIFE_S / math.log(2)
        self._since = max(since, now)
