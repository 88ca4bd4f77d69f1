"""One thread that computes: it takes windows from the desk, encodes them, and decodes all of its rows together."""

import logging
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future

from service.backends.base import EncoderBatch
from service.backends.sequences import Memory
from service.engine.desk import Desk
from service.engine.exhaustion import ran_out
from service.engine.forming import State, decide
from service.engine.lanes import Lanes, Stepped
from service.engine.profile import Hosted
from service.engine.work import Work
from service.recognition.computation import Encode

_log = logging.getLogger(__name__)

REST_S = 5.0
"""Idle seconds after which the memory of the decode batches is given back."""


class _GivenUp(Exception):
    """Another executor has taken over: what this one computed is not wanted."""


class Executor:
    """Runs until the desk closes, it is given up, or it crashes."""

    def __init__(self, desk: Desk, *, name: str, on_crash: "Callable[[Executor], None]") -> None:
        self._desk, self._on_crash = desk, on_crash
        self._lanes = Lanes(desk.note, desk.portions)
        self._held: set[Work] = set()
        self._leaving: list[tuple[Hosted, Future[None]]] = []
        self._encodes = 0
        self._rested = True
        self._busy_since: float | None = None
        self._given_up = False
        # A daemon: a thread that is stuck in a runtime must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        return len(self._lanes)

    def stalled_s(self) -> float:
        """Seconds since it last got something done, while it has something to do."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def give_up(self) -> list[Work]:
        """Take its work away from it, for good; the desk's lock must be held."""
        self._given_up = True
        self._desk.changed.notify_all()  # it may have got on and be asleep: it must not be woken in another's place
        for work in self._held:
            work.ticket.exit()
        return list(self._held)

    def forget(self, hosted: Hosted) -> "Future[None]":
        """Drop every reference to a variant that no request uses any more; done when that has happened."""
        gone: Future[None] = Future()
        gone.set_running_or_notify_cancel()  # nobody can cancel it any more: it is set from the executor's thread
        with self._desk.changed:
            self._leaving.append((hosted, gone))
            self._desk.changed.notify_all()
        return gone

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except _GivenUp:
            _log.info("%s came back after it was given up", self._thread.name)
        except BaseException:
            _log.exception("%s crashed", self._thread.name)
            self._on_crash(self)
        finally:
            self._end()

    def _end(self) -> None:
        with self._desk.changed:
            for _, gone in self._leaving:
                gone.set_result(None)
            self._leaving.clear()

    def _turn(self) -> bool:
        """One encoder batch or one decoder step; False at the end."""
        works = self._next()
        if works is None:
            return False
        self._forget_gone()
        if not works:
            self._encodes = 0
            self._settle(self._lanes.step())
        elif isinstance(works[0].ask, Encode):
            self._encodes += 1
            self._encode(works)
        else:
            self._decode(works)
        return True

    def _next(self) -> list[Work] | None:
        """Windows to take in, none for a step; waits until there is something to do. None at the end."""
        with self._desk.changed:
            while not self._desk.closing:
                self._check()
                self._let_go()
                capacity = 1 if any(work.losses for work in self._held) else self._desk.capacity()
                state = State(len(self._lanes), capacity, len(self._desk), self._encodes)
                action = decide(state).action
                if action == "idle":
                    self._encodes, self._busy_since = 0, None
                    if not self._desk.changed.wait(None if self._rested else REST_S):
                        self._rest()
                    continue
                works = self._desk.take(capacity - len(self._lanes)) if action == "encode" else []
                self._held.update(works)
                self._rested = False
                self._busy_since = time.monotonic()
                return works
        return None

    def _encode(self, works: list[Work], *, again: bool = False) -> None:
        """Encode together; if that fails, in halves: only what cannot be computed is lost."""
        backend = works[0].hosted.recognizer.backend
        features = [work.features for work in works if work.features is not None]
        started = time.perf_counter()
        try:
            memories = backend.encode(EncoderBatch.of(features))
        except Exception as error:  # whatever a runtime raises: there is no common class
            traceback.clear_frames(error.__traceback__)  # what it had computed leaves room for the next try
            self._progress()
            if len(works) > 1:
                self._encode_halves(works, error)
            elif ran_out(error) and not again and self._lanes.clear():
                self._desk.note(error)
                self._encode(works, again=True)
            else:
                self._release(works[0])
                self._desk.lose(works[0], error)
            return
        self._progress()
        self._desk.observer.encoded(rows=len(works), seconds=time.perf_counter() - started)
        for work, memory in zip(works, memories, strict=True):
            work.ticket.encode_s += work.lap_s()
            self._go_on(work, memory)
        self._decode([work for work in works if work in self._held])

    def _encode_halves(self, works: list[Work], error: Exception) -> None:
        self._desk.note(error)
        if ran_out(error):
            self._desk.portions.halve_encodings(works[0].hosted, len(works))
            self._lanes.clear()
        half = len(works) // 2
        self._encode(works[:half])
        self._encode(works[half:])

    def _go_on(self, work: Work, memory: Memory) -> None:
        if work.ticket.gone:
            self._release(work)
            return
        try:
            work.advance(memory)
        except StopIteration:
            self._release(work)
            work.finish()
        except Exception as error:  # of the recogniser's own code: one window's fault is not another's
            self._release(work)
            self._desk.lose(work, error)
        if isinstance(work.ask, Encode):
            self._release(work)
            self._desk.resume(work)

    def _decode(self, works: list[Work]) -> None:
        if works:
            self._settle(self._lanes.join(works))

    def _settle(self, stepped: list[Stepped]) -> None:
        self._progress()
        for step in stepped:
            if step.rows:
                self._desk.observer.stepped(rows=step.rows, seconds=step.seconds)
            for work, result in step.ended:
                self._release(work)
                work.ticket.decode_s += work.lap_s()
                self._desk.answer(work, result)

    def _rest(self) -> None:
        """Give back what the batches took; the desk's lock is held, so whatever takes long is for others to do."""
        self._rested = True
        self._lanes.clear()
        self._desk.tidy()

    def _let_go(self) -> None:
        """Forget variants that leave memory; rows of requests that have gone may have to go first."""
        if not self._leaving:
            return
        self._forget_gone()
        staying = []
        for hosted, gone in self._leaving:
            if self._lanes.forget(hosted):
                gone.set_result(None)
            else:
                staying.append((hosted, gone))
        self._leaving = staying

    def _forget_gone(self) -> None:
        for work in self._lanes.drop(lambda work: work.ticket.gone):
            self._release(work)

    def _release(self, work: Work) -> None:
        with self._desk.changed:
            self._check()
            self._held.discard(work)
            work.ticket.exit()

    def _progress(self) -> None:
        """Something was computed: if it took so long that the work was given to another, leave it alone."""
        with self._desk.changed:
            self._check()
            self._busy_since = time.monotonic()

    def _check(self) -> None:
        if self._given_up:
            raise _GivenUp
