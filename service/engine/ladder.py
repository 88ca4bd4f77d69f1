"""A plan in; the ladder of variants that the precision policy goes up and down out. Pure."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from model_store.manifest import Manifest
from service.engine.plan import IMPOSSIBLE, WER_TIE, Candidate, Excluded, Plan, Planned

STEP = 0.15
"""What a rung must compute more than the one above it: less is not worth a switch; timings err by a third of it."""

NOT_HERE = "the store has no such variant"


@dataclass(frozen=True, slots=True)
class Rung:
    """A variant on the ladder, with what is known of it on this machine; None is not measured.

    Attributes:
        speed: seconds of audio a second with all executors busy.
        latency_ms: of six seconds of speech alone.
        memory_bytes: resident in a server that serves it.
        wer_loss: points.
        reason: why it stands there.
    """

    name: str
    speed: float | None = None
    latency_ms: float | None = None
    memory_bytes: int | None = None
    wer_loss: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The best first, each next one quicker; and what is not on it though it was asked for, as (name, reason)."""

    rungs: tuple[Rung, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    def place(self, name: str) -> int | None:
        """The index of a variant's rung, if it is on the ladder."""
        return next((index for index, rung in enumerate(self.rungs) if rung.name == name), None)


def ladder(plan: Plan) -> Ladder:
    """Down from the plan's first choice: each rung computes markedly more, for as little WER as that costs."""
    if not plan.chosen:
        return Ladder(())
    first = above = plan.chosen[0]
    rungs = [_rung(first, first.reason)]
    alike = [one for one in plan.chosen if _alike(one.candidate, first.candidate)]
    while quicker := [one for one in alike if one.speed >= (1 + STEP) * above.speed]:
        below = _least_lossy(quicker)
        rungs.append(_rung(below, _reason(below, above, of=len(quicker))))
        above = below
    return Ladder(tuple(rungs))


def _alike(one: Candidate, first: Candidate) -> bool:
    """Whether one may stand in for the first: their losses can be compared, and it knows as many languages."""
    comparable = one.comparable and first.comparable
    return (comparable or one.model == first.model) and set(first.languages) <= set(one.languages)


def _least_lossy(quicker: Sequence[Planned]) -> Planned:
    least = min(_loss(one.candidate) for one in quicker)
    tied = [one for one in quicker if _loss(one.candidate) <= least + WER_TIE]
    return max(tied, key=lambda one: (one.speed, -_loss(one.candidate), one.name))


def _loss(candidate: Candidate) -> float:
    return math.inf if candidate.wer_loss is None else candidate.wer_loss


def _reason(below: Planned, above: Planned, *, of: int) -> str:
    speeds = f"{below.speed:.0f} times real time instead of {above.speed:.0f}"
    best = f"the least, give or take {WER_TIE:g}, of {of} so much quicker" if of > 1 else "the only one so much quicker"
    return f"{speeds}; {_lost(below.candidate)}, {best}"


def _lost(candidate: Candidate) -> str:
    if candidate.wer_loss is None:
        return "loss of WER unknown"
    if candidate.reference == candidate.name:
        return "the reference for WER"
    return f"{candidate.wer_loss:+.2f} points of WER against {candidate.reference}"


def given_ladder(names: Sequence[str], manifests: Sequence[Manifest], plan: Plan, *, model: str) -> Ladder:
    """The rungs that an operator listed, best first, less those that the store, the machine or its memory has not.

    Limits of latency and of WER do not matter: who lists a variant knows what it costs.
    """
    rungs: list[Rung] = []
    left_out: list[tuple[str, str]] = []
    excluded = {one.name: one for one in plan.excluded}
    for name in dict.fromkeys(named(name, manifests, plan, model=model) or name for name in names):
        why = _impossible(excluded.get(name)) if any(one.name == name for one in manifests) else NOT_HERE
        if why:
            left_out.append((name, why))
        else:
            rungs.append(_listed(rung_of(name, plan), rungs))
    return Ladder(tuple(rungs), tuple(left_out))


def rung_of(name: str, plan: Plan) -> Rung:
    """What a plan knows of a variant; of one that passes a limit the costs are known all the same."""
    for planned in plan.chosen:
        if planned.name == name:
            return _rung(planned)
    found = next((one.candidate for one in plan.excluded if one.name == name), None)
    if found is None or found.costs is None:
        return Rung(name, wer_loss=found.wer_loss if found else None)
    return Rung(name, found.costs.speed, found.costs.latency_ms, found.costs.memory_bytes, found.wer_loss)


def named(name: str, manifests: Sequence[Manifest], plan: Plan, *, model: str) -> str | None:
    """The variant that an operator means: by `model:variant`, by the name of a variant of `model`, or by a precision.

    Of several, the first of the plan; of those that the plan does not have, the base variant, then the first by name.
    """
    own = [manifest for manifest in manifests if model in ("auto", manifest.model)]
    found = [manifest for manifest in manifests if manifest.name == name]
    found = found or [manifest for manifest in own if manifest.variant == name]
    found = found or [manifest for manifest in own if manifest.precision == name]
    order = {one.name: index for index, one in enumerate(plan.chosen)}
    best = min(found, key=lambda one: (order.get(one.name, len(order)), one.parent is not None, one.name), default=None)
    return best.name if best else None


def _impossible(excluded: Excluded | None) -> str:
    faults = excluded.faults if excluded else ()
    return " and ".join(fault.reason for fault in faults if fault.obstacle in IMPOSSIBLE)


def _rung(one: Planned, reason: str = "") -> Rung:
    return Rung(one.name, one.speed, one.costs.latency_ms, one.memory_bytes, one.candidate.wer_loss, reason)


def _listed(rung: Rung, above: Sequence[Rung]) -> Rung:
    return replace(rung, reason="; ".join(_told(rung, above[-1] if above else None)))


def _told(rung: Rung, above: Rung | None) -> Iterable[str]:
    yield "listed in WREN_LADDER"
    yield "speed unknown: wren profile" if rung.speed is None else f"{rung.speed:.0f} times real time"
    yield "loss of WER unknown" if rung.wer_loss is None else f"{rung.wer_loss:+.2f} points of WER"
    if above and above.speed and rung.speed and rung.speed <= above.speed:
        yield f"not quicker than {above.name} above it with {above.speed:.0f}"
