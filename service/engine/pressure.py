"""A rung and what was seen, in; how hard the rung is pressed, since when, and where it could give way, out. Pure."""

import math
from collections.abc import Set
from dataclasses import dataclass, replace

from service.engine.ladder import Ladder, Rung
from service.engine.precision import Fill, Orders, Signals, Standing

LEAST_ALLOWED = 0.5
"""Of the target, the delay that is allowed however long a rung takes by itself."""

PRESSED = 0.5
"""Of the delay that a rung allows; more is pressure."""

EASED = 0.9
"""Of the least delay under pressure; at less it eases, and the rung is left to it."""

STRAINED = 0.25
"""Of the allowed delay, what ends calm."""

INTERIMS_S = 2.0
"""How long it takes until interim results are back, which pressure costs: who speaks misses them sooner than who waits
for a file misses the time that they take."""

FULL, ROOMY = 0.95, 0.85
"""Of a memory's limit, what is pressure, and what a step up may find in use."""

CARRIED = 0.6
"""Of a rung's measured speed, what may come in for a step up to it. Profiles leave out HTTP and the decoding of files,
and near its capacity a queue grows by chance."""

DISTURBED_S = 2.0
"""What a look without calm takes off the calm so far: a queue by chance is no end of it; one look in ten is."""


@dataclass(frozen=True, slots=True)
class View:
    """All that a rule looks at."""

    ladder: Ladder
    standing: Standing
    orders: Orders
    signals: Signals
    blocked: Set[str]

    @property
    def rung(self) -> Rung:
        return self.ladder.rungs[self.standing.rung]

    @property
    def here_s(self) -> float:
        """How long the present rung has served."""
        return self.signals.now_s - self.standing.since_s

    @property
    def allowed_s(self) -> float:
        """The delay with which an answer still comes within the target."""
        target_s = self.signals.target_s
        if self.rung.latency_ms is None:
            return LEAST_ALLOWED * target_s
        return max(target_s - self.rung.latency_ms / 1e3, LEAST_ALLOWED * target_s)

    @property
    def pressed(self) -> bool:
        return self.signals.refused > 0 or self.signals.delay_s > PRESSED * self.allowed_s

    @property
    def strained(self) -> bool:
        return self.signals.refused > 0 or self.signals.delay_s > STRAINED * self.allowed_s

    @property
    def full(self) -> tuple[Fill, ...]:
        return full(self.signals)

    @property
    def interims(self) -> bool:
        strained_s = self.standing.strained_s
        return strained_s is None or self.signals.now_s - strained_s >= INTERIMS_S

    def open(self) -> list[int]:
        """The rungs that orders and failures leave."""
        rungs = self.ladder.rungs
        highest, lowest = (
            self.ladder.place(name) if name else None for name in (self.orders.highest, self.orders.lowest)
        )
        first = 0 if highest is None else highest
        last = len(rungs) - 1 if lowest is None else max(lowest, first)
        return [index for index in range(first, last + 1) if rungs[index].name not in self.blocked]

    def below(self) -> list[Rung]:
        return [self.ladder.rungs[index] for index in self.open() if index > self.standing.rung]

    def above(self) -> list[Rung]:
        return [self.ladder.rungs[index] for index in self.open() if index < self.standing.rung]


def full(signals: Signals) -> tuple[Fill, ...]:
    """The memories that are full."""
    return tuple(fill for fill in signals.memory if fill.used_bytes > FULL * fill.limit_bytes > 0)


def seen(view: View) -> Standing:
    """The standing with its clocks as of now."""
    standing, now_s = view.standing, view.signals.now_s
    pressed_s, least_s = _pressed_since(view)
    harried = view.pressed or bool(view.full) or view.signals.exhausted > 0
    return replace(
        standing,
        pressed_since_s=pressed_s,
        least_delay_s=least_s,
        full_since_s=_kept(standing.full_since_s, now_s) if view.full else None,
        calm_since_s=None if harried else _calm_since(view),
        strained_s=now_s if harried else standing.strained_s,
    )


def _kept(since_s: float | None, now_s: float) -> float:
    return now_s if since_s is None else since_s


def _pressed_since(view: View) -> tuple[float | None, float]:
    """Since when there has been pressure that does not ease, and the least delay under it."""
    since_s, least_s, delay_s = view.standing.pressed_since_s, view.standing.least_delay_s, view.signals.delay_s
    if not view.pressed:
        return None, math.inf
    if since_s is None or delay_s < EASED * least_s:
        return view.signals.now_s, delay_s
    return since_s, least_s


def _calm_since(view: View) -> float | None:
    since_s, now_s = view.standing.calm_since_s, view.signals.now_s
    if not view.strained and worth_a_try(view):
        return _kept(since_s, now_s)
    return None if since_s is None or since_s + DISTURBED_S > now_s else since_s + DISTURBED_S


def worth_a_try(view: View) -> list[Rung]:
    """The rungs above that could carry what comes in, in the memory that there is."""
    return [rung for rung in view.above() if carries(rung, view.signals) and has_room(rung, view)]


def carries(rung: Rung, signals: Signals) -> bool:
    return rung.speed is None or signals.offered <= CARRIED * rung.speed


def has_room(rung: Rung, view: View) -> bool:
    """Whether memory allows a step up. What went for memory's sake is not there any more and is to be added."""
    more = math.inf
    if rung.memory_bytes is not None and view.rung.memory_bytes is not None:
        more = rung.memory_bytes - view.rung.memory_bytes
    if more <= 0:
        return True
    added = more if view.standing.cause == "memory" and more < math.inf else 0
    return all(fill.used_bytes + added <= ROOMY * fill.limit_bytes for fill in view.signals.memory if fill.limit_bytes)
