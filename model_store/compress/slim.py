"""A step: heads and neurons go where they are missed least, until a share of the compute is saved.

Each block is narrowed by itself, to several widths, and the divergence of the model's next tokens is measured. Then
blocks are narrowed in the order of divergence a product saved, as if divergences added up (as `hierarchical` does for
precision; ZipLM, Kurtic et al., 2023, chooses widths so, too).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field

from model_store.compress.channels import Channels, heads, neurons
from model_store.compress.compute import compute
from model_store.compress.context import Context
from model_store.compress.draft import Draft
from model_store.compress.fit import Refit
from model_store.compress.settings import EVERY, STRICT
from model_store.compress.shrink import narrowed, observed
from model_store.convert.model import Model
from model_store.errors import CompressionError

POSITIONS = 600
"""Of the window whose compute is counted: 9 s of speech in Whisper with the silence behind it."""

TOKENS = 30
"""Of its text."""

_WIDTHS = (1 / 8, 1 / 4, 3 / 8, 1 / 2, 5 / 8, 3 / 4)
"""Shares of a block's units that are tried without."""


class Slim(BaseModel):
    """Saves the share `saving` of the compute in the `blocks`; they are called as `shrink` calls them."""

    model_config = STRICT

    step: Literal["slim"]
    saving: float = Field(gt=0, lt=1)
    blocks: tuple[str, ...] = Field(default=EVERY, min_length=1)
    refit: Refit = "squares"


@dataclass(frozen=True, slots=True)
class Width:
    """A block without `count` units: the products that this saves, and the divergence that it costs."""

    channels: Channels
    count: int
    saved: int
    cost: float


def slim(draft: Draft, settings: Slim, context: Context) -> Draft:
    """The narrower draft.

    Raises:
        CompressionError: there are no recordings, or so much cannot be saved.
    """
    recordings = context.recordings
    if recordings is None:
        raise CompressionError("slim", "it measures on recordings: give a folder of them (--calibration DIR)")
    trials = list(_trials(draft.model, settings.blocks))
    seen = observed(draft, list({one.name: one for one, _ in trials}.values()), settings.refit, context)
    context.report(f"measuring how much heads and neurons are missed in {len(seen)} blocks")
    narrow = [narrowed(draft, [trial], seen, settings.refit) for trial in trials]
    total = _products(draft.model)
    widths = [
        Width(channels, count, total - _products(other.model), cost)
        for (channels, count), other, cost in zip(trials, narrow, recordings.departure(draft, narrow), strict=True)
    ]
    chosen = cheapest(widths, settings.saving * total)
    for one in chosen:
        context.report(f"{one.channels.name}: {one.channels.units - one.count} of {one.channels.units} stay")
    return narrowed(draft, [(one.channels, one.count) for one in chosen], seen, settings.refit)


def _trials(model: Model, blocks: Sequence[str]) -> Iterator[tuple[Channels, int]]:
    narrowable = (heads, neurons) if model.family == "whisper" else (neurons,)
    for channels in (one for kind in narrowable for one in kind(model, blocks)):
        counts = {round(share * channels.units) for share in _WIDTHS}
        yield from ((channels, count) for count in sorted(counts) if 0 < count <= channels.spare_units)


def _products(model: Model) -> int:
    return compute(model, POSITIONS, TOKENS // 2).of(TOKENS)


def cheapest(widths: Sequence[Width], saved: float) -> list[Width]:
    """At most one for each block, which together save so many products: always the cheapest product next.

    Raises:
        CompressionError: all of them do not save so many.
    """
    chosen: dict[str, Width] = {}
    while sum(one.saved for one in chosen.values()) < saved:
        steps = [_Step.of(chosen.get(one.channels.name), one) for one in widths]
        steps = [step for step in steps if step.saved > 0]
        if not steps:
            most = sum(one.saved for one in chosen.values())
            raise CompressionError("slim", f"{most:.3g} products can be saved, and {saved:.3g} were asked for")
        best = min(steps, key=lambda step: step.cost / step.saved).to
        chosen[best.channels.name] = best
    return list(chosen.values())


@dataclass(frozen=True, slots=True)
class _Step:
    """From the width that a block has to another."""

    to: Width
    saved: int
    cost: float

    @classmethod
    def of(cls, before: Width | None, to: Width) -> "_Step":
        if before is None:
            return cls(to, to.saved, to.cost)
        return cls(to, to.saved - before.saved, to.cost - before.cost)
