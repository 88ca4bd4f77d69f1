"""The bridge between the event loop and the executors: windows in, their results out, whatever happens to a thread."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from service.engine.desk import Desk, Pool
from service.engine.executor import Executor
from service.engine.profile import Hosted
from service.engine.types import Observer
from service.engine.work import Ticket, Work
from service.errors import RecognitionFailed
from service.recognition.computation import Computation
from service.recognition.recognizer import Recognizer

_log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_LOSSES = 2
"""Executors that a window may be lost with before it is thought to be its fault."""

LOOK_S = 1.0
"""How often it is seen whether executors get on, or a quarter of `stuck_s` if that is less."""

END_S = 5.0
"""How long executors may take to end."""

FORGET_S = 5.0
"""How long executors may take to let go of a variant: what they compute at once takes a tenth of it at most."""

Renew = Callable[[Hosted], Awaitable[Hosted]]
"""Loads a variant anew, for what a lost executor left of it cannot be trusted."""


class Scheduler:
    """Used from the event loop. Start it before the first window."""

    def __init__(self, pool: Pool, observer: Observer, *, renew: Renew, stuck_s: float) -> None:
        self._desk = Desk(pool, observer, on_distrusted=self._distrusted)
        self._observer, self._renew, self._stuck_s = observer, renew, stuck_s
        self._executors: list[Executor] = []
        self._made = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._futures: set[asyncio.Future[None]] = set()

    def start(self, executors: int) -> None:
        """Start the executors and the watch over them."""
        self._loop = asyncio.get_running_loop()
        self._executors = [self._executor() for _ in range(executors)]
        self._keep(self._watch())

    async def close(self) -> None:
        """Stop: what runs and what waits is dropped, and whoever waits for it cancelled."""
        self._desk.close()
        for pending in (*self._tasks, *self._futures):
            pending.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for executor in self._executors:
            await asyncio.to_thread(executor.join, 0.0 if executor.stalled_s() > END_S else END_S)

    @property
    def waiting(self) -> int:
        """Windows that wait for their turn."""
        return len(self._desk)

    @property
    def rows(self) -> int:
        """Rows that are being decoded."""
        return sum(executor.rows for executor in self._executors)

    @property
    def exhausted(self) -> int:
        """How often a computation ran out of memory so far."""
        return self._desk.exhausted

    @property
    def executors(self) -> int:
        return len(self._executors)

    def stalled_s(self) -> float:
        """Seconds since the executor that is furthest behind got something done."""
        return max((executor.stalled_s() for executor in self._executors), default=0.0)

    async def compute(
        self, hosted: Hosted, start: Callable[[Recognizer], Computation[T]], *, ticket: Ticket, cost_s: float
    ) -> T:
        """What a computation returns, its parts computed in their turns.

        Raises:
            RecognitionFailed: the model failed on it.
            asyncio.CancelledError: the scheduler was closed.
        """
        if self._desk.closing:
            raise asyncio.CancelledError("the engine was closed")
        found: list[T] = []

        def way(recognizer: Recognizer) -> Computation[None]:
            found.append((yield from start(recognizer)))

        future = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            self._desk.begin(Work(ticket, hosted, way, cost_s, future))
            await future
        finally:
            self._futures.discard(future)
        return found[-1]

    async def forget(self, hosted: Hosted) -> None:
        """Have executors drop all that they hold of a variant which no request uses any more.

        One that is stuck is not waited for: what it holds goes when it comes back.
        """
        if self._desk.closing or not self._executors:
            return
        letting_go = [asyncio.wrap_future(executor.forget(hosted)) for executor in self._executors]
        await asyncio.wait(letting_go, timeout=FORGET_S)

    def move(self, ticket: Ticket, hosted: Hosted) -> bool:
        """Have a request computed by another variant, if its turn has not come; whether it will be."""
        return self._desk.move(ticket, hosted)

    def drop(self, ticket: Ticket) -> None:
        """Forget a request: what waits vanishes at once, its rows at the next step."""
        ticket.gone = True
        self._desk.drop(lambda work: work.ticket is ticket)

    def _executor(self) -> Executor:
        self._made += 1
        name = f"wren-compute-{self._made}"
        return Executor(self._desk, name=name, on_crash=self._crashed)

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        every_s = min(LOOK_S, self._stuck_s / 4)
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(every_s)
            if time.monotonic() - before_s > 2 * every_s:
                continue  # the whole process stood still, as a paused container does: it is nobody's fault
            for executor in [one for one in self._executors if one.stalled_s() > self._stuck_s]:
                self._replace(executor, "stuck")

    def _crashed(self, executor: Executor) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._replace, executor, "crashed")

    def _replace(self, executor: Executor, reason: Literal["stuck", "crashed"]) -> None:
        if executor not in self._executors or self._desk.closing:
            return
        with self._desk.changed:
            if reason == "stuck" and executor.stalled_s() <= self._stuck_s:
                return  # it got on after all
            works = executor.give_up()
            if reason == "stuck":
                self._desk.distrust({work.hosted for work in works})
        _log.error("an executor %s: another takes its place", reason)
        self._observer.restarted(reason)
        self._executors[self._executors.index(executor)] = self._executor()
        for work in works:
            work.losses += 1
            if work.losses < MOST_LOSSES:
                self._keep(self._again(work))
            else:
                self._desk.lose(work, RecognitionFailed(f"its executor {reason}, twice"))

    def _distrusted(self, work: Work) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._keep(self._again(work)))

    async def _again(self, work: Work) -> None:
        """Begin it anew with its variant loaded anew."""
        if work.ticket.gone or self._desk.closing:
            return
        try:
            hosted = await self._renew(work.hosted)
        except Exception as error:  # whatever loading raises, somebody waits for the window
            self._desk.lose(work, error)
        else:
            self._desk.begin(work.again(hosted))
