"""Recordings come and go; how much audio is in work, how fast it goes, and whether one more is let in."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from service.engine.admission import WAIT_SHARE, Speed, Verdict, admit, budget_s
from service.engine.queue import WEIGHTS
from service.engine.types import Priority

UNHEARD_BYTES_PER_S = 32_000
"""Of an upload that was not decoded yet: 16 bits at 16 kHz. Most containers are denser, so it is the least."""


MOST_SPREAD_S = 100.0
"""SDKs wait for two minutes at most, and those who were refused may never come back."""


@dataclass(slots=True, eq=False)
class Share:
    """What one recording has in work, and how it stands in the queue."""

    client: str
    priority: Priority
    left_s: float
    due_s: float


class Backlog:
    """Used from the event loop."""

    def __init__(self, limit_s: float, *, speed: float) -> None:
        self.limit_s = limit_s
        self._speed = Speed(speed)
        self._shares: set[Share] = set()
        self._computing = 0
        self._returning_s = 0.0  # audio that was refused and may come again
        self._refused_s = time.monotonic()

    @property
    def waiting_s(self) -> float:
        """Seconds of audio in work that somebody else may have to wait for."""
        return sum(share.left_s for share in self._counted())

    @property
    def speed(self) -> float:
        return self._speed.value

    def scale(self, factor: float) -> None:
        """Expect so many times the speed, for another variant computes from now on."""
        self._speed.scale(factor)

    @property
    def bearable_s(self) -> float:
        """Seconds of audio in work beyond which a short clip would be refused, those included that it overtakes."""
        now = time.monotonic()
        overtaken_s = sum(share.left_s for share in self._counted() if share.due_s > now)
        return min(self.limit_s, WAIT_SHARE * budget_s(0) * self.speed + overtaken_s)

    def _counted(self) -> list[Share]:
        return [share for share in self._shares if share.priority != "background"]

    @contextmanager
    def entered(self, size_bytes: int, *, client: str = "", priority: Priority = "interactive") -> Iterator[Share]:
        """Count an upload, by its size until its length is known, to the end of the block."""
        share = Share(client, priority, size_bytes / UNHEARD_BYTES_PER_S, time.monotonic())
        self._shares.add(share)
        try:
            yield share
        finally:
            self._shares.discard(share)

    @contextmanager
    def computing(self) -> Iterator[None]:
        """A window is in work to the end of the block. Time without any, as with silence, says nothing of the speed."""
        self._computing += 1
        self._speed.started(time.monotonic())
        try:
            yield
        finally:
            self._computing -= 1
            if not self._computing:
                self._speed.idle(time.monotonic())

    def verdict(self, share: Share, *, deadline_s: float | None) -> Verdict:
        """Whether this recording may be in work beside the others.

        Who is refused is told to come back after those that were before, so that they do not all come at once.
        """
        verdict = admit(
            duration_s=share.left_s,
            ahead_s=sum(other.left_s for other in self._counted() if other is not share),
            limit_s=self.limit_s,
            speed=self.speed,
            deadline_s=deadline_s,
            served_before_s=self._before_s(share),
        )
        return verdict if verdict.accepted else self._queued(verdict, share)

    def _queued(self, verdict: Verdict, share: Share) -> Verdict:
        now, speed = time.monotonic(), self.speed
        self._returning_s = max(0.0, self._returning_s - speed * (now - self._refused_s))
        retry_after_s = verdict.retry_after_s + min(self._returning_s / speed, MOST_SPREAD_S)
        self._returning_s += share.left_s
        self._refused_s = now
        return replace(verdict, retry_after_s=retry_after_s)

    def _before_s(self, share: Share) -> float:
        """Audio that is served before this recording: its client's that is due before, and the others' fair share."""
        own_s, others_s = 0.0, defaultdict[tuple[str, Priority], float](float)
        for other in self._shares - {share}:
            if (other.client, other.priority) != (share.client, share.priority):
                others_s[other.client, other.priority] += other.left_s
            elif other.due_s <= share.due_s:
                own_s += other.left_s
        turns_s = (own_s + share.left_s) / WEIGHTS[share.priority]
        return own_s + sum(min(left_s, turns_s * WEIGHTS[priority]) for (_, priority), left_s in others_s.items())

    def heard(self, share: Share, duration_s: float, *, due_s: float) -> None:
        """Its length is known."""
        share.left_s, share.due_s = duration_s, due_s

    def done(self, share: Share, audio_s: float) -> None:
        """So much of it is recognised."""
        share.left_s = max(0.0, share.left_s - audio_s)
        self._speed.done(audio_s, time.monotonic())
