"""A request's wish for a precision in; the variant that serves it, with the reason, out. Pure.

A wish is granted where a variant can and nothing stands against it: an operator's orders come first, and under pressure
nobody gets what would make it worse.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from model_store.manifest import Precision
from service.engine.ladder import Ladder, Rung, rung_of
from service.engine.plan import IMPOSSIBLE, Candidate, Excluded, Plan
from service.engine.precision import Orders

INSTEAD: Mapping[Precision, tuple[Precision, ...]] = {
    "fp32": ("bf16", "fp16", "int8", "mixed", "int4"),
    "bf16": ("fp16", "fp32", "int8", "mixed", "int4"),
    "fp16": ("bf16", "fp32", "int8", "mixed", "int4"),
    "int8": ("mixed", "int4", "fp16", "bf16", "fp32"),
    "mixed": ("int8", "int4", "fp16", "bf16", "fp32"),
    "int4": ("mixed", "int8", "fp16", "bf16", "fp32"),
}
"""What comes as near to a precision as can be, the nearest first."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands for or against a wish.

    Attributes:
        serving: the variant that those get who wish for nothing, and its precision.
        pressure: what keeps it below the first rung.
        blocked: variants that were seen to fail.
    """

    serving: str
    precision: Precision
    ladder: Ladder
    orders: Orders = field(default_factory=Orders)
    pressure: Literal["load", "memory"] | None = None
    blocked: Set[str] = frozenset()


def grant(wish: Precision, plan: Plan, scene: Scene) -> tuple[str, str]:
    """The variant that serves, and why; `plan` is that of the model that serves."""
    pin = scene.orders.pin
    if pin is not None and pin not in scene.blocked:
        return scene.serving, f"{wish} wished for, but an operator pinned {pin}"
    if wish == scene.precision:
        return scene.serving, f"{wish} wished for, and it serves"
    name, reason = _nearest(wish, plan, scene)
    bound, order = _within(rung_of(name, plan), scene)
    if order:
        name, reason = bound, f"{reason}, but {order}"
    if name != scene.serving and (worse := _worse(name, plan, scene)):
        return scene.serving, f"{reason}, but {worse}"
    return name, reason


def _nearest(wish: Precision, plan: Plan, scene: Scene) -> tuple[str, str]:
    for precision in (wish, *INSTEAD[wish]):
        if precision == scene.precision:
            return scene.serving, f"{_denied(wish, plan, scene)}: {precision}, which serves, is next in line"
        for candidate in _able(precision, plan, scene):
            if precision == wish:
                return candidate.name, f"{wish} wished for"
            return candidate.name, f"{_denied(wish, plan, scene)}: {precision} is next in line"
    return scene.serving, f"{_denied(wish, plan, scene)}: what serves is taken"


def _able(precision: Precision, plan: Plan, scene: Scene) -> Iterator[Candidate]:
    """The variants of a precision that can serve, in the order of the plan; then those that it does not have."""
    for planned in plan.chosen:
        if planned.candidate.precision == precision and planned.name not in scene.blocked:
            yield planned.candidate
    for excluded in sorted(plan.excluded, key=lambda one: (not one.candidate.base, one.name)):
        if excluded.candidate.precision == precision and not _hindrance(excluded, plan, scene):
            yield excluded.candidate


def _hindrance(excluded: Excluded, plan: Plan, scene: Scene) -> str:
    """Why it cannot serve. What nobody measured may, and what passes a limit that nobody set."""
    if excluded.name in scene.blocked:
        return "failed"
    faults = [one for one in excluded.faults if one.obstacle in IMPOSSIBLE or plan.budget.chose(one.obstacle)]
    return " and ".join(fault.reason for fault in faults)


def _denied(wish: Precision, plan: Plan, scene: Scene) -> str:
    """That no variant of the precision can serve, with what keeps the first of them."""
    for planned in plan.chosen:
        if planned.candidate.precision == wish:
            return f"{wish} wished for and not to be had ({planned.name} failed)"
    for excluded in plan.excluded:
        if excluded.candidate.precision == wish:
            return f"{wish} wished for and not to be had ({excluded.name} {_hindrance(excluded, plan, scene)})"
    return f"{wish} wished for and not to be had (the model has no such variant)"


def _within(rung: Rung, scene: Scene) -> tuple[str, str]:
    """The bound that takes its place, and the order; the variant itself and nothing if it is within the bounds."""
    rungs, place = scene.ladder.rungs, scene.ladder.place(rung.name)
    highest, lowest = (scene.ladder.place(name or "") for name in (scene.orders.highest, scene.orders.lowest))
    if highest is not None and (_slower(rung, rungs[highest]) if place is None else place < highest):
        return rungs[highest].name, f"an operator lets nothing above {rungs[highest].name} serve"
    if lowest is not None and (_lossier(rung, rungs[lowest]) if place is None else place > lowest):
        return rungs[lowest].name, f"an operator lets nothing below {rungs[lowest].name} serve"
    return rung.name, ""


def _slower(rung: Rung, than: Rung) -> bool:
    """Unless it is known not to be."""
    return rung.speed is None or than.speed is None or rung.speed < than.speed


def _lossier(rung: Rung, than: Rung) -> bool:
    return rung.wer_loss is None or than.wer_loss is None or rung.wer_loss > than.wer_loss


def _larger(rung: Rung, than: Rung) -> bool:
    return rung.memory_bytes is None or than.memory_bytes is None or rung.memory_bytes > than.memory_bytes


def _worse(name: str, plan: Plan, scene: Scene) -> str:
    """What speaks against a variant as things stand."""
    if name in scene.blocked:
        return f"{name} failed"
    wanted, serving = (_known(one, plan, scene.ladder) for one in (name, scene.serving))
    if scene.pressure == "load" and _slower(wanted, serving):
        return f"under load nothing slower than {scene.serving} is to be had"
    if scene.pressure == "memory" and _larger(wanted, serving):
        return f"while memory is short nothing larger than {scene.serving} is to be had"
    return ""


def _known(name: str, plan: Plan, ladder: Ladder) -> Rung:
    place = ladder.place(name)
    return rung_of(name, plan) if place is None else ladder.rungs[place]
