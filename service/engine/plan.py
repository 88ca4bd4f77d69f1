"""Candidates with their measured costs and a budget in; the variants that fit, in order, and why not the others out.

Pure: nothing here looks at a disk, a clock or a machine. WER is compared by its loss against a reference, never by
itself: two WERs of different recordings say nothing about each other. `candidates.py` finds the reference.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from model_store.manifest import Precision, Runtime
from service.engine.device import Limit
from service.units import shown_size

Prefer = Literal["balanced", "accuracy", "speed"]
"""What is best among what fits: the quickest answer, the lowest WER, or the most audio a second for many clients."""

UTTERANCE_S = 6.0
"""The length of the utterance whose latency is in a profile."""

TIE = 0.05
"""Latencies and speeds so near are equal: timings err by as much from run to run."""

WER_TIE = 0.1
"""Points of WER that are equal: less than the interval of any set that is worth measuring on."""

SPARE_FOR_ROWS = 0.5
"""Of the memory that a variant leaves, for rows decoded together; the rest is for the audio that waits."""

Obstacle = Literal["unable", "unprofiled", "unevaluated", "memory", "gpu_memory", "latency", "wer_loss"]
"""What rules a variant out; of the last four another budget lets it in."""

IMPOSSIBLE: frozenset[Obstacle] = frozenset({"unable", "memory", "gpu_memory"})
"""What no wish gets over."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What a variant costs on this machine with the budget's cores, as measured.

    Attributes:
        memory_bytes: the most that a server has resident which serves it, one request at a time, one executor.
        row_bytes: for each row more that is decoded at once; of the GPU's memory if it computes there.
        load_ms: to load it and warm it up.
        latency_ms: of an utterance of `UTTERANCE_S` that is served alone.
        speed: seconds of audio a second with all executors busy.
        executors: that compute fastest.
        rows: of a decode batch of one executor, as many as are worth it.
        idle_bytes: resident in that server when it is warm and nothing is asked of it.
        gpu_bytes: the most that it takes of each GPU, one request at a time; 0 if it computes on the CPU.
    """

    memory_bytes: int
    row_bytes: int
    load_ms: float
    latency_ms: float
    speed: float
    executors: int
    rows: int
    idle_bytes: int = 0
    gpu_bytes: int = 0

    def bytes_with(self, *, rows: int, executors: int) -> int:
        return self.memory_bytes + (0 if self.gpu_bytes else (rows * executors - 1) * self.row_bytes)

    def gpu_bytes_with(self, *, rows: int) -> int:
        """Of each GPU: an executor has one for itself."""
        return self.gpu_bytes + (rows - 1) * self.row_bytes if self.gpu_bytes else 0

    def speed_with(self, *, rows: int, executors: int) -> float:
        """Between that of one row, which is known from the latency, and that of all, in proportion to the rows."""
        alone = min(self.speed, 1e3 * UTTERANCE_S / self.latency_ms)
        most = self.rows * self.executors
        return self.speed if most == 1 else alone + (self.speed - alone) * (rows * executors - 1) / (most - 1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant as the plan sees it.

    Attributes:
        base: whether it is the imported one, the reference of its model's losses.
        wer: errors in a hundred words on `data`; None if it was never evaluated.
        wer_loss: points more than the reference on the same recordings; 0 for a reference, None if not to be had.
        reference: what the loss is against, as part of a sentence.
        comparable: False for one whose loss is against another reference than most have: it comes after those.
        costs: None until it is profiled on this machine, with so many cores.
        unable: why this machine cannot run it at all.
    """

    name: str
    model: str
    variant: str
    base: bool
    precision: Precision
    runtime: Runtime
    languages: tuple[str, ...]
    disk_bytes: int
    wer: float | None = None
    wer_loss: float | None = None
    data: str | None = None
    reference: str = ""
    comparable: bool = True
    costs: Costs | None = None
    unable: str | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be used, and what is wanted, each with what set it; infinite where nothing limits it.

    Attributes:
        memory: bytes resident.
        cores: that the costs were measured with.
        gpu_memory: bytes of each GPU; 0 where there is none.
        latency: milliseconds for an utterance of `UTTERANCE_S`.
        wer_loss: points of WER that may be lost; infinite accepts what was never evaluated, too.
    """

    memory: Limit
    cores: Limit
    gpu_memory: Limit
    latency: Limit
    wer_loss: Limit
    prefer: Prefer = "balanced"

    def chose(self, obstacle: Obstacle) -> bool:
        """Whether somebody set the limit that is this obstacle."""
        limits = {"memory": self.memory, "gpu_memory": self.gpu_memory}
        limits |= {"latency": self.latency, "wer_loss": self.wer_loss}
        return obstacle in limits and limits[obstacle].chosen


@dataclass(frozen=True, slots=True)
class Planned:
    """A variant that fits, with as many rows and executors as the memory has room for."""

    candidate: Candidate
    costs: Costs
    rows: int
    executors: int
    reason: str = ""

    @property
    def name(self) -> str:
        return self.candidate.name

    @property
    def memory_bytes(self) -> int:
        return self.costs.bytes_with(rows=self.rows, executors=self.executors)

    @property
    def gpu_bytes(self) -> int:
        return self.costs.gpu_bytes_with(rows=self.rows)

    @property
    def speed(self) -> float:
        return self.costs.speed_with(rows=self.rows, executors=self.executors)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that rules a variant out, with its figures in plain words."""

    obstacle: Obstacle
    reason: str


@dataclass(frozen=True, slots=True)
class Excluded:
    """A variant that is ruled out, and by what."""

    candidate: Candidate
    faults: tuple[Fault, ...]

    @property
    def name(self) -> str:
        return self.candidate.name


@dataclass(frozen=True, slots=True)
class Plan:
    """Every candidate once: those that fit, the best first, and those that do not, by name."""

    budget: Budget
    chosen: tuple[Planned, ...]
    excluded: tuple[Excluded, ...]


def plan(candidates: Sequence[Candidate], budget: Budget) -> Plan:
    """Which variants fit the budget, and in which order it would have them."""
    fitting: list[Planned] = []
    excluded: list[Excluded] = []
    for candidate in sorted(candidates, key=lambda one: one.name):
        faults = faults_of(candidate, budget)
        if faults or candidate.costs is None:
            excluded.append(Excluded(candidate, faults))
        else:
            fitting.append(_sized(candidate, candidate.costs, budget))
    return Plan(budget, _ordered(fitting, budget.prefer), tuple(excluded))


def faults_of(candidate: Candidate, budget: Budget) -> tuple[Fault, ...]:
    """All that keeps a candidate from being served within the budget."""
    if candidate.unable is not None:
        return (Fault("unable", candidate.unable),)
    found = [_loss_fault(candidate, budget.wer_loss), *_cost_faults(candidate.costs, budget)]
    return tuple(fault for fault in found if fault is not None)


def _loss_fault(candidate: Candidate, allowed: Limit) -> Fault | None:
    if math.isinf(allowed.amount):
        return None
    if candidate.wer_loss is None:
        told = f"its loss of WER against {candidate.reference} was never measured on the same recordings"
        return Fault("unevaluated", f"{told}: wren evaluate {candidate.name} --data DIR")
    if candidate.wer_loss <= allowed.amount:
        return None
    return Fault(
        "wer_loss",
        f"loses {candidate.wer_loss:.2f} points of WER against {candidate.reference}, "
        f"more than {allowed.amount:g} ({allowed.reason})",
    )


def _cost_faults(costs: Costs | None, budget: Budget) -> tuple[Fault, ...]:
    if costs is None:
        return (Fault("unprofiled", f"not profiled on this machine with {cores(budget)}: wren profile"),)
    faults: list[Fault] = []
    if costs.memory_bytes > budget.memory.amount:
        needed, there = shown_size(costs.memory_bytes), shown_size(budget.memory.amount, to=math.floor)
        faults.append(Fault("memory", f"needs {needed}, there are {there} ({budget.memory.reason})"))
    if costs.gpu_bytes > budget.gpu_memory.amount:
        needed, there = shown_size(costs.gpu_bytes), shown_size(budget.gpu_memory.amount, to=math.floor)
        told = f"needs {needed} of GPU memory, there are {there} ({budget.gpu_memory.reason})"
        faults.append(Fault("gpu_memory", told))
    if costs.latency_ms > budget.latency.amount:
        reason = f"takes {costs.latency_ms:.0f} ms for {UTTERANCE_S:g} s of speech with {cores(budget)}, "
        faults.append(Fault("latency", f"{reason}{budget.latency.amount:g} ms are allowed ({budget.latency.reason})"))
    return tuple(faults)


def _sized(candidate: Candidate, costs: Costs, budget: Budget) -> Planned:
    """As many rows as the memory has room for; executors go before rows, for each has rows of its own."""
    if costs.gpu_bytes:
        return _sized_on_gpu(candidate, costs, budget)
    spare = SPARE_FOR_ROWS * (budget.memory.amount - costs.memory_bytes)
    most = costs.rows * costs.executors
    room = most if spare >= (most - 1) * costs.row_bytes else 1 + int(spare / costs.row_bytes)
    executors = max(1, min(costs.executors, room // costs.rows))
    return Planned(candidate, costs, min(costs.rows, room // executors), executors)


def _sized_on_gpu(candidate: Candidate, costs: Costs, budget: Budget) -> Planned:
    """The same where each executor has a GPU with memory of its own."""
    spare = SPARE_FOR_ROWS * (budget.gpu_memory.amount - costs.gpu_bytes)
    rows = costs.rows if spare >= (costs.rows - 1) * costs.row_bytes else 1 + int(spare / costs.row_bytes)
    return Planned(candidate, costs, rows, costs.executors)


def _ordered(fitting: Sequence[Planned], prefer: Prefer) -> tuple[Planned, ...]:
    """The best, then the best of the others, and so on: being nearly equal is not transitive, so no sort will do."""
    left, order = list(fitting), list[Planned]()
    while left:
        comparable = [one for one in left if one.candidate.comparable] or list(left)
        tied = _tied(comparable, prefer)
        best = min(tied, key=lambda one: _rank_of_equals(one, prefer))
        order.append(replace(best, reason="; ".join(_reasons(best, tied, comparable, left, prefer))))
        left.remove(best)
    return tuple(order)


def _tied(left: Sequence[Planned], prefer: Prefer) -> list[Planned]:
    """Those that are as good as the best by what is preferred."""
    if prefer == "accuracy":
        lowest = min(_loss(one) for one in left)
        return [one for one in left if _loss(one) <= lowest + WER_TIE]
    if prefer == "speed":
        highest = max(one.speed for one in left)
        return [one for one in left if one.speed * (1 + TIE) >= highest]
    lowest = min(one.costs.latency_ms for one in left)
    return [one for one in left if one.costs.latency_ms <= lowest * (1 + TIE)]


def _rank_of_equals(one: Planned, prefer: Prefer) -> tuple[float, int, str]:
    second = one.costs.latency_ms if prefer == "accuracy" else _loss(one)
    return second, one.costs.memory_bytes, one.name


def _loss(one: Planned) -> float:
    return math.inf if one.candidate.wer_loss is None else one.candidate.wer_loss


_BEST = {"balanced": "the lowest latency", "accuracy": "the lowest WER", "speed": "the most audio a second"}
_SECOND = {
    "balanced": "the lowest WER, then the least memory",
    "accuracy": "the lowest latency",
    "speed": "the lowest WER, then the least memory",
}


def _reasons(
    best: Planned, tied: Sequence[Planned], comparable: Sequence[Planned], left: Sequence[Planned], prefer: Prefer
) -> Iterator[str]:
    """Why it comes before the others that are left, of which `tied` are nearly as good; and what it costs."""
    if len(comparable) == 1:
        yield "the only one left" if len(left) == 1 else "the only one left that can be compared"
    else:
        yield f"{_BEST[prefer]} of {len(comparable)}"
    if len(tied) > 1:
        yield f"give or take {_margin(prefer)}, and of {len(tied)} so near {_SECOND[prefer]}"
    yield _figures(best)
    if not best.candidate.comparable:
        yield "its WER cannot be compared with that of the other models"
    if (best.rows, best.executors) != (best.costs.rows, best.costs.executors):
        most = f"{best.costs.executors} x {best.costs.rows}"
        whose = "the GPU's memory" if best.costs.gpu_bytes else "the memory"
        yield f"{whose} has room for {best.executors} x {best.rows} of {most} executors x rows"


def _margin(prefer: Prefer) -> str:
    return f"{WER_TIE:g} points" if prefer == "accuracy" else f"{TIE:.0%}"


def _figures(one: Planned) -> str:
    loss, costs = one.candidate.wer_loss, one.costs
    lost = "loss of WER unknown" if loss is None else f"{loss:+.2f} points of WER against {one.candidate.reference}"
    lost = "the reference for WER" if one.candidate.reference == one.name else lost
    memory = shown_size(one.memory_bytes) + (f" and {shown_size(one.gpu_bytes)} of the GPU's" if one.gpu_bytes else "")
    return f"{costs.latency_ms:.0f} ms, {one.speed:.0f} times real time, {memory}, {lost}"


def cores(budget: Budget) -> str:
    """The number of cores in words."""
    return "1 core" if budget.cores.amount == 1 else f"{budget.cores.amount:g} cores"
