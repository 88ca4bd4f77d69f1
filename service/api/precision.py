"""`GET /v1/precision`: which variants serve and why, what the policy sees, and what happened lately."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from service.engine.ladder import Rung
from service.engine.precision import Cause, Fill, Signals
from service.engine.types import Engine, Event, Governed, Happening, PrecisionReport


class RungBody(BaseModel):
    """A variant that may serve, with what is known of it here; null is not measured, and of `failure` all is well."""

    id: str
    speed: float | None
    latency_ms: float | None
    memory_bytes: int | None
    wer_loss: float | None
    reason: str
    failure: str | None


class LeftOutBody(BaseModel):
    """A variant that may not, though it was asked for."""

    id: str
    reason: str


class GovernedBody(BaseModel):
    """A model with the variant that answers to its name, the rungs it moves on, and the orders in force."""

    model: str
    serving: str
    cause: Cause
    reason: str
    since: datetime
    switching_to: str | None
    interims: bool
    pin: str | None
    highest: str | None
    lowest: str | None
    rungs: list[RungBody]
    left_out: list[LeftOutBody]


class FillBody(BaseModel):
    """How full one memory is."""

    name: str
    used_bytes: int
    limit_bytes: int


class SignalsBody(BaseModel):
    """What the policy saw at its last look."""

    queue_delay_ms: float
    target_ms: float
    offered: float
    speed: float | None
    refused: int
    exhausted: int
    memory: list[FillBody]


class EventBody(BaseModel):
    """Something that happened to the variants in memory."""

    at: datetime
    kind: Happening
    variant: str
    previous: str | None
    cause: Cause | None
    reason: str
    took_ms: float
    memory_bytes: int


class PrecisionBody(BaseModel):
    """All of it; the events with the last first."""

    models: list[GovernedBody]
    signals: SignalsBody
    resident_bytes: int
    memory_bytes: int | None
    events: list[EventBody]


class PrecisionRoutes:
    """The route over what the engine reports."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.router = APIRouter(tags=["models"])
        self.router.add_api_route("/v1/precision", self.show, methods=["GET"])

    async def show(self) -> PrecisionBody:
        """What serves, why, and what happened lately."""
        return precision_body(self._engine.precision())


def precision_body(report: PrecisionReport) -> PrecisionBody:
    return PrecisionBody(
        models=[_governed(one) for one in report.models],
        signals=_signals(report.signals),
        resident_bytes=report.resident_bytes,
        memory_bytes=report.memory_bytes,
        events=[_event(event) for event in report.events],
    )


def _governed(one: Governed) -> GovernedBody:
    return GovernedBody(
        model=one.model,
        serving=one.serving,
        cause=one.cause,
        reason=one.reason,
        since=one.since,
        switching_to=one.switching_to,
        interims=one.interims,
        pin=one.orders.pin,
        highest=one.orders.highest,
        lowest=one.orders.lowest,
        rungs=[_rung(rung, one.failing.get(rung.name)) for rung in one.ladder.rungs],
        left_out=[LeftOutBody(id=name, reason=reason) for name, reason in one.ladder.left_out],
    )


def _rung(rung: Rung, failure: str | None) -> RungBody:
    return RungBody(
        id=rung.name,
        speed=rung.speed,
        latency_ms=rung.latency_ms,
        memory_bytes=rung.memory_bytes,
        wer_loss=rung.wer_loss,
        reason=rung.reason,
        failure=failure,
    )


def _signals(signals: Signals) -> SignalsBody:
    return SignalsBody(
        queue_delay_ms=round(1000 * signals.delay_s, 1),
        target_ms=round(1000 * signals.target_s, 1),
        offered=round(signals.offered, 2),
        speed=None if signals.speed is None else round(signals.speed, 2),
        refused=signals.refused,
        exhausted=signals.exhausted,
        memory=[_fill(fill) for fill in signals.memory],
    )


def _fill(fill: Fill) -> FillBody:
    return FillBody(name=fill.name, used_bytes=fill.used_bytes, limit_bytes=fill.limit_bytes)


def _event(event: Event) -> EventBody:
    return EventBody(
        at=event.at,
        kind=event.kind,
        variant=event.variant,
        previous=event.previous,
        cause=event.cause,
        reason=event.reason,
        took_ms=round(1000 * event.took_s, 1),
        memory_bytes=event.memory_bytes,
    )
