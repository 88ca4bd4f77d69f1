"""A request and its windows, as the scheduler knows them."""

import asyncio
import math
import time
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field

from service.backends.base import Features
from service.engine.profile import Hosted
from service.engine.queue import Place
from service.engine.types import Priority
from service.recognition.computation import Answer, Ask, Computation
from service.recognition.recognizer import Recognizer


@dataclass(slots=True, eq=False)
class Ticket:
    """A request: with whom it shares its turns, whether anybody still waits for it, and where its time went.

    Attributes:
        entered_s: monotonic clock, when the first of its windows came to an executor; None before.
        moved: the variant that it was moved to before that; None if it was not.
        busy_s: seconds in which one or more of its windows were in an executor.
        encode_s: of its windows in encoder batches, added up; `decode_s`: in decode batches.
    """

    client: str
    priority: Priority
    due_s: float
    gone: bool = False
    entered_s: float | None = None
    moved: Hosted | None = None
    busy_s: float = 0.0
    encode_s: float = 0.0
    decode_s: float = 0.0
    _inside: int = 0
    _since_s: float = 0.0

    def enter(self) -> None:
        """One of its windows is in an executor now; the desk's lock must be held."""
        if not self._inside:
            self._since_s = time.monotonic()
        if self.entered_s is None:
            self.entered_s = self._since_s
        self._inside += 1

    def exit(self) -> None:
        """One of them is not any more; the desk's lock must be held."""
        self._inside -= 1
        if not self._inside:
            self.busy_s += time.monotonic() - self._since_s

    def add(self, other: "Ticket") -> None:
        """Count another's time as this one's."""
        self.busy_s += other.busy_s
        self.encode_s += other.encode_s
        self.decode_s += other.decode_s

    def encoded_share(self) -> float:
        """Of the time in executors, the part in encoder batches."""
        return self.encode_s / max(self.encode_s + self.decode_s, 1e-9)


@dataclass(slots=True, eq=False)
class Work:
    """A window's way through the recogniser, and the future that is done when it is at its end.

    Attributes:
        start: begins the way, and begins it again if an executor was lost.
        cost_s: seconds of audio.
        losses: how many executors were lost while they had it.
        ask: what it waits for now; `features` are those of an `Encode`, computed before its turn.
        context: that of whoever asked, in whatever thread the way is taken: log lines have the request's id by it.
    """

    ticket: Ticket
    hosted: Hosted
    start: Callable[[Recognizer], Computation[None]]
    cost_s: float
    future: "asyncio.Future[None]"
    losses: int = 0
    asked: int = 0
    ask: Ask | None = None
    features: Features | None = None
    context: Context = field(default_factory=copy_context)
    _way: Computation[None] | None = None
    _since_s: float = field(default_factory=time.perf_counter)

    def place(self) -> Place:
        """Its place in the queue. What asks again has been paid for and goes first among its request's."""
        due_s, cost_s = self.ticket.due_s, self.cost_s
        if self.asked > 1:
            due_s, cost_s = math.nextafter(due_s, -math.inf), 0.0
        return Place(self.ticket.client, self.ticket.priority, due_s, cost_s)

    def begin(self) -> None:
        """Take the first step.

        Raises:
            StopIteration: it asks for nothing.
        """
        self.asked = 1
        self.ask = self.features = None
        self._way = self.start(self.hosted.recognizer)
        self.ask = self.context.run(next, self._way)

    def advance(self, answer: Answer) -> None:
        """Take the next step with what it asked for.

        Raises:
            StopIteration: it is at its end.
        """
        if self._way is None:
            raise AssertionError("it has not begun")
        self.asked += 1
        self.ask = self.features = None
        self.ask = self.context.run(self._way.send, answer)

    def again(self, hosted: Hosted) -> "Work":
        """The same window before its first step. What a lost executor may still do to this one changes nothing."""
        context = self.context.copy()  # a lost executor may still be in the other one
        return Work(self.ticket, hosted, self.start, self.cost_s, self.future, self.losses, context=context)

    def lap_s(self) -> float:
        """Seconds since the last lap."""
        before, self._since_s = self._since_s, time.perf_counter()
        return self._since_s - before

    def finish(self) -> None:
        """Tell whoever waits; from any thread."""
        self._settle(lambda: self.future.set_result(None))

    def fail(self, error: Exception) -> None:
        """Raise the error where the end is waited for; from any thread."""
        self._settle(lambda: self.future.set_exception(error))

    def _settle(self, settle: Callable[[], None]) -> None:
        def unless_done() -> None:
            if not self.future.done():
                settle()

        loop = self.future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(unless_done)
