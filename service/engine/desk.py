"""Where executors find work and leave it: the queue under one lock, and what is done with windows between turns."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from weakref import WeakSet

from service.engine.exhaustion import ran_out
from service.engine.forming import form
from service.engine.heap import give_back
from service.engine.portions import Portions
from service.engine.profile import Hosted
from service.engine.queue import FairQueue
from service.engine.types import Observer
from service.engine.work import Ticket, Work
from service.errors import RecognitionFailed, WrenError
from service.recognition.computation import Answer, Encode

_log = logging.getLogger(__name__)

LOOK_AHEAD = 32
"""Windows that an encoder batch is chosen from."""

OUT_OF_MEMORY = "there was not enough memory for it; try again later or send it in parts"

Pool = Callable[[Callable[[], None]], "Future[None]"]
"""Runs short work in another thread."""

_Errand = tuple[Work, Callable[[], None]]
"""A window and its next step, for the pool."""


class Desk:
    """Safe to use from every thread. A window of a variant that is not trusted any more goes to `on_distrusted`.

    Attributes:
        changed: the lock, and what executors sleep on.
        exhausted: how often a computation ran out of memory, those included that went well when they were tried again.
        portions: how many are computed together.
    """

    def __init__(self, pool: Pool, observer: Observer, *, on_distrusted: Callable[[Work], None]) -> None:
        self.changed = threading.Condition()
        self.closing = False
        self.exhausted = 0
        self.portions = Portions()
        self.observer = observer
        self._pool, self._on_distrusted = pool, on_distrusted
        self._distrusted: WeakSet[Hosted] = WeakSet()
        self._beginning: FairQueue[Work] = FairQueue()
        self._going_on: deque[_Errand] = deque()
        self._queue: FairQueue[Work] = FairQueue()

    def __len__(self) -> int:
        return len(self._queue)

    def begin(self, work: Work) -> None:
        """Set a window on its way, or again on its way."""
        with self.changed:
            if work.ticket.gone or self.closing:
                return
            self._beginning.push(work, work.place())
        self._pool(self._run_errand)

    def answer(self, work: Work, answer: Answer | Exception) -> None:
        """Give a window what it asked for, or what went wrong with it alone; its next ask is queued."""
        if isinstance(answer, Exception):
            self.lose(work, answer)
        else:
            self._go_on(work, lambda: work.advance(answer))

    def resume(self, work: Work) -> None:
        """Queue what a window asks for now."""
        self._go_on(work, lambda: None)

    def lose(self, work: Work, error: Exception) -> None:
        """Fail a window; its batch-mates and the other windows of its client go on."""
        self.note(error)
        if not isinstance(error, WrenError):
            work.context.copy().run(_log.error, "a window failed", exc_info=error)
            reason = OUT_OF_MEMORY if ran_out(error) else f"{type(error).__name__} in the runtime"
            error = RecognitionFailed(reason)
        self.observer.failed()
        work.fail(error)

    def note(self, error: Exception) -> None:
        """Take note of an error, also of one that was got over: what runs out of memory is counted."""
        if ran_out(error):
            with self.changed:
                self.exhausted += 1

    def capacity(self) -> int:
        """Rows that an executor should decode together, by the variant whose turn it is. The lock must be held.

        What an executor was lost with is computed alone: if it is to blame, no other is lost with it again.
        """
        return next((1 if one.losses else self.portions.rows(one.hosted) for one in self._queue.candidates(1)), 1)

    def take(self, room: int) -> list[Work]:
        """The windows whose turn it is: one or more to encode together, or one to decode. The lock must be held."""
        candidates = self._queue.candidates(LOOK_AHEAD)
        if not candidates:
            return []
        taken = self._together(candidates, room)
        for work in taken:
            self._queue.take(work)
            work.ticket.enter()
            work.lap_s()
        return taken

    def drop(self, gone: Callable[[Work], bool]) -> None:
        """Forget what waits and is not wanted; executors drop their rows at the next step."""
        with self.changed:
            self._beginning.discard(gone)
            self._queue.discard(gone)
            self.changed.notify_all()

    def move(self, ticket: Ticket, hosted: Hosted) -> bool:
        """Have a request computed by another variant from its beginning; not if one of its windows had its turn."""
        with self.changed:
            if ticket.entered_s is not None or ticket.gone:
                return False
            ticket.moved = hosted
            waiting = [work for queue in (self._beginning, self._queue) for work in queue.discard(_of(ticket))]
        for work in waiting:
            self.begin(work.again(hosted))
        return True

    def distrust(self, lost: Iterable[Hosted]) -> None:
        """Let nothing more be computed with these; their windows are handed out. The lock must be held."""
        self._distrusted.update(lost)
        for work in self._queue.discard(lambda work: work.hosted in self._distrusted):
            self._on_distrusted(work)

    def tidy(self) -> None:
        """Give back memory that was freed."""
        self._pool(give_back)

    def close(self) -> None:
        """Send the executors home."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()

    def _together(self, candidates: list[Work], room: int) -> list[Work]:
        first = candidates[0]
        most = min(room, self.portions.encodings(first.hosted))
        if first.features is None or most == 1:
            return [first]
        alike = [work for work in candidates if work.hosted is first.hosted and work.features is not None]
        lengths = [work.features.length for work in alike if work.features is not None]
        return [alike[index] for index in form(lengths, first.hosted.profile.encode, most=most).picked]

    def _go_on(self, work: Work, step: Callable[[], None]) -> None:
        self._going_on.append((work, step))
        self._pool(self._run_errand)

    def _run_errand(self) -> None:
        errand = self._next_errand()
        if errand is not None:
            self._advance(*errand)

    def _next_errand(self) -> _Errand | None:
        """What has begun goes on before others begin: it may be at its end, and they would only wait in the queue."""
        with self.changed:
            if self._going_on:
                return self._going_on.popleft()
            for work in self._beginning.candidates(1):
                self._beginning.take(work)
                return work, work.begin
        return None

    def _advance(self, work: Work, step: Callable[[], None]) -> None:
        if work.ticket.gone:
            return
        try:
            step()
            if isinstance(work.ask, Encode):
                work.features = work.hosted.recognizer.features(work.ask)
        except StopIteration:
            work.finish()
        except Exception as error:  # of the recogniser's own code: one window's fault is not another's
            self.lose(work, error)
        else:
            self._push(work)

    def _push(self, work: Work) -> None:
        with self.changed:
            if work.ticket.gone or self.closing:
                return
            hosted = self._present(work)
            if hosted is work.hosted and hosted in self._distrusted:
                self._on_distrusted(work)
                return
            if hosted is work.hosted:
                self._queue.push(work, work.place())
                self.changed.notify()
                return
        self.begin(work.again(hosted))  # it was moved while its features were computed

    def _present(self, work: Work) -> Hosted:
        """The variant that is to compute it; the lock must be held."""
        moved, entered = work.ticket.moved, work.ticket.entered_s is not None
        if moved is None or entered or moved.manifest.digest == work.hosted.manifest.digest:  # or it was renewed since
            return work.hosted
        return moved


def _of(ticket: Ticket) -> Callable[[Work], bool]:
    return lambda work: work.ticket is ticket
