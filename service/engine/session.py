"""A live stream in the engine: bytes and orders in, what is said and when out.

What the ear hears becomes recordings: a segment's final is a small one, which takes the way of all recordings. It is
begun as soon as the speaker pauses: mostly the pause lasts, and the text is there by the end of it.
"""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import Protocol

from service.audio.ear import Ear, Forgotten, Grown, Over, Overheard, Passed
from service.audio.endpoint import Began, Ended, Paused, Resumed, Rules, Stopped
from service.audio.pipe import Pipe
from service.audio.types import SAMPLE_RATE, RawFormat, Samples, Span, VadOptions
from service.audio.vad import SpeechDetector
from service.engine.sketching import Drafting, Sketches
from service.engine.streaming import Cleared, SpeechStarted, SpeechStopped, StreamEvent, StreamRequest
from service.engine.telling import End, Ending, Silence, Telling
from service.engine.types import Observer, Priority, Request, Served
from service.errors import OptionError
from service.recognition.types import Language

UNHEARD_BYTES = 2**20
"""Of a stream that is sent faster than it is heard: half a minute as plain 16 kHz. More waits with the client."""

HURRIED_S = 2.0
"""A stream that is so far ahead of the clock is a file: nobody watches its interim results."""

END_S = 1.0
"""How long an ear may take to end: what it decodes at once takes some milliseconds."""

NOTHING_SENT = RawFormat("linear16", SAMPLE_RATE)
"""How an end without any audio is heard: no container is missing then."""


class Recognition(Drafting, Protocol):
    """What a session needs of an engine."""

    async def transcribe(self, request: Request) -> Served: ...

    def strained(self, model: str) -> bool:
        """Whether nothing should be computed but what must be."""
        ...

    async def check(self, request: StreamRequest) -> None:
        """See whether the model is there and can do what is asked.

        Raises:
            ModelNotFound, ModelUnavailable, NothingFits, OptionError: it is not, or cannot.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Guess:
    """A segment that may be at its end."""

    span: Span
    work: "asyncio.Task[Served]"


class Session:
    """See `service.engine.streaming.Stream`. Close it in any case."""

    def __init__(
        self, recognition: Recognition, detector: SpeechDetector, request: StreamRequest, observer: Observer
    ) -> None:
        self._recognition, self._request, self._asked = recognition, request, request
        self._loop, self._context = asyncio.get_running_loop(), copy_context()
        self._room = asyncio.Event()
        self._pipe = Pipe(UNHEARD_BYTES, on_room=lambda: self._call(self._room.set))
        self._ear = Ear(detector, self._pipe, Rules.of(request.vad), self._overhear)
        self._telling = Telling(observer, hold=self._pipe.hold, resume=self._resume)
        self._telling.gap_s = request.utterance_gap_s
        self._sketches = Sketches(recognition, self._telling, ask=self._want)
        self._guess: _Guess | None = None
        self._works: set[asyncio.Task[Served]] = set()
        self._first_language = asyncio.Lock()
        self._language: Language | None = None
        self._language_by: asyncio.Task[Served] | None = None
        self._thread: threading.Thread | None = None
        self._began_s: float | None = None
        self._clock = 0
        self._over = False

    @property
    def lag_s(self) -> float:
        """Seconds that texts come behind their audio; a file that was sent at once is behind nobody."""
        return 0.0 if self._hurried() else self._telling.lag_s

    async def feed(self, audio: bytes) -> None:
        await self._room_made()
        self._listen(self._asked.raw)
        self._pipe.put(audio)

    async def commit(self) -> None:
        await self._room_made()
        if self._thread is not None:
            self._pipe.mark(lambda: self._ear.cut("asked"))
        else:  # there is nothing to hear yet, nor may it be known how
            self._telling.add(Ending(Span(0, 0), "asked", time.monotonic()))

    async def clear(self) -> None:
        await self._room_made()
        if self._thread is not None:
            self._pipe.mark(self._ear.clear)
        else:
            self._telling.add(Cleared(0.0))

    async def finish(self) -> None:
        self._listen(NOTHING_SENT)
        self._pipe.close()

    async def configure(self, request: StreamRequest) -> None:
        await self._room_made()
        if self._thread is not None and (request.raw, request.model) != (self._asked.raw, self._asked.model):
            raise OptionError("Model and layout of the audio cannot change once audio was sent.", param="format")
        await self._recognition.check(request)
        self._asked = request
        if self._thread is not None:
            self._pipe.mark(lambda: self._follow(request))
        else:
            self._ear.follow(Rules.of(request.vad))
            self._adopt(request)

    def events(self) -> AsyncGenerator[StreamEvent, None]:
        return self._telling.events()

    async def close(self) -> None:
        """Drop whatever is in work."""
        self._over = True
        self._pipe.abandon()
        self._room.set()
        self._sketches.end()
        self._telling.add(End())
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, END_S)

    def _listen(self, raw: RawFormat | None) -> None:
        """Begin to, if that was not done: until then it may be said how the audio is laid out."""
        if self._began_s is None:
            self._began_s = time.monotonic()
            self._thread = threading.Thread(target=self._ear.run, args=(raw,), name="wren-ear", daemon=True)
            self._thread.start()

    async def _room_made(self) -> None:
        """Wait while much is unheard, or untold."""
        while (self._pipe.full or self._telling.held) and not self._over:
            self._room.clear()
            await self._room.wait()

    def _resume(self) -> None:
        self._pipe.resume()
        self._room.set()

    def _follow(self, request: StreamRequest) -> None:
        """In the ear's thread: all that was heard by now is heard as before."""
        self._ear.follow(Rules.of(request.vad))
        self._call(lambda: self._adopt(request))

    def _adopt(self, request: StreamRequest) -> None:
        before, now = self._request.options, request.options
        if (before.language, before.languages) != (now.language, now.languages):
            self._language = self._language_by = None
        self._request, self._telling.gap_s = request, request.utterance_gap_s

    def _overhear(self, heard: Overheard) -> None:
        """In the ear's thread."""
        self._call(lambda: self._hear(heard))

    def _call(self, work: Callable[[], None]) -> None:
        """From the ear's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work, context=self._context)

    def _hear(self, heard: Overheard) -> None:
        if self._over:
            return
        self._clock = heard.clock
        match heard.what:
            case Began(at):
                self._telling.add(SpeechStarted(at / SAMPLE_RATE))
                self._sketches.begin(at)
            case Grown(span):
                self._grow(heard, span)
            case Paused(span):
                self._pause(heard, span)
            case Resumed():
                self._drop_guess()
                self._sketches.later(heard.clock)
            case Stopped(at):
                self._telling.add(SpeechStopped(at / SAMPLE_RATE))
            case Ended():
                self._end(heard, heard.what)
            case Passed():
                if self._telling.gap_s is not None:
                    self._telling.add(Silence(heard.clock / SAMPLE_RATE))
            case Forgotten():
                self._drop_guess()
                self._sketches.end()
                self._telling.add(Cleared(heard.clock / SAMPLE_RATE))
            case Over(error):
                self._over = True
                self._room.set()
                self._telling.add(End(error))

    def _hurried(self) -> bool:
        played_s = time.monotonic() - (self._began_s or 0.0)
        return self._clock / SAMPLE_RATE > played_s + HURRIED_S

    def _want(self, at: int) -> None:
        self._ear.wanted = at if self._request.interims else None

    def _grow(self, heard: Overheard, span: Span) -> None:
        if self._hurried() or heard.samples is None or self._recognition.strained(self._request.model):
            self._sketches.later(heard.clock)
        else:
            self._sketches.make(heard, self._recording(heard.samples, span, "interim"), span)

    def _pause(self, heard: Overheard, span: Span) -> None:
        """The end of the segment, most likely."""
        self._sketches.stop()
        if heard.samples is None:
            return
        self._guess = guess = _Guess(span, self._begin(heard.samples, span))
        if self._request.interims:
            guess.work.add_done_callback(lambda _: self._show(guess, heard.arrived_s))

    def _show(self, guess: _Guess, arrived_s: float) -> None:
        """A guess that is neither dropped nor final yet is the best interim result."""
        if self._guess is not guess or guess.work.cancelled() or guess.work.exception() is not None:
            return
        served = guess.work.result()
        self._sketches.show(served.transcript.segments, guess.span, served.manifest, arrived_s=arrived_s)

    def _end(self, heard: Overheard, ended: Ended) -> None:
        if self._guess is not None and self._guess.span != ended.span:
            self._drop_guess()
        guess, self._guess = self._guess, None
        work = None if guess is None else guess.work
        if work is None and heard.samples is not None and ended.span is not None:
            work = self._begin(heard.samples, ended.span)
        cut = "length" if ended.cut == "pause" and not self._request.turns else ended.cut
        self._telling.add(Ending(ended.segment, cut, heard.arrived_s, work, ended.span))
        self._sketches.end()
        if ended.cut == "length":
            self._sketches.begin(ended.segment.end)

    def _drop_guess(self) -> None:
        guess, self._guess = self._guess, None
        if guess is None:
            return
        guess.work.cancel()
        if self._language_by is guess.work:  # whether it was done in time must change nothing
            self._language = self._language_by = None

    def _begin(self, samples: Samples, span: Span) -> "asyncio.Task[Served]":
        work = asyncio.create_task(self._transcribed(samples, span))
        self._works.add(work)
        work.add_done_callback(self._done)
        return work

    def _done(self, work: "asyncio.Task[Served]") -> None:
        self._works.discard(work)
        if not work.cancelled():
            work.exception()  # of a guess that was dropped nobody asks for it

    async def _transcribed(self, samples: Samples, span: Span) -> Served:
        """In the language of the first that was understood: segments wait for it, so that pace changes nothing."""
        if self._language is not None or self._request.options.language is not None:
            return await self._recognition.transcribe(self._recording(samples, span, "live"))
        async with self._first_language:
            served = await self._recognition.transcribe(self._recording(samples, span, "live"))
            if served.transcript.text and self._language is None:
                self._language, self._language_by = served.transcript.languages[0], asyncio.current_task()
            return served

    def _recording(self, samples: Samples, span: Span, priority: Priority) -> Request:
        asked, options = self._request, self._request.options
        if options.language is None and self._language is not None:
            options = replace(options, language=self._language.code)
        # Where a turn ends is the ear's business: within a segment, pauses are what they are in any recording.
        vad = replace(asked.vad, silence_duration_ms=VadOptions().silence_duration_ms)
        return Request(
            samples,
            model=asked.model,
            options=options,
            vad=vad,
            client=asked.client,
            priority=priority,
            deadline_s=float("inf"),
            precision=asked.precision,
            preceded=span.start > 0,
        )
