"""One request's way through the engine: heard, let in, its windows computed, a bounded number at a time.

A window that the request's variant is unsure of is computed again by a larger one, where there is one and time for it.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from service.audio.duration import headed_duration_s
from service.audio.types import Window
from service.engine.admission import budget_s
from service.engine.backlog import Backlog, Share
from service.engine.cascade import Tally, again, better
from service.engine.deadline import in_time
from service.engine.delays import Delays
from service.engine.heap import give_back
from service.engine.hearing import Hearing
from service.engine.profile import Hosted
from service.engine.queue import due
from service.engine.scheduler import Scheduler
from service.engine.types import Request, Served, WindowDone
from service.engine.work import Ticket
from service.errors import DeadlineExceeded, Overloaded, WrenError
from service.recognition.computation import Computation
from service.recognition.recognizer import Heed, Recognizer
from service.recognition.types import Language, Segment, Transcript

_log = logging.getLogger(__name__)

T = TypeVar("T")

AHEAD = 2
"""Windows of one recording in the scheduler for each row that may run: one that runs and one that is ready."""

LARGE_S = 30.0
"""Seconds, by its size, of an upload that is worth a look at its header before it is decoded: a MiB."""

LONG_S = 60.0
"""Seconds of a recording that leaves enough behind to be worth giving back."""


@dataclass(frozen=True, slots=True)
class Rooms:
    """What a request passes through."""

    hearing: Hearing
    scheduler: Scheduler
    backlog: Backlog
    delays: Delays


@dataclass(frozen=True, slots=True, eq=False)
class Cascade:
    """The larger variant that hears doubtful windows again, and the latency that is wanted of a short recording."""

    larger: Hosted
    target_s: float

    def takes(self, window: Window, language: str) -> bool:
        """Whether the larger variant can hear it: windows and languages are those of the other one's family."""
        family = self.larger.recognizer.family
        return language in family.languages and window.duration_s <= family.max_window_s


@dataclass(slots=True, eq=False)
class Passage:
    """One request. Ask for its segments, then for the whole; `leave` in any case."""

    rooms: Rooms
    request: Request
    hosted: Hosted
    share: Share
    arrived_s: float
    cascade: Cascade | None = None
    _ticket: Ticket = field(init=False)
    _duration_s: float = field(init=False)
    """By the size of the upload until it is heard."""
    _heard_ms: dict[str, float] = field(default_factory=dict)
    _windows: deque[Window] = field(default_factory=deque)
    _window_count: int = 0
    _stretch: float = 1.0
    """Seconds of the recording that a second of its windows stands for."""
    _heed: Heed = field(default_factory=lambda: Heed(()))
    _tasks: "deque[asyncio.Task[tuple[Segment, ...]]]" = field(default_factory=deque)
    _segments: list[Segment] = field(default_factory=list)
    _tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self._duration_s = self.share.left_s
        due_s = due(self.arrived_s, self._duration_s, self.request.deadline_s)
        self._ticket = Ticket(self.request.client, self.request.priority, due_s)
        self.rooms.delays.opened(self._ticket, time.monotonic())  # who waited for a variant to load waited for that

    async def segments(self) -> AsyncGenerator[Segment, None]:
        """The segments, in order.

        Raises:
            WrenError: the audio cannot be used, there is too much in work, time is up, or the model failed.
        """
        self._let_in()
        await self._look()
        self._let_in()
        await self._hear()
        self._let_in()
        self._heed = await self._heeded()
        while self._sent():
            found = await self._in_time(self._tasks[0])
            await self._tell(found)
            for segment in found:
                self._segments.append(segment)
                yield segment
            self._tasks.popleft()

    async def served(self) -> Served:
        """The whole, once all segments were given."""
        if self._duration_s > LONG_S:
            await asyncio.wrap_future(self.rooms.hearing.submit(give_back))
        text = "".join(segment.text for segment in self._segments).strip()
        segments, languages = tuple(self._segments), self._heed.languages
        transcript = Transcript(text, segments, languages, self._duration_s, self.request.options.task)
        tally, reason = self._tally, self._tally.told(self.cascade.larger.manifest.name) if self.cascade else ""
        return Served(
            transcript, self.hosted.manifest, self._stages(), reason, windows=tally.windows, cascaded=tally.again
        )

    def move(self, hosted: Hosted) -> bool:
        """Be served by another variant of the model, if no window's turn has come; whether it will be."""
        moved = self.rooms.scheduler.move(self._ticket, hosted)
        if moved:
            self.hosted = hosted
            if self.cascade is not None and self.cascade.larger.manifest.name == hosted.manifest.name:
                self.cascade = None
        return moved

    def leave(self) -> None:
        """Let nothing of it be computed any more."""
        self.rooms.delays.closed(self._ticket)
        self.rooms.scheduler.drop(self._ticket)
        for task in self._tasks:
            task.cancel()

    def _let_in(self) -> None:
        if self.request.priority in ("live", "background"):
            return  # its stream was let in for as long as it lasts; who works in the background takes turns
        backlog, deadline_s = self.rooms.backlog, self.request.deadline_s
        if deadline_s is not None and self.share.left_s > deadline_s * backlog.speed:
            raise DeadlineExceeded(budget_s=deadline_s, asked=True)  # with nobody before it either
        verdict = backlog.verdict(self.share, deadline_s=deadline_s)
        if verdict.cause == "queue":  # a deadline may be one that nobody could meet
            self.rooms.delays.turned_away(self._ticket, time.monotonic(), audio_s=self.share.left_s)
        if verdict.cause != "none":
            raise Overloaded(verdict.reason, retry_after_s=verdict.retry_after_s, cause=verdict.cause)

    async def _look(self) -> None:
        """Count a large upload by what its header promises: to decode hours that are then refused would be in vain."""
        audio, raw = self.request.audio, self.request.raw
        if raw is not None or self._duration_s < LARGE_S or not isinstance(audio, bytes | Path):
            return
        promised_s = await asyncio.wrap_future(self.rooms.hearing.submit(lambda: headed_duration_s(audio)))
        if promised_s is not None:
            self.share.left_s = min(promised_s, self.rooms.hearing.max_duration_s)

    async def _hear(self) -> None:
        request, family = self.request, self.hosted.recognizer.family
        hearing = self.rooms.hearing.hear(request, family)
        heard = await self._in_time(hearing)
        self._duration_s, self._heard_ms = heard.duration_s, heard.stage_ms
        # Those that are done are let go one by one: freeing hours of audio at once would stop the event loop.
        self._windows, self._window_count = deque(heard.windows), len(heard.windows)
        speech_s = sum(window.duration_s for window in heard.windows)
        self._stretch = heard.duration_s / speech_s if speech_s else 1.0
        self._ticket.due_s = due(self.arrived_s, heard.duration_s, request.deadline_s)
        self.rooms.backlog.heard(self.share, heard.duration_s, due_s=self._ticket.due_s)
        for _ in range(min(request.resumption.windows, self._window_count) if request.resumption else 0):
            self.share.left_s -= self._windows.popleft().duration_s * self._stretch
        worked_s = sum(heard.stage_ms.values()) / 1e3
        self.rooms.delays.heard(self._ticket, time.monotonic(), speech_s=speech_s, worked_s=worked_s)

    async def _heeded(self) -> Heed:
        """The language, by the first window where it is not known; without speech it is the first there is."""
        recognizer, options = self.hosted.recognizer, self.request.options
        before = self.request.resumption
        known = before.languages if before else recognizer.known_languages(options)
        if known:
            return Heed(known)
        if not self._windows:
            return Heed((Language(recognizer.family.languages[0], 0.0),))
        first = self._windows[0]
        with self.rooms.backlog.computing():
            return await self._in_time(self._computed(self.hosted, first, lambda one: one.heed(first, options)))

    async def _tell(self, found: tuple[Segment, ...]) -> None:
        if self.request.on_window is not None:
            number = self._window_count - len(self._windows) - len(self._tasks)
            await self.request.on_window(WindowDone(number, self._window_count, found, self._heed.languages))

    def _sent(self) -> bool:
        """See that enough windows are on their way; whether there are any."""
        most = AHEAD * self.hosted.profile.rows * self.rooms.scheduler.executors
        while self._windows and len(self._tasks) < most:
            window, heed = self._windows.popleft(), self._heed
            self._tasks.append(asyncio.create_task(self._window(window, heed)))
            self._heed = Heed(heed.languages)  # the memory was the first window's
        return bool(self._tasks)

    async def _window(self, window: Window, heed: Heed) -> tuple[Segment, ...]:
        options, backlog = self.request.options, self.rooms.backlog
        self._tally.windows += 1
        with backlog.computing():
            found = await self._computed(self.hosted, window, lambda one: one.transcribe(window, options, heed))
            if self.cascade is not None and self.cascade.takes(window, heed.languages[0].code):
                found = await self._surer(self.cascade, window, found, heed.languages)
            backlog.done(self.share, window.duration_s * self._stretch)
            return found

    async def _surer(
        self, cascade: Cascade, window: Window, found: tuple[Segment, ...], languages: tuple[Language, ...]
    ) -> tuple[Segment, ...]:
        """What was found or, if that is doubtful and there is time, what the larger variant hears and is surer of."""
        larger, options, left_s = cascade.larger, self.request.options, self._spare_s(cascade.target_s)
        decision = again(found, duration_s=window.duration_s, speed=larger.profile.speed, left_s=left_s)
        if not decision.yes:
            return found
        self._tally.again += 1
        ticket = Ticket(self.request.client, self.request.priority, self._ticket.due_s)
        hearing = self._computed(larger, window, lambda one: one.transcribe(window, options, Heed(languages)), ticket)
        try:
            second = await in_time(hearing, left_s=left_s, budget_s=left_s, asked=False)
        except WrenError as error:
            _log.warning("%s could not hear a window again, so the first text stays: %s", larger.manifest.name, error)
            return found
        finally:
            self.rooms.scheduler.drop(ticket)  # what is not done by now is in vain
            self._ticket.add(ticket)
        verdict = better(found, second)
        _log.debug("a window again by %s, for %s: %s", larger.manifest.name, decision.reason, verdict.reason)
        self._tally.taken += verdict.yes
        return second if verdict.yes else found

    async def _computed(
        self,
        hosted: Hosted,
        window: Window,
        start: Callable[[Recognizer], Computation[T]],
        ticket: Ticket | None = None,
    ) -> T:
        ticket = ticket or self._ticket
        return await self.rooms.scheduler.compute(hosted, start, ticket=ticket, cost_s=window.duration_s)

    def _spare_s(self, target_s: float) -> float:
        """Until the answer is wanted, less what is left of the recording takes; a long one is wanted when it is due."""
        until_s = self.arrived_s + self._allowed_s()
        if self.request.priority == "interactive":
            wanted_s = max(self.arrived_s + target_s, due(self.arrived_s, self._duration_s))
            until_s = min(until_s, wanted_s)
        return until_s - time.monotonic() - self.share.left_s / self.rooms.backlog.speed

    async def _in_time(self, work: Awaitable[T]) -> T:
        """The outcome of the work, unless time is up first: what the client gave, else what the engine allows.

        Raises:
            DeadlineExceeded: it is.
        """
        asked, left_s = self.request.deadline_s is not None, self.arrived_s + self._allowed_s() - time.monotonic()
        return await in_time(work, left_s=left_s, budget_s=self._allowed_s(), asked=asked)

    def _allowed_s(self) -> float:
        asked_s = self.request.deadline_s
        return budget_s(self._duration_s) if asked_s is None else asked_s

    def _stages(self) -> dict[str, float]:
        """Milliseconds a stage; what was none of them was waiting."""
        ticket, heard_ms = self._ticket, self._heard_ms
        computed_ms, encoded_share = 1e3 * ticket.busy_s, ticket.encoded_share()
        total_ms = 1e3 * (time.monotonic() - self.arrived_s)
        waited_ms = max(0.0, total_ms - sum(heard_ms.values()) - computed_ms)
        encode_ms = encoded_share * computed_ms
        return heard_ms | {"queue": waited_ms, "encode": encode_ms, "decode_text": computed_ms - encode_ms}
