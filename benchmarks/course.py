"""What a server did from second to second while requests came: answers, and looks at what serves and why."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.arrivals import Arrival, Clock, Phase, Timed, open_loop
from benchmarks.operating import Look, Operator
from benchmarks.servers import Server
from benchmarks.stretches import Quantiles, quantiles

EVERY_S = 0.125
"""Twice as often as the policy looks: none of its looks is missed."""

LOOK_S = 0.25
"""Between two looks of the policy."""

REFUSED = "429"


@dataclass(frozen=True, slots=True)
class Seen:
    """A look, and the seconds of audio in work."""

    at_s: float
    look: Look
    waiting_s: float


@dataclass(frozen=True, slots=True)
class Course:
    """Of one server, from the first request to the last answer."""

    answers: tuple[Timed, ...]
    seen: tuple[Seen, ...]

    def due(self, start_s: float, end_s: float) -> list[Timed]:
        return [one for one in self.answers if start_s <= one.due_s < end_s]

    @property
    def switches(self) -> int:
        return sum(one.look.serving != other.look.serving for one, other in pairwise(self.seen))

    def first(self, rung: str, *, after_s: float) -> float | None:
        """Seconds from a time on until the rung is seen to serve; None if it never does."""
        return next((s.at_s - after_s for s in self.seen if s.at_s >= after_s and s.look.serving == rung), None)


@dataclass(frozen=True, slots=True)
class Told:
    """Of the requests that were due in a time: how many came, were refused or failed, and how long answers took."""

    offered: int
    refused: int
    failed: int
    answered: Quantiles | None


async def course(server: Server, todo: Sequence[Arrival], *, seconds: float) -> Course:
    """Lasts so long, or until the last answer."""
    clock, seen = Clock(), list[Seen]()
    watcher = asyncio.create_task(_watch(server, clock, seen))
    answers = await open_loop(server, todo, clock=clock)
    await clock.until(seconds)
    watcher.cancel()
    with suppress(asyncio.CancelledError):
        await watcher
    return Course(tuple(answers), tuple(seen))


async def _watch(server: Server, clock: Clock, into: list[Seen]) -> None:
    async with Operator(server) as operator:
        while True:
            at_s = clock.now_s()
            into.append(Seen(at_s, await operator.look(), await operator.waiting_s()))
            await clock.until(at_s + EVERY_S)


def told(answers: Sequence[Timed]) -> Told:
    statuses = [one.answer.status for one in answers]
    refused, answered = statuses.count(REFUSED), [one for one in answers if one.answered]
    failed = len(answers) - len(answered) - refused
    return Told(len(answers), refused, failed, quantiles(answered) if answered else None)


def bounds(phases: Sequence[Phase]) -> list[tuple[float, float]]:
    """When each begins and ends."""
    ends = [sum(phase.seconds for phase in phases[:count]) for count in range(len(phases) + 1)]
    return list(pairwise(ends))


def looks(found: Course) -> list[Seen]:
    """The policy's own looks, each once: what it saw changed, or enough time has passed."""
    once: list[Seen] = []
    for one in found.seen:
        if not once or one.look.signals != once[-1].look.signals or one.at_s >= once[-1].at_s + LOOK_S:
            once.append(one)
    return once


def a_second(answers: Sequence[Timed], *, seconds: float, window_s: float) -> list[tuple[float, float]]:
    """How many were due a second, at each second, in so long a window up to it."""
    due = sorted(one.due_s for one in answers)
    return [
        (float(at), sum(at - window_s < one <= at for one in due) / min(window_s, at))
        for at in range(1, int(seconds) + 1)
    ]
