"""Which variant serves each model now: asks the policy a few times a second, and switches in the background.

A switch loads the other variant while the present one serves, and then lets new requests have it; those that run end
with what they began with. A variant that cannot be loaded leaves everything as it was. For the event loop.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from model_store.manifest import Manifest, Precision
from service.engine.choice import AUTO, Choice, Choices
from service.engine.journal import Journal
from service.engine.ladder import Ladder, Rung, given_ladder, ladder
from service.engine.orders import resolved
from service.engine.policy import decide, foreseen, settled
from service.engine.precision import Cause, Decision, Orders, Signals, Standing
from service.engine.profile import Hosted
from service.engine.resident import read_resident
from service.engine.types import Event, Governed
from service.engine.variants import CROWDED_S, Variants
from service.engine.wishes import Scene, grant
from service.errors import ModelUnavailable, WrenError

_log = logging.getLogger(__name__)

IN_USE_S = 60.0
"""Seconds since its last request for which a model that is not the default one is governed."""


@dataclass(slots=True, eq=False)
class Post:
    """A model's name, and the variant that serves those who use it.

    Attributes:
        choices: what the ladder rests on.
        asked_s: monotonic clock, when it was last asked for.
        reason: of the last move.
    """

    model: str
    choices: Choices
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


class Governor:
    """See the module. `listed` are the rungs that an operator wants for the default model, none for the plan's."""

    def __init__(
        self,
        variants: Variants,
        journal: Journal,
        *,
        choices: Callable[[], Choices],
        signals: Callable[[], Signals],
        switched: Callable[[str, str], None],
        listed: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one.

        Args:
            variants: what is in memory.
            journal: is told of each switch.
            choices: what the store holds and what is planned with it, as of now.
            signals: what the policy sees now.
            switched: is told the names of what served and of what serves in its place.
            listed: as the setting.
            clock: that of the signals.
        """
        self._variants, self._journal = variants, journal
        self._choices, self._signals = choices, signals
        self._switched, self._listed, self._clock = switched, tuple(listed), clock
        self._posts: dict[str, Post] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._crowded_s = -math.inf  # until when nothing is loaded ahead of need

    async def start(self) -> tuple[Choice, Hosted]:
        """Load what serves by default: the first of its ladder that can be loaded, else of its plan.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits: there is none.
        """
        post = self._post(self._choices().default)
        if self._listed and ":" in post.model:
            _log.warning("WREN_LADDER is not used, for WREN_MODEL names a variant")
        failed: WrenError | None = None
        for name in _in_order(post):
            choice = self._named(post, name)
            try:
                resident = await self._variants.settle(choice.manifest, choice.planned)
            except ModelUnavailable as error:
                _log.warning("%s", error)
                failed = failed or error
            else:
                if failed is not None:
                    post.cause, post.reason = "failure", str(failed)
                self._serves(post, choice.manifest)
                return replace(choice, reason=post.reason), resident.hosted
        raise failed or ModelUnavailable(post.model, "it has no variant")

    def choose(self, name: str, *, language: str | None = None, wish: Precision | None = None) -> Choice:
        """The variant for a request that names none itself.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits: there is none to be had.
        """
        choices = self._choices()
        key = choices.key(name)
        if key is None:
            return choices.choose(name)
        post = self._post(key)
        post.asked_s = self._clock()
        if language is not None and language not in post.serving.languages:
            other = choices.choose(key, language=language)
            if language in other.manifest.languages:
                return other
        return Choice(post.serving, post.reason) if wish is None else self._wished(post, wish)

    def meant(self, name: str) -> Choice:
        """The variant that a name means now, for who only looks.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits: there is none to be had.
        """
        post = self._posts.get(self._choices().key(name) or "")
        return Choice(post.serving, post.reason) if post else self._choices().choose(name)

    def strained(self, name: str) -> bool:
        """Whether those who use this name wait so long that nothing should be computed but what must be."""
        post = self._posts.get(self._choices().key(name) or "")
        return post is not None and post.decision is not None and not post.decision.interims

    def report(self) -> tuple[Governed, ...]:
        """Every model that was asked for, the default one first."""
        return tuple(map(_governed, self._posts.values()))

    def look(self) -> None:
        """See what should serve now, and begin to switch where that is something else."""
        signals, now = self._signals(), self._clock()
        for post in self._posts.values():
            self._renew(post)
            used = post.model == post.choices.default or now - post.asked_s < IN_USE_S
            if used and post.switching is None and not post.ordering.locked():
                self._consider(post, signals)

    async def order(self, name: str, orders: Orders) -> None:
        """Give a model new orders; returns when what they ask for serves.

        Raises:
            ModelNotFound: there is no such model.
            OptionError: a name in the orders means none of its variants.
            ModelUnavailable, NothingFits: what was pinned cannot be loaded; the orders are as before.
        """
        choices = self._choices()
        post = self._post(choices.key(name) or name.partition(":")[0])
        async with post.ordering:
            if post.switching is not None:
                await asyncio.wait([post.switching])
            self._renew(post)
            before = post.orders
            post.orders = resolved(orders, before, post.ladder, choices, key=post.model)
            if post.orders.pin:
                try:
                    choices.choose(post.orders.pin)  # refuses what may not be served here
                except WrenError:
                    post.orders = before
                    raise
            task = self._consider(post, self._signals(), tried=post.orders.pin)
            if task is None and post.orders != before:
                post.cause, post.reason = "order", post.decision.reason if post.decision else post.reason
            if task is not None and (error := await asyncio.shield(task)) is not None:
                post.orders = before
                raise error

    async def mend(self, name: str) -> bool:
        """After what serves could not be loaded: whether another variant serves in its place now."""
        key = self._choices().key(name)
        if key is None:
            return False
        post = self._post(key)
        before = post.serving
        async with post.ordering:
            task = post.switching or self._consider(post, self._signals())
            if task is not None:
                await asyncio.shield(task)
        return post.serving is not before

    async def close(self) -> None:
        """Let no switch go on."""
        tasks = [*self._tasks, *(post.switching for post in self._posts.values() if post.switching)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _post(self, key: str) -> Post:
        if key not in self._posts:
            choices = self._choices()
            chosen = choices.choose(key)
            rungs = self._ladder(key, choices, chosen)
            first = rungs.rungs[0]
            serving = choices.manifest(first.name) or chosen.manifest
            now_s = self._clock()
            standing = settled(rungs, serving.name, now_s)
            self._posts[key] = Post(key, choices, rungs, serving, first.reason, standing, now_s)
        return self._posts[key]

    def _renew(self, post: Post) -> None:
        """Take over what changed in the store or in what was measured."""
        choices = self._choices()
        if choices is post.choices:
            return
        post.choices = choices
        try:
            renewed = self._ladder(post.model, choices, choices.choose(post.model))
        except WrenError as error:  # all of it was removed: what is in memory goes on
            _log.debug("%s", error)
            return
        if [rung.name for rung in renewed.rungs] != [rung.name for rung in post.ladder.rungs]:
            post.standing = settled(renewed, post.serving.name, self._clock(), cause="plan")
        post.ladder = renewed

    def _ladder(self, key: str, choices: Choices, chosen: Choice) -> Ladder:
        if self._listed and key == choices.default and ":" not in key:
            found = given_ladder(self._listed, choices.manifests, choices.plan(key), model=key)
            if not found.rungs:
                raise ModelUnavailable(key, "; ".join(f"{name}: {why}" for name, why in found.left_out))
            return found
        rungs = ladder(choices.plans[key]).rungs if key in choices.plans else ()
        return Ladder(rungs or (Rung(chosen.name, reason=chosen.reason),))

    def _consider(
        self, post: Post, signals: Signals, *, tried: str | None = None
    ) -> "asyncio.Task[WrenError | None] | None":
        """Ask the policy; a switch if it wants another variant. `tried` is tried again even if it failed lately."""
        blocked = self._variants.failing() - {tried}
        decision = decide(post.ladder, post.standing, post.orders, signals, blocked=blocked)
        if decision.cause == "order" and post.orders == Orders():
            decision = replace(decision, reason=f"an operator's orders have ended; {decision.reason}")
        post.decision = decision
        target = post.choices.manifest(decision.name)
        if target is None or _same(target, post.serving):
            post.standing = decision.standing
            if decision.cause != post.cause:
                post.cause, post.reason = decision.cause, decision.reason
            self._look_ahead(post, signals, blocked)
            return None
        post.switching_to = target.name
        post.switching = asyncio.create_task(self._switch(post, decision, target))
        return post.switching

    def _look_ahead(self, post: Post, signals: Signals, blocked: Set[str]) -> None:
        """Have in memory what a little more load would have serve."""
        name = foreseen(post.ladder, post.standing, post.orders, signals, blocked=blocked)
        target = post.choices.manifest(name) if name else None
        if target is None or self._variants.touch(target) or self._tasks or self._clock() < self._crowded_s:
            return
        self._keep(self._bring(target))

    async def _bring(self, target: Manifest) -> None:
        if not await self._variants.has_room(target):
            self._crowded_s = self._clock() + CROWDED_S
            return
        with suppress(WrenError):  # it has been noted, and is passed over from now on
            await self._variants.load(target, reason="much comes, and it would serve if more came")

    async def _switch(self, post: Post, decision: Decision, target: Manifest) -> WrenError | None:
        """Let the target serve; what kept it from that is given back, and has been noted."""
        began_s, before_bytes = self._clock(), read_resident().now_bytes
        try:
            if self._variants.find(target) is None:
                await self._bring_in(post, target)
        except WrenError as error:
            return error
        else:
            self._take(post, decision, target, began_s, read_resident().now_bytes - before_bytes)
            return None
        finally:
            post.switching = post.switching_to = None

    async def _bring_in(self, post: Post, target: Manifest) -> None:
        """Beside what serves or, where there is no room for both, in its place: then those who come wait for it."""
        if await self._variants.has_room(target):
            await self._variants.load(target, reason="it is to serve")
            return
        before = post.serving
        self._serves(post, target)
        try:
            await self._variants.exchange(before, target, reason="it is to serve")
        finally:
            self._serves(post, before)  # until the switch is made, if it is

    def _take(self, post: Post, decision: Decision, target: Manifest, began_s: float, grown_bytes: int) -> None:
        previous = post.serving
        self._serves(post, target)
        post.standing = replace(decision.standing, since_s=self._clock())
        post.cause, post.reason, post.since = decision.cause, decision.reason, datetime.now(UTC)
        took_s = self._clock() - began_s
        happened = Event(
            post.since,
            "switched",
            target.name,
            decision.reason,
            took_s,
            grown_bytes,
            previous=previous.name,
            cause=decision.cause,
        )
        self._journal.note(happened)
        self._switched(previous.name, target.name)
        if decision.cause == "memory" and previous.name != target.name:
            self._keep(self._variants.unload(previous.name, reason="memory is short, and another serves"))

    def _serves(self, post: Post, manifest: Manifest) -> None:
        post.serving = manifest
        if post.model == post.choices.default:
            self._variants.serving = {manifest.name}

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _named(self, post: Post, name: str) -> Choice:
        """One of the store's, with what the plan has for it."""
        manifest = post.choices.manifest(name)
        if manifest is None:
            raise ModelUnavailable(name, "it was removed from the store")
        planned = {one.name: one for one in post.choices.plan(post.model).chosen}
        return Choice(manifest, post.reason, planned.get(name))

    def _wished(self, post: Post, wish: Precision) -> Choice:
        serving, blocked = post.serving, self._variants.failing()
        pressure = post.cause if post.cause in ("load", "memory") and post.standing.rung > 0 else None
        scene = Scene(serving.name, serving.precision, post.ladder, post.orders, pressure, blocked)
        name, reason = grant(wish, post.choices.plans[serving.model], scene)
        return Choice(post.choices.manifest(name) or serving, reason)


def _same(one: Manifest, other: Manifest) -> bool:
    """Whether they are the same build of the same variant."""
    return (one.name, one.digest) == (other.name, other.digest)


def _in_order(post: Post) -> Iterator[str]:
    """What may serve at the start, the first choice first."""
    plan = post.choices.plan(post.model)
    listed = (rung.name for rung in post.ladder.rungs)
    yield from dict.fromkeys((*listed, *(one.name for one in plan.chosen if ":" not in post.model)))


def _governed(post: Post) -> Governed:
    return Governed(
        AUTO if ":" in post.model else post.model,
        post.serving.name,
        post.cause,
        post.reason,
        post.since,
        post.ladder,
        post.orders,
        post.switching_to,
        interims=post.decision is None or post.decision.interims,
    )
