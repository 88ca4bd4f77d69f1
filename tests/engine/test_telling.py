import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from service.audio.endpoint import Cut
from service.audio.types import SAMPLE_RATE, Span
from service.engine.streaming import (
    Cleared,
    Final,
    Interim,
    SpeechStarted,
    SpeechStopped,
    StreamEvent,
    UtteranceEnded,
)
from service.engine.telling import MOST_AHEAD, End, Ending, Silence, Telling, shifted
from service.engine.types import Served
from service.errors import EmptyAudio, RecognitionFailed
from service.recognition.types import Language, Transcript, Word
from tests.engine.hosting import eventually
from tests.engine.sessions import MANIFEST, segment_of
from tests.engine.watching import Watcher

pytestmark = pytest.mark.anyio

LIMIT_S = 5.0


class Stage:
    """Something to tell, whoever listens, and what came of it.

    Attributes:
        told: events, as they were taken.
        holds: whether the stream was held or resumed, each time.
    """

    def __init__(self) -> None:
        self.watcher = Watcher()
        self.told: list[StreamEvent] = []
        self.holds: list[bool] = []
        self.telling = Telling(
            self.watcher, hold=lambda: self.holds.append(True), resume=lambda: self.holds.append(False)
        )

    async def take(self, most: int | None = None) -> None:
        """Listen to the end, or to so many events."""
        events = self.telling.events()
        async for event in events:
            self.told.append(event)
            if len(self.told) == most:
                break
        await events.aclose()

    @asynccontextmanager
    async def listened(self) -> AsyncIterator["asyncio.Task[None]"]:
        """Somebody listens, and waits by now."""
        listening = asyncio.create_task(self.take())
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(LIMIT_S):
                yield listening
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def end(self) -> list[StreamEvent]:
        """All that there is to tell by now."""
        self.telling.add(End())
        async with asyncio.timeout(LIMIT_S):
            await self.take()
        return self.told


def served(text: str = " a word", *, end_s: float = 1.0) -> Served:
    segments = (segment_of(text, end_s),) if text else ()
    return Served(Transcript(text.strip(), segments, (Language("en", 0.9),), end_s), MANIFEST)


def ending(
    work: "asyncio.Task[Served] | None" = None,
    *,
    at_s: float = 0.0,
    cut: Cut = "pause",
    ago_s: float = 0.0,
) -> Ending:
    """Of a segment of two seconds, half of which is to be recognised."""
    start = round(at_s * SAMPLE_RATE)
    heard = Span(start + SAMPLE_RATE // 2, start + 3 * SAMPLE_RATE // 2)
    return Ending(Span(start, start + 2 * SAMPLE_RATE), cut, time.monotonic() - ago_s, work, heard if work else None)


def done(result: Served | Exception | None = None, gate: asyncio.Event | None = None) -> "asyncio.Task[Served]":
    """Work that comes to this, once the gate is open."""

    async def work() -> Served:
        if gate is not None:
            await gate.wait()
        if isinstance(result, Exception):
            raise result
        return served() if result is None else result

    return asyncio.create_task(work())


def interim(text: str = " a wo") -> Interim:
    return Interim(0.0, 0.5, (segment_of(text, 0.5),), "", MANIFEST)


async def turned() -> None:
    """Let all that can happen do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_behind_a_final_waits_for_it() -> None:
    stage, gate = Stage(), asyncio.Event()
    async with stage.listened() as listening:
        for item in (SpeechStopped(1.0), ending(done(gate=gate)), SpeechStarted(2.5), ending(done(), at_s=2.0)):
            stage.telling.add(item)
        stage.telling.add(End())
        await turned()
        assert stage.told == [SpeechStopped(1.0)]
        gate.set()
        await listening
    assert [type(event) for event in stage.told] == [SpeechStopped, Final, SpeechStarted, Final]


async def test_what_is_done_out_of_turn_is_told_in_turn() -> None:
    stage, gate = Stage(), asyncio.Event()
    async with stage.listened() as listening:
        first, second = done(served(" first"), gate), done(served(" second"))
        stage.telling.add(ending(first))
        stage.telling.add(ending(second, at_s=2.0))
        stage.telling.add(End())
        await second
        gate.set()
        await listening
    assert [event.text for event in stage.told if isinstance(event, Final)] == ["first", "second"]


async def test_where_nobody_spoke_there_is_nothing_to_wait_for() -> None:
    stage = Stage()
    stage.telling.add(ending(cut="end"))
    assert await stage.end() == [Final(0.0, 2.0, (), "end")]
    assert stage.watcher.finals == []
    assert stage.telling.lag_s == pytest.approx(0.0, abs=0.2)


async def test_text_is_told_where_in_the_stream_it_was_heard() -> None:
    stage = Stage()
    stage.telling.add(ending(done(), at_s=10.0))
    (final,) = await stage.end()
    assert isinstance(final, Final)
    assert (final.start_s, final.end_s, final.text, final.manifest) == (10.0, 12.0, "a word", MANIFEST)
    assert [(segment.start_s, segment.end_s) for segment in final.segments] == [(10.5, 11.5)]
    assert final.languages == (Language("en", 0.9),)


def test_words_are_moved_with_their_segments() -> None:
    words = (Word(" a", 0.0, 0.2, 0.9), Word(" word", 0.2, 1.0, 0.9))
    segment = replace(segment_of(" a word", 1.0), words=words)
    (moved,) = shifted((segment,), 3.0)
    assert [(word.start_s, word.end_s) for word in moved.words] == [(3.0, 3.2), (3.2, 4.0)]
    assert (moved.start_s, moved.end_s, moved.text) == (3.0, 4.0, segment.text)
    assert shifted((), 3.0) == ()


async def test_an_interim_is_told_to_who_waits_for_something() -> None:
    stage = Stage()
    async with stage.listened():
        stage.telling.show(interim(), arrived_s=time.monotonic() - 0.2)
        await eventually(lambda: stage.told == [interim()])
    (lag_s,) = stage.watcher.sketches
    assert lag_s == pytest.approx(0.2, abs=0.1)


async def test_an_interim_is_not_for_who_is_busy() -> None:
    stage, gate = Stage(), asyncio.Event()
    stage.telling.show(interim(), arrived_s=time.monotonic())  # nobody listens yet
    async with stage.listened():
        stage.telling.add(SpeechStarted(0.1))
        stage.telling.show(interim(), arrived_s=time.monotonic())  # something else is to be told
        await turned()
        stage.telling.add(ending(done(gate=gate)))
        await turned()
        stage.telling.show(interim(), arrived_s=time.monotonic())  # it waits for a final
        gate.set()
        await eventually(lambda: len(stage.told) == 2)
        await turned()
        stage.telling.show(interim(" one"), arrived_s=time.monotonic())
        stage.telling.show(interim(" two"), arrived_s=time.monotonic())  # it was not taken yet, the one before
        await turned()
    assert [type(event) for event in stage.told] == [SpeechStarted, Final, Interim]
    assert [lag_s is None for lag_s in stage.watcher.sketches] == [True, True, True, False, True]


async def test_what_was_missed_is_counted_and_not_told() -> None:
    stage = Stage()
    async with stage.listened():
        stage.telling.missed()
        await turned()
    assert stage.watcher.sketches == [None]
    assert stage.told == []


async def test_a_stream_is_held_at_the_bound_and_resumed_at_half_of_it() -> None:
    stage = Stage()
    for number in range(MOST_AHEAD + 3):
        assert stage.holds == ([True] if number >= MOST_AHEAD else [])
        stage.telling.add(SpeechStarted(float(number)))
    left = MOST_AHEAD // 2
    await stage.take(most=3 + MOST_AHEAD - left)
    assert stage.holds == [True]
    await stage.take(most=4 + MOST_AHEAD - left)
    assert stage.holds == [True, False]
    for number in range(MOST_AHEAD - left + 1):
        stage.telling.add(Cleared(float(number)))
    assert stage.holds == [True, False, True]


async def test_silence_counts_as_one_thing_to_tell_however_long_it_is() -> None:
    stage = Stage()
    stage.telling.gap_s = 1.0
    for number in range(10 * MOST_AHEAD):
        stage.telling.add(Silence(number / 10))
    assert stage.holds == []
    assert await stage.end() == []


async def test_a_gap_is_told_once_after_the_last_word() -> None:
    stage = Stage()
    stage.telling.gap_s = 1.5
    stage.telling.add(Silence(50.0))  # nobody has said a word
    stage.telling.add(ending(done(), at_s=60.0))  # to 61.5
    stage.telling.add(Silence(62.9))
    stage.telling.add(SpeechStarted(62.95))
    stage.telling.add(Silence(63.0))
    stage.telling.add(SpeechStarted(64.0))
    stage.telling.add(Silence(99.0))
    stage.telling.add(ending(done(), at_s=100.0))
    stage.telling.add(Silence(110.0))
    events = await stage.end()
    assert [event for event in events if isinstance(event, UtteranceEnded)] == [
        UtteranceEnded(61.5),
        UtteranceEnded(101.5),
    ]
    assert events.index(UtteranceEnded(61.5)) == 2


async def test_silence_goes_on_while_a_final_is_awaited() -> None:
    stage, gate = Stage(), asyncio.Event()
    stage.telling.gap_s = 1.5
    async with stage.listened() as listening:
        stage.telling.add(ending(done(gate=gate)))
        for number in range(100):
            stage.telling.add(Silence(1.6 + number / 10))
            await asyncio.sleep(0)
        gate.set()
        stage.telling.add(End())
        await listening
    assert [type(event) for event in stage.told] == [Final, UtteranceEnded]


@pytest.mark.parametrize("text", ["", " a word"])
async def test_no_gap_is_told_unless_it_is_wanted_and_something_was_said(text: str) -> None:
    stage = Stage()
    stage.telling.gap_s = None if text else 0.5
    stage.telling.add(ending(done(served(text))))
    stage.telling.add(Silence(1e6))
    assert [type(event) for event in await stage.end()] == [Final]


async def test_a_final_tells_how_late_it_comes() -> None:
    stage = Stage()
    stage.telling.add(ending(done(), ago_s=0.5))
    (final,) = await stage.end()
    ((lag_s, audio_s, variant),) = stage.watcher.finals
    assert isinstance(final, Final)
    assert final.lag_s == lag_s == pytest.approx(0.5, abs=0.2)
    assert stage.telling.lag_s == pytest.approx(lag_s, abs=0.2)
    assert (audio_s, variant) == (2.0, MANIFEST.name)


async def test_what_is_awaited_is_late_before_it_comes() -> None:
    stage, gate = Stage(), asyncio.Event()
    async with stage.listened():
        stage.telling.add(ending(done(gate=gate), ago_s=7.0))
        await turned()
        assert stage.told == []
        assert stage.telling.lag_s == pytest.approx(7.0, abs=1.0)
        gate.set()
        await eventually(lambda: len(stage.told) == 1)
        stage.telling.add(ending(done(), at_s=2.0, ago_s=0.1))
        await eventually(lambda: len(stage.told) == 2)
        assert stage.telling.lag_s < 2.0


async def test_what_fails_is_told_and_the_next_final_comes() -> None:
    stage, failure = Stage(), RecognitionFailed("the model's output is not a number")
    stage.telling.add(ending(done(failure)))
    stage.telling.add(ending(done(), at_s=2.0))
    first, second = await stage.end()
    assert isinstance(first, Final)
    assert (first.failure, first.text, first.start_s, first.end_s) == (failure, "", 0.0, 2.0)
    assert isinstance(second, Final)
    assert (second.failure, second.text) == (None, "a word")
    assert len(stage.watcher.finals) == 1


async def test_work_that_was_dropped_is_a_final_with_a_failure() -> None:
    stage = Stage()
    work = done(gate=asyncio.Event())
    async with stage.listened() as listening:
        stage.telling.add(ending(work))
        await turned()
        work.cancel()
        stage.telling.add(End())
        await listening
    (final,) = stage.told
    assert isinstance(final, Final)
    assert isinstance(final.failure, RecognitionFailed)


async def test_a_fault_of_the_program_is_not_hidden() -> None:
    stage = Stage()
    stage.telling.add(ending(done(ZeroDivisionError())))
    with pytest.raises(ZeroDivisionError):
        await stage.end()


async def test_what_went_wrong_is_told_behind_all_else() -> None:
    stage, error = Stage(), EmptyAudio()
    stage.telling.add(ending(done()))
    stage.telling.add(End(error))
    with pytest.raises(EmptyAudio) as raised:
        await stage.take()
    assert raised.value is error
    assert [type(event) for event in stage.told] == [Final]


async def test_who_stops_listening_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    stage, work = Stage(), done(gate=asyncio.Event())
    async with stage.listened() as listening:
        stage.telling.add(ending(work))
        await turned()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        assert listening.cancelled()
    stage.telling.show(interim(), arrived_s=time.monotonic())
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert asyncio.all_tasks() == before
    assert stage.told == []
    assert stage.watcher.sketches == [None]
    assert stage.telling.lag_s == pytest.approx(0.0, abs=0.2)


async def test_who_stopped_while_it_waited_for_anything_is_told_no_interim() -> None:
    stage = Stage()
    async with stage.listened():
        pass
    stage.telling.show(interim(), arrived_s=time.monotonic())
    assert stage.watcher.sketches == [None]


async def test_a_client_that_takes_nothing_makes_no_text_late() -> None:
    stage = Stage()
    stage.telling.add(ending(done(), ago_s=0.1))
    await turned()
    await asyncio.sleep(0.05)
    assert stage.telling.lag_s == pytest.approx(0.1, abs=0.04)
