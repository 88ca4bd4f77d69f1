"""`GET /v1/plan`: which variants fit the deployment's budget, or another that is tried, in order and with reasons."""

import math
from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel

from service.api.documented import ASKED
from service.engine.budget import Asked
from service.engine.device import Limit
from service.engine.nearest import Way, ways
from service.engine.plan import Candidate, Excluded, Plan, Planned, Prefer
from service.engine.types import Engine
from service.errors import OptionError
from service.units import parse_duration_ms, parse_size

T = TypeVar("T")

MOST_CORES = 4096
"""That can be asked for: more than any machine has, and few enough to be a float."""


class LimitBody(BaseModel):
    """A limit, null for none, and what set it."""

    amount: float | None
    reason: str


class BudgetBody(BaseModel):
    """What may be used. `latency_ms` is for six seconds of speech, `max_wer_loss` in points."""

    memory_bytes: LimitBody
    cores: LimitBody
    gpu_memory_bytes: LimitBody
    latency_ms: LimitBody
    max_wer_loss: LimitBody
    prefer: Prefer


class CandidateBody(BaseModel):
    """A variant with what was measured of it; null is not measured."""

    id: str
    precision: str
    runtime: str
    disk_bytes: int
    wer: float | None
    wer_loss: float | None
    data: str | None
    memory_bytes: int | None
    gpu_memory_bytes: int | None
    latency_ms: float | None
    speed: float | None
    load_ms: float | None


class ChosenBody(CandidateBody):
    """A variant that fits, with the rows and executors that there is memory for, which the bytes include."""

    reason: str
    rows: int
    executors: int


class ExcludedBody(CandidateBody):
    """A variant that does not fit, with all that is against it."""

    reasons: list[str]


class NearestBody(BaseModel):
    """A budget in which `id` would fit: each limit with the least that it must be."""

    id: str
    memory_bytes: float | None = None
    gpu_memory_bytes: float | None = None
    latency_ms: float | None = None
    max_wer_loss: float | None = None


class PlanBody(BaseModel):
    """Every variant once, and if none fits the nearest budgets in which one would."""

    model: str
    budget: BudgetBody
    chosen: list[ChosenBody]
    excluded: list[ExcludedBody]
    nearest: list[NearestBody]


class PlanRoutes:
    """The route over what the engine plans."""

    def __init__(self, engine: Engine, *, default: str) -> None:
        self._engine = engine
        self._default = default.partition(":")[0]
        self.router = APIRouter(tags=["models"])
        self.router.add_api_route("/v1/plan", self.show, methods=["GET"], responses=ASKED)

    async def show(
        self,
        *,
        model: Annotated[str | None, Query(description="A model; `auto` compares all. [that of WREN_MODEL]")] = None,
        memory: Annotated[str | None, Query(description="Such as 300MB.")] = None,
        gpu_memory: Annotated[str | None, Query(description="Such as 8GB, of each GPU.")] = None,
        cores: Annotated[int | None, Query(ge=1, le=MOST_CORES)] = None,
        latency: Annotated[str | None, Query(description="Such as 300ms, for six seconds of speech.")] = None,
        max_wer_loss: Annotated[float | None, Query(ge=0, description="Points; inf for any.")] = None,
        prefer: Annotated[Prefer | None, Query()] = None,
    ) -> PlanBody:
        """The plan under the deployment's budget, with what is given here in place of its limits."""
        asked = Asked(
            memory_bytes=_read("memory", memory, parse_size),
            gpu_memory_bytes=_read("gpu_memory", gpu_memory, parse_size),
            cores=cores,
            latency_ms=_read("latency", latency, parse_duration_ms),
            max_wer_loss=max_wer_loss,
            prefer=prefer,
        )
        name = model or self._default
        return plan_body(name, await self._engine.plan(name, asked))


def plan_body(model: str, plan: Plan) -> PlanBody:
    budget = plan.budget
    return PlanBody(
        model=model,
        budget=BudgetBody(
            memory_bytes=_limit(budget.memory),
            cores=_limit(budget.cores),
            gpu_memory_bytes=_limit(budget.gpu_memory),
            latency_ms=_limit(budget.latency),
            max_wer_loss=_limit(budget.wer_loss),
            prefer=budget.prefer,
        ),
        chosen=[_chosen(one) for one in plan.chosen],
        excluded=[_excluded(one) for one in plan.excluded],
        nearest=[_nearest(way) for way in ways(plan)],
    )


def _read(name: str, text: str | None, parse: Callable[[str], T]) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise OptionError(f"The parameter '{name}': {error}.", param=name) from error


def _limit(limit: Limit) -> LimitBody:
    return LimitBody(amount=None if math.isinf(limit.amount) else limit.amount, reason=limit.reason)


def _candidate(one: Candidate) -> CandidateBody:
    costs = one.costs
    return CandidateBody(
        id=one.name,
        precision=one.precision,
        runtime=one.runtime,
        disk_bytes=one.disk_bytes,
        wer=one.wer,
        wer_loss=one.wer_loss,
        data=one.data,
        memory_bytes=costs.memory_bytes if costs else None,
        gpu_memory_bytes=costs.gpu_bytes if costs else None,
        latency_ms=costs.latency_ms if costs else None,
        speed=costs.speed if costs else None,
        load_ms=costs.load_ms if costs else None,
    )


def _chosen(one: Planned) -> ChosenBody:
    needs = {"memory_bytes": one.memory_bytes, "gpu_memory_bytes": one.gpu_bytes, "speed": one.speed}
    known = _candidate(one.candidate).model_dump() | needs
    return ChosenBody(**known, reason=one.reason, rows=one.rows, executors=one.executors)


def _excluded(one: Excluded) -> ExcludedBody:
    return ExcludedBody(**_candidate(one.candidate).model_dump(), reasons=[fault.reason for fault in one.faults])


def _nearest(way: Way) -> NearestBody:
    limits = dict(way.limits)
    return NearestBody(
        id=way.candidate.name,
        memory_bytes=limits.get("memory"),
        gpu_memory_bytes=limits.get("gpu_memory"),
        latency_ms=limits.get("latency"),
        max_wer_loss=limits.get("wer_loss"),
    )
