"""Sessions with the real detector and decoder, recognition by a script, and what they are fed."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, RawFormat, Samples
from service.engine.fake import model_info
from service.engine.observing import Unobserved
from service.engine.session import Session
from service.engine.sketching import Drafted, Known
from service.engine.streaming import Final, Interim, StreamEvent, StreamRequest
from service.engine.types import Request, Served
from service.errors import OptionError, WrenError
from service.recognition.recognizer import Draft
from service.recognition.types import Language, Segment, Token, Transcript
from tests.audio.speech import detector, recording
from tests.engine.hosting import eventually
from tests.engine.recordings import silence

RAW = RawFormat("linear16", SAMPLE_RATE)
MANIFEST = model_info("fake", "fp32").manifest
HEARD_S = 20.0
"""More than any of these streams needs."""


class Scripted:
    """Says of each recording how many samples it has; drafts a word each 0.1 s, the last of which is always wrong.

    Attributes:
        requests: for finals, in order.
        drafts: requests for interim results.
        known: with each of them, how many tokens were known.
        failures: raised in place of the next answers.
        gate: awaited before each final.
        busy: whether nothing should be computed but what must be.
        languages: of the next answers.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.drafts: list[Request] = []
        self.known: list[int] = []
        self.failures: list[WrenError | None] = []
        self.languages: list[str] = []
        self.gate: asyncio.Event | None = None
        self.busy = False

    async def transcribe(self, request: Request) -> Served:
        self.requests.append(request)
        failure = self.failures.pop(0) if self.failures else None
        language = Language(self.languages.pop(0) if self.languages else "en", 0.9)
        if self.gate is not None:
            await self.gate.wait()
        if failure is not None:
            raise failure
        segment = segment_of(f" {length(request)}", length(request) / SAMPLE_RATE)
        return Served(Transcript(segment.text, (segment,), (language,), segment.end_s), MANIFEST)

    async def draft(self, request: Request, known: Known, *, left_s: float) -> Drafted | None:
        self.drafts.append(request)
        self.known.append(len(known.tokens))
        count = length(request) * 10 // SAMPLE_RATE
        tokens = (*(token(number) for number in range(count)), token(1000 + length(request)))
        text = b"".join(one.piece for one in tokens).decode()
        segment = segment_of(text, length(request) / SAMPLE_RATE)
        return Drafted(Draft(tokens, (segment,), (Language("en", 1.0),), repeats=False), MANIFEST)

    def strained(self, model: str) -> bool:
        return self.busy

    async def check(self, request: StreamRequest) -> None:
        if request.options.language == "xx":
            raise OptionError("This model does not know the language 'xx'.", param="language")


def length(request: Request) -> int:
    assert isinstance(request.audio, np.ndarray)
    return len(request.audio)


def token(number: int) -> Token:
    return Token(number, f" w{number}".encode(), -0.1)


def segment_of(text: str, end_s: float) -> Segment:
    return Segment(0.0, end_s, text, (), 0.0, -0.1, 1.0, 0.0)


@cache
def talk() -> bytes:
    """Three sentences with pauses of a second: 16-bit samples."""
    names = ("quick_brown_fox", "hello_world", "counting")
    parts = [part for name in names for part in (recording(f"en/{name}"), silence(1.0))]
    return pcm(np.concatenate([silence(0.7), *parts]))


def pcm(samples: Samples) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def fox() -> bytes:
    return pcm(recording("en/quick_brown_fox"))


def hello() -> bytes:
    return pcm(recording("en/hello_world"))


FOX_S = len(fox()) / 2 / SAMPLE_RATE


@asynccontextmanager
async def session_of(
    recognition: Scripted | None = None,
    request: StreamRequest = StreamRequest(raw=RAW),  # noqa: B008 - frozen
) -> AsyncIterator[Session]:
    """A stream; the time for all of it is limited."""
    session = Session(recognition or Scripted(), detector(), request, Unobserved())
    try:
        async with asyncio.timeout(HEARD_S):
            yield session
    finally:
        await session.close()


class Taking:
    """Takes what a session tells, as it comes."""

    def __init__(self, session: Session) -> None:
        self.told: list[StreamEvent] = []
        self._task = asyncio.create_task(self._take(session))

    async def _take(self, session: Session) -> None:
        async for event in session.events():
            self.told.append(event)

    async def end(self) -> list[StreamEvent]:
        await self._task
        return self.told

    async def until(self, kind: type[StreamEvent], count: int = 1) -> None:
        await eventually(lambda: sum(isinstance(event, kind) for event in self.told) >= count)


async def heard(audio: bytes, *, by: int | None = None, request: StreamRequest | None = None) -> list[StreamEvent]:
    """All that is told of a stream that is sent in chunks of so many bytes."""
    async with session_of(request=request or StreamRequest(raw=RAW)) as session:
        taking = Taking(session)
        for start in range(0, len(audio), by or max(1, len(audio))):
            await session.feed(audio[start : start + (by or len(audio))])
        await session.finish()
        return await taking.end()


def finals(events: list[StreamEvent]) -> list[Final]:
    return [event for event in events if isinstance(event, Final)]


def told(events: list[StreamEvent]) -> list[tuple[object, ...]]:
    """All that must not depend on the clock."""
    return [
        (event.start_s, event.end_s, event.text, event.cut) if isinstance(event, Final) else (event,)
        for event in events
        if not isinstance(event, Interim)
    ]


def tile(events: list[StreamEvent], end_s: float) -> bool:
    found = finals(events)
    bounds = [0.0, *(final.end_s for final in found)]
    return [final.start_s for final in found] == bounds[:-1] and bounds[-1] == pytest.approx(end_s)


def threads() -> int:
    return sum(thread.name == "wren-ear" for thread in threading.enumerate())


@cache
def long_speech() -> bytes:
    """Without a pause that ends a turn."""
    one = recording("en/quick_brown_fox")[SAMPLE_RATE // 4 : 2 * SAMPLE_RATE]
    return pcm(np.tile(one, 12))


async def paced(session: Session, audio: bytes, taking: Taking, *, until: type[StreamEvent], count: int) -> None:
    """Feed at twice the pace until so much was told: of what is 2 s ahead of the clock there are no interims."""
    for start in range(0, len(audio), 3200):
        await session.feed(audio[start : start + 3200])
        await asyncio.sleep(0.05)
    await taking.until(until, count)
