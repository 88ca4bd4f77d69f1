"""Signals, orders and a ladder of variants in; the variant that should serve now, with the reason, out. Pure.

Each rule says what it wants, or nothing if it has no say; the first that wants another rung is followed, else the first
tells why the policy stays.
"""

import math
from collections.abc import Set
from dataclasses import dataclass, replace

from service.engine.ladder import Ladder, Rung
from service.engine.precision import PATIENCE_S, Cause, Decision, Fill, Orders, Signals, Standing
from service.engine.pressure import CARRIED, PRESSED, View, carries, has_room, seen, worth_a_try
from service.units import shown_size

PRESSED_S = 0.5
"""How long pressure must last: less is a burst that is over before another variant serves."""

SETTLE_S = 2.0
"""After a move none is made for load or memory for so long, and after a step down for load the next one takes pressure
that lasts so long without easing: what waited has to drain."""

FULL_S = 1.0
"""How long a memory must be full: what decoding a file takes is soon free again."""

RELEASE_S = 10.0
"""After a step down for memory none is made for so long because one is full still: requests end before it is freed."""

MOST_PATIENCE_S = 600.0
"""The longest that calm must last before a step up."""

SHORT_S, LASTING_S = 120.0, 300.0
"""A step up that lasts less than the first doubles the patience; after one that lasts the second it is as at first."""


BUSY = 0.25
"""Of a rung's measured speed, what comes in where the next rung down is worth its memory."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Of one rule: the rung that it wants, which may be the present one."""

    rung: int
    cause: Cause
    reason: str


def _stay(view: View, reason: str) -> _Verdict:
    return _Verdict(view.standing.rung, view.standing.cause, reason)


def _go(view: View, rung: Rung, cause: Cause, reason: str) -> _Verdict:
    return _Verdict(view.ladder.rungs.index(rung), cause, reason)


def settled(ladder: Ladder, name: str, now_s: float, *, cause: Cause = "start") -> Standing:
    """A fresh standing where a variant serves; at the first rung if it is not on the ladder."""
    return Standing(ladder.place(name) or 0, now_s, cause)


def decide(
    ladder: Ladder, standing: Standing, orders: Orders, signals: Signals, *, blocked: Set[str] = frozenset()
) -> Decision:
    """What should serve now; `blocked` are variants that were seen to fail.

    To be asked a few times a second, but not while a switch is on its way.

    Raises:
        ValueError: the ladder has no rung.
    """
    if not ladder.rungs:
        raise ValueError("A ladder needs a rung at least.")
    standing = replace(standing, rung=min(standing.rung, len(ladder.rungs) - 1))
    view = View(ladder, standing, orders, signals, blocked)
    view = replace(view, standing=seen(view))
    if orders.pin is not None and orders.pin not in blocked:
        place = ladder.place(orders.pin)
        held = replace(
            _fresh(view.standing, signals.now_s), rung=standing.rung if place is None else place, cause="order"
        )
        return Decision(orders.pin, "order", "pinned by an operator", held, view.interims)
    verdicts = [verdict for rule in _RULES if (verdict := rule(view)) is not None]
    verdict = next((one for one in verdicts if one.rung != standing.rung), verdicts[0])
    after = view.standing if verdict.rung == standing.rung else _moved(view, verdict)
    reason = f"{orders.pin} is pinned and failed; {verdict.reason}" if orders.pin else verdict.reason
    return Decision(ladder.rungs[verdict.rung].name, after.cause, reason, after, view.interims)


def foreseen(
    ladder: Ladder, standing: Standing, orders: Orders, signals: Signals, *, blocked: Set[str] = frozenset()
) -> str | None:
    """The variant that a little more load would have serve: to have it in memory by then. None while there is no hurry.

    What loads when the queue grows already takes its time from those who wait.
    """
    view = View(ladder, standing, orders, signals, blocked)
    quicker = [rung for rung in view.below() if _is_quicker(rung, view.rung)]
    if orders.pin is not None or not quicker:
        return None
    busy = view.rung.speed is not None and signals.offered >= BUSY * view.rung.speed
    return quicker[0].name if busy or view.strained else None


def _by_order(view: View) -> _Verdict | None:
    """Off a rung that may not serve: to the nearest one below that may, else above."""
    open_, here = view.open(), view.standing.rung
    if here in open_:
        return None
    if not open_:
        return _stay(view, "every rung that may serve has failed")
    target = min((index for index in open_ if index > here), default=open_[-1])
    name = view.rung.name
    if name in view.blocked:
        return _Verdict(target, "failure", f"{name} cannot serve for now, for it failed")
    return _Verdict(target, "order", f"an operator's bounds leave out {name}")


def _by_memory(view: View) -> _Verdict | None:
    full_s, exhausted, now_s = view.standing.full_since_s, view.signals.exhausted, view.signals.now_s
    if not exhausted and (full_s is None or now_s - full_s < FULL_S):
        return None
    why = f"{exhausted} computations ran out of memory" if exhausted else " and ".join(map(_filled, view.full))
    smaller = _smaller(view)
    if not smaller:
        return _stay(view, f"{why}, and no rung below takes less")
    if view.here_s < (RELEASE_S if view.standing.cause == "memory" and not exhausted else SETTLE_S):
        return _stay(view, f"{why}; the last step was {view.here_s:.1f} s ago")
    return _go(view, smaller[0], "memory", why)


def _filled(fill: Fill) -> str:
    return f"{fill.name} is full: {shown_size(fill.used_bytes)} of {shown_size(fill.limit_bytes)}"


def _smaller(view: View) -> list[Rung]:
    """Rungs below that take less memory; any, where nothing is known of any."""
    if all(rung.memory_bytes is None for rung in view.ladder.rungs):
        return view.below()
    here = math.inf if view.rung.memory_bytes is None else view.rung.memory_bytes
    return [rung for rung in view.below() if rung.memory_bytes is not None and rung.memory_bytes < here]


def _by_load(view: View) -> _Verdict | None:
    standing, signals = view.standing, view.signals
    if standing.pressed_since_s is None:
        return None
    why = _load(view)
    quicker = [rung for rung in view.below() if _is_quicker(rung, view.rung)]
    if not quicker:
        return _stay(view, f"{why}, and no rung below is quicker")
    if signals.delay_s >= view.here_s and not signals.refused:
        return _stay(view, f"{why}, but who waits came before this rung served")
    if view.here_s < SETTLE_S:
        return _stay(view, f"{why}; the last step was {view.here_s:.1f} s ago")
    lasted_s, needed_s = signals.now_s - standing.pressed_since_s, _needed_s(view)
    if lasted_s < needed_s:
        return _stay(view, f"{why} for {lasted_s:.1f} s; {needed_s:.1f} s without easing make a step")
    return _go(view, quicker[0], "load", f"{why}; {_instead(quicker[0], view.rung)}")


def _load(view: View) -> str:
    if view.signals.refused:
        return f"{view.signals.refused} recordings were refused"
    limit_s = view.allowed_s if view.signals.delay_s > view.allowed_s else PRESSED * view.allowed_s
    return f"queue delay {view.signals.delay_s:.2f} s is over {limit_s:.2f} s"


def _is_quicker(rung: Rung, than: Rung) -> bool:
    return rung.speed is None or than.speed is None or rung.speed > than.speed


def _needed_s(view: View) -> float:
    """How long pressure must last: none at all where the target is missed, longer after a step down."""
    if view.standing.cause == "load":
        return SETTLE_S
    return 0.0 if view.signals.refused or view.signals.delay_s > view.allowed_s else PRESSED_S


def _instead(rung: Rung, of: Rung) -> str:
    if rung.speed is None or of.speed is None:
        return f"{rung.name} is the next rung"
    return f"{rung.speed:.0f} times real time instead of {of.speed:.0f}"


def _by_calm(view: View) -> _Verdict:
    standing, signals = view.standing, view.signals
    quiet = f"queue delay {signals.delay_s:.2f} s of {view.allowed_s:.2f} s allowed"
    above = view.above()
    if not above:
        return _stay(view, f"no better rung may serve; {quiet}" if standing.rung else f"the best rung; {quiet}")
    if standing.calm_since_s is None:
        return _stay(view, f"no calm: {_disturbed(above[-1], view) or quiet}")
    calm_s, worth = signals.now_s - standing.calm_since_s, worth_a_try(view)
    if calm_s < standing.patience_s or not worth:
        return _stay(view, f"calm for {calm_s:.0f} s of the {standing.patience_s:.0f} s that a step up takes")
    return _go(view, worth[0], "calm", f"calm for {calm_s:.0f} s; {_comes(worth[0], signals)}")


def _disturbed(rung: Rung, view: View) -> str:
    if not carries(rung, view.signals):
        return f"{_comes(rung, view.signals)}, of which {CARRIED:.0%} may be taken"
    if not has_room(rung, view):
        return f"the memory has no room for {rung.name}"
    return ""


def _comes(rung: Rung, signals: Signals) -> str:
    comes = f"{signals.offered:.0f} s of audio a second come"
    return comes if rung.speed is None else f"{comes} and {rung.name} computes {rung.speed:.0f}"


_RULES = (_by_order, _by_memory, _by_load, _by_calm)


def _moved(view: View, verdict: _Verdict) -> Standing:
    standing, now_s = view.standing, view.signals.now_s
    patience_s = _patience_s(view) if verdict.cause in ("load", "memory") else standing.patience_s
    return replace(_fresh(standing, now_s), rung=verdict.rung, cause=verdict.cause, patience_s=patience_s)


def _fresh(standing: Standing, now_s: float) -> Standing:
    """With all clocks begun anew but that of the interim results."""
    return Standing(
        standing.rung, now_s, standing.cause, strained_s=standing.strained_s, patience_s=standing.patience_s
    )


def _patience_s(view: View) -> float:
    """After a step down: longer if the step up before it did not last."""
    patience_s = view.standing.patience_s
    if view.standing.cause != "calm":
        return patience_s
    if view.here_s < SHORT_S:
        return min(2 * patience_s, MOST_PATIENCE_S)
    return PATIENCE_S if view.here_s >= LASTING_S else patience_s
