"""A request's way through the engine, over a backend whose rows say given lines."""

import errno
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest

from service.audio.types import SAMPLE_RATE, Samples, VadOptions
from service.audio.vad import SpeechDetector
from service.backends.fake import FakeBackend, Line
from service.engine.backlog import Backlog
from service.engine.fake import model_info
from service.engine.forming import EncodeCosts, Point
from service.engine.hearing import Heard, Hearing
from service.engine.observing import Unobserved
from service.engine.passage import Passage, Rooms
from service.engine.profile import Hosted, Profile
from service.engine.scheduler import Scheduler
from service.engine.types import Request
from service.errors import DeadlineExceeded
from service.recognition.families.base import Family
from service.recognition.recognizer import Recognizer
from service.recognition.types import Options, Segment
from tests.engine.recordings import wav
from tests.recognition.models import whisper
from tests.store import STORE

pytestmark = pytest.mark.anyio

DETECTOR = SpeechDetector(STORE / "silero-vad" / "fp32" / "vad.onnx")
WORDS = Line(tuple(range(3000, 3100)))


@dataclass
class House:
    """Rooms, and a variant to pass through them with."""

    rooms: Rooms
    hosted: Hosted

    async def segments(self, audio: Samples, *, ago_s: float = 0.0, deadline_s: float | None = None) -> list[Segment]:
        """Those of a recording that came so many seconds ago."""
        options = Options(language="en", temperatures=(0.0,))
        request = Request(wav(audio), options=options, vad=VadOptions(enabled=False), deadline_s=deadline_s)
        with self.rooms.backlog.entered(4 * len(audio)) as share:
            passage = Passage(self.rooms, request, self.hosted, share, time.monotonic() - ago_s)
            try:
                return [segment async for segment in passage.segments()]
            finally:
                passage.leave()


@asynccontextmanager
async def house(lines: Sequence[Line], *, gate: threading.Event | None = None) -> AsyncIterator[House]:
    backend = FakeBackend(lines, vocabulary=51_864, end_token=50_256, gate=gate)
    profile = Profile(EncodeCosts((Point(1, 500, 10.0),)), 1, "given", 10.0)
    hosted = Hosted(model_info("fake", "fp32").manifest, Recognizer(backend, whisper()), profile)

    async def renew(lost: Hosted) -> Hosted:
        return lost

    hearing = Hearing(DETECTOR, threads=1, max_duration_s=3600)
    scheduler = Scheduler(hearing.submit, Unobserved(), renew=renew, stuck_s=60)
    scheduler.start(1)
    try:
        yield House(Rooms(hearing, scheduler, Backlog(3600.0, speed=10.0)), hosted)
    finally:
        if gate is not None:
            gate.set()
        await scheduler.close()
        await hearing.close()


def noise(seconds: float) -> Samples:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)


async def test_the_time_that_is_allowed_does_not_shrink_as_windows_are_done() -> None:
    async with house([WORDS]) as at:
        await at.segments(noise(60.0), ago_s=300.0)
        with pytest.raises(DeadlineExceeded, match="the server's limit"):
            await at.segments(noise(60.0), ago_s=700.0)


async def test_a_deadline_ends_a_request_that_waits() -> None:
    async with house([WORDS], gate=threading.Event()) as at:
        with pytest.raises(DeadlineExceeded, match="the deadline_s of the request"):
            await at.segments(noise(1.0), deadline_s=0.5)


class Unreachable(Hearing):
    """Its recordings lie where they cannot be read."""

    async def hear(self, request: Request, family: Family) -> Heard:
        raise TimeoutError(errno.ETIMEDOUT, "a file system's")


async def test_a_timeout_that_is_not_the_request_s_own_is_not_taken_for_it() -> None:
    async with house([WORDS]) as at:
        at.rooms = replace(at.rooms, hearing=Unreachable(DETECTOR, threads=1, max_duration_s=1))
        with pytest.raises(TimeoutError, match="a file system's"):
            await at.segments(noise(1.0))
