"""The live streams of an engine: who is let in, and what their sessions have recognised."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import NoReturn

import numpy as np

from service.audio.types import Window
from service.audio.vad import SpeechDetector
from service.engine.admission import streams_held
from service.engine.choice import Choice
from service.engine.deadline import in_time
from service.engine.governor import Governor
from service.engine.hearing import Hearing
from service.engine.lease import Lease
from service.engine.profile import Hosted, speed_of
from service.engine.scheduler import Scheduler
from service.engine.session import Session
from service.engine.sketching import Drafted, Known
from service.engine.streaming import StreamRequest
from service.engine.types import Observer, Request, Served
from service.engine.variants import Variants
from service.engine.work import Ticket
from service.errors import Overloaded, WrenError
from service.recognition.recognizer import Heed

MOST_LAG_S = 2.0
"""Seconds that finals of a stream may be late, and others still be let in."""

RETRY_S = 10.0
"""When to try again: how long others will speak, nobody knows."""


class Streams:
    """For the event loop. The sessions' `service.engine.session.Recognition`."""

    def __init__(
        self,
        governor: Governor,
        variants: Variants,
        observer: Observer,
        *,
        transcribe: Callable[[Request], Awaitable[Served]],
        lease: Callable[[Request], Awaitable[tuple[Choice, Lease]]],
        most: int | None,
    ) -> None:
        """Make it of the engine's parts: its way for a recording, the variant for one; `most` if somebody said."""
        self._governor, self._variants, self._observer = governor, variants, observer
        self._transcribe, self._lease, self._most = transcribe, lease, most
        self._sessions: dict[Session, float] = {}
        self._coming = 0
        self._speed = 1.0
        self.limit, self.reason = 0, "the engine was not started"

    def start(self, detector: SpeechDetector, hearing: Hearing, scheduler: Scheduler, speed: float) -> None:
        """Let streams in, as many as is carried at this speed."""
        self._detector, self._hearing, self._scheduler = detector, hearing, scheduler
        self.carried_at(speed)

    def carried_at(self, speed: float) -> None:
        """Seconds of audio are recognised a second at this speed from now on."""
        self._speed = speed
        self.limit, self.reason = streams_held(speed, self._most)

    async def close(self) -> None:
        """Drop whatever they have in work, and let none in."""
        self.limit, self.reason = 0, "the server stops"
        await asyncio.gather(*(session.close() for session in self._sessions))

    @property
    def lag_s(self) -> float:
        """Of the stream whose texts are furthest behind their audio."""
        return max((session.lag_s for session in self._sessions), default=0.0)

    def __len__(self) -> int:
        return len(self._sessions) + self._coming

    @asynccontextmanager
    async def listen(self, request: StreamRequest) -> AsyncIterator[Session]:
        """See `service.engine.types.Engine`."""
        self._let_in(1.0)  # before a model is loaded for it
        self._coming += 1
        try:
            cost = await self._cost(request)
        finally:
            self._coming -= 1
        self._let_in(cost)
        session = Session(self, self._detector, request, self._observer)
        self._sessions[session] = cost
        try:
            yield session
        finally:
            del self._sessions[session]
            await session.close()

    def _let_in(self, cost: float) -> None:
        taken = sum(self._sessions.values()) + self._coming
        if taken + cost > self.limit and (taken or not self.limit):
            self._refuse(f"{len(self)} live streams are open, and it holds {self.limit} ({self.reason})")
        if self.lag_s > MOST_LAG_S:
            self._refuse(f"what live streams say comes {self.lag_s:.1f} s late")

    def _refuse(self, reason: str) -> NoReturn:
        self._observer.rejected("streams")
        raise Overloaded(reason, retry_after_s=RETRY_S, cause="streams")

    async def _cost(self, request: StreamRequest) -> float:
        """How many streams of the variant that mostly serves this one is as dear as."""
        _, lease = await self._lease(_recording(request))
        with lease as hosted:
            hosted.recognizer.check(request.options)
            return 1.0 if self._most is not None else self._speed / speed_of(hosted.profile, self._scheduler.executors)

    async def check(self, request: StreamRequest) -> None:
        await self._cost(request)

    async def transcribe(self, request: Request) -> Served:
        return await self._transcribe(request)

    def strained(self, model: str) -> bool:
        return self._governor.strained(model)

    async def draft(self, request: Request, known: Known, *, left_s: float) -> Drafted | None:
        """See `service.engine.sketching.Drafting`. Nothing is loaded for it, and whatever fails can be missed."""
        try:
            lease = self._present(request)
            if lease is None:
                return None
            with lease as hosted:
                drafting = self._drafted(hosted, request, known)
                return await in_time(drafting, left_s=left_s, budget_s=left_s, asked=False)
        except WrenError:
            return None

    async def _drafted(self, hosted: Hosted, request: Request, known: Known) -> Drafted | None:
        """With the speech found as it will be for the final: where words lie otherwise, others are heard."""
        heard = await self._hearing.hear(request, hosted.recognizer.family)
        window = _together(heard.windows)
        if window is None:
            return None
        options, heed = request.options, Heed(hosted.recognizer.known_languages(request.options))
        given = known.tokens if known.model == hosted.manifest.model else ()
        ticket = Ticket(request.client, "interim", time.monotonic())
        try:
            draft = await self._scheduler.compute(
                hosted, lambda one: one.draft(window, options, heed, given), ticket=ticket, cost_s=window.duration_s
            )
        finally:
            self._scheduler.drop(ticket)
        return Drafted(draft, hosted.manifest)

    def _present(self, request: Request) -> Lease | None:
        language = request.options.language
        choice = self._governor.choose(request.model, language=language, wish=request.precision)
        return self._variants.lease_present(choice.manifest)


def _recording(request: StreamRequest) -> Request:
    """As little of one as tells which variant it needs."""
    return Request(b"", request.model, request.options, client=request.client, precision=request.precision)


def _together(windows: Sequence[Window]) -> Window | None:
    """One window of all, so that there is one text to go on from; None without any."""
    if len(windows) < 2:
        return next(iter(windows), None)
    pieces, filled = [], 0
    for window in windows:
        pieces += [replace(piece, window_start=piece.window_start + filled) for piece in window.pieces]
        filled += len(window.samples)
    return Window(np.concatenate([window.samples for window in windows]), tuple(pieces))
