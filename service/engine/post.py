"""A model's name with the ladder of its variants, the one that serves, and what was ordered of it."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from model_store.manifest import Manifest
from service.engine.choice import AUTO, Choice, Choices
from service.engine.failures import Failures
from service.engine.ladder import Ladder, Rung, given_ladder, ladder
from service.engine.policy import settled
from service.engine.precision import Cause, Decision, Orders, Standing
from service.engine.types import Governed
from service.errors import ModelUnavailable, WrenError

_log = logging.getLogger(__name__)

IN_USE_S = 60.0
"""Seconds since its last request for which a model that is not the default one is governed."""


@dataclass(slots=True, eq=False)
class Post:
    """A model's name, or that of the variant that it means, and what serves those who use it.

    Attributes:
        choices: what the ladder rests on.
        listed: the rungs that an operator wants; none for the plan's.
        cause, reason: of the last move; since when.
        decision: the policy's last, None before the first look.
        switching: a switch that is under way, and to what.
        asked_s: when it was last asked for.
        ordering: held while orders are carried out.
    """

    model: str
    choices: Choices
    listed: Sequence[str]
    ladder: Ladder
    serving: Manifest
    reason: str
    standing: Standing
    asked_s: float
    cause: Cause = "start"
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    orders: Orders = field(default_factory=Orders)
    decision: Decision | None = None
    switching: "asyncio.Task[WrenError | None] | None" = None
    switching_to: str | None = None
    ordering: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, key: str, choices: Choices, listed: Sequence[str], now_s: float) -> "Post":
        """The first rung serves.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits: there is none.
        """
        found = _ladder(key, choices, listed)
        first = found.rungs[0]
        serving = choices.manifest(first.name) or choices.choose(key).manifest
        return cls(key, choices, listed, found, serving, first.reason, settled(found, first.name, now_s), now_s)

    @property
    def default(self) -> bool:
        """Whether clients get it who name no model."""
        return self.model == self.choices.default

    def in_use(self, now_s: float) -> bool:
        return self.default or now_s - self.asked_s < IN_USE_S

    def renew(self, choices: Choices, now_s: float) -> None:
        """Take over what changed in the store or in what was measured; if nothing of it is left, go on as before."""
        if choices is self.choices:
            return
        try:
            found = _ladder(self.model, choices, self.listed)
        except WrenError as error:
            _log.debug("%s goes on with what is in memory: %s", self.model, error)
            return
        if [rung.name for rung in found.rungs] != [rung.name for rung in self.ladder.rungs]:
            self.standing = settled(found, self.serving.name, now_s, cause="plan")
        self.ladder, self.choices = found, choices

    def take(self, decision: Decision, target: Manifest, now_s: float) -> None:
        """Let the target serve from now on."""
        rung = self.ladder.place(target.name)  # the ladder may be another than when it was decided
        standing = replace(decision.standing, since_s=now_s)
        self.standing = standing if rung is None else replace(standing, rung=rung)
        self.serving, self.since = target, datetime.now(UTC)
        self.cause, self.reason = decision.cause, decision.reason
        if decision.cause in ("load", "memory", "calm"):  # what was so then
            self.reason += f" (at {self.since:%H:%M:%S} UTC)"

    def restore(self, before: Orders, orders: Orders, switch: "asyncio.Task[WrenError | None]") -> None:
        """Put the orders back that were in force if a switch for new ones failed, whoever still waits for it."""
        if self.orders is orders and not switch.cancelled() and switch.result() is not None:
            self.orders = before

    def choice(self) -> Choice:
        """What serves now, and why."""
        return Choice(self.serving, self.reason, governed=self.model)

    def named(self, name: str) -> Choice:
        """A variant of the store, with what the plan has for it.

        Raises:
            ModelUnavailable: it was removed.
        """
        manifest = self.choices.manifest(name)
        if manifest is None:
            raise ModelUnavailable(name, "it was removed from the store")
        planned = {one.name: one for one in self.choices.plan(self.model).chosen}
        return Choice(manifest, self.reason, planned.get(name))

    def in_order(self) -> Iterator[str]:
        """What may serve at the start, the first choice first."""
        planned = () if ":" in self.model else (one.name for one in self.choices.plan(self.model).chosen)
        yield from dict.fromkeys((*(rung.name for rung in self.ladder.rungs), *planned))

    def governed(self, failures: Failures) -> Governed:
        """As others see it."""
        rungs = {rung.name: self.choices.manifest(rung.name) for rung in self.ladder.rungs}
        told = {name: failures.told(manifest) for name, manifest in rungs.items() if manifest}
        return Governed(
            AUTO if ":" in self.model else self.model,
            self.serving.name,
            self.cause,
            self.reason,
            self.since,
            self.ladder,
            self.orders,
            self.switching_to,
            interims=self.decision is None or self.decision.interims,
            failing={name: why for name, why in told.items() if why},
        )


def _ladder(key: str, choices: Choices, listed: Sequence[str]) -> Ladder:
    chosen = choices.choose(key)
    if listed and key == choices.default and ":" not in key:
        found = given_ladder(listed, choices.manifests, choices.plan(key), model=key)
        if not found.rungs:
            raise ModelUnavailable(key, "; ".join(f"{name}: {why}" for name, why in found.left_out))
        return found
    rungs = ladder(choices.plans[key]).rungs if key in choices.plans else ()
    return Ladder(rungs or (Rung(chosen.name, reason=chosen.reason),))
