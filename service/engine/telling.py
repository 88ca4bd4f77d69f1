"""What there is to tell of a stream in, events out in the order of its audio: what is behind a final waits for it."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from service.audio.endpoint import Cut
from service.audio.types import SAMPLE_RATE, Span
from service.engine.streaming import Final, Interim, StreamEvent, UtteranceEnded
from service.engine.types import Observer, Served
from service.errors import RecognitionFailed, WrenError
from service.recognition.types import Segment

MOST_AHEAD = 16
"""Things to tell that wait, from which on the stream is heard no further; half of them until it is again."""


LATELY_S = 10.0
"""How long a final tells how far behind its stream is."""


@dataclass(frozen=True, slots=True, eq=False)
class Ending:
    """A segment on its way to its final.

    Attributes:
        work: what gives its text; None where nobody spoke.
        heard: the part of the stream that is recognised; its times begin there.
        arrived_s: monotonic clock, when the end of the segment came.
    """

    segment: Span
    cut: Cut
    arrived_s: float
    work: "asyncio.Task[Served] | None" = None
    heard: Span | None = None


@dataclass(slots=True, eq=False)
class Silence:
    """The stream is so far, and nobody spoke lately; `at_s` moves on while this waits behind all else."""

    at_s: float


@dataclass(frozen=True, slots=True)
class End:
    """There is nothing more to tell, but for what went wrong."""

    error: Exception | None = None


class Telling:
    """Of one stream; for the event loop.

    Attributes:
        gap_s: seconds without a word that are told; None for never.
        held: whether too much waits here.
    """

    def __init__(self, observer: Observer, *, hold: Callable[[], None], resume: Callable[[], None]) -> None:
        """`hold` and `resume` are called as too much waits here and when that is over."""
        self._observer, self._hold, self._resume = observer, hold, resume
        self._line: asyncio.Queue[StreamEvent | Ending | Silence | End] = asyncio.Queue()
        self._idle = self.held = False
        self._word_s: float | None = None
        self._last: StreamEvent | Ending | Silence | End | None = None
        """What waits behind all else."""
        self._works: deque[Ending] = deque()
        """Of those that wait, the ones whose text may not be there yet."""
        self._lagged = (0.0, -math.inf)  # of the last text that was there, and when that was
        self.gap_s: float | None = None

    @property
    def lag_s(self) -> float:
        """Seconds that texts come behind their audio, whether taken or not: the last one lately, or one that is due."""
        (lag_s, then_s), now_s = self._lagged, time.monotonic()
        due_s = now_s - self._works[0].arrived_s if self._works else 0.0
        return max(due_s, lag_s if now_s - then_s < LATELY_S else 0.0)

    def add(self, item: StreamEvent | Ending | Silence | End) -> None:
        """Tell this behind all else."""
        if isinstance(item, Silence) and isinstance(self._last, Silence):
            self._last.at_s = item.at_s
            return
        self._last = item
        self._line.put_nowait(item)
        if isinstance(item, Ending) and item.work is not None:
            self._works.append(item)
            item.work.add_done_callback(lambda _: self._there(item))
        if not self.held and self._line.qsize() >= MOST_AHEAD:
            self.held = True
            self._hold()

    def show(self, interim: Interim, *, arrived_s: float) -> None:
        """Tell this at once or not at all: whoever is busy with something else has no use for it any more."""
        told = self._idle and self._line.empty()
        if told:
            self._line.put_nowait(interim)
        self._observer.sketched(lag_s=time.monotonic() - arrived_s if told else None)

    def missed(self) -> None:
        """There would have been an interim result, but not in time."""
        self._observer.sketched(lag_s=None)

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Each as its turn comes, to the end."""
        while not isinstance(item := await self._next(), End):
            if isinstance(item, Ending):
                yield await self._final(item)
            elif not isinstance(item, Silence):
                yield item
            elif self._gapes(item.at_s):
                yield UtteranceEnded(self._word_s or 0.0)
                self._word_s = None
        if item.error is not None:
            raise item.error

    async def _next(self) -> StreamEvent | Ending | Silence | End:
        self._idle = True
        try:
            item = await self._line.get()
        finally:
            self._idle = False
        if item is self._last:
            self._last = None
        if self.held and self._line.qsize() < MOST_AHEAD // 2:
            self.held = False
            self._resume()
        return item

    async def _final(self, ending: Ending) -> Final:
        start_s, end_s = ending.segment.start / SAMPLE_RATE, ending.segment.end / SAMPLE_RATE
        final = Final(start_s, end_s, (), ending.cut)
        if ending.work is None:
            return final
        try:
            served = await ending.work
        except WrenError as error:
            return replace(final, failure=error)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return replace(final, failure=RecognitionFailed("the server stops"))
        offset_s = 0.0 if ending.heard is None else ending.heard.start / SAMPLE_RATE
        segments = shifted(served.transcript.segments, offset_s)
        lag_s = time.monotonic() - ending.arrived_s
        variant, stage_ms = served.manifest.name, served.stage_ms
        self._observer.settled(lag_s=lag_s, audio_s=end_s - start_s, variant=variant, stage_ms=stage_ms)
        if segments:
            self._word_s = max(segment.end_s for segment in segments)
        return replace(
            final,
            segments=segments,
            languages=served.transcript.languages,
            manifest=served.manifest,
            lag_s=lag_s,
            stage_ms=stage_ms,
        )

    def _there(self, ending: Ending) -> None:
        """Its text is, or what went wrong."""
        self._works.remove(ending)
        now_s = time.monotonic()
        self._lagged = (now_s - ending.arrived_s, now_s)

    def _gapes(self, at_s: float) -> bool:
        return self.gap_s is not None and self._word_s is not None and at_s - self._word_s >= self.gap_s


def shifted(segments: tuple[Segment, ...], by_s: float) -> tuple[Segment, ...]:
    """The same, so much later."""
    return tuple(
        replace(
            segment,
            start_s=segment.start_s + by_s,
            end_s=segment.end_s + by_s,
            words=tuple(replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in segment.words),
        )
        for segment in segments
    )
