"""A request's way through the engine, over a backend whose rows say given lines."""

import asyncio
import errno
import math
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np
import pytest

from model_store.manifest import Precision
from service.audio.types import SAMPLE_RATE, Samples, VadOptions
from service.audio.vad import SpeechDetector
from service.backends.fake import FakeBackend, Fault, Line
from service.engine.backlog import Backlog
from service.engine.delays import Delays
from service.engine.fake import model_info
from service.engine.forming import EncodeCosts, Point
from service.engine.hearing import Heard, Hearing
from service.engine.observing import Unobserved
from service.engine.passage import Cascade, Passage, Rooms
from service.engine.profile import Hosted, Profile
from service.engine.scheduler import Scheduler
from service.engine.types import Priority, Request, Resumption, Served, WindowDone
from service.errors import DeadlineExceeded, Overloaded
from service.recognition.families.base import Family
from service.recognition.recognizer import Recognizer
from service.recognition.types import Language, Options
from tests.audio.speech import recording
from tests.engine.recordings import wav
from tests.recognition.models import BASE, TINY, recognizer, said, whisper, window
from tests.store import STORE

pytestmark = pytest.mark.anyio

DETECTOR = SpeechDetector(STORE / "silero-vad" / "fp32" / "vad.onnx")
WORDS = Line(tuple(range(3000, 3100)))
UNSURE = Line((3000, 3001), logit=11.5)
"""Its tokens have a probability of two thirds."""
SURE = Line((4000, 4001))


@dataclass
class House:
    """Rooms, a variant to pass through them with, and perhaps a larger one."""

    rooms: Rooms
    hosted: Hosted
    larger: Hosted | None = None

    async def served(
        self,
        audio: Samples,
        *,
        ago_s: float = 0.0,
        deadline_s: float | None = None,
        target_s: float = 60.0,
        priority: Priority = "interactive",
        on_window: Callable[[WindowDone], Awaitable[None]] | None = None,
        resumption: Resumption | None = None,
        language: str | None = "en",
    ) -> Served:
        """What becomes of a recording that came so many seconds ago."""
        options = Options(language=language, temperatures=(0.0,))
        request = Request(
            wav(audio),
            options=options,
            vad=VadOptions(enabled=False),
            deadline_s=deadline_s,
            priority=priority,
            on_window=on_window,
            resumption=resumption,
        )
        cascade = Cascade(self.larger, target_s) if self.larger else None
        with self.rooms.backlog.entered(4 * len(audio), priority=priority) as share:
            passage = Passage(self.rooms, request, self.hosted, share, time.monotonic() - ago_s, cascade)
            try:
                async for _ in passage.segments():
                    pass
                return await passage.served()
            finally:
                passage.leave()


def hosting(recognizer: Recognizer, precision: Precision = "int8") -> Hosted:
    profile = Profile(EncodeCosts((Point(1, 500, 10.0),)), 1, "given", 10.0)
    return Hosted(model_info("fake", precision).manifest, recognizer, profile)


def saying(*lines: Line, precision: Precision = "int8", gate: threading.Event | None = None) -> Hosted:
    backend = FakeBackend(lines, vocabulary=51_864, end_token=50_256, gate=gate)
    return hosting(Recognizer(backend, whisper()), precision)


@asynccontextmanager
async def house(hosted: Hosted, larger: Hosted | None = None) -> AsyncIterator[House]:
    async def renew(lost: Hosted) -> Hosted:
        return lost

    hearing = Hearing(DETECTOR, threads=1, max_duration_s=3600)
    scheduler = Scheduler(hearing.submit, Unobserved(), renew=renew, stuck_s=60)
    scheduler.start(1)
    try:
        yield House(Rooms(hearing, scheduler, Backlog(3600.0, speed=10.0), Delays()), hosted, larger)
    finally:
        await scheduler.close()
        await hearing.close()


def noise(seconds: float) -> Samples:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)


async def test_the_time_that_is_allowed_does_not_shrink_as_windows_are_done() -> None:
    async with house(saying(WORDS)) as at:
        await at.served(noise(60.0), ago_s=300.0)
        with pytest.raises(DeadlineExceeded, match="the server's limit"):
            await at.served(noise(60.0), ago_s=700.0)


async def test_a_deadline_ends_a_request_that_waits() -> None:
    gate = threading.Event()
    async with house(saying(WORDS, gate=gate)) as at:
        try:
            with pytest.raises(DeadlineExceeded, match="the deadline_s of the request"):
                await at.served(noise(1.0), deadline_s=0.5)
        finally:
            gate.set()


class Unreachable(Hearing):
    """Its recordings lie where they cannot be read."""

    async def hear(self, request: Request, family: Family) -> Heard:
        raise TimeoutError(errno.ETIMEDOUT, "a file system's")


async def test_a_timeout_that_is_not_the_request_s_own_is_not_taken_for_it() -> None:
    async with house(saying(WORDS)) as at:
        at.rooms = replace(at.rooms, hearing=Unreachable(DETECTOR, threads=1, max_duration_s=1))
        with pytest.raises(TimeoutError, match="a file system's"):
            await at.served(noise(1.0))


def ids(served: Served) -> list[int]:
    return [token.id for segment in served.transcript.segments for token in segment.tokens]


async def test_an_unsure_window_is_heard_again_by_the_larger_model() -> None:
    async with house(saying(UNSURE), saying(SURE, precision="fp32")) as at:
        served = await at.served(noise(1.0))
    assert ids(served) == [4000, 4001]
    assert (served.windows, served.cascaded) == (1, 1)
    assert served.reason == "1 of 1 windows again by fake:fp32, 1 taken"
    assert served.manifest.name == "fake:int8"


async def test_a_sure_window_is_not_heard_again() -> None:
    larger = Line((5000,), fault="encode")
    async with house(saying(SURE), saying(larger)) as at:
        served = await at.served(noise(1.0))
    assert ids(served) == [4000, 4001]
    assert (served.windows, served.cascaded) == (1, 0)


async def test_windows_are_judged_one_by_one() -> None:
    async with house(saying(UNSURE, SURE), saying(Line((5000,)))) as at:
        served = await at.served(noise(50.0))
    assert served.cascaded in range(1, served.windows)
    assert 5000 in ids(served)
    assert 4000 in ids(served)
    assert 3000 not in ids(served)


async def test_a_larger_model_that_is_much_less_sure_is_not_believed() -> None:
    async with house(saying(UNSURE), saying(Line((5000,), logit=10.8))) as at:
        served = await at.served(noise(1.0))
    assert ids(served) == [3000, 3001]
    assert served.reason.endswith("0 taken")


@pytest.mark.parametrize("fault", ["encode", "step", "number"])
async def test_a_larger_model_that_fails_leaves_the_first_text(fault: Fault) -> None:
    async with house(saying(UNSURE), saying(Line((5000,), fault=fault))) as at:
        served = await at.served(noise(1.0))
    assert ids(served) == [3000, 3001]
    assert served.cascaded == 1


async def test_a_larger_model_that_takes_too_long_leaves_the_first_text() -> None:
    gate = threading.Event()
    async with house(saying(UNSURE), saying(SURE, gate=gate)) as at:
        try:
            served = await at.served(noise(1.0), target_s=0.8)
        finally:
            gate.set()
    assert ids(served) == [3000, 3001]
    assert served.cascaded == 1


@pytest.mark.parametrize(
    ("priority", "deadline_s", "target_s", "again"),
    [
        ("interactive", None, 0.1, 0),
        ("interactive", None, 60.0, 1),
        ("interactive", 0.3, 60.0, 0),
        ("batch", None, 0.1, 1),
    ],
)
async def test_nothing_is_heard_again_beyond_the_time_that_is_wanted(
    priority: Priority, deadline_s: float | None, target_s: float, again: int
) -> None:
    async with house(saying(UNSURE), saying(SURE)) as at:
        served = await at.served(noise(1.0), priority=priority, deadline_s=deadline_s, target_s=target_s)
    assert served.cascaded == again


@pytest.mark.parametrize(("seconds", "language", "taken"), [(1, "en", True), (31, "en", False), (1, "de", False)])
def test_a_window_must_fit_the_larger_model(seconds: float, language: str, *, taken: bool) -> None:
    assert Cascade(saying(SURE), 1.0).takes(window(noise(seconds)), language) == taken


async def test_a_text_that_a_real_model_doubts_becomes_that_of_the_larger_one() -> None:
    counting = recording("en/counting")
    small, large = recognizer(TINY, "int8"), recognizer(BASE, "int8")
    texts = [said(one, counting, options=Options(language="en")) for one in (small, large)]
    async with house(hosting(small), hosting(large)) as at:
        served = await at.served(counting)
    assert texts[0] != texts[1]
    assert served.transcript.text == texts[1]
    assert served.reason.endswith("1 taken")


async def test_windows_are_told_in_order_each_before_the_next_counts() -> None:
    told: list[WindowDone] = []

    async def keep(window: WindowDone) -> None:
        told.append(window)

    async with house(saying(SURE, WORDS)) as at:
        served = await at.served(noise(60.0), on_window=keep)
    assert [window.number for window in told] == list(range(len(told)))
    assert {window.of for window in told} == {served.windows} == {len(told)}
    assert tuple(segment for window in told for segment in window.segments) == served.transcript.segments
    assert {window.languages for window in told} == {served.transcript.languages}


async def test_what_was_done_before_is_not_done_again() -> None:
    told: list[WindowDone] = []

    async def keep(window: WindowDone) -> None:
        told.append(window)

    german = (Language("de", 0.7),)
    async with house(saying(SURE)) as at:
        whole = await at.served(noise(60.0))
        rest = await at.served(noise(60.0), on_window=keep, resumption=Resumption(1, german), language=None)
        none = await at.served(noise(60.0), resumption=Resumption(whole.windows, german))
    assert [window.number for window in told] == list(range(1, whole.windows))
    assert rest.transcript.segments == whole.transcript.segments[-len(rest.transcript.segments) :]
    assert rest.transcript.languages == german, "it was found by the first window, which is not heard again"
    assert rest.transcript.duration_s == whole.transcript.duration_s
    assert (none.windows, none.transcript.segments) == (0, ())


async def test_what_is_in_the_background_keeps_nobody_out() -> None:
    gate = threading.Event()
    async with house(saying(SURE, gate=gate)) as at:
        backlog = at.rooms.backlog
        backlog.limit_s = 5.0
        long = asyncio.create_task(at.served(noise(60.0), priority="background", deadline_s=math.inf))
        while not at.rooms.scheduler.waiting and not at.rooms.scheduler.rows:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert backlog.waiting_s == 0
        short = asyncio.create_task(at.served(noise(4.0)))
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded):
            await at.served(noise(4.0))
        gate.set()
        assert (await short).transcript.duration_s == 4.0
        assert (await long).windows > 1
