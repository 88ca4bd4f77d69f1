"""Live streams of the engine with real variants: who is let in, what is told, and that nothing is left of them."""

import asyncio
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.contextvars import bound_contextvars, get_contextvars

from service.engine.engine import LocalEngine
from service.engine.streaming import Final, StreamRequest
from service.engine.streams import MOST_LAG_S
from service.engine.types import Request, Served
from service.errors import ModelNotFound, OptionError, Overloaded, RecognitionFailed, WrenError
from service.recognition.types import Options
from tests.audio.speech import recording
from tests.engine.hosting import eventually
from tests.engine.listening import (
    LIMIT_S,
    PLAIN,
    SENTENCES,
    Listener,
    conversation,
    leases,
    said,
    serving,
    spoken,
)
from tests.engine.recordings import TINY, request, text_of
from tests.engine.sessions import RAW, Scripted, Taking, finals, pcm, session_of, talk, threads
from tests.engine.stores import linked_store
from tests.engine.watching import Watcher

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return linked_store(tmp_path / "store", "silero-vad/fp32", f"{TINY}/fp32", f"{TINY}/int8")


class Left(Exception):
    """A client that leaves in the middle of something."""


async def is_let_in(engine: LocalEngine) -> bool:
    try:
        async with engine.listen(PLAIN):
            return True
    except Overloaded:
        return False


async def test_one_stream_too_many_is_refused_and_counted() -> None:
    watcher = Watcher()
    async with serving(most=2, watcher=watcher) as engine:
        async with engine.listen(PLAIN), engine.listen(PLAIN):
            assert (engine.load().streams, engine.load().streams_limit) == (2, 2)
            with pytest.raises(Overloaded, match=r"2 live streams are open.*WREN_MAX_STREAMS") as refused:
                async with engine.listen(PLAIN):
                    pytest.fail("let in")
            assert refused.value.cause == "streams"
            assert refused.value.retry_after_s > 0
            assert engine.load().streams == 2
        assert engine.load().streams == 0
        assert await is_let_in(engine)
    assert watcher.rejections == ["streams"]


async def test_as_many_come_at_once_as_are_held() -> None:
    watcher, leave = Watcher(), asyncio.Event()
    async with serving(most=3, watcher=watcher) as engine:

        async def come() -> bool:
            try:
                async with engine.listen(PLAIN):
                    await leave.wait()
            except Overloaded:
                return False
            return True

        coming = [asyncio.create_task(come()) for _ in range(7)]
        await eventually(lambda: sum(task.done() for task in coming) == 4)
        assert engine.load().streams == 3
        leave.set()
        assert sum(await asyncio.gather(*coming)) == 3
    assert watcher.rejections == ["streams"] * 4


async def test_none_are_held_where_none_are_wanted() -> None:
    async with serving(most=0) as engine:
        assert not await is_let_in(engine)
        assert "lazy dog" in await text_of(engine, recording("en/quick_brown_fox"))


async def test_who_is_not_served_takes_no_place() -> None:
    async with serving(most=1) as engine:
        with pytest.raises(ModelNotFound, match="no-such-model"):
            async with engine.listen(replace(PLAIN, model="no-such-model")):
                pytest.fail("let in")
        with pytest.raises(OptionError, match="language"):
            async with engine.listen(replace(PLAIN, options=Options(language="de"))):
                pytest.fail("let in")
        assert (engine.load().streams, leases(engine)) == (0, 0)
        with suppress(Left):
            async with engine.listen(PLAIN) as stream:
                await stream.feed(conversation())
                raise Left
        assert (engine.load().streams, leases(engine)) == (0, 0)
        assert await is_let_in(engine)


async def test_who_gives_up_while_a_model_is_loaded_takes_no_place(store: Path) -> None:
    async with serving(store, most=1, ladder=("fp32", "int8")) as engine:
        await engine.unload_model(TINY)

        async def come() -> None:
            async with engine.listen(PLAIN):
                await asyncio.Event().wait()

        coming = asyncio.create_task(come())
        await eventually(lambda: engine.load().streams == 1)
        coming.cancel()
        with suppress(asyncio.CancelledError):
            await coming
        assert engine.load().streams == 0
        assert await is_let_in(engine)


class Stuck(LocalEngine):
    """Answers nobody until the gate is open."""

    gate: asyncio.Event

    async def transcribe(self, request: Request) -> Served:
        await self.gate.wait()
        return await super().transcribe(request)


async def test_while_streams_are_late_no_more_are_let_in() -> None:
    watcher = Watcher()
    async with serving(watcher=watcher, kind=Stuck) as engine:
        assert isinstance(engine, Stuck)
        engine.gate = asyncio.Event()
        async with engine.listen(PLAIN) as stream:
            listener = Listener(stream)
            await stream.feed(pcm(spoken(SENTENCES[0])))
            await eventually(lambda: len(listener.told) == 2)
            assert await is_let_in(engine)
            await eventually(lambda: engine.load().stream_lag_s > MOST_LAG_S)
            with pytest.raises(Overloaded, match="late") as refused:
                async with engine.listen(PLAIN):
                    pytest.fail("let in")
            assert refused.value.cause == "streams"
            engine.gate.set()
            await listener.until_finals(1)
        assert engine.load().stream_lag_s == 0
        assert await is_let_in(engine)
    assert watcher.rejections == ["streams"]
    assert [lag_s > MOST_LAG_S for lag_s, _, _ in watcher.finals] == [True]


@pytest.mark.parametrize("name", SENTENCES)
async def test_a_stream_of_one_segment_says_what_the_recording_says(name: str) -> None:
    async with serving() as engine:
        (final,) = finals(await said(engine, pcm(recording(name)), by=3200))
        assert final.text == await text_of(engine, recording(name))
        assert final.text


@pytest.mark.parametrize("fed", [0, 1, 5, 200])
async def test_an_engine_that_closes_ends_the_streams(fed: int) -> None:
    """Before any audio, while it is heard, while it is recognised, and while there is more than is let in."""
    before, ears = asyncio.all_tasks(), threads()
    async with serving() as engine, engine.listen(replace(PLAIN, interims=True)) as stream:
        listener = Listener(stream)

        async def feed() -> None:
            for _ in range(fed):
                await stream.feed(conversation())

        feeding = asyncio.create_task(feed())
        if fed:
            await eventually(lambda: len(listener.told) > 0)
        await engine.close()
        done, _ = await asyncio.wait({listener.task, feeding}, timeout=2.0)
        assert done == {listener.task, feeding}
        assert not feeding.exception()
        assert not listener.task.cancelled()
        assert isinstance(listener.task.exception(), WrenError | None)
        failures = [final.failure for final in finals(listener.told) if final.failure]
        assert all(isinstance(failure, RecognitionFailed) for failure in failures)
        await stream.commit()
        await stream.clear()
        await stream.finish()
    await eventually(lambda: threads() == ears and asyncio.all_tasks() == before)


async def test_files_are_not_starved_by_streams_that_never_pause() -> None:
    async with serving() as engine:
        alone = {name: await text_of(engine, recording(name)) for name in SENTENCES}
        heard = [final.text for final in finals(await said(engine, conversation() * 2)) if final.text]
        answered = asyncio.Event()

        async def speak() -> list[Final]:
            async with engine.listen(replace(PLAIN, client="speaker")) as stream:
                listener = Listener(stream)
                while not answered.is_set():
                    await stream.feed(conversation())
                    await asyncio.sleep(0)
                await stream.finish()
                await listener.task
            return finals(listener.told)

        speaking = [asyncio.create_task(speak()) for _ in range(3)]
        await eventually(lambda: engine.load().rows > 0 or engine.load().windows > 0)
        asked = [replace(request(recording(name)), client="files") for name in SENTENCES]
        batch = [replace(one, priority="batch") for one in asked]
        async with asyncio.timeout(LIMIT_S):
            answers = await asyncio.gather(*(engine.transcribe(one) for one in (*asked, *batch)))
        assert not any(task.done() for task in speaking)
        answered.set()
        spoken_finals = await asyncio.gather(*speaking)
    assert [served.transcript.text for served in answers] == [alone[name] for name in SENTENCES] * 2
    for told in spoken_finals:
        assert not any(final.failure for final in told)
        assert [final.text for final in told][: len(heard)] == heard


async def _misbehaves(engine: LocalEngine, draw: random.Random) -> None:
    """A session that says some of what can be said, takes some of what is told, and leaves."""
    async with engine.listen(StreamRequest(raw=RAW, interims=draw.random() < 0.5, utterance_gap_s=1.0)) as stream:
        listener = Listener(stream) if draw.random() < 0.7 else None
        audio = conversation()[: 2 * draw.randint(0, len(conversation()) // 2)]
        for start in range(0, len(audio), 16_000):
            await stream.feed(audio[start : start + 16_000])
            if draw.random() < 0.1:
                await draw.choice((stream.commit, stream.clear))()
            await asyncio.sleep(draw.choice((0, 0, 0.01)))
        if draw.random() < 0.5:
            await stream.finish()
            if listener is not None and draw.random() < 0.5:
                await listener.until_finals(1)
        if listener is not None:
            listener.task.cancel()
        if draw.random() < 0.5:
            raise Left


@pytest.mark.parametrize("seed", range(2))
async def test_sessions_that_are_left_at_any_point_leave_nothing(seed: int) -> None:
    draw = random.Random(seed)
    async with serving(most=20) as engine:
        async with engine.listen(PLAIN) as stream:  # whatever comes with the first of them is there
            await stream.feed(conversation())
        tasks, ears = asyncio.all_tasks(), threads()
        sessions = [asyncio.create_task(_misbehaves(engine, random.Random(draw.random()))) for _ in range(20)]
        for session in sessions:
            if draw.random() < 0.3:
                await asyncio.sleep(draw.uniform(0, 0.03))
                session.cancel()
        for error in await asyncio.gather(*sessions, return_exceptions=True):
            assert isinstance(error, Left | asyncio.CancelledError | None), error
        assert engine.load().streams == 0
        await eventually(lambda: threads() == ears and leases(engine) == 0)
        await eventually(lambda: asyncio.all_tasks() == tasks)
        await eventually(lambda: engine.load().windows == engine.load().rows == 0)
        assert engine.load().waiting_s == pytest.approx(0.0, abs=1e-3)
        assert finals(await said(engine, conversation()))[0].text == await text_of(engine, recording(SENTENCES[0]))


class Noting(Scripted):
    """Remembers in which context it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[dict[str, object]] = []

    async def transcribe(self, request: Request) -> Served:
        self.contexts.append(get_contextvars())
        return await super().transcribe(request)


async def test_what_is_heard_is_recognised_in_the_context_of_whoever_opened_the_stream() -> None:
    recognition = Noting()
    with bound_contextvars(request_id="mine"):
        async with session_of(recognition) as session:
            taking = Taking(session)
            await session.feed(talk())
            await session.finish()
            await taking.end()
    assert len(recognition.contexts) > 2
    assert all(context == {"request_id": "mine"} for context in recognition.contexts)
