"""Requests that come when they come, whether earlier ones are answered or not: an open loop.

Their times are drawn beforehand (Poisson, seeded), so that every server gets the very same load. A request's time
counts from when it was due, also where the client was late to send it: waiting is never left out of the figures.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx

from benchmarks.clients import Answer, Ask, ask
from benchmarks.servers import Server
from benchmarks.speech import Utterance

POOL = httpx.Limits(max_connections=None, keepalive_expiry=2.0)
"""As many connections as there are requests at once; none is used again that the server may be about to close."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time with so many requests a second on average."""

    name: str
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that is due so many seconds after the run begins."""

    due_s: float
    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer, and when its request was due and the answer there: seconds of the run."""

    due_s: float
    done_s: float
    answer: Answer

    @property
    def seconds(self) -> float:
        return self.done_s - self.due_s

    @property
    def answered(self) -> bool:
        return self.answer.status == "200"


def arrivals(utterances: Sequence[Utterance], phases: Sequence[Phase], *, seed: int) -> list[Arrival]:
    """All requests of the phases, one phase after another."""
    source = random.Random(seed)
    turns = _shuffled(utterances, source)
    found: list[Arrival] = []
    start_s = 0.0
    for phase in phases:
        at_s, start_s = start_s, start_s + phase.seconds
        while (at_s := at_s + source.expovariate(phase.rate)) < start_s:
            found.append(Arrival(at_s, next(turns)))
    return found


def _shuffled(utterances: Sequence[Utterance], source: random.Random) -> Iterator[Utterance]:
    """Whole rounds, each in an order of its own: every recording comes as often as the others."""
    while True:
        yield from source.sample(utterances, len(utterances))


class Clock:
    """Seconds since it was made: those of a run."""

    def __init__(self) -> None:
        self._started = time.perf_counter()

    def now_s(self) -> float:
        return time.perf_counter() - self._started

    async def until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - self.now_s()))


async def open_loop(
    server: Server, todo: Sequence[Arrival], *, clock: Clock, ask: Ask = ask, end: asyncio.Event | None = None
) -> list[Timed]:
    """Sends each when it is due, and returns when all are answered; those due after `end` are not sent."""
    found: list[Timed] = []

    async def one(http: httpx.AsyncClient, due: Arrival) -> None:
        answer = await ask(http, due.utterance)
        found.append(Timed(due.due_s, clock.now_s(), answer))

    async with server.client(POOL) as http, asyncio.TaskGroup() as tasks:
        for due in todo:
            await clock.until(due.due_s)
            if end and end.is_set():
                break
            tasks.create_task(one(http, due))
    return found
