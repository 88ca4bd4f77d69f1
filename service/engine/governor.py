"""Which variant serves each model now: asks the policy a few times a second, and switches in the background.

A switch loads the other variant while the present one serves, and then lets new requests have it; those that run end
with what they began with. A variant that cannot be loaded leaves everything as it was. For the event loop.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from model_store.manifest import Manifest, Precision
from service.engine.choice import Choice, Choices
from service.engine.failures import CROWDED_S
from service.engine.journal import Journal
from service.engine.orders import resolved
from service.engine.policy import FULL_S, decide, foreseen
from service.engine.post import Post
from service.engine.precision import Cause, Decision, Orders, Signals
from service.engine.pressure import full
from service.engine.profile import Hosted
from service.engine.resident import read_resident
from service.engine.types import Event, Governed
from service.engine.variants import Variants
from service.engine.wishes import Scene, grant
from service.errors import ModelUnavailable, NoRoom, WrenError

_log = logging.getLogger(__name__)

IN_NO_HURRY: frozenset[Cause] = frozenset({"calm", "plan"})
"""What moves the policy up: nobody is made to wait for that."""


class Governor:
    """See the module.

    Attributes:
        seen: the signals of the last look.
    """

    def __init__(
        self,
        variants: Variants,
        journal: Journal,
        *,
        choices: Callable[[], Choices],
        signals: Callable[[], Signals],
        switched: Callable[[Manifest, Choice], None],
        listed: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one.

        Args:
            variants: what is in memory.
            journal: is told of each switch.
            choices: what the store holds and what is planned with it, as of now.
            signals: what the policy sees now, told once.
            switched: is told what served a name, and what serves it now.
            listed: the rungs of the default model that an operator wants; none for the plan's.
            clock: that of the signals.
        """
        self._variants, self._journal = variants, journal
        self._choices, self._signals = choices, signals
        self._switched, self._listed, self._clock = switched, tuple(listed), clock
        self._posts: dict[str, Post] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.seen = Signals(now_s=0.0)
        self._full_s: float | None = None  # since when memory has been full
        self._crowded_s = -math.inf  # until when nothing is loaded ahead of need

    async def start(self) -> tuple[Choice, Hosted]:
        """Load what serves by default: the first of its ladder that can be loaded, else of its plan.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits: there is none.
        """
        post = self._post(self._choices().default)
        if self._listed and ":" in post.model:
            _log.warning("WREN_LADDER is not used, for WREN_MODEL names a variant")
        for name, why in post.ladder.left_out:
            _log.warning("WREN_LADDER: %s is left out: %s", name, why)
        failed: WrenError | None = None
        for name in post.in_order():
            choice = post.named(name)
            try:
                resident = await self._variants.settle(choice.manifest, choice.planned)
            except ModelUnavailable as error:
                _log.warning("%s", error)
                failed = failed or error
            else:
                if failed is not None:
                    post.cause, post.reason = "failure", str(failed)
                self._serve(post, choice.manifest)
                return replace(choice, reason=post.reason), resident.hosted
        raise failed or ModelUnavailable(post.model, "it has no variant")

    def choose(self, name: str, *, language: str | None = None, wish: Precision | None = None) -> Choice:
        """The variant for a request; one that it names is obeyed.

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
        return post.choice() if wish is None else self._wished(post, wish)

    async def instead(self, name: str, failed: Choice, error: WrenError, *, language: str | None) -> Choice | None:
        """What serves a request whose variant could not be had; None for one that insists on it."""
        key = self._choices().key(name)
        if key is None:
            return None
        post = self._post(key)
        async with post.ordering:
            if post.switching is not None:
                await asyncio.wait([post.switching])
            if post.serving.digest == failed.manifest.digest:
                task = self._consider(post, self._now(), failed=failed.name)
                if task is not None:
                    await asyncio.wait([task])
        same = post.serving.digest == failed.manifest.digest
        if same or (language is not None and language not in post.serving.languages):
            return None
        reason = f"{failed.reason}, but that cannot be had now: {str(error).rstrip('.')}"
        return replace(post.choice(), reason=reason)

    def meant(self, name: str) -> Choice:
        """The variant that a name means now, for who only looks.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits: there is none to be had.
        """
        post = self._posts.get(self._choices().key(name) or "")
        return post.choice() if post else self._choices().choose(name)

    def strained(self, name: str) -> bool:
        """Whether those who use this name wait so long that nothing should be computed but what must be."""
        post = self._posts.get(self._choices().key(name) or "")
        return post is not None and post.decision is not None and not post.decision.interims

    def report(self) -> tuple[Governed, ...]:
        """Every model that was asked for, the default one first."""
        return tuple(post.governed(self._variants.failures) for post in self._posts.values())

    def look(self) -> None:
        """See what should serve now, and begin to switch where that is something else."""
        self.seen = signals = self._signals()
        self._relieve(signals)
        for post in self._posts.values():
            post.renew(self._choices(), self._clock())
            free = post.switching is None and not post.ordering.locked()
            if free and post.in_use(self._clock()) and self._consider(post, signals) is None:
                self._look_ahead(post, signals)

    async def order(self, name: str, orders: Orders) -> None:
        """Give a model new orders; returns when what they ask for serves.

        Raises:
            ModelNotFound: there is no such model.
            OptionError: a name in the orders means none of its variants.
            ModelUnavailable, NothingFits: what was pinned cannot be loaded; the orders are as before.
        """
        post = self._post(self._choices().key(name) or name.partition(":")[0])
        async with post.ordering:
            if post.switching is not None:
                await asyncio.wait([post.switching])
            post.renew(self._choices(), self._clock())
            before = post.orders
            wanted = resolved(orders, before, post.ladder, post.choices, key=post.model)
            if wanted.pin:
                post.choices.choose(wanted.pin)  # refuses what may not be served here
            post.orders = wanted
            task = self._consider(post, self._now(), tried=wanted.pin)
            if task is not None:
                task.add_done_callback(lambda done: post.restore(before, wanted, done))
                if (error := await asyncio.shield(task)) is not None:
                    raise error
            if task is None and wanted.pin != before.pin and post.decision is not None:
                post.cause, post.reason = "order", post.decision.reason

    async def close(self) -> None:
        """Let no switch go on."""
        tasks = [*self._tasks, *(post.switching for post in self._posts.values() if post.switching)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _post(self, key: str) -> Post:
        if key not in self._posts:
            self._posts[key] = Post.of(key, self._choices(), self._listed, self._clock())
        return self._posts[key]

    def _now(self) -> Signals:
        """As of the last look, whose events were told there."""
        return replace(self.seen, now_s=self._clock(), refused=0, exhausted=0)

    def _relieve(self, signals: Signals) -> None:
        """Where memory has been full for a while, or was too little, let what is idle go."""
        self._full_s = (self._full_s or signals.now_s) if full(signals) else None
        if signals.exhausted or (self._full_s is not None and signals.now_s - self._full_s >= FULL_S):
            self._variants.relieve()
            self._crowded_s = signals.now_s + CROWDED_S

    def _consider(
        self, post: Post, signals: Signals, *, tried: str | None = None, failed: str | None = None
    ) -> "asyncio.Task[WrenError | None] | None":
        """Ask the policy; a switch if it wants another variant.

        Args:
            post: the model.
            signals: what the policy sees.
            tried: a variant that is tried even if it failed lately.
            failed: one that could not be had just now.
        """
        blocked = (self._blocked(post) - {tried}) | ({failed} if failed else set())
        decision = decide(post.ladder, post.standing, post.orders, signals, blocked=blocked)
        if decision.cause == "order" and post.orders == Orders():
            decision = replace(decision, reason=f"an operator's orders have ended; {decision.reason}")
        post.decision = decision
        target = post.choices.manifest(decision.name)
        if target is None or (target.name, target.digest) == (post.serving.name, post.serving.digest):
            post.standing = decision.standing
            if decision.cause != post.cause:
                post.cause, post.reason = decision.cause, decision.reason
            return None
        post.switching_to = target.name
        post.switching = asyncio.create_task(self._switch(post, decision, target))
        return post.switching

    def _blocked(self, post: Post) -> set[str]:
        """Names of the variants that are passed over, for they failed lately."""
        return {one.name for one in post.choices.manifests if self._variants.failures.blocks(one)}

    def _look_ahead(self, post: Post, signals: Signals) -> None:
        """Have in memory what a little more load would have serve."""
        name = foreseen(post.ladder, post.standing, post.orders, signals, blocked=self._blocked(post))
        target = post.choices.manifest(name) if name else None
        if target is None or self._variants.touch(target):
            return
        room = not full(signals) and signals.now_s >= self._crowded_s
        if room and self._variants.patient and not self._tasks:
            self._keep(self._bring(target))

    async def _bring(self, target: Manifest) -> None:
        """Only where nothing has to go for it."""
        room = await self._variants.room(target)
        if room.short_bytes or room.evicted:
            self._crowded_s = self._clock() + CROWDED_S
            return
        with suppress(WrenError):  # it has been noted, and is passed over from now on
            await self._variants.load(target, reason="much comes, and it would serve if more came")

    async def _switch(self, post: Post, decision: Decision, target: Manifest) -> WrenError | None:
        """Let the target serve; what kept it from that is given back, and has been noted."""
        began_s, before_bytes = self._clock(), read_resident().now_bytes
        try:
            if self._variants.find(target) is None:
                await self._bring_in(post, target, urgent=decision.cause not in IN_NO_HURRY)
        except NoRoom as error:
            self._variants.failures.note(target, error, blocked_s=CROWDED_S)
            return error
        except WrenError as error:
            return error
        else:
            self._take(post, decision, target, began_s, read_resident().now_bytes - before_bytes)
            return None
        finally:
            post.switching = post.switching_to = None

    async def _bring_in(self, post: Post, target: Manifest, *, urgent: bool) -> None:
        """Beside what serves or, where there is no room for both, in its place: then those who come wait for it."""
        before, reason = post.serving, "it is to serve"
        others = (one for one in self._posts.values() if one is not post and one.in_use(self._clock()))
        needed = any(one.serving.name == before.name for one in others)
        if needed or not (await self._variants.room(target)).short_bytes:
            await self._variants.load(target, reason=reason)
            return
        self._serve(post, target)
        try:
            await self._variants.exchange(before, target, reason=reason, urgent=urgent)
        finally:
            self._serve(post, before)  # until the switch is made, if it is

    def _take(self, post: Post, decision: Decision, target: Manifest, began_s: float, grown_bytes: int) -> None:
        previous = post.serving
        post.take(decision, target, self._clock())
        self._serve(post, target)
        self._journal.note(
            Event(
                datetime.now(UTC),
                "switched",
                target.name,
                decision.reason,
                self._clock() - began_s,
                grown_bytes,
                previous=previous.name,
                cause=decision.cause,
            )
        )
        self._switched(previous, post.choice())
        if decision.cause == "memory" and previous.name not in {one.serving.name for one in self._posts.values()}:
            self._keep(self._variants.unload(previous.name, reason="memory is short, and another serves"))

    def _serve(self, post: Post, manifest: Manifest) -> None:
        post.serving = manifest
        if post.default:
            self._variants.serving = {manifest.name}

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _wished(self, post: Post, wish: Precision) -> Choice:
        serving = post.serving
        pressure = post.cause if post.cause in ("load", "memory") and post.standing.rung > 0 else None
        scene = Scene(serving.name, serving.precision, post.ladder, post.orders, pressure, self._blocked(post))
        name, reason = grant(wish, post.choices.plan(serving.model), scene)
        return Choice(post.choices.manifest(name) or serving, reason)
