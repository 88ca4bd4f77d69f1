"""What the policy that chooses the precision sees, is told and decides. Words only: `policy.py` decides.

A ladder has the best variant first and each next one quicker. Under pressure the policy goes down a rung, in calm up.
It goes up only where the rung above could carry what comes in, and waits longer after each try that did not last, so it
does not flap. What an operator pins is obeyed whatever the load.
"""

import math
from dataclasses import dataclass
from typing import Literal

Cause = Literal["start", "load", "memory", "calm", "order", "plan", "failure"]
"""What moved the policy: much load, little memory, calm, an operator, a changed plan, a rung that cannot serve."""

PATIENCE_S = 10.0
"""How long calm must last before a step up, unless one before did not last."""


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
        since_s: when it came there; of a switch that takes time, when it ended.
        cause: what moved it there.
        pressed_since_s: since when there has been pressure by load that did not ease; None without.
        least_delay_s: the least delay under that pressure, by which it is seen whether it eases.
        full_since_s: since when a memory has been full without a break; None if none is.
        calm_since_s: since when there has been calm, put off by what disturbed it a little; None without.
        strained_s: when the delay was last more than interim results are worth; None if it never was.
        patience_s: how long calm must last before the next step up; longer after steps up that did not last.
    """

    rung: int = 0
    since_s: float = 0.0
    cause: Cause = "start"
    pressed_since_s: float | None = None
    least_delay_s: float = math.inf
    full_since_s: float | None = None
    calm_since_s: float | None = None
    strained_s: float | None = None
    patience_s: float = PATIENCE_S


@dataclass(frozen=True, slots=True)
class Decision:
    """What should serve, why, and where the policy stands now.

    Attributes:
        name: the variant.
        cause: what moved the policy there, when it last moved.
        reason: why it moves, or why it stays; as part of a sentence, with the figures.
        interims: whether interim results may be computed: the first thing to go under pressure.
        standing: to be handed in at the next look.
    """

    name: str
    cause: Cause
    reason: str
    standing: Standing
    interims: bool = True
