"""A server in miniature for tests of the policy: clips come, wait in one line and are computed at the speed of the rung
that served when they came; the policy is asked four times a second, and a switch takes its time. Seeded, no clock."""

import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from service.engine.delays import LATELY_S
from service.engine.ladder import Ladder, Rung
from service.engine.policy import decide
from service.engine.precision import Cause, Orders, Signals, Standing

LOOK_S = 0.25
EXECUTORS = 2
CLIP_S = 6.0

HIGH = Rung("tiny:fp32", speed=107, latency_ms=107, memory_bytes=463_000_000, wer_loss=0.0)
MIDDLE = Rung("tiny:bf16", speed=180, latency_ms=80, memory_bytes=476_000_000, wer_loss=0.1)
LOW = Rung("tiny:int8", speed=237, latency_ms=68, memory_bytes=400_000_000, wer_loss=0.4)
TWO = Ladder((HIGH, LOW))
THREE = Ladder((HIGH, MIDDLE, LOW))

Clip = tuple[float, float]
"""When it comes, and how long it is, in seconds."""


@dataclass(frozen=True)
class Move:
    """To a rung; at `s` it was decided, at `done_s` it served."""

    s: float
    done_s: float
    rung: int
    cause: Cause
    reason: str


@dataclass
class Outcome:
    """What happened: the moves, what each clip waited as (came, waited), and those that were refused."""

    moves: list[Move] = field(default_factory=list)
    waits: list[tuple[float, float]] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def p95_s(self, since_s: float = 0.0, until_s: float = math.inf) -> float:
        waits = sorted(waited for came, waited in self.waits if since_s <= came < until_s)
        return waits[int(0.95 * len(waits))] if waits else 0.0

    def rungs(self) -> list[int]:
        return [move.rung for move in self.moves]


@dataclass
class Server:
    """Feed it a trace with `run`.

    Attributes:
        live: what it computes of what the profiles say.
        load_s: how long a switch takes; in that time it computes half as much.
        limit_s: seconds of audio in its queue; more is refused.
    """

    ladder: Ladder = TWO
    live: float = 0.8
    load_s: float = 1.0
    limit_s: float = 1000.0
    target_s: float = 1.0
    orders: Orders = field(default_factory=Orders)
    standing: Standing = field(default_factory=Standing)
    outcome: Outcome = field(default_factory=Outcome)
    serving: int = 0
    _switch: Move | None = None
    _after: Standing | None = None
    _queue: deque[tuple[float, float, int]] = field(default_factory=deque)
    _free_s: list[float] = field(default_factory=lambda: [0.0] * EXECUTORS)
    _lately: deque[Clip] = field(default_factory=deque)
    _worst_s: float = 0.0
    _refused: int = 0

    def run(self, clips: Sequence[Clip], until_s: float) -> Outcome:
        coming = deque(clips)
        for look in range(1, int(until_s / LOOK_S) + 1):
            now_s = look * LOOK_S
            while coming and coming[0][0] <= now_s:
                self._take(*coming.popleft())
            self._compute(now_s)
            self._look(now_s)
        return self.outcome

    def _take(self, came_s: float, clip_s: float) -> None:
        self._compute(came_s)
        self._lately.append((came_s, clip_s))
        if sum(waiting_s for _, waiting_s, _ in self._queue) + clip_s > self.limit_s:
            self._refused += 1
            self.outcome.refused.append(came_s)
        else:
            self._queue.append((came_s, clip_s, self.serving))

    def _compute(self, now_s: float) -> None:
        """Start all that starts before now."""
        while self._queue:
            came_s, clip_s, rung = self._queue[0]
            executor = self._free_s.index(min(self._free_s))
            start_s = max(came_s, self._free_s[executor])
            if start_s > now_s:
                return
            self._queue.popleft()
            speed = (self.ladder.rungs[rung].speed or math.inf) * self.live / EXECUTORS
            self._free_s[executor] = start_s + clip_s / (speed / 2 if self._switch else speed)
            self._worst_s = max(self._worst_s, start_s - came_s)
            self.outcome.waits.append((came_s, start_s - came_s))

    def signals(self, now_s: float) -> Signals:
        while self._lately and self._lately[0][0] <= now_s - LATELY_S:
            self._lately.popleft()
        delay_s = max(self._worst_s, now_s - self._queue[0][0] if self._queue else 0.0)
        offered = sum(clip_s for _, clip_s in self._lately) / LATELY_S
        found = Signals(now_s, delay_s, self.target_s, refused=self._refused, offered=offered)
        self._worst_s, self._refused = 0.0, 0
        return found

    def _look(self, now_s: float) -> None:
        signals = self.signals(now_s)
        if self._switch is not None and self._after is not None:
            if now_s < self._switch.done_s:
                return
            self.serving, self.standing = self._switch.rung, replace(self._after, since_s=now_s)
            self._switch = self._after = None
            return
        decision = decide(self.ladder, self.standing, self.orders, signals)
        if decision.standing.rung == self.serving:
            self.standing = decision.standing
            return
        self._after = decision.standing
        self._switch = Move(now_s, now_s + self.load_s, decision.standing.rung, decision.cause, decision.reason)
        self.outcome.moves.append(self._switch)


def poisson(
    rate: Callable[[float], float], *, until_s: float, seed: int, clip_s: tuple[float, float] = (CLIP_S, CLIP_S)
) -> list[Clip]:
    """Clips that come by chance; `rate` is seconds of audio a second at a time."""
    return list(_drawn(rate, until_s, random.Random(seed), clip_s))


def _drawn(
    rate: Callable[[float], float], until_s: float, rng: random.Random, clip_s: tuple[float, float]
) -> Iterator[Clip]:
    """By thinning, 2 ms at a time."""
    mean_s, step_s = sum(clip_s) / 2, 0.002
    for index in range(int(until_s / step_s)):
        if rng.random() < rate(index * step_s) * step_s / mean_s:
            yield index * step_s, rng.uniform(*clip_s)
