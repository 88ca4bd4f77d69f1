"""A plan in; the ladder of variants that the precision policy goes up and down out. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_store.manifest import Manifest
from service.engine.plan import Plan


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


def ladder(plan: Plan) -> Ladder:
    """Down from the plan's first choice: each rung computes markedly more, for as little WER as that costs."""
    raise NotImplementedError


def given_ladder(names: Sequence[str], manifests: Sequence[Manifest], plan: Plan, *, model: str) -> Ladder:
    """The rungs that an operator listed, best first, less those that this machine or its memory cannot have."""
    raise NotImplementedError
