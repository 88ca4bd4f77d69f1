import asyncio
import gc
import logging
import math
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from service.audio.checkpoint import Checkpoint, always_on
from service.audio.decode import Limits, decode
from service.audio.resample import LONG
from service.audio.types import SAMPLE_RATE, RawFormat, Samples, Span, VadOptions, Window
from service.audio.vad import SpeechDetector
from service.audio.windows import windows
from service.engine.hearing import Heard, Hearing
from service.engine.types import Request
from service.errors import AudioTooLong, EmptyAudio
from service.recognition.families import load
from service.recognition.families.base import Family
from tests.audio.speech import detector, model, talk
from tests.engine.recordings import wav
from tests.store import folder

pytestmark = pytest.mark.anyio

PLAIN = RawFormat("linear16", SAMPLE_RATE)
MINUTE = 60 * SAMPLE_RATE


@cache
def family(name: str = "whisper-tiny.en") -> Family:
    return load(folder(name, "int8"))


@cache
def plain(minutes: float) -> bytes:
    """Speech without a header, 16 bits a sample."""
    samples = np.resize(talk(), round(minutes * MINUTE))
    return (samples * 2**15).clip(-(2**15), 2**15 - 1).astype("<i2").tobytes()


@asynccontextmanager
async def hearing_of(
    heard_by: SpeechDetector | None = None, *, threads: int = 1, max_duration_s: float = 3 * 3600
) -> AsyncIterator[Hearing]:
    hearing = Hearing(heard_by or detector(), threads=threads, max_duration_s=max_duration_s)
    try:
        yield hearing
    finally:
        await hearing.close()


async def hear(hearing: Hearing, audio: bytes | Path, *, raw: RawFormat | None = PLAIN) -> Heard:
    return await hearing.hear(Request(audio, raw=raw), family())


class Held(SpeechDetector):
    """Hears nothing until it is released; knows how many samples it was given."""

    def __init__(self) -> None:
        super().__init__(model("fp32"))
        self.released = Event()
        self.given: list[int] = []
        """Samples of each recording."""

    def spans(
        self, samples: Samples, options: VadOptions, *, preceded: bool = False, checkpoint: Checkpoint = always_on
    ) -> tuple[Span, ...]:
        self.given.append(len(samples))
        while not self.released.wait(0.005):
            checkpoint()
        return super().spans(samples, options, checkpoint=checkpoint)

    async def was_given(self, count: int) -> None:
        await until(lambda: len(self.given) >= count)


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110 - what is awaited happens in another thread
        await asyncio.sleep(0.005)


def traced_bytes() -> int:
    return tracemalloc.get_traced_memory()[0]


def of_samples(cut: tuple[Window, ...]) -> list[tuple[object, bytes]]:
    return [(window.pieces, window.samples.tobytes()) for window in cut]


@pytest.mark.parametrize("name", ["whisper-tiny.en", "moonshine-tiny"])
@pytest.mark.parametrize("enabled", [True, False])
async def test_hears_what_the_steps_one_by_one_do(name: str, enabled: bool, tmp_path: Path) -> None:
    (tmp_path / "talk.wav").write_bytes(wav(talk()))
    vad = VadOptions(enabled=enabled)
    async with hearing_of() as hearing:
        heard = await hearing.hear(Request(wav(talk()), vad=vad), family(name))
        from_file = await hearing.hear(Request(tmp_path / "talk.wav", vad=vad), family(name))
    samples = decode(wav(talk()), limits=Limits(1000)).samples
    expected = windows(
        samples,
        detector().spans(samples, vad),
        target_s=family(name).target_window_s,
        max_s=family(name).max_window_s,
        max_gap_s=math.inf if name.startswith("whisper") else 1.0,
    )
    assert of_samples(heard.windows) == of_samples(from_file.windows) == of_samples(expected)
    assert heard.duration_s == len(talk()) / SAMPLE_RATE
    assert list(heard.stage_ms) == ["decode", "vad"]


@pytest.mark.parametrize("threads", [1, 2])
async def test_a_short_recording_overtakes_long_ones(threads: int) -> None:
    ended = []
    async with hearing_of(threads=threads) as hearing:

        async def end(name: str, audio: bytes) -> None:
            await hear(hearing, audio)
            ended.append(name)

        long = [asyncio.create_task(end("long", plain(10))) for _ in range(3)]
        await asyncio.sleep(0.01)
        await asyncio.gather(end("short", plain(0.05)), *long)
    assert ended == ["short", "long", "long", "long"]


async def test_who_is_cancelled_while_waiting_is_never_heard() -> None:
    held = Held()
    async with hearing_of(held) as hearing:
        tasks = [asyncio.create_task(hear(hearing, plain(0.05))) for _ in range(4)]
        await held.was_given(2)
        assert hearing.waiting == 2
        tasks[2].cancel()
        await asyncio.wait([tasks[2]])
        assert hearing.waiting == 1
        held.released.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(held.given) == 3
    assert [task.cancelled() for task in tasks] == [False, False, True, False]


@pytest.mark.parametrize("stage", ["decode", "vad"])
async def test_who_is_cancelled_while_heard_stops_at_once_and_frees_its_memory(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Two hours take seconds."""
    two_hours, held = bytes(2 * 3600 * 8000), Held()
    held.released.set()
    unhandled: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    async with hearing_of(held) as hearing:
        gc.disable()
        tracemalloc.start()
        try:
            task = asyncio.create_task(hear(hearing, two_hours, raw=RawFormat("mulaw", 8000)))
            await until(lambda: bool(held.given) if stage == "vad" else traced_bytes() > LONG)
            assert stage == "vad" or not held.given
            task.cancel()
            await asyncio.wait([task])
            left_s = time.perf_counter()
            await hearing.close()
            stopped_s = time.perf_counter() - left_s
            del task
            kept = traced_bytes()
        finally:
            tracemalloc.stop()
            gc.enable()
    assert kept < 2**20
    assert stopped_s < 0.3
    assert not unhandled
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_short_work_waits_for_no_recording() -> None:
    held = Held()
    async with hearing_of(held) as hearing:
        tasks = [asyncio.create_task(hear(hearing, plain(0.05))) for _ in range(5)]
        await held.was_given(2)
        done: list[int] = []
        asking = Thread(target=lambda: done.append(hearing.submit(lambda: 7).result(timeout=5)))
        asking.start()
        assert await asyncio.wrap_future(hearing.submit(lambda: 8)) == 8
        await asyncio.to_thread(asking.join)
        assert done == [7]
        assert not any(task.done() for task in tasks)
        held.released.set()
        await asyncio.gather(*tasks)


async def test_a_recording_that_cannot_be_heard_says_so_and_gives_its_thread_back() -> None:
    async with hearing_of(max_duration_s=10) as hearing:
        found = await asyncio.gather(
            *(hear(hearing, audio) for audio in (b"", plain(1), b"", plain(1), plain(0.05))), return_exceptions=True
        )
        assert [type(one) for one in found] == [EmptyAudio, AudioTooLong, EmptyAudio, AudioTooLong, Heard]
        assert hearing.waiting == 0


async def test_closing_drops_what_waits_and_stops_what_runs() -> None:
    held = Held()
    async with hearing_of(held) as hearing:
        tasks = [asyncio.create_task(hear(hearing, plain(0.05))) for _ in range(4)]
        await held.was_given(2)
        await hearing.close()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError] * 4
    assert len(held.given) == 2


async def test_the_event_loop_goes_on_while_a_long_recording_is_heard() -> None:
    late_s = []
    async with hearing_of() as hearing:
        task = asyncio.create_task(hear(hearing, plain(30)))
        while not task.done():
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            late_s.append(time.perf_counter() - started)
    assert np.percentile(late_s, 99) < 0.05
