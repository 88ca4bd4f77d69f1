"""A plan in which nothing fits in; the nearest budgets in which something would, and what it is, out. Pure.

First each limit by itself: how far must it move so that one variant fits? If no single one is enough, the combination
that changes the fewest limits, and of these the one that changes them the least.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from service.engine.device import Limit
from service.engine.plan import Budget, Candidate, Excluded, Obstacle, Plan
from service.units import shown_size

Movable = Literal["memory", "gpu_memory", "latency", "wer_loss"]
"""The limits of a budget that can be moved: what stands against them is known in figures."""

MOVABLE: tuple[Movable, ...] = ("memory", "gpu_memory", "latency", "wer_loss")


@dataclass(frozen=True, slots=True)
class Way:
    """Limits at which a variant fits: each with the least that it must be."""

    candidate: Candidate
    limits: tuple[tuple[Movable, float], ...]

    def within(self, budget: Budget) -> Budget:
        """The budget with these limits in place of its own."""
        for name, amount in self.limits:
            budget = _moved(budget, name, Limit(amount, "the nearest"))
        return budget

    def __str__(self) -> str:
        return f"{' with '.join(_told(name, amount) for name, amount in self.limits)} for {self.candidate.name}"


def ways(plan: Plan) -> tuple[Way, ...]:
    """The nearest feasible budgets; none if something fits, or if nothing can be known to."""
    if plan.chosen:
        return ()
    found = [one for one in map(way, plan.excluded) if one is not None]
    single = [one for one in found if len(one.limits) == 1]
    if not single:
        return tuple(sorted(found, key=lambda one: _distance(one, plan.budget))[:1])
    nearest: dict[Movable, Way] = {}
    for one in sorted(single, key=lambda one: (one.limits[0][1], one.candidate.name)):
        nearest.setdefault(one.limits[0][0], one)
    return tuple(nearest[name] for name in MOVABLE if name in nearest)


def way(excluded: Excluded) -> Way | None:
    """What would get this one past all that stands against it; None if moving limits does not."""
    against = {fault.obstacle for fault in excluded.faults}
    if not against or not against <= set[Obstacle](MOVABLE):
        return None
    return Way(
        excluded.candidate, tuple((name, _needed(excluded.candidate, name)) for name in MOVABLE if name in against)
    )


def _needed(candidate: Candidate, name: Movable) -> float:
    costs, needed = candidate.costs, candidate.wer_loss
    if name != "wer_loss" and costs is not None:
        needed = {"memory": costs.memory_bytes, "gpu_memory": costs.gpu_bytes, "latency": costs.latency_ms}[name]
    if needed is None:
        raise AssertionError(f"{candidate.name} was ruled out by a figure that it lacks")
    return needed


def _distance(one: Way, budget: Budget) -> tuple[int, float, str]:
    """How far a way is: a doubling of memory or latency counts like a point of WER."""
    steps = 0.0
    for name, amount in one.limits:
        allowed = limit(budget, name).amount
        steps += amount - allowed if name == "wer_loss" else math.log2(amount / max(allowed, 1.0))
    return len(one.limits), steps, one.candidate.name


def limit(budget: Budget, name: Movable) -> Limit:
    match name:
        case "memory":
            return budget.memory
        case "gpu_memory":
            return budget.gpu_memory
        case "latency":
            return budget.latency
        case "wer_loss":
            return budget.wer_loss


def _moved(budget: Budget, name: Movable, to: Limit) -> Budget:
    match name:
        case "memory":
            return replace(budget, memory=to)
        case "gpu_memory":
            return replace(budget, gpu_memory=to)
        case "latency":
            return replace(budget, latency=to)
        case "wer_loss":
            return replace(budget, wer_loss=to)


def _told(name: Movable, amount: float) -> str:
    """Rounded up, so that what is told is enough."""
    match name:
        case "memory":
            return f"{shown_size(amount)} of memory"
        case "gpu_memory":
            return f"{shown_size(amount)} of GPU memory"
        case "latency":
            return f"{math.ceil(amount)} ms"
        case "wer_loss":
            return f"{math.ceil(amount * 100) / 100:g} points of WER lost"
