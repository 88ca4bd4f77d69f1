"""Signals, orders and a ladder of variants in; the variant that should serve now, with the reason, out. Pure.

A ladder has the best variant first and each next one quicker. Under pressure the policy goes down a rung, in calm up.
It goes up only where the rung above could carry what comes in, and waits longer after each try that did not last, so it
does not flap. What an operator pins is obeyed whatever the load.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Literal

from service.engine.ladder import Ladder

Cause = Literal["start", "load", "memory", "calm", "order", "plan", "failure"]
"""What moved the policy: much load, little memory, calm, an operator, a changed plan, a rung that cannot serve."""


@dataclass(frozen=True, slots=True)
class Fill:
    """How full one memory is; `name` as part of a sentence, such as "memory"."""

    name: str
    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class Signals:
    """What the policy sees at one moment.

    Attributes:
        now_s: monotonic clock.
        delay_s: the longest that a recording somebody waits for lately waited for its turn, or waits now.
        target_s: the answer to a short recording is wanted within so long.
        refused: recordings refused since the last look because too much is waiting.
        offered: seconds of audio that came a second lately, those refused included.
        speed: seconds of audio recognised a second, as lately measured under load; None without load yet.
        memory: those that have a limit.
        exhausted: computations that ran out of memory since the last look.
    """

    now_s: float
    delay_s: float = 0.0
    target_s: float = 1.0
    refused: int = 0
    offered: float = 0.0
    speed: float | None = None
    memory: tuple[Fill, ...] = ()
    exhausted: int = 0


@dataclass(frozen=True, slots=True)
class Orders:
    """An operator's: one variant that serves, or the highest and the lowest rung that may; names of variants."""

    pin: str | None = None
    highest: str | None = None
    lowest: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the policy stands, and what it has to remember.

    Attributes:
        rung: index in the ladder.
        since_s: when it came there.
        pressed_since_s: since when there has been pressure without a break; None without.
        calm_since_s: since when there has been calm without a break; None without.
        patience_s: how long calm must last before the next step up; longer after steps up that did not last.
        rose_s: when it last stepped up.
    """

    rung: int = 0
    since_s: float = 0.0
    pressed_since_s: float | None = None
    calm_since_s: float | None = None
    patience_s: float = 0.0
    rose_s: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What should serve, why, and where the policy stands now.

    Attributes:
        name: the variant.
        cause: what moved the policy there, when it last moved.
        reason: as part of a sentence, with the figures.
        interims: whether interim results may be computed: the first thing to go under pressure.
        standing: to be handed in at the next look.
    """

    name: str
    cause: Cause
    reason: str
    standing: Standing
    interims: bool = True


def decide(
    ladder: Ladder, standing: Standing, orders: Orders, signals: Signals, *, blocked: Set[str] = frozenset()
) -> Decision:
    """What should serve now; `blocked` are variants that were seen to fail."""
    raise NotImplementedError
